r"""Patch the worst cell, again and again.

A cell is a group at a bin of the current confidence, or at all confidences. With W rows, event
rate r and mean prediction p a cell is drawn towards

.. math:: q = \frac{W r + \lambda p}{W + \lambda}

by the shift :math:`\nu (\operatorname{logit} q - \operatorname{logit} p)` of the log-odds of its
rows. To first order that is Newton's step, but it stays finite where p is near 0 or 1, and for
:math:`\nu \le 1` it never leads past q: the mean prediction moves by less on the scale of log-odds
than the rows do, by Jensen's inequality for :math:`p (1 - p)`. The worst cell is the one with the
largest

.. math:: W \Big[r \log \frac{q}{p} + (1 - r) \log \frac{1 - q}{1 - p}\Big],

the log loss that a cell of constant confidence gains; without shrinkage it is W times a
Kullback-Leibler divergence, near half a squared z-score, and at least :math:`2 W (r - p)^2` by
Pinsker's inequality.

Source: U. Hebert-Johnson et al., "Multicalibration: Calibration for the (Computationally-
Identifiable) Masses", ICML 2018: cells that are off are shifted until none is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sk_arcal._numeric import clipped_logit
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._groups._routing_groups import equal_mass_edges
from sk_arcal.calibration._saving._plain_state import register_helper

# Log-odds this near are one value that took two ways through the rounding.
_TIE = 1e-9
_SMALLEST = 1e-12
# A tenth of a standard error, squared and halved.
_NEGLIGIBLE = 0.005


@register_helper
@dataclass(frozen=True, slots=True)
class Patch:
    """One shift of the log-odds of one cell.

    Attributes
    ----------
    group : int
        Code of the group.
    low, high : float
        Log-odds before the patch between which the rows of the cell lie.
    shift : float
        What is added to them.
    gap : float
        Event rate less mean prediction of the cell before the patch.
    weight : float
        Weight of the cell.
    violation : float
        What the worst cell is chosen by, nats.
    """

    group: int
    low: float
    high: float
    shift: float
    gap: float
    weight: float
    violation: float

    def apply(self, log_odds: FloatArray, codes: NDArray[np.intp]) -> FloatArray:
        """Return log-odds with the cell shifted, for rows with group codes `codes`."""
        inside = (codes == self.group).any(axis=1) & (log_odds >= self.low) & (log_odds < self.high)
        return log_odds + np.where(inside, self.shift, 0.0)


@dataclass(frozen=True, slots=True)
class Patching:
    """How cells are cut and patched.

    Attributes
    ----------
    n_bins : int
        Bins of the confidence, of equal weight.
    learning_rate : float
        Share of the way that one patch goes.
    shrinkage : float
        Rows that agree with the prediction, added to every cell.
    max_iter : int
        Most rounds.
    """

    n_bins: int
    learning_rate: float
    shrinkage: float
    max_iter: int


@dataclass(frozen=True, slots=True)
class PatchedRows:
    """Rows to patch.

    Attributes
    ----------
    log_odds : ndarray of shape (n_samples,)
        Of the event, before the first patch.
    codes : ndarray of int of shape (n_samples, n_families)
        Groups.
    event : ndarray of shape (n_samples,)
        0 or 1.
    weight : ndarray of shape (n_samples,)
        Positive weights.
    """

    log_odds: FloatArray
    codes: NDArray[np.intp]
    event: FloatArray
    weight: FloatArray

    def take(self, rows: NDArray[np.intp], weight: FloatArray) -> "PatchedRows":
        """Return some of the rows, with other weights."""
        return PatchedRows(self.log_odds[rows], self.codes[rows], self.event[rows], weight)


def boost(rows: PatchedRows, patching: Patching) -> Iterator[Patch]:
    """Patch the worst cell of every round, until the rounds or the violations run out.

    Parameters
    ----------
    rows : PatchedRows
        What to learn from.
    patching : Patching
        How.

    Yields
    ------
    patch : Patch
        Of one round after the other.
    """
    log_odds = rows.log_odds
    for _ in range(patching.max_iter):
        patch = worst_patch(log_odds, rows, patching)
        if patch.violation < _NEGLIGIBLE:
            return
        log_odds = patch.apply(log_odds, rows.codes)
        yield patch


def worst_patch(log_odds: FloatArray, rows: PatchedRows, patching: Patching) -> Patch:
    """Find the cell with the largest violation and how to patch it.

    Parameters
    ----------
    log_odds : ndarray of shape (n_samples,)
        Current ones, by which bins are cut.
    rows : PatchedRows
        Groups, events and weights.
    patching : Patching
        How cells are cut and patched.

    Returns
    -------
    patch : Patch
        For that cell.
    """
    cells = _Cells.cut(log_odds, rows, patching)
    rate, mean, target = cells.rate, cells.mean, cells.target
    violation = cells.mass * (
        rate * np.log(target / mean) + (1 - rate) * np.log((1 - target) / (1 - mean))
    )
    # Rounding may leave a cell without a gap just below zero.
    violation = np.maximum(violation, 0.0)
    # Cells that are equal but for rounding: the first, which is the coarser one.
    worst = int(np.flatnonzero(violation >= (1 - _TIE) * violation.max())[0])
    group, part = divmod(worst, len(cells.edges) + 2)
    ends = [-np.inf, *cells.edges.tolist(), np.inf]
    steps = clipped_logit(np.array([target[worst], mean[worst]]), _SMALLEST)
    return Patch(
        group=group,
        # Part 0 is the whole range.
        low=ends[max(part - 1, 0)],
        high=ends[part] if part else np.inf,
        shift=float(patching.learning_rate * (steps[0] - steps[1])),
        gap=float(rate[worst] - mean[worst]),
        weight=float(cells.mass[worst]),
        violation=float(violation[worst]),
    )


def largest_gap(log_odds: FloatArray, rows: PatchedRows, patching: Patching) -> float:
    """Return the largest distance of a cell's prediction to what it is drawn towards."""
    cells = _Cells.cut(log_odds, rows, patching)
    return float(np.abs(cells.target - cells.mean).max())


