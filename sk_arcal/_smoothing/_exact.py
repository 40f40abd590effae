"""Kernel sums term by term, in blocks of bounded memory.

Time grows with the product of the numbers of queries and rows.
"""

from collections.abc import Iterator

import numpy as np

from sk_arcal._validation import FloatArray

# One block of kernel matrices stays in the processor's cache; larger blocks are slower.
BLOCK_BYTES = 1 << 22


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
        Precision of the kernel values. In single precision kernel means are good to 1e-6, in about
        half the time.

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
    products = _KernelProducts(bandwidths, block_bytes, dtype)
    # Single precision keeps most digits around zero.
    positions, carried = (axes - axes.mean(axis=0)).astype(dtype), columns.astype(dtype)
    for rows, others in products.tiles(len(axes)):
        # The kernel is symmetric: each pair of rows is visited once and serves both.
        is_diagonal = rows == others
        for candidate, product in products.over(positions[rows], positions[others]):
            totals[candidate, rows] += product @ carried[others]
            if not is_diagonal:
                totals[candidate, others] += product.T @ carried[rows]
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


class _KernelProducts:
    """Matrices of kernel values for several bandwidths that share what they have in common.

    The candidates are visited in an order in which neighbours agree on as many leading axes as
    possible; their products up to there are kept. All matrices live in buffers made once.
    """

    def __init__(self, bandwidths: FloatArray, block_bytes: int, dtype: type) -> None:
        steps = [np.unique(axis[np.isfinite(axis)])[::-1] for axis in bandwidths.T]
        # Axes with few bandwidths first: their products serve the most candidates.
        self._axes = sorted(range(len(steps)), key=lambda d: len(steps[d]))
        self._steps = [steps[d] for d in self._axes]
        self._plan = _plan(bandwidths[:, self._axes], self._steps)
        n_matrices = sum(map(len, self._steps)) + len(steps) + 1
        self._n_cells = max(1, block_bytes // (np.dtype(dtype).itemsize * n_matrices))
        self._memory = np.empty((n_matrices, 0), dtype)

    def tiles(self, n_samples: int) -> Iterator[tuple[slice, slice]]:
        """Yield pairs of rows, each once, in squares whose matrices fit into the memory granted."""
        side = min(n_samples, max(1, int(self._n_cells**0.5)))
        self._memory = np.empty((len(self._memory), side**2), self._memory.dtype)
        for first in range(0, n_samples, side):
            for second in range(first, n_samples, side):
                yield slice(first, first + side), slice(second, second + side)

    def over(self, query: FloatArray, train: FloatArray) -> Iterator[tuple[int, FloatArray]]:
        """Yield (candidate, matrix); the matrix is overwritten by the next one."""
        matrices = self._matrices(len(query), len(train))
        scratch = next(matrices)
        kernels = [
            _axis_kernels(query[:, d], train[:, d], steps, scratch, matrices)
            for d, steps in zip(self._axes, self._steps, strict=True)
        ]
        buffers = list(matrices)
        products: list[FloatArray | None] = [None] * (len(kernels) + 1)
        for candidate, first, codes in self._plan:
            for d in range(first, len(kernels)):
                kernel = kernels[d][codes[d]] if codes[d] >= 0 else None
                products[d + 1] = _times(products[d], kernel, buffers[d])
            product = products[-1]
            if product is not None:
                yield candidate, product

    def _matrices(self, n_queries: int, n_samples: int) -> Iterator[FloatArray]:
        for cells in self._memory:
            yield cells[: n_queries * n_samples].reshape(n_queries, n_samples)


def _plan(bandwidths: FloatArray, steps: list[FloatArray]) -> list[tuple[int, int, list[int]]]:
    """For each candidate the first axis on which it differs from the one before, and its kernels.

    A kernel is the position of its bandwidth among the steps, -1 if the axis is off.
    """
    codes = np.column_stack(
        [
            np.where(np.isfinite(axis), np.searchsorted(-axis_steps, -axis), -1)
            for axis, axis_steps in zip(bandwidths.T, steps, strict=True)
        ]
    )
    order = np.lexsort(codes.T[::-1])
    plan, previous = [], np.full(len(steps), -2)
    for candidate in order:
        differs = np.flatnonzero(codes[candidate] != previous)
        first = int(differs[0]) if differs.size else len(steps)
        plan.append((int(candidate), first, codes[candidate].tolist()))
        previous = codes[candidate]
    return plan


def _times(
    product: FloatArray | None, kernel: FloatArray | None, out: FloatArray
) -> FloatArray | None:
    if product is None or kernel is None:
        return kernel if product is None else product
    return np.multiply(product, kernel, out=out)


def _axis_kernels(
    query: FloatArray,
    train: FloatArray,
    steps: FloatArray,
    scratch: FloatArray,
    matrices: Iterator[FloatArray],
) -> list[FloatArray]:
    """Kernel matrix of one axis for each bandwidth; a halved bandwidth takes no exponential."""
    kernels: list[FloatArray] = []
    if len(steps):
        np.subtract(query[:, None], train[None, :], out=scratch)
        with np.errstate(over="ignore"):
            np.multiply(scratch, scratch, out=scratch)
    for i, step in enumerate(steps):
        kernel = next(matrices)
        if i and steps[i - 1] == 2 * step:
            np.multiply(kernels[-1], kernels[-1], out=kernel)
            np.multiply(kernel, kernel, out=kernel)
        else:
            np.multiply(scratch, -0.5 / step**2, out=kernel)
            np.exp(kernel, out=kernel)
        kernels.append(kernel)
    return kernels
