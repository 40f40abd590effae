"""Level and power of the test of a whole routing profile, beside tests of its columns.

Run from the root of the checkout::

    python -m benchmarks.profile_test --replicates 200 --n-jobs 2

Profiles have twelve columns that go together (correlation .5 among rows of equal confidence).
*level*: the confidence and its truth are those of the nulls N1, N2, N4, N5, N10, N11 and N12 of
`benchmarks.scenarios`, and every column is a routing feature of that null. *power*: an
overconfident model, columns of correlation .5 with the confidence, and an effect in one column,
in many, in two together or in one whose sign flips with the confidence. Effects shrink with
n^(-1/2), so that tables for different n compare.

Tests: *columns* (`conditional_calibration_tests`, the smallest Westfall-Young p-value), *joint*
(`routing_profile_test`), *linear* and *boosting* (its learners, five splits), *linear_once* and
*boosting_once* (one split). Every replicate has a seed of its own, made from the scenario, n and
its number.
"""

import argparse
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy import special

from benchmarks import scenarios
from benchmarks._rst import publish, simple_table
from benchmarks.scenarios import Array, Simulation
from sk_arcal.diagnostics import conditional_calibration_tests, routing_profile_test

N_COLUMNS = 12
CORRELATION = 0.5
Generator = np.random.Generator

# Of each column with the normal score of the confidence.
CORRELATION_OF_NULL = {"N1": 0.0, "N2": 0.95, "N4": 0.95, "N5": 0.95, "N10": 0.9, "N11": 0.5}
NULLS = (*CORRELATION_OF_NULL, "N12")

# --- profiles -------------------------------------------------------------------------------


def together(n: int, rng: Generator) -> Array:
    """Return twelve standard normal columns of pairwise correlation .5."""
    shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, N_COLUMNS))
    return np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * own


def null_profile(name: str, n: int, rng: Generator) -> Simulation:
    """Replace the feature of a null by twelve of its kind; outcomes know the confidence only."""
    simulation = scenarios.NULLS[name](n, rng)
    noise = together(n, rng)
    if name == "N12":
        routing = (simulation.g - simulation.confidence)[:, None] + 0.01 * noise
    else:
        if simulation.groups is not None:
            shared = together(simulation.groups[-1] + 1, rng)[simulation.groups]
            noise = np.sqrt(0.5) * noise + np.sqrt(0.5) * shared
        score = normal_score(simulation.confidence)
        routing = scenarios._follow(score[:, None], CORRELATION_OF_NULL[name], noise)
    groups, g = simulation.groups, simulation.g
    return Simulation(simulation.y, simulation.confidence, routing, g, g, groups=groups)


def normal_score(confidence: Array) -> Array:
    """Return the normal score of the confidence."""
    ranks = np.argsort(np.argsort(confidence))
    return special.ndtri((ranks + 0.5) / len(ranks))


def effect_profile(name: str, n: int, rng: Generator) -> Simulation:
    """Simulate an overconfident model whose profile has the named effect."""
    score, noise = rng.standard_normal(n), together(n, rng)
    confidence = scenarios._confidence(score)
    g = scenarios._overconfident(confidence)
    size, shape = EFFECTS[name]
    effect, largest = shape(noise, special.ndtr(score))
    size *= np.sqrt(2500 / n)
    eta = g + scenarios._bounded(size, g, largest) * effect
    routing = scenarios._follow(score[:, None], 0.5, noise)
    return Simulation(scenarios._outcomes(eta, rng), confidence, routing, eta, g)


def _rank(noise: Array) -> Array:
    return 2 * special.ndtr(noise) - 1


def one_column(noise: Array, _: Array) -> tuple[Array, float]:
    """One column, linear in its rank."""
    return _rank(noise[:, 4]), 1


def many_columns(noise: Array, _: Array) -> tuple[Array, float]:
    """All twelve columns, signs alternate."""
    signs = np.where(np.arange(N_COLUMNS) % 2, 1.0, -1.0)
    return _rank(noise @ signs / np.sqrt((1 - CORRELATION) * N_COLUMNS)), 1


def shared_part(noise: Array, _: Array) -> tuple[Array, float]:
    """Mean of all columns."""
    variance = CORRELATION + (1 - CORRELATION) / N_COLUMNS
    return _rank(noise.mean(axis=1) / np.sqrt(variance)), 1


def either_or(noise: Array, _: Array) -> tuple[Array, float]:
    """Two columns on the same side or not (XOR)."""
    mean = 2 / np.pi * np.arcsin(CORRELATION)
    return np.sign(noise[:, 1] * noise[:, 6]) - mean, 1 + mean


