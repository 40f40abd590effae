"""Bins of like confidence: quantile bins in which heavy ties stand alone.

With J bins wanted among n rows, row i goes by its mid-rank t_i = (midrank(c_i) - 1/2) / n to
bin floor(J t_i), so equal confidences are never parted. A value with at least
max(n / 2J, 20) copies (an *atom*: a softmax saturated at 1, half precision) has a bin of its
own, and the rows below and above it do not share one. Whatever is then smaller than
max(30, n / 3J) rows joins its smaller neighbour.

Shuffling inside an atom is exact, because all its rows have the same confidence. Quantile bins
keep the confidence nearly constant elsewhere; equal-width bins do not, and a shuffle inside
them rejects far too often (an overconfident model has most rows in the last bin).
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import check_integer, check_probabilities

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_MIN_ROWS = 30
_MIN_ATOM = 20


def confidence_bins(y_prob: ArrayLike, n_bins: int | None = None) -> tuple[IntArray, int]:
    """Sort rows into quantile bins of confidence, with a bin for each heavy tie.

    Parameters
    ----------
    y_prob : array-like of shape (n_samples,)
        Probability of the event, in [0, 1].
    n_bins : int, default=None
        Bins wanted. None takes 1.5 times the cube root of the number of rows, kept in 5 to 60.
        Fewer result where bins of 30 rows need it; more where ties do.

    Returns
    -------
    codes : ndarray of shape (n_samples,)
        Bin of each row, from 0 (lowest confidence) upwards; every bin has rows.
    n_bins : int
        Number of bins made.

    Raises
    ------
    ValueError
        If `y_prob` leaves [0, 1] or holds NaN, or `n_bins` is below 1.
    TypeError
        If `n_bins` is not an integer.

    Notes
    -----
    Bins depend on the order of the confidences only: an increasing map of `y_prob` and a
    permutation of the rows change nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics._confidence_bins import confidence_bins
    >>> codes, n_bins = confidence_bins(np.r_[np.linspace(0.5, 0.9, 120), np.ones(80)], 4)
    >>> n_bins, np.bincount(codes).tolist()
    (3, [50, 70, 80])
    """
    probability = check_probabilities(y_prob)
    n = len(probability)
    wanted = default_n_bins(n) if n_bins is None else check_integer("n_bins", n_bins, low=1)
    wanted = max(min(wanted, n // _MIN_ROWS), 1)
    # Bins are intervals: sorting the values and looking edges up is cheaper than sorting the rows.
    ranked = np.sort(probability)
    last = np.flatnonzero(np.append(ranked[1:] > ranked[:-1], True))
    copies = np.diff(last, prepend=-1)
    atom = copies >= max(n / (2 * wanted), _MIN_ATOM)
    midrank = last + 1 - copies / 2
    quantile_bin = np.floor(wanted * midrank / n).astype(np.intp)
    bin_of_value = _label_runs(quantile_bin, atom)
    counts = np.bincount(bin_of_value, weights=copies)
    is_atom = np.bincount(bin_of_value, weights=atom) > 0
    new_code = _merge_small(counts, is_atom, max(_MIN_ROWS, n / (3 * wanted)))
    ends = np.flatnonzero(np.diff(new_code[bin_of_value]))
    return np.searchsorted(ranked[last[ends]], probability), int(new_code[-1]) + 1


def default_n_bins(n_samples: int) -> int:
    """Return round(1.5 n^(1/3)) kept in 5 to 60."""
    return int(np.clip(round(1.5 * n_samples ** (1 / 3)), 5, 60))


def tie_midranks(values: FloatArray) -> FloatArray:
    """Return (midrank - 1/2) / n in (0, 1); equal values share one number."""
    order = np.argsort(values)
    ranked = values[order]
    last = np.flatnonzero(np.append(ranked[1:] > ranked[:-1], True))
    copies = np.diff(last, prepend=-1)
    midranks = np.empty(len(values))
    midranks[order] = np.repeat((last + 1 - copies / 2) / len(values), copies)
    return midranks


def _label_runs(quantile_bin: IntArray, atom: NDArray[np.bool_]) -> IntArray:
    """Give sorted values one label per quantile bin, and each atom a label of its own."""
    starts = np.diff(quantile_bin) != 0
    starts |= atom[1:] | atom[:-1]
    return np.concatenate([[0], np.cumsum(starts)]).astype(np.intp)


def _merge_small(counts: NDArray[Any], is_atom: NDArray[np.bool_], smallest: float) -> IntArray:
    """Return the new code of each bin once every bin below `smallest` has joined a neighbour.

    The smallest bin goes first, to its smaller neighbour, so that reading the confidences from
    either end gives the same bins. An atom stays alone unless it is the only neighbour there is.
    """
    sizes, atoms = list(counts), list(is_atom)
    first = list(range(len(sizes) + 1))
    while len(sizes) > 1:
        small = [(size, b) for b, size in enumerate(sizes) if size < smallest and not atoms[b]]
        if not small:
            break
        b = min(small)[1]
        beside = [k for k in (b - 1, b + 1) if 0 <= k < len(sizes)]
        left = min(b, min(beside, key=lambda k: (atoms[k], sizes[k])))
        sizes[left : left + 2] = [sizes[left] + sizes[left + 1]]
        atoms[left : left + 2] = [atoms[left] or atoms[left + 1]]
        del first[left + 1]
    return np.repeat(np.arange(len(sizes)), [end - start for start, end in pairwise(first)])
