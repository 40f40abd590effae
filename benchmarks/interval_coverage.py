"""How often the intervals hold the truth they are about.

Four intervals, each over simulated data sets with a known truth:

``gap``
    Difference of the event rate between the top and the bottom third of the routing, among rows of
    like confidence (:func:`sk_arcal.diagnostics.conditional_calibration_test`).
``error``
    Expected calibration error (:func:`sk_arcal.metrics.calibration_error_interval`).
``difference``
    Difference of two of them on the same rows
    (:func:`sk_arcal.metrics.calibration_error_difference`).
``grouping``
    Grouping loss (:func:`sk_arcal.diagnostics.grouping_loss`).

Confidences of ``error`` and ``difference`` are sigmoids of a normal variable (mean 2, standard
deviation 1.5: about 80 % right). *Overconfident* truths flatten the logit, *wave* truths add a
sine, until the error of 15 bins has the size named. Their true values are those of a test set of
50 000 quantiles of the confidence, with the same bins. The other two are
those of `benchmarks.scenarios.tertile_gap` and of :func:`sk_arcal.datasets.make_routing_data`.

Printed for every case: mean truth and mean estimate (percentage points; 10^-4 for the grouping
loss), coverage in % with its 95 % Monte-Carlo error, how often the truth lies below and above, and
the mean width of the interval.

Run as ``python -m benchmarks.interval_coverage [--intervals gap error difference grouping]
[--sizes 2500 10000] [--replicates 1000] [--n-jobs 2] [--output coverage.rst]``. Every replicate has
a seed of its own, so results do not depend on the number of jobs.
"""

import argparse
import zlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

# As a module: a ufunc that stands in __main__ cannot be sent to worker processes.
from scipy import special
from scipy.optimize import brentq, minimize_scalar

from benchmarks._rst import publish, simple_table
from benchmarks.scenarios import tertile_gap
from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import conditional_calibration_test, grouping_loss
from sk_arcal.metrics import calibration_error_difference, calibration_error_interval

Array = NDArray[np.float64]
Map = Callable[[Array], Array]
# Truth, estimate, low end, high end.
Found = tuple[float, float, float, float]
N_QUANTILES = 50_000


# --- gap and grouping loss ------------------------------------------------------------------------


def gap_case(gap: float, n: int, rng: np.random.Generator) -> Found:
    """Top third minus bottom third of the routing."""
    simulation = tertile_gap(n, rng, gap)
    result = conditional_calibration_test(
        simulation.y, simulation.confidence, simulation.routing, n_resamples=99, random_state=rng
    )
    return simulation.gap(), result.gap, *result.gap_interval


def grouping_case(
    effect: str, strength: float, correlation: float, n: int, rng: np.random.Generator
) -> Found:
    """Variance of the truth at fixed confidence."""
    data = make_routing_data(
        n, effect=effect, strength=strength, correlation=correlation, random_state=rng
    )
    loss = grouping_loss(data.y, data.confidence, data.routing[:, 0], random_state=rng)
    truth = float(((data.probability - data.calibrated) ** 2).mean())
    return truth, loss.estimate, loss.low, loss.high


# --- calibration errors ---------------------------------------------------------------------------


@cache
def quantiles() -> Array:
    """Logits of the population."""
    return 2 + 1.5 * special.ndtri((np.arange(N_QUANTILES) + 0.5) / N_QUANTILES)


def true_error(predicted: Map, truth: Map) -> float:
    """Return the error of 15 equal bins on the population."""
    confidence = predicted(quantiles())
    bins = np.searchsorted(np.linspace(0, 1, 16)[1:-1], confidence)
    gaps = np.bincount(bins, weights=confidence - truth(quantiles()))
    return float(np.abs(gaps).sum() / N_QUANTILES)


def tempered(factor: float, logit: Array) -> Array:
    """Sigmoid of `factor` times the logit."""
    return special.expit(factor * logit)


def wave(size: float, logit: Array) -> Array:
    """Sigmoid of the logit plus a sine of it."""
    confidence = special.expit(logit)
    return np.clip(confidence + size * np.sin(9 * confidence), 0, 1)


RAW: Map = partial(tempered, 1.0)


@cache
def overconfident_truth(error: float) -> Map:
    """Truth under which `RAW` has the given error and is overconfident."""
    factor = brentq(lambda f: true_error(RAW, partial(tempered, f)) - error, 0.1, 1 - 1e-9)
    return partial(tempered, factor)


@cache
def wave_truth(error: float) -> Map:
    """Truth that winds round `RAW` at the given mean distance."""
    return partial(wave, brentq(lambda size: true_error(RAW, partial(wave, size)) - error, 0, 0.5))


