"""Routing features that the confidence determines, so that no test can answer for them."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_number,
    check_probabilities,
)


def make_degenerate_features(
    confidence: ArrayLike, *, noise: float = 1e-6, random_state: object = None
) -> dict[str, FloatArray]:
    """Make routing features of which a test should say that the question has no answer.

    Whether a feature says more than the confidence can only be asked of rows that agree in the
    confidence and differ in the feature. These features leave no such rows.

    Parameters
    ----------
    confidence : array-like of shape (n_samples,)
        Confidence, in [0, 1], simulated or real.
    noise : float, default=1e-6
        Standard deviation of the noise of the last feature, in nats, at least 0. With more of it
        the feature comes to leave something open, and the question to have an answer.
    random_state : int, RandomState, Generator or None, default=None
        Source of the noise.

    Returns
    -------
    features : dict of str to ndarray of shape (n_samples,)
        - `constant`: one value in all rows.
        - `copy`: falls in a straight line with the confidence.
        - `entropy`: the binary entropy of the confidence in nats, a function of it that is not
          monotone.
        - `noisy_entropy`: the same plus normal noise.

    Raises
    ------
    ValueError
        If a confidence is not in [0, 1] or `noise` is negative.
    TypeError
        If the confidence does not hold numbers, or `noise` is none.

    See Also
    --------
    make_routing_data : Features that do leave something open.

    Examples
    --------
    >>> from sk_arcal.datasets import make_degenerate_features, make_routing_data
    >>> data = make_routing_data(1000, random_state=0)
    >>> list(make_degenerate_features(data.confidence, random_state=0))
    ['constant', 'copy', 'entropy', 'noisy_entropy']
    """
    probability = check_probabilities(confidence, "confidence")
    noise = check_number("noise", noise, low=0)
    entropy = entr(probability) + entr(1 - probability)
    blur = as_generator(random_state).standard_normal(len(probability))
    return {
        "constant": np.full(len(probability), 0.5),
        "copy": 1 - probability,
        "entropy": entropy,
        "noisy_entropy": entropy + noise * blur,
    }
