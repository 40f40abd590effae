r"""How good a probe is, and how much better than another one on the same rows.

Log loss and Brier score are means over rows: their differences get a clustered paired standard
error. A calibration error is biased upwards; the difference of two over all rows is that of
:func:`~sk_arcal.metrics.calibration_error_difference`, which corrects both members.

The error of the worst stratum, :math:`\max_t \sum_b |G_{tb}| / n_t`, is compared by bootstrap.
With :math:`D` the deviation of a gap :math:`G` in a sample of rows, or groups, two corrections err
on opposite sides,

.. math:: \textstyle\sum_b \big(2 |G_b| - \mathrm{E} |G_b + D_b|\big), \qquad
    \textstyle\sum_b \mathrm{E}\big[|G_b| \text{ if } |D_b| < |G_b| \text{ else } -|D_b|\big],

and the corrected error is half-way between them, as in
:func:`~sk_arcal.metrics.calibration_error_interval`, the maximum over strata taken of each. The
difference of two probes is that of their corrected errors; its interval reaches 1.96 standard
deviations of the resampled difference beyond the smallest and the largest of the differences in
the plain error and in either correction.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._confidence_bins import IntArray
from sk_arcal.diagnostics._probing._paired import Z_95, Difference, clustered_difference
from sk_arcal.diagnostics._probing._probe_kernel import row_log_loss
from sk_arcal.diagnostics._probing._probe_rows import ProbeRows
from sk_arcal.metrics._binning import bin_codes
from sk_arcal.metrics._difference import calibration_error_difference

N_BINS = 15


@dataclass(frozen=True, eq=False)
class ErrorDraws:
    """A calibration error: as it stands, corrected by too little and by too much, resampled."""

    value: float
    above: float
    below: float
    draws: FloatArray


@dataclass(frozen=True, eq=False)
class Scored:
    """What the comparison with another probe needs."""

    prediction: FloatArray
    log_loss: FloatArray
    brier: FloatArray
    ece: float
    worst_ece: ErrorDraws


class Scorer:
    """Scores of any number of probes on the same rows, strata and bootstrap samples.

    Parameters
    ----------
    rows : ProbeRows
        Outcomes, groups (drawn together) and folds.
    strata : ndarray of shape (n_samples,)
        Code of each row's stratum.
    n_resamples : int
        Bootstrap samples.
    rng : numpy Generator
        Draws them.
    """

    def __init__(
        self, rows: ProbeRows, strata: IntArray, n_resamples: int, rng: np.random.Generator
    ) -> None:
        self.event, self.strata = rows.event, strata
        self._cluster = np.unique(rows.cluster, return_inverse=True)[1]
        # What the rows behind a prediction cannot tell from 0 and 1, the log loss does not count.
        self._n_fitted = (len(rows.fold) - np.bincount(rows.fold))[rows.fold].astype(np.float64)
        self._n_strata = int(strata.max()) + 1
        n_clusters = int(self._cluster.max()) + 1
        drawn = rng.integers(n_clusters, size=(n_resamples, n_clusters))
        # The first line is the data itself.
        copies = [np.bincount(line, minlength=n_clusters) for line in drawn]
        self._copies = np.vstack([np.ones(n_clusters), *copies])
        sizes = self._drawn(np.ones(len(strata)), strata, self._n_strata)
        self._sizes = np.maximum(sizes, 1)
        self._groups = rows.cluster if n_clusters < len(rows.event) else None
        self._settings: dict[str, Any] = {
            "n_resamples": n_resamples,
            "random_state": int(rng.integers(2**32)),
        }

    def score(self, prediction: FloatArray) -> Scored:
        """Return the losses of every row and the calibration errors."""
        event = self.event
        code = bin_codes(prediction, np.linspace(0, 1, N_BINS + 1))
        cells = self._n_strata * N_BINS
        gaps = self._drawn(prediction - event, self.strata * N_BINS + code, cells)
        gaps = gaps.reshape(-1, self._n_strata, N_BINS)
        return Scored(
            prediction,
            row_log_loss(event, prediction, self._n_fitted),
            (prediction - event) ** 2,
            float(np.abs(gaps[0].sum(axis=0)).sum() / len(event)),
            _worst_error(gaps, self._sizes),
        )

    def differences(self, probe: Scored, reference: Scored) -> dict[str, Any]:
        """Return the probe minus the reference, score by score; negative is better."""
        log_loss, brier = probe.log_loss - reference.log_loss, probe.brier - reference.brier
        return {
            "log_loss_difference": clustered_difference(log_loss, self._cluster),
            "brier_difference": clustered_difference(brier, self._cluster),
            "ece_difference": self._ece_difference(probe, reference),
            "worst_ece_difference": error_difference(probe.worst_ece, reference.worst_ece),
        }

    def _ece_difference(self, probe: Scored, reference: Scored) -> Difference:
        pair = probe.prediction, reference.prediction
        found = calibration_error_difference(
            self.event, *pair, groups=self._groups, n_bins=N_BINS, **self._settings
        )
        return Difference(found.corrected, found.low, found.high)

    def _drawn(self, values: FloatArray, cells: IntArray, n_cells: int) -> FloatArray:
        """Sum values in each cell, for the data and then for every bootstrap sample."""
        shape = (self._copies.shape[1], n_cells)
        by_cluster = sparse.csr_array((values, (self._cluster, cells)), shape=shape)
        return np.asarray(self._copies @ by_cluster)


def _worst_error(gaps: FloatArray, sizes: FloatArray) -> ErrorDraws:
    """Largest error of a stratum, from gaps (1 + n_resamples, n_strata, n_bins) and sizes."""
    errors = (np.abs(gaps).sum(axis=2) / sizes).max(axis=1)
    gap, deviation = np.abs(gaps[0]), np.abs(gaps[1:] - gaps[0])
    above = 2 * gap - np.abs(gaps[1:]).mean(axis=0)
    below = np.where(deviation < gap, gap, -deviation).mean(axis=0)
    return ErrorDraws(
        float(errors[0]),
        float((above.sum(axis=1) / sizes[0]).max()),
        float((below.sum(axis=1) / sizes[0]).max()),
        errors[1:],
    )


def error_difference(probe: ErrorDraws, reference: ErrorDraws) -> Difference:
    """Return the probe minus the reference, corrected, with the interval described above."""
    plain = probe.value - reference.value
    above, below = probe.above - reference.above, probe.below - reference.below
    half = Z_95 * float((probe.draws - reference.draws).std(ddof=1))
    ends = (plain, above, below)
    return Difference((above + below) / 2, min(ends) - half, max(ends) + half)
