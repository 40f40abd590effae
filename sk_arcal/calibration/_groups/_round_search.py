"""How many rounds of patches, by cross-validation.

In-sample every patch looks good, so the number of rounds is the one of the lowest held-out log
loss, and none unless that gains more than a number of standard errors of the paired difference.
"""

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from scipy.special import log_expit

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._adversary._dealt_folds import deal, is_divisible
from sk_arcal.calibration._groups._patching import PatchedRows, Patching, boost

# A straight line beyond; squares of what is larger overflow.
_LARGEST_LOG_ODDS = 100.0
# Rounds that bring less than this share of the gain are not worth a line of the record.
_NEGLIGIBLE_SHARE = 1e-4


@dataclass(frozen=True, slots=True)
class RoundLosses:
    """Held-out losses after every number of rounds.

    Attributes
    ----------
    losses : ndarray of shape (1 + max_iter,)
        Mean log loss of the event, nats; NaN where nothing could be held out.
    gains : ndarray of shape (1 + max_iter,)
        How much lower than after no round.
    errors : ndarray of shape (1 + max_iter,)
        Their standard errors.
    """

    losses: FloatArray
    gains: FloatArray
    errors: FloatArray

    def choose(self, n_standard_errors: float) -> int:
        """Return the number of rounds, 0 unless it gains so many standard errors."""
        best = int(self.gains.argmax())
        if not self.gains[best] > n_standard_errors * self.errors[best]:
            return 0
        enough = self.gains >= (1 - _NEGLIGIBLE_SHARE) * self.gains[best]
        return int(np.flatnonzero(enough)[0])


def cross_validate(rows: PatchedRows, patching: Patching, n_folds: int) -> RoundLosses:
    """Patch without each fold in turn and look at its loss.

    Parameters
    ----------
    rows : PatchedRows
        Distinct rows, sorted.
    patching : Patching
        How cells are patched.
    n_folds : int
        Number of folds.

    Returns
    -------
    found : RoundLosses
        After 0 to `max_iter` rounds.
    """
    parts = deal(rows.weight, n_folds)
    if not is_divisible(parts):
        nothing = np.zeros(1)
        return RoundLosses(np.full(1, np.nan), nothing, nothing)
    found = Parallel()(delayed(_held_out)(rows, part, patching) for part in parts)
    total = rows.weight.sum()
    gains = sum(gain for gain, _ in found) / total
    squares = sum(square for _, square in found) / total
    errors = np.sqrt(np.maximum(squares - gains**2, 0) / total)
    before = rows.weight @ _log_loss(rows.log_odds, rows.event) / total
    return RoundLosses(before - gains, gains, errors)


def _held_out(
    rows: PatchedRows, part: FloatArray, patching: Patching
) -> tuple[FloatArray, FloatArray]:
    """Return the weighted sums of gains and of squared gains after every number of rounds."""
    rest = rows.weight - part
    # What is left of a weight dealt in fractions may be rounding.
    kept, held = np.flatnonzero(rest > 1e-9 * rows.weight), np.flatnonzero(part > 0)
    train, test = rows.take(kept, rest[kept]), rows.take(held, part[held])
    sums, log_odds = np.zeros((2, 1 + patching.max_iter)), test.log_odds
    before = _log_loss(log_odds, test.event)
    for place, patch in enumerate(boost(train, patching) if len(kept) else (), start=1):
        log_odds = patch.apply(log_odds, test.codes)
        gain = before - _log_loss(log_odds, test.event)
        # Where the violations run out the remaining rounds change nothing.
        sums[:, place:] = [[test.weight @ gain], [test.weight @ gain**2]]
    return sums[0], sums[1]


def _log_loss(log_odds: FloatArray, event: FloatArray) -> FloatArray:
    within = np.clip(log_odds, -_LARGEST_LOG_ODDS, _LARGEST_LOG_ODDS)
    return -log_expit(np.where(event == 1, within, -within))
