r"""Smooth, positive functions of routing: hats on the rank of every column.

A column's value has a rank u in [0, 1], its weighted position among the rows of ``fit``,
interpolated between them. Hat functions :math:`h_j(u)` with equally spaced knots sum to one, so

.. math:: \beta(r) = \sum_d \sum_j \theta_{dj}\, h_j(u_d), \qquad \theta \ge 0,

is linear in :math:`\theta`, piecewise linear in the ranks and not negative. Every sum of one
function per column that is nowhere negative can be written so.
"""

import numpy as np
from scipy.sparse import csr_array

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._axes import RankAxis
from sk_arcal.calibration._saving._plain_state import register_helper

# Ranks between so many stored values are interpolated; a fitted basis stays small.
_TABLE_SIZE = 512


@register_helper
class RankBasis:
    """Hat functions on the ranks of columns.

    Parameters
    ----------
    n_knots : int
        Hats per column, at least two; fewer where a column holds fewer values.
    """

    def __init__(self, n_knots: int) -> None:
        self.n_knots = n_knots

    def fit(self, routing: FloatArray, weight: FloatArray) -> "RankBasis":
        """Learn ranks and knots; columns that are constant get no hats.

        Parameters
        ----------
        routing : ndarray of shape (n_samples, n_routing)
            Columns.
        weight : ndarray of shape (n_samples,)
            Positive weights.

        Returns
        -------
        self : RankBasis
            Fitted.
        """
        self.tables: list[tuple[int, FloatArray, FloatArray, FloatArray]] = []
        for column, values in enumerate(routing.T):
            axis = RankAxis.fit(values, weight)
            distinct, rank = axis.values, axis.ranks
            if len(distinct) == 1:
                continue
            # So that the outer hats reach their full height at the outermost rows.
            rank = (rank - rank[0]) / (rank[-1] - rank[0])
            few = len(distinct) <= self.n_knots
            knots = rank if few else np.linspace(0, 1, self.n_knots)
            if len(distinct) > _TABLE_SIZE:
                kept = np.linspace(0, len(distinct) - 1, _TABLE_SIZE).round().astype(np.intp)
                distinct, rank = distinct[kept], rank[kept]
            self.tables.append((column, distinct, rank, knots))
        return self

    @property
    def sizes(self) -> list[int]:
        """Number of hats of every column that varies."""
        return [len(knots) for *_, knots in self.tables]

    def ranks(self, routing: FloatArray) -> FloatArray:
        """Return ranks of the columns that vary, shape (n_samples, n_varying)."""
        found = [np.interp(routing[:, c], values, rank) for c, values, rank, _ in self.tables]
        return np.column_stack(found) if found else np.empty((len(routing), 0))

    def design(self, routing: FloatArray) -> csr_array:
        """Return the hats of every row, a sparse array of shape (n_samples, n_hats).

        Without a varying column there is one hat, which is 1 everywhere.
        """
        n = len(routing)
        if not self.tables:
            return csr_array(np.ones((n, 1)))
        start, columns, values = 0, [], []
        for rank, (*_, knots) in zip(self.ranks(routing).T, self.tables, strict=True):
            left = np.clip(np.searchsorted(knots, rank, side="right") - 1, 0, len(knots) - 2)
            share = (rank - knots[left]) / (knots[left + 1] - knots[left])
            columns += [start + left, start + left + 1]
            values += [1 - share, share]
            start += len(knots)
        rows = np.tile(np.arange(n), len(columns))
        entries = np.concatenate(values), (rows, np.concatenate(columns))
        return csr_array(entries, shape=(n, start))
