"""The parts of a mixture of experts: columns ``expert__<m>__<class>`` and ``gate__<m>``.

``expert__<m>`` alone is an expert's score of the event. Columns are probabilities if all of them
lie in [0, 1] and, with several classes, sum to one; else logits. So are the gates.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax, logsumexp

from sk_arcal._columns import GATE_PREFIX
from sk_arcal._validation import ROUNDING, FloatArray
from sk_arcal.audit._reading._cells import as_numbers
from sk_arcal.audit._reading._model_scores import ModelScores, log_probabilities
from sk_arcal.audit._reading._outcome import Outcome
from sk_arcal.audit._reading._score_columns import MIXTURE, Scores, part_of
from sk_arcal.audit._reading._selectors import quoted
from sk_arcal.audit._reading._source import Source
from sk_arcal.calibration._mixture._expert_columns import resolve_experts
from sk_arcal.diagnostics._experts._mixture_rows import steady

PARTS_ARE_THERE = (
    "There are columns of experts and gates; `--experts` (`experts=True`) audits them."
)
# Written with few digits, probabilities of one row sum to one within this much.
_SUM_TOLERANCE = 5e-3
# Confidences further apart are not one number written with fewer digits.
_SAME = 1e-3


@dataclass(frozen=True, slots=True)
class Experts:
    """Experts and gates as read, with the mixture of them.

    Attributes
    ----------
    log_experts : ndarray of shape (n_samples, n_experts, n_classes)
        Log-probabilities; an event has the classes "no" and "yes".
    gates : ndarray of shape (n_samples, n_experts)
        Rows sum to one.
    log_mixture : ndarray of shape (n_samples, n_classes)
        Log-probabilities of the mixture.
    names : tuple of str
        The experts.
    classes : tuple of str or None
        Class of every column of an expert; None for the score of an event.
    columns : tuple of str
        Everything that was read.
    words : dict of str to str
        The same for a person.
    notes : tuple of str
        Remarks.
    """

    log_experts: FloatArray
    gates: FloatArray
    log_mixture: FloatArray
    names: tuple[str, ...]
    classes: tuple[str, ...] | None
    columns: tuple[str, ...]
    words: dict[str, str]
    notes: tuple[str, ...]

    @property
    def mixture_column(self) -> FloatArray:
        """Class scores of the mixture, or its log-odds of the event."""
        if self.classes is not None:
            return self.log_mixture
        return self.log_mixture[:, 1] - self.log_mixture[:, 0]

    @property
    def mixture_scores(self) -> Scores:
        """How the scores of the mixture are to be read."""
        return Scores("logit", (MIXTURE,), self.classes)


def read_experts(source: Source) -> Experts:
    """Read all columns of experts and gates.

    Raises
    ------
    ValueError
        If there are no experts or no gates, experts differ in their classes, there is one
        expert only, or a cell cannot be used.
    """
    names = [name for name in source.columns if part_of(name) == "mixture"]
    roles = resolve_experts(
        None, len(names), names, expert_columns=None, gate_columns=None, n_classes=2
    )
    if roles is None or roles.gates is None:
        missing = "`expert__<m>__<class>` or `expert__<m>`" if roles is None else "`gate__<m>`"
        raise ValueError(
            f"The audit of experts needs columns {missing}, and there are none. "
            f"The columns are {quoted(list(source.columns))}."
        )
    if len(roles.experts) < 2:
        raise ValueError("One expert is no mixture; the audit of experts needs at least two.")
    table = [[names[column] for column in expert] for expert in roles.experts]
    gate_names = [names[column] for column in roles.gates]
    log_experts, notes, kind = _log_experts(source, table)
    gates, gate_words = _gates(source, gate_names)
    n_experts, n_scores = roles.experts.shape
    each = f"{kind} of {n_scores} classes each" if n_scores > 1 else f"{kind} of the event"
    words = {
        "experts": f"{n_experts}, {each}: `{table[0][0]}` to `{table[-1][-1]}`",
        "gates": f"{gate_words}`{gate_names[0]}` to `{gate_names[-1]}`",
    }
    log_gates = np.log(gates, out=np.full(gates.shape, -np.inf), where=gates > 0)
    return Experts(
        log_experts,
        gates,
        steady(logsumexp(log_gates[:, :, None] + log_experts, axis=1)),
        tuple(name.removeprefix(GATE_PREFIX) for name in gate_names),
        roles.named_classes,
        tuple(names),
        words,
        notes,
    )


def _log_experts(source: Source, table: list[list[str]]) -> tuple[FloatArray, tuple[str, ...], str]:
    """Return log-probabilities, remarks and the kind of the columns."""
    values = np.stack([_numbers(source, expert) for expert in table], axis=1)
    inside = bool(((values >= -ROUNDING) & (values <= 1 + ROUNDING)).all())
    if not inside and values.shape[2] == 1:
        both = np.concatenate([-values, values], axis=2)
        return log_expit(both), (), "logits"
    if not inside:
        return log_softmax(values, axis=2), (), "logits"
    values = np.clip(values, 0, 1)
    if values.shape[2] == 1:
        values = np.concatenate([1 - values, values], axis=2)
    total = values.sum(axis=2)
    off = np.abs(total - 1) > _SUM_TOLERANCE
    if off.any():
        row, expert = (int(place[0]) for place in np.nonzero(off))
        raise ValueError(
            f"The columns `{table[expert][0]}` to `{table[expert][-1]}` lie in [0, 1], but sum to "
            f"{total[row, expert]:.4g} in {source.locate(row)}; give the probabilities of all "
            "classes, or logits."
        )
    logs, notes = log_probabilities(values / total[:, :, None])
    return logs, notes, "probabilities"


def _numbers(source: Source, names: Iterable[str]) -> FloatArray:
    return np.column_stack([as_numbers(source[n], n, source.where(n)) for n in names])


def _gates(source: Source, names: list[str]) -> tuple[FloatArray, str]:
    values = _numbers(source, names)
    total = values.sum(axis=1)
    if (values < -ROUNDING).any() or (np.abs(total - 1) > _SUM_TOLERANCE).any():
        return np.exp(log_softmax(values, axis=1)), "softmax of "
    values = np.clip(values, 0, 1)
    return values / values.sum(axis=1, keepdims=True), ""


def expert_fields(experts: Experts, outcome: Outcome, model: ModelScores) -> dict[str, Any]:
    """Return the fields `gates`, `experts` and `expert_names` of a prediction table.

    Experts come in the order of the table's classes. Where no label says which class was the true
    one, they speak about the event that the predicted class is right.
    """
    logs = experts.log_experts
    if outcome.labels is not None and outcome.classes is not None:
        logs = _in_order(logs, experts.classes, outcome.classes)
    elif experts.classes is not None:
        top = experts.log_mixture.argmax(axis=1) if model.top is None else model.top
        logs = _of_event(logs, top)
    return {"gates": experts.gates, "experts": logs, "expert_names": experts.names}


def _in_order(
    logs: FloatArray, named: tuple[str, ...] | None, wanted: tuple[str, ...]
) -> FloatArray:
    if named is None and len(wanted) == 2:
        return logs
    if named is None or set(named) != set(wanted):
        found = "the event" if named is None else ", ".join(named[:10])
        raise ValueError(
            f"The experts have columns for {found}, the class scores for "
            f"{', '.join(wanted[:10])}; they must be about the same classes."
        )
    return logs[:, :, [named.index(name) for name in wanted]]


def _of_event(logs: FloatArray, top: NDArray[np.intp]) -> FloatArray:
    """Return log-probabilities of another class and of the class `top`."""
    if top.max() >= logs.shape[2]:
        raise ValueError(
            f"There are more class scores than the {logs.shape[2]} classes of the experts."
        )
    own = np.take_along_axis(logs, top[:, None, None], axis=2)[:, :, 0]
    rest = np.log(np.maximum(-np.expm1(own), np.finfo(np.float64).tiny))
    return np.stack([rest, own], axis=2)


def confidence_of(confidence: FloatArray, own: FloatArray, gates: FloatArray) -> str:
    """Tell whose the confidence is: "mixture", "top expert" (hard routing) or "other".

    Parameters
    ----------
    confidence : ndarray of shape (n_samples,)
        Probability of the event.
    own : ndarray of shape (n_samples, n_experts)
        The same by every expert.
    gates : ndarray of shape (n_samples, n_experts)
        Rows sum to one.
    """
    if np.abs((gates * own).sum(axis=1) - confidence).max() <= _SAME:
        return "mixture"
    chosen = own[np.arange(len(own)), gates.argmax(axis=1)]
    return "top expert" if np.abs(chosen - confidence).max() <= _SAME else "other"


def difference_note(confidence: FloatArray, own: FloatArray, gates: FloatArray) -> tuple[str, ...]:
    """Say so if the confidence of the file is not the mixture's."""
    whose = confidence_of(confidence, own, gates)
    if whose == "mixture":
        return ()
    if whose == "top expert":
        return ("The confidence is that of the expert with the largest gate: hard routing.",)
    apart = float(np.abs((gates * own).sum(axis=1) - confidence).max())
    note = (
        f"The confidence differs from the mixture of the experts by up to {apart:.2g}; the "
        "confidence is audited as it is, and repairs of the experts start from their mixture."
    )
    return (note,)
