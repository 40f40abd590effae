r"""Gaps of a bin under cyclic shifts of its values.

A permutation test is exact for any *group* of permutations fixed without the data. The cyclic
shifts of the rows in some order are one. With :math:`k_i = 1/n_{top}` on the rows of the top
stratum, :math:`-1/n_{bottom}` on those of the bottom one and 0 elsewhere, the gap under the shift
by s,

.. math:: d_s = \sum_i k_i \, v_{(i + s) \bmod m},

is a circular correlation: Fourier transforms of length m give all m gaps at once, and a draw is
a look-up. The order is shuffled first, since strata that lie in one piece would be shifted onto
themselves. A bin is dealt into parts with shifts of their own: the product of groups is a group,
with more members, and the transforms of short parts stay in the cache.

Source: J. Hemerik and J. Goeman, "Exact testing with random permutations", TEST 2018 (any group);
the look-up table of all shifts is ours.
"""

import numpy as np
from scipy import fft

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._confidence_bins import IntArray

# Rows of one transform, at most about that many.
_LONGEST_PART = 16_384


def shift_tables(
    values: FloatArray, bottom: int, top: int, n_parts: int, rng: np.random.Generator
) -> list[FloatArray]:
    """Return the gap under every shift, one table for each part of the rows; tables add up.

    Parameters
    ----------
    values : ndarray of shape (m,)
        Values of a bin in any order, and of any stratum: only their multiset is used.
    bottom, top : int
        Rows of the two strata.
    n_parts : int
        Parts at least; many rows make more of them.
    rng : Generator
        Shuffles the rows.

    Returns
    -------
    tables : list of ndarray
        Of the lengths of the parts.
    """
    strata = np.zeros(len(values))
    strata[:bottom] = -1 / bottom
    strata[len(values) - top :] = 1 / top
    order = rng.permutation(len(values))
    # the kernel sums to zero over all parts, so that a common level changes nothing but rounding
    centred = values - values.mean()
    return [_all_shifts(strata[rows], centred[rows]) for rows in _parts(order, n_parts)]


def drawn_shifts(
    tables: list[FloatArray], n_resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Draw one shift of every part and add their gaps, shape (n_resamples,)."""
    gaps = np.zeros(n_resamples)
    for table in tables:
        gaps += table[rng.integers(len(table), size=n_resamples)]
    return gaps


def _parts(order: IntArray, n_parts: int) -> list[IntArray]:
    """Cut into parts of a length that transforms fast, and a short one of what is left."""
    n_parts = max(n_parts, -(-len(order) // _LONGEST_PART))
    length = _fast_length(len(order) // n_parts)
    return [rows for rows in np.split(order, length * np.arange(1, n_parts + 1)) if len(rows)]


def _fast_length(longest: int) -> int:
    """Return the largest length that transforms fast, up to `longest`."""
    length = longest
    while fft.next_fast_len(length, real=True) != length:
        length -= 1
    return length


def _all_shifts(kernel: FloatArray, values: FloatArray) -> FloatArray:
    spectrum = fft.rfft(kernel)
    np.conjugate(spectrum, out=spectrum)
    spectrum *= fft.rfft(values)
    return np.asarray(fft.irfft(spectrum, n=len(values)), dtype=np.float64)
