"""The law of the confidence of a simulated model, and how often it is right at each confidence.

The confidence is a + (1 - a) sigmoid(m + s x), with x standard normal: the *score*. m = 2.3 and
s = 3 put about half of the rows above 0.93, as an over-trained classifier does; m = 2.75 and s = 6
put about a fifth so near to 1 that half precision rounds them to it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from sk_arcal._validation import FloatArray

# Half precision rounds what is nearer to one than this to one.
_SATURATED = 2**-12
_BELOW_ONE = 1 - 2**-53

# log-odds of P(event | confidence) as a function of the log-odds of the confidence and of 1 + o
CURVES = {
    "temperature": lambda log_odds, temperature: log_odds / temperature,
    "waves": lambda log_odds, temperature: log_odds / temperature + 2 * np.sin(log_odds),
}


@dataclass(frozen=True)
class Confidence:
    """Confidence of rows, and what stands for it where one is needed that is not exactly one.

    `value` is the confidence, `inside` the same strictly inside (0, 1), and `score` its normal
    score x; of rounded confidence, the score that the value stands for.
    """

    value: FloatArray
    score: FloatArray
    inside: FloatArray

    @property
    def not_one(self) -> FloatArray:
        """The confidence, kept a last bit below one where it is one."""
        return np.minimum(self.value, _BELOW_ONE)

    def event_rate(self, curve: str, overconfidence: float) -> FloatArray:
        """Return P(event | confidence)."""
        return expit(CURVES[curve](logit(self.inside), 1 + overconfidence))


def smooth_confidence(score: FloatArray, lowest: float) -> Confidence:
    """Return confidence without ties; `lowest` is a."""
    value = np.minimum(lowest + (1 - lowest) * expit(2.3 + 3 * score), _BELOW_ONE)
    return Confidence(value, score, value)


def tied_confidence(score: FloatArray, lowest: float) -> Confidence:
    """Return confidence in half precision, about a fifth of it exactly one."""
    smooth = lowest + (1 - lowest) * expit(2.75 + 6 * score)
    least = np.nextafter(np.float16(lowest), np.float16(1))
    value = np.maximum(smooth.astype(np.float16), least).astype(np.float64)
    inside = np.minimum(value, 1 - _SATURATED)
    # A truth that is a function of the rounded confidence must not see the score behind it.
    seen = (logit((inside - lowest) / (1 - lowest)) - 2.75) / 6
    return Confidence(value, seen, inside)
