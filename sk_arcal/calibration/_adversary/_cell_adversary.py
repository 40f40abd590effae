r"""Adversaries over rows, and over cells that do not see the label.

The published adversary weighs a row by its own loss, hence by its label; on a calibrated model it
reads noise. Here a *cell* is a set of rows with like routing and confidence. The rows are halved,
a small regression tree grown on one half, on the derivative of the loss in the temperature, cuts
the other half into cells, and the reverse. The adversary weighs cells by their *excess*

.. math:: e_g(\theta) = L_g(\theta) - \min(L_g^{plain}, L_g^{own}),

the mean loss of the cell less what a temperature of its own, fitted on the other half, reaches on
it. A cell that is merely hard has none; a cell that only looked miscalibrated has none either,
for its own temperature then does not hold on rows it has not seen. The worst case over weights is
the regret of minimax regret optimisation.

Source of the regret: A. Agarwal and T. Zhang, "Minimax Regret Optimization for Robust Machine
Learning under Distribution Shift", COLT 2022, equation 3; of adversaries that see features only:
U. Hébert-Johnson et al., "Multicalibration", ICML 2018. Their union and the cross-fitting are ours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.tree import DecisionTreeRegressor

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._adversary._adversaries import Adversary, WorstCase
from sk_arcal.calibration._adversary._dealt_folds import deal, is_divisible
from sk_arcal.calibration._mixture._mixture import from_scores
from sk_arcal.calibration._tempering import fit_temperature

# A cell smaller than this share, or this many rows, is no place to fit a temperature.
_SMALLEST_CELL_SHARE = 0.05
_SMALLEST_CELL_ROWS = 20.0


@dataclass(frozen=True, slots=True)
class RowAdversary:
    """Weights every row by its own loss, as published.

    Attributes
    ----------
    adversary : Adversary
        Kind and strength.
    mass : ndarray of shape (n_rows,)
        Base masses.
    """

    adversary: Adversary
    mass: FloatArray

    def respond(self, losses: FloatArray, start: float | None = None) -> WorstCase:
        """Return the worst case, its weights and its slope in the losses."""
        return self.adversary.respond(losses, self.mass, start)


@dataclass(frozen=True, slots=True)
class CellAdversary:
    """Weights cells of alike rows by their excess loss.

    Attributes
    ----------
    adversary : Adversary
        Kind and strength.
    cells : ndarray of shape (2, n_rows)
        Cell of a row as part of either half.
    mass : ndarray of shape (2, n_rows)
        Its mass in either half.
    reference : ndarray of shape (n_cells,)
        Loss within reach of every cell, nats.
    """

    adversary: Adversary
    cells: NDArray[np.intp]
    mass: FloatArray
    reference: FloatArray

    def respond(self, losses: FloatArray, start: float | None = None) -> WorstCase:
        """Return the worst excess, the weights of rows and the slope in their losses."""
        cell_mass = self._sums(np.ones(len(losses)))
        excess = self._sums(losses) / cell_mass - self.reference
        worst = self.adversary.respond(excess, cell_mass, start)
        per_mass = worst.slope / cell_mass
        slope = (self.mass * per_mass[self.cells]).sum(axis=0)
        weights = (self.mass * worst.weights[self.cells]).sum(axis=0) / self.mass.sum(axis=0)
        return WorstCase(worst.value, weights, slope, worst.threshold)

    def _sums(self, values: FloatArray) -> FloatArray:
        flat = (self.mass * values).ravel()
        sums = np.bincount(self.cells.ravel(), weights=flat, minlength=len(self.reference))
        return sums.astype(np.float64)


def grow_cells(
    adversary: Adversary,
    features: FloatArray,
    scores: FloatArray,
    codes: FloatArray,
    weight: FloatArray,
    n_cells: int,
) -> CellAdversary | RowAdversary:
    """Cut rows into cells and find what each could reach.

    Parameters
    ----------
    adversary : Adversary
        Kind and strength.
    features : ndarray of shape (n_rows, n_features)
        What it may see, as ranks.
    scores : ndarray of shape (n_rows, n_classes)
        Logits at the plain temperature.
    codes : ndarray of shape (n_rows,)
        Class codes.
    weight : ndarray of shape (n_rows,)
        Base masses of sorted, distinct rows.
    n_cells : int
        Largest number of cells per half.

    Returns
    -------
    cells : CellAdversary or RowAdversary
        With fewer rows than two halves need, the plain mean.
    """
    present = np.flatnonzero(weight > 0)
    halves = np.zeros((2, len(weight)))
    halves[:, present] = deal(weight[present], 2)
    if not is_divisible(halves):
        return RowAdversary(Adversary("none"), weight)
    log_p = log_softmax(scores, axis=1)
    rows, labels = np.arange(len(codes)), codes.astype(np.intp)
    plain = -log_p[rows, labels]
    slope = np.einsum("ik,ik->i", np.exp(log_p), scores) - scores[rows, labels]
    cells = np.zeros((2, len(weight)), np.intp)
    reference: list[float] = []
    for half in (0, 1):
        fit_mass, mass = halves[1 - half], halves[half]
        leaves = _leaves(features, slope, fit_mass, n_cells)
        names, codes_of_leaf = np.unique(leaves, return_inverse=True)
        cells[half] = codes_of_leaf + len(reference)
        for leaf in range(len(names)):
            inside = codes_of_leaf == leaf
            own = _own_loss(scores, codes, inside, fit_mass)
            total = mass[inside].sum()
            both = [np.dot(mass[inside], x) / total for x in (plain[inside], own)] if total else [0]
            reference.append(min(both))
    return _without_empty(CellAdversary(adversary, cells, halves, np.array(reference)))


def _leaves(
    features: FloatArray, slope: FloatArray, mass: FloatArray, n_cells: int
) -> NDArray[np.intp]:
    """Leaf of every row in a tree grown on the rows with mass."""
    grown = mass > 0
    share = max(_SMALLEST_CELL_SHARE, _SMALLEST_CELL_ROWS / mass.sum())
    if share > 0.5 or features.shape[1] == 0:
        return np.zeros(len(mass), np.intp)
    tree = DecisionTreeRegressor(
        max_leaf_nodes=n_cells, min_weight_fraction_leaf=share, random_state=0
    )
    tree.fit(features[grown], slope[grown], sample_weight=mass[grown])
    return tree.apply(features)


def _own_loss(
    scores: FloatArray, codes: FloatArray, inside: NDArray[np.bool_], mass: FloatArray
) -> FloatArray:
    """Losses of the rows inside at the temperature that suits those of the other half."""
    rows = np.flatnonzero(inside & (mass > 0))
    beta = 1.0
    if len(rows):
        fit = fit_temperature(from_scores(scores[rows]), codes[rows], mass[rows], bounds=(0.1, 10))
        beta = 1 / fit.temperature
    labels = codes[inside].astype(np.intp)
    return -log_softmax(beta * scores[inside], axis=1)[np.arange(len(labels)), labels]


def _without_empty(found: CellAdversary) -> CellAdversary:
    """Drop cells in which the half they were made for has no row."""
    mass = np.bincount(
        found.cells.ravel(), weights=found.mass.ravel(), minlength=len(found.reference)
    )
    kept = mass > 0
    # Rows without mass may point anywhere.
    code = np.maximum(np.cumsum(kept) - 1, 0)
    return CellAdversary(found.adversary, code[found.cells], found.mass, found.reference[kept])
