"""Calibrators that may see every expert of a mixture, not only its outcome."""

from abc import ABC
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

from sk_arcal._columns import ColumnRoles, Selector, positions, table_names
from sk_arcal._validation import ROUNDING, FloatArray, check_option
from sk_arcal.calibration._base import BaseCalibrator
from sk_arcal.calibration._mixture._expert_columns import (
    ExpertRoles,
    default_routing,
    resolve_experts,
)
from sk_arcal.calibration._mixture._mixture import Mixture, event_scores, from_scores
from sk_arcal.calibration._scale import KINDS, ConfidenceScale

_GATE_SUM_TOLERANCE = 5e-3


class ExpertCalibrator(BaseCalibrator, ABC):
    """Base class of calibrators that read experts and gates beside confidence and routing.

    With experts the hooks get the aggregate's log-odds or log-probabilities as `logits`, and
    `routing` holds, from left to right, the routing columns, the logarithms of the gates and
    the logits of the experts; `_parts` takes these apart again. Without experts both arrays are
    those of every calibrator, and `_parts` finds a single expert, the confidence.
    """

    def __init__(
        self,
        *,
        confidence_columns: Selector = None,
        routing_columns: Selector = None,
        confidence_kind: str = "auto",
        classes: ArrayLike | None = None,
        expert_columns: Any = None,
        gate_columns: Selector = None,
        expert_kind: str = "auto",
        gate_kind: str = "auto",
    ) -> None:
        super().__init__(
            confidence_columns=confidence_columns,
            routing_columns=routing_columns,
            confidence_kind=confidence_kind,
            classes=classes,
        )
        self.expert_columns = expert_columns
        self.gate_columns = gate_columns
        self.expert_kind = expert_kind
        self.gate_kind = gate_kind

    # -- roles and scales ----------------------------------------------------------------------

    def _is_binary_by_parameters(self) -> bool:
        given = self.expert_columns
        if isinstance(given, (list, tuple)) and given:
            # A flat list may hold one column per expert or the classes of few.
            return all(isinstance(entry, (list, tuple)) and len(entry) <= 2 for entry in given)
        return super()._is_binary_by_parameters()

    def _set_roles(self, given: Any, X: NDArray[Any], classes: NDArray[Any]) -> None:
        check_option("expert_kind", self.expert_kind, KINDS)
        check_option("gate_kind", self.gate_kind, KINDS)
        names = getattr(self, "feature_names_in_", table_names(given))
        self.expert_roles_: ExpertRoles | None = resolve_experts(
            given,
            self.n_features_in_,
            names,
            expert_columns=self.expert_columns,
            gate_columns=self.gate_columns,
            n_classes=len(classes),
        )
        if self.expert_roles_ is None:
            super()._set_roles(given, X, classes)
            return
        roles, n_features = self.expert_roles_, self.n_features_in_
        gates = np.empty(0, np.intp) if roles.gates is None else roles.gates
        taken = np.concatenate([roles.experts.ravel(), gates])
        if self.routing_columns is None:
            own: NDArray[np.intp] = np.empty(0, np.intp)
            if self.confidence_columns is not None:
                chosen = self.confidence_columns
                own = positions(chosen, given, n_features, names, "confidence_columns")
            routing = default_routing(n_features, names, np.concatenate([taken, own]))
        else:
            routing = positions(self.routing_columns, given, n_features, names, "routing_columns")
            _refuse_two_roles(routing, taken)
        none = np.empty(0, np.intp)
        self.column_roles_ = ColumnRoles(none, routing, None, roles.named_classes)

    def _n_scores(self) -> int:
        roles = self.expert_roles_
        return super()._n_scores() if roles is None else roles.experts.shape[1]

    def _set_scale(self, X: NDArray[Any], stacklevel: int = 5) -> None:
        roles = self.expert_roles_
        if roles is None:
            super()._set_scale(X, stacklevel + 1)
            return
        blocks = [X[:, columns] for columns in roles.experts]
        stated = self.expert_kind
        # Probabilities all of them or none: one expert of low logits must not differ from the rest.
        if stated == "auto" and any(_leaves_unit_interval(block) for block in blocks):
            stated = "logit"
        scales = []
        for block in blocks:
            scale = ConfidenceScale.decide(block, stated, role="expert", stacklevel=stacklevel)
            scales.append(scale)
        self._expert_scales = tuple(scales)
        # All experts share its kind; a fitted calibrator has one scale, whatever it reads.
        self._scale = scales[0]
        kinds = {scale.kind for scale in scales}
        if len(kinds) > 1:
            raise ValueError(
                "Some experts look like probabilities and some like logits; say "
                "expert_kind='logit' or expert_kind='probability'."
            )
        self.expert_kind_ = self.confidence_kind_ = kinds.pop()
        if roles.gates is not None:
            self.gate_kind_ = _gate_kind(X[:, roles.gates], self.gate_kind)

    def _any_row(self) -> NDArray[Any]:
        row = super()._any_row()
        if self.expert_roles_ is not None and self.expert_roles_.gates is not None:
            row[:, self.expert_roles_.gates] = 1 / len(self.expert_roles_.gates)
        return row

    # -- arrays of the hooks -------------------------------------------------------------------

    def _split(self, X: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        roles = self.expert_roles_
        if roles is None:
            return super()._split(X)
        experts = [
            self._by_class(scale.to_logits(X[:, columns]))
            for scale, columns in zip(self._expert_scales, roles.experts, strict=True)
        ]
        log_gates = np.zeros((len(X), len(experts)))
        if roles.gates is not None:
            log_gates = _log_gates(X[:, roles.gates], self.gate_kind_)
        routing = X[:, self.column_roles_.routing].astype(np.float64)
        mixture = Mixture(np.stack([event_scores(z) for z in experts], axis=1), log_gates)
        aggregate = from_scores(mixture.log_probabilities(np.ones(len(experts))))
        flat = [z[:, None] if z.ndim == 1 else z for z in experts]
        return aggregate, np.column_stack([routing, log_gates, *flat])

    def _parts(self, logits: FloatArray, routing: FloatArray) -> tuple[Mixture, FloatArray]:
        """Return the mixture and the routing columns from the arrays of a hook."""
        if self.expert_roles_ is None:
            return Mixture(event_scores(logits)[:, None], np.zeros((len(logits), 1))), routing
        n_experts, n_routing = len(self.expert_roles_.experts), len(self.column_roles_.routing)
        log_gates = routing[:, n_routing : n_routing + n_experts]
        flat = routing[:, n_routing + n_experts :]
        if logits.ndim == 1:
            scores = np.stack([np.zeros_like(flat), flat], axis=2)
        else:
            scores = flat.reshape(len(flat), n_experts, -1)
        return Mixture(scores, log_gates), routing[:, :n_routing]


def _refuse_two_roles(routing: NDArray[np.intp], taken: NDArray[np.intp]) -> None:
    both = np.intersect1d(routing, taken)
    if both.size:
        raise ValueError(
            f"Column positions {both.tolist()} are in `routing_columns` and also experts or gates; "
            "a column has one role, and gates count as routing anyway."
        )


def _leaves_unit_interval(values: NDArray[Any]) -> bool:
    return bool(((values < -ROUNDING) | (values > 1 + ROUNDING)).any())


def _off_simplex(gates: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows are no gate probabilities."""
    off = np.abs(gates.sum(axis=1, dtype=np.float64) - 1) > _GATE_SUM_TOLERANCE
    return off | (gates < -ROUNDING).any(axis=1)


def _gate_kind(gates: NDArray[Any], stated: str) -> str:
    if stated != "auto":
        return stated
    return "logit" if _off_simplex(gates).any() else "probability"


def _log_gates(gates: NDArray[Any], kind: str) -> FloatArray:
    """Return logarithms of gates that sum to one; minus infinity where one is exactly 0."""
    if kind == "logit":
        return log_softmax(gates.astype(np.float64), axis=1)
    off = _off_simplex(gates)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise ValueError(
            "Gates are probabilities here, not negative and with sum one, but row "
            f"{row} holds {gates[row].tolist()}. For logits set gate_kind='logit' before `fit`."
        )
    share = np.clip(gates.astype(np.float64), 0, None)
    share /= share.sum(axis=1, keepdims=True)
    # A gate that a top-k router shut is no rounded one: it stays shut.
    return np.log(share, out=np.full(share.shape, -np.inf), where=share > 0)
