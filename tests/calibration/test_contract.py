"""One contract for all calibrators. A new method joins by one line in CALIBRATORS."""

import json
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import skops.io
from scipy.special import expit, softmax
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.fixes import parse_version

from sk_arcal.calibration import (
    AdversarialReweightCalibrator,
    CalibrationWarning,
    CapacityMatchedMLP,
    ExpertTemperatureScaler,
    MulticalibrationCalibrator,
    NWConditionalCalibrator,
    StructuredScaler,
    TemperatureScaler,
    calibrator_from_dict,
)
from sk_arcal.calibration._network._mlp_network import matched_width
from sk_arcal.metrics import neg_brier_scorer, neg_calibration_error_scorer, neg_log_loss_scorer

PLAIN_KERNEL = NWConditionalCalibrator(
    anchor="none",
    bandwidth="scott",
    confidence_axis="probability",
    routing_axis="standardized",
    shrinkage=0.0,
    min_mass=0.0,
)
# By default a network leaves 80 rows alone; a contract about nothing would always hold.
NETWORK = CapacityMatchedMLP(n_standard_errors=0.0, random_state=1)
CALIBRATORS = {
    "temperature": TemperatureScaler(),
    "kernel": NWConditionalCalibrator(),
    "kernel-plain": PLAIN_KERNEL,
    "structured": StructuredScaler(),
    "structured-vector": StructuredScaler(structure="vector", penalty=1.0),
    "expert-temperature": ExpertTemperatureScaler(),
    "adversarial": AdversarialReweightCalibrator(),
    # By default 80 rows are too few for patches.
    "multicalibration": MulticalibrationCalibrator(n_bins=3, max_iter=20, n_standard_errors=0.0),
    "network": NETWORK,
    "network-shuffled": clone(NETWORK).set_params(control="shuffled_routing"),
}

# Scaling classes apart is what these are for: another class may come out on top.
RERANKING = (StructuredScaler,)

N = 80


@pytest.fixture(params=CALIBRATORS)
def calibrator(request):
    return clone(CALIBRATORS[request.param])


def event_data(n=N, seed=0):
    """Log odds, two routing columns, and an event that depends on the first of these."""
    rng = np.random.default_rng(seed)
    log_odds, routing = rng.normal(0, 1.5, n), rng.normal(size=(n, 2))
    y = (rng.random(n) < expit(log_odds / 2 + routing[:, 0])).astype(int)
    return np.column_stack([log_odds, routing]), y


def class_data(n=N, n_classes=4, seed=0):
    """One logit per class, one routing column that scales them, and a label."""
    rng = np.random.default_rng(seed)
    logits, routing = 2 * rng.normal(size=(n, n_classes)), rng.random(n)
    truth = softmax(logits * (0.2 + routing[:, None]), axis=1)
    y = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=n_classes - 1)
    y[: min(n, n_classes)] = np.arange(min(n, n_classes))
    return np.column_stack([logits, routing]), y


def events_as_probabilities(n=N):
    X, y = event_data(n)
    X[:, 0] = expit(X[:, 0])
    return X, y


def classes_as_probabilities(n=N):
    X, y = class_data(n)
    X[:, :4] = softmax(X[:, :4], axis=1)
    return X, y


DATA = {
    "event": event_data,
    "classes": class_data,
    "event-probability": events_as_probabilities,
    "class-probability": classes_as_probabilities,
}
every_kind = pytest.mark.parametrize("data", DATA.values(), ids=DATA)
both_kinds = pytest.mark.parametrize("data", [event_data, class_data], ids=["event", "classes"])


# --- probabilities and predictions ---------------------------------------------------------------


@every_kind
def test_rows_are_probabilities(calibrator, data):
    X, y = data()
    probability = calibrator.fit(X, y).predict_proba(X)
    assert probability.shape == (N, len(np.unique(y)))
    assert ((probability >= 0) & (probability <= 1)).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)


@both_kinds
def test_predict_is_the_most_probable_class(calibrator, data):
    X, y = data()
    calibrator.fit(X, y + 5)
    top = calibrator.predict_proba(X).argmax(axis=1)
    np.testing.assert_array_equal(calibrator.predict(X), calibrator.classes_[top])


