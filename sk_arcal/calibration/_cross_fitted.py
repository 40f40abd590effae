"""A classifier, a routing transformer and a calibrator, fitted on rows kept apart."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, get_tags, indexable
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sk_arcal._validation import FloatArray, check_option, check_weights
from sk_arcal.calibration._saving._persistence import PlainState
from sk_arcal.calibration._wrapping._out_of_fold import (
    CrossFitting,
    FoldData,
    IndexArray,
    split_rows,
)
from sk_arcal.calibration._wrapping._score_columns import RESPONSES, CalibratedPair
from sk_arcal.calibration._wrapping._wrapped_parts import (
    Parts,
    all_classes,
    combined_inputs,
    fit_arguments,
    read_labels,
    resolve_parts,
)


class RoutingCalibratedClassifierCV(ClassifierMixin, MetaEstimatorMixin, PlainState):
    """Calibrate any classifier, with routing features of any transformer.

    Fits classifier and transformer on one part of the rows, lets them predict the others, and
    fits a calibrator on the columns ``[logit__<class> ... | routing__<name> ...]`` of these. It is
    scikit-learn's :class:`~sklearn.calibration.CalibratedClassifierCV` with calibrators that may
    use routing: with ``TemperatureScaler()``, no transformer and a classifier that has a
    `decision_function` it predicts what that class does with ``method="temperature"``.

    Use it where the classifier can be refitted. A network that is trained once goes in as
    ``FrozenEstimator(network)``, or is simpler served by extracting its columns once.

    Parameters
    ----------
    estimator : estimator instance, default=None
        Classifier with `decision_function` or `predict_proba`. The default is
        :class:`~sklearn.linear_model.LogisticRegression`. One that is fitted already goes in as
        :class:`~sklearn.frozen.FrozenEstimator`; all rows are calibration rows then.
    routing_transformer : estimator instance, "passthrough" or None, default=None
        Turns the same X into routing columns. "passthrough" takes all columns of X, None none.
        To take some, write
        ``ColumnTransformer([("routing", "passthrough", columns(prefix="gate"))])``.
    calibrator : estimator instance, default=None
        A calibrator of this package, or any classifier of those columns. The default is
        :class:`NWConditionalCalibrator` with routing and :class:`TemperatureScaler` without. Its
        `classes` are set here.
    response_method : {"auto", "decision_function", "predict_proba", "predict_log_proba"}
        Where the scores come from; "auto" is `decision_function` if there is one, else
        `predict_proba`, in which 0 counts as half the smallest positive probability. For
        classifiers that can be very sure, such as naive Bayes, "predict_log_proba" is exact.
    cv : int, cross-validation generator or iterable, default=None
        Splits; None is 5-fold, and for integers the folds are stratified.
    n_jobs : int, default=None
        Folds fitted in parallel.
    ensemble : bool or "auto", default="auto"
        True keeps a classifier, transformer and calibrator for every fold and averages their
        probabilities. False fits one calibrator on the out-of-fold rows of all folds, and
        classifier and transformer again on everything; the transformer's columns must then mean
        the same whichever rows it was fitted on, as clusters or principal components do not.
        "auto" is False for a frozen or pairwise classifier and True otherwise.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted; of a frozen classifier also those that y lacks.
    calibrated_classifiers_ : list
        One member per fold, or a single one. Each has `estimator`, `routing_transformer`,
        `calibrator` and ``calibration_columns(X)``.
    n_features_in_ : int
        Number of columns seen in `fit`, if the classifier knows it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, if the classifier knows them.

    Raises
    ------
    ValueError
        From `fit`, if the data, a fold or a parameter cannot be used.
    TypeError
        From `fit`, if the classifier has no scores.

    See Also
    --------
    sklearn.calibration.CalibratedClassifierCV : Without routing.
    NWConditionalCalibrator : The default calibrator with routing.

    Notes
    -----
    A row of weight zero is absent: it is neither trained on nor calibrated on, and the folds are
    drawn without it. A class that a fold does not train on is impossible to that fold's
    classifier, and rows of that class do not calibrate it.

    With metadata routing enabled, `sample_weight` reaches those parts that request it. Without,
    it reaches every part whose `fit` takes it, and other arguments reach the classifier.

    References
    ----------
    .. [1] J. Platt. "Probabilistic Outputs for Support Vector Machines". Advances in Large Margin
       Classifiers, 1999. Section 2.1, scores for calibration out of fold.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.datasets import make_classification
    >>> from sk_arcal import RoutingCalibratedClassifierCV
    >>> X, y = make_classification(600, random_state=0)
    >>> router = KMeans(3, n_init=1, random_state=0)
    >>> model = RoutingCalibratedClassifierCV(routing_transformer=router, cv=3).fit(X, y)
    >>> member = model.calibrated_classifiers_[0]
    >>> member.calibration_columns(X).columns
    ['logit__1', 'routing__kmeans0', 'routing__kmeans1', 'routing__kmeans2']
    >>> model.predict_proba(X).shape
    (600, 2)
    """

    # `groups` is for the splitter, which asks for it itself. scikit-learn looks for a plain
    # dictionary on the class, hence the silenced rule about mutable class attributes.
    __metadata_request__fit = {"groups": UNUSED}  # noqa: RUF012

    def __init__(
        self,
        estimator: Any = None,
        *,
        routing_transformer: Any = None,
        calibrator: Any = None,
        response_method: str = "auto",
        cv: Any = None,
        n_jobs: int | None = None,
        ensemble: bool | str = "auto",
    ) -> None:
        self.estimator = estimator
        self.routing_transformer = routing_transformer
        self.calibrator = calibrator
        self.response_method = response_method
        self.cv = cv
        self.n_jobs = n_jobs
        self.ensemble = ensemble

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        **params: Any,
    ) -> Self:
        """Fit classifier, routing transformer and calibrator.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Whatever classifier and transformer take.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Numbers of repetitions; a row of weight zero is absent.
        groups : array-like of shape (n_samples,), default=None
            For the splitter: rows of one group are not split.
        **params : dict
            Further arguments, for those parts that request them; for the `fit` of the classifier
            if metadata routing is disabled.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If y holds one class only, a class that a frozen classifier does not know, a fold
            cannot be fitted, or a parameter cannot be used.
        TypeError
            If the classifier has none of the methods that give scores.
        """
        self._check_parameters()
        parts = self._parts()
        X, labels, groups = indexable(X, read_labels(y), groups)
        weight = check_weights(sample_weight, len(labels))
        own = {"sample_weight": None if sample_weight is None else weight, "groups": groups}
        arguments, splitting = fit_arguments(self, parts, own, params)
        pairwise = get_tags(self).input_tags.pairwise and not _is_frozen(parts["estimator"])
        data = FoldData(np.asarray(X) if pairwise else X, labels, arguments, pairwise)
        classes = all_classes(parts["estimator"], labels[weight > 0])
        fitting = CrossFitting(**parts, classes=classes, response_method=self.response_method)
        present = np.flatnonzero(weight > 0)
        self.calibrated_classifiers_ = self._fit_members(fitting, data, present, splitting)
        self.classes_ = classes
        first = self.calibrated_classifiers_[0].estimator
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(first, name):
                setattr(self, name, getattr(first, name))
        return self

    def _check_parameters(self) -> None:
        check_option("response_method", self.response_method, ("auto", *RESPONSES))
        if not isinstance(self.ensemble, bool | np.bool_):
            check_option("ensemble", self.ensemble, ("auto",))
        if isinstance(self.cv, str):
            raise ValueError(
                f"`cv` must be an integer, a splitter or an iterable of splits; got {self.cv!r}. "
                "A classifier that is fitted already goes in as FrozenEstimator(classifier)."
            )

    def _parts(self) -> Parts:
        return resolve_parts(self.estimator, self.routing_transformer, self.calibrator)

    def _fit_members(
        self,
        fitting: CrossFitting,
        data: FoldData,
        present: IndexArray,
        splitting: dict[str, Any],
    ) -> list[CalibratedPair]:
        frozen = _is_frozen(fitting.estimator)
        ensemble = not (frozen or data.pairwise) if self.ensemble == "auto" else self.ensemble
        if ensemble and data.pairwise:
            raise ValueError(
                "A classifier of pairwise similarities needs ensemble=False: members trained on "
                "some rows cannot read similarities to all."
            )
        if not ensemble and frozen and _is_frozen(fitting.routing_transformer):
            return [fitting.fit_pair(data, present, present)]
        folds = split_rows(self.cv, data, present, splitting)
        run = Parallel(n_jobs=self.n_jobs)
        if ensemble:
            return run(delayed(fitting.fit_pair)(data, *fold) for fold in folds)
        predicted = run(delayed(fitting.out_of_fold)(data, *fold) for fold in folds)
        return [fitting.calibrated(fitting.parts(data, present), data, predicted)]

    def predict_proba(self, X: Any) -> FloatArray:
        """Return calibrated probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Whatever classifier and transformer take.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; rows sum to one.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If classifier or transformer refuse X.
        """
        check_is_fitted(self)
        members = self.calibrated_classifiers_
        return np.sum([member.predict_proba(X) for member in members], axis=0) / len(members)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class, which need not be the classifier's own.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Whatever classifier and transformer take.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Entries of ``classes_``.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If classifier or transformer refuse X.
        """
        probability = self.predict_proba(X)
        return self.classes_[probability.argmax(axis=1)]

    def get_metadata_routing(self) -> MetadataRouter:
        """Return who asks for which metadata.

        Returns
        -------
        routing : MetadataRouter
            `fit` reaches `fit` of the three parts and `split` of the splitter.
        """
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        for name, part in self._parts().items():
            if part is not None:
                router.add(**{name: part}, method_mapping=to_fit)
        to_split = MethodMapping().add(caller="fit", callee="split")
        return router.add(splitter=self.cv, method_mapping=to_split)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        parts = self._parts()
        combined_inputs(tags.input_tags, parts)
        inner = get_tags(parts["estimator"]).classifier_tags
        if inner is not None:
            tags.classifier_tags.multi_class = inner.multi_class
            tags.classifier_tags.poor_score = inner.poor_score
        return tags


def _is_frozen(part: Any) -> bool:
    return part is None or isinstance(part, FrozenEstimator)
