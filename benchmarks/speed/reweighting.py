"""Worst-case weights of a million losses: conditional value at risk and the chi-square ball."""

# Cores are measured beside the public functions.

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks._rst import publish, simple_table
from benchmarks.speed import _peers
from benchmarks.speed._harness import (
    Contender,
    Target,
    Timing,
    machine,
    race,
    significant,
    target_table,
)
from sk_arcal.calibration._adversary._adversaries import Adversary, WorstCase
from sk_arcal.calibration._adversary._chi_square import sorted_weights

ALPHA, RADIUS = 0.05, 1.0
CVAR, BALL = Adversary("cvar", alpha=ALPHA), Adversary("chi2", radius=RADIUS)
READ = "limit: read once (dot)"
WRITE = "limit: write the two answers"


def losses_of(n: int) -> np.ndarray:
    """Log losses of a calibrated binary classifier."""
    rng = np.random.default_rng(0)
    probability = rng.beta(1.2, 1.2, n)
    right = rng.random(n) < probability
    return -np.log(np.where(right, probability, 1 - probability))


def cvar_sorted(losses: np.ndarray) -> np.ndarray:
    """Weights by sorting."""
    order = np.argsort(losses)[::-1]
    weights = np.zeros(len(losses))
    weights[order] = np.clip(ALPHA * len(losses) - np.arange(len(losses)), 0, 1) / ALPHA
    return weights


def cvar_sorted_value(losses: np.ndarray) -> float:
    """Value alone, by sorting the values."""
    largest = np.sort(losses)[::-1][: int(np.ceil(ALPHA * len(losses)))]
    share = np.clip(ALPHA * len(losses) - np.arange(len(largest)), 0, 1)
    return float(share @ largest / (ALPHA * len(losses)))


def chi2_bisection(losses: np.ndarray) -> np.ndarray:
    """Halve the interval of the threshold fifty times, the published recipe, in numpy."""
    low = losses.min() - (losses.max() - losses.min()) / (np.sqrt(1 + 2 * RADIUS) - 1)
    high = losses.max()
    for _ in range(50):
        middle = (low + high) / 2
        excess = np.maximum(losses - middle, 0)
        if (excess @ excess) * len(losses) < (1 + RADIUS) * excess.sum() ** 2:
            low = middle
        else:
            high = middle
    excess = np.maximum(losses - low, 0)
    return excess / excess.mean()


def cvar_times(losses: np.ndarray, rounds: int) -> dict[str, Timing]:
    """Race for the mean of the worst share."""
    n, ones = len(losses), np.ones(len(losses))
    rank = n - int(np.ceil(ALPHA * n))
    contenders = [
        Contender(READ, lambda: losses @ ones),
        Contender(WRITE, lambda: (losses * 2.0, losses * 2.0)),
        Contender("limit: selection alone (partition)", lambda: np.partition(losses, rank)),
        Contender("sort, value alone", lambda: cvar_sorted_value(losses)),
        Contender("sort, with weights", lambda: cvar_sorted(losses)),
        *_peers.contenders(("torch topk, value alone", "torch", lambda torch: _topk(torch, losses),
                            1.0)),
        Contender("sk_arcal, equal masses", lambda: CVAR.respond(losses, None)),
        Contender("sk_arcal, masses given", lambda: CVAR.respond(losses, ones)),
        Contender("sk_arcal, unequal masses (sorts)", lambda: CVAR.respond(losses, losses + 1)),
    ]  # fmt: skip
    return race(contenders, rounds)


def _topk(torch: Any, losses: np.ndarray) -> Any:
    tensor = torch.from_numpy(losses)
    count = int(np.ceil(ALPHA * len(losses)))
    return lambda: float(tensor.topk(count, sorted=False).values.mean())


def _bisection_in_torch(torch: Any, losses: np.ndarray) -> Any:
    tensor = torch.from_numpy(losses)

    def solve() -> np.ndarray:
        low = tensor.min() - (tensor.max() - tensor.min()) / (np.sqrt(1 + 2 * RADIUS) - 1)
        high = tensor.max()
        for _ in range(50):
            middle = (low + high) / 2
            excess = (tensor - middle).clamp(min=0)
            if (excess**2).mean() < (1 + RADIUS) * excess.mean() ** 2:
                low = middle
            else:
                high = middle
        excess = (tensor - low).clamp(min=0)
        return np.asarray(excess / excess.mean())

    return solve


