"""AdversarialReweightCalibrator: optimum, worst cases, what it mends and what it leaves alone."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit
from sklearn.exceptions import ConvergenceWarning

from sk_arcal import AdversarialReweightCalibrator, ExpertTemperatureScaler, TemperatureScaler
from sk_arcal.calibration._adversary._adversaries import ADVERSARIES, Adversary
from sk_arcal.calibration._adversary._ridge_search import RIDGES

N = 600


def routed_events(n=N, effect=0.2, seed=0):
    """Log-odds whose right inverse temperature is `effect` where the routing is low, else 1."""
    rng = np.random.default_rng(seed)
    z, routing = rng.normal(0.5, 2, n), rng.random(n)
    y = (rng.random(n) < expit(np.where(routing < 0.4, effect, 1.0) * z)).astype(int)
    return np.column_stack([z, routing]), y


def routed_mixture(n=N, seed=0):
    """Log-odds of three experts, gates, and labels."""
    rng = np.random.default_rng(seed)
    right = rng.normal(0.5, 1.2, (n, 1)) + rng.normal(0, 1, (n, 3))
    gates = rng.dirichlet([0.7, 0.7, 0.7], n)
    y = (rng.random(n) < (gates * expit(right)).sum(axis=1)).astype(int)
    return np.column_stack([right * [2.5, 1.0, 0.5], gates]), y


MIXTURE = {"expert_columns": [0, 1, 2], "gate_columns": [3, 4, 5]}


def event_losses(log_odds, y):
    return -log_expit(np.where(y == 1, log_odds, -log_odds))


# --- classical forms -----------------------------------------------------------------------------


def test_without_routing_and_adversary_it_is_temperature_scaling():
    X, y = routed_events()
    found = AdversarialReweightCalibrator(routing_columns=[], adversary="none", ridge=0.0)
    expected = TemperatureScaler(routing_columns=[]).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found.fit(X, y).predict_proba(X), expected, rtol=1e-8)


def test_an_infinite_ridge_is_temperature_scaling():
    X, y = routed_events()
    found = AdversarialReweightCalibrator(ridge=np.inf).fit(X, y)
    expected = TemperatureScaler().fit(X, y)
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    assert found.ridge_ == np.inf
    assert found.sample_weights_.max() > 1.2


def test_a_large_ridge_tends_to_it():
    X, y = routed_events()
    found = AdversarialReweightCalibrator(ridge=1e6).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found, TemperatureScaler().fit(X, y).predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(
    "strength",
    [
        {"adversary": "tilted", "eta": 0.0},
        {"adversary": "softmax", "eta": 0.0},
        {"adversary": "cvar", "alpha": 1.0},
        {"adversary": "chi2", "radius": 0.0},
        {"adversary": "kl", "radius": 0.0},
    ],
    ids=lambda s: s["adversary"],
)
@pytest.mark.parametrize("view", ["rows", "routing"])
def test_an_adversary_without_strength_is_none(view, strength):
    X, y = routed_events()
    none = AdversarialReweightCalibrator(adversary="none", ridge=0.01).fit(X, y)
    weak = AdversarialReweightCalibrator(view=view, ridge=0.01, **strength).fit(X, y)
    np.testing.assert_allclose(weak.predict_proba(X), none.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(weak.sample_weights_, 1, rtol=1e-9)


# --- the optimum ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tilted", "chi2", "kl"])
def test_one_temperature_under_the_adversary_is_the_one_a_search_finds(name):
    X, y = routed_events()
    found = AdversarialReweightCalibrator(
        routing_columns=[], adversary=name, view="rows", ridge=0.0, eta=0.3, radius=0.02
    ).fit(X, y)
    adversary = Adversary(name, eta=0.3, radius=0.02)

    def worst(beta):
        return adversary.respond(event_losses(beta * X[:, 0], y), np.ones(N)).value

    best = minimize_scalar(worst, bounds=(0.01, 2), method="bounded", options={"xatol": 1e-9})
    beta = found.decision_function(X)[0] / X[0, 0]
    np.testing.assert_allclose(beta, best.x, atol=1e-5)
    assert found.objective_ <= best.fun + 1e-12


@pytest.mark.parametrize("view", ["rows", "routing"])
@pytest.mark.parametrize("name", [name for name in ADVERSARIES if name != "cvar"])
def test_no_start_finds_a_lower_worst_case(name, view):
    X, y = routed_events(200)
    settings = {"adversary": name, "view": view, "radius": 0.3, "ridge": 0.05, "n_knots": 3}
    warm = AdversarialReweightCalibrator(**settings).fit(X, y)
    cold = AdversarialReweightCalibrator(warm_up=False, **settings).fit(X, y)
    np.testing.assert_allclose(cold.decision_function(X), warm.decision_function(X), rtol=1e-4)


def test_attributes_describe_the_worst_case():
    X, y = routed_events()
    found = AdversarialReweightCalibrator(view="rows", ridge=0.05).fit(X, y)
    losses = event_losses(found.decision_function(X), y)
    worst = Adversary("tilted", eta=2.0).respond(losses, np.ones(N))
    np.testing.assert_allclose(found.objective_, worst.value, rtol=1e-9)
    np.testing.assert_allclose(found.sample_weights_, worst.weights, rtol=1e-7)
    np.testing.assert_allclose(found.worst_case_loss_, np.mean(worst.weights * losses), rtol=1e-9)
    np.testing.assert_allclose(found.loss_, losses.mean(), rtol=1e-9)


@pytest.mark.parametrize("view", ["rows", "routing"])
@pytest.mark.parametrize("name", ADVERSARIES)
def test_weights_have_mean_one_and_absent_rows_none(name, view):
    X, y = routed_events()
    weight = np.arange(N) % 3.0
    found = AdversarialReweightCalibrator(adversary=name, view=view, ridge=0.05)
    weights = found.fit(X, y, sample_weight=weight).sample_weights_
    assert weights.shape == (N,)
    assert (weights >= 0).all()
    assert (weights[weight == 0] == 0).all()
    np.testing.assert_allclose(np.average(weights, weights=weight), 1, rtol=1e-9)


def test_experts_are_minimised_jointly():
    X, y = routed_mixture()
    found = AdversarialReweightCalibrator(adversary="none", ridge=1e-4, **MIXTURE).fit(X, y)
    start = ExpertTemperatureScaler(mixture_temperature=True, **MIXTURE).fit(X, y)
    assert found.loss_ < start.loss_
    assert len(found.theta_) == 3 * 5 + 3 + 1
    inverse = found.theta_[-4:-1] / found.temperature_
    assert inverse[0] < inverse[1] < inverse[2]


def test_order_of_rows_has_no_effect():
    X, y = routed_mixture(200)
    order = np.random.default_rng(1).permutation(200)
    one = AdversarialReweightCalibrator(**MIXTURE).fit(X, y)
    two = AdversarialReweightCalibrator(**MIXTURE).fit(X[order], y[order])
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    np.testing.assert_array_equal(one.sample_weights_[order], two.sample_weights_)


@pytest.mark.parametrize("view", ["rows", "routing"])
@pytest.mark.parametrize("data", [routed_events, routed_mixture])
def test_weight_is_repetition(data, view):
    X, y = data(200)
    weight = np.random.default_rng(1).integers(0, 4, 200)
    columns = MIXTURE if data is routed_mixture else {}
    one = AdversarialReweightCalibrator(view=view, ridge=0.05, **columns)
    two = AdversarialReweightCalibrator(view=view, ridge=0.05, **columns)
    one.fit(X, y, sample_weight=weight)
    two.fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))


# --- what it mends -------------------------------------------------------------------------------


def worst_error(population, p):
    """Largest calibration error over shifts that put all weight on one configuration."""
    return np.abs(population.rate - p).max()


@pytest.mark.parametrize("given", ["routing", "experts"])
def test_a_shift_of_the_gates_finds_less_error_than_after_temperatures(agreeing, given):
    X, y, weight = agreeing.rows(n=4000)
    columns = agreeing.columns
    if given == "routing":
        columns = {"confidence_columns": 0, "routing_columns": [2]}
    found = AdversarialReweightCalibrator(**columns).fit(X, y, sample_weight=weight)
    p = found.predict_proba(agreeing.X)[:, 1]
    others = [
        TemperatureScaler(confidence_columns=0),
        ExpertTemperatureScaler(mixture_temperature=True, **agreeing.columns),
    ]
    for other in others:
        q = other.fit(X, y, sample_weight=weight).predict_proba(agreeing.X)[:, 1]
        np.testing.assert_allclose(worst_error(agreeing, q), 0.1, atol=1e-6)
        for share in [(0.15, 0.7, 0.15), (0.4, 0.2, 0.4), (0, 1, 0), (0.5, 0, 0.5)]:
            assert agreeing.error(p, share) < agreeing.error(q, share) / 3
    assert worst_error(agreeing, p) < 0.03


@pytest.mark.parametrize("seed", range(3))
def test_the_same_on_drawn_rows(agreeing, seed):
    rng = np.random.default_rng(seed)
    configuration = rng.choice(3, 3000, p=agreeing.share)
    y = (rng.random(3000) < agreeing.rate[configuration]).astype(int)
    found = AdversarialReweightCalibrator(**agreeing.columns).fit(agreeing.X[configuration], y)
    assert worst_error(agreeing, found.predict_proba(agreeing.X)[:, 1]) < 0.05


def test_errors_that_cancel_at_one_level_are_told_apart(cancelling):
    X, y, weight = cancelling.rows(n=20_000)
    scaler = ExpertTemperatureScaler(mixture_temperature=True, **cancelling.columns)
    found = AdversarialReweightCalibrator(**cancelling.columns)
    errors = [
        cancelling.error(c.fit(X, y, sample_weight=weight).predict_proba(cancelling.X)[:, 1])
        for c in (scaler, found)
    ]
    assert errors[1] <= errors[0] + 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_a_temperature_that_depends_on_routing_is_found(seed):
    X, y = routed_events(4000, seed=seed)
    found = AdversarialReweightCalibrator().fit(X, y)
    low, high = found.decision_function([[1.0, 0.1], [1.0, 0.9]])
    np.testing.assert_allclose([low, high], [0.2, 1.0], atol=0.15)


@pytest.mark.parametrize("seed", range(6))
def test_useless_routing_hardly_moves_a_calibrated_model(seed):
    X, y = routed_events(1500, effect=1.0, seed=seed)
    truth = expit(X[:, 0])
    found = AdversarialReweightCalibrator().fit(X, y).predict_proba(X)[:, 1]
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.03


def test_the_published_view_makes_a_calibrated_model_modest():
    X, y = routed_events(4000, effect=1.0)
    rows = AdversarialReweightCalibrator(view="rows", ridge=0.01).fit(X, y)
    cells = AdversarialReweightCalibrator(ridge=0.01).fit(X, y)
    strength = [np.abs(c.decision_function(X)).mean() for c in (rows, cells)]
    assert strength[0] < 0.6 * strength[1]


# --- the filter ----------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["rows", "routing"])
def test_filtered_without_relevant_rows_is_the_average(view):
    X, y = routed_mixture()
    thresholds = {"min_regret": 99.0, "min_disagreement": 3.0}
    # The objective is twice the mean, so the ridge counts half.
    found = AdversarialReweightCalibrator(
        filtered=True, view=view, ridge=0.1, **thresholds, **MIXTURE
    ).fit(X, y)
    expected = AdversarialReweightCalibrator(adversary="none", ridge=0.05, **MIXTURE).fit(X, y)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(found.objective_, 2 * found.loss_, rtol=1e-12)


def test_filtered_objective_is_the_published_one():
    X, y = routed_mixture()
    found = AdversarialReweightCalibrator(
        adversary="softmax", view="rows", filtered=True, ridge=0.1, **MIXTURE
    ).fit(X, y)
    losses = event_losses(found.decision_function(X), y)
    p, gates = expit(X[:, :3]), X[:, 3:]
    mixed = (gates * p).sum(axis=1)
    said = np.where(y[:, None] == 1, p, 1 - p)
    regret = -np.log(np.where(y == 1, mixed, 1 - mixed)) + np.log(said).max(axis=1)
    spread = 2 * (gates * (p - mixed[:, None]) ** 2).sum(axis=1)
    relevant = (regret > 1e-6) | (spread > 0.01)
    q = np.exp(2 * losses[relevant])
    expected = losses.mean() + q @ losses[relevant] / q.sum()
    np.testing.assert_allclose(found.objective_, expected, rtol=1e-9)


def test_filtered_without_experts_is_refused():
    with pytest.raises(ValueError, match=r"`filtered=True` looks for rows where experts disagree"):
        AdversarialReweightCalibrator(filtered=True).fit(*routed_events())


# --- parameters and warnings ---------------------------------------------------------------------


def test_ridge_is_searched_or_given():
    X, y = routed_events(4000)
    assert AdversarialReweightCalibrator().fit(X, y).ridge_ in RIDGES
    assert AdversarialReweightCalibrator(ridge=0.3).fit(X, y).ridge_ == 0.3
    guarded = AdversarialReweightCalibrator(n_standard_errors=1e6).fit(X, y)
    assert guarded.ridge_ == np.inf


def test_running_out_of_iterations_warns_the_caller():
    X, y = routed_events()
    with pytest.warns(ConvergenceWarning, match="not converged after 1 iterations") as caught:
        AdversarialReweightCalibrator(max_iter=1, ridge=0.01, warm_up=False).fit(X, y)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"adversary": "worst"}, ValueError, "`adversary` must be one of 'tilted'"),
        ({"view": "labels"}, ValueError, "`view` must be one of 'routing', 'rows'"),
        ({"eta": -1.0}, ValueError, "`eta` must lie in"),
        ({"alpha": 0.0}, ValueError, r"`alpha` is a share of the rows, in \(0, 1\]; got 0"),
        ({"alpha": 1.5}, ValueError, "`alpha` must lie in"),
        ({"radius": -0.1}, ValueError, "`radius` must lie in"),
        ({"ridge": "loo"}, ValueError, "`ridge` must be one of 'cv'"),
        ({"ridge": -1}, ValueError, "`ridge` must lie in"),
        ({"n_folds": 1}, ValueError, "`n_folds` must be at least 2"),
        ({"n_knots": 2.5}, TypeError, "`n_knots` must be an integer"),
        ({"min_regret": -1}, ValueError, "`min_regret` must lie in"),
    ],
)
def test_bad_parameters_are_refused_in_fit(settings, error, message):
    with pytest.raises(error, match=message):
        AdversarialReweightCalibrator(**settings).fit(*routed_events(20))


def test_cvar_comes_near_the_optimum_a_general_solver_finds():
    X, y = routed_events(200)
    found = AdversarialReweightCalibrator(
        routing_columns=[], adversary="cvar", alpha=0.9, view="rows", ridge=0.0
    ).fit(X, y)
    adversary = Adversary("cvar", alpha=0.9)
    best = minimize_scalar(
        lambda beta: adversary.respond(event_losses(beta * X[:, 0], y), np.ones(200)).value,
        bounds=(0.01, 2),
        method="bounded",
        options={"xatol": 1e-9},
    )
    np.testing.assert_allclose(found.objective_, best.fun, rtol=1e-5)
