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
from scipy.special import log_softmax

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
    below = logits - logits.max(axis=1, keepdims=True)
    if method == "temperature":
        beta, clipped = inverse_temperature_for_top(below, top)
        return beta[:, None] * below, clipped
    winner = np.arange(len(logits)), logits.argmax(axis=1)
    others = np.zeros_like(below) if method == "uniform" else below
    others[winner] = -np.inf
    lifted = log_softmax(others, axis=1) + np.log1p(-top)[:, None]
    lifted[winner] = np.log(top)
    return lifted, np.zeros(len(logits), dtype=bool)