def draw(truth: Map, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return logits and outcomes."""
    logit = rng.normal(2, 1.5, n)
    return logit, (rng.random(n) < truth(logit)).astype(float)


def fitted_temperature(truth: Map, n: int, rng: np.random.Generator) -> Map:
    """Fit one temperature on another `n` rows."""
    logit, y = draw(truth, n, rng)
    sign = 1 - 2 * y
    loss = minimize_scalar(
        lambda factor: np.logaddexp(0, sign * factor * logit).mean(), bounds=(0.2, 3)
    )
    return partial(tempered, float(loss.x))


def error_case(shape: str, error: float, n: int, rng: np.random.Generator) -> Found:
    """Error of one prediction."""
    truth = RAW if error == 0 else TRUTHS[shape](error)
    logit, y = draw(truth, n, rng)
    found = calibration_error_interval(y, RAW(logit), random_state=rng)
    return error, found.corrected, found.low, found.high


def difference_case(kind: str, n: int, rng: np.random.Generator) -> Found:
    """Difference of the errors of two predictions."""
    truth, first, second = PAIRS[kind](n, rng)
    logit, y = draw(truth, n, rng)
    found = calibration_error_difference(y, first(logit), second(logit), random_state=rng)
    value = true_error(first, truth) - true_error(second, truth)
    return value, found.corrected, found.low, found.high


TRUTHS: dict[str, Callable[[float], Map]] = {
    "overconfident": overconfident_truth,
    "wave": wave_truth,
}
# Truth and the two predictions.
PAIRS: dict[str, Callable[[int, np.random.Generator], tuple[Map, Map, Map]]] = {
    "two temperatures fitted to calibrated data": lambda n, rng: (
        RAW,
        fitted_temperature(RAW, n, rng),
        fitted_temperature(RAW, n, rng),
    ),
    "calibrated, and tempered by 5 %": lambda n, rng: (RAW, RAW, partial(tempered, 1.05)),
    "raw at 4 %, and its fitted temperature": lambda n, rng: (
        overconfident_truth(0.04),
        RAW,
        fitted_temperature(overconfident_truth(0.04), n, rng),
    ),
    "raw at 4 %, and the truth": lambda n, rng: (
        overconfident_truth(0.04),
        RAW,
        overconfident_truth(0.04),
    ),
    "raw at 1 % (wave), and the truth": lambda n, rng: (wave_truth(0.01), RAW, wave_truth(0.01)),
    "overconfident at 4 %, and more so": lambda n, rng: (
        overconfident_truth(0.04),
        RAW,
        partial(tempered, 1.25),
    ),
    "wave at 4 %, and tempered": lambda n, rng: (wave_truth(0.04), RAW, partial(tempered, 0.7)),
    "overconfident, and underconfident": lambda n, rng: (
        RAW,
        partial(tempered, 1.35),
        partial(tempered, 1 / 1.35),
    ),
}


# --- cases ----------------------------------------------------------------------------------------

Case = Callable[[int, np.random.Generator], Found]
CASES: dict[str, dict[str, Case]] = {
    "gap": {f"true gap {100 * gap:g} %": partial(gap_case, gap) for gap in (0.0, 0.02, 0.06)},
    "error": {
        f"{shape}, {100 * error:g} %" if error else "calibrated": partial(error_case, shape, error)
        for shape, error in (
            *(("overconfident", error) for error in (0.0, 0.01, 0.04)),
            *(("wave", error) for error in (0.01, 0.04)),
        )
    },
    "difference": {kind: partial(difference_case, kind) for kind in PAIRS},
    "grouping": {
        f"{effect} {strength:g}, correlation {correlation:g}"
        if effect != "none"
        else f"none, correlation {correlation:g}": partial(
            grouping_case, effect, strength, correlation
        )
        for effect in ("none", "step", "linear", "u_shape", "tail", "crossing", "one_bin")
        for strength in ((0.05,) if effect == "none" else (0.03, 0.1))
        for correlation in (0.0, 0.5, 0.9)
    },
}
SCALES = {"gap": 1e2, "error": 1e2, "difference": 1e2, "grouping": 1e4}


def replicate(case: Case, label: str, n: int, number: int) -> Found:
    """Run one data set."""
    return case(n, np.random.default_rng([zlib.crc32(label.encode()), n, number]))


def collect(interval: str, name: str, n: int, replicates: int, n_jobs: int = 1) -> Array:
    """Return truth, estimate, low and high end, shape (replicates, 4)."""
    label = f"{interval} {name}"
    jobs = (
        delayed(replicate)(CASES[interval][name], label, n, number) for number in range(replicates)
    )
    return np.array(Parallel(n_jobs=n_jobs)(jobs))


def coverage(runs: Array) -> float:
    """Share of the runs whose interval holds the truth, up to rounding."""
    truth, _, low, high = runs.T
    return float(((low <= truth + 1e-12) & (truth <= high + 1e-12)).mean())


def table_row(name: str, n: int, runs: Array, scale: float) -> tuple[str, ...]:
    """Format one case."""
    truth, estimate, low, high = runs.T
    covered = coverage(runs)
    error = 1.96 * np.sqrt(covered * (1 - covered) / len(runs))
    return (
        name,
        str(n),
        f"{scale * truth.mean():.2f}",
        f"{scale * estimate.mean():.2f}",
        f"{100 * covered:.1f} ± {100 * error:.1f}",
        f"{100 * (truth < low - 1e-12).mean():.1f}",
        f"{100 * (truth > high + 1e-12).mean():.1f}",
        f"{scale * (high - low).mean():.2f}",
    )


HEADER = ("case", "n", "truth", "estimate", "coverage", "below", "above", "width")


def table(interval: str, sizes: Sequence[int], replicates: int, n_jobs: int) -> str:
    """Return the table of one interval."""
    rows = [
        table_row(name, n, collect(interval, name, n, replicates, n_jobs), SCALES[interval])
        for name in CASES[interval]
        for n in sizes
    ]
    return simple_table(f"{interval}, 95 % intervals, {replicates} runs", HEADER, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table per interval."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--intervals", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--sizes", nargs="+", type=int, default=[2500, 10_000])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    options = parser.parse_args(arguments)
    publish(
        (
            table(interval, options.sizes, options.replicates, options.n_jobs)
            for interval in options.intervals
        ),
        options.output,
    )


if __name__ == "__main__":
    main()
