"""The wrapper: out-of-fold columns, frozen parts, folds that lack a class, metadata."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
)
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils.fixes import parse_version

from sk_arcal import (
    NWConditionalCalibrator,
    RoutingCalibratedClassifierCV,
    TemperatureScaler,
    columns,
)
from sk_arcal.metrics import neg_log_loss_scorer

N = 240
both_ways = pytest.mark.parametrize("ensemble", [True, False], ids=["ensemble", "pooled"])


def data(n_classes=3, n=N, seed=0):
    return make_classification(
        n, n_features=6, n_informative=5, n_redundant=0, n_classes=n_classes, random_state=seed
    )


def wrapped(estimator=None, **settings):
    settings = {"calibrator": TemperatureScaler(), "cv": 3, **settings}
    return RoutingCalibratedClassifierCV(estimator, **settings)


class PassThrough(ClassifierMixin, BaseEstimator):
    """A classifier whose score is column 0, whatever it was fitted on."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return np.asarray(X)[:, 0]

    def predict(self, X):
        return self.classes_[(self.decision_function(X) > 0).astype(int)]


# --- what it computes ----------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("estimator", [LinearSVC(random_state=0), LogisticRegression()])
def test_temperature_without_routing_is_the_one_of_scikit_learn(estimator, n_classes, ensemble):
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        pytest.skip("scikit-learn scales by a temperature since 1.8")
    X, y = data(n_classes)
    expected = CalibratedClassifierCV(estimator, method="temperature", cv=3, ensemble=ensemble)
    ours = wrapped(estimator, ensemble=ensemble).fit(X, y)
    assert_allclose(ours.predict_proba(X), expected.fit(X, y).predict_proba(X), atol=1e-5)


def test_pooled_calibrator_sees_every_row_out_of_fold():
    X, y = data(2)
    pooled = wrapped(LogisticRegression(), ensemble=False, cv=KFold(4)).fit(X, y)
    scores = np.empty(N)
    for train, test in KFold(4).split(X):
        fold = LogisticRegression().fit(X[train], y[train])
        scores[test] = fold.decision_function(X[test])
    expected = TemperatureScaler().fit(scores[:, None], y).temperature_
    assert pooled.calibrated_classifiers_[0].calibrator.temperature_ == pytest.approx(expected)


def test_ensemble_averages_its_members():
    X, y = data()
    model = wrapped(ensemble=True).fit(X, y)
    members = [member.predict_proba(X) for member in model.calibrated_classifiers_]
    assert len(members) == 3
    assert_allclose(model.predict_proba(X), np.mean(members, axis=0), rtol=1e-12)


@both_ways
def test_planted_routing_signal_lowers_the_held_out_log_loss(ensemble):
    rng = np.random.default_rng(0)
    score, depth = rng.normal(0, 2, 3000), rng.random(3000)
    X, y = np.column_stack([score, depth]), rng.random(3000) < expit(score * (0.1 + 1.8 * depth))
    router = ColumnTransformer([("gate", "passthrough", [1])])
    losses = [
        log_loss(y[2000:], model.fit(X[:2000], y[:2000]).predict_proba(X[2000:]))
        for model in (
            wrapped(PassThrough(), ensemble=ensemble),
            wrapped(
                PassThrough(),
                routing_transformer=router,
                calibrator=NWConditionalCalibrator(),
                ensemble=ensemble,
            ),
        )
    ]
    assert losses[1] < losses[0] - 0.02


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_enter_as_their_logits(n_classes):
    X, y = data(n_classes)
    by_proba = wrapped(LogisticRegression(), response_method="predict_proba").fit(X, y)
    by_score = wrapped(LogisticRegression(), response_method="decision_function").fit(X, y)
    by_log = wrapped(LogisticRegression(), response_method="predict_log_proba").fit(X, y)
    assert_allclose(by_proba.predict_proba(X), by_score.predict_proba(X), atol=1e-6)
    assert_allclose(by_log.predict_proba(X), by_score.predict_proba(X), atol=1e-6)


