"""The ridge of an adversarial map, by cross-validation.

The ridge is what keeps a map from answering to noise. Infinity is a candidate: the plain
temperature. Held-out log loss under the plain weights decides, since the adversary of held-out rows
would be guesswork; a finite ridge has to gain more than a number of standard errors of the paired
difference.
"""

import numpy as np
from joblib import Parallel, delayed

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._adversary._adversarial_training import Training
from sk_arcal.calibration._adversary._dealt_folds import deal, is_divisible

RIDGES = (1.0, 0.2, 0.04, 0.008, 0.0016)


def search_ridge(training: Training, n_folds: int, n_standard_errors: float) -> float:
    """Choose the strength of the ridge.

    Parameters
    ----------
    training : Training
        All rows.
    n_folds : int
        Number of folds.
    n_standard_errors : float
        What a finite ridge has to gain over the plain temperature.

    Returns
    -------
    ridge : float
        One of `RIDGES`, or infinity.
    """
    weight = training.weight
    parts = deal(weight, n_folds)
    if not is_divisible(parts):
        return np.inf
    found = Parallel()(delayed(_held_out)(training, part) for part in parts)
    total = weight.sum()
    gains = sum(part.sum(axis=1) for part, _ in found) / total
    squares = sum(part.sum(axis=1) for _, part in found) / total
    errors = np.sqrt(np.maximum(squares - gains**2, 0) / total)
    best = int(gains.argmax())
    enough = gains[best] > n_standard_errors * errors[best]
    return RIDGES[best] if enough else np.inf


def _held_out(training: Training, part: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return weighted gains and squared gains over the plain temperature on the rows held out."""
    held = np.flatnonzero(part > 0)
    rest = training.weight - part
    # What is left of a weight dealt in fractions may be rounding.
    kept = np.flatnonzero(rest > 1e-9 * training.weight)
    train = training.take(kept, rest[kept])
    gain = np.zeros((len(RIDGES), len(held)))
    plain = train.plain()
    if plain.cause is None:
        train, test = (
            side.at(plain.temperature) for side in (train, training.take(held, part[held]))
        )
        before = test.losses(test.map.neutral)
        adversary, theta = train.adversary(), train.start()
        for place, ridge in enumerate(RIDGES):
            theta = train.fit(adversary, ridge, theta, rough=True).theta
            gain[place] = before - test.losses(theta)
    return part[held] * gain, part[held] * gain**2