def product(noise: Array, _: Array) -> tuple[Array, float]:
    """Product of the ranks of two columns."""
    mean = 2 / np.pi * np.arcsin(CORRELATION / 2)
    return _rank(noise[:, 1]) * _rank(noise[:, 6]) - mean, 1 + mean


def flip(noise: Array, t: Array) -> tuple[Array, float]:
    """One column, its sign flips at the middle of the confidence."""
    return _rank(noise[:, 4]) * np.sign(0.5 - t), 1


Effect = Callable[[Array, Array], tuple[Array, float]]

EFFECTS: dict[str, tuple[float, Effect]] = {
    "one": (0.055, one_column),
    "many": (0.09, many_columns),
    "shared": (0.055, shared_part),
    "xor": (0.08, either_or),
    "product": (0.2, product),
    "flip": (0.09, flip),
}


# --- one replicate --------------------------------------------------------------------------


def _columns(simulation: Simulation, rng: Generator, n_resamples: int) -> float:
    tests = conditional_calibration_tests(
        simulation.y,
        simulation.confidence,
        simulation.routing,
        groups=simulation.groups,
        n_resamples=n_resamples,
        random_state=rng,
    )
    return min(tests.pvalue_adjusted.values())


def _profile(
    simulation: Simulation, rng: Generator, n_resamples: int, **options: str | int
) -> float:
    return routing_profile_test(
        simulation.y,
        simulation.confidence,
        simulation.routing,
        groups=simulation.groups,
        n_resamples=n_resamples,
        random_state=rng,
        **options,
    ).pvalue


TESTS: dict[str, Callable[[Simulation, Generator, int], float]] = {
    "columns": _columns,
    "joint": _profile,
    "linear": partial(_profile, learner="linear"),
    "boosting": partial(_profile, learner="boosting"),
    "linear_once": partial(_profile, learner="linear", n_splits=1),
    "boosting_once": partial(_profile, learner="boosting", n_splits=1),
}


def replicate(
    name: str, n: int, number: int, tests: Sequence[str], n_resamples: int
) -> dict[str, float]:
    """Simulate one data set and return the p-value of each test."""
    rng = np.random.default_rng([zlib.crc32(f"profile {name}".encode()), n, number])
    simulate = effect_profile if name in EFFECTS else null_profile
    simulation = simulate(name, n, rng)
    streams = dict(zip(TESTS, rng.spawn(len(TESTS)), strict=True))
    return {test: TESTS[test](simulation, streams[test], n_resamples) for test in tests}


def rejections(name: str, options: argparse.Namespace) -> dict[str, Array]:
    """Return for each test which replicates it rejects."""
    done = Parallel(n_jobs=options.n_jobs)(
        delayed(replicate)(name, options.n, k, tuple(options.tests), options.n_resamples)
        for k in range(options.replicates)
    )
    return {test: np.array([row[test] for row in done]) <= options.alpha for test in options.tests}


# --- tables ---------------------------------------------------------------------------------


def rate(rejected: Array) -> str:
    """Share in percent, with its 95 % Monte-Carlo error."""
    share = float(np.mean(rejected))
    return f"{100 * share:.1f} ± {196 * np.sqrt(share * (1 - share) / len(rejected)):.1f}"


def _what(name: str) -> str:
    if name in EFFECTS:
        return str(EFFECTS[name][1].__doc__).rstrip(".")
    return str(scenarios.NULLS[name].__doc__).split("\n")[0].rstrip(".").split(" ", 1)[1]


def tables(options: argparse.Namespace) -> Iterator[str]:
    """Yield the tables asked for."""
    size = f"n = {options.n}, {options.replicates} replicates, ± 95 % Monte-Carlo error"
    parts = {"level": ("False-positive rate, %", NULLS), "power": ("Power, %", EFFECTS)}
    for part in options.parts:
        title, names = parts[part]
        rows = []
        for name in names:
            if options.scenarios and name not in options.scenarios:
                continue
            rejected = rejections(name, options)
            rows.append([name, _what(name), *(rate(rejected[test]) for test in options.tests)])
            print(*rows[-1], sep="  ", flush=True)
        if rows:
            yield simple_table(f"{title} ({size})", ["no", "profile", *options.tests], rows)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--parts", nargs="+", choices=("level", "power"), default=("level", "power")
    )
    parser.add_argument("--scenarios", nargs="+", choices=(*NULLS, *EFFECTS), metavar="NAME")
    parser.add_argument(
        "--tests", nargs="+", choices=list(TESTS), default=["columns", "joint", "linear"]
    )
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--n", type=int, default=2500)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--n-resamples", type=int, default=199)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts asked for, print their tables and write them if asked to."""
    options = _parse(arguments)
    publish(tables(options), options.output)


if __name__ == "__main__":
    main()