@both_kinds
def test_decision_function_gives_the_logits_of_predict_proba(calibrator, data):
    X, y = data()
    scores = calibrator.fit(X, y).decision_function(X)
    probability = expit(scores) if scores.ndim == 1 else softmax(scores, axis=1)
    expected = calibrator.predict_proba(X)
    np.testing.assert_allclose(probability, expected[:, 1] if scores.ndim == 1 else expected)


def test_a_sure_event_leaves_the_other_class_its_tiny_probability(calibrator):
    X, y = event_data()
    calibrator.fit(X, y)
    calibrator._calibrated_logits = lambda logits, routing: np.full(len(logits), 50.0)
    np.testing.assert_allclose(calibrator.predict_proba(X)[:, 0], np.exp(-50), rtol=1e-10)


@pytest.mark.parametrize("data", [class_data, classes_as_probabilities], ids=["logit", "proba"])
def test_ranking_of_classes_is_kept(calibrator, data):
    if isinstance(calibrator, RERANKING):
        pytest.skip("this method may change the ranking by design")
    X, y = data()
    before, after = X[:, :4], calibrator.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    ascending = np.take_along_axis(after, before.argsort(axis=1), axis=1)
    assert (np.diff(ascending, axis=1) >= 0).all()


def test_a_thousand_classes(calibrator):
    X, _ = class_data(60, n_classes=1000)
    y = np.arange(60) % 20
    X[np.arange(60), np.where(np.arange(60) < 15, y + 1, y)] += 10
    calibrator.set_params(classes=range(1000)).fit(X, y)
    probability = calibrator.predict_proba(X)
    assert probability.shape == (60, 1000)
    assert np.isfinite(probability).all()
    if not isinstance(calibrator, RERANKING):
        np.testing.assert_array_equal(probability.argmax(axis=1), X[:, :1000].argmax(axis=1))


@both_kinds
def test_prediction_does_not_depend_on_neighbours(calibrator, data):
    X, y = data()
    together = calibrator.fit(X, y).predict_proba(X)
    alone = np.vstack([calibrator.predict_proba(row[None]) for row in X[:20]])
    np.testing.assert_allclose(alone, together[:20], rtol=1e-12, atol=1e-300)


# --- life of the object --------------------------------------------------------------------------


def test_refit_forgets_the_first_fit(calibrator):
    X, y = class_data()
    first = pd.DataFrame(X, columns=[f"column{i}" for i in range(5)])
    calibrator.fit(first, np.array(["a", "b", "c", "d"])[y])
    X, y = event_data()
    expected = clone(calibrator).fit(X, y)
    np.testing.assert_array_equal(calibrator.fit(X, y).predict_proba(X), expected.predict_proba(X))
    assert vars(calibrator).keys() == vars(expected).keys()


def test_fit_leaves_parameters_alone(calibrator):
    before = calibrator.get_params()
    calibrator.fit(*event_data())
    assert all(calibrator.get_params()[name] is value for name, value in before.items())


def test_fit_leaves_its_input_alone(calibrator):
    X, y = classes_as_probabilities()
    copies = X.copy(), y.copy()
    calibrator.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(X, copies[0])
    np.testing.assert_array_equal(y, copies[1])


def test_clone_is_unfitted_and_fits_the_same(calibrator):
    X, y = event_data()
    copy = clone(calibrator.fit(X, y))
    with pytest.raises(NotFittedError):
        copy.predict_proba(X)
    np.testing.assert_array_equal(copy.fit(X, y).predict_proba(X), calibrator.predict_proba(X))


def test_pickle_round_trip(calibrator):
    X, y = class_data()
    copy = pickle.loads(pickle.dumps(calibrator.fit(X, y)))
    np.testing.assert_array_equal(copy.predict_proba(X), calibrator.predict_proba(X))


def test_joblib_round_trip(calibrator, tmp_path):
    X, y = class_data()
    joblib.dump(calibrator.fit(X, y), tmp_path / "calibrator.joblib")
    copy = joblib.load(tmp_path / "calibrator.joblib", mmap_mode="r")
    np.testing.assert_array_equal(copy.predict_proba(X), calibrator.predict_proba(X))


