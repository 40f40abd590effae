"""What all networks do as scikit-learn classifiers."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import sklearn
import torch
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict

from sk_arcal.models import (
    MixtureOfExpertsClassifier,
    TabularTransformerClassifier,
    VisionTransformerClassifier,
)

COMMON = {"max_epochs": 6, "learning_rate": 0.01, "batch_size": 32, "random_state": 0}
SMALL = {"width": 8, "depth": 1, "n_heads": 2}
CLASSIFIERS = {
    "vision": VisionTransformerClassifier(patch_size=4, **SMALL, **COMMON),
    "tabular": TabularTransformerClassifier(**SMALL, **COMMON),
    "experts": MixtureOfExpertsClassifier(
        n_experts=2, body_widths=(16,), router_width=4, **COMMON | {"learning_rate": 0.05}
    ),
}


@pytest.fixture(params=CLASSIFIERS)
def model(request):
    return clone(CLASSIFIERS[request.param])


def data(model, n=90, n_classes=3, seed=0):
    """Rows whose class moves their mean, in the form that the classifier takes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    if isinstance(model, VisionTransformerClassifier):
        noise = rng.normal(100 + 40 * y[:, None, None, None], 30, (n, 8, 8, 3))
        return noise.clip(0, 255).astype(np.uint8), y
    return rng.normal(y[:, None], 0.5, (n, 4)), y


def test_learns(model):
    X, y = data(model)
    new_X, new_y = data(model, seed=1)
    assert model.fit(X, y).score(new_X, new_y) > 0.8
    losses = [epoch["train_loss"] for epoch in model.history_]
    assert losses[-1] < losses[0]
    assert model.n_iter_ == len(losses) == 6
    assert isinstance(model.module_, torch.nn.Module)
    assert not model.module_.training


def test_probabilities_come_from_the_module(model):
    X, y = data(model)
    model.fit(X, y)
    with torch.no_grad():
        logits = model.module_(torch.from_numpy(X)).double().numpy()
    probability = model.predict_proba(X)
    np.testing.assert_allclose(probability, softmax(logits, axis=1), atol=1e-6)
    np.testing.assert_allclose(model.decision_function(X), logits, atol=1e-5)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X), model.classes_[probability.argmax(axis=1)])


def test_two_classes_have_log_odds(model):
    X, y = data(model, n_classes=2)
    labels = np.where(y == 1, "yes", "no")
    model.fit(X, labels)
    assert model.classes_.tolist() == ["no", "yes"]
    assert set(model.predict(X)) == {"no", "yes"}
    decision = model.decision_function(X)
    assert decision.shape == (90,)
    np.testing.assert_allclose(expit(decision), model.predict_proba(X)[:, 1], rtol=1e-10)
    np.testing.assert_array_equal(model.predict(X) == "yes", decision > 0)


def test_seed_decides_everything_and_refitting_starts_anew(model):
    X, y = data(model)
    first = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), first)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict_proba(X), first)
    other = clone(model).set_params(random_state=1).fit(X, y).predict_proba(X)
    assert np.abs(other - first).max() > 1e-3
    model.fit(X[:, ..., :2] if X.ndim == 2 else X[:, :4, :4], y % 2)
    assert len(model.classes_) == 2


def test_torch_is_left_as_it_was(model):
    X, y = data(model)
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    model.set_params(dropout=0.1).fit(X, y).predict(X)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.get_default_dtype())


def test_copies_predict_the_same(model):
    X, y = data(model)
    model.set_params(snapshot_every=3).fit(X, y)
    for copy in (pickle.loads(pickle.dumps(model)), deepcopy(model)):
        np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
        for theirs, ours in zip(
            copy.staged_predict_proba(X), model.staged_predict_proba(X), strict=True
        ):
            np.testing.assert_array_equal(theirs, ours)
        assert copy.module_ is not model.module_


def test_weights_are_repetitions_in_one_batch(model):
    X, y = data(model)
    weight = np.random.default_rng(1).integers(0, 3, len(y))
    model.set_params(batch_size=10_000)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    tolerance = 1e-3 if X.dtype == np.uint8 else 1e-9
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=tolerance)


def test_row_of_weight_zero_is_absent(model):
    X, y = data(model)
    weight = np.ones(len(y))
    weight[y == 2] = 0
    fitted = model.fit(X, y, sample_weight=weight)
    assert fitted.classes_.tolist() == [0, 1]
    np.testing.assert_array_equal(
        fitted.predict_proba(X), clone(model).fit(X[y < 2], y[y < 2]).predict_proba(X)
    )


