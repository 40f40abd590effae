"""Real predictions as calibration problems: one cell is a fit half and an evaluation half.

Three kinds of files: `logits/` (a logit per class), `llm/` (a logit per answer option, with up to
three prompts) and `toplabel/` (only the confidence in the predicted class is known, the event is
that the prediction was right). A cell of confidence has two columns, as the others have: its
log-odds are the logit of the event against a logit of zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

PROMPTS = ("base", "shared", "task")
# A confidence of exactly one would be an infinite logit.
_SMALLEST_DOUBT = 1e-7
_NULL_SIZE = 10_000


@dataclass(frozen=True)
class Cell:
    """One calibration problem.

    Attributes
    ----------
    name : str
        What is shown.
    kind : {"null", "logits", "llm", "toplabel"}
        Where it comes from.
    logits : ndarray of shape (n, n_classes)
        Scores; two columns, the first of zeros, for an event.
    y : ndarray of shape (n,)
        Class codes.
    split : ndarray of shape (n,)
        0 for rows to fit on, 1 for rows to evaluate on.
    """

    name: str
    kind: str
    logits: NDArray[np.float64]
    y: NDArray[np.int64]
    split: NDArray[np.int64]

    @property
    def n_classes(self) -> int:
        """Number of classes, 2 for an event."""
        return self.logits.shape[1]

    def half(self, which: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return logits and labels of the rows to fit on (0) or to evaluate on (1)."""
        rows = self.split == which
        return self.logits[rows], self.y[rows]

    def drift(self) -> float:
        """Return by how many standard errors the raw over-confidence differs between the halves.

        Beyond about 4 the halves are no two samples of one thing, and no method that learns from
        the first can promise anything about the second.
        """
        halves = []
        for which in (0, 1):
            logits, y = self.half(which)
            p = softmax(logits, axis=1)
            event = self.n_classes == 2
            gap = p[:, 1] - y if event else p.max(axis=1) - (p.argmax(axis=1) == y)
            halves.append((gap.mean(), gap.var() / len(gap)))
        (first, first_variance), (second, second_variance) = halves
        return float((second - first) / np.sqrt(first_variance + second_variance))


def read_cells(folder: Path) -> Iterator[Cell]:
    """Yield simulated cells that are calibrated by construction, then every real one."""
    yield from null_cells()
    for path in sorted((folder / "logits").glob("*.npz")):
        with np.load(path) as data:
            # Counts of human votes lie in the same folder.
            if "logits" in data:
                yield _cell(path.stem, "logits", data["logits"], data["y"], data["split"])
    for path in sorted((folder / "llm").glob("emotion_*.npz")):
        with np.load(path) as data:
            yield _cell(path.stem, "llm", data["logits"], data["y"], data["split"])
    yield from _question_cells(folder / "llm")
    for path in sorted((folder / "toplabel").glob("*.npz")):
        with np.load(path) as data:
            right = data["true"] == data["pred"]
            yield _cell(path.stem, "toplabel", _log_odds(data["confidence"]), right, data["split"])


def null_cells() -> Iterator[Cell]:
    """Yield calibrated cells: labels drawn from the probabilities that are handed over."""
    for seed, (n_classes, sharpness) in enumerate([(2, 2.0), (10, 4.0), (100, 4.0)]):
        rng = np.random.default_rng(seed)
        logits = sharpness * rng.normal(size=(_NULL_SIZE, n_classes))
        logits[:, 0] *= n_classes > 2
        below = softmax(logits, axis=1).cumsum(axis=1) < rng.random((_NULL_SIZE, 1))
        y = below.sum(axis=1).clip(max=n_classes - 1)
        yield _cell(f"simulated_{n_classes}_classes", "null", logits, y, np.arange(_NULL_SIZE) % 2)


def _question_cells(folder: Path) -> Iterator[Cell]:
    with np.load(folder / "mmlu_labels.npz") as data:
        y, split = data["y"], data["split"]
    known = split < 2
    for path in sorted(folder.glob("mmlu_*_*.npz")):
        with np.load(path) as data:
            logits = data["logits"]
        for prompt, scores in zip(PROMPTS, logits, strict=True):
            yield _cell(f"{path.stem} {prompt}", "llm", scores[known], y[known], split[known])


def _log_odds(confidence: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(confidence.astype(np.float64), _SMALLEST_DOUBT, 1 - _SMALLEST_DOUBT)
    return np.column_stack([np.zeros(len(p)), np.log(p) - np.log1p(-p)])


def _cell(name: str, kind: str, logits: NDArray, y: NDArray, split: NDArray) -> Cell:
    logits = logits.astype(np.float64)
    # An event keeps its log-odds; classes get log probabilities, the scale all methods can read.
    scores = logits if logits.shape[1] == 2 else log_softmax(logits, axis=1)
    return Cell(name, kind, scores, y.astype(np.int64), split.astype(np.int64))
