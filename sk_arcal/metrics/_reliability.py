"""Observed rate against confidence, bin by bin: the numbers of a reliability diagram."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray
from sk_arcal.metrics._binning import bin_codes, bin_edges, bin_sums, check_binning
from sk_arcal.metrics._blocks import bin_ruler
from sk_arcal.metrics._inputs import event_inputs
from sk_arcal.metrics._results import as_frame, as_text
from sk_arcal.metrics._sums import OutcomeSums, outcome_sums


@dataclass(frozen=True, eq=False, repr=False)
class ReliabilityTable:
    """Confidence and event rate in bins of confidence.

    Returned by :func:`reliability_table`; one row per bin, ordered by confidence. Printing
    it shows the rows.

    Parameters
    ----------
    lower : ndarray of shape (n_bins,)
        Lower edges; a bin is the interval (lower, upper], and the first contains 0.
    upper : ndarray of shape (n_bins,)
        Upper edges; the last is 1.
    count : ndarray of shape (n_bins,)
        Total weight in the bin: the number of rows where no weights were given.
    mean_confidence : ndarray of shape (n_bins,)
        Mean probability in the bin; NaN in an empty bin.
    event_rate : ndarray of shape (n_bins,)
        Share of rows with the event; NaN in an empty bin.

    Attributes
    ----------
    gap : ndarray of shape (n_bins,)
        ``event_rate - mean_confidence``; negative where the model is overconfident.

    See Also
    --------
    reliability_table : Computes it.

    Examples
    --------
    >>> from sk_arcal.metrics import reliability_table
    >>> reliability_table([0, 1, 1], [0.1, 0.7, 0.9], n_bins=2)
    lower  upper  count  mean_confidence  event_rate
        0    0.5      1              0.1           0
      0.5      1      2              0.8           1
    """

    lower: FloatArray
    upper: FloatArray
    count: FloatArray
    mean_confidence: FloatArray
    event_rate: FloatArray

    @property
    def gap(self) -> FloatArray:
        """Event rate minus mean confidence; negative where the model is overconfident."""
        return self.event_rate - self.mean_confidence

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row per bin with the columns `lower`, `upper`, `count`, `mean_confidence` and
            `event_rate`.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> from sk_arcal.metrics import reliability_table
        >>> reliability_table([0, 1], [0.1, 0.9], n_bins=2).to_frame().shape
        (2, 5)
        """
        return as_frame(vars(self), "ReliabilityTable.to_frame")

    def __repr__(self) -> str:
        return as_text(vars(self))


def reliability_table(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    sample_weight: ArrayLike | None = None,
) -> ReliabilityTable:
    """Tabulate event rate against confidence in bins.

    The numbers behind a reliability diagram and behind every binned calibration error.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    n_bins : int, default=15
        Number of bins, at least 1.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, all of them listed, empty or not; or of equal weight. Equal values
        always share a bin, so heavy ties leave fewer than `n_bins` quantile bins, never an
        empty one.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each. A row of weight zero counts
        as absent.

    Returns
    -------
    table : ReliabilityTable
        Edges, counts, mean confidence and event rate of every bin.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, a weight is
        negative, or an option is not among those allowed.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    expected_calibration_error : The mean absolute gap of this table.

    Notes
    -----
    Bins are intervals (lower, upper]; 0 is in the first. A quantile edge lies half-way
    between two neighbouring values, so that no edge coincides with a confidence.

    References
    ----------
    .. [1] M. H. DeGroot and S. E. Fienberg. "The comparison and evaluation of forecasters".
       The Statistician 32, 1983.

    Examples
    --------
    >>> from sk_arcal.metrics import reliability_table
    >>> table = reliability_table([0, 1, 0, 1], [0.2, 0.3, 0.8, 0.9], n_bins=2)
    >>> table.event_rate
    array([0.5, 0.5])
    >>> table.gap
    array([ 0.25, -0.35])
    """
    n_bins, strategy, _ = check_binning(n_bins, strategy)
    if strategy == "uniform":
        sums, _ = outcome_sums(y_true, y_prob, sample_weight, bin_ruler(n_bins))
        return table_from_sums(bin_ruler(n_bins).edges, OutcomeSums(*(part[0] for part in sums)))
    events, probability, weight = event_inputs(y_true, y_prob, sample_weight)
    edges = bin_edges(probability, weight, n_bins=n_bins, strategy=strategy)
    # One code for a bin and an outcome.
    codes = 2 * bin_codes(probability, edges) + events.astype(np.intp)
    parts = (bin_sums(codes, part, 2 * len(edges) - 2) for part in (weight, weight * probability))
    return table_from_sums(edges, OutcomeSums(*(part.reshape(-1, 2).T for part in parts)))


def table_from_sums(edges: FloatArray, sums: OutcomeSums) -> ReliabilityTable:
    """Return the table of bins of which the sums are known."""
    count = sums.mass
    empty_is_nan = np.where(count > 0, count, np.nan)
    return ReliabilityTable(
        edges[:-1].copy(),
        edges[1:].copy(),
        count,
        sums.total_confidence / empty_is_nan,
        sums.hits / empty_is_nan,
    )
