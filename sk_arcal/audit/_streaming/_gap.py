r"""The gap at equal confidence, read from counts of rows by confidence, routing and outcome.

Neighbouring cells of confidence are joined to bins of at least about 300 rows. In bin b the rows
of routing cell j cover an interval of the ranks of the routing among the rows of that bin;
:math:`\varphi_{bj}` is the share of it in the top third less that in the bottom third, and
:math:`v_{bj}` the variance that averaging over the interval took away. With :math:`\tilde\varphi`
the residual of :math:`\varphi` from a straight line in the confidence in every bin,

.. math::

    \mathrm{gap} = 2 \sum \tilde\varphi\, y / D, \quad
    D = \sum \tilde\varphi^2 + \sum (1 - h) v ,

summed over rows: the coefficient of the thirds in a regression on them and on a line in every
bin, as in the conditional calibration test, whose ranks are taken given the confidence in another
way. A level of a feature of texts has :math:`\varphi` = 1 in its rows, v = 0, and no factor 2.
All of these sums are sums over cells. The standard error,

.. math::

    \mathrm{se}^2 = 4 \sum_b \frac{n_b}{n_b - 2} \sum \tilde\varphi^2 e^2 / D^2 ,

with the residuals e of that regression, puts the rows of a cell at their mean confidence. It is
the one of H. White (Econometrica 48, 1980) with the correction of D. V. Hinkley (Technometrics
19, 1977), and counts rows as independent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sk_arcal._validation import FloatArray
from sk_arcal.audit._stream_records import StreamedGap
from sk_arcal.audit._streaming._cells import (
    ConfidenceCells,
    FeatureCells,
    LevelCells,
    NumericCells,
)

TERTILES = "top minus bottom tertile of routing"
_ROWS_PER_BIN, _FEWEST_BINS = 300, 5
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Bins of like confidence by routing cell; sums of d are about the mean of the bin.

    Attributes
    ----------
    count : ndarray of shape (n_bins, n_routing, 2)
        Rows by outcome.
    shift : ndarray of shape (n_bins, n_routing)
        Sums of d, the confidence less the mean confidence of its bin.
    squares, crossed : ndarray of shape (n_bins,)
        Sums of d^2 and of d y.
    """

    count: FloatArray
    shift: FloatArray
    squares: FloatArray
    crossed: FloatArray

    @classmethod
    def of(cls, confidence: ConfidenceCells, feature: FeatureCells) -> "Bins":
        """Join cells to bins and move the origin of d from the edges of cells to the means."""
        rows, hits = feature.count.sum(axis=(1, 2)), feature.count[:, :, 1].sum(axis=1)
        full = np.flatnonzero(rows)
        starts = _starts(rows[full])
        rows, hits = rows[full], hits[full]
        cells, excess = feature.count[full], feature.excess[full]
        edges = confidence.edges[full]
        n_rows = np.add.reduceat(rows, starts)
        # From the first edge of the bin, so that no digits are lost near 1.
        of_bin = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(full))))
        offset = edges - edges[starts][of_bin]
        own = excess.sum(axis=1)
        mean = np.add.reduceat(own + offset * rows, starts) / n_rows
        offset = offset - mean[of_bin]
        return cls(
            np.add.reduceat(cells, starts),
            np.add.reduceat(excess + offset[:, None] * cells.sum(axis=2), starts),
            np.add.reduceat(confidence.squares[full] + 2 * offset * own + offset**2 * rows, starts),
            np.add.reduceat(confidence.crossed[full] + offset * hits, starts),
        )

    @property
    def n_rows(self) -> FloatArray:
        """Rows of each bin."""
        return self.count.sum(axis=(1, 2))


