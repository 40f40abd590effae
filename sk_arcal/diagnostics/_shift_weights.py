"""Row weights of shifts that are known: of shares, of gate shares, and tilts along a value."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    ROUNDING,
    FloatArray,
    check_groups,
    check_number,
    check_probability_matrix,
    check_vector,
)
from sk_arcal.diagnostics._shift._entropy_balance import entropy_balance


def share_weights(groups: ArrayLike, shares: Mapping[Any, float] | ArrayLike) -> FloatArray:
    r"""Compute row weights that give groups new shares and change nothing within them.

    Groups may be anything that a shift makes rarer or more frequent: labels (label shift), domains,
    the experts that a hard gate picks, configurations, slices of expert and confidence.

    Parameters
    ----------
    groups : array-like of shape (n_samples,)
        Group of every row.
    shares : mapping of group to float, or array-like of shape (n_groups,)
        New shares, with sum one; an array in the sorted order of the groups.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        Non-negative, with mean one.

    Raises
    ------
    ValueError
        If a group has no share or a share has no group, a share is negative, or their sum is not
        one.
    TypeError
        If the shares are not numbers.

    See Also
    --------
    gate_share_weights : The same for gates that are soft.
    tilt_weights : A shift within groups.
    shift_sweep : Calibration over a range of such shifts.

    Notes
    -----
    A row of group g has weight :math:`w = q_g / \pi_g`, its new over its old share. Of a model that
    is calibrated before, the event rate at confidence p under weights w is off by

    .. math:: \frac{\mathrm{Cov}(w, y - p \mid p)}{\mathrm{E}[w \mid p]} ,

    which is zero if w depends on p alone or if :math:`\mathrm{E}[y \mid p, w] = p`. Under label
    shift with weights :math:`w_1, w_0` it becomes
    :math:`w_1 p / (w_1 p + w_0 (1 - p))` [1]_.

    Shifts are combined by ``w = v * w`` and ``w / w.mean()``.

    References
    ----------
    .. [1] M. Saerens, P. Latinne and C. Decaestecker. "Adjusting the outputs of a classifier to
       new a priori probabilities". Neural Computation 14, 2002.

    Examples
    --------
    >>> from sk_arcal.diagnostics import share_weights
    >>> share_weights(["a", "a", "a", "b"], {"a": 0.5, "b": 0.5}).round(3)
    array([0.667, 0.667, 0.667, 2.   ])
    """
    names, codes = check_groups(groups, np.shape(groups)[0] if np.ndim(groups) else 0)
    if len(codes) == 0:
        raise ValueError("`groups` is empty; at least one row is needed.")
    aimed = _shares_of(shares, names)
    return (aimed / (np.bincount(codes) / len(codes)))[codes]


def _shares_of(shares: Any, names: NDArray[Any]) -> FloatArray:
    """Return the share of every group, in order."""
    if isinstance(shares, Mapping):
        shares = _in_order(shares, names)
    return _checked_shares(shares, len(names), "groups")


def _in_order(shares: Mapping[Any, float], names: NDArray[Any]) -> list[float]:
    words = names.dtype.kind == "U"
    given = {str(key) if words else key: value for key, value in shares.items()}
    wanted = names.tolist()
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if missing or unknown:
        raise ValueError(
            f"`shares` must name the groups {wanted}; "
            + (f"{missing} are missing" if missing else f"{unknown} have no rows to weight")
            + "."
        )
    return [given[name] for name in wanted]


def _checked_shares(shares: ArrayLike, n_shares: int, of: str) -> FloatArray:
    aimed = check_vector(shares, "shares")
    if len(aimed) != n_shares:
        raise ValueError(f"`shares` has {len(aimed)} entries for {n_shares} {of}.")
    if (aimed < 0).any() or abs(aimed.sum() - 1) > ROUNDING:
        raise ValueError(
            f"`shares` must be non-negative with sum one; got {aimed.tolist()} with sum "
            f"{aimed.sum():.6g}."
        )
    return aimed / aimed.sum()


def gate_share_weights(gates: ArrayLike, shares: ArrayLike) -> FloatArray:
    r"""Compute the mildest row weights that give the experts new mean gates.

    Parameters
    ----------
    gates : array-like of shape (n_samples, n_experts)
        Gates of every row, with sum one.
    shares : array-like of shape (n_experts,)
        New mean of every expert's gate, with sum one.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        Non-negative, with mean one.

    Raises
    ------
    ValueError
        If an input is not finite or out of range, or no weights of these rows have the mean gates
        `shares`.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    share_weights : Of hard gates: ``share_weights(gates.argmax(axis=1), shares)``.

    Notes
    -----
    Of all w with mean one and :math:`\frac1n \sum_i w_i r_i = q`, those of smallest divergence
    :math:`\frac1n \sum_i w_i \log w_i`. They are :math:`w_i \propto e^{\theta \cdot r_i}`, and
    :math:`\theta` minimises the convex :math:`\log \sum_i e^{\theta \cdot (r_i - q)}` [1]_.

    References
    ----------
    .. [1] J. Hainmueller. "Entropy balancing for causal effects". Political Analysis 20, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import gate_share_weights
    >>> gates = np.random.default_rng(0).dirichlet([1, 1, 1], size=500)
    >>> weights = gate_share_weights(gates, [0.5, 0.3, 0.2])
    >>> (weights @ gates / 500).round(6)
    array([0.5, 0.3, 0.2])
    """
    gate = check_probability_matrix(gates, "gates")
    return entropy_balance(gate, _checked_shares(shares, gate.shape[1], "experts"))


def tilt_weights(
    values: ArrayLike, strength: float, *, groups: ArrayLike | None = None
) -> FloatArray:
    r"""Compute row weights that grow or fall exponentially along a value.

    With `groups` the tilt stays within them and their shares do not change.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Along what to shift: a covariate, a gate, a confidence. A constant changes nothing.
    strength : float
        Change of the log weight per standard deviation of `values`; negative favours low values.
    groups : array-like of shape (n_samples,), default=None
        Group of every row, such as its expert.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        Positive, with mean one in every group.

    Raises
    ------
    ValueError
        If an input is empty, not finite or of the wrong length.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    share_weights : A shift of the groups themselves.

    Notes
    -----
    :math:`w_i \propto e^{\tau (x_i - \bar x) / s_x}`, normalised in every group; mean and
    standard deviation are those of all rows. Shifts are combined by ``w = v * w`` and
    ``w / w.mean()``.

    Examples
    --------
    >>> from sk_arcal.diagnostics import tilt_weights
    >>> tilt_weights([1.0, 2.0, 3.0], 1.0).round(3)
    array([0.188, 0.639, 2.174])
    >>> bool(tilt_weights([1.0, 2.0, 3.0], 1.0, groups=[0, 0, 1])[2] == 1)
    True
    """
    value = check_vector(values, "values")
    strength = check_number("strength", strength)
    if not np.isfinite(strength):
        raise ValueError(f"`strength` must be finite; got {strength}.")
    codes = np.zeros(len(value), dtype=np.intp)
    if groups is not None:
        codes = check_groups(groups, len(value))[1]
    scale = value.std()
    tilt = strength * (value - value.mean()) / scale if scale > 0 else np.zeros(len(value))
    # Measured from the largest of its group, no exponential overflows and no group vanishes.
    top = np.full(codes.max() + 1, -np.inf)
    np.maximum.at(top, codes, tilt)
    weights = np.exp(tilt - top[codes])
    return weights / (np.bincount(codes, weights=weights) / np.bincount(codes))[codes]
