"""From a calibrated top-label confidence to a probability for every class.

A top-label method says how likely the top class is; the lift spreads what is left.

``"temperature"``
    The one temperature of this row at which its top class has probability c'. Ranking, and hence
    accuracy, never change; c' below 1/K is out of reach and is clipped there.
``"proportional"``
    The other classes keep their proportions, :math:`p'_k = p_k (1 - c') / (1 - c)`. Right when a
    small c' really means that the runner-up is likelier; the top class may change.
``"uniform"``
    The other classes share :math:`1 - c'` equally. The top class may change when c' < 1/K.
"""

import numpy as np
from scipy.special import softmax

from sk_arcal._numeric import inverse_temperature_for_top
from sk_arcal._validation import FloatArray

LIFTS = ("temperature", "proportional", "uniform")

# Keeps logarithms finite where a calibrated confidence is 0 or 1 to rounding.
_SMALLEST = 1e-12


def lift_top_label(logits: FloatArray, top_probability: FloatArray, method: str) -> tuple:
    """Return logits whose top class has the given probability.

    Parameters
    ----------
    logits : ndarray of shape (n_samples, n_classes)
        Class scores before calibration; their largest entry is the top class.
    top_probability : ndarray of shape (n_samples,)
        Calibrated confidence c' of the top class, in [0, 1].
    method : {"temperature", "proportional", "uniform"}
        How the rest is spread.

    Returns
    -------
    lifted : ndarray of shape (n_samples, n_classes)
        Calibrated logits.
    clipped : ndarray of bool of shape (n_samples,)
        Rows that could not reach c' ("temperature" only).
    """
    top = np.clip(top_probability, _SMALLEST, 1 - _SMALLEST)
    if method == "temperature":
        beta, clipped = inverse_temperature_for_top(logits, top)
        return beta[:, None] * logits, clipped
    winner = logits.argmax(axis=1)
    others = np.ones_like(logits) if method == "uniform" else softmax(logits, axis=1)
    others[np.arange(len(logits)), winner] = 0
    others = np.maximum(others, _SMALLEST)
    others[np.arange(len(logits)), winner] = 0
    lifted = others * ((1 - top) / others.sum(axis=1))[:, None]
    lifted[np.arange(len(logits)), winner] = top
    return np.log(lifted), np.zeros(len(logits), dtype=bool)