def test_parameters_are_set_and_read(calibrator):
    settings = {"confidence_columns": [0], "routing_columns": [], "confidence_kind": "logit"}
    settings["classes"] = [0, 1]
    assert settings.items() <= calibrator.set_params(**settings).get_params().items()


def test_not_fitted_is_said(calibrator):
    with pytest.raises(NotFittedError):
        calibrator.predict(event_data()[0])


# --- labels and classes --------------------------------------------------------------------------


def test_string_labels(calibrator):
    X, y = class_data()
    names = np.array(["ant", "bee", "cow", "dog"])
    expected = calibrator.fit(X, y).predict_proba(X)
    named = clone(calibrator).fit(X, names[y])
    np.testing.assert_array_equal(named.predict_proba(X), expected)
    np.testing.assert_array_equal(named.predict(X), names[expected.argmax(axis=1)])


@pytest.mark.parametrize(
    "as_labels",
    [
        lambda y: y == 1,
        lambda y: y.astype(float),
        lambda y: y.tolist(),
        lambda y: pd.Series(y).map({0: "no", 1: "yes"}).astype("category"),
        lambda y: pd.Series(y).map({0: "no", 1: "yes"}).astype("string"),
        lambda y: pl.Series(np.array(["no", "yes"])[y].tolist()),
    ],
    ids=["bool", "float", "list", "categorical", "pandas-string", "polars"],
)
def test_every_kind_of_label_gives_the_same_probabilities(calibrator, as_labels):
    X, y = event_data()
    expected = calibrator.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(clone(calibrator).fit(X, as_labels(y)).predict_proba(X), expected)


def test_classes_given_cover_a_class_that_y_lacks(calibrator):
    X, y = class_data()
    names, some = np.array(["ant", "bee", "cow", "dog"]), y != 1
    calibrator.set_params(classes=names).fit(X[some], names[y[some]])
    np.testing.assert_array_equal(calibrator.classes_, names)
    assert calibrator.predict_proba(X).shape == (N, 4)


@pytest.mark.parametrize("missing", [0, 2, 3])
def test_integer_labels_in_range_cover_a_class_that_y_lacks(calibrator, missing):
    X, y = class_data()
    some = y != missing
    calibrator.set_params(confidence_columns=range(4)).fit(X[some], y[some])
    np.testing.assert_array_equal(calibrator.classes_, range(4))
    given = clone(calibrator).set_params(classes=range(4)).fit(X[some], y[some])
    np.testing.assert_array_equal(calibrator.predict_proba(X), given.predict_proba(X))


def test_order_of_classes_follows_the_columns(calibrator):
    X, y = class_data()
    order = [2, 0, 3, 1]
    expected = calibrator.fit(X, y).predict_proba(X)
    X[:, :4] = X[:, order]
    permuted = clone(calibrator).set_params(classes=order).fit(X, y)
    np.testing.assert_array_equal(permuted.classes_, range(4))
    np.testing.assert_allclose(permuted.predict_proba(X), expected, rtol=1e-12)


def test_a_single_column_may_be_the_score_of_the_first_class(calibrator):
    X, y = event_data()
    expected = calibrator.fit(X, y).predict_proba(X)
    X[:, 0] *= -1
    reversed_ = clone(calibrator).set_params(classes=[1, 0]).fit(X, y)
    np.testing.assert_allclose(reversed_.predict_proba(X), expected, rtol=1e-12)


def test_two_columns_equal_one_of_their_difference(calibrator):
    X, y = event_data()
    expected = calibrator.fit(X, y).predict_proba(X)
    shift = np.random.default_rng(1).normal(size=N)
    both = np.column_stack([shift - X[:, 0] / 2, shift + X[:, 0] / 2, X[:, 1:]])
    two = clone(calibrator).set_params(confidence_columns=[0, 1]).fit(both, y)
    np.testing.assert_allclose(two.predict_proba(both), expected, rtol=1e-9)


def test_label_outside_the_classes_is_refused(calibrator):
    X, y = event_data()
    with pytest.raises(ValueError, match=r"Row \d+ of y holds .*2.*none of the classes \[0, 1\]"):
        calibrator.set_params(classes=[0, 1]).fit(X, np.where(y == 1, 2, 0))


