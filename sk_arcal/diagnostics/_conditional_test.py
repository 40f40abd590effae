"""The test: does routing say what the confidence does not already say about being right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import as_generator
from sk_arcal.diagnostics._conditional._answer import Settings, answer, read_data
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._result import ConditionalCalibrationResult, ConditionalCalibrationTests


def conditional_calibration_test(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: ArrayLike,
    *,
    routing_kind: str = "auto",
    groups: ArrayLike | None = None,
    delta: float = 0.05,
    alpha: float = 0.05,
    n_resamples: int = 999,
    null: str = "auto",
    method: str = "default",
    random_state: object = None,
) -> ConditionalCalibrationResult:
    r"""Test whether routing tells right from wrong among rows of equal confidence.

    The null hypothesis is E[y | confidence, routing] = E[y | confidence]: among rows of one
    confidence, the event is equally likely whatever the routing. It is not that the model is
    calibrated; an overconfident model fulfils it if it is equally overconfident everywhere.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Events, 0 or 1; for top-label confidence, whether the prediction was right.
    y_prob : array-like of shape (n_samples,)
        Confidence: probability of the event, in [0, 1]. Only its order is used.
    routing : array-like of shape (n_samples,)
        Routing feature, numbers or names.
    routing_kind : {"auto", "continuous", "discrete", "nominal"}, default="auto"
        "continuous" and "discrete" use the order of the numbers, "discrete" looks at each value
        as well; "nominal" uses no order. "auto": names are nominal, 12 distinct numbers or
        fewer discrete, more continuous. Pass "nominal" for numbered experts.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group may depend on one another (crops of an image, tokens of a text).
        Without it, such rows make every test reject too often.
    delta : float, default=0.05
        Gap, in probability units, below which a difference is of no interest.
    alpha : float, default=0.05
        Level; intervals hold 1 - alpha.
    n_resamples : int, default=999
        Number of draws under the null hypothesis.
    null : {"auto", "shuffle", "normal"}, default="auto"
        "shuffle" permutes outcomes inside bins of like confidence (with `groups`: flips the sign
        of their residuals group by group). "normal" draws from the normal law with exactly the
        covariance of those, which is too thin in the tail where few rows decide a bin. "auto"
        shuffles up to 20 000 rows, and beyond whenever routing has levels or a value that many
        rows share, or groups are fewer than 200. Other methods have one null law each.
    method : {"default", "weighted_gcm", "spline_lr", "cells", "betting"}, default="default"
        Where the p-value comes from; see Notes. The gap and all that says how large it may be are
        the same for every method. "spline_lr" takes no `groups`, and "betting" reads the rows in
        the order of their arrival.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws and of the order of ties.

    Returns
    -------
    result : ConditionalCalibrationResult
        Evidence (p-values and the part of the data that speaks), the matched gap with its
        interval, the smallest gap these data could show, and whether they exclude one of `delta`.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or out of range, or an option is unknown.
    TypeError
        If arrays hold the wrong kind of value, or names are to be read as numbers.

    See Also
    --------
    conditional_calibration_tests : Several routing features at once, with adjusted p-values.
    matched_confidence_gaps : The cell table of the published diagnostic.

    Notes
    -----
    Rows are cut into bins of like confidence. The routing is replaced by its rank u among rows of
    like confidence, and functions f(u) by their residuals from a straight line in the confidence
    rank inside each bin. Four statistics look at the sums S_b = sum f y: "linear" (one trend),
    "low_order" (trend, curvature, and a trend that turns along the confidence), "part" (outer
    deciles, or single levels) and "scan" (a trend inside some range of confidence). Each becomes a
    rank p_k among draws in which outcomes are shuffled inside bins, and the p-value is the rank of

    .. math:: \sum_k w_k (-\log p_k)^3

    among the same draws: one strong component speaks for itself, several weaker ones together.
    w is (0.5, 1.5, 0.5, 1.25), and (0.5, 1, 2, 0.5) where routing has levels.

    The test is exact in finite samples if P(event) is constant inside bins or routing is
    independent of confidence. Otherwise its bias is a product of two curvatures inside one bin. In
    simulations it kept 5 % under calibrated, overconfident, wiggly and discontinuous calibration
    curves, heavy ties, and routing correlated .95 with the confidence or following its
    miscalibration. No calibration model is fitted.

    The other methods are for comparison and for streams. Shares are of 2500 rows at level 5 %, from
    `benchmarks.conditional_test_level_and_power`: 15 kinds of true nulls with 200 data sets each
    (+/- 3 points), 11 kinds of effects with 100 each (+/- 10 points).

    - "weighted_gcm", the largest weighted covariance of two residuals from splines of the
      confidence [2]_ [3]_, rejects 2 to 8 % of true nulls, but 75 % where the routing follows a
      wiggly miscalibration, because it is as good as its splines. It finds 81 to 88 % of trends,
      curvatures and turning trends, and 13 to 63 % of the other effects.
    - "spline_lr", the likelihood ratio of nested logistic regressions, rejects 3 to 8 %, 82 % where
      the routing follows a wiggly miscalibration and 11 % of clustered rows. It finds 86 to 94 % of
      trends and curvatures, 56 % of turning trends, 9 to 68 % of the others.
    - "cells" tests all cells of the published diagnostic at once and returns them with simultaneous
      intervals in `cells`. It rejects 2 to 8 %, and 9 to 10 % with groups or where the routing
      follows the miscalibration; finds 46 % of effects in one narrow range, 4 to 26 % of others.
    - "betting" holds at any number of rows, see :class:`BettingTest`. It rejects 0.5 to 4.5 %, and
      finds 57 to 76 % of trends and curvatures, 2 to 38 % of the others.

    The question has no answer if the routing is a function of the confidence; then
    `identifiable` is False and `pvalue` NaN.

    Time grows with n_samples times n_resamples when shuffling (0.05 s for 2500 rows, 10 s for
    500 000), and little for the normal null (0.6 s for 500 000 rows); memory stays below 200 MB.

    References
    ----------
    .. [1] T. B. Berrett, Y. Wang, R. F. Barber and R. J. Samworth. "The conditional permutation
       test for independence while controlling for confounders". Journal of the Royal
       Statistical Society B 82, 2020.
    .. [2] R. D. Shah and J. Peters. "The hardness of conditional independence testing and the
       generalised covariance measure". Annals of Statistics 48, 2020, section 3.
    .. [3] C. Scheidegger, J. Hörrmann and P. Bühlmann. "The weighted generalised covariance
       measure". Journal of Machine Learning Research 23, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import conditional_calibration_test
    >>> rng = np.random.default_rng(0)
    >>> confidence, routing = rng.uniform(0.5, 1, 4000), rng.normal(size=4000)
    >>> right = rng.random(4000) < confidence - 0.1 + 0.05 * np.sign(routing)
    >>> result = conditional_calibration_test(right, confidence, routing, random_state=0)
    >>> result.pvalue <= 0.01, result.gap_interval[0] > 0
    (True, True)
    """
    settings = Settings.checked(
        delta, alpha, n_resamples, null, method=method, has_groups=groups is not None
    )
    data = read_data(y_true, y_prob, groups)
    values = read_routing(routing, "routing", routing_kind, len(data.events))
    results, _ = answer(data, [values], settings, as_generator(random_state))
    return results[0]


def conditional_calibration_tests(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: Any,
    *,
    feature_names: Sequence[str] | None = None,
    routing_kind: str | Mapping[str, str] = "auto",
    groups: ArrayLike | None = None,
    delta: float = 0.05,
    alpha: float = 0.05,
    n_resamples: int = 999,
    null: str = "auto",
    method: str = "default",
    random_state: object = None,
) -> ConditionalCalibrationTests:
    """Test several routing features of the same rows, with p-values adjusted for their number.

    Every feature gets the test of :func:`conditional_calibration_test`. All share the draws, so
    that the adjustment (Westfall and Young's step-down) knows how the features depend on one
    another and costs nothing; correlated features are corrected less than by Holm's rule.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Events, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Confidence: probability of the event, in [0, 1].
    routing : array-like of shape (n_samples, n_features), mapping or DataFrame
        Routing features as columns of an array or a pandas or polars frame, or as a mapping from
        name to column.
    feature_names : sequence of str, default=None
        Names of the columns of an array; None calls them routing_0, routing_1, ...
    routing_kind : str or mapping of str to str, default="auto"
        As in :func:`conditional_calibration_test`, for all features or by name; features that
        the mapping leaves out are read as "auto".
    groups : array-like of shape (n_samples,), default=None
        Groups of dependent rows.
    delta : float, default=0.05
        Gap below which a difference is of no interest.
    alpha : float, default=0.05
        Level of the intervals of each single feature.
    n_resamples : int, default=999
        Number of draws. The smallest adjusted p-value grows with the number of features over
        `n_resamples`; take more draws for dozens of features.
    null : {"auto", "shuffle", "normal"}, default="auto"
        How draws are made; the normal law is drawn jointly for all features.
    method : {"default", "weighted_gcm", "spline_lr", "cells", "betting"}, default="default"
        Where p-values come from. Features share the draws of "default" and "cells"; for the other
        methods the adjustment is Holm's, which does not know how features depend on one another.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws and of the order of ties.

    Returns
    -------
    tests : ConditionalCalibrationTests
        A result for each feature, and the adjusted p-values. Features whose question has no
        answer have NaN and do not count in the adjustment.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN or out of range, names repeat, or an option is unknown.
    TypeError
        If arrays hold the wrong kind of value, or names are to be read as numbers.

    See Also
    --------
    conditional_calibration_test : One feature; the method and its assumptions.

    Notes
    -----
    Rejecting all features with an adjusted p-value of at most 0.05 raises a false alarm, one or
    more, in at most 5 % of tables, whichever features carry a signal.

    References
    ----------
    .. [1] P. H. Westfall and S. S. Young. "Resampling-Based Multiple Testing". Wiley, 1993,
       algorithm 2.8.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import conditional_calibration_tests
    >>> rng = np.random.default_rng(0)
    >>> confidence, depth, spread = rng.uniform(0.5, 1, (3, 4000))
    >>> right = rng.random(4000) < confidence - 0.1 + 0.2 * (depth - 0.75)
    >>> routing = {"depth": depth, "spread": spread}
    >>> tests = conditional_calibration_tests(right, confidence, routing, random_state=0)
    >>> {name: bool(p <= 0.05) for name, p in tests.pvalue_adjusted.items()}
    {'depth': True, 'spread': False}
    """
    settings = Settings.checked(
        delta, alpha, n_resamples, null, method=method, has_groups=groups is not None
    )
    data = read_data(y_true, y_prob, groups)
    columns = _named_columns(routing, feature_names)
    kinds = _kind_of_each(routing_kind, list(columns))
    values = [
        read_routing(column, f"routing[{name!r}]", kinds[name], len(data.events))
        for name, column in columns.items()
    ]
    results, adjusted = answer(data, values, settings, as_generator(random_state))
    return ConditionalCalibrationTests(
        results=dict(zip(columns, results, strict=True)),
        pvalue_adjusted=dict(zip(columns, adjusted.tolist(), strict=True)),
    )


def _named_columns(routing: Any, feature_names: Sequence[str] | None) -> dict[str, Any]:
    """Split a mapping, a frame or an array into named columns."""
    if isinstance(routing, Mapping) or hasattr(routing, "columns"):
        names = list(routing if isinstance(routing, Mapping) else routing.columns)
        if feature_names is not None:
            raise ValueError(
                "`feature_names` names the columns of an array; `routing` already has names "
                f"({', '.join(map(str, names))}). Leave `feature_names` out."
            )
        columns = [routing[name] for name in names]
    else:
        array = np.asarray(routing)
        if array.ndim != 2:
            raise ValueError(
                "`routing` must have shape (n_samples, n_features); got shape "
                f"{array.shape}. For one feature call conditional_calibration_test."
            )
        columns = list(array.T)
        names = [f"routing_{k}" for k in range(len(columns))]
        names = names if feature_names is None else list(feature_names)
    _check_names(names, len(columns))
    return {str(name): column for name, column in zip(names, columns, strict=True)}


def _check_names(names: list[Any], n_columns: int) -> None:
    if not n_columns:
        raise ValueError("`routing` has no columns; at least one feature is needed.")
    if len(names) != n_columns:
        raise ValueError(f"`feature_names` has {len(names)} names for {n_columns} columns.")
    repeated = {str(name) for name in names if list(map(str, names)).count(str(name)) > 1}
    if repeated:
        raise ValueError(f"Names of routing features must differ; repeated: {sorted(repeated)}.")


def _kind_of_each(routing_kind: str | Mapping[str, str], names: list[str]) -> dict[str, str]:
    if not isinstance(routing_kind, Mapping):
        return dict.fromkeys(names, routing_kind)
    unknown = sorted(set(routing_kind) - set(names))
    if unknown:
        raise ValueError(
            f"`routing_kind` speaks of {unknown}, which are no features; known: {names}."
        )
    return {name: routing_kind.get(name, "auto") for name in names}
