"""One simulated model of which it is known whether routing says more than its confidence."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_number,
    check_option,
)
from sk_arcal.datasets._classes import class_columns
from sk_arcal.datasets._effects import EFFECTS, Effect, bounded
from sk_arcal.datasets._law import CURVES, smooth_confidence, tied_confidence

# Correlation of two layers of a profile among rows of equal confidence.
_BETWEEN_LAYERS = 0.5
# Tied routing is rounded to multiples of the first number, up to plus or minus the second.
_LEVEL_STEP, _LARGEST_LEVEL = 0.5, 2.0


def make_routing_data(
    n_samples: int = 2000,
    *,
    effect: str = "none",
    strength: float = 0.05,
    correlation: float = 0.0,
    overconfidence: float = 0.4,
    curve: str = "temperature",
    n_layers: int | None = None,
    n_noise_features: int = 0,
    n_classes: int | None = None,
    ties: bool = False,
    random_state: object = None,
) -> Any:
    """Simulate a model whose routing does, or does not, say more than its confidence.

    Parameters
    ----------
    n_samples : int, default=2000
        Number of independent rows, at least 1.
    effect : {"none", "step", "linear", "u_shape", "crossing", "one_bin", "tail"}, default="none"
        How P(event | confidence, routing) depends on u, the rank in (-1, 1) of the first routing
        feature among rows of equal confidence: not at all; up above the median and down below;
        in proportion; up at both ends; in proportion, but with opposite sign in the less and the
        more confident half; a step in one fifteenth of the rows only; down in the top tenth.
    strength : float, default=0.05
        Largest change of the probability, in [0, 1]. Where it would change the rate of hits or
        of errors by more than 80 % of itself, it is scaled down.
    correlation : float, default=0.0
        Correlation of each routing feature with the normal score of the confidence, in (-1, 1).
    overconfidence : float, default=0.4
        P(event | confidence) = sigmoid(logit(confidence) / (1 + overconfidence)), above -1; 0 is
        a calibrated model, 0.4 one with an ECE of 4 %.
    curve : {"temperature", "waves"}, default="temperature"
        P(event | confidence) as above, or with 2 sin(logit(confidence)) added inside the
        sigmoid: no longer monotone, and far from a line in the log-odds.
    n_layers : int, default=None
        If given, at least 2: the routing starts with a profile of this many layers, standardised
        entropies of which any two correlate 0.5 among rows of equal confidence. The effect is
        carried by one direction, late layers against early ones; u is the rank of
        ``routing[:, :n_layers] @ direction``. The mean over the layers knows nothing of it.
    n_noise_features : int, default=0
        Further routing features, equally correlated with the confidence, without any effect.
    n_classes : int, default=None
        If given, at least 2: logits and labels are returned, and the event is that the class
        with the largest logit is right.
    ties : bool, default=False
        If True, the confidence is rounded to half precision, about a fifth of it to exactly 1,
        and single routing features to nine levels. Layers of a profile are left as they are.
    random_state : int, RandomState, Generator or None, default=None
        Source of all draws.

    Returns
    -------
    data : sklearn.utils.Bunch
        `confidence` (n_samples,), `routing` (n_samples, n_features), `feature_names`,
        `y` (0/1, did the event happen), `probability` (the true P(event | confidence, routing)),
        `calibrated` (the true P(event | confidence)) and `description`. With `n_layers` also
        `direction` (n_layers,). With `n_classes` also `logits` (n_samples, n_classes) and
        `labels` (0 to n_classes - 1); the softmax of the logits has `confidence` as its largest
        entry.

    Raises
    ------
    ValueError
        If a number is out of range or an option is unknown.
    TypeError
        If a number is of the wrong kind.

    See Also
    --------
    make_routing_runs : Several such models on one test set.
    make_degenerate_features : Routing that the confidence determines.
    load_routing_demo : A real model with a planted and a null feature.

    Notes
    -----
    The confidence is a + (1 - a) sigmoid(2.3 + 3 x) with x standard normal, a = 0.4 (0.5 for two
    classes): about half of the rows lie above 0.93, as those of an over-trained classifier do.
    With `ties` it is steeper, sigmoid(2.75 + 6 x). Whatever the effect, `probability` averages
    to `calibrated` among rows of equal confidence.

    Names that such situations go by, and what makes them:

    ==================================  ====================================================
    calibrated model                    ``overconfidence=0``
    smooth effect                       ``effect="linear"``
    effect that changes its sign        ``effect="crossing"``
    effect in one sparse bin            ``effect="one_bin"``
    effect without a trend              ``effect="u_shape"``
    effect in a tail                    ``effect="tail"``
    confounded routing, no effect       ``correlation=0.9``
    effect only a profile shows         ``effect="linear", n_layers=6``
    capacity trap                       ``curve="waves", correlation=0.6, n_layers=6``
    heavy ties                          ``ties=True``
    degenerate routing                  :func:`make_degenerate_features`
    several seeds, one test set         :func:`make_routing_runs`
    ==================================  ====================================================

    In the capacity trap a network that reads confidence and profile beats a logistic regression
    on the confidence, as any flexible function of the confidence alone does; routing says
    nothing.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> data = make_routing_data(1000, effect="step", n_noise_features=2, random_state=0)
    >>> data.routing.shape, data.feature_names
    ((1000, 3), ['routing', 'noise_1', 'noise_2'])
    """
    from sklearn.utils import Bunch

    n = check_integer("n_samples", n_samples, low=1)
    shape = EFFECTS[check_option("effect", effect, EFFECTS)]
    strength = check_number("strength", strength, low=0, high=1)
    correlation = check_number("correlation", correlation, low=-1, high=1, strict=True)
    overconfidence = check_number("overconfidence", overconfidence, low=-1, strict=True)
    curve = check_option("curve", curve, CURVES)
    n_layers = None if n_layers is None else check_integer("n_layers", n_layers, low=2)
    n_noise = check_integer("n_noise_features", n_noise_features, low=0)
    n_classes = None if n_classes is None else check_integer("n_classes", n_classes, low=2)
    rng, class_rng = as_generator(random_state).spawn(2)
    score, noise = (
        rng.standard_normal(n),
        rng.standard_normal((n, (n_layers or 1) + n_noise)),
    )
    make_confidence = tied_confidence if ties else smooth_confidence
    confidence = make_confidence(score, 0.5 if n_classes == 2 else 0.4)
    extra, carrier = {}, noise[:, 0]
    if n_layers is not None:
        noise[:, :n_layers], carrier, extra["direction"] = _profile(noise[:, :n_layers], rng)
    routing = correlation * confidence.score[:, None] + np.sqrt(1 - correlation**2) * noise
    moved = shape.shape(2 * ndtr(carrier) - 1)
    if ties:
        routing[:, n_layers or 0 :] = _in_levels(routing[:, n_layers or 0 :])
        if n_layers is None:
            moved = _moved_by_levels(shape, routing[:, 0], confidence.score, correlation)
    calibrated = confidence.event_rate(curve, overconfidence)
    size = bounded(strength, calibrated) * shape.place(ndtr(confidence.score))
    probability = calibrated + size * moved
    y = (rng.random(n) < probability).astype(np.int64)
    if n_classes is not None:
        extra |= class_columns(confidence.not_one, y, n_classes, class_rng)
    return Bunch(
        confidence=confidence.value,
        routing=routing,
        feature_names=_feature_names(n_layers, n_noise),
        y=y,
        probability=probability,
        calibrated=calibrated,
        description=f"Simulated model, {n} rows, effect {effect!r} of strength {strength:g}.",
        **extra,
    )


def _feature_names(n_layers: int | None, n_noise: int) -> list[str]:
    first = ["routing"] if n_layers is None else [f"layer_{k}" for k in range(1, n_layers + 1)]
    return [*first, *(f"noise_{k}" for k in range(1, n_noise + 1))]


def _profile(
    own: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return correlated layers, the standard normal part that carries the effect, its direction."""
    common = rng.standard_normal((len(own), 1))
    direction = np.linspace(-1, 1, own.shape[1])
    direction /= np.linalg.norm(direction)
    layers = np.sqrt(_BETWEEN_LAYERS) * common + np.sqrt(1 - _BETWEEN_LAYERS) * own
    # the direction sums to zero, so the common part and the confidence drop out
    return layers, own @ direction, direction


def _in_levels(routing: FloatArray) -> FloatArray:
    level = np.round(routing / _LEVEL_STEP) * _LEVEL_STEP
    return np.clip(level, -_LARGEST_LEVEL, _LARGEST_LEVEL)


def _moved_by_levels(
    effect: Effect, level: FloatArray, score: FloatArray, correlation: float
) -> FloatArray:
    """Return the mean effect of all the ranks that share a level of routing and a confidence."""
    low = np.where(level == -_LARGEST_LEVEL, -np.inf, level - _LEVEL_STEP / 2)
    high = np.where(level == _LARGEST_LEVEL, np.inf, level + _LEVEL_STEP / 2)
    centre, spread = correlation * score, np.sqrt(1 - correlation**2)
    return effect.between(
        2 * ndtr((low - centre) / spread) - 1, 2 * ndtr((high - centre) / spread) - 1
    )