def test_one_class_is_refused(calibrator):
    X, _ = event_data()
    with pytest.raises(ValueError, match=r"only one class, \[1\].*classes=\[no_event, event\]"):
        calibrator.fit(X, np.ones(N, dtype=int))


# Few rows are always separated perfectly, or ranked backwards.
@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@pytest.mark.parametrize("n", [1, 2])
@both_kinds
def test_very_few_rows(calibrator, data, n):
    X, y = data()
    calibrator.set_params(classes=np.unique(y), confidence_kind="logit").fit(X[:n], y[:n])
    probability = calibrator.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)


# --- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_frames_equal_arrays(calibrator, table):
    X, y = class_data()
    frame = table({f"column{i}": values for i, values in enumerate(X.T)})
    expected = calibrator.fit(X, y).predict_proba(X)
    framed = clone(calibrator).fit(frame, y)
    np.testing.assert_array_equal(framed.predict_proba(frame), expected)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("prefix", ["logit", "proba"])
def test_names_are_understood_without_parameters(calibrator, table, prefix):
    X, y = class_data() if prefix == "logit" else classes_as_probabilities()
    names = np.array(["ant", "bee", "cow", "dog"])
    # Not in the order of the classes, and the routing column first.
    frame = {"routing__depth": X[:, 4]}
    frame |= {f"{prefix}__{names[k]}": X[:, k] for k in [3, 1, 0, 2]}
    frame = table(frame)
    expected = calibrator.fit(X, names[y]).predict_proba(X)
    named = clone(calibrator).fit(frame, names[y])
    np.testing.assert_array_equal(named.column_roles_.routing, [0])
    np.testing.assert_allclose(named.predict_proba(frame), expected, rtol=1e-12)


def test_a_named_single_column_is_the_score_of_its_class(calibrator):
    X, y = event_data()
    names = np.array(["dog", "cat"])
    expected = calibrator.fit(X, y).predict_proba(X)
    frame = pd.DataFrame(X, columns=["logit__cat", "routing__a", "routing__b"])
    named = clone(calibrator).fit(frame, names[y])
    np.testing.assert_array_equal(named.classes_, ["cat", "dog"])
    np.testing.assert_allclose(named.predict_proba(frame)[:, ::-1], expected, rtol=1e-12)


def test_reordered_columns_are_refused(calibrator):
    X, y = event_data()
    frame = pd.DataFrame(X, columns=["logit__1", "routing__a", "routing__b"])
    calibrator.fit(frame, y)
    with pytest.raises(ValueError, match="same order"):
        calibrator.predict_proba(frame[["routing__a", "logit__1", "routing__b"]])


def test_features_are_counted_and_named(calibrator):
    X, y = event_data()
    calibrator.fit(pd.DataFrame(X, columns=list("abc")), y)
    assert calibrator.n_features_in_ == 3
    np.testing.assert_array_equal(calibrator.feature_names_in_, list("abc"))
    assert not hasattr(calibrator.fit(X, y), "feature_names_in_")


def test_read_only_memory_map(calibrator, tmp_path):
    X, y = event_data()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = calibrator.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(clone(calibrator).fit(mapped, y).predict_proba(mapped), expected)


# --- weights -------------------------------------------------------------------------------------


@both_kinds
def test_weight_is_repetition(calibrator, data):
    X, y = data()
    weight = np.random.default_rng(1).integers(1, 4, N)
    repeated = clone(calibrator).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    weighted = calibrator.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7)


