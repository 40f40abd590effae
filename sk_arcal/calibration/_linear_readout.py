"""The read-out of a network in numpy: final norm, linear head, scale, cap."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sk_arcal.calibration._layers._norms import hidden_blocks, normalise
from sk_arcal.calibration._layers._readout_checks import check_hidden, check_readout
from sk_arcal.calibration._layers._row_space import row_space
from sk_arcal.calibration._saving._plain_state import register_helper


@register_helper
@dataclass(frozen=True, eq=False, repr=False)
class LinearReadout:
    r"""Turn hidden states into logits as the last steps of a network do, without the network.

    With the states of an earlier layer it is the logit lens; with those of the last layer
    it is the network's own output.

    Parameters
    ----------
    weight : array-like of shape (n_classes, d)
        Row of the head for every class: those of the options for a multiple choice question,
        the whole vocabulary otherwise. A head with one row for one event is written as two
        rows, the first of zeros.
    bias : array-like of shape (n_classes,), default=None
        Added to the products.
    norm : {"none", "rms", "layer"}, default="none"
        Norm in front of the head.
    norm_weight : array-like of shape (d,), default=None
        Gain of the norm, as it multiplies: a model that stores it less one adds the one first.
    norm_bias : array-like of shape (d,), default=None
        Added after the gain.
    eps : float, default=1e-5
        Added to the mean square or the variance, not negative.
    scale : float, default=1.0
        Multiplies the logits.
    softcap : float, default=None
        Bound c > 0 of the logits, applied last; None means none.

    Attributes
    ----------
    n_classes : int
        Rows of the head.
    n_features : int
        Width d of the hidden states.

    Raises
    ------
    ValueError
        If a value is not finite, out of range, or the shapes do not belong together.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    CalibrationDirection : A shift of the hidden states in front of a read-out.
    sk_arcal.diagnostics.unembedding_profile : What of a hidden state the read-out sees.

    Notes
    -----
    With :math:`g, \beta` the norm's gain and bias, s the scale and c the cap,

    .. math:: z = s\,(W n(h) + b), \qquad \mathrm{logits} = c \tanh(z / c)

    where :math:`n(h)` is h, or :math:`g\,h / \sqrt{\overline{h^2} + \epsilon} + \beta` for "rms"
    [1]_, or :math:`g\,(h - \bar h) / \sqrt{\overline{(h - \bar h)^2} + \epsilon} + \beta` for
    "layer" [2]_, the mean taken over the d entries. Without a cap the logits are z. States in
    single precision are computed in single precision, all others in double. Rows go in blocks, so
    no second copy of the states is made.

    References
    ----------
    .. [1] B. Zhang and R. Sennrich. "Root mean square layer normalization". NeurIPS 2019.
    .. [2] J. L. Ba, J. R. Kiros and G. E. Hinton. "Layer normalization". arXiv 1607.06450, 2016.

    Examples
    --------
    >>> from sk_arcal.calibration import LinearReadout
    >>> readout = LinearReadout([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], norm="rms", eps=0.0)
    >>> readout
    LinearReadout(n_classes=2, n_features=3, norm='rms')
    >>> readout.logits([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0]]).round(3)
    array([[1.732, 0.   ],
           [1.   , 1.   ]])
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    norm: str = "none"
    norm_weight: NDArray[Any] | None = None
    norm_bias: NDArray[Any] | None = None
    eps: float = 1e-5
    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        for name, value in check_readout(self.to_dict()).items():
            object.__setattr__(self, name, value)

    @property
    def n_classes(self) -> int:
        """Number of rows of the head."""
        return int(self.weight.shape[0])

    @property
    def n_features(self) -> int:
        """Width of the hidden states."""
        return int(self.weight.shape[1])

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Build a read-out from a dictionary of its fields.

        Parameters
        ----------
        saved : mapping
            From :meth:`to_dict`, or from the layer reader of
            :mod:`sk_arcal.feature_extraction`. Only "weight" has to be there.

        Returns
        -------
        readout : LinearReadout
            Checked as by the constructor.

        Raises
        ------
        TypeError
            If `saved` is no mapping.
        ValueError
            If "weight" is missing, another key is unknown, or a value cannot be used.
        """
        if not isinstance(saved, Mapping):
            raise TypeError(f"`saved` must be a dictionary; got {type(saved).__name__}.")
        known = [field.name for field in fields(cls)]
        unknown = sorted(str(key) for key in saved if key not in known)
        if unknown or "weight" not in saved:
            raise ValueError(
                f"`saved` must hold 'weight' and may hold {known[1:]}; got "
                f"{sorted(str(key) for key in saved)}."
            )
        return cls(**saved)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary.

        Returns
        -------
        fields : dict
            The arrays themselves, not copies.
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def normed(self, hidden: Any) -> NDArray[Any]:
        """Return the hidden states after the norm.

        Parameters
        ----------
        hidden : array-like of shape (..., d)
            Hidden states.

        Returns
        -------
        normed : ndarray of shape (..., d)
            What the head multiplies; a new array.

        Raises
        ------
        ValueError
            If the last axis is not d long.
        TypeError
            If the states are not real numbers.
        """
        states = check_hidden(hidden, self.n_features)
        flat = states.reshape(-1, self.n_features)
        out = np.empty(flat.shape, dtype=flat.dtype)
        for rows in hidden_blocks(flat):
            out[rows] = normalise(self, flat[rows])
        return out.reshape(states.shape)

    def logits(self, hidden: Any) -> NDArray[Any]:
        """Return the logits of hidden states.

        Parameters
        ----------
        hidden : array-like of shape (..., d)
            Hidden states; any number of leading axes, such as rows and layers.

        Returns
        -------
        logits : ndarray of shape (..., n_classes)
            In single precision if the states are, otherwise in double.

        Raises
        ------
        ValueError
            If the last axis is not d long.
        TypeError
            If the states are not real numbers.
        """
        states = check_hidden(hidden, self.n_features)
        flat = states.reshape(-1, self.n_features)
        head = np.asarray(self.weight, dtype=flat.dtype).T
        out = np.empty((len(flat), self.n_classes), dtype=flat.dtype)
        for rows in hidden_blocks(flat):
            np.matmul(normalise(self, flat[rows]), head, out=out[rows])
        self._finish(out)
        return out.reshape(*states.shape[:-1], self.n_classes)

    def row_space(self, *, rank: int | None = None) -> NDArray[np.float64]:
        r"""Return an orthonormal basis of the directions that change the softmax of the logits.

        Parameters
        ----------
        rank : int, default=None
            Keep this many directions of the head, those with the largest singular values. By
            default all that are not zero to rounding. With more classes than dimensions nothing
            may be left outside; a smaller rank then asks for what is almost outside.

        Returns
        -------
        basis : ndarray of shape (r, d)
            Orthonormal rows.

        Raises
        ------
        ValueError
            If `rank` is below 1.
        TypeError
            If `rank` is not an integer.

        Notes
        -----
        The basis spans the rows :math:`g\,(w_k - \bar w)`: what is orthogonal to them moves all
        classes alike, which a softmax does not see. A cap sees it, so with `softcap` the rows
        are not centred. With a layer norm the direction of the mean, (1, ..., 1), which the norm
        removes, is there too, and not counted in `rank`. With more classes than dimensions
        the rank comes from the d x d product, which tells singular values below about 1e-7 of the
        largest from zero no more.

        Examples
        --------
        >>> from sk_arcal.calibration import LinearReadout
        >>> (LinearReadout([[1.0, 1.0, 0.0], [0.0, 2.0, 0.0]]).row_space() ** 2).round(3)
        array([[0.5, 0.5, 0. ]])
        """
        return row_space(self, rank)

    def _finish(self, products: NDArray[Any]) -> None:
        """Add bias, scale and cap in place."""
        if self.bias is not None:
            products += self.bias.astype(products.dtype, copy=False)
        products *= products.dtype.type(self.scale)
        if self.softcap is not None:
            cap = products.dtype.type(self.softcap)
            products /= cap
            np.tanh(products, out=products)
            products *= cap

    def __repr__(self) -> str:
        options = [f"norm={self.norm!r}"]
        if self.softcap is not None:
            options.append(f"softcap={self.softcap:g}")
        return (
            f"LinearReadout(n_classes={self.n_classes}, n_features={self.n_features}, "
            f"{', '.join(options)})"
        )
