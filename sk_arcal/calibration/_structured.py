"""Structured scaling: per-class deviations from one temperature, no more than the data support."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sk_arcal._columns import Selector
from sk_arcal._validation import FloatArray, check_integer, check_number, check_option
from sk_arcal.calibration._axes import ROUTING_AXES, RankAxis, StandardAxis
from sk_arcal.calibration._base import BaseCalibrator
from sk_arcal.calibration._distinct_rows import distinct_rows
from sk_arcal.calibration._structure._penalised_loss import PenalisedLoss
from sk_arcal.calibration._structure._score_map import (
    STRUCTURES,
    ScoredRows,
    ScoreMap,
    Strengths,
    check_strengths,
)
from sk_arcal.calibration._structure._structure_search import (
    CrossValidation,
    Trial,
    search_structure,
)
from sk_arcal.calibration._tempering import fit_temperature, warn_at_bound

# Standard deviation of a rank, uniform in (0, 1).
_RANK_DEVIATION = 12**-0.5
_GRADIENT_TOLERANCE = 1e-8


class StructuredScaler(BaseCalibrator):
    r"""Scale and shift the logits class by class, as far as the data support it.

    One temperature treats all classes alike. Here each class may have a scale and a bias of its
    own ("vector"), and may draw on the scores of the others ("matrix"); routing columns may change
    the temperature of a row and favour classes. Every deviation from the plain temperature is
    penalised, and structure and penalties are chosen by cross-validated log loss, with a
    standard-error rule in favour of the plain temperature.

    Use it with three classes and more and some hundred rows per class, or where some classes are
    systematically over-predicted. It changes probabilities of classes relative to one another,
    so it **may change which class is most probable**; use :class:`TemperatureScaler` where
    the ranking has to stay. It cannot help against a shift between the rows of `fit` and later
    ones, and then its extra parameters can do more harm than one temperature.

    Parameters
    ----------
    confidence_columns : int, str, list, slice, mask or callable, default=None
        Columns of X that hold the confidence: one for the score of an event, or one per class.
        By default columns named ``logit__<class>`` or ``proba__<class>``; without such names the
        first column with two classes, the first K with K > 2.
    routing_columns : int, str, list, slice, mask or callable, default=None
        Routing columns; by default all that are left. ``[]`` gives classical structured scaling;
        with ``structure="temperature"``, temperature scaling.
    confidence_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the confidence columns. "auto" decides once, in `fit`: probabilities if all
        lie in [0, 1] and, with several columns, sum to one.
    classes : array-like of shape (n_classes,), default=None
        The class each confidence column stands for, when y may lack one; for a single column
        ``[no_event, event]``.
    structure : {"auto", "temperature", "vector", "matrix"}, default="auto"
        Which deviations are allowed; each includes those before it. "auto" compares them. For
        an event "matrix" is the same as "vector".
    penalty : "cv", float or dict of str to float, default="cv"
        Strength of the ridge: one number for all kinds of deviations, or one for each of "scale",
        "bias", "cross" and "routing" (1 where absent). It acts like a fixed number of rows that
        agree with the plain temperature; 1 is the setting of [1]_. "cv" searches
        :math:`4^{-5}, \dots, 4^3` for each kind.
    routing_axis : {"rank", "standardized"}, default="rank"
        Routing enters linearly by its weighted rank in `fit`, which bounds its influence, or in
        standard deviations.
    n_standard_errors : float, default=1.5
        How many standard errors of the paired difference in cross-validated log loss a structure
        has to gain over the plain temperature with ``structure="auto"``, and routing over doing
        without it; times :math:`\sqrt{1 + 2 \log m}` for the best of m structures or columns. 0
        takes the lowest loss.
    n_folds : int, default=5
        Number of folds of the cross-validation. With fewer than two distinct rows a fold the plain
        temperature is used where there is a choice.
    max_parameters : int, default=20000
        "auto" does not try "matrix" where it has more parameters than this (141 classes); the
        solver's memory grows with the number of classes to the third.
    max_iter : int, default=100
        Largest number of solver iterations per fit.

    Attributes
    ----------
    structure_ : str
        "temperature", "vector" or "matrix".
    uses_routing_ : bool
        Whether routing columns change the prediction.
    temperature_ : float
        T of the plain temperature, from which deviations are counted.
    slopes_ : ndarray of shape (1 + n_routing,)
        :math:`\alpha_0`, a change of all logits, and :math:`\alpha_j` for each routing column.
    vector_ : ndarray of shape (n_classes,)
        v, scale of each class.
    matrix_ : ndarray of shape (n_classes, n_classes) or None
        M, what each class (row) draws from the others; None unless ``structure_`` is "matrix".
    bias_ : ndarray of shape (n_classes,)
        b.
    routing_bias_ : ndarray of shape (n_classes, n_routing)
        c, what routing adds to each class.
    penalty_ : dict of str to float
        Strengths used.
    loss_ : float
        Mean log loss on the data of `fit`, nats.
    search_ : dict of str to ndarray
        One line per setting tried: "structure", "uses_routing", "penalty" (strengths of scale,
        bias, cross, routing), "loss" (mean cross-validated log loss, nats) and "standard_error"
        (of the difference to the first line). Empty if there was nothing to choose.
    n_iter_ : int
        Solver iterations of the last fit.
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
    TemperatureScaler : One temperature for all rows and classes.
    NWConditionalCalibrator : Kernel correction of the top confidence by routing.

    Notes
    -----
    With log probabilities :math:`u = \log \operatorname{softmax}(z / T)`, softened ones
    :math:`f = \log(e^u + 0.1)` and standardised routing r,

    .. math:: \eta_k = \Big(1 + \alpha_0 + \sum_j \alpha_j r_j\Big) u_k + v_k f_k
              + \sum_{l \ne k} M_{kl} f_l + b_k + \sum_j c_{kj} r_j,

    minimises mean log loss plus
    :math:`\frac{1}{n} [K \lambda_v |v|^2 + K \lambda_b |b|^2 + K (K - 1) \lambda_M |M|^2
    + \lambda_r (2 |\alpha|^2 + K |c|^2)]`, a convex problem. An event has the two classes
    "no" and "yes". With f = u these are, for an event, beta calibration [2]_ and, for several
    classes, Dirichlet calibration, held near the temperature as in [1]_. Softening is ours: a
    class that is out of the question looks the same however far out it is.

    Where the temperature stops at a bound (the confidence separates the classes perfectly, or
    ranks backwards) there is nothing to deviate from, and it is used as it is.

    References
    ----------
    .. [1] E. Berta, D. Holzmueller, M. I. Jordan and F. Bach. "Structured Matrix Scaling for
       Multi-Class Calibration". arXiv:2511.03685, 2025.
    .. [2] M. Kull, T. M. Silva Filho and P. Flach. "Beyond Sigmoids: How to Obtain
       Well-Calibrated Probabilities from Binary Classifiers with Beta Calibration". Electronic
       Journal of Statistics 11(2), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import StructuredScaler, TemperatureScaler
    >>> rng = np.random.default_rng(0)
    >>> probability = rng.dirichlet([1, 1, 1], size=2000)
    >>> y = (probability.cumsum(axis=1) < rng.random((2000, 1))).sum(axis=1)
    >>> X = 2 * np.log(probability) + [0, 0, 3]
    >>> scaler, plain = StructuredScaler().fit(X, y), TemperatureScaler().fit(X, y)
    >>> bool(scaler.loss_ < plain.loss_ - 0.1)
    True
    """

    def __init__(
        self,
        *,
        confidence_columns: Selector = None,
        routing_columns: Selector = None,
        confidence_kind: str = "auto",
        classes: ArrayLike | None = None,
        structure: str = "auto",
        penalty: str | float | Mapping[str, float] = "cv",
        routing_axis: str = "rank",
        n_standard_errors: float = 1.5,
        n_folds: int = 5,
        max_parameters: int = 20_000,
        max_iter: int = 100,
    ) -> None:
        super().__init__(
            confidence_columns=confidence_columns,
            routing_columns=routing_columns,
            confidence_kind=confidence_kind,
            classes=classes,
        )
        self.structure = structure
        self.penalty = penalty
        self.routing_axis = routing_axis
        self.n_standard_errors = n_standard_errors
        self.n_folds = n_folds
        self.max_parameters = max_parameters
        self.max_iter = max_iter

    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        strengths = self._checked_parameters()
        logits, routing, codes, weight = distinct_rows(logits, routing, y, sample_weight)
        plain = fit_temperature(logits, codes.astype(np.float64), weight)
        warn_at_bound(plain)
        self.temperature_ = plain.temperature
        axis = RankAxis if self.routing_axis == "rank" else StandardAxis
        self._axes = [axis.fit(column, weight) for column in routing.T]
        rows = self._rows(logits, routing)
        self.search_: dict[str, NDArray[Any]] = {}
        trial = _PLAIN
        if plain.bound is None:
            trial = self._given(rows, strengths) or self._searched(rows, codes, weight, strengths)
        self._fit_map(trial, rows, codes, weight)

    def _checked_parameters(self) -> Strengths | None:
        """Return the given strengths, None if they are to be searched."""
        check_option("structure", self.structure, ("auto", *STRUCTURES))
        check_option("routing_axis", self.routing_axis, ROUTING_AXES)
        check_number("n_standard_errors", self.n_standard_errors, low=0.0)
        check_integer("n_folds", self.n_folds, low=2)
        check_integer("max_parameters", self.max_parameters, low=1)
        check_integer("max_iter", self.max_iter, low=1)
        return check_strengths(self.penalty)

    def _given(self, rows: ScoredRows, strengths: Strengths | None) -> Trial | None:
        """Return the setting that the parameters state, None if they leave a choice to the data."""
        n_classes, n_routing = rows.scores.shape[1], rows.routing.shape[1]
        structures = self._allowed(n_classes)
        if structures == ("temperature",) and not n_routing:
            return _PLAIN
        if len(structures) == 1 and strengths is not None:
            return Trial(structures[0], n_routing > 0, strengths, np.empty(0), np.nan)
        if len(rows.scores) < 2 * self.n_folds:
            return Trial(structures[0], False, strengths or Strengths(), np.empty(0), np.nan)
        return None

    def _searched(
        self,
        rows: ScoredRows,
        y: NDArray[np.intp],
        sample_weight: FloatArray,
        strengths: Strengths | None,
    ) -> Trial:
        validation = CrossValidation(
            rows, y, sample_weight, n_folds=self.n_folds, max_iter=self.max_iter
        )
        trial = search_structure(
            validation,
            self._allowed(rows.scores.shape[1]),
            strengths,
            # A constant column is no rival.
            n_routing=int(np.any(rows.routing != rows.routing[0], axis=0).sum()),
            n_standard_errors=self.n_standard_errors,
        )
        self.search_ = validation.table()
        return trial

    def _allowed(self, n_classes: int) -> tuple[str, ...]:
        """Return the structures to choose from, simplest first."""
        if self.structure != "auto":
            same = n_classes == 2 and self.structure == "matrix"
            return ("vector",) if same else (self.structure,)
        large = ScoreMap("matrix", n_classes, 0).n_parameters > self.max_parameters
        return STRUCTURES[:2] if n_classes == 2 or large else STRUCTURES

    def _fit_map(
        self, trial: Trial, rows: ScoredRows, y: NDArray[np.intp], sample_weight: FloatArray
    ) -> None:
        self.structure_, self.uses_routing_ = trial.structure, trial.uses_routing
        self.penalty_ = asdict(trial.strengths)
        used = rows if trial.uses_routing else rows.without_routing()
        score_map = ScoreMap(trial.structure, rows.scores.shape[1], used.routing.shape[1])
        objective = PenalisedLoss(score_map, used, y, sample_weight)
        parameters, self.n_iter_ = np.zeros(score_map.n_parameters), 0
        # The plain temperature is fitted already.
        if score_map.n_parameters > 1:
            parameters, converged, self.n_iter_ = objective.minimise(
                score_map.penalties(trial.strengths, objective.total),
                parameters,
                tolerance=_GRADIENT_TOLERANCE,
                max_iter=self.max_iter,
            )
            if not converged:
                _warn_of_iterations(self.n_iter_)
        self.loss_ = objective.value_and_gradient(parameters, np.zeros_like(parameters))[0]
        self._set_coefficients(score_map, parameters, rows.routing.shape[1])

    def _set_coefficients(
        self, score_map: ScoreMap, parameters: FloatArray, n_routing: int
    ) -> None:
        n_classes, n_scales = score_map.n_classes, score_map.n_scales
        slopes, coefficients = score_map.split(parameters)
        self.slopes_ = np.zeros(1 + n_routing)
        self.slopes_[: len(slopes)] = slopes
        self.vector_, self.bias_ = np.zeros((2, n_classes))
        self.routing_bias_ = np.zeros((n_classes, n_routing))
        self.matrix_ = None
        if not n_scales:
            return
        self.vector_, self.bias_ = coefficients[:, 0].copy(), coefficients[:, n_scales].copy()
        if n_scales > 1:
            self.matrix_ = coefficients[:, :n_scales].copy()
            self.vector_ = np.diagonal(self.matrix_).copy()
            np.fill_diagonal(self.matrix_, 0.0)
        self.routing_bias_[:, : len(slopes) - 1] = coefficients[:, n_scales + 1 :]

    def _rows(self, logits: FloatArray, routing: FloatArray) -> ScoredRows:
        columns = [axis(column) for axis, column in zip(self._axes, routing.T, strict=True)]
        standard = np.array(columns).T.reshape(routing.shape)
        if self.routing_axis == "rank":
            standard = (standard - 0.5) / _RANK_DEVIATION
        return ScoredRows.at_temperature(logits, self.temperature_, standard)

    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        if self.structure_ == "temperature" and not self.uses_routing_:
            return logits / self.temperature_
        rows = self._rows(logits, routing)
        scores = rows.scores * (1 + self.slopes_[0] + rows.routing @ self.slopes_[1:])[:, None]
        scores += rows.features * self.vector_ + self.bias_ + rows.routing @ self.routing_bias_.T
        if self.matrix_ is not None:
            scores += rows.features @ self.matrix_.T
        return scores[:, 1] - scores[:, 0] if logits.ndim == 1 else scores


_PLAIN = Trial("temperature", False, Strengths(), np.empty(0), np.nan)


def _warn_of_iterations(n_iter: int) -> None:
    warnings.warn(
        f"The scaling had not converged after {n_iter} iterations; increase `max_iter`, or the "
        "penalty.",
        ConvergenceWarning,
        stacklevel=5,
    )
