"""One temperature: fit and transform against other libraries and the least work possible.

Sizes are rows x classes, in float32 and float64. The reference is the optimum of the same numbers
in float64, to the last digit. The library's own functions below the estimator are timed, too, so
that the cost of validation shows.
"""

import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from benchmarks._rst import publish, simple_table
from benchmarks.speed import _temperature_peers as peers
from benchmarks.speed._harness import (
    Contender,
    Target,
    Timing,
    machine,
    race,
    significant,
    target_table,
)
from sk_arcal import TemperatureScaler
from sk_arcal._numeric import tempered_softmax
from sk_arcal.calibration._tempering import fit_temperature

SIZES = ((5_000, 10), (50_000, 100), (50_000, 1000))
QUICK_SIZES = ((5_000, 10), (5_000, 100))
CORE, ESTIMATOR = "sk_arcal, core", "sk_arcal, TemperatureScaler"
CORE_WARM, ESTIMATOR_WARM = f"{CORE}, out given", f"{ESTIMATOR}, out given"
# Bounds of the targets: against scikit-learn, against the limit in float32 and float64.
FIT_BOUNDS = {10: (5, 2, 2), 100: (20, 2, 1.2), 1000: (30, 2, 1.5)}
TRANSFORM_BOUNDS = {10: 3, 100: 3, 1000: 2.3}


@dataclass(frozen=True)
class Case:
    """Logits two and a half times too large, and labels drawn from the truth."""

    logits: NDArray[np.floating]
    y: NDArray[np.intp]

    @property
    def name(self) -> str:
        """Size and precision."""
        n, n_classes = self.logits.shape
        return f"{n:,} x {n_classes} {self.logits.dtype}"

    def loss(self, beta: float) -> float:
        """Mean log loss by definition, in float64."""
        total = 0.0
        for rows in self._blocks():
            scores = log_softmax(beta * self.logits[rows].astype(np.float64), axis=1)
            total -= float(scores[np.arange(len(scores)), self.y[rows]].sum())
        return total / len(self.y)

    def optimum(self) -> float:
        """Newton's iteration in float64, to the last digit."""
        beta = 1 / 2.5
        for _ in range(6):
            gradient = curvature = 0.0
            for rows in self._blocks():
                scores = self.logits[rows].astype(np.float64)
                scores -= scores[np.arange(len(scores)), self.y[rows]][:, None]
                probability = softmax(beta * scores, axis=1)
                mean = (probability * scores).sum(axis=1)
                gradient += float(mean.sum())
                curvature += float((probability * (scores - mean[:, None]) ** 2).sum())
            beta -= gradient / curvature
        return 1 / beta

    def _blocks(self) -> list[slice]:
        step = max(1, peers.BLOCK // self.logits.shape[1])
        return [slice(start, start + step) for start in range(0, len(self.y), step)]


def cases(quick: bool) -> Iterator[Case]:
    """Every size in both precisions."""
    for n, n_classes in QUICK_SIZES if quick else SIZES:
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 2, (n, n_classes))
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        logits *= 2.5
        for dtype in (np.float32, np.float64):
            yield Case(logits.astype(dtype), y)


def fit_race(case: Case, rounds: int) -> dict[str, Timing]:
    """Time all fits, and what any fit has to do."""
    codes, weight = case.y.astype(np.float64), np.ones(len(case.y))
    classes = range(case.logits.shape[1])

    def estimator() -> float:
        scaler = TemperatureScaler(confidence_kind="logit", classes=classes)
        return scaler.fit(case.logits, case.y).temperature_

    return race(
        [
            *peers.fit_limits(case.logits),
            Contender(CORE, lambda: fit_temperature(case.logits, codes, weight).temperature),
            Contender(ESTIMATOR, estimator),
            *peers.fit_peers(case.logits, case.y, slow=case.logits.size <= 5_000_000),
        ],
        rounds,
    )


def transform_race(case: Case, rounds: int) -> dict[str, Timing]:
    """Time all predictions, into new memory and into given memory."""
    classes = range(case.logits.shape[1])
    scaler = TemperatureScaler(confidence_kind="logit", classes=classes).fit(case.logits, case.y)
    out, t = np.empty_like(case.logits), scaler.temperature_
    return race(
        [
            Contender(CORE, lambda: tempered_softmax(case.logits, t, np.empty_like(out))),
            Contender(CORE_WARM, lambda: tempered_softmax(case.logits, t, out)),
            Contender(ESTIMATOR, lambda: scaler.predict_proba(case.logits)),
            Contender(ESTIMATOR_WARM, lambda: scaler.predict_proba(case.logits, out=out)),
            *peers.transform_peers(case.logits, case.y, scaler.temperature_),
        ],
        rounds,
    )


