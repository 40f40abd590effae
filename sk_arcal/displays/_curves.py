r"""Numbers of a reliability diagram: points, isotonic line, band, density, error and its floor.

Two bands are computed, both exactly and without simulation, and both *simultaneous* over the m
points of a diagram: a point's own band has level :math:`0.95^{1/m}` (Šidák), so that all m
points lie inside with probability 0.95 or more under the hypothesis.

- *Consistency band*, around the diagonal: the outcomes are redrawn as y ~ Bernoulli(c). The
  number of events among the :math:`n_b` rows of a bin is then nearly
  Binomial(:math:`n_b, \bar c_b`); the confidences of a bin being nearly equal, this is wider
  than the exact law by a hair.
- *Matched band* of a stratum, around the curve of all rows: the outcomes are shuffled inside
  the bins. The number of events among the :math:`n_{bs}` rows of stratum s is then
  hypergeometric, and its rate is moved by what the pooled curve rises between the mean
  confidence of the bin and that of these rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import binom, hypergeom

from sk_arcal._validation import FloatArray, check_groups, check_integer
from sk_arcal.metrics import expected_calibration_error, noise_floor
from sk_arcal.metrics._binning import bin_codes, bin_edges

IntArray = NDArray[np.intp]

DENSITY_EDGES = np.linspace(0, 1, 26)
_FEWEST_BINS, _MOST_BINS = 4, 30
_MOST_STRATA = 8


@dataclass(frozen=True)
class ReliabilityCurve:
    """What a reliability diagram draws of one model or one stratum.

    Attributes
    ----------
    name : str
        Model or stratum.
    lower, upper : ndarray of shape (n_points,)
        Bins of confidence that hold rows.
    count : ndarray of shape (n_points,)
        Rows in each bin.
    mean_confidence, event_rate : ndarray of shape (n_points,)
        The points.
    band_center, band_low, band_high : ndarray of shape (n_points,)
        Rate expected in each bin, and the limits that hold all points at once with probability
        0.95: of a calibrated model or, for a stratum, of rows that differ from the others of
        their bin by nothing but their label.
    isotonic_confidence, isotonic_rate : ndarray of shape (n_vertices,)
        Vertices of the isotonic regression of the event on the confidence.
    density : ndarray of shape (25,)
        Share of the rows in 25 equal intervals of confidence.
    error, error_floor : float
        Expected calibration error, 15 equal-width bins, and its mean over outcomes redrawn
        from the confidences; NaN if it was not asked for.
    """

    name: str
    lower: FloatArray
    upper: FloatArray
    count: IntArray
    mean_confidence: FloatArray
    event_rate: FloatArray
    band_center: FloatArray
    band_low: FloatArray
    band_high: FloatArray
    isotonic_confidence: FloatArray
    isotonic_rate: FloatArray
    density: FloatArray
    error: float
    error_floor: float

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which points lie inside their band."""
        return (self.band_low <= self.event_rate) & (self.event_rate <= self.band_high)


@dataclass(frozen=True)
class FloorSettings:
    """How the noise floor of the calibration error is simulated."""

    n_resamples: int
    rng: np.random.Generator


def default_n_bins(n_samples: int) -> int:
    """Return about the cube root of the number of rows, kept in 4 to 30."""
    return int(np.clip(round(n_samples ** (1 / 3)), _FEWEST_BINS, _MOST_BINS))


def curves_of_models(
    event: FloatArray,
    models: Mapping[str, FloatArray],
    binning: tuple[int | str, str],
    floor: FloorSettings,
) -> tuple[ReliabilityCurve, ...]:
    """Return one curve per model, each with bins of its own."""
    return tuple(
        model_curve(name, event, confidence, _edges(confidence, binning, len(event)), floor)
        for name, confidence in models.items()
    )


