import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import make_classification

from sk_arcal._columns import EXPERT_PREFIX, GATE_PREFIX
from sk_arcal.models import MixtureOfExpertsClassifier


@pytest.fixture
def small():
    return MixtureOfExpertsClassifier(
        n_experts=3,
        body_widths=(8,),
        router_width=8,
        max_epochs=5,
        learning_rate=0.02,
        random_state=0,
    )


def table(n=90):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0)]


@pytest.mark.parametrize("changes", [{}, {"expert_width": 8}, {"routing": "hard"}])
def test_clusters_are_learned(changes):
    X, y = make_classification(
        1500, 8, n_informative=4, n_redundant=0, n_clusters_per_class=4, class_sep=2, random_state=0
    )
    model = MixtureOfExpertsClassifier(
        max_epochs=10, learning_rate=0.02, random_state=0, **changes
    ).fit(X[:1000], y[:1000])
    assert model.score(X[1000:], y[1000:]) > 0.85


def test_experts_divide_a_problem_that_none_can_solve():
    # linear experts on the columns themselves: exclusive or needs the router
    X = np.random.default_rng(0).uniform(-1, 1, (600, 2))
    y = X[:, 0] * X[:, 1] > 0
    parameters = {"body_widths": (), "max_epochs": 30, "learning_rate": 0.05, "random_state": 0}
    alone = MixtureOfExpertsClassifier(n_experts=1, **parameters).fit(X, y)
    mixed = MixtureOfExpertsClassifier(n_experts=4, **parameters).fit(X, y)
    assert alone.score(X, y) < 0.7
    assert mixed.score(X, y) > 0.9
    assert mixed.routing_weights(X)["router"].argmax(axis=1).std() > 0


def test_scores_mix_to_the_prediction(small):
    X, y = table()
    gates, experts = small.fit(X, y).expert_scores(X)
    assert gates.shape == (90, 3)
    assert experts.shape == (90, 3, 3)
    np.testing.assert_allclose(gates.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(logsumexp(experts, axis=2), 0, atol=1e-12)
    mixture = (gates[:, :, None] * np.exp(experts)).sum(axis=1)
    np.testing.assert_allclose(small.predict_proba(X), mixture, rtol=1e-10)
    np.testing.assert_array_equal(small.routing_weights(X)["router"], gates)


def test_hard_routing_is_trained_as_soft_and_predicts_by_one_expert(small):
    X, y = table()
    soft, hard = clone(small).fit(X, y), clone(small).set_params(routing="hard").fit(X, y)
    gates, experts = hard.expert_scores(X)
    for found, expected in zip((gates, experts), soft.expert_scores(X), strict=True):
        np.testing.assert_array_equal(found, expected)
    chosen = experts[np.arange(90), gates.argmax(axis=1)]
    np.testing.assert_allclose(hard.predict_proba(X), np.exp(chosen), rtol=1e-10)


def test_columns_are_named_for_the_calibrators(small):
    X, y = table()
    frame = pd.DataFrame(small.fit(X, y).expert_columns(X))
    gates, experts = small.expert_scores(X)
    assert list(frame)[:5] == ["logit__a", "logit__b", "logit__c", "expert__0__a", "expert__0__b"]
    assert list(frame)[-3:] == ["gate__0", "gate__1", "gate__2"]
    np.testing.assert_array_equal(frame.filter(like=GATE_PREFIX), gates)
    by_expert = frame.filter(like=EXPERT_PREFIX).to_numpy().reshape(90, 3, 3)
    np.testing.assert_array_equal(by_expert, experts)
    np.testing.assert_allclose(
        np.exp(frame.filter(like="logit__")), small.predict_proba(X), rtol=1e-12
    )


def test_columns_of_two_classes_are_read_by_the_expert_scaler(small):
    from sk_arcal.calibration import ExpertTemperatureScaler

    X, y = table(400)
    for labels in (y, y == "a"):
        frame = pd.DataFrame(clone(small).fit(X, labels).expert_columns(X))
        scaler = ExpertTemperatureScaler().fit(frame, labels)
        assert scaler.temperatures_.shape == (3,)
        assert scaler.predict_proba(frame).shape == (400, len(np.unique(labels)))
