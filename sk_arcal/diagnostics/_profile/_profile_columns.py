"""The columns of a profile among rows of like confidence, and the terms made of them.

A column of numbers becomes sqrt(3) u, with u in (-1, 1) its rank among rows of like confidence
(of tied rows, the middle of the ranks their value covers). A level of a column of names becomes
its indicator less its share at that confidence, over the standard deviation. Both have mean 0 and
variance 1 at every confidence, no outcome is used, and increasing maps of numbers change nothing.

With x_j these columns, v = 2 t - 1 and t the rank of the confidence, the terms are

trend      x_j
curvature  (3 u_j^2 - 1) / 2, columns of three or more numbers
turn       x_j v
pair       x_j x_k, columns j < k; two levels of one column are never in the same row
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._residual_rank import (
    ConfidenceSpline,
    residual_rank,
    share_left_open,
    share_of_levels_left_open,
)
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues
from sk_arcal.diagnostics._profile._profile_input import Profile

FloatArray = NDArray[np.float64]

_MIN_SHARE_OPEN = 1e-4
_KINKS = 40
_MAX_LEVELS = 12
_MAX_PAIRED = 64
_RARE = 0.01


@dataclass(frozen=True)
class Term:
    """A column made of one or two columns of the profile."""

    kind: str
    name: str
    parts: tuple[int, ...]


@dataclass(frozen=True)
class ProfileColumns:
    """Columns of like-confidence ranks, rows in order of confidence.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_columns)
        Mean 0 and variance 1 at every confidence.
    rank : ndarray of shape (n_samples,)
        t, the rank of the confidence.
    names : tuple of str
        Name of each column; "expert = b" for a level.
    sources : tuple of str
        Column of the profile behind each column.
    curved : tuple of bool
        Whether the square of the column says something new.
    notes : tuple of str
        What was left out.
    """

    values: FloatArray
    rank: FloatArray
    names: tuple[str, ...]
    sources: tuple[str, ...]
    curved: tuple[bool, ...]
    notes: tuple[str, ...]

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def terms(self) -> list[Term]:
        """All terms, one kind after the other."""
        columns = range(self.n_columns)
        found = [Term("trend", self.names[j], (j,)) for j in columns]
        found += [
            Term("curvature", f"{self.names[j]}, curved", (j,)) for j in columns if self.curved[j]
        ]
        found += [Term("turn", f"{self.names[j]} x confidence", (j,)) for j in columns]
        if self.n_columns <= _MAX_PAIRED:
            found += [
                Term("pair", f"{self.names[j]} x {self.names[k]}", (j, k))
                for j, k in combinations(columns, 2)
                if self.sources[j] != self.sources[k]
            ]
        return found

    def of_terms(self, terms: list[Term], rows: slice | FloatArray = slice(None)) -> FloatArray:
        """Values of the given terms, shape (n_rows, n_terms)."""
        x, v = self.values[rows], 2 * self.rank[rows] - 1
        make: dict[str, Callable[..., FloatArray]] = {
            "trend": lambda j: x[:, j],
            "curvature": lambda j: (x[:, j] ** 2 - 1) / 2,
            "turn": lambda j: x[:, j] * v,
            "pair": lambda j, k: x[:, j] * x[:, k],
        }
        return np.column_stack([make[term.kind](*term.parts) for term in terms])


def profile_columns(
    profile: Profile, outcomes: BinnedOutcomes, rng: np.random.Generator
) -> ProfileColumns:
    """Turn a profile into columns; leave out what the confidence determines.

    The rows of both are in order of confidence.
    """
    spline = ConfidenceSpline(outcomes.rank)
    parts, names, sources, curved = [], [], [], []
    notes, closed = list(profile.notes), []
    for (name, values), tie_rng in zip(
        profile.columns.items(), rng.spawn(len(profile.columns)), strict=True
    ):
        if _share_open(values, outcomes) < max(_MIN_SHARE_OPEN, _KINKS / outcomes.n_samples**2):
            closed.append(name)
            continue
        if values.kind == "nominal":
            made, labels = _levels(name, values, outcomes, spline, notes)
        else:
            low, high = residual_rank(values.numbers, spline, tie_rng)
            made, labels = (np.sqrt(3) * (low + high) / 2)[:, None], [name]
        parts.append(made)
        names += labels
        sources += [name] * len(labels)
        curved += [values.kind != "nominal" and len(values.levels) != 2] * len(labels)
    if closed:
        notes.append(f"Left out, functions of the confidence: {', '.join(closed)}.")
    if len(names) > _MAX_PAIRED:
        notes.append(f"{len(names)} columns are more than {_MAX_PAIRED}: no pairs are looked at.")
    table = np.hstack(parts) if parts else np.empty((outcomes.n_samples, 0))
    return ProfileColumns(
        table, outcomes.rank, tuple(names), tuple(sources), tuple(curved), tuple(notes)
    )


def _share_open(values: RoutingValues, outcomes: BinnedOutcomes) -> float:
    if values.kind == "nominal":
        return share_of_levels_left_open(values.codes, len(values.levels))
    return share_left_open(values.numbers)


def _levels(
    name: str,
    values: RoutingValues,
    outcomes: BinnedOutcomes,
    spline: ConfidenceSpline,
    notes: list[str],
) -> tuple[FloatArray, list[str]]:
    """Standardised indicators of the most frequent levels."""
    counts = np.bincount(values.codes, minlength=len(values.levels))
    frequent = np.argsort(-counts, kind="stable")[:_MAX_LEVELS]
    kept = np.sort([k for k in frequent if counts[k] >= _RARE * counts.sum()]).astype(np.intp)
    if len(kept) < len(counts):
        notes.append(
            f"{len(counts) - len(kept)} of {len(counts)} levels of {name} have no column of "
            f"their own: at most {_MAX_LEVELS} levels have, each with 1 % of the rows or more."
        )
    # Two levels are one contrast.
    kept = kept[1:] if len(counts) == 2 and len(kept) == 2 else kept
    indicators = (values.codes[:, None] == kept) * 1.0
    share = np.clip(spline.fit(indicators), _RARE, 1 - _RARE)
    labels = [f"{name} = {values.levels[k]}" for k in kept]
    return (indicators - share) / np.sqrt(share * (1 - share)), labels
