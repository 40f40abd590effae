"""The kernel calibrator: its formula, its limits, and what it recovers."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sk_arcal import NWConditionalCalibrator, TemperatureScaler
from sk_arcal.calibration import CalibrationWarning

PLAIN = {
    "anchor": "none",
    "bandwidth": "scott",
    "confidence_axis": "probability",
    "routing_axis": "standardized",
    "shrinkage": 0.0,
    "min_mass": 0.0,
}


def routed(effect, n=1500, seed=0, n_useless=0):
    """Calibrated confidence and a routing column; effect(routing) is added to the event rate."""
    rng = np.random.default_rng(seed)
    confidence, routing = rng.beta(6, 2, n), rng.random(n)
    truth = np.clip(confidence + effect(routing), 0, 1)
    X = np.column_stack([confidence, routing, rng.random((n, n_useless))])
    return X, (rng.random(n) < truth).astype(int), truth


def null(routing):
    return np.zeros(len(routing))


def step(routing):
    return np.where(routing < 0.5, -0.1, 0.1)


def sine(routing):
    return 0.1 * np.sin(2 * np.pi * routing)


def events(n=200, seed=0, n_routing=2):
    rng = np.random.default_rng(seed)
    log_odds, routing = rng.normal(1, 1.5, n), rng.normal(size=(n, n_routing))
    y = (rng.random(n) < expit(log_odds / 2 + routing[:, 0])).astype(int)
    return np.column_stack([log_odds, routing]), y


def classes(n=400, n_classes=5, seed=0):
    """Class logits, and a routing column that says how sure one may be."""
    rng = np.random.default_rng(seed)
    logits, routing = 2 * rng.normal(size=(n, n_classes)), rng.random(n)
    truth = softmax(logits * (0.2 + routing[:, None]), axis=1)
    y = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=n_classes - 1)
    y[:n_classes] = np.arange(n_classes)
    return np.column_stack([logits, routing]), y


def kernel_matrix(query, train, bandwidth):
    distance = ((query[:, None, :] - train[None, :, :]) / bandwidth) ** 2
    return np.exp(-0.5 * distance.sum(axis=2))


# --- the formula --------------------------------------------------------------------------------


@pytest.mark.parametrize("shrinkage", [0.0, 7.5])
def test_default_axes_follow_the_formula(shrinkage):
    X, y = events()
    h = np.array([0.6, 0.1, 0.3])
    calibrator = NWConditionalCalibrator(bandwidth=h, shrinkage=shrinkage).fit(X, y)
    temperature = TemperatureScaler().fit(X, y).temperature_
    anchor = expit(X[:, 0] / temperature)
    ranks = (rankdata(X[:, 1:], axis=0) - 0.5) / len(X)
    axes = np.column_stack([X[:, 0] / temperature, ranks])
    kernel = kernel_matrix(axes, axes, h)
    mass = kernel.sum(axis=1)
    correction = np.where(mass >= 5, kernel @ (y - anchor) / (mass + shrinkage), 0)
    margin = np.minimum(0.5 / (mass + 1), np.minimum(anchor, 1 - anchor))
    expected = np.clip(anchor + correction, margin, 1 - margin)
    np.testing.assert_allclose(calibrator.predict_proba(X)[:, 1], expected, rtol=1e-9)
    np.testing.assert_allclose(calibrator.kernel_mass(X), mass, rtol=1e-10)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_plain_setting_is_the_kernel_regression_of_the_paper(scale):
    X, y = events(n_routing=1)
    calibrator = NWConditionalCalibrator(**PLAIN, bandwidth_scale=scale).fit(X, y)
    confidence = expit(X[:, 0])
    routing = (X[:, 1] - X[:, 1].mean()) / X[:, 1].std()
    axes = np.column_stack([confidence, routing])
    h = scale * axes.std(axis=0) * len(X) ** (-1 / 6)
    kernel = kernel_matrix(axes, axes, h)
    expected = kernel @ y / kernel.sum(axis=1)
    np.testing.assert_allclose(calibrator.bandwidth_, h, rtol=1e-12)
    np.testing.assert_allclose(calibrator.predict_proba(X)[:, 1], expected, rtol=1e-9, atol=1e-11)


def test_plain_setting_falls_back_to_confidence_alone_then_to_the_event_rate():
    X, y = events(n_routing=1)
    calibrator = NWConditionalCalibrator(**PLAIN).fit(X, y)
    far = np.array([[0.3, 1e6], [0.3, -1e6]])
    confidence, h = expit(X[:, 0]), calibrator.bandwidth_[0]
    kernel = np.exp(-0.5 * ((expit(0.3) - confidence) / h) ** 2)
    np.testing.assert_allclose(calibrator.predict_proba(far)[:, 1], kernel @ y / kernel.sum())
    narrow = clone(calibrator).set_params(bandwidth=[1e-9, 1.0]).fit(X, y)
    np.testing.assert_allclose(narrow.predict_proba(far)[:, 1], y.mean())


@pytest.mark.parametrize(
    ("axis", "position"),
    [
        ("logit", lambda p: logit(np.clip(p, 1e-4, 1 - 1e-4))),
        ("probability", lambda p: p),
        ("rank", lambda p: (rankdata(p) - 0.5) / len(p)),
    ],
)
def test_confidence_axes(axis, position):
    X, y = events()
    X[:5, 0] = [-40, -11, 11, 12, 40]
    calibrator = NWConditionalCalibrator(
        anchor="identity", confidence_axis=axis, bandwidth=0.2, routing_columns=[]
    )
    place = position(expit(X[:, 0]))
    expected = np.exp(-0.5 * ((place[:, None] - place) / 0.2) ** 2).sum(axis=1)
    np.testing.assert_allclose(calibrator.fit(X, y).kernel_mass(X), expected, rtol=1e-10)


def test_rank_is_interpolated_between_rows_and_flat_beyond():
    X, y = events(n_routing=1)
    X[:, 1] = np.arange(200)
    calibrator = NWConditionalCalibrator(anchor="identity", bandwidth=[np.inf, 0.05]).fit(X, y)
    at = calibrator.kernel_mass(np.array([[0, 10.5], [0, -3.0], [0, 0.0], [0, 999], [0, 199]]))
    ranks = (np.arange(200) + 0.5) / 200
    np.testing.assert_allclose(at[0], np.exp(-0.5 * ((11 / 200 - ranks) / 0.05) ** 2).sum())
    assert at[1] == at[2]
    assert at[3] == at[4]


def test_all_axes_off_shift_by_the_mean_residual():
    X, y = events(n_routing=1)
    calibrator = NWConditionalCalibrator(anchor="identity", bandwidth=np.inf, shrinkage=0.0)
    anchor = expit(X[:, 0])
    expected = anchor + (y - anchor).mean()
    inside = (expected > 0.01) & (expected < 0.99)
    found = calibrator.fit(X, y).predict_proba(X)[:, 1]
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-10)


def test_infinite_shrinkage_corrects_nothing():
    X, y = events()
    calibrator = NWConditionalCalibrator(bandwidth=0.5, shrinkage=np.inf).fit(X, y)
    expected = TemperatureScaler().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(calibrator.predict_proba(X), expected, rtol=1e-10)


# --- reductions and invariances -----------------------------------------------------------------


def test_without_routing_it_is_a_kernel_on_the_confidence():
    X, y = events()
    alone = NWConditionalCalibrator(routing_columns=[], bandwidth=0.5).fit(X, y)
    ignored = NWConditionalCalibrator(bandwidth=[0.5, np.inf, np.inf]).fit(X, y)
    np.testing.assert_allclose(alone.predict_proba(X), ignored.predict_proba(X), rtol=1e-12)
    assert alone.selected_ == ignored.selected_ == "confidence"


@pytest.mark.parametrize("settings", [{}, {"bandwidth": "scott"}, PLAIN], ids=str)
def test_a_constant_routing_column_has_no_effect(settings):
    X, y, _ = routed(step, n=300)
    calibrator = NWConditionalCalibrator(**settings)
    expected = calibrator.fit(X, y).predict_proba(X)
    constant = np.column_stack([X, np.full(len(X), 0.1)])
    found = clone(calibrator).fit(constant, y).predict_proba(constant)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"bandwidth": "scott"}, PLAIN], ids=str)
def test_order_of_routing_columns_does_not_matter(settings):
    X, y = events()
    calibrator = NWConditionalCalibrator(**settings)
    expected = calibrator.fit(X, y).predict_proba(X)
    found = clone(calibrator).fit(X[:, [0, 2, 1]], y).predict_proba(X[:, [0, 2, 1]])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("settings", [{}, {"bandwidth": "scott"}, PLAIN], ids=str)
def test_order_of_rows_does_not_matter(settings):
    X, y = events()
    calibrator = NWConditionalCalibrator(**settings)
    expected = calibrator.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(
        calibrator.fit(X[::-1], y[::-1]).predict_proba(X), expected, rtol=1e-9
    )


def test_rank_axis_ignores_monotone_maps_of_routing():
    X, y = events()
    calibrator = NWConditionalCalibrator(bandwidth=0.3)
    expected = calibrator.fit(X, y).predict_proba(X)
    X[:, 1:] = np.exp(X[:, 1:])
    np.testing.assert_allclose(calibrator.fit(X, y).predict_proba(X), expected, rtol=1e-12)


@pytest.mark.parametrize("data", [events, classes])
@pytest.mark.parametrize(
    "settings", [{}, {"confidence_axis": "rank"}, {"bandwidth": "scott"}, PLAIN], ids=str
)
def test_weight_is_repetition(data, settings):
    X, y = data(n=150)
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    weight[:5] = 1
    calibrator = NWConditionalCalibrator(**settings).fit(X, y, sample_weight=weight)
    repeated = clone(calibrator).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(calibrator.predict_proba(X), repeated.predict_proba(X), atol=1e-9)
    assert calibrator.selected_ == repeated.selected_


def test_float32_is_computed_in_float64():
    X, y, _ = routed(step, n=600)
    single = X.astype(np.float32)
    found = NWConditionalCalibrator().fit(single, y).predict_proba(single)
    expected = NWConditionalCalibrator().fit(single.astype(float), y).predict_proba(single)
    np.testing.assert_allclose(found, expected, atol=1e-6)


# --- thin and awkward data ----------------------------------------------------------------------


def test_rows_without_neighbours_keep_the_anchor_and_are_counted():
    X, y = events()
    calibrator = NWConditionalCalibrator(bandwidth=[0.1, 0.05, 0.05]).fit(X, y)
    scaler = TemperatureScaler().fit(X, y)
    thin = calibrator.kernel_mass(X) < 5
    assert thin.any()
    np.testing.assert_array_equal(calibrator.predict_proba(X)[thin], scaler.predict_proba(X)[thin])
    # Of their own mass, 1 is the row itself.
    assert calibrator.n_fallback_ == np.count_nonzero(calibrator.kernel_mass(X) < 6)


def test_min_mass_zero_corrects_every_row():
    X, y = events()
    calibrator = NWConditionalCalibrator(bandwidth=[0.1, 0.05, 0.05], min_mass=0.0).fit(X, y)
    assert calibrator.n_fallback_ == np.count_nonzero(calibrator.kernel_mass(X) < 1 + 1e-8)
    # Where one outcome is all there is, the probability moves towards it.
    anchor = TemperatureScaler().fit(X, y).predict_proba(X)[:, 1]
    towards = (calibrator.predict_proba(X)[:, 1] - anchor) * (2 * y - 1)
    alone = calibrator.kernel_mass(X) < 1.01
    assert alone.any()
    assert (towards[alone] > -1e-12).all()
    # One row proves no more than a quarter; what is nearer to its outcome stays.
    can_move = alone & (np.abs(y - anchor) > 0.26)
    assert can_move.any()
    assert (towards[can_move] > 1e-4).all()


@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@pytest.mark.parametrize("bandwidth", ["loo", "scott", 0.3])
@pytest.mark.parametrize("anchor", ["temperature", "identity", "none"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
def test_few_rows_give_probabilities(n, anchor, bandwidth):
    X, y = events(n=n)
    calibrator = NWConditionalCalibrator(
        confidence_columns=0, classes=[0, 1], anchor=anchor, bandwidth=bandwidth
    )
    probability = calibrator.fit(X, y).predict_proba(events(n=50, seed=1)[0])
    assert np.isfinite(probability).all()
    if anchor == "identity" and n < 6:
        np.testing.assert_allclose(probability[:, 1], expit(events(n=50, seed=1)[0][:, 0]))


@pytest.mark.filterwarnings("ignore::sk_arcal.calibration.CalibrationWarning")
@pytest.mark.parametrize("settings", [{}, {"bandwidth": "scott"}, PLAIN], ids=str)
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only(label, settings):
    X, _ = events()
    calibrator = NWConditionalCalibrator(classes=[0, 1], **settings)
    probability = calibrator.fit(X, np.full(len(X), label)).predict_proba(X)
    assert np.isfinite(probability).all()
    assert probability[:, label].mean() >= 0.5


def test_perfect_separation_is_no_anchor():
    X, _ = events()
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(CalibrationWarning, match="separates"):
        calibrator = NWConditionalCalibrator().fit(X, y)
    assert calibrator.temperature_ == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_confidence_of_exactly_zero_and_one(dtype):
    X, y, _ = routed(step, n=300)
    X[:20, 0], X[20:40, 0] = 0, 1
    with pytest.warns(CalibrationWarning, match="exactly 0 or 1"):
        calibrator = NWConditionalCalibrator(bandwidth=[0.5, 0.1]).fit(X.astype(dtype), y)
    event = calibrator.predict_proba(X.astype(dtype))[:, 1]
    assert ((event > 0) & (event < 1)).all()


def test_ties_everywhere():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.choice([-1.0, 0.5, 2.0], 500), rng.choice([0, 0, 1], 500)])
    truth = expit(X[:, 0] + 2 * X[:, 1] - 0.7)
    y = (rng.random(500) < truth).astype(int)
    calibrator = NWConditionalCalibrator(n_standard_errors=0.0).fit(X, y)
    cells = np.unique(X, axis=0)
    rates = np.array([y[(cell == X).all(axis=1)].mean() for cell in cells])
    np.testing.assert_allclose(calibrator.predict_proba(cells)[:, 1], rates, atol=0.06)


def test_constant_confidence_and_no_routing_is_the_event_rate():
    rng = np.random.default_rng(0)
    X, y = np.full((400, 1), 0.5), (rng.random(400) < 0.2).astype(int)
    calibrator = NWConditionalCalibrator(bandwidth=0.1, shrinkage=0.0, anchor="identity")
    calibrator.set_params(confidence_kind="probability").fit(X, y)
    np.testing.assert_allclose(calibrator.predict_proba(X)[:, 1], y.mean(), rtol=1e-9)


def test_a_routing_value_far_outside_does_not_warn():
    X, y = events(n_routing=1)
    calibrator = NWConditionalCalibrator(bandwidth=0.3, routing_axis="standardized").fit(X, y)
    assert calibrator.kernel_mass(np.array([[0.0, 1e250]])) == 0


# --- what is selected ---------------------------------------------------------------------------


def test_calibrated_models_are_mostly_left_alone():
    words = []
    for seed in range(9):
        X, y, _ = routed(null, n=500, seed=seed)
        words.append(NWConditionalCalibrator().fit(X, y).selected_)
    assert words.count("identity") >= 5
    assert words.count("routing") <= 3


def test_leaving_alone_leaves_everything_alone():
    X, y, _ = routed(null)
    calibrator = NWConditionalCalibrator(n_standard_errors=100.0).fit(X, y)
    assert calibrator.selected_ == "identity"
    np.testing.assert_allclose(calibrator.predict_proba(X)[:, 1], X[:, 0], rtol=1e-12)
    assert np.isinf(calibrator.bandwidth_).all()
    assert calibrator.shrinkage_ == np.inf
    assert calibrator.n_fallback_ == 0
    np.testing.assert_allclose(calibrator.kernel_mass(X), len(X))


def test_plain_overconfidence_gets_a_temperature():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(2, 2, 2000)
    y = (rng.random(2000) < expit(log_odds / 2)).astype(int)
    X = log_odds[:, None]
    calibrator = NWConditionalCalibrator().fit(X, y)
    assert calibrator.selected_ == "temperature"
    expected = TemperatureScaler().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(calibrator.predict_proba(X), expected)


def test_a_wiggle_of_the_confidence_gets_a_kernel():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(2, 2, 2000)
    y = (rng.random(2000) < expit(log_odds / 2 + np.sin(2 * log_odds))).astype(int)
    calibrator = NWConditionalCalibrator().fit(log_odds[:, None], y)
    assert calibrator.selected_ == "confidence"


@pytest.mark.parametrize("effect", [step, sine])
def test_a_routing_effect_gets_routing(effect):
    X, y, _ = routed(effect)
    calibrator = NWConditionalCalibrator().fit(X, y)
    assert calibrator.selected_ == "routing"
    assert np.isfinite(calibrator.bandwidth_[1])


def squared_distance(effect, seed, n_useless=0):
    X, y, _ = routed(effect, n=3000, seed=seed, n_useless=n_useless)
    fresh, _, truth = routed(effect, n=4000, seed=1000 + seed, n_useless=n_useless)
    event = NWConditionalCalibrator().fit(X, y).predict_proba(fresh)[:, 1]
    return np.mean((event - truth) ** 2) * 1e4


# Bars of the benchmark; leaving the confidence alone scores 0, 96 and 48.
BARS = pytest.mark.parametrize(("effect", "bar"), [(null, 2), (step, 12), (sine, 8)])


@BARS
def test_truth_is_recovered(effect, bar):
    assert np.mean([squared_distance(effect, seed) for seed in range(3)]) <= bar


@pytest.mark.slow
@BARS
def test_truth_is_recovered_over_twenty_seeds(effect, bar):
    assert np.mean([squared_distance(effect, seed) for seed in range(20)]) <= bar


@pytest.mark.slow
@BARS
def test_truth_is_recovered_beside_useless_columns(effect, bar):
    distances = [squared_distance(effect, seed, n_useless=2) for seed in range(20)]
    assert np.mean(distances) <= bar


# --- several classes ----------------------------------------------------------------------------


@pytest.mark.parametrize("bandwidth", ["loo", [0.8, 0.2]], ids=str)
def test_the_top_class_stays_on_top(bandwidth):
    X, y = classes()
    calibrator = NWConditionalCalibrator(bandwidth=bandwidth).fit(X, y)
    np.testing.assert_array_equal(calibrator.predict(X), X[:, :5].argmax(axis=1))
    assert calibrator.selected_ == "routing"


@pytest.mark.parametrize("lift", ["temperature", "proportional", "uniform"])
def test_top_probability_is_the_calibrated_confidence(lift):
    X, y = classes()
    h, shrinkage = np.array([0.8, 0.2]), 2.0
    calibrator = NWConditionalCalibrator(bandwidth=h, shrinkage=shrinkage, lift=lift).fit(X, y)
    temperature = TemperatureScaler().fit(X, y).temperature_
    winner = X[:, :5].argmax(axis=1)
    anchor = softmax(X[:, :5] / temperature, axis=1).max(axis=1)
    axes = np.column_stack([logit(np.clip(anchor, 1e-4, 1 - 1e-4)), X[:, 5].argsort().argsort()])
    axes[:, 1] = (axes[:, 1] + 0.5) / len(X)
    kernel = kernel_matrix(axes, axes, h)
    expected = anchor + kernel @ ((winner == y) - anchor) / (kernel.sum(axis=1) + shrinkage)
    inside = (kernel.sum(axis=1) >= 5) & (expected > 0.2) & (expected < 0.95)
    found = calibrator.predict_proba(X)[np.arange(len(X)), winner]
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-8)
    assert inside.sum() > 300


def test_rows_below_one_in_k_are_counted():
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(400, 3))
    y = logits.argmin(axis=1)
    y[::10] = logits.argmax(axis=1)[::10]
    with pytest.warns(CalibrationWarning, match="ranks backwards"):
        calibrator = NWConditionalCalibrator(bandwidth=0.5, shrinkage=0.0).fit(logits, y)
    assert calibrator.n_clipped_ > 300
    np.testing.assert_allclose(calibrator.predict_proba(logits).max(axis=1).min(), 1 / 3, rtol=1e-5)


# --- inside scikit-learn ------------------------------------------------------------------------


def test_bandwidth_can_be_searched():
    X, y = events()
    grid = {"bandwidth": ["loo", "scott", 0.3, [0.5, np.inf, 0.1]], "routing_columns": [[1, 2]]}
    search = GridSearchCV(NWConditionalCalibrator(), grid, cv=3, scoring="neg_log_loss")
    search.set_params(error_score="raise").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_subsample_for_the_search_follows_random_state():
    X, y, _ = routed(step)
    calibrator = NWConditionalCalibrator(max_search_samples=200, random_state=7)
    first, second = clone(calibrator).fit(X, y), clone(calibrator).fit(X, y)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert calibrator.random_state == 7


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"anchor": "platt"}, ValueError, "`anchor` must be one of 'temperature'"),
        ({"confidence_axis": "score"}, ValueError, "`confidence_axis` must be one of 'logit'"),
        ({"routing_axis": "raw"}, ValueError, "`routing_axis` must be one of 'rank'"),
        ({"lift": "scale"}, ValueError, "`lift` must be one of 'temperature'"),
        ({"bandwidth": [0.1, 0.2]}, ValueError, "2 entries but there are 3 axes"),
        ({"bandwidth": -1}, ValueError, "`bandwidth` must lie in"),
        ({"bandwidth_scale": 0}, ValueError, "`bandwidth_scale` must lie in"),
        ({"shrinkage": -1}, ValueError, "`shrinkage` must lie in"),
        ({"shrinkage": "cv"}, ValueError, "`shrinkage` must be one of 'loo'"),
        ({"min_mass": -1}, ValueError, "`min_mass` must lie in"),
        ({"n_standard_errors": np.nan}, ValueError, "`n_standard_errors` must lie in"),
        ({"max_search_samples": 0}, ValueError, "`max_search_samples` must be at least 1"),
        ({"max_search_samples": 10.5}, TypeError, "`max_search_samples` must be an integer"),
        ({"random_state": "seed"}, TypeError, "`random_state` must be"),
    ],
    ids=str,
)
def test_bad_parameters_are_named(settings, error, words):
    X, y = events()
    settings = {"max_search_samples": 100} | settings
    with pytest.raises(error, match=words):
        NWConditionalCalibrator(**settings).fit(X, y)
