"""The six claims of the published routing audit, on simulated runs and on trained networks.

    python -m benchmarks.routing_runs PATH/TO/data RUNS     # trains nine networks
    python -m benchmarks.audit_claims RUNS [--output claims.inc]

Simulated are five runs on one test set of 2500 items each: *null* (routing correlated .5 with an
overconfident confidence, no effect), *planted* (a step of 6 points) and *trap* (the event rate is a
wave of the confidence, and a profile of six layers says nothing). Trained are three seeds each of
small vision transformers on CIFAR-10 with a plain residual stream, attention over blocks and
over all layers, evaluated on 5000 images. Features of the networks: mean (*aggregate*) and variance
over depth of the routing entropy, predictive entropy, and the variance of the confidence over the
checkpoints of training; the profile are the entropies of all depth sites.

One column a set of runs, one line a number; see the page "Does routing matter?" for what they say.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import softmax, xlogy
from scipy.stats import spearmanr

from benchmarks._rst import publish, simple_table
from sk_arcal.audit import PredictionTable, audit_runs
from sk_arcal.datasets import make_routing_data, make_routing_runs
from sk_arcal.diagnostics import (
    MatchedProbes,
    bandwidth_sensitivity,
    capacity_control,
    checkpoint_profile,
    matched_probes,
    routing_permutation_test,
)
from sk_arcal.metrics import (
    expected_calibration_error,
    maximum_calibration_error,
    smooth_calibration_error,
)

Array = NDArray[np.float64]
RESIDUALS = ("none", "block", "full")
N_ITEMS, N_RUNS = 2500, 5


@dataclass(frozen=True)
class Run:
    """What one network says about the test set."""

    event: Array
    confidence: Array
    features: dict[str, Array]
    profile: Array


# --- sets of runs ---------------------------------------------------------------------------


def simulated(effect: str) -> list[Run]:
    """Return five runs on one test set, with or without an effect of 6 points."""
    data = make_routing_runs(
        N_ITEMS, N_RUNS, effect=effect, strength=0.06, correlation=0.5, random_state=0
    )
    rng = np.random.default_rng(1)
    runs = []
    for y, confidence, routing in zip(data.y, data.confidence, data.routing, strict=True):
        noise = 0.5 * routing[:, None] + rng.standard_normal((N_ITEMS, 5))
        features = {"variance over depth": routing, "aggregate": noise[:, 0]}
        runs.append(Run(y, confidence, features, np.column_stack([routing, noise])))
    return runs


def trap() -> list[Run]:
    """Return five runs whose event rate is a wave of the confidence."""
    runs = []
    for seed in range(N_RUNS):
        data = make_routing_data(
            N_ITEMS, curve="waves", n_layers=6, correlation=0.6, random_state=seed
        )
        features = {
            "variance over depth": data.routing.var(axis=1),
            "aggregate": data.routing.mean(axis=1),
        }
        runs.append(Run(data.y, data.confidence, features, data.routing))
    return runs


def networks(folder: Path, residual: str) -> list[Run]:
    """Return the runs of one kind of residual stream."""
    return [network(path) for path in sorted(folder.glob(f"{residual}_*.csv"))]


def network(path: Path) -> Run:
    """Read one network's scores, routing columns and checkpoints."""
    table = pd.read_csv(path)
    scores = [column for column in table if column.startswith("logit__")]
    classes = np.array([column.removeprefix("logit__") for column in scores])
    logits = table[scores].to_numpy()
    probability = softmax(logits, axis=1)
    staged = np.load(path.with_suffix(".npz"))
    temporal = checkpoint_profile(staged["y"], staged["proba"], n_resamples=2, random_state=0)
    features = {
        "variance over depth": "routing__depth__entropy_variance",
        "aggregate": "routing__depth__mean_normalized_entropy",
    }
    profile = [column for column in table if column.endswith("__entropy")]
    return Run(
        event=(classes[logits.argmax(axis=1)] == table["y_true"]).to_numpy(float),
        confidence=probability.max(axis=1),
        features={name: table[column].to_numpy() for name, column in features.items() if profile}
        | {
            "predictive entropy": -xlogy(probability, probability).sum(axis=1),
            "checkpoint variance": temporal.features["confidence_variance"],
        },
        profile=table[profile].to_numpy(),
    )


