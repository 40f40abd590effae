"""Level and power of the conditional calibration test, beside the oracle and the published test.

Run from the root of the checkout::

    python -m benchmarks.conditional_test_level_and_power --replicates 400 --n-jobs 2

Four parts (``--parts``): *level* on the nulls of `benchmarks.scenarios`, *power* on its
alternatives, *intervals* (coverage of the gap interval, power at the minimum detectable gap, error
of the equivalence statement at its boundary) and *families* (chance of any false signal among
eight features). ``--output levels.rst`` writes the tables as reStructuredText.

Every replicate has a seed of its own, made from the scenario, n and its number: results do not
depend on the number of jobs, and the first 400 of 1500 replicates are those of a run of 400.
"""

import argparse
import csv
import io
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

# As a module: a ufunc that stands in __main__ cannot be sent to worker processes.
from scipy import special

from benchmarks.scenarios import (
    ALTERNATIVES,
    NULLS,
    Array,
    Simulation,
    correlated_features,
    oracle_pvalue,
    tertile_gap,
)
from sk_arcal.diagnostics import (
    ConditionalCalibrationResult,
    conditional_calibration_test,
    conditional_calibration_tests,
    routing_permutation_test,
    worst_tertile_error,
)

SCENARIOS = NULLS | ALTERNATIVES
PARTS = ("level", "power", "intervals", "families")
Row = dict[str, float]
Columns = dict[str, Array]

# Share of the oracle's power reached by the reference implementation of the same algorithm.
REFERENCE_SHARE = {
    "A1": 0.90, "A2": 0.93, "A3": 0.63, "A4": 0.31, "A5": 0.64,
    "A6": 0.63, "A7": 0.40, "A8": 0.48, "A9": 0.59,
}  # fmt: skip


# --- one replicate --------------------------------------------------------------------------


def seeded(label: str, n: int, replicate: int) -> np.random.Generator:
    """Return the generator of one replicate."""
    return np.random.default_rng([zlib.crc32(label.encode()), n, replicate])


def run_test(
    simulation: Simulation,
    rng: np.random.Generator,
    n_resamples: int,
    *,
    delta: float = 0.05,
    use_groups: bool = True,
    method: str = "default",
) -> ConditionalCalibrationResult:
    """Test one simulated data set as a user would."""
    return conditional_calibration_test(
        simulation.y,
        simulation.confidence,
        simulation.routing,
        routing_kind=simulation.routing_kind,
        groups=simulation.groups if use_groups else None,
        delta=delta,
        n_resamples=n_resamples,
        method=method,
        random_state=rng,
    )


def _by_method(
    simulation: Simulation, rng: np.random.Generator, n_resamples: int, *, method: str
) -> float:
    # The likelihood ratio knows no groups; it is shown on N11 as if rows were independent.
    use_groups = method != "spline_lr"
    return run_test(simulation, rng, n_resamples, use_groups=use_groups, method=method).pvalue


def _published(
    simulation: Simulation, rng: np.random.Generator, n_resamples: int, **options: str
) -> float:
    data = simulation.y, simulation.confidence, simulation.routing
    return routing_permutation_test(
        *data, n_resamples=n_resamples, random_state=rng, **options
    ).pvalue


def _worst_tertile(simulation: Simulation, rng: np.random.Generator, n_resamples: int) -> float:
    data = simulation.y, simulation.confidence, simulation.routing
    return worst_tertile_error(*data, n_resamples=n_resamples, random_state=rng).pvalue


def _ungrouped(simulation: Simulation, rng: np.random.Generator, n_resamples: int) -> float:
    return run_test(simulation, rng, n_resamples, use_groups=False).pvalue


PValue = Callable[[Simulation, np.random.Generator, int], float]

# name on the command line -> p-value of one simulated data set
TESTS: dict[str, PValue] = {
    "oracle": oracle_pvalue,
    "ungrouped": _ungrouped,
    "published": partial(_published, value="calibrated_residual"),
    "published_residual": partial(_published, value="residual"),
    "published_accuracy": partial(_published, value="accuracy"),
    "published_max": partial(_published, statistic="max_gap"),
    "published_quantile": partial(_published, value="residual", strategy="quantile"),
    "worst_tertile": _worst_tertile,
    "weighted_gcm": partial(_by_method, method="weighted_gcm"),
    "spline_lr": partial(_by_method, method="spline_lr"),
    "cells": partial(_by_method, method="cells"),
    "betting": partial(_by_method, method="betting"),
}


