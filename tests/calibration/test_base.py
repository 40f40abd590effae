"""What the base class decides for every calibrator, seen through a recorder of its arrays."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from sk_arcal.calibration import CalibrationWarning, TemperatureScaler
from sk_arcal.calibration._base import BaseCalibrator

N = 60


class Recorder(BaseCalibrator):
    """Keeps what `_fit` is given; changes no logit."""

    def _fit(self, logits, routing, y, sample_weight):
        self.seen_ = logits, routing, y, sample_weight

    def _calibrated_logits(self, logits, routing):
        return logits


def event_rows(n=N):
    rng = np.random.default_rng(0)
    X = rng.normal(0, 2, (n, 3))
    return X, (np.arange(n) % 3 == 0).astype(int)


def class_rows(n=N):
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (n, 5)), np.arange(n) % 4


# --- what a method sees --------------------------------------------------------------------------


def test_one_column_arrives_as_a_vector_of_log_odds():
    X, y = event_rows()
    logits, routing, codes, weight = Recorder().fit(X, y + 7).seen_
    np.testing.assert_array_equal(logits, X[:, 0])
    np.testing.assert_array_equal(routing, X[:, 1:])
    np.testing.assert_array_equal(codes, y)
    np.testing.assert_array_equal(weight, np.ones(N))


def test_several_columns_arrive_sorted_by_class():
    X, y = class_rows()
    recorder = Recorder(confidence_columns=[4, 1, 0, 2], classes=["d", "a", "c", "b"])
    logits, routing, codes, _ = recorder.fit(X, np.array(list("abcd"))[y]).seen_
    np.testing.assert_array_equal(logits, X[:, [1, 2, 0, 4]])
    np.testing.assert_array_equal(routing, X[:, [3]])
    np.testing.assert_array_equal(codes, y)


def test_two_columns_arrive_as_their_difference():
    X, y = event_rows()
    logits = Recorder(confidence_columns=[2, 0]).fit(X, y).seen_[0]
    np.testing.assert_array_equal(logits, X[:, 0] - X[:, 2])


def test_probabilities_arrive_as_logits():
    X, y = event_rows()
    logits = Recorder().fit(np.column_stack([expit(X[:, 0]), X[:, 1:]]), y).seen_[0]
    np.testing.assert_allclose(logits, X[:, 0], rtol=1e-9)


def test_class_probabilities_arrive_as_log_probabilities():
    X, y = class_rows()
    scores = np.column_stack([softmax(20 * X[:, :4], axis=1), X[:, 4]])
    logits = Recorder().fit(scores, y).seen_[0]
    np.testing.assert_allclose(logits, log_softmax(20 * X[:, :4], axis=1), rtol=1e-9, atol=1e-9)


def test_everything_arrives_in_float64():
    X, y = class_rows()
    arrays = Recorder().fit(X.astype(np.float32), y, sample_weight=np.ones(N, int)).seen_
    assert {array.dtype for array in arrays} == {np.dtype(np.float64)}


def test_rows_of_weight_zero_do_not_arrive():
    X, y = class_rows()
    weight = np.arange(N) % 2
    arrays = Recorder().fit(X, y // 2, sample_weight=weight).seen_
    assert [len(array) for array in arrays] == [N // 2] * 4


def test_order_of_routing_selectors_is_kept():
    X, y = class_rows()
    recorder = Recorder(confidence_columns=[0, 1, 2, 3][:1], routing_columns=[4, 2])
    routing = recorder.fit(X, y // 2).seen_[1]
    np.testing.assert_array_equal(routing, X[:, [4, 2]])


# --- scale ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "kind"),
    [([0.0, 0.3, 1.0], "probability"), ([-1e-3, 0.3, 1.0], "logit"), ([0.0, 0.3, 1.1], "logit")],
)
@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
def test_one_column_inside_the_unit_interval_is_a_probability(confidence, kind):
    recorder = Recorder().fit(np.array(confidence)[:, None], [0, 1, 1])
    assert recorder.confidence_kind_ == kind


def test_kind_may_be_stated():
    X = np.linspace(0.1, 0.9, 9)[:, None]
    recorder = Recorder(confidence_kind="logit").fit(X, np.arange(9) % 2)
    np.testing.assert_array_equal(recorder.seen_[0], X[:, 0])


def test_names_state_the_kind():
    frame = pd.DataFrame({"logit__1": np.linspace(0.1, 0.9, 9)})
    assert Recorder().fit(frame, np.arange(9) % 2).confidence_kind_ == "logit"


@pytest.mark.parametrize("kind", ["logit", "probability"])
def test_names_and_kind_must_agree(kind):
    other = {"logit": "proba__1", "probability": "logit__1"}[kind]
    with pytest.raises(ValueError, match=f"`confidence_kind` is '{kind}', but .* named as"):
        Recorder(confidence_kind=kind).fit(pd.DataFrame({other: [0.2, 0.4]}), [0, 1])


@pytest.mark.parametrize("kind", ["logits", None, 1, ["logit"]], ids=str)
def test_unknown_kind_is_refused(kind):
    with pytest.raises(ValueError, match="`confidence_kind` must be one of 'auto', 'logit'"):
        Recorder(confidence_kind=kind).fit(*event_rows())


def test_scores_that_do_not_sum_to_one_are_logits_with_a_warning():
    X, y = class_rows()
    with pytest.warns(CalibrationWarning, match=r"row 0 sums to .*confidence_kind='logit'"):
        recorder = Recorder().fit(expit(X), y)
    assert recorder.confidence_kind_ == "logit"


def test_no_warning_where_the_kind_is_stated():
    X, y = class_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recorder(confidence_kind="logit").fit(expit(X), y)


@pytest.mark.parametrize(("value", "shown"), [(1.2, "1.2"), (-0.5, "-0.5"), (1.00001, "1.00001")])
def test_stated_probabilities_outside_the_unit_interval_are_refused(value, shown):
    with pytest.raises(ValueError, match=rf"row 1 holds {shown}\. For logits set"):
        Recorder(confidence_kind="probability").fit([[0.5], [value]], [0, 1])


def test_overshoot_by_rounding_is_no_logit():
    mixture = np.float32([[1 + 1e-7, -1e-8], [0.5, 0.5], [0.2, 0.8]])
    recorder = Recorder(confidence_columns=[0, 1])
    with pytest.warns(CalibrationWarning, match="exactly 0, so"):
        recorder.fit(mixture, [0, 1, 1])
    assert recorder.confidence_kind_ == "probability"


@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@pytest.mark.parametrize(
    ("given", "dtype", "read_as"),
    [
        ([0.0, 1e-4, 0.5], np.float64, logit(5e-5)),
        ([0.0, 1e-20, 0.5], np.float32, logit(5e-21)),
        ([1.0, 1 - 2**-10, 0.5], np.float64, -logit(2**-11)),
        ([0.0, 1.0, 0.0], np.float64, logit(2**-52)),
    ],
    ids=["four-digits", "float32", "one", "hard"],
)
def test_zero_is_read_as_half_the_smallest_probability(given, dtype, read_as):
    logits = Recorder().fit(np.array(given, dtype)[:, None], [0, 1, 1]).seen_[0]
    np.testing.assert_allclose(logits[0], read_as, rtol=1e-4)


def test_probabilities_the_fit_has_not_seen_keep_their_order():
    recorder = Recorder().fit(np.linspace(0.2, 0.8, N)[:, None], np.arange(N) % 2)
    p = np.array([0, 1e-300, 1e-30, 1e-9, 0.1, 0.9, 1 - 1e-9, 1])[:, None]
    logits = recorder.decision_function(p)
    assert (np.diff(logits) >= 0).all()
    np.testing.assert_allclose(logits[2:7], logit(p[2:7, 0]), rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_a_few_rounded_probabilities_are_no_reason_to_warn(share):
    X = np.linspace(0.1, 0.9, 200)[:, None]
    X[: int(200 * share)] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Recorder().fit(X, np.arange(200) % 2)


# --- columns that contradict the default ---------------------------------------------------------


@pytest.mark.parametrize(
    "both",
    [lambda z: np.column_stack([expit(-z), expit(z)]), lambda z: np.column_stack([-z, z])],
    ids=["probabilities", "logits"],
)
@pytest.mark.parametrize("n_routing", [0, 1])
def test_both_columns_of_a_binary_model_are_refused(both, n_routing):
    X, y = event_rows()
    X = np.column_stack([both(X[:, 0]), X[:, 1 : 1 + n_routing]])
    with pytest.raises(ValueError, match=r"complement each other.*confidence_columns=\[0, 1\]"):
        Recorder().fit(X, y)
    Recorder(confidence_columns=[0, 1]).fit(X, y)


@pytest.mark.parametrize("missing", [0, 2, 3])
def test_more_class_probabilities_than_labels_are_refused(missing):
    X, y = class_rows()
    X = np.column_stack([softmax(X[:, :4], axis=1), X[:, 4]])[y != missing]
    # Consecutive labels, so that only the columns tell.
    labels = np.searchsorted(np.unique(y[y != missing]), y[y != missing])
    with pytest.raises(ValueError, match=r"Columns 0 to 3 sum to one.*4 classes.*classes=\["):
        Recorder().fit(X, labels)


def test_classes_say_what_the_columns_could_not():
    X, y = class_rows()
    X = np.column_stack([softmax(X[:, :4], axis=1), X[:, 4]])
    recorder = Recorder(classes=[0, 1, 2, 3]).fit(X[y < 3], y[y < 3])
    np.testing.assert_array_equal(recorder.column_roles_.confidence, range(4))


def test_integer_labels_with_gaps_are_refused_where_columns_are_not_named():
    X, y = class_rows()
    with pytest.raises(ValueError, match=r"labels \[0, 1, 3\], with gaps.*classes=range\(4\)"):
        Recorder().fit(X[y != 2], y[y != 2])


def test_routing_weights_that_sum_to_one_are_no_classes():
    X, y = event_rows()
    weights = softmax(X, axis=1)
    recorder = Recorder().fit(np.column_stack([expit(X[:, 0]), weights]), y)
    np.testing.assert_array_equal(recorder.column_roles_.routing, [1, 2, 3])


def test_routing_that_complements_a_named_confidence_passes():
    p = np.linspace(0.1, 0.9, N)
    frame = pd.DataFrame({"proba__1": p, "routing__rest": 1 - p})
    Recorder().fit(frame, np.arange(N) % 2)


# --- bad input -----------------------------------------------------------------------------------


X_EVENT, Y_EVENT = event_rows()


def with_value(value):
    X = X_EVENT.copy()
    X[3, 1] = value
    return X


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (with_value(np.nan), ValueError, "Input X contains NaN"),
        (with_value(-np.inf), ValueError, "Input X contains infinity"),
        (scipy.sparse.csr_array(X_EVENT), TypeError, "dense data is required"),
        (X_EVENT + 1j, ValueError, "Complex data not supported"),
        (X_EVENT[None], ValueError, "dim 3"),
        (X_EVENT[:, 0], ValueError, "Expected 2D array"),
        (X_EVENT[:0], ValueError, "0 sample"),
        (X_EVENT[:, :0], ValueError, "0 feature"),
        (X_EVENT[:-1], ValueError, "inconsistent numbers of samples"),
        (None, ValueError, "Expected 2D array"),
        (
            pd.DataFrame(X_EVENT, columns=list("abc")).assign(id="x", name="y"),
            ValueError,
            r"Columns \['id', 'name'\] of X hold text.*ColumnTransformer",
        ),
    ],
    ids=[
        "nan",
        "-inf",
        "sparse",
        "complex",
        "3d",
        "1d",
        "no-rows",
        "no-columns",
        "lengths",
        "none",
        "text",
    ],
)
def test_bad_X_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        Recorder().fit(X, Y_EVENT)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(Y_EVENT, np.nan, 1.0), "Input y contains NaN"),
        (pd.Series([pd.NA, *Y_EVENT[1:]], dtype="Int64"), "Input y contains NaN"),
        (X_EVENT[:, 0], "continuous"),
        (np.column_stack([Y_EVENT, Y_EVENT]), "y should be a 1d array"),
        (None, "requires y to be passed"),
        (np.arange(N) % 6, r"6 classes but only 3 column\(s\).*y=\(prediction == label\)"),
        (np.array([1, "a"] * (N // 2), dtype=object), "Unknown label type"),
    ],
    ids=["nan", "NA", "numbers", "2d", "none", "many", "mixed"],
)
def test_bad_y_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        Recorder().fit(X_EVENT, y)


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_ten_classes_and_one_column_are_refused():
    with pytest.raises(ValueError, match=r"Only binary.*10 classes.*y=\(prediction == label\)"):
        Recorder(confidence_columns=0).fit(X_EVENT, np.arange(N) % 10)


def test_masked_logits_of_impossible_classes_pass():
    X, y = class_rows()
    X[np.arange(N), (y + 1) % 4] = np.finfo(np.float32).min
    probability = Recorder().fit(X.astype(np.float32), y).predict_proba(X.astype(np.float32))
    np.testing.assert_array_equal(probability[np.arange(N), (y + 1) % 4], 0)


@pytest.mark.parametrize("largest", [1e200, 1e305])
def test_opposite_logits_near_the_edge_of_float64_pass(largest):
    X, y = np.tile([[largest, -largest], [-largest, largest]], (N // 2, 1)), np.arange(N) % 2
    probability = Recorder(confidence_columns=[0, 1]).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(probability, np.eye(2)[np.arange(N) % 2])


# --- tags and scikit-learn's own checks ----------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "multiclass"),
    [(0, False), ("a", False), ([0], False), ([0, 1], False), ([0, 1, 2], True), (None, True)],
    ids=str,
)
def test_tag_says_whether_more_than_two_classes_fit(chosen, multiclass):
    tags = get_tags(Recorder(confidence_columns=chosen))
    assert tags.classifier_tags.multi_class == multiclass


@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks_of_the_multiclass_default_fail_for_one_reason():
    # Three classes need three confidences; toy data of three classes in two columns cannot hold
    # them, and there is no tag that says so.
    results = check_estimator(TemperatureScaler(), on_fail=None)
    failed = [result for result in results if result["status"] == "failed"]
    assert {result["check_name"] for result in failed} == {
        "check_classifiers_classes",
        "check_classifiers_train",
        "check_estimators_fit_returns_self",
        "check_estimators_overwrite_params",
        "check_estimators_partial_fit_n_features",
        "check_readonly_memmap_input",
    }
    reason = "There are 3 classes but only 2 column(s), so they cannot be one confidence per class"
    assert all(str(result["exception"]).startswith(reason) for result in failed)
