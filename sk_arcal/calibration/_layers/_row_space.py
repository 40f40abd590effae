"""The directions a read-out sees, and the projection onto those it does not see."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray, check_integer
from sk_arcal.calibration._layers._norms import hidden_blocks

if TYPE_CHECKING:
    from sk_arcal.calibration._linear_readout import LinearReadout


def row_space(readout: "LinearReadout", rank: int | None = None) -> FloatArray:
    """Return orthonormal rows spanning the effective rows of the head, largest first."""
    if rank is not None:
        rank = check_integer("rank", rank, low=1)
    seen, singular, rounding = _axes(readout)
    kept = int((singular > rounding * singular[0]).sum()) if singular[0] > 0 else 0
    basis = seen[: kept if rank is None else min(rank, kept)]
    if readout.norm == "layer":
        basis = np.vstack([basis, np.full(readout.n_features, readout.n_features**-0.5)])
    return basis


def effective_rows(readout: "LinearReadout", rows: slice = slice(None)) -> FloatArray:
    """Return the rows of the head as they meet a hidden state, in double precision.

    Gain included; less their mean without a cap, since the softmax drops what all share; less
    what the layer norm drops.
    """
    effective = readout.weight[rows].astype(np.float64)
    if readout.softcap is None:
        effective -= readout.weight.mean(axis=0, dtype=np.float64)
    if readout.norm_weight is not None:
        effective *= readout.norm_weight
    if readout.norm == "layer":
        effective -= effective.mean(axis=1, keepdims=True)
    return effective


def project_out(vectors: NDArray[Any], basis: FloatArray) -> FloatArray:
    """Return `vectors` of shape (..., d) less their part in the span of orthonormal rows."""
    left = vectors - (vectors @ basis.T) @ basis
    # A second pass removes what the rounding of the first one left.
    return left - (left @ basis.T) @ basis


def _axes(readout: "LinearReadout") -> tuple[FloatArray, FloatArray, float]:
    """Return right singular vectors as rows, their singular values, and what rounds to zero."""
    n_classes, width = readout.weight.shape
    precision = float(np.finfo(readout.weight.dtype).eps)
    if n_classes <= width:
        _, singular, axes = np.linalg.svd(effective_rows(readout), full_matrices=False)
        return axes, singular, 4 * width * np.finfo(np.float64).eps
    product = np.zeros((width, width))
    for rows in hidden_blocks(readout.weight):
        block = effective_rows(readout, rows)
        product += block.T @ block
    square, axes = np.linalg.eigh(product)
    rounding = max(np.sqrt(width * np.finfo(np.float64).eps), precision)
    return axes.T[::-1], np.sqrt(np.maximum(square[::-1], 0)), rounding
