"""StructuredScaler: what it reduces to, what it recovers, what it leaves alone, what it refuses."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning

from sk_arcal.calibration import CalibrationWarning, StructuredScaler, TemperatureScaler


def drawn(logits, rng):
    below = softmax(logits, axis=1).cumsum(axis=1) < rng.random((len(logits), 1))
    return below.sum(axis=1).clip(max=logits.shape[1] - 1)


def biased_classes(n=3000, n_classes=5, seed=0):
    """Logits that are twice too large and forget that the last class is frequent."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, n_classes))
    truth = logits / 2
    truth[:, -1] += 1.5
    return logits, drawn(truth, rng), truth


def mixed_up_classes(n=6000, seed=0):
    """Logits in which class 0 leaks into class 1."""
    rng = np.random.default_rng(seed)
    truth = 2 * rng.normal(size=(n, 4))
    logits = truth.copy()
    logits[:, 1] += 0.8 * softmax(truth, axis=1)[:, 0] * 3
    return logits, drawn(truth, rng), truth


def log_loss(probability, y):
    return -np.log(probability[np.arange(len(y)), y]).mean()


def divergence(truth, probability):
    p = softmax(truth, axis=1)
    return (p * (np.log(p) - np.log(probability))).sum(axis=1).mean()


# --- what it reduces to --------------------------------------------------------------------------


def test_structure_temperature_is_temperature_scaling():
    X, y, _ = biased_classes()
    scaler = StructuredScaler(structure="temperature", routing_columns=[]).fit(X, y)
    plain = TemperatureScaler().fit(X, y)
    np.testing.assert_allclose(scaler.predict_proba(X), plain.predict_proba(X), rtol=1e-9)
    assert scaler.search_ == {}


@pytest.mark.parametrize("structure", ["vector", "matrix"])
def test_an_infinite_penalty_is_temperature_scaling(structure):
    X, y, _ = biased_classes()
    scaler = StructuredScaler(structure=structure, penalty=1e12).fit(X, y)
    plain = TemperatureScaler().fit(X, y)
    np.testing.assert_allclose(scaler.predict_proba(X), plain.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("structure", ["vector", "matrix"])
def test_minimises_what_the_docstring_says(structure):
    X, y, _ = biased_classes(n=400, n_classes=3)
    penalty = {"scale": 2.0, "bias": 0.5, "cross": 3.0}
    scaler = StructuredScaler(structure=structure, penalty=penalty).fit(X, y)
    u = log_softmax(X / TemperatureScaler().fit(X, y).temperature_, axis=1)
    f, off = np.log(np.exp(u) + 0.1), ~np.eye(3, dtype=bool)

    def objective(parameters):
        slope, v, b, cross = np.split(parameters, [1, 4, 7])
        matrix = np.zeros((3, 3))
        matrix[off] = cross
        scores = (1 + slope) * u + f * v + b + f @ matrix.T
        ridge = 3 * 2.0 * v @ v + 3 * 0.5 * b @ b + 3 * 2 * 3.0 * cross @ cross
        return -log_softmax(scores, axis=1)[np.arange(400), y].mean() + ridge / 400

    size = 13 if structure == "matrix" else 7
    best = minimize(lambda p: objective(np.r_[p, np.zeros(13 - size)]), np.zeros(size), tol=1e-10)
    cross = np.zeros(6) if scaler.matrix_ is None else scaler.matrix_[off]
    ours = np.r_[scaler.slopes_, scaler.vector_, scaler.bias_, cross]
    np.testing.assert_allclose(ours[:size], best.x, atol=1e-5)
    assert objective(ours) <= best.fun + 1e-12


def test_an_event_is_two_classes():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(0, 2, 500)
    y = (rng.random(500) < expit(log_odds / 2 - 1)).astype(int)
    settings = {"structure": "vector", "penalty": 1.0, "confidence_kind": "logit"}
    one = StructuredScaler(**settings).fit(log_odds[:, None], y)
    shift = rng.normal(size=500)
    pair = np.column_stack([shift, log_odds + shift])
    two = StructuredScaler(confidence_columns=[0, 1], **settings).fit(pair, y)
    np.testing.assert_allclose(
        two.decision_function(pair), one.decision_function(log_odds[:, None]), rtol=1e-6
    )


def test_matrix_of_an_event_is_its_vector():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1))
    y = rng.random(300) < expit(X[:, 0] - 0.5)
    assert StructuredScaler(structure="matrix", penalty=1.0).fit(X, y).structure_ == "vector"


# --- what it recovers ----------------------------------------------------------------------------


def test_recovers_a_forgotten_class_frequency():
    X, y, _ = biased_classes()
    fresh, _, truth = biased_classes(seed=1)
    scaler = StructuredScaler().fit(X, y)
    plain = TemperatureScaler().fit(X, y)
    assert scaler.structure_ in ("vector", "matrix")
    assert divergence(truth, scaler.predict_proba(fresh)) < 0.005
    assert divergence(truth, plain.predict_proba(fresh)) > 0.1


