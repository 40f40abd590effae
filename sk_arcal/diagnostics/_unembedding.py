"""What of a hidden state the read-out does not see, and what that does to the confidence."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from sk_arcal._validation import (
    FloatArray,
    check_finite,
    check_length,
    check_number,
)
from sk_arcal.calibration import LinearReadout
from sk_arcal.calibration._layers._norms import hidden_blocks, norm_scale
from sk_arcal.calibration._layers._readout_checks import check_hidden
from sk_arcal.diagnostics._readout._correlation import Correlation, correlation
from sk_arcal.metrics._results import as_frame, as_text


@dataclass(frozen=True, eq=False, repr=False)
class UnembeddingProfile:
    r"""Part of each hidden state outside the read-out, and its temperature.

    Returned by :func:`unembedding_profile`. Printing it shows the correlations.

    Attributes
    ----------
    unseen_share : ndarray of shape (n_samples,)
        Length of the state outside the row space of the read-out over its whole length, in
        [0, 1]; the state less its mean for a layer norm. 0 for a state of zeros.
    effective_temperature : ndarray of shape (n_samples,)
        What the norm divides the row by, over the geometric mean of all rows.
    confidence : ndarray of shape (n_samples,)
        Largest class probability of the read-out.
    right : ndarray of bool of shape (n_samples,) or None
        Whether the most probable class was the label.
    correlations : dict of str to named tuple
        `estimate`, `low` and `high` by "<what> ~ confidence" and, with labels, "<what> ~ right",
        where what is "unseen_share" or "log_temperature".
    chance_share : float
        Share of a state of random direction: :math:`\sqrt{1 - r / d}`, r of d dimensions seen.
    level : float
        Coverage of the intervals.

    See Also
    --------
    unembedding_profile : Computes it.
    """

    unseen_share: FloatArray = field(repr=False)
    effective_temperature: FloatArray = field(repr=False)
    confidence: FloatArray = field(repr=False)
    right: NDArray[np.bool_] | None = field(repr=False)
    correlations: dict[str, Correlation]
    chance_share: float
    level: float

    def to_frame(self) -> Any:
        """Return one row per sample.

        Returns
        -------
        frame : pandas.DataFrame
            `unseen_share`, `effective_temperature`, `confidence` and, with labels, `right`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        names = ["unseen_share", "effective_temperature", "confidence", "right"]
        columns = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return as_frame(columns, "UnembeddingProfile.to_frame")

    def __repr__(self) -> str:
        estimates = np.array(list(self.correlations.values()))
        table = as_text(
            {
                "correlation": np.array(list(self.correlations)),
                "estimate": estimates[:, 0],
                "low": estimates[:, 1],
                "high": estimates[:, 2],
            }
        )
        low, high = np.quantile(self.effective_temperature, [0.05, 0.95])
        return (
            f"UnembeddingProfile: {len(self.confidence)} rows, mean unseen share "
            f"{self.unseen_share.mean():.4g} (by chance {self.chance_share:.4g}), "
            f"effective temperature {low:.4g} to {high:.4g} (90 % of rows)\n{table}"
        )