def test_weight_zero_is_an_absent_row(calibrator):
    X, y = classes_as_probabilities()
    present = np.arange(N) % 4 != 0
    present[:4] = True
    # Absent rows may hold logits and a label that nothing else has.
    X[~present] = 9
    expected = clone(calibrator).fit(X[present], y[present])
    weighted = calibrator.fit(X, np.where(present, y, 99), sample_weight=present.astype(float))
    np.testing.assert_array_equal(
        weighted.predict_proba(X[present]), expected.predict_proba(X[present])
    )
    np.testing.assert_array_equal(weighted.classes_, range(4))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.r_[-1.0, np.ones(N - 1)], r"must not be negative.*row 0"),
        (np.zeros(N), "zero in every row"),
        (np.ones(N - 1), f"{N - 1} rows where {N} were expected"),
        (np.r_[np.nan, np.ones(N - 1)], "must be finite; row 0 holds nan"),
        (np.full(N, 1e308), "overflows"),
    ],
    ids=["negative", "zero", "short", "nan", "huge"],
)
def test_bad_weights_are_refused(calibrator, weight, message):
    with pytest.raises(ValueError, match=message):
        calibrator.fit(*event_data(), sample_weight=weight)


# --- routing -------------------------------------------------------------------------------------


@both_kinds
def test_constant_routing_column_has_no_effect(calibrator, data):
    X, y = data()
    expected = calibrator.fit(X, y).predict_proba(X)
    wider = np.column_stack([X, np.full(N, 0.1)])
    constant = clone(calibrator).fit(wider, y)
    np.testing.assert_allclose(constant.predict_proba(wider), expected, rtol=1e-9)


def test_order_of_routing_columns_has_no_effect(calibrator):
    X, y = event_data()
    expected = calibrator.fit(X, y).predict_proba(X)
    swapped = clone(calibrator).fit(X[:, [0, 2, 1]], y)
    np.testing.assert_allclose(swapped.predict_proba(X[:, [0, 2, 1]]), expected, rtol=1e-9)


def test_without_routing_its_columns_do_not_matter(calibrator):
    X, y = event_data()
    calibrator.set_params(confidence_columns=0, routing_columns=[])
    alone = clone(calibrator)
    if isinstance(calibrator, CapacityMatchedMLP):
        # Its width is matched to how many columns there are, whatever they hold.
        alone.set_params(hidden_width=matched_width(16, 2, 0))
    expected = alone.fit(X[:, :1], y).predict_proba(X[:, :1])
    np.testing.assert_array_equal(clone(calibrator).fit(X, y).predict_proba(X), expected)


# --- without routing, each method is a classical one ---------------------------------------------


