"""The within-bin permutation test: draws, and the test as users call it."""

# Cores are measured beside the public functions.

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import permutation_test

from benchmarks._rst import publish, simple_table
from benchmarks.speed._harness import (
    Contender,
    Target,
    Timing,
    machine,
    race,
    significant,
    target_table,
)
from sk_arcal.diagnostics._cells import Cells, cell_values, make_cells
from sk_arcal.diagnostics._null_gaps import bin_nulls, draw_gaps
from sk_arcal.diagnostics._permutation_test import routing_permutation_test

N_BINS, N_GROUPS, N_RESAMPLES = 15, 3, 10_000
SIZES = (10_000, 100_000, 1_000_000)
# Bounds of the time ratio to the naive loop, at the sizes above.
REAL_BOUNDS, BINARY_BOUNDS = (100, 1300, 1300), (150, 900, 8000)
LONGEST_LOOP = 3_000_000

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(n: int) -> Rows:
    """Events, confidence, routing; all bins are used."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0, 1, n)
    return (rng.random(n) < confidence).astype(float), confidence, rng.standard_normal(n)


def table(data: Rows, value: str) -> tuple[Cells, np.ndarray, np.ndarray]:
    """Cells, values, and the bins that are used."""
    events, confidence, routing = data
    rng = np.random.default_rng(1)
    cells = make_cells(
        confidence, routing, n_bins=N_BINS, strategy="uniform", n_groups=N_GROUPS, rng=rng
    )
    return cells, cell_values(value, events, confidence, rng), cells.usable(5)


def by_bin(cells: Cells, values: np.ndarray, bins: np.ndarray) -> list[tuple]:
    """Values of every bin, and the sizes of its lowest and highest stratum."""
    return [(values[cells.bins == b], *cells.counts[b, [0, -1]].tolist()) for b in bins]


def naive(parts: list[tuple], n_resamples: int) -> np.ndarray:
    """One permutation of every bin at a time."""
    rng = np.random.default_rng(0)
    gaps = np.empty((n_resamples, len(parts)))
    for i in range(n_resamples):
        for column, (values, bottom, top) in enumerate(parts):
            drawn = rng.permutation(values)
            gaps[i, column] = drawn[-top:].mean() - drawn[:bottom].mean()
    return gaps


def scipy_per_bin(parts: list[tuple], n_resamples: int) -> list[Any]:
    """SciPy's test of the outer strata, a call for every bin; it cannot stratify."""

    def gap(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return y.mean(axis=axis) - x.mean(axis=axis)

    return [
        permutation_test(
            (values[:-top], values[-top:]), gap, n_resamples=n_resamples, vectorized=True,
            batch=max(1, 200_000 // len(values)), rng=0,
        ).null_distribution
        for values, _, top in parts
    ]  # fmt: skip


def permuted(parts: list[tuple], n_resamples: int) -> np.ndarray:
    """All permutations of a bin in blocks by numpy."""
    rng = np.random.default_rng(0)
    gaps = np.empty((n_resamples, len(parts)))
    for column, (values, bottom, top) in enumerate(parts):
        step = max(1, 500_000 // len(values))
        for start in range(0, n_resamples, step):
            size = min(step, n_resamples - start)
            drawn = rng.permuted(np.tile(values, (size, 1)), axis=1)
            high = drawn[:, -top:].mean(axis=1)
            gaps[start : start + size, column] = high - drawn[:, :bottom].mean(axis=1)
    return gaps


def ours(made: tuple, n_resamples: int) -> np.ndarray:
    """Draw by the package."""
    return draw_gaps(bin_nulls(*made, np.random.default_rng(0)), n_resamples)[1]


def draws(n: int, value: str, rounds: int) -> dict[str, Timing]:
    """Race the samplers on `N_RESAMPLES`, the slow ones on a share of them."""
    made = table(rows(n), value)
    parts = by_bin(*made)
    few = max(LONGEST_LOOP // n, 2)

    def loop(name: str, call: Callable, count: int) -> Contender:
        return Contender(name, lambda: call(parts, count), count / N_RESAMPLES)

    contenders = [
        loop("naive loop", naive, few),
        loop("scipy permutation_test", scipy_per_bin, few),
        loop("numpy permuted in blocks", permuted, few),
        Contender("sk_arcal", lambda: ours(made, N_RESAMPLES)),
        Contender("limit: one draw of numbers", lambda: np.random.default_rng(0).random(
            (N_RESAMPLES, N_BINS))),
        Contender("limit: code + bincount", lambda: np.bincount(
            made[0].bins * N_GROUPS + made[0].strata, weights=made[1])),
    ]  # fmt: skip
    return race(contenders, rounds)


def test_and_setup(n: int, rounds: int) -> dict[str, Timing]:
    """Race the public function with many, one, and sequential resamples."""
    data = rows(n)

    def call(**options: Any) -> Callable:
        return lambda: routing_permutation_test(*data, random_state=0, **options)

    return race(
        [
            Contender("test, 10,000 shuffles", call(n_resamples=N_RESAMPLES)),
            Contender("test, 1 shuffle", call(n_resamples=1)),
            Contender("test, at most 1,000,000, 20 exceedances",
                      call(n_resamples=1_000_000, max_exceedances=20)),
            Contender("0/1 values, 10,000 shuffles",
                      call(n_resamples=N_RESAMPLES, value="accuracy")),
        ],
        rounds,
    )  # fmt: skip


def null_moments(n: int) -> list[tuple[str, ...]]:
    """Deviation of the null gaps against its closed form, largest over the bins."""
    found = []
    for value in ("residual", "accuracy"):
        made = table(rows(n), value)
        gaps, expected = ours(made, N_RESAMPLES), []
        for values, bottom, top in by_bin(*made):
            expected.append(np.sqrt(values.var(ddof=1) * (1 / bottom + 1 / top)))
        ratio, shift = gaps.std(axis=0) / expected, gaps.mean(axis=0) / expected
        found.append((
            f"{n:,}, {value}", f"{np.abs(ratio - 1).max():.4f}", f"{np.abs(shift).max():.4f}",
        ))  # fmt: skip
    return found


def tables(quick: bool = False) -> Iterator[str]:
    """Yield the tables of times, of exactness, and of targets."""
    sizes, rounds = (SIZES[:2], 2) if quick else (SIZES, 5)
    targets = []
    for value, bounds in (("residual", REAL_BOUNDS), ("accuracy", BINARY_BOUNDS)):
        kind = "real residuals" if value == "residual" else "0/1 outcomes"
        timings = [draws(n, value, rounds) for n in sizes]
        yield simple_table(
            f"10,000 shuffles, {kind}, milliseconds",
            ("what", *(f"n = {n:,}" for n in sizes)),
            [(name, *(timing[name].text for timing in timings)) for name in timings[0]],
        )
        targets += [
            Target(
                f"{kind}, n = {n:,}: against the naive loop",
                timing["naive loop"].milliseconds / timing["sk_arcal"].milliseconds, bound, ">=",
            )
            for n, timing, bound in zip(sizes, timings, bounds, strict=False)
        ]  # fmt: skip
        if value == "residual":
            last, n = timings[-1], sizes[-1]
            ratio = last["numpy permuted in blocks"].milliseconds / last["sk_arcal"].milliseconds
            targets.append(Target(f"n = {n:,}: against numpy permuted in blocks", ratio, 800, ">="))
            seconds = last["sk_arcal"].milliseconds / 1000
            targets.append(Target(f"n = {n:,}, 10,000 shuffles", seconds, 0.25, "<=", "s"))
    whole = [test_and_setup(n, rounds) for n in sizes]
    yield simple_table(
        "The test as it is called, milliseconds",
        ("what", *(f"n = {n:,}" for n in sizes)),
        [(name, *(significant(t[name].milliseconds) for t in whole)) for name in whole[0]],
    )
    yield simple_table(
        "Null gaps against the closed form: largest over the bins",
        ("n, value", "| sd / expected - 1 |", "| mean | / sd"),
        [line for n in sizes for line in null_moments(n)],
    )
    yield target_table("Targets of the permutation test", targets)


def main() -> None:
    """Print the tables; ``--quick`` leaves out a million rows."""
    print(machine(), end="\n\n")
    publish(tables(quick="--quick" in sys.argv[1:]), None)


if __name__ == "__main__":
    main()
