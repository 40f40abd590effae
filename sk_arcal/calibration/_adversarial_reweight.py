"""Calibration for the worst reweighting of the rows, by confidence and routing."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sk_arcal._columns import Selector
from sk_arcal._validation import (
    FloatArray,
    check_weights,
)
from sk_arcal.calibration._adversary._adversarial_settings import Settings, read_settings
from sk_arcal.calibration._adversary._adversarial_training import (
    Training,
    cell_features,
    routing_of,
)
from sk_arcal.calibration._adversary._rank_basis import RankBasis
from sk_arcal.calibration._adversary._relevant_rows import gate_disagreement, mixture_regret
from sk_arcal.calibration._adversary._ridge_search import search_ridge
from sk_arcal.calibration._adversary._temperature_map import TemperatureMap
from sk_arcal.calibration._distinct_rows import merge_equal_rows
from sk_arcal.calibration._mixture._experts import ExpertCalibrator
from sk_arcal.calibration._mixture._mixture import Mixture, from_scores
from sk_arcal.calibration._tempering import warn_at_bound


class AdversarialReweightCalibrator(ExpertCalibrator):
    r"""Calibrate for the worst reweighting of configurations.

    A temperature makes a network right on average. Where the prevalence of routing configurations
    may shift, errors that cancelled on average come back. Here an adversary puts weight where the
    calibrated confidence could still be improved, and a map answers: a temperature that varies
    smoothly with routing. With experts and gates the experts are tempered too and the mixture
    is recomputed. Use it where the routing says which rows a shift would bring; if
    cross-validation finds nothing to gain, it is plain temperature scaling.

    Parameters
    ----------
    confidence_columns : int, str, list, slice, mask or callable, default=None
        Columns of X that hold the confidence: one for the score of an event, or one per class.
        Neither needed nor read where there are experts. By default columns named
        ``logit__<class>`` or ``proba__<class>``; without such names the first column with two
        classes, the first K with K > 2.
    routing_columns : int, str, list, slice, mask or callable, default=None
        Routing columns; by default all that are left. ``routing_columns=[]`` without experts
        leaves one temperature; with ``adversary="none", ridge=0`` it is that of
        :class:`TemperatureScaler`.
    confidence_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the confidence columns. "auto" decides once, in `fit`: probabilities if all
        lie in [0, 1] and, with several columns, sum to one.
    classes : array-like of shape (n_classes,), default=None
        The class each confidence column, or each column of an expert, stands for, when y may lack
        one; for a single column ``[no_event, event]``.
    expert_columns : list of selectors, or selector, default=None
        One selector per expert, each for the one column of an event or for one column per class.
        A flat selector holds one column per expert with two classes, else K columns after K
        columns. By default columns named ``expert__<expert>__<class>``; without any there is no
        mixture to recompute.
    gate_columns : int, str, list, slice, mask or callable, default=None
        One column per expert, how much it weighs; they serve as routing too. By default columns
        named ``gate__<expert>``; without any, or with ``[]``, all experts weigh the same.
    expert_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the experts' columns, decided like that of the confidence.
    gate_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the gates: probabilities if none is negative and all rows of `fit` sum to one.
        A probability of exactly 0 is a gate that is shut, at every temperature.
    adversary : {"tilted", "softmax", "cvar", "chi2", "kl", "none"}, default="tilted"
        Family of weights: the exponential tilt; the published softmax weights, differentiated
        through; the worst share `alpha`; a ball of chi-square or Kullback-Leibler divergence;
        or none, the average.
    view : {"routing", "rows"}, default="routing"
        What the adversary sees. "rows", as published, weighs each row by its own loss and so by
        its label; on a calibrated model that is noise. "routing" weighs cells of alike
        routing and confidence by their excess loss, found on other rows than it is scored on.
    eta : float, default=None
        Tilt per nat of "tilted" and "softmax"; 2 for rows, as published, and 50 for the excess
        of cells, which is that much smaller. 0 is the average.
    alpha : float, default=0.2
        Share of the weight that "cvar" averages over, in (0, 1]; 1 is the average.
    radius : float, default=1.0
        Radius of the balls "chi2" and "kl"; 0 is the average.
    filtered : bool, default=False
        Whether to add the average over all rows and leave the adversary only the rows where
        routing matters. Needs experts.
    min_regret : float, default=1e-6
        With `filtered`, a row is relevant if some open expert's loss is lower than the mixture's
        by more than this, nats. Not used with ``view="routing"``: it would show the label.
    min_disagreement : float, default=0.01
        With `filtered`, a row is relevant if the gate-weighted squared distance of the experts to
        their mixture is larger.
    warm_up : bool, default=True
        Whether to start at the solution without adversary, which is where a long warm-up by
        epochs would end, or at the experts' own temperatures.
    n_knots : int, default=5
        Knots per routing column.
    n_cells : int, default=8
        Largest number of cells the adversary cuts each half of the rows into.
    ridge : "cv" or float, default="cv"
        Pull towards the plain temperature, nats; infinity is the plain temperature. "cv" chooses
        by held-out log loss, infinity included.
    n_folds : int, default=5
        Folds of that cross-validation.
    n_standard_errors : float, default=1.0
        How many standard errors of the paired difference a finite ridge has to gain.
    max_iter : int, default=500
        Largest number of iterations of one fit.

    Attributes
    ----------
    sample_weights_ : ndarray of shape (n_samples,)
        Weights of the adversary at the solution, with mean one over the rows of `fit`; zero for
        rows of weight zero.
    objective_ : float
        What was minimised, without the ridge, nats: with ``view="rows"`` the worst-case loss of
        the adversary, with "routing" its worst-case excess.
    worst_case_loss_ : float
        Mean log loss under `sample_weights_`, nats.
    loss_ : float
        Mean log loss on the data of `fit`, nats.
    temperature_ : float
        Plain temperature of the aggregate, which everything else is relative to.
    ridge_ : float
        Ridge used; infinite if the plain temperature was kept.
    theta_ : ndarray of shape (n_parameters,)
        Coefficients of the hats, column by column; with experts then one inverse temperature each
        and one of the gates.
    n_experts_ : int
        Number of experts; 1 if the confidence is the only one.
    n_iter_ : int
        Iterations of the final fit.
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
        From `fit`, if the data or a parameter cannot be used, or `filtered` finds no experts.
    TypeError
        From `fit`, if a parameter has the wrong kind.

    See Also
    --------
    ExpertTemperatureScaler : One temperature per expert, no adversary.
    NWConditionalCalibrator : Corrects the confidence locally, whatever the shape of its error.

    Notes
    -----
    The map multiplies the logits of the aggregate by :math:`\beta(r) / T`,

    .. math:: \beta(r) = \sum_d \sum_j \theta_{dj} h_j(u_d), \quad \theta > 0,

    with hat functions of the rank :math:`u_d` of each routing column, gates included, fitted by

    .. math:: \min_\theta \max_w \; \sum_i w_i \ell_i(\theta)
              + \lambda \, (\theta - \theta_0)^\top Q (\theta - \theta_0).

    Without experts this is convex, except for "softmax", and the order of the classes is kept. With
    experts :math:`\ell` is the loss of the recomputed mixture: first the experts and the gates are
    tempered, then mixed, then comes :math:`\beta`. Folds are dealt from sorted, distinct rows, so
    the result is deterministic and a weight of 3 is three rows.

    Under ``view="rows"`` the minimum over :math:`\theta` answers to labels: the map becomes too
    modest everywhere, and only cross-validation saves it by choosing the plain temperature. That
    view is here because it is published, for training. With "routing" most of the gain over a
    temperature comes from the map: ``adversary="none"`` did as well in simulations.

    References
    ----------
    .. [1] G. Wong, D. Prinster, S. Saria, R. Chellappa and A. Liu. "Toward Calibrated
       Mixture-of-Experts Under Distribution Shift". ICML 2026. Robust MoE and Robust Filtered:
       ``adversary="softmax", view="rows"``.
    .. [2] A. Agarwal and T. Zhang. "Minimax Regret Optimization for Robust Machine Learning under
       Distribution Shift". COLT 2022. The excess that cells are weighed by.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import AdversarialReweightCalibrator
    >>> rng = np.random.default_rng(0)
    >>> log_odds, routing = rng.normal(size=4000), rng.random(4000)
    >>> y = rng.random(4000) < 1 / (1 + np.exp(-np.where(routing < 0.5, 0.3, 2.0) * log_odds))
    >>> X = np.column_stack([log_odds, routing])
    >>> calibrator = AdversarialReweightCalibrator().fit(X, y)
    >>> calibrator.decision_function([[1.0, 0.1], [1.0, 0.9]]).round(1)
    array([0.3, 2. ])
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
        adversary: str = "tilted",
        view: str = "routing",
        eta: float | None = None,
        alpha: float = 0.2,
        radius: float = 1.0,
        filtered: bool = False,
        min_regret: float = 1e-6,
        min_disagreement: float = 0.01,
        warm_up: bool = True,
        n_knots: int = 5,
        n_cells: int = 8,
        ridge: str | float = "cv",
        n_folds: int = 5,
        n_standard_errors: float = 1.0,
        max_iter: int = 500,
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
        self.adversary = adversary
        self.view = view
        self.eta = eta
        self.alpha = alpha
        self.radius = radius
        self.filtered = filtered
        self.min_regret = min_regret
        self.min_disagreement = min_disagreement
        self.warm_up = warm_up
        self.n_knots = n_knots
        self.n_cells = n_cells
        self.ridge = ridge
        self.n_folds = n_folds
        self.n_standard_errors = n_standard_errors
        self.max_iter = max_iter

    def _validated(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[Any], NDArray[Any], FloatArray]:
        values, labels, weight = super()._validated(X, y, sample_weight)
        n_samples = len(labels) if sample_weight is None else len(np.asarray(sample_weight))
        # Absent rows are gone below, but their weight is part of `sample_weights_`.
        self._present = np.flatnonzero(check_weights(sample_weight, n_samples) > 0)
        self.sample_weights_ = np.zeros(n_samples)
        return values, labels, weight

    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        settings = read_settings(self.get_params(deep=False))
        table = np.column_stack([logits, y, routing])
        first, weight, kind = merge_equal_rows(table, sample_weight)
        mixture, features = self._parts(logits[first], routing[first])
        self.n_experts_ = mixture.n_experts
        training = self._training(mixture, features, y[first], weight, settings)
        plain = training.plain()
        warn_at_bound(plain)
        training = training.at(plain.temperature)
        self.temperature_, self.n_iter_ = plain.temperature, 1
        self.ridge_ = np.inf if self.ridge == "cv" else float(self.ridge)
        if self.ridge == "cv" and plain.cause is None:
            self.ridge_ = search_ridge(training, self.n_folds, self.n_standard_errors)
        self.theta_ = training.map.neutral
        adversary = training.adversary()
        if np.isfinite(self.ridge_):
            start = training.warmed_up(self.ridge_)
            fit = training.fit(adversary, self.ridge_, start)
            self.theta_, self.n_iter_ = fit.theta, fit.n_iter
            self._warn_unless(fit.converged)
        losses = training.losses(self.theta_)
        worst = adversary.respond(losses)
        self.objective_ = worst.value
        self.worst_case_loss_ = float(weight / weight.sum() @ (worst.weights * losses))
        self.loss_ = float(weight / weight.sum() @ losses)
        self.sample_weights_[self._present] = worst.weights[kind]
        del self._present

    def _training(
        self,
        mixture: Mixture,
        routing: FloatArray,
        codes: FloatArray,
        weight: FloatArray,
        settings: Settings,
    ) -> Training:
        seen = routing_of(mixture, routing)
        self._basis = RankBasis(self.n_knots).fit(seen, weight)
        fitted = TemperatureMap(mixture, self._basis.design(seen), self._basis.sizes, 1.0)
        features = cell_features(fitted, seen, weight)
        training = Training(fitted, features, codes, weight, None, settings)
        if not self.filtered:
            return training
        if mixture.n_experts == 1:
            raise ValueError(
                "`filtered=True` looks for rows where experts disagree, and there are none here; "
                "name `expert_columns`, or set filtered=False."
            )
        return replace(training, relevant=self._relevant(mixture, training, codes))

    def _relevant(
        self, mixture: Mixture, training: Training, codes: FloatArray
    ) -> NDArray[np.bool_]:
        relevant = gate_disagreement(mixture) > self.min_disagreement
        if self.view == "rows":
            losses = training.losses(training.map.neutral)
            relevant |= mixture_regret(mixture, losses, codes) > self.min_regret
        return relevant

    def _warn_unless(self, converged: bool) -> None:
        if not converged:
            warnings.warn(
                f"The adversarial fit had not converged after {self.max_iter} iterations; increase "
                "`max_iter`, or the ridge.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        if not np.isfinite(self.ridge_):
            return logits / self.temperature_
        mixture, columns = self._parts(logits, routing)
        design = self._basis.design(routing_of(mixture, columns))
        fitted = TemperatureMap(mixture, design, self._basis.sizes, 1 / self.temperature_)
        beta = fitted.inverse_temperature(self.theta_)
        return from_scores(beta[:, None] * fitted.scores(self.theta_))
