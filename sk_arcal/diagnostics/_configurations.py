"""Cells of like routing and like expert outputs: the configurations of a soft mixture."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans

from sk_arcal._validation import FloatArray, as_generator, check_integer, check_option
from sk_arcal.diagnostics._disagreement import expert_disagreement
from sk_arcal.diagnostics._experts._unlabelled import read_unlabelled

METHODS = ("kmeans", "disagreement")
# Starts of k-means; the best one is kept.
_N_STARTS = 10
# Clusters of this many rows stand for those of all; the time grows with rows times starts.
_MOST_FIT_ROWS = 20_000
# Coordinates nearer than this, in standard deviations, are one: rounding makes no cells.
_DECIMALS = 9


def routing_configurations(
    expert_prob: ArrayLike,
    gates: ArrayLike,
    *,
    n_configurations: int = 8,
    method: str = "kmeans",
    fit_rows: ArrayLike | None = None,
    random_state: object = None,
) -> NDArray[np.intp]:
    r"""Cut rows into cells of like gates and like expert outputs.

    Parameters
    ----------
    expert_prob : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_classes)
        Probability of the event by every expert, or its class probabilities; of these the ones
        of the mixture's most probable class are used.
    gates : array-like of shape (n_samples, n_experts)
        Weights of the experts; rows sum to one.
    n_configurations : int, default=8
        Cells wanted from k-means, at least 1. There are fewer where the rows have fewer
        different values. Not used by "disagreement".
    method : {"kmeans", "disagreement"}, default="kmeans"
        Clusters of the standardised gates and probabilities; or top expert x tercile of
        :func:`expert_disagreement`, three cells per expert, with code
        ``3 * expert + tercile``.
    fit_rows : array-like of bool of shape (n_samples,), default=None
        Rows on which the cells are found; all rows get a code. None takes all. Where an
        adversary picks among cells, find them on other rows than those it is scored on.
    random_state : int, RandomState, Generator or None, default=None
        Starts of k-means.

    Returns
    -------
    codes : ndarray of shape (n_samples,)
        Cell of every row. Those of k-means are sorted by the first gate of their centre, then
        the second and so on, so they do not hang on the order in which clusters were found.

    Raises
    ------
    ValueError
        If a shape, a probability or a gate cannot be used, `fit_rows` is no mask with some row,
        or an option is not among those allowed.
    TypeError
        If an input does not hold numbers, or `n_configurations` is not an integer.

    See Also
    --------
    expert_confidence_slices : Cells of top expert and its confidence.
    configuration_collapse : What the rate of the event varies between cells.

    Notes
    -----
    A soft mixture maps configurations :math:`(r_1, \dots, r_M, p_1, \dots, p_M)` to one
    confidence; which of them share it is what calibration on average does not show [1]_. With more
    than 20 000 rows to find cells on, that many are drawn.

    Outcomes play no part here. So codes of the same rows that a test is made on do not spoil it,
    as long as the number and the method of the cells were not chosen by its result.

    References
    ----------
    .. [1] G. Wong et al. "Toward calibrated mixture-of-experts under distribution shift". ICML
       2026. Section 4.2, the routing configuration.

    Examples
    --------
    >>> from sk_arcal.diagnostics import routing_configurations
    >>> gates = [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.5, 0.5]]
    >>> routing_configurations([[0.8, 0.8]] * 4, gates, random_state=0)
    array([2, 0, 2, 1])
    """
    n_configurations = check_integer("n_configurations", n_configurations, low=1)
    method = check_option("method", method, METHODS)
    rows = read_unlabelled(expert_prob, gates)
    fitted = _mask(fit_rows, len(rows.gates))
    if method == "disagreement":
        apart = np.round(expert_disagreement(expert_prob, gates), _DECIMALS)
        terciles = np.quantile(apart[fitted], [1 / 3, 2 / 3])
        return 3 * rows.top + np.searchsorted(terciles, apart, side="left")
    points = _standardised(np.hstack([rows.gates, rows.experts]), fitted)
    return _clusters(points, fitted, n_configurations, as_generator(random_state))


def _mask(fit_rows: ArrayLike | None, n_samples: int) -> NDArray[np.bool_]:
    if fit_rows is None:
        return np.ones(n_samples, dtype=bool)
    mask = np.asarray(fit_rows)
    if mask.dtype != np.bool_ or mask.shape != (n_samples,) or not mask.any():
        raise ValueError(
            f"`fit_rows` must be booleans of shape {(n_samples,)}, true in some row; got "
            f"{mask.dtype} of shape {mask.shape}, true in {np.count_nonzero(mask)} rows."
        )
    return mask


def _standardised(columns: FloatArray, fitted: NDArray[np.bool_]) -> FloatArray:
    """Return columns with mean zero and variance one on the fitted rows; constants stay zero."""
    mean, scale = columns[fitted].mean(axis=0), columns[fitted].std(axis=0)
    constant = scale < 10.0**-_DECIMALS
    return np.round((columns - mean) / np.where(constant, 1.0, scale), _DECIMALS)


def _clusters(
    points: FloatArray, fitted: NDArray[np.bool_], n_clusters: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    seed, known = int(rng.integers(2**31)), points[fitted]
    if len(known) > _MOST_FIT_ROWS:
        known = rng.choice(known, _MOST_FIT_ROWS, replace=False)
    n_clusters = min(n_clusters, len(np.unique(known, axis=0)))
    model = KMeans(n_clusters, n_init=_N_STARTS, random_state=seed).fit(known)
    centres = np.round(model.cluster_centers_, _DECIMALS)
    rank = np.empty(len(centres), dtype=np.intp)
    rank[np.lexsort(centres.T[::-1])] = np.arange(len(centres))
    return rank[model.predict(points)]
