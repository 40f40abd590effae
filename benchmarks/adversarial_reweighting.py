"""Which adversary, if any: calibration for the worst reweighting, where the truth is known.

Five simulated settings, each with the true probability of every row:

``calibrated null``
    One temperature is the whole truth; three routing columns say nothing.
``temperature by gate``
    The right temperature falls along one of three routing columns.
``sparse bad cell``
    One row in twelve, a corner of two routing columns, is far too confident; one of three columns
    says nothing.
``disagreeing experts``
    Three experts and a gate. One expert is overconfident, one is right, one is too modest, and
    the gate in use is softer than the right one.
``shift inside the ball``
    Two experts that always agree; how likely the event is depends on the gate alone (fixture B of
    the user guide with a gate that varies smoothly).

Fitted on ``--rows`` rows, scored on 20 000 fresh rows against the truth, so the labels of the
fresh rows add no noise. Columns, means over the seeds:

``loss``
    Expected log loss less that of the temperature (the aggregate's), 1e-3 nats, with the standard
    error over the seeds of the paired difference.
``shifted``
    The same under a law that puts the most weight a chi-square ball of radius 1 allows on the
    cells where the temperature is worst.
``worst cell``
    Largest absolute gap between mean prediction and mean truth over cells of routing by
    confidence, in points: tertiles of the first two routing columns or gates by halves of the
    confidence by the side of 1/2 it is on, each cell at least 2 % of the rows.
``lower``
    In how many seeds that gap is below the temperature's.

Run as ``python -m benchmarks.adversarial_reweighting [--seeds 10] [--rows 3000] [--jobs 1]``; some
ten minutes on one core, most of them for the settings with experts.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import expit, log_expit, softmax

from benchmarks._rst import publish, simple_table
from sk_arcal import (
    AdversarialReweightCalibrator,
    ExpertTemperatureScaler,
    TemperatureScaler,
)
from sk_arcal.calibration import CalibrationWarning

Array = NDArray[np.float64]
N_FRESH = 20_000


@dataclass(frozen=True)
class Sample:
    """Log-odds of the aggregate, routing or gates, experts if any, and the truth."""

    aggregate: Array
    routing: Array
    truth: Array
    experts: Array | None = None

    def columns(self) -> Array:
        """X: aggregate, routing, experts."""
        parts = [self.aggregate, self.routing]
        return np.column_stack(parts if self.experts is None else [*parts, self.experts])

    def roles(self, with_experts: bool) -> dict[str, list]:
        """Parameters that say which columns are which."""
        n = self.routing.shape[1]
        if self.experts is None:
            return {"confidence_columns": [0], "routing_columns": list(range(1, 1 + n))}
        if not with_experts:
            return {"confidence_columns": [0], "routing_columns": list(range(1, n))}
        last = range(1 + n, 1 + n + self.experts.shape[1])
        return {
            "expert_columns": [[i] for i in last],
            "gate_columns": list(range(1, 1 + n)),
            "routing_columns": [],
        }


# -- settings ----------------------------------------------------------------------------------


def null(n: int, rng: np.random.Generator) -> Sample:
    """Let one temperature be the truth."""
    log_odds = rng.normal(1.0, 1.5, n)
    return Sample(1.5 * log_odds, rng.random((n, 3)), expit(log_odds))


def by_gate(n: int, rng: np.random.Generator) -> Sample:
    """Let the right inverse temperature rise along a column."""
    said, routing = rng.normal(1.0, 2.0, n), rng.random((n, 3))
    return Sample(said, routing, expit((0.5 + 0.9 * routing[:, 0]) * said))


def sparse_cell(n: int, rng: np.random.Generator) -> Sample:
    """Make a corner of two columns overconfident."""
    said, routing = rng.normal(1.0, 2.0, n), rng.random((n, 3))
    bad = (routing[:, 0] > 0.75) & (routing[:, 1] > 0.667)
    return Sample(said, routing, expit(np.where(bad, 0.25, 1.0) * said))


def _mixed(experts: Array, gates: Array) -> Array:
    """Log-odds of the mixture of probabilities."""
    p = (gates * expit(experts)).sum(axis=1)
    rest = (gates * expit(-experts)).sum(axis=1)
    return np.log(p) - np.log(rest)


def disagreeing(n: int, rng: np.random.Generator) -> Sample:
    """Let experts err by factors of their own, and mix them by too soft a gate."""
    scores = rng.normal(0, 1.5, (n, 3))
    right = rng.normal(0.7, 1.2, (n, 1)) + rng.normal(0, 1.0, (n, 3))
    experts = right * [2.5, 1.0, 0.5]
    gates = softmax(scores, axis=1)
    truth = expit(_mixed(right, softmax(2 * scores, axis=1)))
    return Sample(_mixed(experts, gates), gates, truth, experts)


def shift(n: int, rng: np.random.Generator) -> Sample:
    """Let experts agree, and make the event likelier where the gate is undecided."""
    gate = rng.beta(1.0, 1.0, n)
    said = rng.normal(1.4, 0.3, n)
    truth = expit(said + np.where(np.abs(gate - 0.5) < 0.25, 0.8, -0.55))
    gates = np.column_stack([gate, 1 - gate])
    return Sample(said, gates, truth, np.column_stack([said, said]))


SETTINGS: dict[str, Callable[[int, np.random.Generator], Sample]] = {
    "calibrated null": null,
    "temperature by gate": by_gate,
    "sparse bad cell": sparse_cell,
    "disagreeing experts": disagreeing,
    "shift inside the ball": shift,
}


# -- methods -----------------------------------------------------------------------------------


def methods(has_experts: bool) -> dict[str, Callable[[Sample], object]]:
    """Name and maker of every method, the baseline first."""

    def adversarial(**settings: object) -> Callable[[Sample], object]:
        return lambda sample: AdversarialReweightCalibrator(
            **sample.roles(True), confidence_kind="logit", **settings
        )

    found: dict[str, Callable[[Sample], object]] = {
        "temperature": lambda sample: TemperatureScaler(
            **sample.roles(False), confidence_kind="logit"
        ),
        "expert temperatures": lambda sample: ExpertTemperatureScaler(
            **sample.roles(True), confidence_kind="logit", mixture_temperature=True
        ),
        "no adversary, same map": adversarial(adversary="none"),
    }
    strengths = {"tilted": {}, "softmax": {}, "cvar": {"alpha": 0.2}, "chi2": {}, "kl": {}}
    for name, strength in strengths.items():
        found[f"{name}, routing"] = adversarial(adversary=name, **strength)
    # Cross-validation would leave the plain temperature; this is what the adversary itself does.
    for name, strength in strengths.items():
        found[f"{name}, rows, ridge 0.01"] = adversarial(
            adversary=name, view="rows", ridge=0.01, **strength
        )
    found["tilted, rows"] = adversarial(view="rows")
    if has_experts:
        found["softmax, rows, filtered"] = adversarial(
            adversary="softmax", view="rows", filtered=True
        )
        found["tilted, routing, filtered"] = adversarial(filtered=True)
    return found


# -- scores ------------------------------------------------------------------------------------


def cells(sample: Sample) -> list[NDArray[np.bool_]]:
    """Tertiles of the first two routing columns, halves of the confidence, and its sign."""
    high = np.abs(sample.aggregate) > np.median(np.abs(sample.aggregate))
    found = []
    thirds = []
    for column in sample.routing[:, :2].T:
        edges = np.quantile(column, [0, 1 / 3, 2 / 3, 1])
        edges[-1] = np.inf
        thirds.append([(column >= low) & (column < top) for low, top in pairwise(edges)])
    said_yes = sample.aggregate > 0
    for parts in product(*thirds, (high, ~high), (said_yes, ~said_yes)):
        inside = np.logical_and.reduce(parts)
        if inside.mean() >= 0.02:
            found.append(inside)
    return found


def expected_losses(log_odds: Array, truth: Array) -> Array:
    """Log loss of every row in expectation over its label."""
    return -truth * log_expit(log_odds) - (1 - truth) * log_expit(-log_odds)


def worst_law(sample: Sample, excess: Array) -> Array:
    """Weights by cell, in the ball of radius 1, that hurt `excess` most."""
    code = np.zeros(len(excess), dtype=int)
    for number, inside in enumerate(cells(sample), start=1):
        code[inside] = number
    mass = np.bincount(code) / len(code)
    mean = np.bincount(code, weights=excess) / np.maximum(mass * len(code), 1)
    gap = mean - mass @ mean
    # Without the constraint of sign the worst direction is the centred excess itself.
    weight = 1 + gap / np.sqrt(max(mass @ gap**2, 1e-30))
    weight = np.maximum(weight, 0)
    return (weight / (mass @ weight))[code]


def one_seed(setting: str, seed: int, n: int) -> dict[str, tuple[float, float, float]]:
    """Return expected loss, loss under the shift, and worst gap of every method."""
    rng = np.random.default_rng([seed, list(SETTINGS).index(setting)])
    train, fresh = SETTINGS[setting](n, rng), SETTINGS[setting](N_FRESH, rng)
    y = (rng.random(n) < train.truth).astype(int)
    found, law = {}, np.ones(N_FRESH)
    for name, make in methods(train.experts is not None).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            log_odds = make(train).fit(train.columns(), y).decision_function(fresh.columns())
        losses = expected_losses(log_odds, fresh.truth)
        if name == "temperature":
            floor = expected_losses(np.log(fresh.truth) - np.log1p(-fresh.truth), fresh.truth)
            law = worst_law(fresh, losses - floor)
        gap = expit(log_odds) - fresh.truth
        worst = max(abs(gap[inside].mean()) for inside in cells(fresh))
        found[name] = (losses.mean(), (law * losses).mean(), worst)
    return found


# -- report ------------------------------------------------------------------------------------


def _difference(values: Array) -> str:
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{1e3 * values.mean():+.2f} ± {1e3 * error:.2f}"


def table(setting: str, results: list[dict[str, tuple[float, float, float]]]) -> str:
    """Table of one setting, a line for every method."""
    rows = []
    base = np.array([seed["temperature"] for seed in results])
    for name in results[0]:
        own = np.array([seed[name] for seed in results])
        lower = int((own[:, 2] < base[:, 2] - 1e-9).sum())
        loss, shifted = (_difference(own[:, k] - base[:, k]) for k in (0, 1))
        rows.append((name, loss, shifted, f"{100 * own[:, 2].mean():.1f}", f"{lower}/{len(own)}"))
    return simple_table(setting, ("method", "loss", "shifted", "worst cell", "lower"), rows)


def tables(settings: list[str], n_seeds: int, n_rows: int, n_jobs: int) -> Iterator[str]:
    """Run setting after setting."""
    for setting in settings:
        results = Parallel(n_jobs)(
            delayed(one_seed)(setting, seed, n_rows) for seed in range(n_seeds)
        )
        yield table(setting, results)


def main() -> None:
    """Run all settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    args = parser.parse_args()
    publish(tables(args.settings, args.seeds, args.rows, args.jobs), args.output)


if __name__ == "__main__":
    main()
