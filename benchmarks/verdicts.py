"""How often the verdict of the audit is *signal*: never without one, nearly always with one.

    python -m benchmarks.verdicts --replicates 200 --n-jobs 2

Every replicate simulates one data set and asks the controls of the audit in their order, stopping
at the first that fails, as :func:`sk_arcal.audit.routing_audit` does for one feature. Printed: the
share of data sets in which the effect survived the controls up to each one; the last column is
the verdict *signal*.

===================  ============================================================================
capacity trap        the event rate is a wave of the confidence; a profile of six layers, correlated
                     .6 with the confidence, says nothing; its mean is audited
shuffled profile     a step of 4 points in the feature, which is then shuffled among rows of like
                     confidence
correlated null      overconfident, correlation .9, no effect
step of 4 points     event rate up by 4 points above the median of the feature, down by 4 below
step of 2 points     the same with 2 points
===================  ============================================================================
"""

import argparse
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from benchmarks._rst import publish, simple_table
from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import (
    bandwidth_sensitivity,
    capacity_control,
    conditional_calibration_test,
    routing_probe,
    shuffle_within_bins,
)

Array = NDArray[np.float64]
Case = Callable[[int, np.random.Generator], tuple[Array, Array, Array]]
ALPHA = 0.05
CONTROLS = ("matched confidence", "shuffled twins", "bandwidth", "capacity")


def _step(n: int, rng: np.random.Generator, strength: float) -> tuple[Array, Array, Array]:
    data = make_routing_data(n, effect="step", strength=strength, correlation=0.5, random_state=rng)
    return data.y, data.confidence, data.routing[:, 0]


def _trap(n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    data = make_routing_data(n, curve="waves", n_layers=6, correlation=0.6, random_state=rng)
    return data.y, data.confidence, data.routing.mean(axis=1)


def _shuffled(n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    y, confidence, feature = _step(n, rng, 0.04)
    return y, confidence, shuffle_within_bins(feature, confidence, random_state=rng)


def _correlated(n: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    data = make_routing_data(n, correlation=0.9, random_state=rng)
    return data.y, data.confidence, data.routing[:, 0]


CASES: dict[str, Case] = {
    "capacity trap": _trap,
    "shuffled profile": _shuffled,
    "correlated null": _correlated,
    "step of 4 points": partial(_step, strength=0.04),
    "step of 2 points": partial(_step, strength=0.02),
}


def survived(y: Array, confidence: Array, feature: Array, rng: np.random.Generator) -> int:
    """Return how many controls the effect survives, asked in order."""
    test_rng, probe_rng, bandwidth_rng, capacity_rng = rng.spawn(4)
    data = y, confidence, feature
    asked = (
        lambda: conditional_calibration_test(*data, random_state=test_rng).pvalue <= ALPHA,
        lambda: routing_probe(*data, random_state=probe_rng).pvalue <= ALPHA,
        lambda: bandwidth_sensitivity(*data, random_state=bandwidth_rng).gain_survives,
        lambda: capacity_control(*data, random_state=capacity_rng).survives,
    )
    return next((k for k, control in enumerate(asked) if not control()), len(asked))


def one(case: str, n: int, replicate: int) -> int:
    """Simulate one data set and count the controls survived."""
    rng = np.random.default_rng([zlib.crc32(case.encode()), n, replicate])
    return survived(*CASES[case](n, rng), rng)


def table(arguments: argparse.Namespace, n: int) -> str:
    """Return the table for one number of rows."""
    lines = []
    for case in arguments.cases:
        counts = np.array(
            Parallel(n_jobs=arguments.n_jobs)(
                delayed(one)(case, n, replicate) for replicate in range(arguments.replicates)
            )
        )
        shares = [f"{100 * np.mean(counts >= k):.1f}" for k in range(1, 1 + len(CONTROLS))]
        lines.append([case, *shares])
        print(n, *lines[-1], sep="  ", flush=True)
    title = f"n = {n}, {arguments.replicates} data sets: effect survives up to this control, %"
    return simple_table(title, ["case", *CONTROLS], lines)


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--n", type=int, nargs="+", default=[10_000])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    publish((table(arguments, n) for n in arguments.n), arguments.output)


if __name__ == "__main__":
    main()
