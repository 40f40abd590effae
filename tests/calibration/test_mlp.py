import pickle

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, rel_entr, softmax

from sk_arcal.calibration import CalibrationWarning, CapacityMatchedMLP, TemperatureScaler
from sk_arcal.calibration._network._mlp_network import matched_width

CONTROLS = (None, "confidence_only", "shuffled_routing")


def network(**settings):
    shared = {"confidence_columns": 0, "confidence_kind": "logit", "random_state": 0}
    return CapacityMatchedMLP(**shared | settings)


def events(n=2000, effect=1.0, temperature=1.0, n_routing=3, seed=0):
    """Log-odds, routing of which the first column matters, events and their probabilities."""
    rng = np.random.default_rng(seed)
    z, routing = rng.normal(0.5, 2, n), rng.normal(size=(n, n_routing))
    truth = expit(z / temperature + effect * routing[:, 0])
    return np.column_stack([z, routing]), (rng.random(n) < truth).astype(int), truth


def classes(n=1500, effect=1.0, seed=0):
    """Four logits, one routing column that scales them, and a label."""
    rng = np.random.default_rng(seed)
    logits, routing = 2 * rng.normal(size=(n, 4)), rng.normal(size=n)
    truth = softmax(logits * np.exp(effect * routing)[:, None], axis=1)
    y = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=3)
    return np.column_stack([logits, routing]), y


def excess_log_loss(truth, event):
    """Mean divergence from the truth, nats."""
    return np.mean(rel_entr(truth, event) + rel_entr(1 - truth, 1 - event))


# --- what it finds, against simulated truth ------------------------------------------------------


@pytest.mark.parametrize("n", [200, 3000])
def test_calibrated_confidence_is_left_almost_alone(n):
    fresh, _, truth = events(5000, effect=0.0, seed=99)
    losses = []
    for seed in range(5):
        X, y, _ = events(n, effect=0.0, seed=seed)
        probability = network(random_state=seed).fit(X, y).predict_proba(fresh)[:, 1]
        losses.append(excess_log_loss(truth, probability))
    # one useless parameter costs half a nat per row of `fit`
    assert np.mean(losses) < 5 * 0.5 / n


def test_overconfidence_is_mended_nearly_as_by_temperature():
    fresh, _, truth = events(5000, effect=0.0, temperature=2.0, seed=99)
    before, after = excess_log_loss(truth, expit(fresh[:, 0])), []
    for seed in range(4):
        X, y, _ = events(effect=0.0, temperature=2.0, seed=seed)
        calibrator = network(random_state=seed).fit(X, y)
        after.append(excess_log_loss(truth, calibrator.predict_proba(fresh)[:, 1]))
    # one temperature leaves next to nothing
    assert np.mean(after) < 0.15 * before


def test_routing_that_matters_is_used():
    X, y, _ = events()
    fresh, _, truth = events(5000, seed=1)
    found = {
        control: excess_log_loss(
            truth, network(control=control).fit(X, y).predict_proba(fresh)[:, 1]
        )
        for control in CONTROLS
    }
    raw = excess_log_loss(truth, expit(fresh[:, 0]))
    assert found[None] < 0.25 * raw
    assert min(found["confidence_only"], found["shuffled_routing"]) > 0.6 * raw


def test_heavy_tails_of_routing_do_no_harm():
    X, y, _ = events()
    fresh, _, truth = events(5000, seed=1)
    X[:, 1:], fresh[:, 1:] = np.exp(4 * X[:, 1:]), np.exp(4 * fresh[:, 1:])
    after = excess_log_loss(truth, network().fit(X, y).predict_proba(fresh)[:, 1])
    assert after < 0.25 * excess_log_loss(truth, expit(fresh[:, 0]))


def test_routing_helps_top_label_confidence():
    X, y = classes()
    fresh, labels = classes(5000, seed=1)
    rows = np.arange(5000)
    calibrator = CapacityMatchedMLP(random_state=0).fit(X, y)
    after = -np.log(calibrator.predict_proba(fresh)[rows, labels]).mean()
    tempered = -np.log(TemperatureScaler().fit(X, y).predict_proba(fresh)[rows, labels]).mean()
    assert calibrator.best_iter_ > 0
    assert after < tempered - 0.02


# --- controls and capacity -----------------------------------------------------------------------


