"""How large the calibration error gets if configurations change their prevalence."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_events,
    check_groups,
    check_integer,
    check_number,
    check_probabilities,
)
from sk_arcal.diagnostics._shift._ball import Ball
from sk_arcal.diagnostics._shift._cells import ShiftCells
from sk_arcal.diagnostics._shift._cross_fit import cross_fit
from sk_arcal.diagnostics._worst_case_result import WorstCaseCalibrationError
from sk_arcal.metrics._binning import bin_codes, bin_edges, bin_sums, check_binning
from sk_arcal.metrics._resampling import resample


def worst_case_calibration_error(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    configurations: ArrayLike,
    *,
    ball: str = "kl",
    radius: float = 0.5,
    alpha: float = 0.2,
    bounds: tuple[float, float] = (0.5, 2.0),
    n_bins: int = 10,
    strategy: str = "uniform",
    n_splits: int = 20,
    level: float = 0.95,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
) -> WorstCaseCalibrationError:
    r"""Compute the calibration error under the worst shift of configurations at given confidence.

    A mixture of experts may be calibrated because configurations of opposite error cancel. This
    is what happens if they no longer come in the same proportions: within every confidence bin
    their shares move in a ball, the bins keep their mass, and outcomes keep their rate in every
    cell.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    configurations : array-like of shape (n_samples,)
        Configuration of every row: a code or a name.
    ball : {"kl", "chi2", "cvar", "box"}, default="kl"
        How far the shares within a bin may move, as in :func:`worst_case_weights`.
    radius : float, default=0.5
        Of "kl" (nats) and "chi2". At 0 the error is the plain one.
    alpha : float, default=0.2
        Of "cvar".
    bounds : tuple of two floats, default=(0.5, 2.0)
        Of "box": no configuration becomes rarer or more frequent by more than these factors.
    n_bins : int, default=10
        Number of confidence bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width or of equal count.
    n_splits : int, default=20
        Random halvings of the rows, at least 1.
    level : float, default=0.95
        Coverage of the interval, in (0, 1).
    n_resamples : int, default=200
        Simulated outcomes behind the floor, at least 2.
    random_state : int, RandomState, Generator or None, default=None
        Source of the halvings and the simulated outcomes.
    n_jobs : int, default=None
        Number of joblib workers; the result does not depend on it.

    Returns
    -------
    result : WorstCaseCalibrationError
        Cross-fitted error with its interval, the error in sample with its floor, and the cells.

    Raises
    ------
    ValueError
        If there are fewer than two rows; if an input is empty, not finite, out of range or of the
        wrong length, or an option is not among those allowed.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    worst_case_weights : The maximiser, for any losses.
    shift_sweep : The error under shifts of a known kind.
    sk_arcal.metrics.expected_calibration_error : The error without a shift.

    Notes
    -----
    With bins b of mass :math:`m_b`, configurations g of share :math:`\pi_{gb}` within them and
    gaps :math:`\Delta_{gb}` (event rate less mean confidence),

    .. math:: \mathrm{ECE}_w = \sum_b m_b \Bigl| \sum_g \pi_{gb}\, w_{gb}\, \Delta_{gb} \Bigr| ,
        \qquad w_{\cdot b} \ge 0, \quad \sum_g \pi_{gb} w_{gb} = 1 .

    Its largest value over the ball is the larger of two linear maxima in every bin and so exact;
    on the rows at hand that is `in_sample`. In small cells it is noise, hence `floor`: its value
    when outcomes are drawn from `y_prob`. In `error` one half of the rows chooses sign and weights
    of every bin and the other half measures; the mean over halvings, each used both ways, is
    unbiased for the shifts found and at most the true largest value, in the mean. Rows have to
    be independent. The interval covers the error under the shifts found.

    The theory is that of soft routing in [1]_: the error at a confidence p under weights w is
    :math:`\mathrm{E}[w (\eta - p) \mid p] / \mathrm{E}[w \mid p]`.

    References
    ----------
    .. [1] G. Wong, D. Prinster, S. Saria, R. Chellappa and A. Liu. "Toward calibrated
       mixture-of-experts under distribution shift". ICML 2026.

    Examples
    --------
    Two configurations with rates 0.6 and 0.4 are calibrated together, not apart.

    >>> import numpy as np
    >>> from sk_arcal.diagnostics import worst_case_calibration_error
    >>> rng = np.random.default_rng(0)
    >>> configuration = np.arange(4000) % 2
    >>> y_true = rng.random(4000) < 0.4 + 0.2 * configuration
    >>> result = worst_case_calibration_error(
    ...     y_true, np.full(4000, 0.5), configuration, ball="box", bounds=(0, 2),
    ...     n_resamples=20, random_state=0,
    ... )
    >>> result.plain < 0.02 < 0.05 < result.low
    True
    """
    allowed = Ball.of(ball, radius, alpha, bounds)
    events = check_events(y_true)
    probability = check_probabilities(y_prob, n_samples=len(events))
    names, codes = check_groups(configurations, len(events), "configurations")
    n_bins, strategy, _ = check_binning(n_bins, strategy)
    n_splits = check_integer("n_splits", n_splits, low=1)
    level = check_number("level", level, low=0, high=1, strict=True)
    n_resamples = check_integer("n_resamples", n_resamples, low=2)
    if len(events) < 2:
        raise ValueError(f"`y_true` has {len(events)} row; halving needs at least two.")
    halvings, outcomes = as_generator(random_state).spawn(2)
    edges = bin_edges(probability, np.ones(len(events)), n_bins=n_bins, strategy=strategy)
    bins = bin_codes(probability, edges)
    cells = ShiftCells.from_codes(bins, codes)
    residual = events - probability
    found = cross_fit(cells, residual, allowed, n_splits, halvings, n_jobs)
    floors = resample(
        partial(_simulated, probability, cells, allowed), n_resamples, outcomes, n_jobs
    )
    signed = cells.worst(cells.sums(residual) / cells.counts, allowed)
    margin = float(ndtri((1 + level) / 2)) * found.standard_error
    raised = np.abs(signed)
    return WorstCaseCalibrationError(
        error=found.error,
        low=found.error - margin,
        high=found.error + margin,
        standard_error=found.standard_error,
        level=level,
        in_sample=float(signed @ cells.sums(residual) / len(events)),
        floor=float(floors.mean()),
        floor_95=float(np.quantile(floors, 0.95)),
        plain=float(np.abs(bin_sums(bins, residual)).sum() / len(events)),
        ball=f"{allowed.name}, {allowed.strength}",
        weights=raised[cells.of_row],
        configurations=names,
        shares=np.bincount(codes) / len(events),
        shifted_shares=bin_sums(cells.configurations, raised * cells.counts) / len(events),
        cells=_table(cells, names, events, probability, signed),
    )


def _simulated(
    probability: FloatArray, cells: ShiftCells, ball: Ball, rng: np.random.Generator
) -> float:
    """Return the largest error in sample when outcomes have the given probabilities."""
    events = rng.random(len(probability)) < probability
    return cells.largest(cells.sums(events - probability), ball)


def _table(
    cells: ShiftCells,
    names: NDArray[Any],
    events: FloatArray,
    probability: FloatArray,
    signed: FloatArray,
) -> dict[str, NDArray[Any]]:
    confidence = cells.sums(probability) / cells.counts
    rate = cells.sums(events) / cells.counts
    contribution = signed * (rate - confidence) * cells.counts / len(events)
    order = np.argsort(-contribution, kind="stable")
    columns = {
        "bin": cells.bins,
        "configuration": names[cells.configurations],
        "rows": cells.counts.astype(np.intp),
        "confidence": confidence,
        "rate": rate,
        "gap": rate - confidence,
        "weight": np.abs(signed),
        "contribution": contribution,
    }
    return {name: values[order] for name, values in columns.items()}