def test_log_probabilities_keep_what_probabilities_round_away():
    X, y = data(2)
    X = np.tile(X, 20)
    model = wrapped(GaussianNB(), response_method="predict_log_proba").fit(X, y)
    member = model.calibrated_classifiers_[0]
    log_proba = member.estimator.predict_log_proba(X)
    assert (member.estimator.predict_proba(X) == 1).any()
    scores = np.asarray(member.calibration_columns(X))[:, 0]
    assert_allclose(scores, log_proba[:, 1] - log_proba[:, 0])


@both_ways
def test_probability_of_zero_counts_as_half_the_smallest(ensemble):
    X, y = data(2)
    model = wrapped(KNeighborsClassifier(10), ensemble=ensemble).fit(X, y)
    member = model.calibrated_classifiers_[0]
    sure = member.estimator.predict_proba(X)[:, 1] == 0
    assert sure.any()
    scores = np.asarray(member.calibration_columns(X))[sure, 0]
    assert_allclose(scores, np.log(0.05), rtol=1e-12)


def test_default_is_logistic_regression_and_temperature_without_routing():
    X, y = data()
    explicit = RoutingCalibratedClassifierCV(LogisticRegression(), calibrator=TemperatureScaler())
    default = RoutingCalibratedClassifierCV().fit(X, y)
    assert_array_equal(default.predict_proba(X), explicit.fit(X, y).predict_proba(X))
    assert len(default.calibrated_classifiers_) == 5


def test_default_calibrator_with_routing_is_the_kernel():
    X, y = data()
    model = RoutingCalibratedClassifierCV(routing_transformer="passthrough", cv=2).fit(X, y)
    assert isinstance(model.calibrated_classifiers_[0].calibrator, NWConditionalCalibrator)


@both_ways
def test_any_classifier_of_the_columns_may_calibrate(ensemble):
    X, y = data()
    platt = make_pipeline(StandardScaler(), LogisticRegression())
    model = wrapped(calibrator=platt, routing_transformer=PCA(2), ensemble=ensemble).fit(X, y)
    probability = model.predict_proba(X)
    assert_allclose(probability.sum(axis=1), 1)
    assert model.score(X, y) > 0.6


@both_ways
@pytest.mark.parametrize("n_jobs", [2])
def test_number_of_jobs_does_not_matter(n_jobs, ensemble):
    X, y = data()
    settings = {"routing_transformer": StandardScaler(), "ensemble": ensemble}
    alone = wrapped(**settings).fit(X, y)
    together = wrapped(**settings, n_jobs=n_jobs).fit(X, y)
    assert_array_equal(together.predict_proba(X), alone.predict_proba(X))


# --- columns -------------------------------------------------------------------------------------


def test_columns_are_named_after_classes_and_features():
    X, y = data()
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(6)])
    router = ColumnTransformer(
        [("gate", StandardScaler(), ["x1"]), ("rest", "passthrough", ["x2"])],
        verbose_feature_names_out=False,
    )
    model = wrapped(routing_transformer=router).fit(frame, np.array(["a", "b", "c"])[y])
    table = model.calibrated_classifiers_[0].calibration_columns(frame)
    assert table.columns == ["logit__a", "logit__b", "logit__c", "routing__x1", "routing__x2"]
    assert_array_equal(table["routing__x2"], X[:, 2])
    assert table.shape == np.asarray(table).shape == (N, 5)


@pytest.mark.parametrize(
    ("labels", "name"),
    [([0, 1], "logit__1"), ([0.0, 1.0], "logit__1"), (["no", "yes"], "logit__yes")],
)
def test_two_classes_have_one_score(labels, name):
    X, y = data(2)
    model = wrapped().fit(X, np.array(labels)[y])
    assert model.calibrated_classifiers_[0].calibration_columns(X).columns == [name]
    assert_array_equal(model.classes_, labels)


