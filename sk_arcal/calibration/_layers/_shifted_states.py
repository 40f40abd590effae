r"""Read-outs of the same hidden states under many shifts.

A shift u of all rows changes the products with the head by a constant and the norm's divisor by
a quadratic. With :math:`P = W (g\,h)`, q the same of u, and x, u centred for a layer norm,

.. math:: z(u) = s \Big( \frac{P + q}{\sqrt{(x^2 + 2\,x \cdot u + u^2) / d + \epsilon}}
    + W \beta + b \Big)

so a new scale of a known direction costs n K operations instead of n d K, and a gradient by u
two products of the states with a vector.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._layers._norms import hidden_blocks
from sk_arcal.calibration._linear_readout import LinearReadout


class ShiftedStates:
    """Hidden states whose read-out is wanted at many shifts.

    Parameters
    ----------
    readout : LinearReadout
        Norm and head.
    hidden : ndarray of shape (n, d)
        Kept, not copied.
    """

    def __init__(self, readout: LinearReadout, hidden: NDArray[Any]) -> None:
        self.readout, self.hidden = readout, hidden
        self._head = readout.weight.astype(np.float64, copy=False)
        self._gain = 1.0 if readout.norm_weight is None else readout.norm_weight
        self._products = np.empty((len(hidden), readout.n_classes))
        self._square = np.empty(len(hidden))
        for rows in hidden_blocks(hidden):
            block = self._centred(hidden[rows].astype(np.float64))
            self._square[rows] = np.einsum("ij,ij->i", block, block)
            self._products[rows] = (block * self._gain) @ self._head.T
        self._constant = np.zeros(readout.n_classes)
        if readout.norm_bias is not None:
            self._constant += self._head @ readout.norm_bias
        if readout.bias is not None:
            self._constant += readout.bias

    def along(self, direction: FloatArray) -> Callable[[float], FloatArray]:
        """Return the function from the scale of a direction to the logits, shape (n, n_classes)."""
        shift, cross, moved = self._parts(direction)

        def logits(scale: float) -> FloatArray:
            divisor = self._divisor(scale * cross, scale**2 * float(shift @ shift))
            return self._finish((self._products + scale * moved) / divisor)

        return logits

    def with_gradient(
        self, shift: FloatArray, loss: Callable[[FloatArray], tuple[float, FloatArray]]
    ) -> tuple[float, FloatArray]:
        """Return a loss of the logits at a shift, and its gradient by the shift, shape (d,).

        `loss` returns its value and its derivative by the logits, shape (n, n_classes).
        """
        shift, cross, moved = self._parts(shift)
        divisor = self._divisor(cross, float(shift @ shift))
        products = self._products + moved
        logits = self._finish(products / divisor)
        value, slope = loss(logits)
        if self.readout.softcap is not None:
            slope = slope * (1 - (logits / self.readout.softcap) ** 2)
        slope = slope * self.readout.scale
        gradient = self._gain * ((slope / divisor).sum(axis=0) @ self._head)
        if self.readout.norm != "none":
            pull = np.einsum("ij,ij->i", slope, products) / divisor[:, 0] ** 3 / len(shift)
            # In the precision of the states, so that they are not converted as a whole.
            gradient = gradient - pull.astype(self.hidden.dtype) @ self.hidden - pull.sum() * shift
        return value, self._centred(gradient)

    def _parts(self, shift: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        shift = self._centred(shift)
        cross = self.hidden @ shift.astype(self.hidden.dtype)
        return shift, cross.astype(np.float64), self._head @ (self._gain * shift)

    def _divisor(self, cross: FloatArray, square: float) -> FloatArray:
        if self.readout.norm == "none":
            return np.ones((len(cross), 1))
        total = np.maximum(self._square + 2 * cross + square, 0)
        return np.sqrt(total / self.hidden.shape[1] + self.readout.eps)[:, None]

    def _finish(self, quotient: FloatArray) -> FloatArray:
        logits = self.readout.scale * (quotient + self._constant)
        cap = self.readout.softcap
        return logits if cap is None else cap * np.tanh(logits / cap)

    def _centred(self, array: FloatArray) -> FloatArray:
        if self.readout.norm != "layer":
            return array
        return array - array.mean(axis=-1, keepdims=True)
