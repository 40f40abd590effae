r"""How likely the test of a gap finds one, and how many rows that takes.

The test finds a gap when its interval excludes zero. With theta the true gap, s the standard error
of its estimate and z the (1 - alpha / 2) quantile of the normal law,

    power = Phi(|theta| / s - z) + Phi(-|theta| / s - z),

the second term being a gap found with the wrong sign. With groups, Phi and z are those of
Student's t with (groups - 1) degrees of freedom, shifted: the convention of
`min_detectable_gap`, which the power reaches 0.8 at.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import t as student

from sk_arcal._validation import check_integer, check_number, check_vector

# Power that `min_detectable_gap` speaks of.
USUAL_POWER = 0.8


def detection_power(
    gap: ArrayLike, gap_se: float, *, alpha: float = 0.05, n_groups: int | None = None
) -> Any:
    r"""Return the probability that the test of the gap finds a gap of a given size.

    A gap is found when its interval excludes zero. The p-value of the conditional calibration
    test looks at more than the gap, so its own power is a different one.

    Parameters
    ----------
    gap : float or array-like
        True gap, in probability units; its sign does not matter.
    gap_se : float
        Standard error of the estimated gap, positive.
    alpha : float, default=0.05
        Two-sided level, between 0 and 1.
    n_groups : int, default=None
        Number of groups of dependent rows behind `gap_se`, at least 2; None if rows are
        independent.

    Returns
    -------
    power : float or ndarray
        Probability in the shape of `gap`.

    Raises
    ------
    ValueError
        If `gap` is not finite or another number is out of range.
    TypeError
        If they are not numbers.

    See Also
    --------
    required_rows : The same question the other way round.
    conditional_calibration_test : Gives `gap_se`.

    Notes
    -----
    With s the standard error and z the (1 - alpha / 2) quantile of the normal law,

    .. math:: \Phi(|\mathrm{gap}| / s - z) + \Phi(-|\mathrm{gap}| / s - z) .

    With groups, both are those of Student's t with `n_groups` - 1 degrees of freedom, shifted. At
    `min_detectable_gap` of a result the power is 0.8.

    Power at the *estimated* gap says no more than the p-value of the gap does [1]_: ask for a gap
    that would matter.

    References
    ----------
    .. [1] J. M. Hoenig and D. M. Heisey. "The abuse of power". The American Statistician 55 (1),
       2001.

    Examples
    --------
    >>> from sk_arcal.diagnostics import detection_power
    >>> detection_power([0, 0.02, 0.05, 0.1], gap_se=0.02).round(3)
    array([0.05 , 0.17 , 0.705, 0.999])
    """
    size = np.abs(check_vector(np.ravel(gap), "gap")).reshape(np.shape(gap))
    scores = size / check_number("gap_se", gap_se, low=0, high=np.inf, strict=True)
    power = _power(scores, _checked_level(alpha), _degrees(n_groups))
    return power if power.ndim else float(power)


def required_rows(
    gap: float,
    gap_se: float,
    n_samples: int,
    *,
    power: float = USUAL_POWER,
    alpha: float = 0.05,
    n_groups: int | None = None,
) -> int:
    r"""Return how many rows the test of the gap needs to find a gap of a given size.

    Parameters
    ----------
    gap : float
        True gap to find, in probability units, not zero.
    gap_se : float
        Standard error of the gap with `n_samples` rows, positive.
    n_samples : int
        Number of rows behind `gap_se`.
    power : float, default=0.8
        Probability of finding it, above `alpha` and below 1.
    alpha : float, default=0.05
        Two-sided level, between 0 and 1.
    n_groups : int, default=None
        Number of groups behind `gap_se`, at least 2; None if rows are independent. New rows are
        taken to come in new groups; that their number makes the law narrower is left out.

    Returns
    -------
    n_required : int
        Smallest number of rows, in all, with at least this power.

    Raises
    ------
    ValueError
        If a number is out of range.
    TypeError
        If a number is of the wrong kind.

    See Also
    --------
    detection_power : Probability of finding a gap with the rows at hand.

    Notes
    -----
    The standard error is taken to shrink with the square root of the rows, new rows being like
    the old ones. With x the absolute score gap / s at which :func:`detection_power` equals `power`,
    the answer is :math:`n (x \, s / |\mathrm{gap}|)^2`, rounded up.

    Examples
    --------
    >>> from sk_arcal.diagnostics import required_rows
    >>> required_rows(0.05, gap_se=0.02, n_samples=2000)
    2512
    """
    gap = check_number("gap", gap)
    if gap == 0 or not math.isfinite(gap):
        raise ValueError(f"`gap` must be finite and not zero; got {gap!r}.")
    gap_se = check_number("gap_se", gap_se, low=0, high=np.inf, strict=True)
    n_samples = check_integer("n_samples", n_samples, low=1)
    alpha, degrees = _checked_level(alpha), _degrees(n_groups)
    power = check_number("power", power, low=alpha, high=1, strict=True)
    score = brentq(
        lambda x: float(_power(np.asarray(x), alpha, degrees)) - power,
        0,
        float(student.isf(alpha / 2, degrees) + student.ppf(power, degrees)),
        xtol=1e-12,
    )
    # Rounded first, so that a whole number of rows stays one.
    return math.ceil(round(n_samples * (score * gap_se / gap) ** 2, 6))


@dataclass(frozen=True)
class GapTest:
    """The test behind a reported gap, in the numbers that `detection_power` takes.

    Attributes
    ----------
    gap_se : float
        Standard error; of a nominal feature that of its least known level.
    alpha : float
        Level that the width of the interval amounts to: of a nominal feature smaller, because
        the intervals of all levels hold at once.
    n_groups : int or None
        Groups of dependent rows.
    """

    gap_se: float
    alpha: float
    n_groups: int | None

    @classmethod
    def of(cls, result: Any, n_groups: int | None) -> "GapTest":
        """Read it from the interval and the detectable gap of a result with an answer."""
        degrees = _degrees(n_groups)
        low, high = result.gap_interval
        critical = (high - low) / 2 / result.gap_se
        return cls(
            gap_se=result.min_detectable_gap
            / (critical + float(student.ppf(USUAL_POWER, degrees))),
            alpha=2 * float(student.sf(critical, degrees)),
            n_groups=n_groups,
        )


def _power(scores: NDArray[np.float64], alpha: float, degrees: float) -> NDArray[np.float64]:
    critical = student.isf(alpha / 2, degrees)
    found = student.cdf(scores - critical, degrees) + student.cdf(-scores - critical, degrees)
    return np.asarray(found)


def _checked_level(alpha: float) -> float:
    return check_number("alpha", alpha, low=0, high=1, strict=True)


def _degrees(n_groups: int | None) -> float:
    return np.inf if n_groups is None else check_integer("n_groups", n_groups, low=2) - 1
