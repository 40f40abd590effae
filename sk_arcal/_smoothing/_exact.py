"""Kernel sums term by term, in blocks of bounded memory.

Time grows with the product of the numbers of queries and rows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray

# One block of kernel matrices stays in the processor's cache; larger blocks are slower.
BLOCK_BYTES = 1 << 21


def exact_kernel_sums(
    query: FloatArray,
    train: FloatArray,
    bandwidth: FloatArray,
    values: FloatArray,
    *,
    sample_weight: FloatArray | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[FloatArray, FloatArray]:
    """Return kernel-weighted sums of `values`, and the kernel mass, at every query.

    Parameters
    ----------
    query : ndarray of shape (n_queries, n_axes)
        Where to evaluate.
    train : ndarray of shape (n_samples, n_axes)
        Positions of the fitted rows.
    bandwidth : ndarray of shape (n_axes,)
        Standard deviation of the Gaussian on each axis; infinite drops the axis.
    values : ndarray of shape (n_samples, n_values)
        What to sum.
    sample_weight : ndarray of shape (n_samples,), default=None
        Repetitions of each row; None means one.
    block_bytes : int, default=BLOCK_BYTES
        Memory that a block of kernel values may take.

    Returns
    -------
    sums : ndarray of shape (n_queries, n_values)
        Kernel-weighted sums.
    mass : ndarray of shape (n_queries,)
        Kernel mass: the effective number of neighbouring rows, between 0 and the total weight.
    """
    columns = weighted_columns(values, sample_weight)
    used = np.isfinite(bandwidth)
    query, train = query[:, used] / bandwidth[used], train[:, used] / bandwidth[used]
    totals = np.empty((len(query), columns.shape[1]))
    size = max(1, block_bytes // (2 * 8 * len(train)))
    memory = np.empty((2, min(size, len(query)), len(train)))
    for start in range(0, len(query), size):
        rows = slice(start, start + size)
        kernel = _kernel(query[rows], train, memory[:, : len(query[rows])])
        np.matmul(kernel, columns, out=totals[rows])
    return totals[:, :-1], totals[:, -1]


def exact_leave_one_out_sums(
    axes: FloatArray,
    bandwidths: FloatArray,
    values: FloatArray,
    *,
    sample_weight: FloatArray | None = None,
    block_bytes: int = BLOCK_BYTES,
    dtype: type = np.float64,
) -> FloatArray:
    """Return the kernel sums at every fitted row without that row, for several bandwidths.

    Leaving out means taking away one repetition: a row of weight w keeps w - 1 of itself among
    its neighbours, a row of weight below one keeps nothing. The candidates share all distances
    and, where their bandwidths agree on an axis, its kernel.

    Parameters
    ----------
    axes : ndarray of shape (n_samples, n_axes)
        Positions of the rows.
    bandwidths : ndarray of shape (n_candidates, n_axes)
        One candidate a line; infinite drops the axis.
    values : ndarray of shape (n_samples, n_values)
        What to sum.
    sample_weight : ndarray of shape (n_samples,), default=None
        Repetitions of each row; None means one.
    block_bytes : int, default=BLOCK_BYTES
        Memory that a block of kernel values may take.
    dtype : type, default=numpy.float64
        Precision of the kernel values. In single precision kernel means are good to 3e-6, for
        less time.

    Returns
    -------
    totals : ndarray of shape (n_candidates, n_samples, n_values + 1)
        Sums over the other rows; their kernel mass last.
    """
    columns = weighted_columns(values, sample_weight)
    own = weighted_columns(values, None if sample_weight is None else np.minimum(sample_weight, 1))
    totals = np.zeros((len(bandwidths), *columns.shape))
    off = np.isinf(bandwidths).all(axis=1)
    totals[off] = columns.sum(axis=0)
    tiles = _Tiles(bandwidths, block_bytes, dtype)
    # Single precision keeps most digits around zero.
    positions = (axes - axes.mean(axis=0)).astype(dtype)
    carried: NDArray[Any] = columns.astype(dtype)
    for rows, others in tiles.pairs(len(axes)):
        # The kernel is symmetric: each pair of rows is visited once and serves both.
        is_diagonal = rows == others
        for candidate, kernel in tiles.kernels(positions[rows], positions[others]):
            totals[candidate, rows] += kernel @ carried[others]
            if not is_diagonal:
                totals[candidate, others] += kernel.T @ carried[rows]
    totals -= own
    return totals


def weighted_columns(values: FloatArray, weight: FloatArray | None) -> FloatArray:
    """Values and a column of ones, each times the weight: mass is the sum of the last column."""
    columns = np.column_stack([values, np.ones(len(values))])
    return columns if weight is None else columns * weight[:, None]


def _kernel(query: FloatArray, train: FloatArray, memory: FloatArray) -> FloatArray:
    """Product kernel of unit bandwidths, in the first of the two matrices in `memory`."""
    exponent, distance = memory
    exponent.fill(0.0)
    for query_axis, train_axis in zip(query.T, train.T, strict=True):
        np.subtract(query_axis[:, None], train_axis[None, :], out=distance)
        with np.errstate(over="ignore"):
            np.multiply(distance, distance, out=distance)
        exponent -= distance
    exponent *= 0.5
    return np.exp(exponent, out=exponent)


class _Tiles:
    """Kernel values between some rows and some others for many bandwidths, tile by tile.

    A search asks for bandwidths that differ from one another on one axis. Hence the sum of the
    exponents of all other axes is kept for each axis, and a candidate costs one product, one sum
    and one exponential. The few matrices this takes stay in the cache.
    """

    def __init__(self, bandwidths: FloatArray, block_bytes: int, dtype: type) -> None:
        scales = np.where(np.isfinite(bandwidths), -0.5 / bandwidths**2, 0.0)
        self._common = [_most_frequent(axis) for axis in scales.T]
        self._plan = [
            (candidate, *self._terms(scale.tolist()))
            for candidate, scale in enumerate(scales)
            if scale.any()
        ]
        # Numbers below the normal ones take many times as long to multiply.
        self._lowest = np.log(np.finfo(dtype).tiny) + 1
        n_matrices = 2 * len(self._common) + 2
        self._n_cells = max(1, block_bytes // (np.dtype(dtype).itemsize * n_matrices))
        self._memory: NDArray[Any] = np.empty((n_matrices, 0), dtype)

    def _terms(self, scale: list[float]) -> tuple[int | None, list[tuple[int, float]]]:
        """Return which sum of others to begin with, and what to add to it: (axis, factor)."""
        differs = [d for d, common in enumerate(self._common) if scale[d] != common]
        if len(differs) > 1:
            return None, [(d, factor) for d, factor in enumerate(scale) if factor]
        d = differs[0] if differs else 0
        return d, [(d, scale[d])] if scale[d] else []

    def pairs(self, n_samples: int) -> Iterator[tuple[slice, slice]]:
        """Yield pairs of rows, each once, in squares whose matrices fit into the memory granted."""
        side = min(n_samples, max(1, int(self._n_cells**0.5)))
        self._memory = np.empty((len(self._memory), side**2), self._memory.dtype)
        for first in range(0, n_samples, side):
            for second in range(first, n_samples, side):
                yield slice(first, first + side), slice(second, second + side)

    def kernels(self, query: FloatArray, train: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        """Yield (candidate, matrix); the matrix is overwritten by the next one."""
        n_axes, shape = query.shape[1], (len(query), len(train))
        matrices = [cells[: shape[0] * shape[1]].reshape(shape) for cells in self._memory]
        squares, others = matrices[:n_axes], matrices[n_axes:-2]
        exponent, part = matrices[-2:]
        with np.errstate(over="ignore"):
            for square, column, other in zip(squares, query.T, train.T, strict=True):
                np.subtract(column[:, None], other[None, :], out=square)
                np.multiply(square, square, out=square)
            self._sum_others(squares, others, exponent, part)
            for candidate, start, terms in self._plan:
                # Of two terms and more the first one is written, not added.
                known = exponent if start is None else others[start]
                for k, (d, factor) in enumerate(terms):
                    is_first = start is None and k == 0
                    np.multiply(squares[d], factor, out=exponent if is_first else part)
                    if not is_first:
                        known = np.add(known, part, out=exponent)
                np.maximum(known, self._lowest, out=exponent)
                yield candidate, np.exp(exponent, out=exponent)

    def _sum_others(
        self,
        squares: list[FloatArray],
        others: list[FloatArray],
        running: FloatArray,
        part: FloatArray,
    ) -> None:
        """Sum up, for every axis, the exponents that the other axes have most often."""
        axes = range(len(squares))
        for order in (axes, reversed(axes)):
            running.fill(0.0)
            for d in order:
                if order is axes:
                    others[d][:] = running
                else:
                    others[d] += running
                # An axis that is off drops out even where its distances overflow.
                if self._common[d]:
                    running += np.multiply(squares[d], self._common[d], out=part)


def _most_frequent(values: FloatArray) -> float:
    found, counts = np.unique(values, return_counts=True)
    return float(found[counts.argmax()])
