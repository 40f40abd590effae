"""How much the router mixes on parts of the rows: easy and hard ones, domains, groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr
from scipy.stats import chi2
from scipy.stats import t as student

from sk_arcal._validation import FloatArray, check_groups, check_number, import_optional
from sk_arcal.diagnostics._experts._mixture_rows import read_gates
from sk_arcal.metrics._results import as_text


@dataclass(frozen=True, eq=False, repr=False)
class SubsetEntropy:
    """Routing entropy by subset, beside what chance makes subsets differ by.

    Returned by :func:`routing_entropy_by_subset`. Printing it shows the subsets.

    Parameters
    ----------
    table : dict of str to ndarray
        One row per subset: `subset`, `n_rows`, `entropy` (mean, nats), `normalized` (divided by
        log M; NaN with one expert), `standard_error`, `low`, `high` (of the mean, nats), and
        `difference` to the mean of all other rows with `difference_low` and `difference_high`.
        NaN where there are too few rows.
    entropy : float
        Mean over all rows, nats.
    spread : float
        Standard deviation of the subset means around it, rows weighted alike, nats.
    floor : float
        Root of the mean square of `spread` if the subsets were drawn at random.
    floor_95 : float
        What `spread` then stays below in 95 % of draws, for subsets of many rows.
    level : float
        Coverage of the intervals.

    See Also
    --------
    routing_entropy_by_subset : Computes it.

    Examples
    --------
    >>> from sk_arcal.diagnostics import routing_entropy_by_subset
    >>> gates = [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [1.0, 0.0]]
    >>> routing_entropy_by_subset(gates, ["hard", "hard", "easy", "easy"]).table["entropy"].round(4)
    array([0.    , 0.6931])
    """

    table: dict[str, NDArray[Any]]
    entropy: float
    spread: float
    floor: float
    floor_95: float
    level: float

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row per subset.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="SubsetEntropy.to_frame")
        return pandas.DataFrame(self.table)

    def __repr__(self) -> str:
        return (
            f"SubsetEntropy: mean {self.entropy:.4g} nats, spread {self.spread:.3g} "
            f"(by chance {self.floor:.3g}, 95% below {self.floor_95:.3g})\n{as_text(self.table)}"
        )


def routing_entropy_by_subset(
    gates: ArrayLike, subsets: ArrayLike, *, level: float = 0.95
) -> SubsetEntropy:
    r"""Compare the entropy of the gates between subsets of the rows.

    High entropy means mixing, and mixing is where calibrated experts can make a miscalibrated
    whole. A subset of high entropy is worth a look, not yet a fault.

    Parameters
    ----------
    gates : array-like of shape (n_samples, n_experts)
        Weights of the experts; rows sum to one.
    subsets : array-like of shape (n_samples,)
        Name or code of the subset of every row.
    level : float, default=0.95
        Coverage of the intervals, in (0, 1).

    Returns
    -------
    result : SubsetEntropy
        Means, differences to the other rows, and their spread beside its floor.

    Raises
    ------
    ValueError
        If the gates are no probabilities, an input has the wrong length, or `level` leaves (0, 1).
    TypeError
        If `gates` does not hold numbers.

    See Also
    --------
    expert_disagreement : Whether the mixed experts differ, without which entropy is harmless.

    Notes
    -----
    :math:`h_i = -\sum_m r_{im} \log r_{im}` in nats, between 0 and log M. Intervals are Student's
    for a mean and Welch's [1]_ for a difference; rows have to be independent.

    With :math:`n_s` rows and mean :math:`\bar h_s` in subset s, the squared spread is
    :math:`\sum_s (n_s / n) (\bar h_s - \bar h)^2`. Were the rows dealt to S subsets of these sizes
    at random, its mean would be exactly

    .. math:: \mathrm{floor}^2 = \frac{S - 1}{n (n - 1)} \sum_i (h_i - \bar h)^2 ,

    and its law close to that of floor² times a chi-square over its S - 1 degrees of freedom.

    References
    ----------
    .. [1] B. L. Welch. "The generalization of 'Student's' problem when several different
       population variances are involved". Biometrika 34, 1947.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import routing_entropy_by_subset
    >>> rng = np.random.default_rng(0)
    >>> gates = np.vstack([rng.dirichlet([1, 1, 1], 300), rng.dirichlet([9, 9, 9], 300)])
    >>> result = routing_entropy_by_subset(gates, np.repeat(["clean", "noisy"], 300))
    >>> result.spread > result.floor_95
    True
    """
    level = check_number("level", level, low=0, high=1, strict=True)
    shape = np.shape(gates)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"`gates` must have shape (n_samples, n_experts), none of them 0; got shape {shape}."
        )
    entropy = entr(read_gates(gates, *shape)).sum(axis=1)
    names, codes = check_groups(subsets, len(entropy), "subsets")
    lines = [_line(entropy, codes == s, level) for s in range(len(names))]
    mean, degrees = float(entropy.mean()), len(names) - 1
    table = dict(zip(_NUMBERS, np.array(lines).T, strict=True))
    count = np.bincount(codes)
    spread = np.sqrt(count @ (table["entropy"] - mean) ** 2 / len(entropy))
    one_degree = entropy.var() / max(len(entropy) - 1, 1)
    full = np.log(shape[1]) if shape[1] > 1 else np.nan
    return SubsetEntropy(
        table={"subset": names, "n_rows": count, "normalized": table["entropy"] / full} | table,
        entropy=mean,
        spread=float(spread),
        floor=float(np.sqrt(one_degree * degrees)),
        floor_95=float(np.sqrt(one_degree * chi2.ppf(0.95, degrees))) if degrees else 0.0,
        level=level,
    )


_NUMBERS = (
    *("entropy", "standard_error", "low", "high"),
    *("difference", "difference_low", "difference_high"),
)


def _line(entropy: FloatArray, inside: NDArray[np.bool_], level: float) -> list[float]:
    """Return the numbers of one subset, in the order of `_NUMBERS`."""
    mean, noise, degrees = _mean(entropy[inside])
    rest, rest_noise, rest_degrees = _mean(entropy[~inside])
    half = _half_width(level, noise, degrees)
    both = noise + rest_noise
    # Welch: noise of equal subsets may be zero, and then any degrees of freedom will do.
    parts = noise**2 / degrees + rest_noise**2 / rest_degrees
    wide = _half_width(level, both, both**2 / parts if parts > 0 else degrees)
    apart = mean - rest
    return [mean, np.sqrt(noise), mean - half, mean + half, apart, apart - wide, apart + wide]


def _mean(values: FloatArray) -> tuple[float, float, float]:
    """Return the mean, its variance, and the degrees of freedom of that; NaN where undefined."""
    n = len(values)
    if n < 2:
        return float(values[0]) if n else np.nan, np.nan, np.nan
    return float(values.mean()), float(values.var(ddof=1)) / n, n - 1.0


def _half_width(level: float, variance: float, degrees: float) -> float:
    return float(np.sqrt(variance) * student.ppf((1 + level) / 2, degrees))
