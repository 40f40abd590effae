"""The table of a bandwidth sensitivity, and what it says in one word."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_arcal._validation import import_optional
from sk_arcal.diagnostics._probing._paired import Difference
from sk_arcal.diagnostics._probing._probe_score import difference_text, flat_record

ORACLE = "oracle: global ECE"
# From Scott's rule upwards: narrower kernels have few rows in a neighbourhood, and may lose a real
# gain to their noise.
_CORE = (1.0, 4.0)


@dataclass(frozen=True)
class BandwidthRule:
    """The confidence-only and the feature probe under one rule for their bandwidths.

    Part of :class:`BandwidthSensitivity`. Calibration errors have 15 bins of equal width.

    Attributes
    ----------
    rule : str
        Name of the rule.
    leaks : bool
        Whether it looked at the outcomes it is evaluated on; optimistic by design.
    scott : float
        Multiple of Scott's rule that it dictates; NaN if it picks one.
    confidence_multiples, feature_multiples : tuple of float
        Multiple used in each fold by the confidence-only probe, and by the kernel with the
        feature; infinite where that adds nothing.
    confidence_log_loss, feature_log_loss : float
        Mean log loss of the event, nats.
    confidence_ece, feature_ece : float
        Expected calibration error.
    confidence_worst_ece, feature_worst_ece : float
        Its largest value in a tertile of the feature.
    log_loss_difference : Difference
        Feature minus confidence only, as (estimate, low, high) with a 95 % interval; negative
        means that the feature helps.
    ece_difference : Difference
        The same for the expected calibration error, bias taken off both.
    worst_ece_difference : Difference
        The same for the worst tertile.

    See Also
    --------
    bandwidth_sensitivity : Computes it.
    """

    rule: str
    leaks: bool
    scott: float
    confidence_multiples: tuple[float, ...]
    feature_multiples: tuple[float, ...]
    confidence_log_loss: float
    feature_log_loss: float
    confidence_ece: float
    feature_ece: float
    confidence_worst_ece: float
    feature_worst_ece: float
    log_loss_difference: Difference
    ece_difference: Difference
    worst_ece_difference: Difference


@dataclass(frozen=True, eq=False, repr=False)
class BandwidthSensitivity:
    """What a feature adds to the confidence, under several rules for the bandwidth.

    Returned by :func:`bandwidth_sensitivity`. Printing it shows one line per rule.

    Attributes
    ----------
    rules : tuple of BandwidthRule
        Multiples of Scott's rule, cross-validated and leave-one-out log loss, and the oracle.
    estimator : {"residual", "published"}
        What was fitted.
    n_samples : int
        Rows used.

    See Also
    --------
    bandwidth_sensitivity : Computes it.
    """

    rules: tuple[BandwidthRule, ...]
    estimator: str
    n_samples: int

    @property
    def robust(self) -> bool:
        """Whether the feature lowers the log loss under every rule that does not leak.

        Only the sign of the difference counts, so this alone is no evidence of a signal.
        """
        return all(rule.log_loss_difference.estimate < 0 for rule in self.rules if not rule.leaks)

    @property
    def gain_survives(self) -> bool:
        """Whether a gain holds wherever it has to.

        True if the difference in log loss is negative under every multiple of Scott's rule from 1
        to 4 and under both rules that pick one, and its interval lies below zero under at least
        one of these. A gain that only one bandwidth shows does not pass, nor does one within its
        noise everywhere.
        """
        low, high = _CORE
        held = [
            rule.log_loss_difference
            for rule in self.rules
            if not rule.leaks and (np.isnan(rule.scott) or low <= rule.scott <= high)
        ]
        return all(one.estimate < 0 for one in held) and any(one.high < 0 for one in held)

    def to_frame(self) -> Any:
        """Return one row per rule.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_rules, n_fields)
            Differences as three columns each: the estimate, `_low` and `_high`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="BandwidthSensitivity.to_frame")
        return pandas.DataFrame([flat_record(rule) for rule in self.rules])

    def __repr__(self) -> str:
        width = max(len(rule.rule) for rule in self.rules)
        titles = ("k conf.", "k feature", "worst conf.", "worst feat.")
        head = f"{'':{width}}  {'  '.join(f'{title:>11}' for title in titles)}  log loss change"
        what = f"{self.n_samples} rows, {self.estimator} estimator; negative is better"
        lines = [f"{rule.rule:{width}}  {_line(rule)}" for rule in self.rules]
        verdict = f"robust: {self.robust}, gain survives: {self.gain_survives}"
        return "\n".join([f"BandwidthSensitivity: {what}", head, *lines, verdict])


def _line(rule: BandwidthRule) -> str:
    cells = [_multiples(rule.confidence_multiples), _multiples(rule.feature_multiples)]
    cells += [f"{rule.confidence_worst_ece:.4f}", f"{rule.feature_worst_ece:.4f}"]
    leaks = "  (leaks)" if rule.leaks else ""
    shown = "  ".join(f"{cell:>11}" for cell in cells)
    return f"{shown}  {difference_text(rule.log_loss_difference)}{leaks}"


def _multiples(values: tuple[float, ...]) -> str:
    """Return the multiples of the folds, once where they agree; a dash where a kernel is off."""
    shown = [f"{value:g}" if np.isfinite(value) else "-" for value in values]
    return shown[0] if len(set(shown)) == 1 else "/".join(shown)