@pytest.mark.parametrize("router", ["passthrough", FunctionTransformer()])
def test_routing_without_names_is_numbered(router):
    X, y = data(2)
    model = wrapped(routing_transformer=router).fit(X, y)
    names = model.calibrated_classifiers_[0].calibration_columns(X).columns[1:]
    numbered = [f"routing__x{i}" if router == "passthrough" else f"routing__{i}" for i in range(6)]
    assert names == numbered


def test_calibrator_selects_columns_by_name():
    X, y = data()
    frame = pd.DataFrame(X, columns=[*"abcd", "gate0", "gate1"])
    kernel = NWConditionalCalibrator(routing_columns=columns(prefix="routing__gate"))
    model = wrapped(routing_transformer="passthrough", calibrator=kernel).fit(frame, y)
    roles = model.calibrated_classifiers_[0].calibrator.column_roles_
    assert_array_equal(roles.confidence, [0, 1, 2])
    assert_array_equal(roles.routing, [7, 8])


def test_transformer_is_fitted_on_the_training_part():
    X, y = data()
    model = wrapped(routing_transformer=StandardScaler(), cv=KFold(3)).fit(X, y)
    for (train, _), member in zip(KFold(3).split(X), model.calibrated_classifiers_, strict=True):
        assert_allclose(member.routing_transformer.mean_, X[train].mean(axis=0))


class OnePerRow(TransformerMixin, BaseEstimator):
    """Makes as many columns as it was fitted on rows."""

    def fit(self, X, y=None):
        self.n_ = len(X)
        return self

    def transform(self, X):
        return np.zeros((len(X), self.n_))


def test_columns_that_differ_between_folds_cannot_be_pooled():
    X, y = data(2, n=50)
    model = wrapped(routing_transformer=OnePerRow(), ensemble=False, cv=KFold(3))
    with pytest.raises(ValueError, match=r"routing__0.*in one fold.*ensemble=True"):
        model.fit(X, y)


# --- kinds of X ----------------------------------------------------------------------------------


def test_sparse_matrix_equals_array():
    X, y = data()
    X[X < 0] = 0
    dense = wrapped(routing_transformer="passthrough").fit(X, y).predict_proba(X)
    for kind in (sparse.csr_matrix, sparse.coo_matrix, sparse.csr_array):
        model = wrapped(routing_transformer="passthrough").fit(kind(X), y)
        assert_allclose(model.predict_proba(kind(X).tocsr()), dense, atol=1e-6)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_table_equals_array(table):
    X, y = data()
    frame = table({f"x{i}": column for i, column in enumerate(X.T)})
    expected = wrapped(routing_transformer=StandardScaler()).fit(X, y).predict_proba(X)
    model = wrapped(routing_transformer=StandardScaler()).fit(frame, y)
    assert_allclose(model.predict_proba(frame), expected, rtol=1e-12)


def test_list_of_texts():
    texts = 4 * ["good film", "good fun", "good film", "bad film", "bad bore", "bad film"]
    labels = 4 * ["up", "up", "down", "down", "down", "up"]
    length = FunctionTransformer(lambda rows: np.array([[len(row)] for row in rows]))
    estimator = make_pipeline(CountVectorizer(), MultinomialNB())
    model = wrapped(estimator, routing_transformer=length, cv=2)
    model.fit(texts, labels)
    assert model.predict(["good", "bad"]).tolist() == ["up", "down"]


def test_precomputed_kernel_equals_the_linear_one():
    X, y = data()
    linear = wrapped(SVC(kernel="linear"), ensemble=False).fit(X[:200], y[:200])
    kernel = wrapped(SVC(kernel="precomputed"))
    assert get_tags(kernel).input_tags.pairwise
    kernel.fit(X[:200] @ X[:200].T, y[:200])
    expected = linear.predict_proba(X[200:])
    assert_allclose(kernel.predict_proba(X[200:] @ X[:200].T), expected, atol=1e-6)


