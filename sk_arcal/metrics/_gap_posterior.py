r"""What the binned gaps of two predictors may be, given those seen on shared rows.

Let G = (G_A, G_B) hold the gaps of all bins that have rows, G_b = (1/n) sum (c_i - y_i) over the
rows of the bin. G is close to normal around the true gaps mu, with a covariance S that ties the
noise of both predictors together.

The prior of mu says what miscalibration looks like. On the scale of the logit a gap is

.. math:: f_b = \mu_b / (w_b v_b), \qquad
    f \sim N\big(0,\; k^2 (1 + e^{-(x_b - x_{b'})^2 / 2 h^2}) + l^2\, 1[b = b']\big),

with w_b the share of the rows in the bin, v_b = r (1 - r) the variance of their outcomes, x_b the
logit of their mean confidence and h = 1.5: a shift, a smooth bend, and something of its own in
every bin. Of both sizes, k and l, the posterior given the predictor's own gaps is taken, on a grid
that holds zero and goes by the size of the noise (B. Efron and C. Morris, J. Am. Stat. Assoc. 68,
1973, on priors sized by the data). So gaps lost in the noise count as small, where the absolute
value of a noisy gap is not small, and gaps that stand out of it stay as they are.

Draws of mu take a draw m of the prior and e of the noise and correct them by what was seen,

.. math:: \mu = m + D (D + S)^{-1} (G - m - e),

D the covariance of the prior (A. Journel and C. Huijbregts, "Mining Geostatistics", 1978, on
conditioning a simulation).
"""

from dataclasses import dataclass

import numpy as np

from sk_arcal._validation import FloatArray

_LENGTH = 1.5
_LARGEST_LOGIT = 6.0
_N_SIZES = 7
_SMALLEST, _LARGEST = 0.3, 12.0
# Chance, before the data, that there is neither shift nor bend, and that no bin is odd.
_NO_BEND, _NO_OWN = 1 / _N_SIZES, 1 / 2
# A bin of exact zeros that are all right has no variance, and needs a place to put a gap.
_LEAST_VARIANCE = 1e-9
_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Side:
    """Binned gaps of one predictor.

    Attributes
    ----------
    gap : ndarray of shape (n_bins,)
        Sum of confidence minus event over the bin, as a share of all rows.
    scale : ndarray of shape (n_bins,)
        w v, the gap that one unit on the scale of the logit makes.
    place : ndarray of shape (n_bins,)
        Logit of the mean confidence.
    """

    gap: FloatArray
    scale: FloatArray
    place: FloatArray

    @classmethod
    def of(
        cls, gap: FloatArray, count: FloatArray, confidence: FloatArray, events: FloatArray
    ) -> "Side":
        """Take the gaps as they are, and sums over the rows of each bin, none of them empty."""
        mean = confidence / count
        rate = (events + mean) / (count + 1)
        with np.errstate(divide="ignore"):
            place = np.log(mean) - np.log1p(-mean)
        return cls(
            gap,
            count / count.sum() * np.maximum(rate * (1 - rate), _LEAST_VARIANCE),
            np.clip(place, -_LARGEST_LOGIT, _LARGEST_LOGIT),
        )

    def priors(self, noise: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return covariances of mu on the grid of sizes, and the chance of each given the gaps.

        Parameters
        ----------
        noise : ndarray of shape (n_bins, n_bins)
            Covariance of the gaps.

        Returns
        -------
        covariances : ndarray of shape (n_sizes, n_bins, n_bins)
            Every pair of k and l.
        chances : ndarray of shape (n_sizes,)
            They sum to one.
        """
        apart = (self.place[:, None] - self.place) / _LENGTH
        bend = self.scale[:, None] * (1 + np.exp(-(apart**2) / 2)) * self.scale
        own = np.diag(self.scale**2)
        size = np.sqrt(np.trace(noise))
        largest = max(_LARGEST, 3 * float(np.linalg.norm(self.gap)) / size)
        grid = np.r_[0, np.geomspace(_SMALLEST, largest, _N_SIZES - 1)] * size
        bends = grid[:, None, None] ** 2 * bend / np.trace(bend)
        owns = grid[:, None, None] ** 2 * own / np.trace(own)
        covariances = (bends[:, None] + owns[None]).reshape(-1, *noise.shape)
        before = np.outer(_chances(_NO_BEND), _chances(_NO_OWN)).ravel()
        log_chance = np.log(before) + _log_density(self.gap, covariances + noise)
        chances = np.exp(log_chance - log_chance.max())
        return covariances, chances / chances.sum()


def draw_gaps(
    sides: tuple[Side, Side], noise: FloatArray, n_draws: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw the true gaps of two predictors.

    Parameters
    ----------
    sides : tuple of Side
        What was seen.
    noise : ndarray of shape (n_bins, n_bins)
        Positive definite covariance of all gaps, those of the first side first.
    n_draws : int
        Number of draws.
    rng : Generator
        Source of them.

    Returns
    -------
    first, second : ndarray of shape (n_draws, n_bins of the side)
        Gaps in the units of those seen.
    """
    cut, n_bins = len(sides[0].gap), len(noise)
    seen = np.concatenate([side.gap for side in sides])
    grids = []
    for side, block in zip(sides, (slice(None, cut), slice(cut, None)), strict=True):
        covariances, chances = side.priors(noise[block, block])
        grids.append((block, covariances, rng.choice(len(chances), n_draws, p=chances)))
    noise_root, drawn = _root(noise), np.empty((n_draws, n_bins))
    for start in range(0, n_draws, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n_draws))
        prior = np.zeros((rows.stop - start, n_bins, n_bins))
        for block, covariances, which in grids:
            prior[:, block, block] = covariances[which[rows]]
        normal = rng.standard_normal((2, len(prior), n_bins, 1))
        before = _root(prior) @ normal[0]
        missing = seen[:, None] - before - noise_root @ normal[1]
        drawn[rows] = (before + prior @ np.linalg.solve(prior + noise, missing))[:, :, 0]
    return drawn[:, :cut], drawn[:, cut:]


def _chances(zero: float) -> FloatArray:
    return np.r_[zero, np.full(_N_SIZES - 1, (1 - zero) / (_N_SIZES - 1))]


def _log_density(values: FloatArray, covariances: FloatArray) -> FloatArray:
    """Log density of `values` under centred normal laws, up to a constant."""
    _, log_determinant = np.linalg.slogdet(covariances)
    stacked = np.broadcast_to(values[:, None], (len(covariances), len(values), 1))
    return -(log_determinant + (values @ np.linalg.solve(covariances, stacked))[:, 0]) / 2


def _root(covariance: FloatArray) -> FloatArray:
    """Return symmetric roots of positive semi-definite matrices (..., n, n)."""
    values, vectors = np.linalg.eigh(covariance)
    scaled = vectors * np.sqrt(np.maximum(values, 0))[..., None, :]
    return np.asarray(scaled @ np.swapaxes(vectors, -1, -2))
