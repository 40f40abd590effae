"""The slices that hard routing is calibrated on: top expert and its confidence."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import check_integer
from sk_arcal.diagnostics._experts._mixture_rows import steady
from sk_arcal.diagnostics._experts._unlabelled import read_unlabelled
from sk_arcal.metrics._binning import bin_codes


def expert_confidence_slices(
    expert_prob: ArrayLike, gates: ArrayLike, *, n_bins: int = 10
) -> NDArray[np.intp]:
    r"""Cut rows into cells of top expert and that expert's confidence.

    Parameters
    ----------
    expert_prob : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_classes)
        Probability of the event by every expert, or its class probabilities; then an expert's
        confidence is its largest.
    gates : array-like of shape (n_samples, n_experts)
        Weights of the experts; rows sum to one. The first expert of the largest gate is on top.
    n_bins : int, default=10
        Bins of equal width for the confidence, at least 1.

    Returns
    -------
    codes : ndarray of shape (n_samples,)
        ``n_bins * expert + bin``. Cells without rows keep their code, so that the code of a row
        does not depend on other rows.

    Raises
    ------
    ValueError
        If a shape, a probability or a gate cannot be used, or `n_bins` is below 1.
    TypeError
        If an input does not hold numbers, or `n_bins` is not an integer.

    See Also
    --------
    routing_configurations : Cells of all gates and all experts.
    configuration_collapse : What the rate of the event varies between cells.

    Notes
    -----
    The pair of top expert and its confidence is all that calibration under hard routing hangs on:
    a shift that leaves the rate of the event given the pair alone leaves a calibrated model
    calibrated [1]_. With soft routing the pair is a part of the configuration only.

    References
    ----------
    .. [1] G. Wong et al. "Toward calibrated mixture-of-experts under distribution shift". ICML
       2026. Section 3, the expert-confidence statistic.

    Examples
    --------
    >>> from sk_arcal.diagnostics import expert_confidence_slices
    >>> expert_confidence_slices([[0.15, 0.95], [0.15, 0.95]], [[0.7, 0.3], [0.3, 0.7]])
    array([ 1, 19])
    """
    n_bins = check_integer("n_bins", n_bins, low=1)
    rows = read_unlabelled(expert_prob, gates)
    confidence = steady(rows.own_experts[np.arange(len(rows.top)), rows.top])
    return n_bins * rows.top + bin_codes(confidence, np.linspace(0, 1, n_bins + 1))
