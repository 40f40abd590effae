"""One temperature per expert: the mixture of calibrated experts."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sk_arcal._columns import Selector
from sk_arcal._validation import FloatArray, check_integer, check_option
from sk_arcal.calibration._mixture._experts import ExpertCalibrator
from sk_arcal.calibration._mixture._mixture import Mixture, from_scores
from sk_arcal.calibration._tempering import (
    TemperatureFit,
    check_temperature_bounds,
    fit_temperature,
    warn_at_bound,
)
from sk_arcal.calibration._warning import CalibrationWarning


class ExpertTemperatureScaler(ExpertCalibrator):
    r"""Temper every expert of a mixture on its own, then mix.

    The usual repair of a mixture of experts, and the baseline any other has to beat. It makes
    each expert right on average. It cannot make a soft mixture right: experts that are
    calibrated, mixed by a gate that knows more than they say, give an aggregate that is not, and
    a shift of the gates moves its error. With ``routing="hard"`` nothing is mixed, and calibrated
    experts do suffice.

    Parameters
    ----------
    confidence_columns : int, str, list, slice, mask or callable, default=None
        Columns of X that hold the confidence: one for the score of an event, or one per class.
        Neither needed nor read where there are experts. By default columns named
        ``logit__<class>`` or ``proba__<class>``; without such names the first column with two
        classes, the first K with K > 2.
    routing_columns : int, str, list, slice, mask or callable, default=None
        Routing columns; by default all that are left. Temperatures do not use them, but they may
        be there, so that calibrators can be swapped in a pipeline.
    confidence_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the confidence columns. "auto" decides once, in `fit`: probabilities if all
        lie in [0, 1] and, with several columns, sum to one.
    classes : array-like of shape (n_classes,), default=None
        The class each confidence column, or each column of an expert, stands for, when y may lack
        one; for a single column ``[no_event, event]``.
    expert_columns : list of selectors, or selector, default=None
        One selector per expert, each for the one column of an event or for one column per class.
        A flat selector holds one column per expert with two classes, else K columns after K
        columns. By default columns named ``expert__<expert>__<class>``; without any the
        confidence is the only expert.
    gate_columns : int, str, list, slice, mask or callable, default=None
        One column per expert, how much it weighs. By default columns named ``gate__<expert>``;
        without any, or with ``[]``, all experts weigh the same.
    expert_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the experts' columns, decided like that of the confidence.
    gate_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the gates: probabilities if none is negative and all rows of `fit` sum to one.
        A probability of exactly 0 is a gate that is shut, at every temperature.
    routing : {"soft", "hard"}, default="soft"
        "soft" mixes the experts' probabilities by the gates; "hard" asks the expert with the
        largest gate alone, and fits each expert on the rows it is asked for.
    routing_weighted : bool, default=False
        With soft routing, whether a row counts for an expert by its gate. As published every
        expert is fitted on all rows.
    mixture_temperature : bool, default=False
        Whether the mixture gets one more temperature, on its logarithms.
    bounds : tuple of float, default=(0.1, 10)
        Smallest and largest temperature considered.
    max_iter : int, default=100
        Largest number of passes over the data per temperature.

    Attributes
    ----------
    temperatures_ : ndarray of shape (n_experts,)
        T of every expert. Above 1 its confidence was too high. An expert that no row, or rows of
        one class only, tell anything about keeps 1.
    mixture_temperature_ : float
        T of the mixture; 1 unless ``mixture_temperature=True``.
    n_experts_ : int
        Number of experts; 1 if the confidence is the only one.
    loss_ : float
        Mean log loss of the calibrated mixture on the data of `fit`, nats.
    n_iter_ : int
        Passes over the data, of all temperatures together.
    expert_roles_ : ExpertRoles or None
        Positions of the columns of experts and gates.
    expert_kind_, gate_kind_ : str
        "logit" or "probability", as decided in `fit`, where there are such columns.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    column_roles_ : ColumnRoles
        Positions of the confidence and routing columns.
    confidence_kind_ : str
        "logit" or "probability", as decided in `fit`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where X had any.

    Raises
    ------
    ValueError
        From `fit`, if the data or a parameter cannot be used.
    TypeError
        From `fit`, if a parameter has the wrong kind.

    See Also
    --------
    AdversarialReweightCalibrator : Calibrates the aggregate where its routing makes it fail.
    TemperatureScaler : One temperature for the aggregate.

    Notes
    -----
    With gates r and logits :math:`z_m` of expert m, tempered by :math:`T_m`,

    .. math:: p = \sum_m r_m \, \mathrm{softmax}(z_m / T_m).

    Each :math:`T_m` minimises the log loss of its own expert, not that of the mixture. A single
    expert makes this :class:`TemperatureScaler` with these bounds.

    References
    ----------
    .. [1] G. Wong, D. Prinster, S. Saria, R. Chellappa and A. Liu. "Toward Calibrated
       Mixture-of-Experts Under Distribution Shift". ICML 2026. The baseline MoCaE; "+TS" is
       ``mixture_temperature=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import ExpertTemperatureScaler
    >>> rng = np.random.default_rng(0)
    >>> log_odds = rng.normal(size=4000)
    >>> y = rng.random(4000) < 1 / (1 + np.exp(-log_odds))
    >>> gate = rng.random(4000)
    >>> X = np.column_stack([3 * log_odds, log_odds, gate, 1 - gate])
    >>> scaler = ExpertTemperatureScaler(expert_columns=[0, 1], gate_columns=[2, 3]).fit(X, y)
    >>> scaler.temperatures_.round(1)
    array([3., 1.])
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
        routing: str = "soft",
        routing_weighted: bool = False,
        mixture_temperature: bool = False,
        bounds: tuple[float, float] = (0.1, 10.0),
        max_iter: int = 100,
    ) -> None:
        super().__init__(
            confidence_columns=confidence_columns,
            routing_columns=routing_columns,
            confidence_kind=confidence_kind,
            classes=classes,
            expert_columns=expert_columns,
            gate_columns=gate_columns,
            expert_kind=expert_kind,
            gate_kind=gate_kind,
        )
        self.routing = routing
        self.routing_weighted = routing_weighted
        self.mixture_temperature = mixture_temperature
        self.bounds = bounds
        self.max_iter = max_iter

    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        check_option("routing", self.routing, ("soft", "hard"))
        bounds = check_temperature_bounds(self.bounds)
        max_iter = check_integer("max_iter", self.max_iter, low=1)
        mixture = self._routed(logits, routing)
        self.n_experts_ = mixture.n_experts
        self.temperatures_, self.mixture_temperature_ = np.ones(self.n_experts_), 1.0
        self.n_iter_ = 0
        by_gate = self.routing_weighted or self.routing == "hard"
        share = np.exp(mixture.log_gate_weights()) if by_gate else np.ones((1, self.n_experts_))
        for m in range(self.n_experts_):
            weight = sample_weight * share[:, m]
            rows = np.flatnonzero(weight > 0)
            if self._says_nothing(m, y[rows]):
                continue
            own = from_scores(mixture.scores[rows, m])
            fit = fit_temperature(own, y[rows], weight[rows], bounds=bounds, max_iter=max_iter)
            named = f"The temperature of expert {m}" if self.n_experts_ > 1 else "The temperature"
            self.temperatures_[m] = _reported(fit, named, max_iter)
            self.n_iter_ += fit.n_iter
        aggregate = from_scores(mixture.log_probabilities(1 / self.temperatures_))
        # At T = 1 both bounds, this is a plain pass for the loss.
        last = fit_temperature(
            aggregate,
            y,
            sample_weight,
            bounds=bounds if self.mixture_temperature else (1.0, 1.0),
            max_iter=max_iter,
        )
        if self.mixture_temperature:
            named = "The temperature of the mixture"
            self.mixture_temperature_ = _reported(last, named, max_iter)
        self.loss_ = last.loss
        self.n_iter_ += last.n_iter

    def _routed(self, logits: FloatArray, routing: FloatArray) -> Mixture:
        mixture, _ = self._parts(logits, routing)
        return mixture.hard() if self.routing == "hard" else mixture

    def _says_nothing(self, m: int, y: FloatArray) -> bool:
        """Warn about an expert without rows, or with those of one class, and tell so."""
        if self.n_experts_ == 1 or len(np.unique(y)) > 1:
            return False
        seen = "no row" if not len(y) else "rows of one class only"
        warnings.warn(
            f"Expert {m} has {seen}, so its temperature stays 1.", CalibrationWarning, stacklevel=4
        )
        return True

    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        if self.n_experts_ == 1:
            # Straight from the logits, so that no rounding of logarithms comes between.
            own = self._parts(logits, routing)[0].scores[:, 0]
            return from_scores(own) / (self.temperatures_[0] * self.mixture_temperature_)
        mixture = self._routed(logits, routing)
        aggregate = mixture.log_probabilities(1 / self.temperatures_)
        return from_scores(aggregate) / self.mixture_temperature_


def _reported(fit: TemperatureFit, name: str, max_iter: int) -> float:
    """Return the temperature, and warn as the caller of `fit` if it is not a plain optimum."""
    warn_at_bound(fit, name=name, stacklevel=5)
    if not fit.converged:
        warnings.warn(
            f"{name} had not converged after {max_iter} passes; increase `max_iter`.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return fit.temperature
