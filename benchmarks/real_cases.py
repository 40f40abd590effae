"""Audits of real predictions with an answer that one would expect.

    python -m benchmarks.real_cases PATH/TO/data [OUT]

*CIFAR-10*: three networks on the same 5000 test images, as runs of one test set. The feature is the
entropy of the votes of about fifty people about each image: where people disagree, networks should
be wrong more often than their confidence says. *MMLU*: three language models on questions of 57
subjects. The feature is the category of the subject. Beside either stand two features that cannot
say anything: the same column shuffled among rows of like confidence, and noise that follows the
confidence.

With OUT, the table of verdicts (``real_cases.inc``) and two pictures are written there.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy.special import entr, ndtri, softmax
from scipy.stats import rankdata

from benchmarks._rst import publish, simple_table
from sk_arcal.audit import PredictionTable, RoutingAudit, RunsAudit, audit_runs, routing_audit
from sk_arcal.diagnostics import shuffle_within_bins
from sk_arcal.displays import RoutingGapDisplay, RunsGapDisplay

mpl.use("Agg")

CIFAR_NETS = ("resnet18", "densenet121", "vgg11_bn")
MMLU_MODELS = ("base_Llama-2-7b-hf", "base_Qwen-7B", "chat_Llama-2-7b-chat-hf")
HEADER = ("features of", "feature", "verdict", "adjusted p", "gap, points", "smallest visible")


def with_nulls(name: str, values: np.ndarray, confidence: np.ndarray) -> dict[str, np.ndarray]:
    """Return a feature with its shuffled twin and noise that follows the confidence."""
    score = ndtri((rankdata(confidence) - 0.5) / len(confidence))
    noise = np.random.default_rng(1).standard_normal(len(confidence))
    return {
        name: values,
        f"{name}, shuffled": shuffle_within_bins(values, confidence, random_state=0),
        "noise along the confidence": 0.7 * score + 0.7 * noise,
    }


def cifar(folder: Path, n_jobs: int) -> RunsAudit:
    """Audit three networks on one test set, with the disagreement of people."""
    votes = np.load(folder / "logits" / "cifar10h_human_counts.npz")["counts"].astype(float)
    human = entr(votes / votes.sum(axis=1, keepdims=True)).sum(axis=1)
    tables = {}
    for net in CIFAR_NETS:
        cell = np.load(folder / "logits" / f"cifar10_widmann_{net}.npz")
        confidence = softmax(cell["logits"].astype(float), axis=1).max(axis=1)
        tables[net] = PredictionTable.from_arrays(
            cell["y"],
            logits=cell["logits"],
            split=cell["split"],
            routing=with_nulls("human disagreement", human, confidence),
        )
    return audit_runs(tables, random_state=0, n_jobs=n_jobs)


def mmlu(folder: Path, model: str, n_jobs: int) -> RoutingAudit:
    """Audit the four options that can be right, with the category of the question's subject."""
    labels = np.load(folder / "llm" / "mmlu_labels.npz")
    logits = np.load(folder / "llm" / f"mmlu_{model}.npz")["logits"][0]
    kept = labels["split"] < 2
    logits = logits[kept][:, :4]
    category = labels["category_names"][labels["subject_category"][labels["subject"]]][kept]
    confidence = softmax(logits.astype(float), axis=1).max(axis=1)
    return routing_audit(
        labels["y"][kept],
        logits=logits,
        split=labels["split"][kept],
        routing=with_nulls("subject category", category, confidence),
        random_state=0,
        n_jobs=n_jobs,
    )


def runs_rows(audit: RunsAudit) -> Iterator[tuple[str, ...]]:
    """Yield one line a feature over all runs, then one for each run."""
    for feature in audit.features.values():
        result = feature.result
        yield (
            "CIFAR-10, three networks",
            feature.name,
            feature.verdict,
            f"{result.exists_adjusted:.3f}",
            _gap(result.gap, *result.gap_interval),
            f"{100 * result.min_detectable_gap:.1f}",
        )


def rows(model: str, audit: RoutingAudit) -> Iterator[tuple[str, ...]]:
    """Yield one line a feature."""
    for feature in audit.features.values():
        yield (
            f"MMLU, {model}",
            feature.name,
            feature.verdict,
            f"{feature.pvalue_adjusted:.3f}",
            _gap(feature.gap, feature.gap_low, feature.gap_high),
            f"{100 * feature.min_detectable_gap:.1f}",
        )


def _gap(gap: float, low: float, high: float) -> str:
    return f"{100 * gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def draw(runs: RunsAudit, models: dict[str, RoutingAudit], output: Path) -> None:
    """Draw the gaps of the networks, and of the categories of one language model."""
    display: Any = RunsGapDisplay.from_result(runs.tests["routing"])
    display.figure_.savefig(output / "real_cifar.png", dpi=110)
    chat = models[MMLU_MODELS[-1]]
    display = RoutingGapDisplay.from_predictions(
        chat.event, chat.confidence, chat.routing["subject category"], name="subject category"
    )
    display.figure_.savefig(output / "real_mmlu.png", dpi=110)


def main() -> None:
    """Run all cases; print one line a feature, and write table and pictures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("--n-jobs", type=int, default=2)
    arguments = parser.parse_args()
    runs = cifar(arguments.folder, arguments.n_jobs)
    print(runs, flush=True)
    models = {model: mmlu(arguments.folder, model, arguments.n_jobs) for model in MMLU_MODELS}
    lines = [*runs_rows(runs), *(line for item in models.items() for line in rows(*item))]
    table = simple_table("Verdicts on real predictions", HEADER, lines)
    publish([table], None if arguments.output is None else arguments.output / "real_cases.inc")
    if arguments.output is not None:
        draw(runs, models, arguments.output)


if __name__ == "__main__":
    main()