@dataclass(frozen=True, slots=True)
class _Cells:
    """Weight, event rate, mean prediction and target of the cells of all groups in turn.

    The first cell of a group is the whole range of the confidence, the others are its bins.
    """

    edges: FloatArray
    mass: FloatArray
    rate: FloatArray
    mean: FloatArray
    target: FloatArray

    @classmethod
    def cut(cls, log_odds: FloatArray, rows: PatchedRows, patching: Patching) -> "_Cells":
        edges = equal_mass_edges(log_odds, rows.weight, patching.n_bins, tie=_TIE)
        mass, seen, predicted = _cell_sums(log_odds, rows, edges)
        filled = np.maximum(mass, np.finfo(float).tiny)
        rate, mean = seen / filled, np.clip(predicted / filled, _SMALLEST, 1 - _SMALLEST)
        target = (seen + patching.shrinkage * mean) / (filled + patching.shrinkage)
        # Without shrinkage the target of an empty cell is not its prediction.
        target = np.where(mass > 0, np.clip(target, _SMALLEST, 1 - _SMALLEST), mean)
        return cls(edges, mass, rate, mean, target)


def _cell_sums(
    log_odds: FloatArray, rows: PatchedRows, edges: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return weight, events and predictions of group after group: the whole range, then bins."""
    n_groups, n_parts = int(rows.codes.max()) + 1, len(edges) + 1
    cell = rows.codes * n_parts + np.searchsorted(edges, log_odds, side="right")[:, None]
    sums = []
    for values in (rows.weight, rows.weight * rows.event, rows.weight * expit(log_odds)):
        spread = np.broadcast_to(values[:, None], cell.shape).ravel()
        parts = np.bincount(cell.ravel(), spread, n_groups * n_parts).reshape(n_groups, n_parts)
        sums.append(np.column_stack([parts.sum(axis=1), parts]).ravel())
    return sums[0], sums[1], sums[2]