def _starts(rows: FloatArray) -> NDArray[np.intp]:
    """Return the first cell of every bin."""
    total = rows.sum()
    wanted = max(total // _ROWS_PER_BIN, _FEWEST_BINS)
    middle = np.cumsum(rows) - rows / 2
    return np.unique(np.floor(wanted * middle / total), return_index=True)[1]


def estimate(
    bins: Bins, contrast: FloatArray, variance: FloatArray, scale: float
) -> tuple[float, float]:
    """Return gap and standard error of a contrast; NaN where it does not vary.

    Parameters
    ----------
    bins : Bins
        The counts.
    contrast, variance : ndarray of shape (n_bins, n_routing)
        phi and v.
    scale : float
        Gap per unit of the contrast.
    """
    rows, hits = bins.count.sum(axis=2), bins.count[:, :, 1]
    n = rows.sum(axis=1)
    has_line = bins.squares > 1e-12 * n
    squares = np.where(has_line, bins.squares, np.inf)
    centred = contrast - ((contrast * rows).sum(axis=1) / n)[:, None]
    along = (centred * bins.shift).sum(axis=1)
    own = (centred**2 * rows).sum(axis=1) - along**2 / squares
    crossed = (centred * hits).sum(axis=1) - along / squares * bins.crossed
    averaged = (variance * rows).sum(axis=1) * np.maximum(1 - (1 + has_line) / n, 0)
    total_own, divisor = own.sum(), (own + averaged).sum()
    if total_own <= 1e-9 * max(n.sum(), 1):
        return float("nan"), float("nan")
    theta = crossed.sum() / divisor
    mean_shift = bins.shift / np.maximum(rows, 1)
    residual = centred - (along / squares)[:, None] * mean_shift
    fitted = (hits.sum(axis=1) / n)[:, None] + (bins.crossed / squares)[:, None] * mean_shift
    fitted += crossed.sum() / total_own * residual
    spread = (rows - hits) * fitted**2 + hits * (1 - fitted) ** 2
    score = (residual**2 * spread).sum(axis=1) * n / np.maximum(n - 1 - has_line, 1)
    return float(scale * theta), float(scale * np.sqrt(score.sum()) / divisor)


def thirds(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return phi and v of every bin and routing cell from the rows in them."""
    high = np.cumsum(rows, axis=1) / rows.sum(axis=1, keepdims=True)
    low = np.concatenate([np.zeros((len(rows), 1)), high[:, :-1]], axis=1)
    width = np.maximum(high - low, 1e-300)
    bottom = np.clip((1 / 3 - low) / width, 0, 1)
    top = np.clip((high - 2 / 3) / width, 0, 1)
    phi = np.where(rows > 0, top - bottom, 0.0)
    return phi, np.where(rows > 0, top + bottom - phi**2, 0.0)


def streamed_gap(
    name: str,
    confidence: ConfidenceCells,
    feature: NumericCells | LevelCells,
    *,
    independent: bool,
) -> StreamedGap:
    """Return the gap of a feature among all rows.

    Parameters
    ----------
    name : str
        The feature.
    confidence : ConfidenceCells
        Of the same rows.
    feature : NumericCells or LevelCells
        The counts.
    independent : bool
        Whether rows are; where they are not, no interval is given.
    """
    if isinstance(feature, LevelCells) and feature.is_full:
        words = f"more than {len(feature.names) - 1} levels, not counted"
        return StreamedGap(name, float("nan"), float("nan"), float("nan"), float("nan"), words, 0.0)
    bins = Bins.of(confidence, feature)
    sizes = bins.count.sum(axis=(0, 2))
    gap, error, words, n_tried = _ranked(bins, feature)
    factor = norm.ppf(1 - (1 - _LEVEL) / (2 * n_tried)) if independent else float("nan")
    return StreamedGap(
        name=name,
        gap=gap,
        gap_low=float(gap - factor * error),
        gap_high=float(gap + factor * error),
        gap_se=error if independent else float("nan"),
        contrast=words,
        largest_cell=float(sizes.max() / sizes.sum()),
    )


def _ranked(bins: Bins, feature: NumericCells | LevelCells) -> tuple[float, float, str, int]:
    """Return gap, standard error, what is compared and how many such gaps were looked at."""
    if isinstance(feature, LevelCells):
        return _levels(bins, feature.names)
    upper = feature.two_values()
    if upper is not None:
        gap, error = _one_level(bins, upper[1])
        return gap, error, f"routing {upper[0]:g} minus the rest", 1
    return *estimate(bins, *thirds(bins.count.sum(axis=2)), 2.0), TERTILES, 1


def _one_level(bins: Bins, place: int) -> tuple[float, float]:
    phi = np.zeros(bins.shift.shape)
    phi[:, place] = 1.0
    return estimate(bins, phi, np.zeros_like(phi), 1.0)


def _levels(bins: Bins, names: list[str]) -> tuple[float, float, str, int]:
    """Return the level that stands out most; of two mirror images the positive one."""
    order = np.argsort(names)
    found = np.array([_one_level(bins, int(place)) for place in order])
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.nan_to_num(np.round(found[:, 0] / found[:, 1], 9))
    best = int(np.argmax(np.abs(score) + 1e-9 * (score > 0)))
    gap, error = found[best]
    words = f"routing {names[order[best]]} minus the rest"
    return float(gap), float(error), words, max(len(names) if len(names) > 2 else 1, 1)