def replicate_row(name: str, n: int, replicate: int, tests: Sequence[str], n_resamples: int) -> Row:
    """Simulate one data set of a scenario and return what the tests say of it."""
    # Not the data sets that the weights of the components were chosen on.
    rng = seeded(f"measured {name}", n, replicate)
    simulation = SCENARIOS[name](n, rng)
    streams = dict(zip(("conditional", *TESTS), rng.spawn(1 + len(TESTS)), strict=True))
    row: Row = {}
    for test in tests:
        if test == "conditional":
            result = run_test(simulation, streams[test], n_resamples)
            row |= {"conditional": result.pvalue, "covered": _covered(simulation, result)}
        else:
            row[test] = TESTS[test](simulation, streams[test], n_resamples)
    return row


def _covered(simulation: Simulation, result: ConditionalCalibrationResult) -> float:
    """1 if the gap interval holds the true gap, 0 if not, NaN where routing has no order."""
    is_null = np.array_equal(simulation.eta, simulation.g)
    if not is_null and simulation.rank is None:
        return np.nan
    truth = 0.0 if is_null else simulation.gap()
    low, high = result.gap_interval
    return float(low <= truth <= high)


def _parallel(rows: Iterable[Callable[[], Row]], n_jobs: int) -> Columns:
    done = Parallel(n_jobs=n_jobs)(delayed(row)() for row in rows)
    return {key: np.array([row[key] for row in done]) for key in done[0]}


def collect(
    name: str,
    n: int,
    replicates: int,
    *,
    tests: Sequence[str] = ("conditional",),
    n_resamples: int = 999,
    n_jobs: int = 2,
) -> Columns:
    """Run `replicates` data sets of a scenario; return one array per test, and `covered`."""
    one = partial(replicate_row, name, n, tests=tuple(tests), n_resamples=n_resamples)
    return _parallel((partial(one, replicate=k) for k in range(replicates)), n_jobs)


# --- intervals, equivalence, families -------------------------------------------------------


def gap_row(n: int, replicate: int, gap: float, delta: float, n_resamples: int) -> Row:
    """Return what one data set with a true tertile gap says about it."""
    rng = seeded(f"gap {gap}", n, replicate)
    simulation = tertile_gap(n, rng, gap)
    result = run_test(simulation, rng, n_resamples, delta=delta)
    low, high = result.gap_interval
    return {
        "gap": result.gap,
        "se": result.gap_se,
        "detectable": result.min_detectable_gap,
        "predicted": float(special.ndtr(gap / result.gap_se - 1.96)),
        "excludes_zero": float(low > 0 or high < 0),
        "covered": float(low <= simulation.gap() <= high),
        "rejected": float(result.pvalue <= 0.05),
        "equivalent": float(result.equivalent),
    }


def collect_gaps(
    gap: float,
    n: int,
    replicates: int,
    *,
    delta: float = 0.05,
    n_resamples: int = 99,
    n_jobs: int = 2,
) -> Columns:
    """Run data sets whose top and bottom third differ by `gap`; return columns of `gap_row`."""
    one = partial(gap_row, n, gap=gap, delta=delta, n_resamples=n_resamples)
    return _parallel((partial(one, replicate=k) for k in range(replicates)), n_jobs)


def family_row(n: int, replicate: int, correlation: float, n_resamples: int) -> Row:
    """Return the smallest raw and adjusted p-value of eight features without effect."""
    rng = seeded(f"family {correlation}", n, replicate)
    simulation = correlated_features(n, rng, n_features=8, correlation=correlation)
    tests = conditional_calibration_tests(
        simulation.y,
        simulation.confidence,
        simulation.routing,
        n_resamples=n_resamples,
        random_state=rng,
    )
    return {
        "raw": min(result.pvalue for result in tests.results.values()),
        "adjusted": min(tests.pvalue_adjusted.values()),
    }


def collect_families(
    correlation: float, n: int, replicates: int, *, n_resamples: int = 999, n_jobs: int = 2
) -> Columns:
    """Run families of eight null features whose pairwise correlation is `correlation`."""
    one = partial(family_row, n, correlation=correlation, n_resamples=n_resamples)
    return _parallel((partial(one, replicate=k) for k in range(replicates)), n_jobs)


# --- tables ---------------------------------------------------------------------------------


def rate(hits: NDArray[np.bool_] | Array) -> tuple[float, float]:
    """Return a share and its 95 % Monte-Carlo error, both in percent."""
    share = float(np.mean(hits))
    return 100 * share, 196 * float(np.sqrt(share * (1 - share) / len(hits)))


def _cell(hits: NDArray[np.bool_] | Array) -> str:
    return "{:.1f} ± {:.1f}".format(*rate(hits))


def _title(name: str) -> str:
    first = (SCENARIOS[name].__doc__ or "").split("\n")[0].rstrip(".")
    return first.split(" ", 1)[1]


def level_table(options: argparse.Namespace) -> list[list[str]]:
    """Share of data sets in which each test rejects although routing says nothing, in percent."""
    tests = [test for test in options.tests if test != "oracle"]
    rows = [["", "null", *tests, "gap interval covers 0"]]
    for name in _chosen(NULLS, options):
        done = collect(name, options.n, options.replicates, tests=tests, **_shared(options))
        rejected = [_cell(done[test] <= options.alpha) for test in tests]
        rows.append([name, _title(name), *rejected, _coverage(done)])
        print(*rows[-1], sep="  ", flush=True)
    return rows


