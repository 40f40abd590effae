r"""Routing profiles of other rows of like confidence, for a control that must not see its own.

In `fit` whole profiles are permuted among the rows of a confidence bin, which keeps the law of
the profile, the dependence among its columns and their relation to confidence, and breaks its
tie to the outcome.

A prediction has to be shuffled independently of that, and cannot permute: what is predicted for
a row must not depend on the rows it comes with, and a row that comes alone would keep its own
profile. So every row borrows one of the profiles of its bin, the one that a hash of the row picks.
The hash reads log-odds and routing, both in single precision, so that one routing value meets
many borrowed profiles, and the last bits of a double do not matter.

Source of the hash: G. Steele, D. Lea and C. Flood, "Fast Splittable Pseudorandom Number
Generators", OOPSLA 2014, figure 17, the finalizer with the constants of SplitMix64.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._saving._plain_state import register_helper

# A bin of a few rows would hand many of them their own profile back.
_FEWEST_PER_BIN = 10
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


@register_helper
@dataclass(frozen=True, slots=True)
class ProfilePool:
    """Profiles to borrow, sorted by confidence bin.

    Attributes
    ----------
    edges : ndarray of shape (n_bins - 1,)
        Log-odds between the bins; an edge belongs to the bin above.
    profiles : ndarray of shape (n_profiles, n_columns)
        One per distinct row of `fit`.
    starts : ndarray of int of shape (n_bins + 1,)
        First profile of every bin, then the number of profiles.
    mass : ndarray of shape (n_profiles + 1,)
        Weight of all profiles before each.
    key : int
        Seed of the hash.
    """

    edges: FloatArray
    profiles: FloatArray
    starts: NDArray[np.intp]
    mass: FloatArray
    key: int

    @classmethod
    def fit(
        cls,
        log_odds: FloatArray,
        profiles: FloatArray,
        sample_weight: FloatArray,
        *,
        n_bins: int,
        rng: np.random.Generator,
    ) -> "ProfilePool":
        """Cut the log-odds at weighted quantiles and sort the profiles by bin."""
        edges = _quantile_edges(
            log_odds, sample_weight, min(n_bins, len(log_odds) // _FEWEST_PER_BIN)
        )
        code = np.searchsorted(edges, log_odds, side="right")
        order = np.argsort(code, kind="stable")
        counts = np.bincount(code, minlength=len(edges) + 1)
        return cls(
            edges=edges,
            profiles=profiles[order],
            starts=np.concatenate([[0], np.cumsum(counts)]),
            mass=np.concatenate([[0.0], np.cumsum(sample_weight[order])]),
            key=int(rng.integers(2**62)),
        )

    def permute(
        self, log_odds: FloatArray, profiles: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Return `profiles` permuted within the bins."""
        code = np.searchsorted(self.edges, log_odds, side="right")
        shuffled = np.empty_like(profiles)
        donors = np.lexsort((rng.random(len(code)), code))
        shuffled[np.argsort(code, kind="stable")] = profiles[donors]
        return shuffled

    def borrow(
        self, log_odds: FloatArray, profiles: FloatArray, hashed: NDArray[np.intp]
    ) -> FloatArray:
        """Return for every row a profile of its bin, in proportion to the weights of `fit`.

        Parameters
        ----------
        log_odds : ndarray of shape (n_samples,)
            Log-odds of the event.
        profiles : ndarray of shape (n_samples, n_columns)
            The rows' own profiles.
        hashed : ndarray of int
            Columns that the hash reads, in this order.

        Returns
        -------
        borrowed : ndarray of shape (n_samples, n_columns)
            Profiles of rows of `fit`.
        """
        code = np.searchsorted(self.edges, log_odds, side="right")
        first, last = self.starts[code], self.starts[code + 1] - 1
        low, high = self.mass[first], self.mass[last + 1]
        point = low + (high - low) * hashed_uniform(self.key, log_odds, profiles[:, hashed])
        donor = np.searchsorted(self.mass, point, side="right") - 1
        return self.profiles[np.clip(donor, first, last)]


def _quantile_edges(values: FloatArray, weight: FloatArray, n_bins: int) -> FloatArray:
    """Return inner edges at weighted quantiles; ties share a bin, and no bin is empty."""
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weight[order])
    at = np.searchsorted(mass, mass[-1] * np.arange(1, n_bins) / max(n_bins, 1))
    edges = np.unique(values[order][at])
    return edges[edges > values.min()]


def hashed_uniform(key: int, log_odds: FloatArray, profiles: FloatArray) -> FloatArray:
    """Return a number in [0, 1) for every row that depends on nothing but the row and `key`."""
    state = np.full(len(log_odds), key, dtype=np.uint64)
    # What single precision cannot hold becomes infinite, which hashes as well as anything.
    with np.errstate(over="ignore"):
        columns = np.column_stack([log_odds, profiles]).astype(np.float32) + np.float32(0)
    for column in columns.T:
        state = _mixed(state ^ np.ascontiguousarray(column).view(np.uint32).astype(np.uint64))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _GOLDEN
    for shift, factor in _ROUNDS:
        state = (state ^ (state >> np.uint64(shift))) * factor
    return state ^ (state >> np.uint64(31))
