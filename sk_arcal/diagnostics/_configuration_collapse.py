"""What a mixture's confidence hides: the variance of the event rate between configurations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_events,
    check_groups,
    check_number,
    check_probabilities,
    import_optional,
)
from sk_arcal.diagnostics._conditional._explained_variance import explained_variance, group_codes
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._experts._configuration_rates import configuration_rates
from sk_arcal.diagnostics._experts._mixture_rows import steady
from sk_arcal.metrics._results import as_text

# Printed rows of the table.
_N_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class ConfigurationCollapse:
    """The variance of the event rate between configurations at fixed confidence.

    Returned by :func:`configuration_collapse`. Printing it shows the configurations, those of
    the largest gaps if there are more than ten.

    Parameters
    ----------
    estimate : float
        Unbiased estimate, Brier units per row. It may be negative where nothing is hidden, and is
        left so.
    low, high : float
        Interval, not below zero.
    noise : float
        What was taken off for chance: the mean of the plain squared length where nothing is hidden.
    floor_95 : float
        What `estimate` stays below in 95 % of test sets where nothing is hidden; its mean is zero.
    share : float
        `estimate` as share of `outcome_variance`.
    outcome_variance : float
        Mean variance of the outcome among rows of like confidence.
    table : dict of str to ndarray
        One row per configuration: `configuration`, `n_rows`, `mean_confidence`, `event_rate`,
        `gap` (rate minus confidence) with `low` and `high`.
    level : float
        Coverage of all intervals.
    n_patterns : int
        Contrasts of configurations and confidence that are looked for.
    n_samples : int
        Number of rows.

    See Also
    --------
    configuration_collapse : Computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import configuration_collapse
    >>> codes = np.repeat([0, 1], 200)
    >>> y = np.r_[np.arange(200) < 140, np.arange(200) < 180]
    >>> collapse = configuration_collapse(y, np.full(400, 0.8), codes)
    >>> collapse.table["gap"].round(6)
    array([-0.1,  0.1])
    """

    estimate: float
    low: float
    high: float
    noise: float
    floor_95: float
    share: float
    outcome_variance: float
    table: dict[str, NDArray[Any]]
    level: float
    n_patterns: int
    n_samples: int

    def to_frame(self) -> Any:
        """Return the table of configurations as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row per configuration.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="ConfigurationCollapse.to_frame")
        return pandas.DataFrame(self.table)

    def __repr__(self) -> str:
        largest = np.argsort(-np.abs(self.table["gap"]), kind="stable")[:_N_SHOWN]
        shown = np.sort(largest)
        left = len(self.table["gap"]) - len(shown)
        head = (
            f"ConfigurationCollapse({self.estimate:.3g}, {self.level:.0%} interval "
            f"[{self.low:.3g}, {self.high:.3g}], by chance below {self.floor_95:.3g}; "
            f"{self.share:.2%} of the outcome variance)"
        )
        lines = [head, as_text({name: column[shown] for name, column in self.table.items()})]
        return "\n".join([*lines, f"{left} of smaller gap not shown"] if left else lines)


def configuration_collapse(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    configurations: ArrayLike,
    *,
    n_slices: int | None = None,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    random_state: object = None,
) -> ConfigurationCollapse:
    r"""Estimate the variance of the event rate between configurations at fixed confidence.

    A mixture maps many configurations to one confidence. If their event rates differ, errors of
    opposite sign cancel as long as the shares of the configurations stay; a shift of the shares
    alone uncovers them. The number is zero exactly where no such shift moves the event rate.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Outcome of the event, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Probability of the event by the mixture, in [0, 1]; need not be calibrated.
    configurations : array-like of shape (n_samples,)
        Configuration of every row, codes or names, as of :func:`routing_configurations`.
    n_slices : int, default=None
        Slices of the confidence, of about equally many rows, in each of which the rates may
        differ in another way. None takes an even number that grows with the cube root of the rows:
        2 for 1000, 4 for 2500, 6 for 10 000, 16 at most.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are dependent.
    level : float, default=0.95
        Coverage of the intervals, in (0, 1).
    random_state : int, RandomState, Generator or None, default=None
        Order of ties.

    Returns
    -------
    collapse : ConfigurationCollapse
        Estimate, interval, what chance gives, and a table of the configurations.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, or there are fewer
        than two groups.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    grouping_loss : The same number for a routing feature.
    routing_configurations : Makes configurations.
    conditional_calibration_test : Whether it is zero, with more power.

    Notes
    -----
    With S the configuration and :math:`\eta(S) = P(y = 1 \mid S, p)`,

    .. math:: \gamma = \mathrm{E}\, \mathrm{var}(\eta(S) \mid p) .

    Under weights w of mean one given p that depend on S alone, the event rate at p moves by
    :math:`\mathrm{cov}(w, \eta \mid p)`, at most :math:`\mathrm{sd}(w \mid p)\,
    \mathrm{sd}(\eta \mid p)`: the score measures how far shares of configurations can push a
    mixture that is calibrated on average [1]_.

    It is the grouping loss of the configurations, read as names, and is estimated as in
    :func:`grouping_loss`. **So it is a lower bound**: differences that change sign within a slice
    are missed in part, as are configurations of fewer than 20 rows or 1 % of the rows, and those
    within one configuration. Configurations found with the outcomes of the same rows make it too
    large.

    Confidences are rounded to 12 decimals: the same confidence summed over other gates differs in
    the last digit, and would tell the configurations apart. The interval of a gap is Student's for
    the mean of outcome minus confidence in the configuration, whose variance takes in one more
    row as the confidences have it, so that it is not empty where all rows went well.

    References
    ----------
    .. [1] G. Wong et al. "Toward calibrated mixture-of-experts under distribution shift". ICML
       2026. Section 4.2.

    Examples
    --------
    All experts say 0.8, which is right on average and wrong by a tenth in every configuration:

    >>> import numpy as np
    >>> from sk_arcal.diagnostics import configuration_collapse
    >>> codes = np.repeat([0, 1, 2], [500, 1000, 500])
    >>> rates = np.array([0.7, 0.9, 0.7])
    >>> y = np.random.default_rng(0).random(2000) < rates[codes]
    >>> collapse = configuration_collapse(y, np.full(2000, 0.8), codes)
    >>> collapse.low < 0.01 < collapse.high, collapse.estimate > collapse.floor_95
    (True, True)
    """
    event = check_events(y_true)
    confidence = steady(check_probabilities(y_prob, n_samples=len(event)))
    level = check_number("level", level, low=0, high=1, strict=True)
    names, codes = check_groups(configurations, len(event), "configurations")
    units, rng = group_codes(groups, len(event)), as_generator(random_state)
    levels = RoutingValues("nominal", codes.astype(np.float64), tuple(map(str, names)), codes)
    found = explained_variance(event, confidence, levels, n_slices, units, rng)
    low, high = found.length.interval(level)
    return ConfigurationCollapse(
        estimate=found.length.estimate,
        low=low,
        high=high,
        noise=found.length.noise,
        floor_95=_floor(found.covariance),
        share=found.share,
        outcome_variance=found.outcome_variance,
        table=configuration_rates(event, confidence, names, codes, units, level),
        level=level,
        n_patterns=found.length.n_directions,
        n_samples=len(event),
    )


def _floor(covariance: FloatArray) -> float:
    """Return the 95 % quantile of t't - tr M for a mean of zero, after Satterthwaite."""
    noise, square = float(np.trace(covariance)), float((covariance**2).sum())
    if noise <= 0:
        return 0.0
    return square / noise * float(chi2.ppf(0.95, noise**2 / square)) - noise
