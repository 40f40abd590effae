"""What the audit says about the layers of a network: a frozen record."""

from dataclasses import dataclass
from typing import Any

from sk_arcal.audit._verdict import CANNOT_TELL, NO_SIGNAL, SIGNAL
from sk_arcal.diagnostics import CalibrationPhases, LayerwiseCalibration

_PHASES = (
    *("plateau_start", "plateau_interval", "peak", "peak_interval", "strength"),
    *("strength_interval", "naive_strength", "accuracy_change", "accuracy_interval"),
    *("tolerance", "level"),
)


@dataclass(frozen=True, eq=False)
class LayersAudit:
    """What the audit found about the layers of a network.

    Part of what :func:`routing_audit` returns where ``layers=True``.

    Attributes
    ----------
    names : tuple of str or int
        The layers, the network's own output last.
    layerwise : LayerwiseCalibration
        Accuracy, confidence and calibration of every layer on the evaluated rows.
    phases : CalibrationPhases or None
        Where accuracy is reached, where calibration is worst, and how much is mended after; None
        if there are too few groups to say.
    features : tuple of str
        Names of the features of depth, which are audited among the features.
    constant : tuple of str
        Those left out because all rows have the same value.
    verdicts : dict of str to tuple of str
        The names in `features` by verdict.

    See Also
    --------
    routing_audit : Makes it.

    Examples
    --------
    Of an audit ``routing_audit(table, layers=True)``, this is ``audit.layers``; here it is made by
    hand, without the audit of the features.

    >>> import numpy as np
    >>> from sk_arcal.audit import LayersAudit
    >>> from sk_arcal.diagnostics import calibration_phases, layerwise_calibration
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(600, 3))
    >>> y = (logits + rng.gumbel(size=(600, 3))).argmax(axis=1)
    >>> scores = np.stack([0 * logits, 4 * logits, logits], axis=1)
    >>> layerwise = layerwise_calibration(y, scores, n_resamples=20, random_state=0)
    >>> phases = calibration_phases(layerwise, n_resamples=20, random_state=0)
    >>> layers = LayersAudit(layerwise.layers, layerwise, phases, (), (), {})
    >>> layers.to_dict()["present"], layers.phases.peak
    (True, 1)
    """

    names: tuple[Any, ...]
    layerwise: LayerwiseCalibration
    phases: CalibrationPhases | None
    features: tuple[str, ...]
    constant: tuple[str, ...]
    verdicts: dict[str, tuple[str, ...]]

    @property
    def ordered_verdicts(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Verdicts on features of depth and their names, signals first."""
        order = (SIGNAL, NO_SIGNAL, CANNOT_TELL)
        return tuple((v, self.verdicts[v]) for v in order if v in self.verdicts)

    @property
    def summary(self) -> str:
        """What was found about the phases of calibration, in words.

        Returns
        -------
        summary : str
            Two sentences, or one if there are too few groups.
        """
        if self.phases is None:
            return "Phases of calibration are not looked for: there are fewer than 20 groups."
        return self.phases.summary

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers but those of single rows.

        Returns
        -------
        layers : dict
            Keys `summary`, `present`, `layers`, `phases`, `features`, `constant`, `event`. Places
            of layers count from 0.
        """
        table, phases = self.layerwise.table, self.phases
        rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
        return {
            "summary": self.summary,
            "present": None if phases is None else phases.present,
            "layers": rows,
            "phases": None if phases is None else {name: getattr(phases, name) for name in _PHASES},
            "features": self.verdicts,
            "constant": self.constant,
            "event": "one class" if self.layerwise.one_event else "the layer is right",
        }
