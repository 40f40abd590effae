"""Which columns are experts and gates: selectors, names, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest

from sk_arcal import AdversarialReweightCalibrator, ExpertTemperatureScaler, TemperatureScaler
from sk_arcal.calibration import CalibrationWarning
from sk_arcal.calibration._mixture._expert_columns import resolve_experts

N = 60


def resolved(experts=None, gates=None, *, names=None, n_features=8, n_classes=2):
    X = np.zeros((2, n_features if names is None else len(names)))
    return resolve_experts(
        X, X.shape[1], names, expert_columns=experts, gate_columns=gates, n_classes=n_classes
    )


@pytest.mark.parametrize(
    ("given", "n_classes", "expected"),
    [
        ([[0], [1]], 2, [[0], [1]]),
        ([0, 1], 2, [[0], [1]]),
        (slice(2, 5), 2, [[2], [3], [4]]),
        (range(6), 3, [[0, 1, 2], [3, 4, 5]]),
        ([range(3), range(5, 8)], 3, [[0, 1, 2], [5, 6, 7]]),
        (np.array([[0, 1], [2, 3]]), 2, [[0, 1], [2, 3]]),
        ([slice(0, 2), [4, 3]], 2, [[0, 1], [4, 3]]),
    ],
)
def test_selectors_of_experts(given, n_classes, expected):
    np.testing.assert_array_equal(resolved(given, n_classes=n_classes).experts, expected)


def test_names_are_understood_in_any_order():
    names = ["gate__b", "expert__a__yes", "expert__b__no", "x", "expert__a__no", "expert__b__yes"]
    roles = resolved(names=[*names, "gate__a"])
    np.testing.assert_array_equal(roles.experts, [[1, 4], [5, 2]])
    np.testing.assert_array_equal(roles.gates, [6, 0])
    assert roles.named_classes == ("yes", "no")


def test_a_name_without_class_is_the_score_of_the_event():
    roles = resolved(names=["expert__0", "expert__1", "gate__0", "gate__1"])
    np.testing.assert_array_equal(roles.experts, [[0], [1]])
    assert roles.named_classes is None


@pytest.mark.parametrize("given", [None, []])
def test_without_experts_there_are_none(given):
    assert resolved(given) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gates": [0, 1]}, "`gate_columns` weigh experts, and there are none"),
        ({"experts": [[0], [1]], "gates": [2]}, "2 experts but 1 gate columns"),
        ({"experts": [[0], [1, 2]]}, "the same number of columns"),
        ({"experts": [[0], [0]]}, "serve twice"),
        ({"experts": [[0], [1]], "gates": [1, 2]}, "serve twice"),
        ({"experts": range(4), "n_classes": 3}, "not a whole number of experts"),
        ({"experts": [[0], ["a"]]}, r"`expert_columns\[1\]` names column 'a'"),
        ({"names": ["expert__0__a", "expert__1__b"]}, "every expert needs all classes"),
        ({"names": ["expert__0", "expert__0__b"]}, "a column without a class"),
        ({"names": ["expert__0", "expert__1", "gate__0"]}, "The experts need the gates"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        resolved(**settings)


# --- read by an estimator ------------------------------------------------------------------------


def class_mixture(seed=0):
    """Logits of two experts for three classes, gates, and labels."""
    rng = np.random.default_rng(seed)
    experts, gate = rng.normal(0, 2, (2, N, 3)), rng.random(N)
    y = rng.integers(0, 3, N)
    for expert in experts:
        expert[np.arange(N), y] += 2
    return experts, np.column_stack([gate, 1 - gate]), y


def test_named_columns_equal_given_ones():
    experts, gates, y = class_mixture()
    X = np.column_stack([*experts, gates])
    given = ExpertTemperatureScaler(expert_columns=range(6), gate_columns=[6, 7]).fit(X, y)
    labels = np.array(["a", "b", "c"])[y]
    names = [f"expert__{m}__{label}" for m in (0, 1) for label in "abc"] + ["gate__0", "gate__1"]
    frame = pd.DataFrame(X, columns=names)[names[::-1]]
    frame["routing__depth"] = 1.0
    named = ExpertTemperatureScaler().fit(frame, labels)
    np.testing.assert_array_equal(named.column_roles_.routing, [8])
    np.testing.assert_allclose(named.predict_proba(frame), given.predict_proba(X), rtol=1e-12)


def test_two_class_columns_equal_their_difference():
    experts, gates, y = class_mixture()
    y = (y > 0).astype(int)
    two = np.column_stack([experts[0][:, :2], experts[1][:, :2], gates])
    one = np.column_stack([*(e[:, 1] - e[:, 0] for e in experts), gates])
    both = ExpertTemperatureScaler(expert_columns=[[0, 1], [2, 3]], gate_columns=[4, 5])
    single = ExpertTemperatureScaler(expert_columns=[0, 1], gate_columns=[2, 3])
    np.testing.assert_allclose(
        both.fit(two, y).predict_proba(two), single.fit(one, y).predict_proba(one), rtol=1e-10
    )


def test_reversed_classes_reverse_the_experts():
    experts, gates, y = class_mixture()
    y = (y > 0).astype(int)
    X = np.column_stack([*(e[:, 1] - e[:, 0] for e in experts), gates])
    settings = {"expert_columns": [0, 1], "gate_columns": [2, 3]}
    expected = ExpertTemperatureScaler(**settings).fit(X, y).predict_proba(X)
    X[:, :2] *= -1
    found = ExpertTemperatureScaler(classes=[1, 0], **settings).fit(X, y)
    np.testing.assert_allclose(found.predict_proba(X), expected, rtol=1e-12)


def test_probabilities_and_gate_logits_say_the_same():
    experts, gates, y = class_mixture()
    p = np.exp(experts) / np.exp(experts).sum(axis=2, keepdims=True)
    settings = {"expert_columns": range(6), "gate_columns": [6, 7]}
    first = ExpertTemperatureScaler(**settings)
    expected = first.fit(np.column_stack([*experts, gates]), y)
    X = np.column_stack([*p, np.log(gates) + 5])
    found = ExpertTemperatureScaler(**settings).fit(X, y)
    assert (expected.expert_kind_, expected.gate_kind_) == ("logit", "probability")
    assert (found.expert_kind_, found.gate_kind_) == ("probability", "logit")
    np.testing.assert_allclose(
        found.predict_proba(X),
        expected.predict_proba(np.column_stack([*experts, gates])),
        rtol=1e-8,
    )


def test_confidence_is_not_read_beside_experts():
    experts, gates, y = class_mixture()
    X = np.column_stack([*experts, gates, np.full(N, 1e9)])
    settings = {"expert_columns": range(6), "gate_columns": [6, 7]}
    without = ExpertTemperatureScaler(**settings).fit(X[:, :8], y)
    beside = ExpertTemperatureScaler(confidence_columns=[8], **settings).fit(X, y)
    assert beside.column_roles_.confidence.size == beside.column_roles_.routing.size == 0
    np.testing.assert_array_equal(beside.predict_proba(X), without.predict_proba(X[:, :8]))


def test_experts_are_no_confidence_of_other_calibrators():
    frame = pd.DataFrame(np.zeros((4, 3)), columns=["expert__0", "gate__0", "score"])
    frame["score"] = [-1.0, 2.0, 1.0, 3.0]
    scaler = TemperatureScaler().fit(frame, [0, 1, 1, 0])
    np.testing.assert_array_equal(scaler.column_roles_.confidence, [2])


def test_gates_that_leave_the_simplex_later_are_refused():
    experts, gates, y = class_mixture()
    X = np.column_stack([*experts, gates])
    scaler = ExpertTemperatureScaler(expert_columns=range(6), gate_columns=[6, 7]).fit(X, y)
    X[3, 6] = 4.0
    with pytest.raises(ValueError, match=r"Gates are probabilities here.*row 3 holds.*gate_kind"):
        scaler.predict_proba(X)


def test_experts_that_leave_the_unit_interval_later_are_refused():
    X, y = np.full((6, 2), 0.6), np.array([1, 1, 1, 1, 0, 0])
    scaler = ExpertTemperatureScaler(expert_columns=[0, 1]).fit(X, y)
    with pytest.raises(ValueError, match=r"Experts are probabilities.*expert_kind='logit'"):
        scaler.predict_proba(X + 1)


def test_experts_of_different_scales_are_refused():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), N)
    X = np.column_stack([p, p[:, :2], rng.random(N)])
    with (
        pytest.warns(UserWarning, match="expert columns lie in"),
        pytest.raises(ValueError, match="Some experts look like probabilities"),
    ):
        ExpertTemperatureScaler(expert_columns=range(6)).fit(X, np.arange(N) % 3)


def test_a_column_that_is_routing_and_expert_is_refused():
    X, y = np.full((6, 3), 0.6), np.arange(6) % 2
    with pytest.raises(ValueError, match="a column has one role, and gates count as routing"):
        ExpertTemperatureScaler(expert_columns=[0, 1], routing_columns=[1]).fit(X, y)


def test_rounded_experts_warn_the_caller():
    X = np.column_stack([np.r_[1.0, np.full(19, 0.6)], np.full(20, 0.7)])
    y = np.r_[np.ones(13), np.zeros(7)]
    with pytest.warns(CalibrationWarning, match="exactly 0 or 1") as caught:
        ExpertTemperatureScaler(expert_columns=[0, 1]).fit(X, y)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", [ExpertTemperatureScaler, AdversarialReweightCalibrator])
def test_saved_mixtures_predict_the_same(kind):
    experts, gates, y = class_mixture()
    X = np.column_stack([*experts, gates])
    fitted = kind(expert_columns=range(6), gate_columns=[6, 7])
    if kind is AdversarialReweightCalibrator:
        fitted.set_params(ridge=0.01)
    expected = fitted.fit(X, y).predict_proba(X)
    copies = (
        pickle.loads(pickle.dumps(fitted)),
        kind.from_dict(
            fitted.set_params(expert_columns=[list(range(3)), list(range(3, 6))]).to_dict()
        ),
    )
    for copy in copies:
        np.testing.assert_array_equal(copy.predict_proba(X), expected)


@pytest.mark.parametrize("parameter", ["expert_kind", "gate_kind"])
def test_unknown_kinds_are_refused(parameter):
    with pytest.raises(ValueError, match=f"`{parameter}` must be one of"):
        ExpertTemperatureScaler(**{parameter: "odds"}).fit([[0.1], [0.2]], [0, 1])
