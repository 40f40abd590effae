"""How far the experts of a row are apart, and what mixing them cost."""

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._experts._mixture_rows import read_mixture
from sk_arcal.diagnostics._experts._unlabelled import class_probabilities, read_unlabelled


def expert_disagreement(expert_prob: ArrayLike, gates: ArrayLike) -> FloatArray:
    r"""Compute the gate-weighted squared distance of the experts to their mixture.

    Parameters
    ----------
    expert_prob : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_classes)
        Probability of the event by every expert, or its class probabilities.
    gates : array-like of shape (n_samples, n_experts)
        Weights of the experts; rows sum to one.

    Returns
    -------
    disagreement : ndarray of shape (n_samples,)
        In [0, 1): zero where all open experts say the same, 1/2 where two with equal gates are
        sure of different classes.

    Raises
    ------
    ValueError
        If a shape, a probability or a gate cannot be used.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    mixture_regret : What the mixing cost, once the outcome is known.
    routing_configurations : Cells by top expert and disagreement.

    Notes
    -----
    Over the vector of class probabilities [1]_,

    .. math:: d = \sum_m r_m \, \lVert p_m - p \rVert^2
        = \sum_m r_m \lVert p_m \rVert^2 - \lVert p \rVert^2, \qquad p = \sum_m r_m p_m .

    An event counts as its two classes: (n, M) and the (n, M, 2) it stands for give the same
    number, twice the variance of the probability over the gates.

    References
    ----------
    .. [1] G. Wong et al. "Toward calibrated mixture-of-experts under distribution shift". ICML
       2026. The second rule for relevant rows.

    Examples
    --------
    >>> from sk_arcal.diagnostics import expert_disagreement
    >>> expert_disagreement([[0.8, 0.8], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]])
    array([0. , 0.5])
    """
    weights = read_unlabelled(expert_prob, gates).gates
    classes = class_probabilities(expert_prob)
    apart = classes - np.einsum("im,imk->ik", weights, classes)[:, None]
    return np.einsum("im,imk->i", weights, apart**2)


def mixture_regret(
    y_true: ArrayLike,
    expert_prob: ArrayLike,
    gates: ArrayLike,
    *,
    labels: ArrayLike | None = None,
) -> FloatArray:
    r"""Compute how much log loss a row has beyond that of its best open expert.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Events, 0 or 1; with class probabilities class labels.
    expert_prob : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_classes)
        Probability of the event by every expert, or its class probabilities.
    gates : array-like of shape (n_samples, n_experts)
        Weights of the experts; rows sum to one. An expert is open where its gate is not zero.
    labels : array-like of shape (n_classes,), default=None
        Class of every column of an expert; the sorted labels of `y_true` if None.

    Returns
    -------
    regret : ndarray of shape (n_samples,)
        Nats, not negative. Zero where no open expert gave the outcome any probability, for then
        none was better.

    Raises
    ------
    ValueError
        If a shape, a probability, a gate or a label cannot be used.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    expert_disagreement : Needs no outcome; where it is zero, so is the regret.

    Notes
    -----
    With :math:`p_{my}` the probability that expert m gives what happened [1]_,

    .. math:: g = \max_{m :\, r_m > 0} \log p_{my} - \log \sum_m r_m p_{my} .

    A mean of probabilities is no larger than the largest, so mixing never beats the best open
    expert of a row and :math:`0 \le g \le -\log r_{m^*}`, with m* that expert. It is known only
    afterwards: a regret is no sign that some expert is better on average. For an aggregate that
    was calibrated after mixing the difference of the two losses may be negative; here it is the
    plain mixture.

    References
    ----------
    .. [1] G. Wong et al. "Toward calibrated mixture-of-experts under distribution shift". ICML
       2026. The first rule for relevant rows.

    Examples
    --------
    >>> from sk_arcal.diagnostics import mixture_regret
    >>> regret = mixture_regret([1, 1], [[0.8, 0.8], [0.8, 0.4]], [[0.5, 0.5], [0.5, 0.5]])
    >>> regret.round(4)
    array([0.    , 0.2877])
    """
    rows = read_mixture(y_true, expert_prob, gates, labels)
    best = np.where(rows.gates > 0, rows.true_class, 0.0).max(axis=1)
    mixed = (rows.gates * rows.true_class).sum(axis=1)
    ratio = np.divide(best, mixed, out=np.ones_like(best), where=mixed > 0)
    # Equal experts are mixed to the same number but for rounding.
    return np.log(np.maximum(ratio, 1.0))