def test_precomputed_kernel_has_no_ensemble():
    X, y = data()
    with pytest.raises(ValueError, match="pairwise similarities needs ensemble=False"):
        wrapped(SVC(kernel="precomputed"), ensemble=True).fit(X @ X.T, y)


def test_one_score_per_pair_of_classes_is_refused():
    X, y = data(4)
    with pytest.raises(
        ValueError, match=r"\(\d+, 6\) for 4 classes.*decision_function_shape='ovr'"
    ):
        wrapped(SVC(decision_function_shape="ovo")).fit(X, y)


def test_tags_are_those_of_the_parts():
    assert get_tags(wrapped(LinearSVC())).input_tags.sparse
    assert not get_tags(
        wrapped(LinearSVC(), routing_transformer=StandardScaler())
    ).input_tags.sparse
    assert get_tags(wrapped(DecisionTreeClassifier())).input_tags.allow_nan
    assert not get_tags(wrapped(LinearSVC())).input_tags.allow_nan


# --- frozen parts --------------------------------------------------------------------------------


def test_frozen_classifier_is_calibrated_on_all_rows():
    X, y = data(2)
    network = LogisticRegression().fit(X[:100], y[:100])
    model = RoutingCalibratedClassifierCV(FrozenEstimator(network)).fit(X[100:], y[100:])
    scores = network.decision_function(X[100:])[:, None]
    expected = TemperatureScaler().fit(scores, y[100:]).predict_proba(scores)
    assert len(model.calibrated_classifiers_) == 1
    assert_array_equal(model.predict_proba(X[100:]), expected)


def test_frozen_classifier_may_know_classes_that_y_lacks():
    X, y = data()
    names = np.array(["ant", "bee", "cow"])
    network = FrozenEstimator(LogisticRegression().fit(X, names[y]))
    some = y != 1
    model = RoutingCalibratedClassifierCV(network).fit(X[some], names[y[some]])
    assert_array_equal(model.classes_, names)
    assert_array_equal(model.predict(X), network.predict(X))


def test_label_unknown_to_a_frozen_classifier_is_refused():
    X, y = data()
    network = FrozenEstimator(LogisticRegression().fit(X[y < 2], y[y < 2]))
    with pytest.raises(ValueError, match=r"y holds \[2\], but the frozen classifier knows"):
        wrapped(network).fit(X, y)


def test_unfitted_frozen_classifier_is_said():
    with pytest.raises(NotFittedError):
        wrapped(FrozenEstimator(LogisticRegression())).fit(*data())


def test_frozen_transformer_stays_as_it_is():
    X, y = data()
    router = StandardScaler().fit(X[:50])
    model = wrapped(routing_transformer=FrozenEstimator(router)).fit(X, y)
    for member in model.calibrated_classifiers_:
        assert member.routing_transformer.estimator is router


def test_frozen_classifier_with_a_transformer_to_fit_is_cross_fitted():
    X, y = data()
    network = FrozenEstimator(LogisticRegression().fit(X, y))
    model = wrapped(network, routing_transformer=StandardScaler(), ensemble=True).fit(X, y)
    means = [member.routing_transformer.mean_[0] for member in model.calibrated_classifiers_]
    assert len(set(means)) == 3


# --- classes and folds ---------------------------------------------------------------------------


@both_ways
def test_class_that_a_fold_does_not_train_on(ensemble):
    X, y = data(4)
    fold = np.where(y == 3, 0, np.arange(N) % 3)
    model = wrapped(cv=PredefinedSplit(fold), ensemble=ensemble).fit(X, y)
    probability = model.predict_proba(X)
    assert_allclose(probability.sum(axis=1), 1)
    assert_array_equal(model.classes_, range(4))
    if ensemble:
        # The first member never saw class 3, and the others did.
        assert model.calibrated_classifiers_[0].predict_proba(X)[:, 3].max() < 1e-20
    assert (probability[:, 3] > 1e-3).any()


