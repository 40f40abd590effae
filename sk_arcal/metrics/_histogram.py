"""Calibration of rows that come batch by batch, from sums that can be merged."""

from typing import Any, Self

from numpy.typing import ArrayLike

from sk_arcal._validation import as_generator, check_integer, check_number, check_option
from sk_arcal.metrics._binning import error_from_gaps
from sk_arcal.metrics._blocks import bin_ruler
from sk_arcal.metrics._calibration_error import largest_gap, squared_error
from sk_arcal.metrics._cell_table import CellTable
from sk_arcal.metrics._groups import GroupCalibrationError, groups_from_sums
from sk_arcal.metrics._interval import CalibrationErrorInterval, interval_of_cells
from sk_arcal.metrics._noise_floor import NoiseFloor, floor_of_cells
from sk_arcal.metrics._reliability import ReliabilityTable, table_from_sums
from sk_arcal.metrics._smooth import LEAST_CELLS, check_bandwidth, smooth_error_of_cells


class CalibrationHistogram(CellTable):
    r"""Collect predictions batch by batch and read every calibration error from the sums.

    Rows are counted in fine cells of confidence, by outcome, and are not kept: memory does not
    grow with their number. Histograms of shards merge. What is read equals the functions of the
    same names on all rows at once.

    Parameters
    ----------
    n_bins : int, default=15
        Number of bins of equal width that errors are read at by default, at least 1.
    cells_per_bin : int, default=512
        Number of cells in a bin, at least 1. Errors can be read at any number of bins that divides
        ``n_bins * cells_per_bin``.

    Attributes
    ----------
    n_samples : int
        Number of rows of positive weight seen so far.
    total_weight : float
        Sum of their weights.
    mean_confidence : float
        Mean probability.
    event_rate : float
        Share of rows with the event: the accuracy, where the event is to be right.
    groups : list
        Sorted names of the groups, empty where there are none.
    n_cells : int
        Number of cells of equal width.

    Notes
    -----
    The state is the weight and the sum of confidence for each group, outcome and cell. Binned
    errors equal those of the functions to rounding, rows on the edge of a bin included, because
    the edges of all numbers of bins are edges of the cells. In SmoothECE a row lies at the mean
    of its cell and outcome. Merging adds, so the order changes nothing but rounding.

    Bins of equal weight cannot be read, as they depend on the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.metrics import CalibrationHistogram, expected_calibration_error
    >>> y_true, y_prob = np.arange(100) % 2, np.linspace(0, 1, 100)
    >>> first = CalibrationHistogram().update(y_true[:60], y_prob[:60])
    >>> second = CalibrationHistogram().update(y_true[60:], y_prob[60:])
    >>> merged = first + second
    >>> merged.n_samples
    100
    >>> error = expected_calibration_error(y_true, y_prob)
    >>> bool(abs(merged.expected_calibration_error() - error) < 1e-12)
    True
    """

    def __init__(self, *, n_bins: int = 15, cells_per_bin: int = 512) -> None:
        super().__init__(
            check_integer("n_bins", n_bins, low=1),
            check_integer("cells_per_bin", cells_per_bin, low=1),
        )

    def update(
        self,
        y_true: ArrayLike,
        y_prob: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Add rows.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Observed events, 0 or 1.
        y_prob : array-like of shape (n_samples,)
            Predicted probability of the event, in [0, 1].
        groups : array-like of shape (n_samples,), default=None
            Group of every row. Names not seen before are added. Either all batches have groups
            or none has.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative repetitions of the rows; None means one each.

        Returns
        -------
        self : CalibrationHistogram
            The histogram with the rows added; unchanged if they are refused.

        Raises
        ------
        ValueError
            If an input is empty, not finite, out of range or of the wrong length, a weight is
            negative, or only some of the batches have groups.
        TypeError
            If an input does not hold numbers, or names are strings in one batch and numbers in
            another.
        """
        self._add_rows(y_true, y_prob, groups, sample_weight)
        return self

    def merge(self, other: Self) -> Self:
        """Add the rows of another histogram.

        Parameters
        ----------
        other : CalibrationHistogram
            Of the same `n_bins` and `cells_per_bin`; it is not changed.

        Returns
        -------
        self : CalibrationHistogram
            The histogram with the rows added.

        Raises
        ------
        ValueError
            If the cells differ, or only one of the two has groups.
        TypeError
            If `other` is no histogram, or only one of them names its groups by strings.
        """
        self._add_table(other)
        return self

    def expected_calibration_error(self, *, n_bins: int | None = None, norm: str = "l1") -> float:
        """Compute the expected calibration error.

        Parameters
        ----------
        n_bins : int, default=None
            A divisor of the number of cells; None means that of the histogram.
        norm : {"l1", "l2"}, default="l1"
            Mean of the absolute gaps, or root of the mean of the squared gaps.

        Returns
        -------
        error : float
            In [0, 1]; see :func:`~sk_arcal.metrics.expected_calibration_error`.

        Raises
        ------
        ValueError
            If no rows have been added, or an option is not among those allowed.
        """
        check_option("norm", norm, ("l1", "l2"))
        bins = self._bins(n_bins)
        return float(error_from_gaps(bins.gap, bins.mass, norm))

    def maximum_calibration_error(
        self, *, n_bins: int | None = None, min_count: float = 5
    ) -> float:
        """Compute the largest gap of a bin.

        Parameters
        ----------
        n_bins : int, default=None
            A divisor of the number of cells; None means that of the histogram.
        min_count : float, default=5
            Bins of less weight are left out.

        Returns
        -------
        error : float
            In [0, 1]; see :func:`~sk_arcal.metrics.maximum_calibration_error`.

        Raises
        ------
        ValueError
            If no rows have been added, or no bin is heavy enough.
        """
        min_count = check_number("min_count", min_count, low=0)
        bins = self._bins(n_bins)
        return largest_gap(bins.gap, bins.mass, min_count)

    def squared_calibration_error(self, *, n_bins: int | None = None, debias: bool = True) -> float:
        """Compute the squared calibration error of bins of equal width.

        Parameters
        ----------
        n_bins : int, default=None
            A divisor of the number of cells; None means that of the histogram.
        debias : bool, default=True
            Whether the bias of small bins is taken off, which makes the error signed.

        Returns
        -------
        error : float
            See :func:`~sk_arcal.metrics.squared_calibration_error`.

        Raises
        ------
        ValueError
            If no rows have been added, or no bin has two rows.
        """
        bins = self._bins(n_bins)
        return squared_error(bins.gap, bins.mass, bins.hits, debias=debias)

    def smooth_calibration_error(self, *, bandwidth: float | None = None) -> float:
        """Compute SmoothECE.

        Parameters
        ----------
        bandwidth : float, default=None
            Standard deviation of the kernel, at least 0.001; None means the fixed point.

        Returns
        -------
        error : float
            In [0, 1]; see :func:`~sk_arcal.metrics.smooth_calibration_error`.

        Raises
        ------
        ValueError
            If no rows have been added, the bandwidth is too small, or there are fewer cells
            than the smallest bandwidth needs.
        """
        if self.n_cells < LEAST_CELLS:
            raise ValueError(
                f"SmoothECE needs at least {LEAST_CELLS} cells; `n_bins` x `cells_per_bin` is "
                f"{self.n_cells}."
            )
        bins = self._bins(self.n_cells)
        return smooth_error_of_cells(bins.weight, bins.confidence, check_bandwidth(bandwidth))

    def reliability_table(self, *, n_bins: int | None = None) -> ReliabilityTable:
        """Tabulate event rate against confidence in bins.

        Parameters
        ----------
        n_bins : int, default=None
            A divisor of the number of cells; None means that of the histogram.

        Returns
        -------
        table : ReliabilityTable
            Edges, counts, mean confidence and event rate of every bin.

        Raises
        ------
        ValueError
            If no rows have been added, or `n_bins` does not divide the number of cells.
        """
        bins = self._bins(n_bins)
        return table_from_sums(bin_ruler(bins.mass.size).edges, bins)

    def group_calibration_error(
        self, *, n_bins: int | None = None, norm: str = "l1"
    ) -> GroupCalibrationError:
        """Compute the expected calibration error within every group.

        Parameters
        ----------
        n_bins : int, default=None
            A divisor of the number of cells; None means that of the histogram.
        norm : {"l1", "l2"}, default="l1"
            Mean of the absolute gaps, or root of the mean of the squared gaps.

        Returns
        -------
        result : GroupCalibrationError
            Names, errors and counts of the groups; `worst` is the largest error.

        Raises
        ------
        ValueError
            If no rows have been added, they had no groups, or an option is not among those allowed.
        """
        check_option("norm", norm, ("l1", "l2"))
        names, bins = self._group_bins(n_bins)
        return groups_from_sums(names, bins, norm)

    def noise_floor(
        self, *, n_bins: int | None = None, n_resamples: int = 200, random_state: Any = None
    ) -> NoiseFloor:
        """Simulate the expected calibration error of a calibrated model.

        Parameters
        ----------
        n_bins : int, default=None
            A divisor of the number of cells; None means that of the histogram.
        n_resamples : int, default=200
            Number of simulated test sets, at least 2.
        random_state : None, int, RandomState or Generator, default=None
            Source of the outcomes.

        Returns
        -------
        floor : NoiseFloor
            See :func:`~sk_arcal.metrics.noise_floor`.

        Raises
        ------
        ValueError
            If no rows have been added, or weights do not add up to numbers of rows.
        """
        n_resamples = check_integer("n_resamples", n_resamples, low=2)
        return floor_of_cells(*self._all_cells(n_bins), n_resamples, as_generator(random_state))

    def calibration_error_interval(
        self,
        *,
        level: float = 0.95,
        n_bins: int | None = None,
        n_resamples: int = 200,
        random_state: Any = None,
    ) -> CalibrationErrorInterval:
        """Correct the expected calibration error for bias and give an interval.

        Parameters
        ----------
        level : float, default=0.95
            Coverage, in (0, 1).
        n_bins : int, default=None
            A divisor of the number of cells; None means that of the histogram.
        n_resamples : int, default=200
            Number of bootstrap samples, at least 2.
        random_state : None, int, RandomState or Generator, default=None
            Source of the bootstrap samples.

        Returns
        -------
        interval : CalibrationErrorInterval
            See :func:`~sk_arcal.metrics.calibration_error_interval`.

        Raises
        ------
        ValueError
            If fewer than two rows have been added, or an option is not among those allowed.
        """
        level = check_number("level", level, low=0, high=1, strict=True)
        n_resamples = check_integer("n_resamples", n_resamples, low=2)
        rng = as_generator(random_state)
        return interval_of_cells(*self._all_cells(n_bins), level, n_resamples, rng)
