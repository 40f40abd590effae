r"""The calibration error of one predictor on weighted rows, beside what chance gives.

**Weights and noise.** With weights w and residuals :math:`e_i = c_i - y_i`, the variance of a
weighted mean of e over independent rows is :math:`\sum w_i^2 v_i / (\sum w_i)^2`. If w tells
nothing of v it is that of a mean over

.. math:: n_{\mathrm{eff}} = \Big(\sum_i w_i\Big)^2 \Big/ \sum_i w_i^2

rows of the weighted law (L. Kish, "Survey Sampling", Wiley 1965, section 11.7). The interval takes
weights for repetitions of independent rows, so weights that sum to n_eff give it the noise of the
view; gates as they are would make it too narrow wherever they differ.

The floor draws outcomes from the probabilities, each row once, and weighs them as the view does.
"""

from dataclasses import asdict, dataclass

import numpy as np

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._experts._mixture_rows import steady
from sk_arcal.metrics import calibration_error_interval, expected_calibration_error, noise_floor


@dataclass(frozen=True)
class ExpertView:
    """Calibration error of an expert, or of a mixture, on one view of the rows.

    Part of :func:`expert_calibration`. All errors are in probability units; NaN without rows.

    Parameters
    ----------
    n_rows : float
        Rows of the view; with weights their effective number after Kish.
    error : float
        Expected calibration error, biased upwards.
    floor : float
        Its mean for a calibrated predictor of the same confidences and weights.
    floor_95 : float
        What such a predictor stays below in 95 % of test sets.
    corrected : float
        The error less its bias; may be negative.
    low, high : float
        Interval for the error without noise.

    See Also
    --------
    expert_calibration : Computes it.
    """

    n_rows: float
    error: float = np.nan
    floor: float = np.nan
    floor_95: float = np.nan
    corrected: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class ViewSettings:
    """How a view is measured.

    Attributes
    ----------
    n_bins : int
        Bins of equal width.
    level : float
        Coverage of the interval.
    n_resamples : int
        Draws for the floor, and for the interval.
    """

    n_bins: int
    level: float
    n_resamples: int


def effective_rows(weight: FloatArray) -> float:
    """Return (sum w)^2 / sum w^2, zero where no row has weight."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def measure_view(
    events: FloatArray,
    confidence: FloatArray,
    weight: FloatArray,
    settings: ViewSettings,
    rng: np.random.Generator,
) -> ExpertView:
    """Measure one predictor on rows weighted by `weight`, all arrays of shape (n_samples,)."""
    kept = weight > 0
    events, confidence, weight = events[kept], steady(confidence[kept]), weight[kept]
    n_rows = effective_rows(weight)
    if not len(weight):
        return ExpertView(n_rows)
    for_floor, for_interval = rng.spawn(2)
    binned = {"n_bins": settings.n_bins, "sample_weight": weight * (n_rows / weight.sum())}
    floor = noise_floor(
        confidence, n_resamples=settings.n_resamples, random_state=for_floor, **binned
    )
    view = ExpertView(
        n_rows,
        expected_calibration_error(events, confidence, **binned),
        floor.mean,
        floor.quantile_95,
    )
    if n_rows < 2:
        return view
    interval = calibration_error_interval(
        events,
        confidence,
        level=settings.level,
        n_resamples=settings.n_resamples,
        random_state=for_interval,
        **binned,
    )
    ends = {"corrected": interval.corrected, "low": interval.low, "high": interval.high}
    return ExpertView(**(asdict(view) | ends))