def curves_of_strata(
    event: FloatArray,
    models: Mapping[str, FloatArray],
    strata: ArrayLike,
    strata_names: Sequence[str] | None,
    binning: tuple[int | str, str],
    floor: FloorSettings,
) -> tuple[tuple[ReliabilityCurve, ...], ReliabilityCurve]:
    """Return one curve per stratum of the only model, and the curve of all its rows."""
    if len(models) != 1:
        raise ValueError(
            f"`strata` splits the rows of one model; `y_prob` holds {len(models)}. "
            "Draw one display per model."
        )
    ((model, confidence),) = models.items()
    levels, stratum = check_groups(strata, len(event), "strata")
    if len(levels) > _MOST_STRATA:
        raise ValueError(
            f"`strata` holds {len(levels)} different values where at most {_MOST_STRATA} can be "
            "told apart. Cut a number into strata with `sk_arcal.metrics.rank_groups`."
        )
    edges = _edges(confidence, binning, len(event) // len(levels))
    words = levels.dtype.kind in "US"
    names = list(strata_names or [str(v) if words else f"stratum {v}" for v in levels])
    if len(names) != len(levels):
        raise ValueError(
            f"`strata_names` must name the {len(levels)} different values of `strata`; "
            f"got {len(names)} names."
        )
    curves = stratum_curves(names, stratum, event, confidence, edges, floor)
    return curves, model_curve(model, event, confidence, edges, floor)


def model_curve(
    name: str, event: FloatArray, confidence: FloatArray, edges: FloatArray, floor: FloorSettings
) -> ReliabilityCurve:
    """Return the curve of one model with the consistency band around the diagonal."""
    codes = bin_codes(confidence, edges)
    bins, count, mean_confidence, rate = _points(codes, confidence, event)
    level = 0.95 ** (1 / len(count))
    low, high = binom.interval(level, count, mean_confidence) / count
    return _curve(
        name, event, confidence, floor,
        lower=edges[bins], upper=edges[bins + 1], count=count,
        mean_confidence=mean_confidence, event_rate=rate,
        band_center=mean_confidence, band_low=low, band_high=high,
    )  # fmt: skip


def stratum_curves(
    names: Sequence[str],
    stratum: IntArray,
    event: FloatArray,
    confidence: FloatArray,
    edges: FloatArray,
    floor: FloorSettings,
) -> tuple[ReliabilityCurve, ...]:
    """Return one curve per stratum with the matched band around the pooled curve."""
    codes = bin_codes(confidence, edges)
    bins, pooled_count, pooled_confidence, pooled_rate = _points(codes, confidence, event)
    hits = np.rint(pooled_rate * pooled_count).astype(np.intp)
    slope = np.interp(confidence, pooled_confidence, pooled_rate)
    n_points = len(np.unique(codes + len(edges) * stratum))
    level = 0.95 ** (1 / n_points)
    curves = []
    for code, name in enumerate(names):
        rows = stratum == code
        own_bins, count, mean_confidence, rate = _points(codes[rows], confidence[rows], event[rows])
        at = np.searchsorted(bins, own_bins)
        rise = _bin_means(codes[rows], slope[rows]) - _bin_means(codes, slope)[at]
        limits = hypergeom.interval(level, pooled_count[at], hits[at], count)
        low, high = np.clip(np.divide(limits, count) + rise, 0, 1)
        curves.append(
            _curve(
                name, event[rows], confidence[rows], floor,
                lower=edges[own_bins], upper=edges[own_bins + 1], count=count,
                mean_confidence=mean_confidence, event_rate=rate,
                band_center=np.clip(pooled_rate[at] + rise, 0, 1), band_low=low, band_high=high,
            )
        )  # fmt: skip
    return tuple(curves)


def isotonic_vertices(event: FloatArray, confidence: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the vertices of the isotonic regression of the event on the confidence."""
    value, row, copies = np.unique(confidence, return_inverse=True, return_counts=True)
    rate = np.bincount(row, weights=event) / copies
    fitted = isotonic_regression(rate, weights=copies).x
    level = np.flatnonzero(np.diff(fitted, prepend=-1) > 0)
    ends = np.append(level[1:] - 1, len(value) - 1)
    kept = np.unique(np.concatenate([level, ends]))
    return value[kept], fitted[kept]


def _points(codes: IntArray, confidence: FloatArray, event: FloatArray) -> tuple:
    """Return the bins that hold rows, their counts, mean confidences and event rates."""
    return (
        np.unique(codes),
        np.bincount(codes)[np.unique(codes)],
        _bin_means(codes, confidence),
        _bin_means(codes, event),
    )


def _bin_means(codes: IntArray, values: FloatArray) -> FloatArray:
    """Return the mean of `values` in every bin that holds rows."""
    count = np.bincount(codes)
    return np.bincount(codes, weights=values)[count > 0] / count[count > 0]


def _curve(
    name: str, event: FloatArray, confidence: FloatArray, floor: FloorSettings, **points: Any
) -> ReliabilityCurve:
    """Add isotonic line, density, error and noise floor to the points."""
    isotonic_confidence, isotonic_rate = isotonic_vertices(event, confidence)
    return ReliabilityCurve(
        name=name,
        isotonic_confidence=isotonic_confidence,
        isotonic_rate=isotonic_rate,
        density=np.histogram(confidence, DENSITY_EDGES)[0] / len(confidence),
        error=expected_calibration_error(event, confidence),
        error_floor=_error_floor(confidence, floor),
        **points,
    )


def _error_floor(confidence: FloatArray, floor: FloorSettings) -> float:
    if floor.n_resamples == 0:
        return float("nan")
    noise = noise_floor(confidence, n_resamples=floor.n_resamples, random_state=floor.rng)
    return noise.mean


def _edges(confidence: FloatArray, binning: tuple[int | str, str], n_rows: int) -> FloatArray:
    """Return the edges of the bins of one diagram."""
    n_bins, strategy = binning
    wanted = default_n_bins(n_rows) if n_bins == "auto" else check_integer("n_bins", n_bins, low=1)
    return bin_edges(confidence, np.ones(len(confidence)), n_bins=wanted, strategy=strategy)