def test_matrix_recovers_what_a_vector_cannot():
    X, y, _ = mixed_up_classes()
    fresh, _, truth = mixed_up_classes(seed=1)
    losses = {
        structure: divergence(
            truth, StructuredScaler(structure=structure).fit(X, y).predict_proba(fresh)
        )
        for structure in ("vector", "matrix")
    }
    assert StructuredScaler().fit(X, y).structure_ == "matrix"
    assert losses["matrix"] < losses["vector"] / 2


def test_routing_that_sets_the_temperature_is_used():
    rng = np.random.default_rng(0)
    truth, routing = 2 * rng.normal(size=(3000, 4)), rng.random(3000)
    X = np.column_stack([truth / (0.4 + 1.2 * routing)[:, None], routing])
    y = drawn(truth, rng)
    scaler = StructuredScaler().fit(X, y)
    assert scaler.uses_routing_
    assert scaler.slopes_[1] > 0.1
    blind = StructuredScaler(routing_columns=[], confidence_columns=range(4)).fit(X, y)
    assert (
        divergence(truth, scaler.predict_proba(X)) < divergence(truth, blind.predict_proba(X)) / 3
    )


def test_routing_that_shifts_an_event_is_used():
    rng = np.random.default_rng(0)
    log_odds, routing = rng.normal(size=3000), rng.random(3000)
    y = rng.random(3000) < expit(log_odds + 2 * routing - 1)
    scaler = StructuredScaler().fit(np.column_stack([log_odds, routing]), y)
    assert scaler.uses_routing_
    low, high = scaler.predict_proba([[0.0, 0.1], [0.0, 0.9]])[:, 1]
    np.testing.assert_allclose([low, high], expit([-0.8, 0.8]), atol=0.05)


@pytest.mark.parametrize("axis", ["rank", "standardized"])
def test_given_structure_and_penalty_use_all_routing_columns(axis):
    X, y, _ = biased_classes(n=300)
    X = np.column_stack([X, np.random.default_rng(1).normal(size=(300, 2))])
    scaler = StructuredScaler(structure="vector", penalty=1.0, routing_axis=axis).fit(X, y)
    assert scaler.uses_routing_
    assert (scaler.slopes_[1:] != 0).all()
    assert scaler.routing_bias_.shape == (5, 2)
    assert scaler.search_ == {}


# --- what it leaves alone ------------------------------------------------------------------------


def test_calibrated_classes_keep_their_temperature():
    chosen = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        logits = 2 * rng.normal(size=(400, 3))
        chosen.append(StructuredScaler().fit(logits, drawn(logits, rng)).structure_)
    assert chosen.count("temperature") >= 17


def test_useless_routing_is_not_used():
    used = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        log_odds, routing = 2 * rng.normal(size=400), rng.normal(size=(400, 3))
        y = rng.random(400) < expit(log_odds)
        used.append(StructuredScaler().fit(np.column_stack([log_odds, routing]), y).uses_routing_)
    assert sum(used) <= 3


def test_without_the_guard_the_lowest_loss_wins():
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(400, 3))
    scaler = StructuredScaler(n_standard_errors=0.0).fit(logits, drawn(logits, rng))
    lowest = scaler.search_["loss"].argmin()
    assert scaler.structure_ == scaler.search_["structure"][lowest]


def test_a_guard_without_limit_keeps_the_temperature():
    X, y, _ = biased_classes()
    scaler = StructuredScaler(n_standard_errors=1e6).fit(X, y)
    assert scaler.structure_ == "temperature"
    plain = TemperatureScaler().fit(X, y)
    np.testing.assert_allclose(scaler.predict_proba(X), plain.predict_proba(X), rtol=1e-9)


def test_a_temperature_at_its_bound_is_used_as_it_is():
    X, _, _ = biased_classes(n=200)
    separated = X.argmax(axis=1)
    assert len(np.unique(separated)) == 5
    with pytest.warns(CalibrationWarning, match="separates right from wrong"):
        scaler = StructuredScaler(structure="matrix").fit(X, separated)
    with pytest.warns(CalibrationWarning, match="separates right from wrong"):
        plain = TemperatureScaler().fit(X, separated)
    assert scaler.structure_ == "temperature"
    assert scaler.temperature_ == plain.temperature_


def test_perfect_separation_warns_the_caller():
    X, _, _ = biased_classes(n=200)
    with pytest.warns(CalibrationWarning, match="separates right from wrong") as caught:
        StructuredScaler().fit(X, X.argmax(axis=1))
    assert caught[0].filename == __file__


# --- invariances ---------------------------------------------------------------------------------


def test_order_of_rows_does_not_matter():
    X, y, _ = biased_classes(n=500)
    shuffled = np.random.default_rng(1).permutation(500)
    expected = StructuredScaler().fit(X, y).predict_proba(X)
    other = StructuredScaler().fit(X[shuffled], y[shuffled])
    np.testing.assert_array_equal(other.predict_proba(X), expected)


def test_names_of_classes_do_not_matter():
    X, y, _ = biased_classes(n=500)
    turned = np.array([3, 0, 4, 2, 1])
    expected = StructuredScaler().fit(X, y)
    other = StructuredScaler().fit(X[:, np.argsort(turned)], turned[y])
    assert other.structure_ == expected.structure_
    np.testing.assert_allclose(
        other.predict_proba(X[:, np.argsort(turned)])[:, turned],
        expected.predict_proba(X),
        rtol=1e-6,
    )


