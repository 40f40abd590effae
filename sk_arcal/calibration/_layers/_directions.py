"""Directions in the residual stream: what a layer lacks, and what right rows have."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from sk_arcal._numeric import top_probability
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._layers._norms import hidden_blocks
from sk_arcal.calibration._layers._row_space import project_out

BoolArray = NDArray[np.bool_]
# What is left of a vector after a projection is rounding below this share of it.
_ROUNDING = 1e-6


def correction_directions(
    hidden: NDArray[Any], reference: NDArray[Any], rows: BoolArray, n_components: int
) -> FloatArray:
    """Return the mean of reference - hidden, or its part in each leading principal axis.

    Shape (n_components, d), lengths included. The axes are those of the second moments about
    zero, so the mean shift, which is what all rows share, counts.
    """
    weight = rows / rows.sum()
    mean = _weighted_sum(weight, reference) - _weighted_sum(weight, hidden)
    if n_components == 1:
        return mean[None, :]
    difference = reference[rows].astype(np.float64) - hidden[rows]
    wide = len(difference) < difference.shape[1]
    product = difference @ difference.T if wide else difference.T @ difference
    last = len(product) - 1
    first = max(0, last + 1 - n_components)
    square, axes = eigh(product, subset_by_index=(first, last))
    axes = axes[:, square > square[-1] * np.finfo(np.float64).eps * len(product)].T[::-1]
    if wide:
        axes = axes @ difference
        axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return (axes @ mean)[:, None] * axes


def contrastive_direction(
    hidden: NDArray[Any], codes: NDArray[Any], logits: FloatArray, rows: BoolArray
) -> FloatArray:
    """Return the mean of right rows less that of over-confident wrong rows, shape (1, d)."""
    right = rows & (logits.argmax(axis=1) == codes)
    wrong = rows & ~right
    if not right.any() or not wrong.any():
        raise ValueError(
            f"method='contrastive' needs right and wrong rows; the {int(rows.sum())} rows that "
            f"fit the direction have {int(right.sum())} right ones. Give more rows, or use "
            "method='correction'."
        )
    confidence = top_probability(logits)
    wrong &= confidence >= np.median(confidence[wrong])
    means = [_weighted_sum(part / part.sum(), hidden) for part in (right, wrong)]
    return (means[0] - means[1])[None, :]


def unit_directions(raw: FloatArray, basis: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Return orthonormal directions and the unit combination of them that is the shift.

    Parameters
    ----------
    raw : ndarray of shape (k, d)
        Parts whose sum is the shift wanted.
    basis : ndarray of shape (r, d) or None
        Orthonormal rows to project out.

    Returns
    -------
    directions : ndarray of shape (k, d)
        Orthonormal; all have a part of the shift that is not negative.
    coefficients : ndarray of shape (k,)
        Of unit length.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    length = float(np.linalg.norm(raw))
    left = raw if basis is None else project_out(raw, basis)
    total = left.sum(axis=0)
    if not np.linalg.norm(total) > _ROUNDING * length:
        raise ValueError(
            "No direction is left: the shift is zero, or lies wholly in what the read-out sees. "
            "Pass null_space=False, another layer, or fewer classes in the read-out."
        )
    if len(left) == 1:
        return total[None, :] / np.linalg.norm(total), np.ones(1)
    axes, singular, _ = np.linalg.svd(left.T, full_matrices=False)
    directions = axes.T[singular > _ROUNDING * singular[0]]
    parts = directions @ total
    signs = np.where(parts < 0, -1.0, 1.0)
    return directions * signs[:, None], np.abs(parts) / np.linalg.norm(parts)


def _weighted_sum(weight: FloatArray, states: NDArray[Any]) -> FloatArray:
    """Sum rows in double precision without converting all of them at once."""
    total = np.zeros(states.shape[1])
    for rows in hidden_blocks(states):
        total += weight[rows] @ states[rows].astype(np.float64)
    return total
