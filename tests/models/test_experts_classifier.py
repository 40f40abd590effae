import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sk_arcal._columns import EXPERT_PREFIX, GATE_PREFIX
from sk_arcal.diagnostics import LeaveOneDomainOut
from sk_arcal.metrics import neg_calibration_error_scorer
from sk_arcal.models import MixtureOfExperts, MixtureOfExpertsClassifier, ResidualBody


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


def images(n=60, side=8):
    """Bright on the left, or on the right, on bytes of noise."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 120, (n, side, side, 3)).astype(np.uint8), np.arange(n) % 2
    X[y == 0, :, : side // 2] += 100
    X[y == 1, :, side // 2 :] += 100
    return X, y


def of_images(**changes):
    body = partial(ResidualBody, widths=(4, 6), blocks_per_stage=1)
    settings = {"max_epochs": 8, "batch_size": 20, "learning_rate": 0.02, "random_state": 0}
    return MixtureOfExpertsClassifier(**({"n_experts": 2, "body": body} | settings | changes))


def test_body_of_ones_own_reads_images():
    X, y = images()
    model = of_images(objective="softmax_weighted", relevance="either").fit(X, y)
    assert model.image_shape_ == (8, 8, 3)
    assert model.score(X, y) > 0.9
    gates, experts = model.expert_scores(X)
    mixture = (gates[:, :, None] * np.exp(experts)).sum(axis=1)
    np.testing.assert_allclose(model.predict_proba(X), mixture, rtol=1e-5)
    again = pickle.loads(pickle.dumps(model)).predict_proba(X)
    np.testing.assert_array_equal(again, model.predict_proba(X))
    # shares in [0, 1] are the same images as bytes
    np.testing.assert_allclose(model.predict_proba(X / 255), model.predict_proba(X), atol=1e-5)
    with pytest.raises(ValueError, match="must hold images"):
        model.predict(X.reshape(60, -1))


def test_body_of_ones_own_reads_tables_and_refit_forgets_images():
    def body(row_shape):
        return nn.Sequential(nn.Linear(*row_shape, 7), nn.Tanh())

    X, y = table()
    model = of_images().fit(*images())
    model.set_params(body=body, max_epochs=20).fit(X, y)
    assert model.module_.router.layers[0].in_features == 7
    assert model.score(X, y) > 0.8


def test_images_are_shifted_in_training_only_with_a_body():
    X, y = images()
    plain, shifted = of_images().fit(X, y), of_images(augment=True).fit(X, y)
    assert plain.history_ != shifted.history_
    flat, labels = table()
    for model in (of_images(augment=True), MixtureOfExpertsClassifier(augment=True)):
        with pytest.raises(ValueError, match="`augment` needs images"):
            model.fit(flat, labels)


def test_body_without_features_is_refused():
    X, y = images()
    with pytest.raises(ValueError, match=r"`body` must return features.*returned \(1, 8, 8, 3\)"):
        of_images(body=lambda shape: nn.Identity()).fit(X, y)


def test_measuring_a_body_leaves_its_statistics_alone():
    body = ResidualBody((8, 8, 3), widths=(4,), blocks_per_stage=1)
    before = {name: value.clone() for name, value in body.state_dict().items()}
    MixtureOfExperts((8, 8, 3), 2, body=body)
    assert body.training
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())


@pytest.mark.parametrize("objective", ["softmax_weighted", "detached", "tilted", "cvar"])
def test_objective_begins_after_the_plain_epochs(small, objective):
    X, y = table()
    plain = clone(small).fit(X, y)
    late = clone(small).set_params(objective=objective, erm_fraction=1.0).fit(X, y)
    early = clone(small).set_params(objective=objective, erm_fraction=0.4).fit(X, y)
    assert [row["train_loss"] for row in late.history_] == [
        row["train_loss"] for row in plain.history_
    ]
    losses = [row["train_loss"] for row in early.history_]
    assert losses[:2] == [row["train_loss"] for row in plain.history_][:2]
    assert losses[2] > plain.history_[2]["train_loss"]


def test_tilt_without_strength_is_plain_training(small):
    X, y = table()
    plain = clone(small).fit(X, y)
    changes = {"objective": "detached", "eta": 0.0, "erm_fraction": 0.0}
    tilted = clone(small).set_params(**changes).fit(X, y)
    np.testing.assert_allclose(tilted.predict_proba(X), plain.predict_proba(X), rtol=1e-9)


def test_tilted_training_lowers_the_worst_losses():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    y = (X[:, 0] + 0.8 * rng.normal(size=600) > 0).astype(int)
    settings = {"body_widths": (16,), "max_epochs": 30, "learning_rate": 0.01, "random_state": 0}
    worst = {}
    for objective in ("log_loss", "tilted", "softmax_weighted", "cvar"):
        model = MixtureOfExpertsClassifier(objective=objective, alpha=0.1, **settings).fit(X, y)
        losses = -np.log(model.predict_proba(X)[np.arange(600), y])
        worst[objective] = np.sort(losses)[-60:].mean()
    assert all(worst[name] < worst["log_loss"] - 0.1 for name in worst if name != "log_loss")


def test_rectified_gradients_change_training(small):
    X, y = table()
    plain = clone(small).fit(X, y)
    rectified = clone(small).set_params(rectify_gradient=True).fit(X, y)
    assert np.abs(rectified.predict_proba(X) - plain.predict_proba(X)).max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"objective": "hinge"}, ValueError, "`objective` must be one of"),
        ({"eta": -1}, ValueError, "`eta` must"),
        ({"alpha": 0}, ValueError, "`alpha`, a share"),
        ({"alpha": 1.5}, ValueError, "`alpha` must"),
        ({"relevance": "none"}, ValueError, "`relevance` must be one of"),
        ({"erm_fraction": 2}, ValueError, "`erm_fraction` must"),
        ({"min_regret": "a"}, TypeError, "`min_regret` must"),
    ],
)
def test_bad_objectives_are_refused(small, changes, error, message):
    with pytest.raises(error, match=message):
        small.set_params(**changes).fit(*table())


def test_search_over_objectives_holds_domains_out():
    rng = np.random.default_rng(0)
    X, domain = rng.normal(size=(240, 3)), np.repeat(["a", "b", "c"], 80)
    X[domain == "c", 0] += 1
    y = (X[:, 0] + 0.5 * rng.normal(size=240) > 0).astype(int)
    model = MixtureOfExpertsClassifier(
        n_experts=2,
        body_widths=(4,),
        router_width=4,
        max_epochs=2,
        erm_fraction=0.0,
        random_state=0,
    )
    search = GridSearchCV(
        Pipeline([("scale", StandardScaler()), ("model", model)]),
        {"model__eta": [0.5, 2.0], "model__objective": ["softmax_weighted", "tilted"]},
        scoring={"loss": "neg_log_loss", "ece": neg_calibration_error_scorer},
        refit="loss",
        cv=LeaveOneDomainOut(),
    ).fit(X, y, groups=domain)
    results = search.cv_results_
    assert len(results["params"]) == 4
    splits = np.array([results[f"split{k}_test_loss"] for k in range(3)])
    assert np.isfinite(splits).all()
    # strengths and objectives differ in what they learn
    assert len({round(value, 12) for value in splits[0]}) == 4
    assert search.best_estimator_.predict_proba(X).shape == (240, 2)
