"""Groups of rows by intervals of routing columns, told of new rows as of those of `fit`.

A group is a conjunction of intervals: none (all rows), one (a column), or two (a pair of columns).
Edges lie midway between values of `fit`, so a value that `fit` has not seen goes with the nearest.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._saving._plain_state import register_helper

# Ten values are rather names, such as those of experts, than a scale.
_FEW_VALUES = 10


def equal_mass_edges(
    values: FloatArray, weight: FloatArray, n_parts: int, *, tie: float = 0.0
) -> FloatArray:
    """Return where to cut values into parts of about the same weight.

    Parameters
    ----------
    values : ndarray of shape (n_samples,)
        Values.
    weight : ndarray of shape (n_samples,)
        Positive weights.
    n_parts : int
        Number of parts; there are fewer where ties leave no room.
    tie : float, default=0.0
        Neighbours no further apart than this stay together.

    Returns
    -------
    edges : ndarray of shape (at most n_parts - 1,)
        Ascending; part j holds ``edges[j - 1] <= value < edges[j]``.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, np.diff(ordered) > tie])
    held = np.add.reduceat(weight[order], starts)
    middle = (np.cumsum(held) - held / 2) / held.sum()
    part = np.floor(n_parts * middle)
    return _midway(ordered, starts[1:][part[1:] != part[:-1]])


def _midway(ordered: FloatArray, places: NDArray[np.intp]) -> FloatArray:
    """Return edges just below the entries at `places`, halfway to the entry before."""
    below, above = ordered[places - 1], ordered[places]
    # Between two neighbouring doubles the middle is rounded to one of them.
    return np.maximum(below / 2 + above / 2, np.nextafter(below, np.inf))


@register_helper
@dataclass(frozen=True, slots=True)
class ColumnCut:
    """A routing column and the edges between its groups.

    Attributes
    ----------
    column : int
        Position among the routing columns.
    edges : ndarray of shape (n_groups - 1,)
        Ascending.
    """

    column: int
    edges: FloatArray

    @classmethod
    def fit(
        cls, routing: FloatArray, column: int, weight: FloatArray, n_groups: int
    ) -> "ColumnCut":
        """Cut a column by its values where they are few, else by rank."""
        values = routing[:, column]
        distinct = np.unique(values)
        if len(distinct) <= max(_FEW_VALUES, n_groups):
            return cls(column, _midway(distinct, np.arange(1, len(distinct))))
        return cls(column, equal_mass_edges(values, weight, n_groups))

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.edges) + 1

    def codes(self, routing: FloatArray) -> NDArray[np.intp]:
        """Return the group of every row, shape (n_samples,)."""
        return np.searchsorted(self.edges, routing[:, self.column], side="right")

    def names(self, column: str) -> list[str]:
        """Return what the groups are called, given the name of the column."""
        ends = [None, *(f"{edge:.4g}" for edge in self.edges), None]
        return [
            (f"{low} <= " if low else "") + column + (f" < {high}" if high else "")
            for low, high in pairwise(ends)
        ]


@register_helper
@dataclass(frozen=True, slots=True)
class RoutingGroups:
    """Families of groups; the groups of one family share out all rows.

    Attributes
    ----------
    families : tuple of tuple of ColumnCut
        Columns that are crossed in each family; none in the first, which is all rows.
    """

    families: tuple[tuple[ColumnCut, ...], ...]

    @classmethod
    def fit(
        cls,
        routing: FloatArray,
        columns: NDArray[np.intp],
        weight: FloatArray,
        *,
        n_groups: int,
        interactions: bool,
    ) -> "RoutingGroups":
        """Cut columns into groups.

        Parameters
        ----------
        routing : ndarray of shape (n_samples, n_routing)
            Routing columns.
        columns : ndarray of int
            Positions of the columns to use.
        weight : ndarray of shape (n_samples,)
            Positive weights.
        n_groups : int
            Groups of a column of many values.
        interactions : bool
            Whether pairs of columns are crossed, too.

        Returns
        -------
        groups : RoutingGroups
            All rows, then columns, then pairs.
        """
        cuts = [ColumnCut.fit(routing, int(column), weight, n_groups) for column in columns]
        pairs = combinations(cuts, 2) if interactions else ()
        return cls(((), *((cut,) for cut in cuts), *pairs))

    def codes(self, routing: FloatArray) -> NDArray[np.intp]:
        """Return the groups of every row, one of each family, shape (n_samples, n_families)."""
        found, before = np.empty((len(routing), len(self.families)), dtype=np.intp), 0
        for place, family in enumerate(self.families):
            code, size = np.zeros(len(routing), dtype=np.intp), 1
            for cut in family:
                code, size = code * cut.n_groups + cut.codes(routing), size * cut.n_groups
            found[:, place], before = before + code, before + size
        return found

    def names(self, columns: list[str]) -> tuple[str, ...]:
        """Return what the groups are called, in the order of their codes.

        Parameters
        ----------
        columns : list of str
            Names of the routing columns.

        Returns
        -------
        names : tuple of str of length n_groups
            Such as "0.2 <= depth < 0.7".
        """
        found = []
        for family in self.families:
            crossed = [""]
            for cut in family:
                own = cut.names(columns[cut.column])
                crossed = [f"{old} and {new}" if old else new for old in crossed for new in own]
            found += crossed
        return ("all rows", *found[1:])