class PassThrough(ClassifierMixin, BaseEstimator):
    """A classifier whose scores are the confidence columns."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X[:, 0] if len(self.classes_) == 2 else X[:, : len(self.classes_)]

    def predict(self, X):
        raise NotImplementedError


@both_kinds
def test_temperature_scaler_equals_the_one_of_scikit_learn(data):
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        pytest.skip("scikit-learn scales by a temperature since 1.8")
    X, y = data(1000)
    frozen = FrozenEstimator(PassThrough().fit(X, y))
    expected = CalibratedClassifierCV(frozen, method="temperature").fit(X, y)
    scaler = TemperatureScaler(routing_columns=[]).fit(X, y)
    np.testing.assert_allclose(scaler.predict_proba(X), expected.predict_proba(X), atol=1e-5)


def gaussian_weights(x, width):
    return np.exp(-(((x[:, None] - x[None, :]) / width) ** 2) / 2)


def test_plain_kernel_without_routing_is_nadaraya_watson_on_the_confidence():
    X, y = events_as_probabilities()
    kernel = clone(PLAIN_KERNEL).set_params(routing_columns=[]).fit(X, y)
    weights = gaussian_weights(X[:, 0], X[:, 0].std() * N ** (-1 / 5))
    expected = weights @ y / weights.sum(axis=1)
    np.testing.assert_allclose(kernel.predict_proba(X)[:, 1], expected, rtol=1e-10)


def test_residual_kernel_without_routing_is_a_shrunk_kernel_mean_of_residuals():
    X, y = event_data()
    X[:, 0] = X[:, 0].clip(-3, 3)
    kernel = NWConditionalCalibrator(
        routing_columns=[], anchor="identity", bandwidth=0.5, shrinkage=2.0, min_mass=0.0
    ).fit(X, y)
    weights, p = gaussian_weights(X[:, 0], 0.5), expit(X[:, 0])
    expected = p + weights @ (y - p) / (weights.sum(axis=1) + 2)
    assert kernel.selected_ == "confidence"
    np.testing.assert_allclose(kernel.predict_proba(X)[:, 1], expected, rtol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_kernel_that_reaches_no_neighbour_leaves_the_anchor(seed):
    X, y = event_data(8, seed=3)
    weight = np.random.default_rng(seed).random(8)
    settings = {"anchor": "identity", "bandwidth": 0.1, "min_mass": 1e6, "shrinkage": 0.0}
    kernel = NWConditionalCalibrator(**settings).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(kernel.decision_function(X), X[:, 0], rtol=1e-12)


# --- scale ---------------------------------------------------------------------------------------


def test_probabilities_equal_their_logits(calibrator):
    X, y = event_data()
    expected = calibrator.fit(X, y).predict_proba(X)
    X[:, 0] = expit(X[:, 0])
    other = clone(calibrator).fit(X, y)
    assert (calibrator.confidence_kind_, other.confidence_kind_) == ("logit", "probability")
    np.testing.assert_allclose(other.predict_proba(X), expected, rtol=1e-7)


def test_scale_is_never_guessed_when_predicting(calibrator):
    X, y = classes_as_probabilities()
    calibrator.fit(X, y)
    logits, _ = class_data()
    with pytest.raises(ValueError, match=r"Confidences are probabilities here, but row \d+ holds"):
        calibrator.predict_proba(logits)


def test_probabilities_that_do_not_sum_to_one_are_refused(calibrator):
    X, y = classes_as_probabilities()
    calibrator.fit(X, y)
    with pytest.raises(ValueError, match=r"must sum to one; row 3 sums to 0\.9"):
        calibrator.predict_proba(np.where(np.arange(N)[:, None] == 3, 0.9 * X, X))


@every_kind
def test_float32_equals_float64(calibrator, data):
    X, y = data()
    single = X.astype(np.float32)
    expected = clone(calibrator).fit(single.astype(np.float64), y)
    np.testing.assert_allclose(
        calibrator.fit(single, y).predict_proba(single),
        expected.predict_proba(single.astype(np.float64)),
        atol=1e-6,
    )


@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("data", [events_as_probabilities, classes_as_probabilities])
def test_probabilities_of_exactly_0_and_1(calibrator, data, dtype):
    X, y = data()
    n_classes = 1 if data is events_as_probabilities else 4
    sure = np.eye(4)[y][::3] if n_classes == 4 else y[::3, None]
    X[::3, :n_classes] = sure
    # Two of them wrong.
    X[[0, 3], :n_classes] = X[[3, 0], :n_classes] if n_classes == 4 else 1 - sure[:2]
    probability = calibrator.fit(X.astype(dtype), y).predict_proba(X.astype(dtype))
    assert np.isfinite(probability).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@pytest.mark.parametrize("scale", [1e-310, 1e300])
@both_kinds
def test_logits_of_any_size(calibrator, data, scale):
    X, y = data()
    X[:, : 1 if data is event_data else 4] *= scale
    probability = calibrator.set_params(confidence_kind="logit").fit(X, y).predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)


# --- inside scikit-learn -------------------------------------------------------------------------


def test_weights_reach_it_through_a_pipeline(calibrator):
    X, y = event_data()
    weight = np.random.default_rng(1).random(N)
    expected = clone(calibrator).fit(X, y, sample_weight=weight).predict_proba(X)
    with config_context(enable_metadata_routing=True):
        step = calibrator.set_fit_request(sample_weight=True)
        pipeline = Pipeline([("same", FunctionTransformer()), ("calibrate", step)])
        pipeline.fit(X, y, sample_weight=weight)
        np.testing.assert_array_equal(pipeline.predict_proba(X), expected)


@pytest.mark.parametrize(
    "scoring",
    [neg_log_loss_scorer, neg_brier_scorer, neg_calibration_error_scorer, "neg_log_loss"],
    ids=str,
)
def test_routing_columns_can_be_searched(calibrator, scoring):
    search = GridSearchCV(
        calibrator, {"routing_columns": [[], [1]]}, scoring=scoring, cv=2, error_score="raise"
    ).fit(*event_data())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_bandwidth_of_the_kernel_can_be_searched():
    grid = {"bandwidth": ["scott", 0.2, [0.5, np.inf, np.inf]], "shrinkage": [0.0, 16.0]}
    search = GridSearchCV(
        NWConditionalCalibrator(), grid, scoring="neg_log_loss", cv=3, error_score="raise"
    ).fit(*event_data())
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_last_step_behind_a_column_transformer(calibrator):
    X, y = event_data()
    frame = pd.DataFrame(X, columns=["1", "depth", "entropy"]).assign(unused="text")
    columns = ColumnTransformer(
        [("logit", "passthrough", ["1"]), ("routing", "passthrough", ["depth", "entropy"])]
    ).set_output(transform="pandas")
    pipeline = Pipeline([("columns", columns), ("calibrate", calibrator)]).fit(frame, y)
    expected = clone(calibrator).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(pipeline.predict_proba(frame), expected)


# --- warnings ------------------------------------------------------------------------------------


def test_confidence_that_ranks_backwards_warns_the_caller(calibrator):
    X, y = event_data()
    if getattr(calibrator, "anchor", "temperature") == "none":
        pytest.skip("this setting looks at no ranking")
    with pytest.warns(CalibrationWarning, match="ranks backwards") as caught:
        calibrator.fit(-X[:, :1], y)
    assert caught[0].filename == __file__


def test_rounded_probabilities_warn_the_caller(calibrator):
    X, y = events_as_probabilities()
    X[:, 0] = X[:, 0].round(1)
    X[0, 0] = 1
    with pytest.warns(CalibrationWarning, match="exactly 0 or 1") as caught:
        calibrator.fit(X, y)
    assert caught[0].filename == __file__


# --- persistence ---------------------------------------------------------------------------------


def through_json(calibrator):
    return calibrator_from_dict(json.loads(json.dumps(calibrator.to_dict(), allow_nan=False)))


@every_kind
def test_json_round_trip_is_exact_to_the_last_bit(calibrator, data):
    X, y = data()
    copy = through_json(calibrator.fit(X, y))
    assert type(copy) is type(calibrator)
    assert vars(copy).keys() == vars(calibrator).keys()
    assert copy.decision_function(X).tobytes() == calibrator.decision_function(X).tobytes()


def test_json_keeps_text_labels_and_column_names(calibrator):
    X, y = class_data()
    frame = pd.DataFrame(X, columns=[*(f"logit__{c}" for c in "badc"), "routing__depth"])
    copy = through_json(calibrator.fit(frame, np.array(list("badc"))[y]))
    np.testing.assert_array_equal(copy.predict(frame), calibrator.predict(frame))
    assert copy.classes_.dtype == calibrator.classes_.dtype
    with pytest.raises(ValueError, match="same order"):
        copy.predict(frame.iloc[:, ::-1])


def test_json_of_an_unfitted_calibrator_holds_its_parameters(calibrator):
    copy = through_json(calibrator.set_params(classes=["no", "yes"], routing_columns=[]))
    assert copy.get_params() == calibrator.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(event_data()[0])


def test_restored_calibrator_saves_the_same(calibrator):
    saved = calibrator.fit(*class_data()).to_dict()
    assert calibrator_from_dict(saved).to_dict() == saved


@pytest.mark.parametrize("part", ["parameters", "state"])
def test_json_that_was_edited_is_refused(calibrator, part):
    saved = calibrator.fit(*event_data()).to_dict()
    name = "confidence_kind" if part == "parameters" else "confidence_kind_"
    saved[part][name] = "probability"
    with pytest.raises(ValueError, match="changed or damaged after it was written"):
        type(calibrator).from_dict(saved)


def test_skops_has_to_trust_one_type(calibrator):
    X, y = class_data()
    frame = pd.DataFrame(X, columns=[f"column{i}" for i in range(5)])
    data = skops.io.dumps(calibrator.fit(frame, y))
    cls = type(calibrator)
    trusted = [f"{cls.__module__}.{cls.__qualname__}"]
    assert skops.io.get_untrusted_types(data=data) == trusted
    copy = skops.io.loads(data, trusted=trusted)
    assert copy.decision_function(frame).tobytes() == calibrator.decision_function(frame).tobytes()