def fit_errors(case: Case, timings: dict[str, Timing]) -> dict[str, tuple[float, float]]:
    """Error in log T and relative excess of the log loss, of those that return a temperature."""
    best = case.optimum()
    least = case.loss(1 / best)
    return {
        name: (
            abs(float(np.log(timing.result / best))),
            max(0.0, case.loss(1 / timing.result) / least - 1),
        )
        for name, timing in timings.items()
        if isinstance(timing.result, float) and not name.startswith("limit")
    }


def extra_memory(case: Case) -> float:
    """MiB of a fit beside its arguments."""
    codes, weight = case.y.astype(np.float64), np.ones(len(case.y))
    tracemalloc.start()
    fit_temperature(case.logits, codes, weight)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def probability_error(case: Case) -> float:
    """Largest error of a probability, on some rows in extended precision."""
    some = case.logits[:2000]
    found = tempered_softmax(some, 2.5, np.empty_like(some))
    exact = np.exp(log_softmax(some.astype(np.longdouble) / 2.5, axis=1))
    return float(np.abs(found - exact).max())


def fit_targets(
    case: Case, timings: dict[str, Timing], errors: dict[str, tuple[float, float]]
) -> Iterator[Target]:
    """Return the lines about the fit, for one size and precision."""
    bounds = FIT_BOUNDS[case.logits.shape[1]]
    own = timings[CORE].milliseconds
    for peer, bound in ((peers.SKLEARN, bounds[0]), (peers.PROBMETRICS, 20)):
        if peer in timings and (peer == peers.SKLEARN or case.logits.shape[1] > 10):
            ratio = timings[peer].milliseconds / own
            yield Target(f"fit {case.name}: {peer} / core", ratio, bound, ">=")
    passes = (peers.LOGSUMEXP_TORCH, peers.LOGSUMEXP_NUMPY)
    limit = min(timings[name].milliseconds for name in passes if name in timings)
    bound = bounds[1] if case.logits.dtype == np.float32 else bounds[2]
    yield Target(f"fit {case.name}: core / logsumexp pass", own / limit, bound, "<=")
    for name in (CORE, ESTIMATOR):
        yield Target(f"{name} {case.name}: error in log T", errors[name][0], 1e-6, "<=", "")
        yield Target(f"{name} {case.name}: excess log loss", errors[name][1], 1e-11, "<=", "")
    allowed = 4 + 16 * len(case.y) / 2**20
    yield Target(f"fit {case.name}: extra memory", extra_memory(case), allowed, "<=", "MiB")


def transform_targets(case: Case, timings: dict[str, Timing]) -> Iterator[Target]:
    """Return the lines about predictions, for one size and precision."""
    single = case.logits.dtype == np.float32
    times = {name: timing.milliseconds for name, timing in timings.items()}
    bound = TRANSFORM_BOUNDS[case.logits.shape[1]]
    if peers.SKLEARN in times:
        ratio = times[peers.SKLEARN] / times[CORE]
        yield Target(f"transform {case.name}: {peers.SKLEARN} / core", ratio, bound, ">=")
    if peers.TORCH_WARM in times:
        new, warm = times[CORE] / times[peers.TORCH_SOFTMAX], times[CORE_WARM]
        yield Target(f"transform {case.name}: core / torch, new memory", new, 1, "<=")
        ratio = warm / times[peers.TORCH_WARM]
        yield Target(f"transform {case.name}: core / torch, out given", ratio, 1.2, "<=")
    error = probability_error(case)
    what = f"transform {case.name}: error of a probability"
    yield Target(what, error, 1e-6 if single else 1e-14, "<=", "")


def tables(quick: bool = False) -> Iterator[str]:
    """Return the tables: times and exactness of each size, then the targets."""
    rounds = 3 if quick else 7
    targets: list[Target] = []
    for case in cases(quick):
        fits, transforms = fit_race(case, rounds), transform_race(case, rounds)
        errors = fit_errors(case, fits)
        targets += [*fit_targets(case, fits, errors), *transform_targets(case, transforms)]
        yield simple_table(
            f"Fit, {case.name}",
            ("what", "ms", "error in log T", "excess log loss"),
            [
                (name, timing.text, *(f"{e:.0e}" for e in errors.get(name, ())))
                if name in errors
                else (name, timing.text, "", "")
                for name, timing in fits.items()
            ],
        )
        yield simple_table(
            f"Transform, {case.name}",
            ("what", "ms", "of the core"),
            [
                (
                    name,
                    timing.text,
                    significant(timing.milliseconds / transforms[CORE].milliseconds) + " x",
                )
                for name, timing in transforms.items()
            ],
        )
    yield target_table(f"Targets ({machine()})", targets)


def main() -> None:
    """Print the tables."""
    publish(tables("--quick" in sys.argv), None)


if __name__ == "__main__":
    main()