def test_shift_of_all_logits_of_a_row_does_not_matter():
    X, y, _ = biased_classes(n=500)
    scaler = StructuredScaler().fit(X, y)
    shift = np.random.default_rng(1).normal(size=(500, 1))
    np.testing.assert_allclose(scaler.predict_proba(X + shift), scaler.predict_proba(X), rtol=1e-9)


def test_scale_of_all_logits_does_not_matter():
    X, y, _ = biased_classes(n=500)
    expected = StructuredScaler().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(
        StructuredScaler(confidence_kind="logit").fit(X / 8, y).predict_proba(X / 8),
        expected,
        rtol=1e-6,
    )


def test_extreme_logits_are_not_extrapolated():
    X, y, _ = biased_classes()
    scaler = StructuredScaler(structure="matrix", penalty=0.01).fit(X, y)
    far = np.array([[200.0, 0.0, -100.0, -5000.0, -5000.0]])
    probability = scaler.predict_proba(far)
    assert probability.argmax() == 0
    assert probability[0, 0] > 1 - 1e-9


# --- settings ------------------------------------------------------------------------------------


def test_many_classes_do_without_the_matrix():
    X, y, _ = biased_classes(n=500)
    scaler = StructuredScaler(max_parameters=30).fit(X, y)
    assert "matrix" not in scaler.search_["structure"]
    assert "matrix" in StructuredScaler(max_parameters=31).fit(X, y).search_["structure"]


def test_few_rows_keep_the_temperature():
    X, y, _ = biased_classes(n=40)
    scaler = StructuredScaler(n_folds=21, classes=range(5)).fit(X, y)
    assert scaler.structure_ == "temperature"


def test_search_is_a_table():
    X, y, _ = biased_classes(n=500)
    scaler = StructuredScaler().fit(X, y)
    search = scaler.search_
    assert set(search) == {"structure", "uses_routing", "penalty", "loss", "standard_error"}
    assert search["structure"][0] == "temperature"
    assert search["standard_error"][0] == 0
    assert len({len(column) for column in search.values()}) == 1
    assert list(scaler.penalty_) == ["scale", "bias", "cross", "routing"]
    chosen = (search["penalty"] == list(scaler.penalty_.values())).all(axis=1)
    assert scaler.structure_ in search["structure"][chosen]


def test_cross_validated_loss_is_worse_than_that_of_the_fit():
    X, y, _ = biased_classes(n=300, n_classes=3)
    scaler = StructuredScaler(penalty=1.0, n_folds=2).fit(X, y)
    line = list(scaler.search_["structure"]).index("vector")
    inside = StructuredScaler(structure="vector", penalty=1.0).fit(X, y).loss_
    outside = scaler.search_["loss"][line]
    assert inside < outside < inside + 0.1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"structure": "tensor"}, ValueError, "`structure` must be one of 'auto'"),
        ({"penalty": "aic"}, ValueError, "`penalty` must be one of 'cv'"),
        ({"penalty": 0.0}, ValueError, r"`penalty` must lie in \(0"),
        ({"penalty": None}, TypeError, "`penalty` must be a number"),
        ({"penalty": {"slope": 1.0}}, ValueError, r"no kinds \['slope'\]; the kinds are"),
        ({"penalty": {"bias": -1.0}}, ValueError, r"penalty\['bias'\]"),
        ({"routing_axis": "log"}, ValueError, "`routing_axis` must be one of"),
        ({"n_standard_errors": -1.0}, ValueError, "`n_standard_errors`"),
        ({"n_folds": 1}, ValueError, "`n_folds` must be at least 2"),
        ({"n_folds": 2.5}, TypeError, "`n_folds` must be an integer"),
        ({"max_parameters": 0}, ValueError, "`max_parameters`"),
        ({"max_iter": 0}, ValueError, "`max_iter`"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    X, y, _ = biased_classes(n=100)
    with pytest.raises(error, match=message):
        StructuredScaler(**settings).fit(X, y)


def test_too_few_iterations_warn_the_caller():
    X, y, _ = biased_classes(n=300)
    with pytest.warns(ConvergenceWarning, match="increase `max_iter`") as caught:
        StructuredScaler(structure="matrix", penalty=0.01, max_iter=1).fit(X, y)
    assert caught[0].filename == __file__


# --- real logits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "gain"),
    [("logits/cifar10_widmann_resnet18", 0.015), ("logits/text_cleanlab_20news", 0.12)],
)
def test_gains_over_the_temperature_on_real_logits(shared_data, cell, gain):
    data = np.load(shared_data / f"{cell}.npz")
    X, y, new = data["logits"].astype(float), data["y"].astype(int), data["split"] == 1
    losses = [
        log_loss(method.fit(X[~new], y[~new]).predict_proba(X[new]), y[new])
        for method in (TemperatureScaler(), StructuredScaler())
    ]
    assert losses[0] - losses[1] > gain
