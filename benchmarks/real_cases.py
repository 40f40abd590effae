"""Audits of real predictions, with the folder of data files given.

    python benchmarks/real_cases.py PATH/TO/data

Three cases: CIFAR-10 logits with the disagreement of human voters about the same images (a
positive control), the same column shuffled among rows of like confidence (its negative twin),
and option logits of language models on MMLU with the subject category (a mixed case).
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.special import entr, softmax

from sk_arcal.audit import routing_audit
from sk_arcal.diagnostics import shuffle_within_bins

CIFAR_NETS = ("resnet18", "densenet121", "vgg11_bn")
MMLU_MODELS = ("base_Llama-2-7b-hf", "base_Qwen-7B", "chat_Llama-2-7b-chat-hf")


def main() -> None:
    """Run all cases and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n-jobs", type=int, default=2)
    arguments = parser.parse_args()
    for name, audit in _cases(arguments.folder, arguments.n_jobs):
        for feature in audit.features.values():
            if feature.role == "routing":
                print(
                    f"{name:<48} {feature.name:<20} {feature.verdict:<12} "
                    f"p = {feature.pvalue:<8.3g} gap {feature.gap:+.3f} "
                    f"[{feature.gap_low:+.3f}, {feature.gap_high:+.3f}]  "
                    f"smallest visible {feature.min_detectable_gap:.3f}  "
                    f"probe p = {feature.probe.pvalue:.3f}",
                    flush=True,
                )


def _cases(folder: Path, n_jobs: int):
    counts = np.load(folder / "logits" / "cifar10h_human_counts.npz")
    votes = counts["counts"].astype(float)
    human = entr(votes / votes.sum(axis=1, keepdims=True)).sum(axis=1)
    shared = {"random_state": 0, "n_jobs": n_jobs}
    for net in CIFAR_NETS:
        cell = np.load(folder / "logits" / f"cifar10_widmann_{net}.npz")
        confidence = softmax(cell["logits"].astype(float), axis=1).max(axis=1)
        routing = {
            "human entropy": human,
            "shuffled": shuffle_within_bins(human, confidence, random_state=0),
        }
        for name, values in routing.items():
            audit = routing_audit(
                cell["y"],
                logits=cell["logits"],
                split=cell["split"],
                routing={name: values},
                **shared,
            )
            yield f"CIFAR-10 {net}", audit
    labels = np.load(folder / "llm" / "mmlu_labels.npz")
    for model in MMLU_MODELS:
        cell = np.load(folder / "llm" / f"mmlu_{model}.npz")
        yield f"MMLU {model}", _mmlu(cell["logits"][0], labels, shared)


def _mmlu(logits, labels, shared):
    """Audit the four options that can be right, with the category of the question's subject."""
    split = labels["split"]
    kept = split < 2
    category = labels["category_names"][labels["subject_category"][labels["subject"]]]
    return routing_audit(
        labels["y"][kept],
        logits=logits[kept][:, :4],
        split=split[kept],
        routing={"subject category": category[kept]},
        **shared,
    )


if __name__ == "__main__":
    main()