def test_rows_do_not_see_each_other(model):
    X, y = data(model)
    model.fit(X, y)
    alone = np.concatenate([model.predict_proba(X[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(model.predict_proba(X)[:10], alone, atol=1e-6)


def test_more_rows_than_a_block(model):
    X, y = data(model, n=600)
    model.set_params(max_epochs=1).fit(X, y)
    assert model.predict_proba(X).shape == (600, 3)
    np.testing.assert_allclose(
        model.predict_proba(X)[500:], model.predict_proba(X[500:]), atol=1e-6
    )
    for weights in model.routing_weights(X).values():
        assert len(weights) == 600


def test_snapshots_are_networks_of_their_epochs(model):
    X, y = data(model)
    model.set_params(snapshot_every=2, n_snapshots=2).fit(X, y)
    assert [snapshot.epoch for snapshot in model.snapshots_] == [4, 6]
    before, last = model.staged_predict_proba(X)
    np.testing.assert_array_equal(last, model.predict_proba(X))
    assert np.abs(last - before).max() > 1e-4
    np.testing.assert_allclose(before.sum(axis=1), 1)
    modules = list(model.staged_modules())
    assert modules[-1] is not model.module_
    assert [not module.training for module in modules] == [True, True]


def test_without_snapshots_there_are_no_stages(model):
    X, y = data(model)
    model.fit(X, y)
    assert model.snapshots_ == []
    for call in (model.staged_modules, lambda: model.staged_predict_proba(X)):
        with pytest.raises(ValueError, match="set `snapshot_every`"):
            call()


def test_early_stopping_ends_training(model):
    X, y = data(model)
    model.set_params(early_stopping=True, max_epochs=200, n_iter_no_change=2, learning_rate=0.05)
    assert 2 < model.fit(X, y).n_iter_ < 200
    assert {"valid_loss"} < set(model.history_[0])


def test_evaluation_mode_is_not_needed_from_the_caller(model):
    X, y = data(model)
    expected = model.set_params(dropout=0.5).fit(X, y).predict_proba(X)
    model.module_.train()
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_works_inside_searches_and_with_metadata_routing(model):
    X, y = data(model)
    model.set_params(max_epochs=2)
    search = GridSearchCV(model, {"learning_rate": [1e-4, 0.02]}, cv=2).fit(X, y)
    assert search.best_params_["learning_rate"] == 0.02
    assert cross_val_predict(model, X, y, cv=2, method="predict_proba").shape == (90, 3)
    with sklearn.config_context(enable_metadata_routing=True):
        requested = clone(model).set_fit_request(sample_weight=True)
        requested.set_score_request(sample_weight=False)
        GridSearchCV(requested, {"weight_decay": [0.0]}, cv=2).fit(X, y, sample_weight=y + 1.0)


def test_labels_that_are_no_classes_are_refused(model):
    X, y = data(model)
    with pytest.raises(ValueError, match="`y` holds one class only"):
        model.fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, y + 0.5)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:-1])
    with pytest.raises(ValueError, match="`sample_weight` must not be negative"):
        model.fit(X, y, sample_weight=-np.ones(len(y)))


def test_fit_comes_first(model):
    X, _ = data(model)
    calls = (model.predict, model.predict_proba, model.decision_function, model.routing_weights)
    for call in calls:
        with pytest.raises(NotFittedError):
            call(X)
    with pytest.raises(NotFittedError):
        model.staged_modules()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "hinge"}, "`objective` must be one of"),
        ({"device": "abacus"}, "`device` is 'abacus'"),
        ({"max_epochs": 0}, "`max_epochs` must be at least 1"),
        ({"dropout": 2.0}, "`dropout` must lie in"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(model, changes, message):
    X, y = data(model)
    with pytest.raises(ValueError, match=message):
        model.set_params(**changes).fit(X, y)


def test_device_that_went_away_is_named_in_prediction(model):
    X, y = data(model)
    model.fit(X, y).set_params(device="cuda:99")
    with pytest.raises(ValueError, match="Use device='cpu'"):
        model.predict(X)


def test_progress_is_shown_on_request(model, capfd):
    X, y = data(model)
    model.fit(X, y)
    assert capfd.readouterr() == ("", "")
    model.set_params(verbose=True).fit(X, y)
    assert f"{type(model).__name__}: 100%" in capfd.readouterr().err