def unembedding_profile(
    hidden: ArrayLike,
    readout: LinearReadout,
    *,
    y_true: ArrayLike | None = None,
    rank: int | None = None,
    level: float = 0.95,
) -> UnembeddingProfile:
    r"""Measure what of the hidden states the read-out does not see.

    A final norm divides by the length of the whole state, seen or not. So a network can set its
    confidence through dimensions that the head does not read. The profile says how
    much of a state lies there, which temperature the norm gives each row, and whether either goes
    with confidence or with being right.

    Parameters
    ----------
    hidden : array-like of shape (n_samples, d)
        States in front of the norm.
    readout : LinearReadout
        Norm and head.
    y_true : array-like of shape (n_samples,), default=None
        Row of the read-out that is right, 0 to n_classes - 1.
    rank : int, default=None
        Leading directions of the head that count as seen; by default all, see
        :meth:`~sk_arcal.calibration.LinearReadout.row_space`. With more classes than dimensions
        nothing is unseen without it.
    level : float, default=0.95
        Coverage of the intervals, in (0, 1).

    Returns
    -------
    profile : UnembeddingProfile
        Shares, temperatures, confidences, and their correlations.

    Raises
    ------
    ValueError
        If an input is not finite, out of range or of the wrong shape.
    TypeError
        If `readout` is no :class:`~sk_arcal.calibration.LinearReadout` or values are not numbers.

    See Also
    --------
    entropy_neurons : Which neurons write there.
    conditional_calibration_test : Whether a share says more than the confidence.
    sk_arcal.calibration.CalibrationDirection : Shifts states there.

    Notes
    -----
    With x the state, less its mean for a layer norm, and P the projection onto the row space,

    .. math:: \mathrm{share} = \frac{|x - P x|}{|x|}, \qquad
        T_i = \sigma_i \Big/ \Big( \prod_j \sigma_j \Big)^{1/n}, \qquad
        \sigma = \sqrt{\overline{x^2} + \epsilon}

    Without biases the centred logits of row i are :math:`g\,x_i` through the head, divided by
    :math:`T_i` and by one number that all rows share. Without a norm all T are 1. Correlations are
    Pearson's, of the share and of log T, with intervals that need no normal values.

    References
    ----------
    .. [1] A. Stolfo, B. Wu, W. Gurnee, Y. Belinkov, X. Song, M. Sachan and N. Nanda. "Confidence
       Regulation Neurons in Language Models". NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.calibration import LinearReadout
    >>> from sk_arcal.diagnostics import unembedding_profile
    >>> readout = LinearReadout([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], norm="rms", eps=0.0)
    >>> profile = unembedding_profile([[3.0, 0.0, 4.0], [1.0, 0.0, 0.0], [0.0, 5.0, 0.0]], readout)
    >>> profile.unseen_share
    array([0.8, 0. , 1. ])
    >>> profile.effective_temperature.round(2)
    array([1.71, 0.34, 1.71])
    """
    level = check_number("level", level, low=0, high=1, strict=True)
    states = _states(hidden, readout, "hidden")
    sigma = norm_scale(readout, states)
    basis = readout.row_space(rank=rank)
    share = _unseen(states, readout, basis)[0]
    if not (sigma > 0).all():
        raise ValueError("A state in `hidden` has no length, and `eps` of the read-out is zero.")
    log_temperature = np.log(sigma) - np.log(sigma).mean()
    logits = readout.logits(states).astype(np.float64)
    confidence = np.exp(logits.max(axis=1) - logsumexp(logits, axis=1))
    right = None if y_true is None else logits.argmax(axis=1) == _labels(y_true, logits)
    outcomes = {"confidence": confidence} | ({} if right is None else {"right": right * 1.0})
    traits = {"unseen_share": share, "log_temperature": log_temperature}
    return UnembeddingProfile(
        unseen_share=share,
        effective_temperature=np.exp(log_temperature),
        confidence=confidence,
        right=right,
        correlations={
            f"{trait} ~ {outcome}": correlation(x, z, level)
            for outcome, z in outcomes.items()
            for trait, x in traits.items()
        },
        chance_share=_chance_share(basis, readout),
        level=level,
    )


def _states(values: ArrayLike, readout: Any, name: str) -> NDArray[Any]:
    if not isinstance(readout, LinearReadout):
        raise TypeError(f"`readout` must be a LinearReadout; got {type(readout).__name__}.")
    states = check_hidden(values, readout.n_features, name)
    if states.ndim != 2 or not len(states):
        raise ValueError(f"`{name}` must have shape (n, d) with a row; got shape {states.shape}.")
    check_finite(states, name)
    return states


def _unseen(
    states: NDArray[Any], readout: LinearReadout, basis: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the share of each length outside the basis, and the lengths."""
    share, length = np.zeros(len(states)), np.empty(len(states))
    for rows in hidden_blocks(states):
        block = states[rows].astype(np.float64)
        if readout.norm == "layer":
            block -= block.mean(axis=1, keepdims=True)
        length[rows] = np.linalg.norm(block, axis=1)
        left = np.linalg.norm(block - (block @ basis.T) @ basis, axis=1)
        np.divide(left, length[rows], out=share[rows], where=length[rows] > 0)
    return np.minimum(share, 1), length


def _chance_share(basis: FloatArray, readout: LinearReadout) -> float:
    # A layer norm has taken the mean direction out of both.
    gone = int(readout.norm == "layer")
    return float(np.sqrt(max(0.0, 1 - (len(basis) - gone) / (readout.n_features - gone))))


def _labels(y_true: ArrayLike, logits: FloatArray) -> NDArray[np.intp]:
    labels = np.asarray(y_true)
    check_length("y_true", labels, len(logits))
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise TypeError(
            "`y_true` must hold the row of the read-out that is right, as integers of shape "
            f"(n_samples,); got {labels.dtype} of shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"`y_true` must lie in 0 to {logits.shape[1] - 1}, the rows of the read-out; got "
            f"{labels.min()} to {labels.max()}."
        )
    return labels