def test_two_known_classes_among_three():
    X, y = data(3)
    fold = np.where(y == 1, 0, np.arange(N) % 3)
    model = wrapped(SVC(), cv=PredefinedSplit(fold)).fit(X, y)
    member = model.calibrated_classifiers_[0]
    assert_array_equal(member.estimator.classes_, [0, 2])
    scores = np.asarray(member.calibration_columns(X))
    assert_allclose(scores[:, 2] - scores[:, 0], member.estimator.decision_function(X))
    assert (scores[:, 1] < scores[:, [0, 2]].min(axis=1) - 700).all()


@both_ways
def test_class_that_a_fold_does_not_calibrate_on(ensemble):
    X, y = data(3)
    fold = np.where(y == 2, 0, np.arange(N) % 3)
    fold[np.flatnonzero(y == 2)[:40]] = -1
    model = wrapped(cv=PredefinedSplit(fold), ensemble=ensemble).fit(X, y)
    assert model.predict_proba(X).shape == (N, 3)
    assert model.score(X, y) > 0.6


def test_fold_of_one_class_is_refused():
    X, y = data(2)
    order = np.argsort(y, kind="stable")
    with pytest.raises(ValueError, match=r"trains on .* rows of one class only.*stratified"):
        wrapped(cv=KFold(2)).fit(X[order], y[order])


def test_folds_without_common_classes_are_refused():
    X, y = data(4)
    splits = [(np.flatnonzero(y < 2), np.flatnonzero(y >= 2))]
    with pytest.raises(ValueError, match="whose folds share classes"):
        wrapped(cv=splits).fit(X, y)


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"only one class, \[1\]"):
        wrapped().fit(data()[0], np.ones(N, dtype=int))


def test_overlapping_folds_cannot_be_pooled():
    with pytest.raises(ValueError, match="every row may be predicted once"):
        wrapped(cv=ShuffleSplit(3, random_state=0), ensemble=False).fit(*data())


@both_ways
def test_iterable_of_splits_equals_the_splitter(ensemble):
    X, y = data()
    splitter = StratifiedKFold(3)
    expected = wrapped(cv=splitter, ensemble=ensemble).fit(X, y).predict_proba(X)
    model = wrapped(cv=splitter.split(X, y), ensemble=ensemble).fit(X, y)
    assert_array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"cv": "prefit"}, ValueError, "goes in as FrozenEstimator"),
        ({"cv": 1}, ValueError, "n_splits=1"),
        ({"ensemble": "yes"}, ValueError, "`ensemble` must be one of 'auto'"),
        ({"response_method": "predict"}, ValueError, "`response_method` must be one of"),
        ({"response_method": "decision_function"}, TypeError, "has no decision_function"),
        ({"routing_transformer": "all"}, TypeError, "`routing_transformer` must.*passthrough"),
        ({"routing_transformer": PCA}, TypeError, "`routing_transformer` must be an estimator"),
        ({"calibrator": PCA()}, TypeError, "`calibrator` must be .* with `predict_proba`"),
        ({"estimator": 3}, TypeError, "`estimator` must be an estimator with `fit`; got 3"),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(settings, error, message):
    settings = {"estimator": GaussianNB(), **settings}
    with pytest.raises(error, match=message):
        wrapped(**settings).fit(*data())


# --- weights and metadata ------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("cv", [3, KFold(3), "splits"])
def test_weight_zero_is_an_absent_row(cv, ensemble):
    X, y = data()
    present = np.arange(N) % 5 != 0
    X[~present] = 1e3
    settings = {"routing_transformer": StandardScaler(), "ensemble": ensemble}
    if cv == "splits":
        folds = list(KFold(3).split(X[present]))
        where = np.flatnonzero(present)
        among_all = [(np.r_[where[a], 0, 5], np.r_[where[b], 10]) for a, b in folds]
    else:
        folds = among_all = cv
    expected = wrapped(cv=folds, **settings).fit(X[present], y[present])
    model = wrapped(cv=among_all, **settings).fit(X, y, sample_weight=present.astype(float))
    assert_allclose(model.predict_proba(X[:9]), expected.predict_proba(X[:9]), rtol=1e-12)


