"""RMS norm and layer norm, block by block."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sk_arcal.calibration._linear_readout import LinearReadout

# Numbers in one block of rows: large enough for the matrix product, a few megabytes at most.
_BLOCK_ELEMENTS = 1 << 19


def hidden_blocks(flat: NDArray[Any]) -> list[slice]:
    """Cut rows of hidden states into slices of about half a million numbers."""
    rows = max(1, _BLOCK_ELEMENTS // max(1, flat.shape[1]))
    return [slice(start, start + rows) for start in range(0, len(flat), rows)]


def centred_and_root(readout: "LinearReadout", states: NDArray[Any]) -> tuple[Any, Any]:
    """Return the states less their mean where the norm does so, and what divides them.

    The second is of shape (n, 1), or 1 without a norm.
    """
    if readout.norm == "none":
        return states, states.dtype.type(1)
    if readout.norm == "layer":
        states = states - states.mean(axis=1, keepdims=True)
    square = np.einsum("ij,ij->i", states, states)[:, None] / states.dtype.type(states.shape[1])
    return states, np.sqrt(square + states.dtype.type(readout.eps))


def normalise(readout: "LinearReadout", states: NDArray[Any]) -> NDArray[Any]:
    """Return the normed states of shape (n, d)."""
    centred, root = centred_and_root(readout, states)
    out: NDArray[Any] = centred / root
    if readout.norm_weight is not None:
        out *= readout.norm_weight.astype(out.dtype, copy=False)
    if readout.norm_bias is not None:
        out += readout.norm_bias.astype(out.dtype, copy=False)
    return out


def norm_scale(readout: "LinearReadout", hidden: NDArray[Any]) -> NDArray[np.float64]:
    r"""Return what the norm divides each row by, shape (n,), in double precision.

    :math:`\sqrt{\overline{h^2} + \epsilon}`, with h less its mean for a layer norm; 1 without.
    """
    out = np.ones(len(hidden))
    if readout.norm == "none":
        return out
    for rows in hidden_blocks(hidden):
        block = hidden[rows].astype(np.float64, copy=False)
        out[rows] = centred_and_root(readout, block)[1][:, 0]
    return out