# --- numbers --------------------------------------------------------------------------------


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return mean and range over runs."""
    return f"{np.mean(values):+.{digits}f} ({min(values):+.{digits}f} to {max(values):+.{digits}f})"


def published_rejections(runs: list[Run]) -> dict[str, str]:
    """Claim 1 and 2: runs in which the published permutation test rejects."""
    found = {}
    for name in runs[0].features:
        pvalues = [
            routing_permutation_test(
                run.event, run.confidence, run.features[name], random_state=0
            ).pvalue
            for run in runs
        ]
        found[f"published test rejects, {name}"] = (
            f"{np.sum(np.less(pvalues, 0.05))} of {len(runs)}"
        )
    return found


def probe_numbers(runs: list[Run]) -> dict[str, str]:
    """Claims 1, 2 and 5: probes of every run, differences to the confidence alone."""
    probes = [
        matched_probes(
            run.event,
            run.confidence,
            run.features,
            estimator="published",
            max_samples=5000,
            n_shuffles=2,
            n_resamples=50,
            random_state=0,
        )
        for run in runs
    ]
    lines, roles = {}, {"feature", "shuffled", "noise"}
    for name in [score.name for score in probes[0].scores if score.role in roles]:
        scores = [next(s for s in p.scores if s.name == name) for p in probes]
        loss = [1000 * s.log_loss_difference.estimate for s in scores]
        worst = [100 * s.worst_ece_difference.estimate for s in scores]
        lines[f"Scott kernel, log loss × 1000, {name}"] = spread(loss)
        lines[f"Scott kernel, worst tertile ECE, points, {name}"] = spread(worst)
    return lines | stability(probes)


def stability(probes: list[MatchedProbes]) -> dict[str, str]:
    """Claim 5: how errors vary over runs, and whether SmoothECE ranks probes as ECE does."""
    measures = {
        "maximum error": maximum_calibration_error,
        "ECE": expected_calibration_error,
        "SmoothECE": smooth_calibration_error,
    }
    table = np.array(
        [
            [[f(p.event, q) for q in p.predictions.values()] for p in probes]
            for f in measures.values()
        ]
    )
    deviation = 100 * table.std(axis=1, ddof=1).mean(axis=1)
    agreement = [spearmanr(table[1, s], table[2, s]).statistic for s in range(len(probes))]
    sizes = {
        f"standard deviation over runs, {name}, points": f"{value:.2f}"
        for name, value in zip(measures, deviation, strict=True)
    }
    return sizes | {"rank correlation of ECE and SmoothECE": spread(agreement, 2)}


def capacity_numbers(runs: list[Run]) -> dict[str, str]:
    """Claim 3: what the network on the full profile gains, and over what."""
    if not runs[0].profile.shape[1]:
        return {}
    controls = [
        capacity_control(run.event, run.confidence, run.profile, random_state=0) for run in runs
    ]
    found = {
        f"full profile gains × 1000 over {arm}": spread(
            [1000 * control.gain[arm].estimate for control in controls]
        )
        for arm in controls[0].gain
    }
    survivors = sum(control.survives for control in controls)
    return found | {"full profile survives its controls": f"{survivors} of {len(runs)}"}


def bandwidth_numbers(runs: list[Run]) -> dict[str, str]:
    """Claim 4: how far the bandwidth moves the numbers, and whether it moves the verdict."""
    name = next(iter(runs[0].features))
    tables = [
        bandwidth_sensitivity(
            run.event, run.confidence, run.features[name], n_resamples=50, random_state=0
        )
        for run in runs
    ]
    moved = [
        np.ptp([rule.feature_ece for rule in table.rules if not rule.leaks]) for table in tables
    ]
    signs = [{r.log_loss_difference.high < 0 for r in t.rules if not r.leaks} for t in tables]
    return {
        f"ECE moved by the bandwidth, points, {name}": f"{100 * np.mean(moved):.2f}",
        f"gain survives all bandwidths, {name}": (
            f"{sum(table.gain_survives for table in tables)} of {len(runs)}"
        ),
        f"runs in which all bandwidths agree, {name}": (
            f"{sum(len(sign) == 1 for sign in signs)} of {len(runs)}"
        ),
    }


def verdict_numbers(runs: list[Run]) -> dict[str, str]:
    """Claim 6: the verdict over runs, feature by feature."""
    tables = [
        PredictionTable.from_arrays(run.event, confidence=run.confidence, routing=run.features)
        for run in runs
    ]
    audit = audit_runs(tables, cv=2, n_resamples=499, random_state=0)
    found = {}
    for name, feature in audit.features.items():
        low, high = feature.result.gap_interval
        found[f"p pooled over runs, {name}"] = f"{feature.result.exists_adjusted:.3f}"
        found[f"mean gap, points, {name}"] = (
            f"{100 * feature.result.gap:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        )
        found[f"runs that signal, {name}"] = (
            f"{sum(v == 'signal' for v in feature.run_verdicts.values())} of {len(runs)}"
        )
        found[f"verdict, {name}"] = feature.verdict
    return found


def numbers(runs: list[Run]) -> dict[str, str]:
    """Return every number of one set of runs."""
    return {
        **published_rejections(runs),
        **probe_numbers(runs),
        **capacity_numbers(runs),
        **bandwidth_numbers(runs),
        **verdict_numbers(runs),
    }


def table(title: str, columns: dict[str, dict[str, str]]) -> str:
    """Return one line a number, one column a set of runs."""
    lines = list(dict.fromkeys(line for column in columns.values() for line in column))
    body = [[line, *(column.get(line, "") for column in columns.values())] for line in lines]
    return simple_table(title, ["number", *columns], body)


def main() -> None:
    """Read the arguments; measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder written by benchmarks.routing_runs")
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    sets = {
        "null": simulated("none"),
        "planted": simulated("step"),
        "trap": trap(),
        **{residual: networks(arguments.runs, residual) for residual in RESIDUALS},
    }
    measured = Parallel(n_jobs=arguments.n_jobs)(delayed(numbers)(runs) for runs in sets.values())
    columns = dict(zip(sets, measured, strict=True))
    tables = [
        table(f"Simulated, {N_RUNS} runs: mean (range over runs)", dict(list(columns.items())[:3])),
        table("Networks, 3 seeds: mean (range over seeds)", dict(list(columns.items())[3:])),
    ]
    publish(tables, arguments.output)


if __name__ == "__main__":
    main()