def chi2_times(losses: np.ndarray, rounds: int) -> dict[str, Timing]:
    """Race for the worst weights in the ball."""
    ones, base = np.ones(len(losses)), np.full(len(losses), 1 / len(losses))
    start = BALL.respond(losses, None).threshold
    moved = losses * (1 + 1e-3 * np.cos(losses))
    contenders = [
        Contender(READ, lambda: losses @ ones),
        Contender(WRITE, lambda: (losses * 2.0, losses * 2.0)),
        Contender("bisection, numpy, 50 passes", lambda: chi2_bisection(losses)),
        *_peers.contenders(("bisection, torch, 50 passes (published)", "torch",
                            lambda torch: _bisection_in_torch(torch, losses), 1.0)),
        Contender("sort and prefix sums", lambda: sorted_weights(losses, base, RADIUS)),
        Contender("sk_arcal, cold", lambda: BALL.respond(losses, None)),
        Contender("sk_arcal, warm, losses moved by 0.1 %",
                  lambda: BALL.respond(moved, None, start)),
        Contender("sk_arcal, unequal masses", lambda: BALL.respond(losses, losses + 1)),
    ]  # fmt: skip
    return race(contenders, rounds)


def exactness(losses: np.ndarray) -> list[tuple[str, ...]]:
    """Worst case against the solution by sorting, and how far the ball is left."""
    base, lines = np.full(len(losses), 1 / len(losses)), []
    for radius in (1e-4, 0.1, 1.0, 10.0, 1000.0):
        found = Adversary("chi2", radius=radius).respond(losses, None)
        exact = base @ (sorted_weights(losses, base, radius) * losses)
        left = base @ (found.weights - 1) ** 2 / radius - 1
        lines.append((f"chi2, radius {radius:g}", f"{abs(found.value - exact):.1e}", f"{left:.1e}"))
    value = CVAR.respond(losses, None).value
    lines.append(("cvar", f"{abs(value - cvar_sorted(losses) @ losses * base[0]):.1e}", "-"))
    return lines


def tables(quick: bool = False) -> Iterator[str]:
    """Yield the tables of times, of exactness, and of targets."""
    n, rounds = (100_000, 3) if quick else (1_000_000, 9)
    losses = losses_of(n)
    cvar, chi2 = cvar_times(losses, rounds), chi2_times(losses, rounds)
    for title, timings in (
        (f"Mean of the worst {ALPHA:.0%} of {n:,} losses", cvar),
        (f"Worst weights in a chi-square ball of radius {RADIUS:g}, {n:,} losses", chi2),
    ):
        read = timings[READ].milliseconds
        yield simple_table(
            title,
            ("what", "milliseconds", "reads"),
            [(t.name, t.text, significant(t.milliseconds / read)) for t in timings.values()],
        )
    yield simple_table(
        "Against the solution by sorting",
        ("what", "| value - exact |", "divergence / radius - 1"),
        exactness(losses),
    )
    yield target_table("Targets of the reweighting", targets(cvar, chi2, losses))


def targets(
    cvar: dict[str, Timing], chi2: dict[str, Timing], losses: np.ndarray
) -> Iterator[Target]:
    """Every line of the targets."""

    def ratio(timings: dict[str, Timing], over: str, under: str) -> float:
        return timings[over].milliseconds / timings[under].milliseconds

    selection = "limit: selection alone (partition)"
    mine = "sk_arcal, equal masses"
    warm = "sk_arcal, warm, losses moved by 0.1 %"
    yield Target("CVaR, selection: against sorting", ratio(cvar, "sort, value alone", selection),
                 3.5, ">=")  # fmt: skip
    yield Target("CVaR, selection: reads", ratio(cvar, selection, READ), 3.5, "<=")
    yield Target("CVaR with weights: against sorting", ratio(cvar, "sort, with weights", mine),
                 3.5, ">=")  # fmt: skip
    yield Target("CVaR with weights and slope: reads", ratio(cvar, mine, READ), 3.5, "<=")
    published = "bisection, torch, 50 passes (published)"
    published = published if published in chi2 else "bisection, numpy, 50 passes"
    yield Target(f"chi-square: against {published}", ratio(chi2, published, "sk_arcal, cold"), 8,
                 ">=")  # fmt: skip
    yield Target("chi-square, cold: reads", ratio(chi2, "sk_arcal, cold", READ), 13, "<=")
    yield Target("chi-square, warm: reads", ratio(chi2, warm, READ), 6, "<=")
    found: WorstCase = chi2["sk_arcal, cold"].result
    exact = sorted_weights(losses, np.full(len(losses), 1 / len(losses)), RADIUS) @ losses
    yield Target("chi-square: | value - optimum |", abs(found.value - exact / len(losses)), 1e-9,
                 "<=", "")  # fmt: skip


def main() -> None:
    """Print the tables; ``--quick`` takes a tenth of the losses."""
    print(machine(), end="\n\n")
    publish(tables(quick="--quick" in sys.argv[1:]), None)


if __name__ == "__main__":
    main()