@pytest.mark.parametrize("columns", [None, [], [1], [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("control", CONTROLS)
def test_capacity_is_matched_to_all_columns(control, columns):
    X, y, _ = events(60, n_routing=6)
    full = network().fit(X, y)
    assert (full.hidden_width_, full.n_parameters_) == (16, 9 * 16 + 1)
    other = network(control=control, routing_columns=columns).fit(X, y)
    sizes = [array.size for array in (*other.coefs_, *other.intercepts_)]
    assert other.n_parameters_ == sum(sizes)
    n_inputs = len(other.coefs_[0])
    assert abs(other.n_parameters_ - full.n_parameters_) <= (n_inputs + 2) / 2


def test_confidence_only_is_the_network_without_routing_columns():
    X, y, _ = events(400)
    settings = {"n_standard_errors": 0.0}
    control = network(control="confidence_only", **settings).fit(X, y)
    assert control.best_iter_ > 0
    without = network(routing_columns=[], **settings).fit(X, y)
    np.testing.assert_array_equal(control.predict_proba(X), without.predict_proba(X))


def test_confidence_only_does_not_read_routing():
    X, y, _ = events(400)
    control = network(control="confidence_only", n_standard_errors=0.0).fit(X, y)
    other = X.copy()
    other[:, 1:] = 7
    np.testing.assert_array_equal(control.predict_proba(X), control.predict_proba(other))


def test_shuffled_profiles_tell_nothing_about_the_own_one():
    # a binary column with a strong effect, which a leak would reveal
    rng = np.random.default_rng(0)
    z, level = rng.normal(size=6000), rng.integers(0, 2, 6000)
    y = (rng.random(6000) < expit(z + 4 * level - 2)).astype(int)
    X = np.column_stack([z, level])
    control = network(control="shuffled_routing", n_standard_errors=0.0).fit(X, y)
    assert control.best_iter_ > 0
    correction = control.decision_function(X) - z
    # within bins of the confidence, in which both levels have the same law
    code = np.argsort(np.argsort(z)) // 200
    centred = correction - (np.bincount(code, correction) / 200)[code]
    first, second = centred[level == 0], centred[level == 1]
    error = np.sqrt(first.var() / len(first) + second.var() / len(second))
    assert abs(first.mean() - second.mean()) < 4 * error


def test_single_row_is_shuffled_too():
    X, y, _ = events(3000, effect=2.0)
    control = network(control="shuffled_routing", n_standard_errors=0.0, n_bins=1).fit(X, y)
    # its own profile hardly moves, what it borrows does
    rows = np.column_stack([np.zeros(40), 3 + np.arange(40) / 1000, np.zeros((40, 2))])
    alone = [control.decision_function(row[None])[0] for row in rows]
    assert np.std(alone) > 0.02
    assert np.std(network().fit(X, y).decision_function(rows)) < 0.002


# --- the start, early stopping and its guard -----------------------------------------------------


def test_rejected_network_is_the_identity_exactly():
    X, y, _ = events(500, effect=0.0)
    calibrator = network(n_standard_errors=100.0).fit(X, y)
    assert calibrator.best_iter_ == 0
    assert calibrator.n_iter_ > 0
    np.testing.assert_array_equal(calibrator.decision_function(X), X[:, 0])
    assert not calibrator.coefs_[1].any()


def test_prediction_is_the_offset_plus_the_published_formula():
    X, y, _ = events(600)
    calibrator = network(routing_columns=[1]).fit(X, y)
    assert calibrator.best_iter_ > 0
    z, r = X[:, 0], X[:, 1]
    assert y.mean() > 0.5  # so the more frequent outcome is the event
    rank = (np.argsort(np.argsort(r)) + 0.5) / 600
    inputs = np.column_stack([(z - z.mean()) / z.std(), np.sqrt(12) * (rank - 0.5)])
    hidden = np.tanh(inputs @ calibrator.coefs_[0] + calibrator.intercepts_[0])
    expected = z + (hidden @ calibrator.coefs_[1])[:, 0] + calibrator.intercepts_[1]
    # ranks are kept at 256 points
    np.testing.assert_allclose(calibrator.decision_function(X), expected, atol=0.02)


def test_curve_starts_at_the_loss_of_the_incoming_confidence():
    X, y, _ = events(1000)
    calibrator = network(validation_fraction=0.9).fit(X, y)
    curve = calibrator.validation_losses_
    everything = -np.log(np.where(y == 1, expit(X[:, 0]), expit(-X[:, 0]))).mean()
    assert curve[0] == pytest.approx(everything, abs=0.03)
    assert len(curve) == 1 + calibrator.n_iter_
    assert calibrator.best_iter_ == curve.argmin()


def test_few_rows_are_left_alone():
    X, y, _ = events(25)
    calibrator = network().fit(X, y)
    assert calibrator.n_iter_ == 0
    assert np.isnan(calibrator.validation_losses_).all()
    np.testing.assert_array_equal(calibrator.decision_function(X), X[:, 0])


# --- invariance and repetition -------------------------------------------------------------------


@pytest.mark.parametrize("control", CONTROLS)
def test_same_seed_gives_the_same_bits(control):
    X, y, _ = events(500)
    first, second = (network(control=control, n_standard_errors=0.0).fit(X, y) for _ in range(2))
    assert first.best_iter_ > 0
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_generator_moves_on_from_fit_to_fit():
    X, y, _ = events(500)
    calibrator = network(random_state=np.random.default_rng(0))
    first = calibrator.fit(X, y).coefs_[0]
    assert (calibrator.fit(X, y).coefs_[0] != first).any()


@pytest.mark.parametrize("control", CONTROLS)
def test_order_of_rows_does_not_matter(control):
    X, y, _ = events(500)
    order = np.random.default_rng(1).permutation(500)
    first = network(control=control, n_standard_errors=0.0).fit(X, y)
    second = network(control=control, n_standard_errors=0.0).fit(X[order], y[order])
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_weights_count_only_in_proportion_for_the_network_itself():
    X, y, _ = events(500)
    weight = np.random.default_rng(1).random(500)
    first = network(n_standard_errors=0.0).fit(X, y, sample_weight=weight)
    second = network(n_standard_errors=0.0).fit(X, y, sample_weight=8 * weight)
    np.testing.assert_allclose(first.predict_proba(X), second.predict_proba(X), rtol=1e-9)


def test_more_weight_is_more_evidence():
    X, y, _ = events(60)
    weights = [np.full(60, w) for w in (1e-3, 1e3)]
    fits = [network().fit(X, y, sample_weight=w) for w in weights]
    assert [fit.best_iter_ > 0 for fit in fits] == [False, True]


def test_monotone_map_of_routing_does_not_matter():
    X, y, _ = events(240)
    expected = network(n_standard_errors=0.0).fit(X, y).predict_proba(X)
    X[:, 1:] = np.exp(X[:, 1:])
    np.testing.assert_array_equal(
        network(n_standard_errors=0.0).fit(X, y).predict_proba(X), expected
    )


# --- several classes -----------------------------------------------------------------------------


@pytest.mark.parametrize("lift", ["temperature", "proportional", "uniform"])
def test_every_lift_gives_the_top_class_the_same_probability(lift):
    X, y = classes()
    calibrator = CapacityMatchedMLP(lift=lift, random_state=0).fit(X, y)
    top = np.arange(len(X)), X[:, :4].argmax(axis=1)
    reference = CapacityMatchedMLP(lift="uniform", random_state=0).fit(X, y).predict_proba(X)[top]
    probability = calibrator.predict_proba(X)[top]
    np.testing.assert_allclose(
        probability, np.maximum(reference, 0.25 * (lift == "temperature")), rtol=1e-5
    )


def test_clipped_rows_are_counted():
    X, y = classes()
    calibrator = CapacityMatchedMLP(lift="uniform", random_state=0).fit(X, y)
    top = calibrator.predict_proba(X)[np.arange(len(X)), X[:, :4].argmax(axis=1)]
    assert calibrator.n_clipped_ == (top < 0.25).sum() > 0


def test_untouched_classes_keep_their_logits():
    X, y = classes(effect=0.0)
    calibrator = CapacityMatchedMLP(n_standard_errors=100.0, random_state=0).fit(X, y)
    expected = np.exp(log_softmax(X[:, :4], axis=1))
    np.testing.assert_allclose(calibrator.predict_proba(X), expected, rtol=1e-12)


# --- surroundings --------------------------------------------------------------------------------


def test_pickle_is_small():
    X, y, _ = events(3000, n_routing=12)
    assert len(pickle.dumps(network().fit(X, y))) < 100_000


def test_prediction_does_not_touch_torch(monkeypatch):
    X, y, _ = events(600)
    calibrator = network().fit(X, y)
    assert calibrator.best_iter_ > 0
    monkeypatch.setattr(torch, "tensor", None)
    monkeypatch.setattr(torch, "tanh", None)
    calibrator.predict_proba(X)


def test_perfect_separation_warns_the_caller():
    X, _, _ = events(100)
    with pytest.warns(CalibrationWarning, match="separates right from wrong") as caught:
        network().fit(X, X[:, 0] > 0)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"control": "none"}, ValueError, "`control` must be one of 'confidence_only'"),
        ({"lift": "up"}, ValueError, "`lift` must be one of"),
        ({"hidden_width": 0}, ValueError, "`hidden_width` must be at least 1"),
        ({"hidden_width": 2.0}, TypeError, "`hidden_width` must be an integer"),
        ({"weight_decay": -1}, ValueError, "`weight_decay` must lie in"),
        ({"learning_rate": 0}, ValueError, "`learning_rate` must lie in"),
        ({"max_epochs": 0}, ValueError, "`max_epochs` must be at least 1"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"validation_fraction": 1.0}, ValueError, "`validation_fraction` must lie in"),
        ({"n_iter_no_change": 0}, ValueError, "`n_iter_no_change` must be at least 1"),
        ({"n_standard_errors": -1}, ValueError, "`n_standard_errors` must lie in"),
        ({"n_bins": 0}, ValueError, "`n_bins` must be at least 1"),
        ({"device": 0}, TypeError, "`device` must be the name of a torch device"),
        ({"device": "cuda:99"}, ValueError, "`device` is 'cuda:99'.*Use device='cpu'"),
        ({"random_state": -1}, ValueError, "`random_state` must be at least 0"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_parameters_are_refused(settings, error, message):
    X, y, _ = events(60)
    with pytest.raises(error, match=message):
        network(**settings).fit(X, y)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_the_same():
    X, y, _ = events(2000)
    cpu, gpu = (network(device=device).fit(X, y) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.predict_proba(X), cpu.predict_proba(X), atol=1e-3)


def test_width_grows_where_columns_are_left_out():
    X, y, _ = events(60, n_routing=6)
    narrow = network(routing_columns=[1], hidden_width=10).fit(X, y)
    assert narrow.hidden_width_ == matched_width(10, 6, 1) == 22
