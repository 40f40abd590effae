"""Data with a known answer: simulated routing, and a small real model for the demo."""

from typing import Any

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_number,
    check_option,
)

__all__ = ["load_routing_demo", "make_routing_data"]

# largest |shape(u)| is one; each shape averages to zero over u uniform on (-1, 1)
_SHAPES = {
    "none": lambda u, t: np.zeros_like(u),
    "step": lambda u, t: np.sign(u),
    "linear": lambda u, t: u,
    "u_shape": lambda u, t: (3 * u**2 - 1) / 2,
    "crossing": lambda u, t: u * np.sign(0.5 - t),
    "one_bin": lambda u, t: np.sign(u) * (np.abs(t - 0.3) < 1 / 30),
    "tail": lambda u, t: np.where(u > 0.8, -1.0, 1 / 9),
}
# An effect never changes the rate of hits or of errors by more than this share of itself.
_LARGEST_CHANGE = 0.8


def make_routing_data(
    n_samples: int = 2000,
    *,
    effect: str = "none",
    strength: float = 0.05,
    correlation: float = 0.0,
    overconfidence: float = 0.4,
    n_noise_features: int = 0,
    n_classes: int | None = None,
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
    n_noise_features : int, default=0
        Further routing features, equally correlated with the confidence, without any effect.
    n_classes : int, default=None
        If given, at least 2: logits and labels are returned, and the event is that the class
        with the largest logit is right.
    random_state : int, RandomState, Generator or None, default=None
        Source of all draws.

    Returns
    -------
    data : sklearn.utils.Bunch
        `confidence` (n_samples,), `routing` (n_samples, 1 + n_noise_features), `feature_names`,
        `y` (0/1, did the event happen), `probability` (the true P(event | confidence, routing)),
        `calibrated` (the true P(event | confidence)) and `description`. With `n_classes` also
        `logits` (n_samples, n_classes) and `labels` (0 to n_classes - 1); the softmax of the
        logits has `confidence` as its largest entry.

    Raises
    ------
    ValueError
        If a number is out of range or `effect` is unknown.
    TypeError
        If a number is of the wrong kind.

    See Also
    --------
    load_routing_demo : A real model with a planted and a null feature.

    Notes
    -----
    The confidence is a + (1 - a) sigmoid(2.3 + 3 x) with x standard normal, a = 0.4 (0.5 for two
    classes): about half of the rows lie above 0.93, as those of an over-trained classifier do.
    Whatever the effect, `probability` averages to `calibrated` among rows of equal confidence.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> data = make_routing_data(1000, effect="step", n_noise_features=2, random_state=0)
    >>> data.routing.shape, data.feature_names
    ((1000, 3), ['routing', 'noise_1', 'noise_2'])
    """
    from sklearn.utils import Bunch

    n = check_integer("n_samples", n_samples, low=1)
    shape = _SHAPES[check_option("effect", effect, _SHAPES)]
    strength = check_number("strength", strength, low=0, high=1)
    correlation = check_number("correlation", correlation, low=-1, high=1, strict=True)
    overconfidence = check_number("overconfidence", overconfidence, low=-1, strict=True)
    n_features = 1 + check_integer("n_noise_features", n_noise_features, low=0)
    n_classes = None if n_classes is None else check_integer("n_classes", n_classes, low=2)
    rng, class_rng = as_generator(random_state).spawn(2)
    score, noise = rng.standard_normal(n), rng.standard_normal((n, n_features))
    lowest = 0.5 if n_classes == 2 else 0.4
    # the last bit below one keeps the logit finite
    confidence = np.minimum(lowest + (1 - lowest) * expit(2.3 + 3 * score), 1 - 2**-53)
    calibrated = expit(logit(confidence) / (1 + overconfidence))
    size = np.minimum(strength, _LARGEST_CHANGE * np.minimum(calibrated, 1 - calibrated))
    probability = calibrated + size * shape(2 * ndtr(noise[:, 0]) - 1, ndtr(score))
    y = (rng.random(n) < probability).astype(np.int64)
    data = Bunch(
        confidence=confidence,
        routing=correlation * score[:, None] + np.sqrt(1 - correlation**2) * noise,
        feature_names=["routing", *(f"noise_{k}" for k in range(1, n_features))],
        y=y,
        probability=probability,
        calibrated=calibrated,
        description=f"Simulated model, {n} rows, effect {effect!r} of strength {strength:g}.",
    )
    if n_classes is not None:
        data.update(_class_columns(confidence, y, n_classes, class_rng))
    return data


def _class_columns(
    confidence: FloatArray, y: FloatArray, n_classes: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Spread each confidence over classes, and draw a label that is the top class where y = 1."""
    n = len(confidence)
    # a little of each class, so that no logit is infinite
    rest = 0.999 * rng.dirichlet(np.ones(n_classes - 1), n) + 0.001 / (n_classes - 1)
    # equal shares where another class would come close to the top one
    largest = rest.max(axis=1) * (1 - confidence)
    too_large = (largest >= 0.98 * confidence)[:, None]
    rest = np.where(too_large, 1 / (n_classes - 1), rest)
    top = rng.integers(n_classes, size=n)
    other = (rng.random(n)[:, None] > np.cumsum(rest, axis=1)[:, :-1]).sum(axis=1)
    logits = np.empty((n, n_classes))
    # class k of row i is `top[i]` plus k + 1 places round the circle
    places = (top[:, None] + 1 + np.arange(n_classes - 1)) % n_classes
    np.put_along_axis(logits, places, np.log((1 - confidence)[:, None] * rest), axis=1)
    np.put_along_axis(logits, top[:, None], np.log(confidence)[:, None], axis=1)
    labels = np.where(y == 1, top, np.take_along_axis(places, other[:, None], axis=1)[:, 0])
    return {"logits": logits, "labels": labels}


def load_routing_demo(*, random_state: object = 0) -> Any:
    """Load real logits with one feature that knows more than the confidence and one that does not.

    A softmax regression reads scikit-learn's handwritten digits through heavy pixel noise. Every
    row is predicted by a model that was fitted without it, so all 1797 rows are test rows. The
    model is real, and overconfident as networks are; the two routing features are made up, so
    that the right verdicts are known.

    Parameters
    ----------
    random_state : int, RandomState, Generator or None, default=0
        Source of the pixel noise, the folds and the features.

    Returns
    -------
    data : sklearn.utils.Bunch
        `logits` (1797, 10), `y` (digits 0 to 9), `routing` (1797, 2), `feature_names` and
        `description`. The features are

        - `planted`: +1/2 where the model is right and -1/2 where it is wrong, plus standard
          normal noise. It is made from the truth and must come out as a signal.
        - `null`: follows the confidence (correlation 0.7 with its normal score), and says
          nothing else. It must not come out as a signal.

    Raises
    ------
    ValueError
        If `random_state` is a negative number.
    TypeError
        If `random_state` cannot seed a generator.

    See Also
    --------
    make_routing_data : Simulated data of any size.

    Notes
    -----
    64 pixels in [0, 1] plus normal noise of standard deviation 0.25; weak penalty (C = 30), hence
    the overconfidence; five-fold cross-fitting. With the default seed the accuracy is 84 % and
    the top-label ECE 9.8 % (15 equal-width bins). It takes about a second.

    Examples
    --------
    >>> from sk_arcal.datasets import load_routing_demo
    >>> demo = load_routing_demo()
    >>> demo.logits.shape, demo.feature_names
    ((1797, 10), ['planted', 'null'])
    """
    from scipy.special import softmax
    from sklearn.datasets import load_digits
    from sklearn.utils import Bunch

    rng = as_generator(random_state)
    images, digits = load_digits(return_X_y=True)
    pixels = images / 16 + 0.25 * rng.standard_normal(images.shape)
    logits = _cross_fitted_logits(pixels, digits, int(rng.integers(2**31)))
    confidence = softmax(logits, axis=1).max(axis=1)
    right = logits.argmax(axis=1) == digits
    noise = rng.standard_normal((2, len(digits)))
    rank = np.argsort(np.argsort(confidence, kind="stable"), kind="stable")
    score = ndtri((rank + 0.5) / len(rank))
    routing = np.column_stack([right - 0.5 + noise[0], 0.7 * score + np.sqrt(0.51) * noise[1]])
    return Bunch(
        logits=logits,
        y=digits,
        routing=routing,
        feature_names=["planted", "null"],
        description=(
            "Handwritten digits under pixel noise, read by a softmax regression (real logits, "
            "cross-fitted). 'planted' is made from the truth plus noise; 'null' follows the "
            "confidence only."
        ),
    )


def _cross_fitted_logits(pixels: FloatArray, digits: FloatArray, seed: int) -> FloatArray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    logits = np.empty((len(digits), 10))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(pixels, digits):
        model = LogisticRegression(C=30, max_iter=2000).fit(pixels[train], digits[train])
        logits[test] = model.decision_function(pixels[test])
    return logits
