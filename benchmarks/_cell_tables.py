"""Tables and checks of the benchmark on real cells."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks._rst import simple_table

Array = NDArray[np.float64]
RECOMMENDED = "StructuredScaler"
KINDS = {
    "null": "Simulated, calibrated as they come (null row: nothing should move)",
    "logits": "Logits of image, speech and text classifiers",
    "llm": "Answer options of language models",
    "toplabel": "Top-label confidence only",
}
# A mean over-confidence that differs by more between the halves is no chance.
_LARGEST_DRIFT = 4.0


@dataclass(frozen=True)
class Line:
    """What one method reached in one cell."""

    cell: str
    kind: str
    n_classes: int
    method: str
    nll: Array
    brier: Array
    accuracy: float
    ece: tuple[float, float, float]
    smooth: tuple[float, float, float]
    seconds: float
    drift: float
    failure: str = ""


Grid = dict[tuple[str, str], Line]


def summaries(lines: list[Line]) -> Iterable[str]:
    """Yield one table per kind of cell: methods down, means over cells across."""
    grid = {(line.cell, line.method): line for line in lines}
    for kind, title in KINDS.items():
        chosen = [line for line in lines if line.kind == kind]
        if chosen:
            cells = list(dict.fromkeys(line.cell for line in chosen))
            rows = [
                _summary(
                    method, [grid[cell, method] for cell in cells if (cell, method) in grid], grid
                )
                for method in dict.fromkeys(line.method for line in chosen)
            ]
            yield simple_table(f"{title}: {len(cells)} cells", _HEADER, rows)


_HEADER = (
    "method",
    "cells",
    "gain over raw",
    "over temperature",
    "better / worse",
    "Brier gain",
    "accuracy",
    "ECE",
    "SmoothECE",
    "CPU s",
)


def _summary(method: str, lines: list[Line], grid: Grid) -> tuple[str, ...]:
    good = [line for line in lines if not line.failure]
    failed = f" ({len(lines) - len(good)} failed)" if len(good) < len(lines) else ""
    if not good:
        return (method, f"0{failed}", *[""] * (len(_HEADER) - 2))
    raw = [grid[line.cell, "raw"] for line in good]
    plain = [grid[line.cell, "TemperatureScaler"] for line in good]
    gains = [_difference(a.nll, b.nll) for a, b in zip(raw, good, strict=True)]
    means = {
        "raw": np.mean([gain for gain, _ in gains]),
        "plain": np.mean([a.nll.mean() - b.nll.mean() for a, b in zip(plain, good, strict=True)]),
        "brier": np.mean([a.brier.mean() - b.brier.mean() for a, b in zip(raw, good, strict=True)]),
        "accuracy": np.mean([b.accuracy - a.accuracy for a, b in zip(raw, good, strict=True)]),
    }
    better = sum(gain > error for gain, error in gains)
    worse = sum(gain < -error for gain, error in gains)
    return (
        method,
        f"{len(good)}{failed}",
        f"{means['raw']:+.4f}",
        f"{means['plain']:+.4f}",
        f"{better} / {worse}",
        f"{means['brier']:+.4f}",
        f"{100 * means['accuracy']:+.2f}",
        f"{100 * np.mean([line.ece[0] for line in good]):.2f}",
        f"{100 * np.mean([line.smooth[0] for line in good]):.2f}",
        f"{np.median([line.seconds for line in good]):.2f}",
    )


def _difference(first: Array, second: Array) -> tuple[float, float]:
    """Return mean and standard error of a paired difference."""
    difference = first - second
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def every_line(lines: list[Line]) -> str:
    """Return one line of comma-separated values per cell and method."""
    grid = {(line.cell, line.method): line for line in lines}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    scores = ("nll", "nll_minus_raw", "se", "brier", "brier_minus_raw", "se", "accuracy")
    bounds = ("ece", "low", "high", "smooth_ece", "low", "high")
    writer.writerow(("cell", "drift", "method", *scores, *bounds, "seconds", "failure"))
    for line in lines:
        base = grid[line.cell, "raw"]
        nll, brier = _difference(line.nll, base.nll), _difference(line.brier, base.brier)
        numbers = (line.nll.mean(), *nll, line.brier.mean(), *brier, line.accuracy)
        numbers += (*line.ece, *line.smooth)
        texts = [f"{number:.5f}" for number in numbers]
        if line.failure:
            texts = [""] * len(texts)
        writer.writerow(
            (
                line.cell,
                f"{line.drift:.1f}",
                line.method,
                *texts,
                f"{line.seconds:.2f}",
                line.failure,
            )
        )
    return out.getvalue()


# --- checks -------------------------------------------------------------------------------------


def checks(lines: list[Line]) -> Iterable[str]:
    """Yield one line of PASS or FAIL with its figures for every claim."""
    grid = {(line.cell, line.method): line for line in lines if not line.failure}
    cells = list(dict.fromkeys(line.cell for line in lines))
    for check in (_temperature_equals, _gain_of_peer, _worse_than_raw):
        yield from check(grid, cells)


def _temperature_equals(grid: Grid, cells: list[str]) -> Iterable[str]:
    peers = ("scikit-learn temperature", "netcal temperature", "probmetrics temp-scaling")
    worst, where = -np.inf, ""
    for cell in cells:
        found = [grid[cell, peer].nll.mean() for peer in peers if (cell, peer) in grid]
        if found and grid[cell, "TemperatureScaler"].nll.mean() - min(found) > worst:
            worst, where = grid[cell, "TemperatureScaler"].nll.mean() - min(found), cell
    if where:
        yield _verdict(
            worst <= 1e-4,
            f"TemperatureScaler beside the best peer's temperature in "
            f"every cell: at most {worst:+.1e} nats more ({where}).",
        )


def _gain_of_peer(grid: Grid, cells: list[str]) -> Iterable[str]:
    for peer in ("probmetrics sms", "probmetrics svs"):
        for kinds, words in (({"logits"}, "logit"), ({"logits", "llm"}, "logit and LLM")):
            shared = [
                (grid[cell, RECOMMENDED], grid[cell, peer], grid[cell, "TemperatureScaler"])
                for cell in cells
                if (cell, peer) in grid
                and (cell, RECOMMENDED) in grid
                and grid[cell, peer].kind in kinds
            ]
            if shared:
                mine, theirs = (
                    float(np.mean([t[2].nll.mean() - t[k].nll.mean() for t in shared]))
                    for k in (0, 1)
                )
                yield _verdict(
                    mine >= theirs,
                    f"mean gain in log loss over temperature on "
                    f"{len(shared)} {words} cells: {RECOMMENDED} {mine:.4f}, {peer} "
                    f"{theirs:.4f}.",
                )


def _worse_than_raw(grid: Grid, cells: list[str]) -> Iterable[str]:
    worse: dict[bool, list[str]] = {True: [], False: []}
    count = {True: 0, False: 0}
    for cell in cells:
        line = grid.get((cell, RECOMMENDED))
        if line is not None and line.kind != "null":
            drifted = abs(line.drift) > _LARGEST_DRIFT
            loss, error = _difference(line.nll, grid[cell, "raw"].nll)
            count[drifted] += 1
            if loss > error:
                worse[drifted].append(f"{cell} {loss:+.4f} +- {error:.4f}")
    for drifted, words in ((False, "of one distribution"), (True, "that differ")):
        if count[drifted]:
            yield _verdict(
                not worse[drifted],
                f"{RECOMMENDED} worse than raw by more than its standard error in "
                f"{len(worse[drifted])} of {count[drifted]} cells with halves {words}"
                f"{': ' if worse[drifted] else ''}{'; '.join(worse[drifted])}.",
            )


def _verdict(holds: bool, text: str) -> str:
    return f"{'PASS' if holds else 'FAIL'}: {text}"