def test_weights_reach_classifier_transformer_and_calibrator():
    X, y = data(2)
    weight = np.random.default_rng(1).integers(1, 4, N)
    train, test = np.arange(0, N, 2), np.arange(1, N, 2)
    settings = {"routing_transformer": StandardScaler(), "calibrator": NWConditionalCalibrator()}
    weighted = wrapped(cv=[(train, test)], **settings).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(N), weight)
    split = [(np.flatnonzero(rows % 2 == 0), np.flatnonzero(rows % 2))]
    repeated = wrapped(cv=split, **settings).fit(X[rows], y[rows])
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=2e-4)


def test_classifier_without_weights_warns():
    X, y = data()
    with pytest.warns(UserWarning, match="`fit` of KNeighborsClassifier takes no sample_weight"):
        wrapped(KNeighborsClassifier()).fit(X, y, sample_weight=np.ones(N))


@pytest.mark.parametrize("weight", [-np.ones(N), np.ones(3), np.zeros(N)])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="sample_weight"):
        wrapped().fit(*data(), sample_weight=weight)


@pytest.mark.parametrize("routed", [False, True])
def test_groups_reach_the_splitter(routed):
    X, y = data()
    groups = np.arange(N) // 8
    with config_context(enable_metadata_routing=routed):
        model = wrapped(cv=GroupKFold(3), routing_transformer=StandardScaler())
        model.fit(X, y, groups=groups)
    expected = [X[train].mean() for train, _ in GroupKFold(3).split(X, y, groups)]
    means = [member.routing_transformer.mean_.mean() for member in model.calibrated_classifiers_]
    assert_allclose(means, expected)


class Recorder(LogisticRegression):
    """Keeps the weights it was fitted with."""

    def fit(self, X, y, sample_weight=None):
        self.weight_ = sample_weight
        return super().fit(X, y, sample_weight)


