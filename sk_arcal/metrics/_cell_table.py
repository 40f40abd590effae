"""The state of a histogram: sums by group, outcome and cell, and how they are added."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray, check_groups, check_integer, check_vector
from sk_arcal.metrics._blocks import Ruler, cell_ruler
from sk_arcal.metrics._sums import OutcomeSums, outcome_sums, sums_of_bins, sums_of_groups


class CellTable:
    """Weight and confidence of shape (n_groups, 2, n_cells), added batch by batch.

    The state is arrays and a list of names, so that it pickles; `names` is None until the
    first rows say whether there are groups, and empty where there are none.
    """

    def __init__(self, n_bins: int, cells_per_bin: int) -> None:
        self.n_bins, self.cells_per_bin = n_bins, cells_per_bin
        self._names: list[Any] | None = None
        self._weight: FloatArray = np.zeros((0, 2, self._ruler.size))
        self._confidence: FloatArray = np.zeros_like(self._weight)
        self._n_samples = 0

    @property
    def n_cells(self) -> int:
        """Number of cells of equal width."""
        return self.n_bins * self.cells_per_bin

    @property
    def n_samples(self) -> int:
        """Number of rows of positive weight seen so far."""
        return self._n_samples

    @property
    def total_weight(self) -> float:
        """Sum of the weights seen so far."""
        return float(self._weight.sum())

    @property
    def mean_confidence(self) -> float:
        """Mean probability of the rows seen so far, NaN if there are none."""
        return self._mean(self._confidence.sum())

    @property
    def event_rate(self) -> float:
        """Share of the event among the rows seen so far, NaN if there are none."""
        return self._mean(self._weight[:, 1].sum())

    @property
    def groups(self) -> list[Any]:
        """Sorted names of the groups, empty where there are none."""
        return sorted(self._names or [])

    def __add__(self, other: Self) -> Self:
        if not isinstance(other, CellTable):
            return NotImplemented
        total = type(self)(n_bins=self.n_bins, cells_per_bin=self.cells_per_bin)
        total._add_table(self)
        total._add_table(other)
        return total

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(n_samples={self.n_samples}, n_bins={self.n_bins}, "
            f"cells_per_bin={self.cells_per_bin}, n_groups={len(self.groups)})"
        )

    @property
    def _ruler(self) -> Ruler:
        return cell_ruler(self.n_cells)

    def _mean(self, total: Any) -> float:
        weight = self.total_weight
        return float(total / weight) if weight else float("nan")

    def _add_rows(
        self,
        y_true: ArrayLike,
        y_prob: ArrayLike,
        groups: ArrayLike | None,
        sample_weight: ArrayLike | None,
    ) -> None:
        names, codes = [], None
        if groups is not None:
            n_samples = len(check_vector(y_true, "y_true", finite=False))
            found, codes = check_groups(groups, n_samples)
            names = found.tolist()
        sums, n_samples = outcome_sums(
            y_true, y_prob, sample_weight, self._ruler, codes, max(len(names), 1)
        )
        self._add(names, sums, n_samples)

    def _add_table(self, other: Self) -> None:
        if not isinstance(other, CellTable):
            raise TypeError(f"`other` must be a CalibrationHistogram; got {type(other).__name__}.")
        if (other.n_bins, other.cells_per_bin) != (self.n_bins, self.cells_per_bin):
            raise ValueError(
                f"`other` has {other.n_bins} bins of {other.cells_per_bin} cells where "
                f"{self.n_bins} of {self.cells_per_bin} were expected; only histograms of equal "
                "`n_bins` and `cells_per_bin` merge."
            )
        if other._names is not None:
            sums = OutcomeSums(other._weight, other._confidence)
            self._add(other._names, sums, other._n_samples)

    def _add(self, names: list[Any], sums: OutcomeSums, n_samples: int) -> None:
        """Add sums of shape (n_groups, 2, n_cells), or (1, 2, n_cells) where no names are."""
        own = names if self._names is None else self._names
        if bool(own) != bool(names):
            raise ValueError(
                "Some rows have `groups` and others have none; give groups to all or to none."
            )
        if len({isinstance(name, str) for name in (*own, *names)}) > 1:
            raise TypeError(
                f"`groups` are named {names[0]!r} here and {own[0]!r} before; give all names as "
                "strings or all as numbers."
            )
        known = list(dict.fromkeys((*own, *names)))
        n_rows = max(len(known), 1)
        weight, confidence = (_grown(part, n_rows) for part in (self._weight, self._confidence))
        place = {name: row for row, name in enumerate(known)}
        rows = [place[name] for name in names] if names else [0]
        weight[rows] += sums.weight
        confidence[rows] += sums.confidence
        self._names, self._weight, self._confidence = known, weight, confidence
        self._n_samples += n_samples

    def _bins(self, n_bins: int | None) -> OutcomeSums:
        """Return the sums over all groups, of shape (2, n_bins)."""
        cells = sums_of_groups(OutcomeSums(self._weight, self._confidence))
        return sums_of_bins(cells, self._ruler, self._checked(n_bins))

    def _group_bins(self, n_bins: int | None) -> tuple[NDArray[Any], OutcomeSums]:
        n_bins = self._checked(n_bins)
        if not self._names:
            raise ValueError("The rows were added without `groups`, so there is no group to show.")
        names = np.array(self._names)
        order = np.argsort(names)
        cells = OutcomeSums(self._weight[order], self._confidence[order])
        return names[order], sums_of_bins(cells, self._ruler, n_bins)

    def _all_cells(self, n_bins: int | None) -> tuple[OutcomeSums, Ruler, int]:
        """Return the sums of shape (1, 2, n_cells), their ruler and the number of bins."""
        n_bins = self._checked(n_bins)
        cells = sums_of_groups(OutcomeSums(self._weight, self._confidence))
        return OutcomeSums(*(part[None] for part in cells)), self._ruler, n_bins

    def _checked(self, n_bins: int | None) -> int:
        if self._n_samples == 0:
            raise ValueError("No rows have been added; call `update` first.")
        number = self.n_bins if n_bins is None else check_integer("n_bins", n_bins, low=1)
        if self.n_cells % number:
            raise ValueError(
                f"`n_bins` must divide the {self.n_cells} cells; got {number}. Make the histogram "
                "with that `n_bins`."
            )
        return number


def _grown(array: FloatArray, n_rows: int) -> FloatArray:
    """Return the array, or a larger one with rows of zeros after its own."""
    if len(array) == n_rows:
        return array
    larger = np.zeros((n_rows, *array.shape[1:]))
    larger[: len(array)] = array
    return larger