def power_table(options: argparse.Namespace) -> list[list[str]]:
    """Share of data sets in which each test finds the effect, in percent."""
    tests = [test for test in options.tests if test != "oracle"]
    rows = [["", "effect", "n", *tests, "oracle", "share", "reference", "interval covers"]]
    for name in _chosen(ALTERNATIVES, options):
        n = 2 * options.n if name == "A7" else options.n
        done = collect(name, n, options.replicates, tests=[*tests, "oracle"], **_shared(options))
        found = {test: _cell(done[test] <= options.alpha) for test in [*tests, "oracle"]}
        share = (done[tests[0]] <= options.alpha).mean() / (done["oracle"] <= options.alpha).mean()
        reference = f"{REFERENCE_SHARE[name]:.2f}" if name in REFERENCE_SHARE else ""
        rows.append([name, _title(name), str(n), *found.values(), f"{share:.2f}", reference])
        rows[-1].append(_coverage(done))
        print(*rows[-1], sep="  ", flush=True)
    return rows


def _coverage(done: Columns) -> str:
    covered = done.get("covered", np.array([np.nan]))
    return "" if np.isnan(covered).all() else _cell(covered)


def interval_table(options: argparse.Namespace) -> list[list[str]]:
    """Gap between thirds: bias, coverage, predicted and observed power, equivalence, in percent."""
    rows = [[
        "true gap", "mean estimate", "min. detectable", "coverage", "predicted power",
        "interval excludes 0", "test rejects", "called equivalent at 5 points",
    ]]  # fmt: skip
    detectable = collect_gaps(0.0, options.n, 20, n_jobs=options.n_jobs)["detectable"].mean()
    for gap in (0.0, 0.75 * detectable, detectable, 1.4 * detectable, 0.05):
        done = collect_gaps(round(float(gap), 4), options.n, options.replicates, **_shared(options))
        rows.append([
            f"{100 * gap:.2f}",
            f"{100 * done['gap'].mean():.2f}",
            f"{100 * done['detectable'].mean():.2f}",
            _cell(done["covered"]),
            f"{100 * done['predicted'].mean():.1f}",
            _cell(done["excludes_zero"]),
            _cell(done["rejected"]),
            _cell(done["equivalent"]),
        ])  # fmt: skip
        print(*rows[-1], sep="  ", flush=True)
    return rows


def family_table(options: argparse.Namespace) -> list[list[str]]:
    """Chance of any false signal among eight features, in percent."""
    rows = [["correlation of the features", "unadjusted", "Westfall-Young"]]
    for correlation in (0.0, 0.7, 0.95):
        done = collect_families(correlation, options.n, options.replicates, **_shared(options))
        rows.append(
            [
                str(correlation),
                _cell(done["raw"] <= options.alpha),
                _cell(done["adjusted"] <= options.alpha),
            ]
        )
        print(*rows[-1], sep="  ", flush=True)
    return rows


def _chosen(scenarios: dict, options: argparse.Namespace) -> list[str]:
    return [name for name in scenarios if not options.scenarios or name in options.scenarios]


def _shared(options: argparse.Namespace) -> dict[str, int]:
    return {"n_resamples": options.n_resamples, "n_jobs": options.n_jobs}


def as_rst(title: str, rows: list[list[str]]) -> str:
    """Return a table as a reStructuredText csv-table."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    body = "".join(f"   {line}\n" for line in text.getvalue().splitlines())
    return f".. csv-table:: {title}\n   :header-rows: 1\n\n{body}\n"


TABLES = {
    "level": ("False-positive rate, %", level_table),
    "power": ("Power, %", power_table),
    "intervals": ("Gap between the top and the bottom third, percentage points", interval_table),
    "families": ("Any false signal among eight features, %", family_table),
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--scenarios", nargs="+", choices=list(SCENARIOS), metavar="NAME")
    parser.add_argument(
        "--tests", nargs="+", choices=["conditional", *TESTS], default=["conditional", "published"]
    )
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--n", type=int, default=2500, help="rows (A7: twice as many)")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--n-resamples", type=int, default=999)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts asked for, print their rows and write them if asked to."""
    options = _parse(arguments)
    tables = []
    for part in options.parts:
        title, table = TABLES[part]
        size = f"n = {options.n}, {options.replicates} replicates, ± 95 % Monte-Carlo error"
        print(f"\n{title} ({size})", flush=True)
        tables.append(as_rst(f"{title} ({size})", table(options)))
    if options.output:
        options.output.write_text("\n".join(tables), encoding="utf-8")


if __name__ == "__main__":
    main()
