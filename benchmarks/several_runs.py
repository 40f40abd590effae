"""Level and power of the three answers over several runs that share their test set.

Run from the root of the checkout::

    python -m benchmarks.several_runs --replicates 400 --n-jobs 2

Every replicate simulates `--runs` networks on the same items. Score, noise of the routing and
difficulty of an item are shared by its runs to the degree `share`: each is sqrt(share) times what
the item has plus sqrt(1 - share) times the run's own. The confidence follows the score by the law
of `benchmarks.scenarios`, overconfident by 4 % ECE; the routing follows the score with
correlation .5; a run is right where Phi^-1(eta) + difficulty > 0, so that P(right | confidence,
routing) = eta whatever is shared. Effects move the outer thirds of the routing, among rows of
equal confidence, by -2 and +2 points before the bound of 80 % of either rate.

`SHARES` gives the share for correlations 0, .2, .4 and .7 between the statistics of two runs; the
table prints the correlation between the gaps that was measured. Beside the three answers stand
one run by itself and two rules that take runs for independent: Stouffer's sum of normal scores,
and "some run has p <= alpha". ``--output runs.rst`` writes the tables as reStructuredText.
``--cost`` measures time instead, of 5 runs x 10 features x 10 000 items among others.
"""

import argparse
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import special, stats

from benchmarks._rst import publish, simple_table
from sk_arcal.diagnostics import conditional_calibration_runs

Array = NDArray[np.float64]
Row = dict[str, float]

# Correlation between the statistics of two runs without a signal -> share.
SHARES = {0.0: 0.0, 0.2: 0.67, 0.4: 0.845, 0.7: 0.972}
_LOWEST, _CENTRE, _SPREAD, _TEMPERATURE = 0.4, 2.305, 3.0, 1.436
_STEP, _LARGEST_CHANGE = 0.02, 0.8

ANSWERS = ("exists", "any run", "stable", "one run", "Stouffer", "any p <= alpha")
WHERE = {"every run": (1,), "one run of all": (1, 0), "signs alternate": (1, -1)}


@dataclass(frozen=True)
class SimulatedRuns:
    """Runs on the same items; arrays of shape (n_runs, n_items)."""

    y: Array
    confidence: Array
    routing: Array


def simulate(
    n_items: int, effects: Sequence[float], share: float, rng: np.random.Generator
) -> SimulatedRuns:
    """Draw one run for each of `effects`, the direction of its effect: 1, 0 or -1."""
    shape = len(effects), n_items

    def shared() -> Array:
        of_item, of_run = rng.standard_normal(n_items), rng.standard_normal(shape)
        return np.sqrt(share) * of_item + np.sqrt(1 - share) * of_run

    score, noise, difficulty = shared(), shared(), shared()
    confidence = _LOWEST + (1 - _LOWEST) * special.expit(_CENTRE + _SPREAD * score)
    g = special.expit(special.logit(confidence) / _TEMPERATURE)
    size = np.minimum(_STEP, _LARGEST_CHANGE * np.minimum(g, 1 - g))
    rank = 2 * special.ndtr(noise) - 1
    third = np.sign(rank) * (np.abs(rank) > 1 / 3)
    eta = g + np.array(effects)[:, None] * size * third
    y = (special.ndtri(eta) + difficulty > 0).astype(np.float64)
    return SimulatedRuns(y, confidence, 0.5 * score + np.sqrt(0.75) * noise)


def directions(where: str, n_runs: int) -> list[float]:
    """Return the direction of the effect in each run."""
    if where == "no run":
        return [0.0] * n_runs
    if where == "one run of all":
        return [1.0] + [0.0] * (n_runs - 1)
    return [float(WHERE[where][s % len(WHERE[where])]) for s in range(n_runs)]


