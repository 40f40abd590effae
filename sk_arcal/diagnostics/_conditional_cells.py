"""Cells of like confidence and like routing, with intervals and p-values for all at once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional

if TYPE_CHECKING:
    import pandas

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class ConditionalCells:
    """Table of the cells that confidence bins and strata of the routing make.

    Part of what :func:`conditional_calibration_test` returns with ``method="cells"``. One entry
    of each array belongs to one cell, bins in order of confidence and strata within them.

    Attributes
    ----------
    confidence_low, confidence_high : ndarray of shape (n_cells,)
        Smallest and largest confidence of the bin.
    stratum : tuple of str
        Tertile or level of the routing, in words.
    n_samples : ndarray of shape (n_cells,)
        Rows of the cell.
    event_rate : ndarray of shape (n_cells,)
        Share of events in the cell; NaN where it is empty.
    gap : ndarray of shape (n_cells,)
        Event rate of the cell minus that of the rest of its bin, in probability units, less what a
        straight line in the confidence rank explains inside the bin; NaN where either has no rows.
    gap_low, gap_high : ndarray of shape (n_cells,)
        Interval of `gap`, simultaneous over all cells tested.
    pvalue_adjusted : ndarray of shape (n_cells,)
        Share of {data, draws} in which the largest standard score of all cells is at least that
        of this cell; NaN for cells with too few outcomes of either kind to be tested.
    alpha : float
        Level: all intervals together hold 1 - alpha.
    """

    confidence_low: FloatArray
    confidence_high: FloatArray
    stratum: tuple[str, ...]
    n_samples: NDArray[np.intp]
    event_rate: FloatArray
    gap: FloatArray
    gap_low: FloatArray
    gap_high: FloatArray
    pvalue_adjusted: FloatArray
    alpha: float

    def to_frame(self) -> "pandas.DataFrame":
        """Return a row for each cell.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_cells, 9)
            Columns are named as the attributes.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="ConditionalCells.to_frame")
        columns = {name: value for name, value in vars(self).items() if name != "alpha"}
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        tested = np.flatnonzero(~np.isnan(self.pvalue_adjusted))
        shown = tested[np.argsort(self.pvalue_adjusted[tested], kind="stable")][:5]
        head = f"ConditionalCells: {len(tested)} of {len(self.gap)} cells tested; smallest p first"
        return "\n  ".join([head, *(self._line(k) for k in shown)])

    def _line(self, k: int) -> str:
        return (
            f"p {self.pvalue_adjusted[k]:.3g}  gap {self.gap[k]:+.4f} "
            f"[{self.gap_low[k]:+.4f}, {self.gap_high[k]:+.4f}]  {self.words(k)}"
        )

    def words(self, k: int) -> str:
        """Say where cell `k` lies.

        Parameters
        ----------
        k : int
            Number of the cell.

        Returns
        -------
        words : str
            Its range of confidence, rows and stratum.
        """
        return (
            f"confidence {self.confidence_low[k]:.4g} to {self.confidence_high[k]:.4g}, "
            f"{self.stratum[k]} ({self.n_samples[k]} rows)"
        )