def test_weights_are_routed_to_those_who_ask():
    X, y = data(2)
    weight = np.linspace(1, 2, N)
    with config_context(enable_metadata_routing=True):
        asking = Recorder().set_fit_request(sample_weight=True)
        refusing = TemperatureScaler().set_fit_request(sample_weight=False)
        model = wrapped(asking, calibrator=refusing, cv=KFold(2))
        model.fit(X, y, sample_weight=weight)
    member = model.calibrated_classifiers_[0]
    assert_array_equal(member.estimator.weight_, weight[N // 2 :])
    scores = np.asarray(member.calibration_columns(X[: N // 2]))
    expected = TemperatureScaler().fit(scores, y[: N // 2]).temperature_
    assert member.calibrator.temperature_ == pytest.approx(expected, rel=1e-12)


def test_weights_under_another_name():
    X, y = data(2)
    weight = np.linspace(1, 2, N)
    with config_context(enable_metadata_routing=True):
        asking = Recorder().set_fit_request(sample_weight="importance")
        model = wrapped(asking, cv=KFold(2)).fit(X, y, importance=weight)
    assert_array_equal(model.calibrated_classifiers_[1].estimator.weight_, weight[: N // 2])


def test_search_brings_weights_and_groups_to_the_wrapper():
    X, y = data(2)
    weight, groups = np.linspace(1, 2, N), np.arange(N) // 8
    with config_context(enable_metadata_routing=True):
        model = wrapped(
            Recorder().set_fit_request(sample_weight=True),
            calibrator=TemperatureScaler().set_fit_request(sample_weight=True),
            cv=GroupKFold(2),
        ).set_fit_request(sample_weight=True)
        scorer = neg_log_loss_scorer.set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"estimator__C": [0.1, 1.0]}, scoring=scorer, cv=GroupKFold(3))
        search.fit(X, y, sample_weight=weight, groups=groups)
    for fold, member in zip(
        GroupKFold(2).split(X, y, groups),
        search.best_estimator_.calibrated_classifiers_,
        strict=True,
    ):
        assert_array_equal(member.estimator.weight_, weight[fold[0]])


def test_unrequested_weights_are_an_error_of_scikit_learn():
    X, y = data()
    with (
        config_context(enable_metadata_routing=True),
        pytest.raises(ValueError, match=r"\[sample_weight\] are passed but are not explicitly set"),
    ):
        wrapped(LogisticRegression()).fit(X, y, sample_weight=np.ones(N))


def test_default_parts_ask_for_weights():
    X, y = data()
    weight = np.random.default_rng(0).random(N)
    expected = RoutingCalibratedClassifierCV(cv=2).fit(X, y, sample_weight=weight)
    with config_context(enable_metadata_routing=True):
        model = RoutingCalibratedClassifierCV(cv=2).fit(X, y, sample_weight=weight)
    assert_array_equal(model.predict_proba(X), expected.predict_proba(X))


def test_other_arguments_reach_the_classifier():
    class Curious(LogisticRegression):
        def fit(self, X, y, hint=None, scale=1):
            self.hint_, self.scale_ = hint, scale
            return super().fit(X, y)

    X, y = data()
    model = wrapped(Curious(), cv=KFold(2)).fit(X, y, hint=np.arange(N), scale=3)
    assert_array_equal(model.calibrated_classifiers_[1].estimator.hint_, np.arange(N // 2))
    assert model.calibrated_classifiers_[1].estimator.scale_ == 3


# --- life of the object --------------------------------------------------------------------------


def test_search_over_classifier_and_calibrator():
    X, y = data(2)
    model = wrapped(
        LogisticRegression(),
        routing_transformer=StandardScaler(),
        calibrator=NWConditionalCalibrator(bandwidth="scott"),
    )
    grid = {"calibrator__bandwidth_scale": [0.5, 2.0], "estimator__C": [0.01, 1.0]}
    search = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    inside = search.best_estimator_.calibrated_classifiers_[0]
    assert search.best_params_["estimator__C"] == inside.estimator.C
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_search_inside_the_wrapper():
    X, y = data(3)
    search = GridSearchCV(TemperatureScaler(), {"max_iter": [50, 100]}, cv=2)
    model = wrapped(calibrator=search).fit(X, np.array(["a", "b", "c"])[y])
    expected = wrapped().fit(X, y).predict_proba(X)
    assert_allclose(model.predict_proba(X), expected, rtol=1e-9)


def test_pickle_and_clone():
    X, y = data()
    model = wrapped(routing_transformer=StandardScaler()).fit(X, y)
    expected = model.predict_proba(X)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
    assert_array_equal(clone(model).fit(X, y).predict_proba(X), expected)


def test_skops_has_to_trust_the_wrapper_and_the_calibrator_only():
    X, y = data()
    model = wrapped(routing_transformer=StandardScaler()).fit(X, y)
    saved = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=saved)
    assert [name.rpartition(".")[2] for name in types] == [
        "RoutingCalibratedClassifierCV",
        "TemperatureScaler",
    ]
    copy = skops.io.loads(saved, trusted=types)
    assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_fit_leaves_its_parts_alone():
    X, y = data()
    model = wrapped(LogisticRegression(), routing_transformer=StandardScaler())
    before = {
        name: (part, vars(part).copy())
        for name, part in model.get_params(False).items()
        if hasattr(part, "fit")
    }
    model.fit(X, y)
    for name, (part, state) in before.items():
        assert getattr(model, name) is part
        assert vars(part) == state


def test_html_shows_the_parts():
    html = estimator_html_repr(wrapped(LinearSVC(), routing_transformer=PCA()))
    assert all(name in html for name in ("LinearSVC", "PCA", "TemperatureScaler"))


def test_input_is_described_by_the_classifier():
    X, y = data()
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = wrapped().fit(frame, y)
    assert model.n_features_in_ == 6
    assert_array_equal(model.feature_names_in_, list("abcdef"))


def test_not_fitted_is_said():
    with pytest.raises(NotFittedError):
        wrapped().predict_proba(data()[0])
