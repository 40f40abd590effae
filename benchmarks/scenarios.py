"""Simulated models of which it is known whether routing says more than confidence.

Every scenario is a function ``(n, rng) -> Simulation``: outcomes y, confidence c, one routing
feature z and the two truths, eta = P(y = 1 | c, z) and g = P(y = 1 | c). Under a null (`NULLS`)
eta = g in every row, however badly the model may be calibrated; in an alternative
(`ALTERNATIVES`) eta differs from g and averages to it among rows of equal confidence.

The confidence follows one law, 0.4 + 0.6 sigmoid(2.305 + 3 x) with x standard normal: 53 % of
the rows lie above 0.933, as those of an over-trained image classifier do. x, the *score*, is the
normal score of c, and a routing feature of *correlation r* is r x + sqrt(1 - r^2) e with an
independent e. The maps from c to g:

================  ===============================================================================
calibrated        g = c
overconfident     sigmoid(logit(c) / 1.436): ECE 4 %, 81 % accurate, g - c = -7 % at c = 0.933
wiggly            c - 0.07 (0.3 + sin(6 pi t)), t = Phi(x): three waves, ECE 4 %, not monotone
jump              c + 0.04 below 0.9, c - 0.08 above
================  ===============================================================================

Effects are written with u in (-1, 1), the rank of z among rows of equal confidence, known here
because e is. An effect never changes the hit rate or the error rate by more than 80 % of itself:
where the size asked for would, it is scaled down at that confidence, so that eta still averages
to g.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, ndtri, xlogy

Array = NDArray[np.float64]

_LOWEST, _CENTRE, _SPREAD = 0.4, 2.305, 3.0
_TEMPERATURE = 1.436
_LARGEST_CHANGE = 0.8
_CLUSTER_SIZE = 10


@dataclass(frozen=True)
class Simulation:
    """One simulated data set and its truth.

    Attributes
    ----------
    y, confidence, routing : ndarray of shape (n,)
        What a user has: outcomes (0 or 1), confidence of the model, routing feature.
    eta : ndarray of shape (n,)
        P(y = 1 | confidence, routing).
    g : ndarray of shape (n,)
        P(y = 1 | confidence).
    groups : ndarray of shape (n,) or None
        Cluster of each row where rows are dependent.
    rank : ndarray of shape (n,) or None
        Rank u in (-1, 1) of the routing among rows of equal confidence; None for expert ids.
    routing_kind : str
        What a user would say the routing is; passed to the test.
    """

    y: Array
    confidence: Array
    routing: Array
    eta: Array
    g: Array
    groups: NDArray[np.int64] | None = None
    rank: Array | None = None
    routing_kind: str = "auto"

    def gap(self) -> float:
        """Return the true matched gap: eta - g in the top third of `rank` minus the bottom."""
        if self.rank is None:
            raise ValueError("expert ids have no order, so no top and bottom third.")
        third = np.sign(self.rank) * (np.abs(self.rank) > 1 / 3)
        return 2 * float(third @ (self.eta - self.g) / (third @ third))


Scenario = Callable[[int, np.random.Generator], Simulation]


# --- confidence, its truth, and routing that follows it ------------------------------------


def _confidence(score: Array) -> Array:
    return _LOWEST + (1 - _LOWEST) * expit(_CENTRE + _SPREAD * score)


def _overconfident(confidence: Array) -> Array:
    return expit(logit(confidence) / _TEMPERATURE)


def _wiggly(score: Array) -> Array:
    wave = 0.3 + np.sin(6 * np.pi * ndtr(score))
    return np.clip(_confidence(score) - 0.07 * wave, 0.02, 0.99)


def _jump(confidence: Array) -> Array:
    return np.where(confidence < 0.9, confidence + 0.04, confidence - 0.08)


def _follow(score: Array, correlation: float, noise: Array) -> Array:
    return correlation * score + np.sqrt(1 - correlation**2) * noise


def _outcomes(probability: Array, rng: np.random.Generator) -> Array:
    return (rng.random(len(probability)) < probability).astype(np.float64)


def _null(
    confidence: Array, g: Array, routing: Array, rng: np.random.Generator, rank: Array | None = None
) -> Simulation:
    return Simulation(_outcomes(g, rng), confidence, routing, g, g, rank=rank)


def _correlated_null(
    n: int, rng: np.random.Generator, correlation: float, truth: Callable[[Array, Array], Array]
) -> Simulation:
    score, noise = rng.standard_normal((2, n))
    confidence = _confidence(score)
    routing = _follow(score, correlation, noise)
    return _null(confidence, truth(confidence, score), routing, rng, 2 * ndtr(noise) - 1)


# --- nulls ----------------------------------------------------------------------------------


def calibrated_unrelated(n: int, rng: np.random.Generator) -> Simulation:
    """N1 calibrated, routing unrelated to confidence."""
    return _correlated_null(n, rng, 0.0, lambda c, _: c)


def calibrated_correlated(n: int, rng: np.random.Generator) -> Simulation:
    """N2 calibrated, correlation .95."""
    return _correlated_null(n, rng, 0.95, lambda c, _: c)


def overconfident_correlated(n: int, rng: np.random.Generator) -> Simulation:
    """N3 overconfident, correlation .5."""
    return _correlated_null(n, rng, 0.5, lambda c, _: _overconfident(c))


def overconfident_strongly_correlated(n: int, rng: np.random.Generator) -> Simulation:
    """N4 overconfident, correlation .95."""
    return _correlated_null(n, rng, 0.95, lambda c, _: _overconfident(c))


def wiggly_correlated(n: int, rng: np.random.Generator) -> Simulation:
    """N5 wiggly calibration curve, correlation .95."""
    return _correlated_null(n, rng, 0.95, lambda _, score: _wiggly(score))


def jump_correlated(n: int, rng: np.random.Generator) -> Simulation:
    """N6 calibration curve with a jump, correlation .9."""
    return _correlated_null(n, rng, 0.9, lambda c, _: _jump(c))


def tied_confidence(n: int, rng: np.random.Generator) -> Simulation:
    """N7 half-precision confidence, a fifth of it exactly 1, correlation .9.

    The truth is a function of the rounded confidence, and stops at 0.985.
    """
    score, noise = rng.standard_normal((2, n))
    confidence = expit(5 + 4 * score).astype(np.float16).astype(np.float64)
    below_one = np.clip(confidence, 1e-4, 1 - 1e-4)
    g = np.minimum(_overconfident(below_one), 0.985)
    return _null(confidence, g, _follow(score, 0.9, noise), rng)


def heavy_tailed(n: int, rng: np.random.Generator) -> Simulation:
    """N8 overconfident, routing with infinite variance (Student t, 1.5 degrees of freedom)."""
    score = rng.standard_normal(n)
    confidence = _confidence(score)
    routing = 0.5 * score + rng.standard_t(1.5, n)
    return _null(confidence, _overconfident(confidence), routing, rng)


def noisy_entropy(n: int, rng: np.random.Generator) -> Simulation:
    """N9 overconfident, routing = entropy of the confidence plus noise of 0.02 nats."""
    score, noise = rng.standard_normal((2, n))
    confidence = _confidence(score)
    entropy = -xlogy(confidence, confidence) - xlogy(1 - confidence, 1 - confidence)
    routing = entropy + 0.02 * noise
    return _null(confidence, _overconfident(confidence), routing, rng, 2 * ndtr(noise) - 1)


def rare_errors(n: int, rng: np.random.Generator) -> Simulation:
    """N10 overconfident but 98 % accurate, correlation .9."""
    score, noise = rng.standard_normal((2, n))
    confidence = _LOWEST + (1 - _LOWEST) * expit(6.2 + 2 * score)
    routing = _follow(score, 0.9, noise)
    return _null(confidence, _overconfident(confidence), routing, rng, 2 * ndtr(noise) - 1)


def clusters(n: int, rng: np.random.Generator) -> Simulation:
    """N11 overconfident, ten rows a cluster that share difficulty and routing, correlation .5.

    y = 1 where Phi^-1(g) + sqrt(.35) d + sqrt(.65) e > 0, with d shared by the cluster: the
    difficulty does not move P(y = 1 | c, z) = g, but makes the outcomes of a cluster alike.
    """
    score, own, outcome = rng.standard_normal((3, n))
    groups = np.arange(n) // _CLUSTER_SIZE
    shared, difficulty = rng.standard_normal((2, groups[-1] + 1))
    confidence = _confidence(score)
    g = _overconfident(confidence)
    routing = _follow(score, 0.5, np.sqrt(0.5) * shared[groups] + np.sqrt(0.5) * own)
    y = ndtri(g) + np.sqrt(0.35) * difficulty[groups] + np.sqrt(0.65) * outcome > 0
    return Simulation(y.astype(np.float64), confidence, routing, g, g, groups=groups)


def follows_miscalibration(n: int, rng: np.random.Generator) -> Simulation:
    """N12 wiggly calibration curve, routing = g - c plus noise of 0.01."""
    score, noise = rng.standard_normal((2, n))
    confidence, g = _confidence(score), _wiggly(score)
    return _null(confidence, g, g - confidence + 0.01 * noise, rng, 2 * ndtr(noise) - 1)


def spread_follows_confidence(n: int, rng: np.random.Generator) -> Simulation:
    """N13 wiggly curve; spread and skewness of the routing grow with confidence (ours)."""
    score = rng.standard_normal(n)
    routing = 0.5 * score + np.exp(score) * (rng.standard_exponential(n) - 1)
    return _null(_confidence(score), _wiggly(score), routing, rng)


def expert_follows_confidence(n: int, rng: np.random.Generator) -> Simulation:
    """N14 overconfident, one of eight experts whose shares depend on confidence (ours)."""
    score = rng.standard_normal(n)
    confidence = _confidence(score)
    expert, _ = _choose_expert(score, 8, rng)
    return _null(confidence, _overconfident(confidence), expert.astype(np.float64), rng)


def mostly_zero(n: int, rng: np.random.Generator) -> Simulation:
    """N15 overconfident, a routing weight that is zero unless the expert was chosen (ours).

    The expert is chosen with probability sigmoid(-1 - 1.5 x), hence more often when confidence
    is low; its weight then also falls with confidence.
    """
    score = rng.standard_normal(n)
    confidence = _confidence(score)
    chosen = rng.random(n) < expit(-1 - 1.5 * score)
    routing = np.where(chosen, expit(_follow(-score, 0.7, rng.standard_normal(n))), 0.0)
    return _null(confidence, _overconfident(confidence), routing, rng)


def correlated_features(
    n: int, rng: np.random.Generator, n_features: int, correlation: float
) -> Simulation:
    """Overconfident null; `routing` has `n_features` columns of the given pairwise correlation."""
    score, shared = rng.standard_normal((2, n))
    own = rng.standard_normal((n, n_features))
    noise = np.sqrt(correlation) * shared[:, None] + np.sqrt(1 - correlation) * own
    confidence = _confidence(score)
    return _null(confidence, _overconfident(confidence), _follow(score[:, None], 0.5, noise), rng)


# --- alternatives ---------------------------------------------------------------------------


def _choose_expert(
    score: Array, n_experts: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """Draw an expert for each row; ids are not in the order of the confidence they prefer."""
    preferred = np.linspace(-1.5, 1.5, n_experts)[(5 * np.arange(n_experts)) % n_experts]
    weight = np.exp(-((score[:, None] - preferred) ** 2) / 2)
    share = weight / weight.sum(axis=1, keepdims=True)
    draw = rng.random(len(score))[:, None]
    return (draw > np.cumsum(share, axis=1)[:, :-1]).sum(axis=1), share


def _bounded(size: Array | float, g: Array, largest: Array | float = 1.0) -> Array:
    """Scale `size` down where size x largest would change a rate by more than 80 % of itself."""
    return np.minimum(size, _LARGEST_CHANGE * np.minimum(g, 1 - g) / largest)


def _alternative(
    n: int,
    rng: np.random.Generator,
    size: Callable[[Array], Array | float],
    shape: Callable[[Array], Array],
    correlation: float = 0.5,
) -> Simulation:
    """Overconfident model with effect size(t) shape(u); shape averages to 0 over u."""
    score, noise = rng.standard_normal((2, n))
    confidence = _confidence(score)
    g, rank = _overconfident(confidence), 2 * ndtr(noise) - 1
    largest = float(np.abs(shape(np.linspace(-1, 1, 2001))).max())
    wanted = size(ndtr(score))
    eta = g + np.sign(wanted) * _bounded(np.abs(wanted), g, largest) * shape(rank)
    routing = _follow(score, correlation, noise)
    return Simulation(_outcomes(eta, rng), confidence, routing, eta, g, rank=rank)


def _top_minus_bottom(rank: Array) -> Array:
    return np.sign(rank) * (np.abs(rank) > 1 / 3)


def tertile_gap(n: int, rng: np.random.Generator, gap: float) -> Simulation:
    """Thirds of z differ, top minus bottom, by `gap` on average over the rows."""
    size = _third_size(gap)
    return _alternative(n, rng, lambda _: size, _top_minus_bottom)


@cache
def _third_size(gap: float) -> float:
    """Effect that has to be asked for to leave `gap` after the bound of 80 %."""
    g = _overconfident(_confidence(ndtri((np.arange(20_000) + 0.5) / 20_000)))
    return brentq(lambda size: 2 * _bounded(size, g).mean() - gap, 0, 1)


def tertile_step(n: int, rng: np.random.Generator) -> Simulation:
    """A1 the top third of z is 3 points better on average, the bottom third 3 points worse."""
    return tertile_gap(n, rng, 0.06)


def linear_trend(n: int, rng: np.random.Generator) -> Simulation:
    """A2 effect linear in the rank of z."""
    return _alternative(n, rng, lambda _: _SIZE["A2"], lambda u: u)


def u_shape(n: int, rng: np.random.Generator) -> Simulation:
    """A3 both ends of z differ from its middle."""
    return _alternative(n, rng, lambda _: _SIZE["A3"], lambda u: (3 * u**2 - 1) / 2)


def one_bin(n: int, rng: np.random.Generator) -> Simulation:
    """A4 thirds of z differ in one fifteenth of the rows, and nowhere else."""
    return _alternative(
        n, rng, lambda t: np.where((t >= 4 / 15) & (t < 5 / 15), _SIZE["A4"], 0), _top_minus_bottom
    )


def crossing(n: int, rng: np.random.Generator) -> Simulation:
    """A5 linear in z, of opposite sign in the lower and the upper half of the confidence."""
    return _alternative(n, rng, lambda t: _SIZE["A5"] * np.sign(0.5 - t), lambda u: u)


def one_expert(n: int, rng: np.random.Generator) -> Simulation:
    """A6 one of eight equally used experts is worse than the others."""
    score = rng.standard_normal(n)
    confidence = _confidence(score)
    g = _overconfident(confidence)
    expert = rng.integers(0, 8, n)
    eta = g + _bounded(_SIZE["A6"], g, 7 / 8) * (1 / 8 - (expert == 3))
    return Simulation(_outcomes(eta, rng), confidence, expert.astype(np.float64), eta, g)


def confident_half(n: int, rng: np.random.Generator) -> Simulation:
    """A7 linear in z, in the more confident half of the rows only."""
    return _alternative(n, rng, lambda t: np.where(t > 0.5, _SIZE["A7"], 0), lambda u: u)


def global_thirds(n: int, rng: np.random.Generator) -> Simulation:
    """A8 correlation .9; the overall thirds of z differ, so only rows near their cuts can show it.

    With the overall thirds the effect at confidence c is f - E[f | c], f = +1, 0, -1.
    """
    correlation, cut = 0.9, float(ndtri(2 / 3))
    score, noise = rng.standard_normal((2, n))
    confidence = _confidence(score)
    g = _overconfident(confidence)
    routing = _follow(score, correlation, noise)
    spread = np.sqrt(1 - correlation**2)
    above = ndtr((correlation * score - cut) / spread)
    below = ndtr((-correlation * score - cut) / spread)
    effect = (routing > cut) * 1.0 - (routing < -cut) - (above - below)
    largest = 1 + np.abs(above - below)
    eta = g + _bounded(_SIZE["A8"], g, largest) * effect
    rank = 2 * ndtr(noise) - 1
    return Simulation(_outcomes(eta, rng), confidence, routing, eta, g, rank=rank)


def upper_tail(n: int, rng: np.random.Generator) -> Simulation:
    """A9 only the top tenth of z is worse."""
    return _alternative(n, rng, lambda _: _SIZE["A9"], lambda u: 0.1 - (u > 0.8))


def three_of_sixteen_experts(n: int, rng: np.random.Generator) -> Simulation:
    """A10 shares of sixteen experts depend on confidence; two are worse and one better (ours)."""
    score = rng.standard_normal(n)
    confidence = _confidence(score)
    g = _overconfident(confidence)
    expert, share = _choose_expert(score, 16, rng)
    merit = np.zeros(16)
    merit[[2, 7]], merit[11] = -1.0, 1.0
    effect = merit[expert] - share @ merit
    eta = g + _bounded(_SIZE["A10"], g, 1 + np.abs(share @ merit)) * effect
    routing = expert.astype(np.float64)
    return Simulation(_outcomes(eta, rng), confidence, routing, eta, g, routing_kind="nominal")


def chosen_expert_is_worse(n: int, rng: np.random.Generator) -> Simulation:
    """A11 the mostly-zero weight of N15; rows in which the expert was chosen are worse (ours)."""
    score = rng.standard_normal(n)
    confidence = _confidence(score)
    g, share = _overconfident(confidence), expit(-1 - 1.5 * score)
    chosen = rng.random(n) < share
    routing = np.where(chosen, expit(_follow(-score, 0.7, rng.standard_normal(n))), 0.0)
    eta = g + _bounded(_SIZE["A11"], g, np.maximum(share, 1 - share)) * (share - chosen)
    return Simulation(_outcomes(eta, rng), confidence, routing, eta, g)


# Found by bisection on the power of the oracle at level 5 %, n = 2500 (A7: 5000).
_SIZE = {
    "A2": 0.055, "A3": 0.074, "A4": 0.175, "A5": 0.055, "A6": 0.094,
    "A7": 0.022, "A8": 0.06, "A9": 0.093, "A10": 0.056, "A11": 0.067,
}  # fmt: skip

NULLS: dict[str, Scenario] = {
    "N1": calibrated_unrelated,
    "N2": calibrated_correlated,
    "N3": overconfident_correlated,
    "N4": overconfident_strongly_correlated,
    "N5": wiggly_correlated,
    "N6": jump_correlated,
    "N7": tied_confidence,
    "N8": heavy_tailed,
    "N9": noisy_entropy,
    "N10": rare_errors,
    "N11": clusters,
    "N12": follows_miscalibration,
    "N13": spread_follows_confidence,
    "N14": expert_follows_confidence,
    "N15": mostly_zero,
}

ALTERNATIVES: dict[str, Scenario] = {
    "A1": tertile_step,
    "A2": linear_trend,
    "A3": u_shape,
    "A4": one_bin,
    "A5": crossing,
    "A6": one_expert,
    "A7": confident_half,
    "A8": global_thirds,
    "A9": upper_tail,
    "A10": three_of_sixteen_experts,
    "A11": chosen_expert_is_worse,
}


def oracle_pvalue(
    simulation: Simulation, rng: np.random.Generator, n_resamples: int = 999
) -> float:
    """Return the p-value of the Neyman-Pearson test of g against eta, both known.

    The log-likelihood ratio sum_i y_i log[eta_i (1 - g_i) / (g_i (1 - eta_i))] (+ a constant) is
    compared with its values for outcomes redrawn from g. No test of level alpha has more power
    against this eta; none that does not know eta can reach it.
    """
    eta, g = simulation.eta, simulation.g
    moved = eta != g
    weight = logit(eta[moved]) - logit(g[moved])
    observed = simulation.y[moved] @ weight
    redrawn = (rng.random((n_resamples, moved.sum())) < g[moved]) @ weight
    return (1 + int((redrawn >= observed - 1e-9).sum())) / (n_resamples + 1)
