"""The scale of a direction: errors along a grid, and the choice under an accuracy guard."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from sk_arcal._validation import FloatArray, check_vector
from sk_arcal.metrics import expected_calibration_error, maximum_calibration_error

# Scales in units of the median norm. A shift that is long beside the states acts as a temperature
# of about its own length, so the grid begins where nothing shows and ends at a temperature of four.
_LARGEST, _SMALLEST, _PER_SIDE = 4.0, 0.02, 16
_DOUBLINGS = 5
_REFINEMENTS, _BETWEEN = 2, 9
N_BINS = 15
COLUMNS = ("scale", "ece", "maximum_error", "log_loss", "accuracy")


def scale_grid(scales: Any, unit: float) -> FloatArray:
    """Return scales in sorted order, zero among them, in the length of the hidden states."""
    if scales is None:
        side = np.geomspace(_SMALLEST, _LARGEST, _PER_SIDE)
        scales = np.r_[-side, side]
    return unit * np.unique(np.r_[0.0, check_vector(scales, "scales")])


def path_row(logits: FloatArray, codes: NDArray[Any], scale: float = 0.0) -> tuple[float, ...]:
    """Return scale, ECE and maximum error of the top label, log loss and accuracy."""
    log_p = log_softmax(logits, axis=1)
    rows = np.arange(len(codes))
    predicted = log_p.argmax(axis=1)
    right = (predicted == codes).astype(np.float64)
    confidence = np.exp(log_p[rows, predicted])
    # At least one bin holds its share of the rows, however few they are.
    fewest = min(5, len(codes) // N_BINS)
    return (
        scale,
        expected_calibration_error(right, confidence, n_bins=N_BINS),
        maximum_calibration_error(right, confidence, n_bins=N_BINS, min_count=fewest),
        float(-log_p[rows, codes].mean()),
        float(right.mean()),
    )


def scale_path(
    logits: Callable[[float], FloatArray],
    codes: NDArray[Any],
    grid: FloatArray,
    *,
    criterion: str,
    tolerance: float,
    refine: bool,
) -> tuple[dict[str, FloatArray], int]:
    """Return the errors at every scale tried, and the row of the scale chosen.

    Parameters
    ----------
    logits : callable
        From a scale to logits of shape (n, n_classes).
    codes : ndarray of shape (n,)
        Class of every row.
    grid : ndarray of shape (m,)
        Sorted scales, zero among them.
    criterion : {"log_loss", "ece"}
        What is smallest at the scale chosen.
    tolerance : float
        Largest loss of accuracy against scale zero.
    refine : bool
        Whether to double the last scale while it is the best, up to five times, and then to look
        between the neighbours of the best scale, twice.

    Returns
    -------
    path : dict of str to ndarray of shape (m',)
        `COLUMNS`, sorted by scale.
    chosen : int
        Row of the path.
    """
    table = {scale: path_row(logits(scale), codes, scale) for scale in grid.tolist()}
    for step in range(_DOUBLINGS + _REFINEMENTS if refine else 0):
        path = _columns(table)
        best = _choose(path, criterion, tolerance)
        near = path["scale"][max(0, best - 1) : best + 2]
        if step >= _DOUBLINGS:
            tried = np.linspace(near[0], near[-1], _BETWEEN + 2)[1:-1]
        else:
            tried = 2 * path["scale"][best : best + 1] if len(near) < 3 else near[:0]
        for scale in tried.tolist():
            table.setdefault(scale, path_row(logits(scale), codes, scale))
    path = _columns(table)
    return path, _choose(path, criterion, tolerance)


def _columns(table: dict[float, tuple[float, ...]]) -> dict[str, FloatArray]:
    rows = np.array([table[scale] for scale in sorted(table)])
    return dict(zip(COLUMNS, rows.T.copy(), strict=True))


def _choose(path: dict[str, FloatArray], criterion: str, tolerance: float) -> int:
    """Return the best row that keeps the accuracy; of equal ones the smallest scale."""
    untouched = path["accuracy"][np.flatnonzero(path["scale"] == 0)[0]]
    allowed = np.flatnonzero(path["accuracy"] >= untouched - tolerance - 1e-12)
    order = np.lexsort((np.abs(path["scale"][allowed]), path[criterion][allowed]))
    return int(allowed[order[0]])
