r"""The error under a shift that was found on other rows.

A worst shift found on the rows it is measured on reads noise. Here one half of the rows, drawn
within every cell, chooses sign :math:`s_b` and weights :math:`w_{gb}`, and the other half measures

.. math:: \sum_b m_b s_b \sum_g \pi_{gb} w_{gb} \Delta_{gb} ,

which is linear in its outcomes and so unbiased for the shift that was chosen. The masses are those
of all rows, which says nothing about outcomes. A row that is alone in its cell is in either half
with probability one half, and counts twice where it is measured.

**Standard error.** Let C be the coefficient of a cell, averaged over halvings, and c its mean over
outcomes. What C adds to c is made of outcomes, and each pair of rows enters twice: one chooses for
the other and the other for the one. So the variance is not :math:`\sum C^2 r^2`, as with fixed
coefficients, but :math:`\sum (c^2 + 2 (C^2 - c^2))\, r^2`. The two halves of a halving choose
independently, hence the mean of the product of their choices estimates :math:`c^2`.
"""

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._shift._ball import Ball
from sk_arcal.diagnostics._shift._cells import ShiftCells


@dataclass(frozen=True, slots=True)
class CrossFit:
    """An error under shifts that were found on other rows, and its standard error."""

    error: float
    standard_error: float


def cross_fit(
    cells: ShiftCells,
    residual: FloatArray,
    ball: Ball,
    n_splits: int,
    rng: np.random.Generator,
    n_jobs: int | None,
) -> CrossFit:
    """Average over random halvings, each used both ways.

    Parameters
    ----------
    cells : ShiftCells
        Cells of the rows.
    residual : ndarray of shape (n_samples,)
        Event minus probability.
    ball : Ball
        Shifts allowed.
    n_splits : int
        Number of halvings.
    rng : Generator
        Source of the halvings.
    n_jobs : int or None
        Number of joblib workers.

    Returns
    -------
    fit : CrossFit
        The mean over halvings.
    """
    halvings = Parallel(n_jobs=n_jobs)(
        delayed(_halving)(cells, residual, ball, child) for child in rng.spawn(n_splits)
    )
    factor = sum(rows for rows, _ in halvings) / n_splits
    stable = sum(product for _, product in halvings) / n_splits
    contribution = factor * residual
    spread = contribution.std(ddof=1) / np.sqrt(len(residual))
    squares = contribution @ contribution
    share = stable @ cells.sums(residual**2) / squares if squares > 0 else 1.0
    inflation = np.clip(2 - share, 1, 2)
    return CrossFit(float(contribution.mean()), float(spread * np.sqrt(inflation)))


def _halving(
    cells: ShiftCells, residual: FloatArray, ball: Ball, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return the factor of every row's residual in the mean, and the product of both choices."""
    first = halve(cells, rng)
    factor, product = np.empty(len(residual)), np.ones(len(cells.counts))
    for chosen in (first, ~first):
        count = cells.sums(chosen.astype(np.float64))
        # A cell that this half does not see is taken to be calibrated.
        gaps = cells.sums(np.where(chosen, residual, 0.0)) / np.maximum(count, 1)
        signed = cells.worst(gaps, ball)
        product *= signed
        measured = cells.counts - count
        scale = np.where(cells.counts > 1, cells.counts / np.maximum(measured, 1), 2.0)
        rows = ~chosen
        factor[rows] = (signed * scale / 2)[cells.of_row[rows]]
    return factor, product


def halve(cells: ShiftCells, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return whether a row is in the first half; the halves of a cell differ by a row at most."""
    order = np.lexsort((rng.random(len(cells.of_row)), cells.of_row))
    counts = cells.counts.astype(np.intp)
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    # Which half gets the odd row is a coin of the cell.
    odd = np.repeat(rng.integers(2, size=len(counts)), counts)
    first = np.empty(len(order), dtype=bool)
    first[order] = (rank + odd) % 2 == 0
    return first