def replicate_row(
    where: str, share: float, n_items: int, n_runs: int, n_resamples: int, replicate: int
) -> Row:
    """Simulate one test set; return what every rule says of it."""
    rng = np.random.default_rng([zlib.crc32(f"{where} {share}".encode()), n_items, replicate])
    data = simulate(n_items, directions(where, n_runs), share, rng)
    found = conditional_calibration_runs(
        data.y, data.confidence, data.routing, n_resamples=n_resamples, random_state=rng
    ).results["routing_0"]
    pvalues = np.array(list(found.run_pvalues.values()))
    # A rank p of 1 has no normal score; half a step below it is its middle.
    scores = stats.norm.isf(np.minimum(pvalues, 1 - 0.5 / (1 + n_resamples)))
    low, high = found.gap_interval
    return {
        "exists": found.exists,
        "any run": found.any_run,
        "stable": found.stable,
        "one run": pvalues[0],
        "Stouffer": float(stats.norm.sf(scores.sum() / np.sqrt(n_runs))),
        "any p <= alpha": pvalues.min(),
        "consistent": float(found.consistent),
        "covers 0": float(low <= 0 <= high),
        **{f"gap {s}": gap for s, gap in enumerate(found.run_gaps.values())},
    }


def collect(where: str, share: float, options: argparse.Namespace) -> dict[str, Array]:
    """Run all replicates of one setting; one array per column of `replicate_row`."""
    one = partial(replicate_row, where, share, options.n, options.runs, options.n_resamples)
    rows = Parallel(n_jobs=options.n_jobs)(delayed(one)(k) for k in range(options.replicates))
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def correlation(done: dict[str, Array]) -> float:
    """Return the mean correlation between the gaps of two runs over replicates."""
    gaps = np.array([column for name, column in done.items() if name.startswith("gap ")])
    between = np.corrcoef(gaps)
    return float(between[np.triu_indices(len(between), 1)].mean())


def line(done: dict[str, Array], alpha: float) -> list[str]:
    """Return the share of replicates in which each rule rejects, in percent, and the rest."""
    rejected = [rate(done[answer] <= alpha) for answer in ANSWERS]
    return [f"{correlation(done):.2f}", *rejected, rate(done["consistent"]), rate(done["covers 0"])]


def rate(hits: Array) -> str:
    """Return a share and its 95 % Monte-Carlo error, in percent."""
    share = float(np.mean(hits))
    return f"{100 * share:.1f} ± {196 * np.sqrt(share * (1 - share) / len(hits)):.1f}"


def cost_table(options: argparse.Namespace) -> Iterator[str]:
    """Yield the processor seconds of calls with 999 draws, one worker."""
    rows = []
    for n_items, n_features in ((2500, 1), (10_000, 1), (10_000, 10)):
        rng = np.random.default_rng(0)
        data = simulate(n_items, directions("no run", options.runs), 0.5, rng)
        noise = rng.standard_normal((n_features - 1, *data.routing.shape))
        routing = np.moveaxis(np.concatenate([data.routing[None], noise]), 0, 2)
        start = time.process_time()
        conditional_calibration_runs(data.y, data.confidence, routing, random_state=0)
        taken = time.process_time() - start
        rows.append([str(options.runs), str(n_features), str(n_items), f"{taken:.1f}"])
    header = ["runs", "features", "items", "processor seconds"]
    yield simple_table("Time of one call", header, rows)


def tables(options: argparse.Namespace) -> Iterator[str]:
    """Yield a table for every place that a signal may be in."""
    header = ["correlation", "gaps", *ANSWERS, "consistent", "interval covers 0"]
    size = (
        f"{options.runs} runs, {options.n} items, {options.replicates} replicates, "
        "± 95 % Monte-Carlo error"
    )
    for where in options.where:
        rows = [
            [str(wanted), *line(collect(where, SHARES[wanted], options), options.alpha)]
            for wanted in options.correlations
        ]
        yield simple_table(f"Signal in {where}: share that rejects, % ({size})", header, rows)


def main() -> None:
    """Read the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    places = ["no run", *WHERE]
    parser.add_argument("--where", nargs="+", choices=places, default=places)
    parser.add_argument("--correlations", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--n", type=int, default=2500, help="items")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--n-resamples", type=int, default=499)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    parser.add_argument("--cost", action="store_true", help="measure time instead")
    options = parser.parse_args()
    publish((cost_table if options.cost else tables)(options), options.output)


if __name__ == "__main__":
    main()
