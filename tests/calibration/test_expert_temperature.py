"""ExpertTemperatureScaler: known temperatures, exact mixtures, and what tempering cannot mend."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from sklearn.exceptions import ConvergenceWarning

from sk_arcal import ExpertTemperatureScaler, TemperatureScaler
from sk_arcal.calibration import CalibrationWarning
from sk_arcal.calibration._tempering import fit_temperature

N = 400


def two_experts(n=N, n_classes=2, seed=0):
    """Columns of two experts and two gates, and labels that follow the gated one."""
    rng = np.random.default_rng(seed)
    truth, gate = rng.normal(0, 0.8, (2, n, n_classes)), rng.random(n)
    truth += rng.normal(0, 1.5, (n, n_classes))
    own = np.where(gate[:, None] > 0.5, truth[0], truth[1])
    y = (own + rng.gumbel(size=own.shape)).argmax(axis=1)
    experts = [3 * truth[0], 0.5 * truth[1]]
    if n_classes == 2:
        experts = [e[:, 1:] - e[:, :1] for e in experts]
    return np.column_stack([*experts, gate, 1 - gate]), y


def settings(n_classes=2):
    flat = 2 if n_classes == 2 else 2 * n_classes
    return {"expert_columns": range(flat), "gate_columns": [flat, flat + 1]}


# --- one expert is temperature scaling -----------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"routing": "hard"}, {"routing_weighted": True}])
def test_the_confidence_alone_is_temperature_scaling(options):
    rng = np.random.default_rng(0)
    X = rng.normal(0, 3, (N, 4))
    y = (X / 2 + rng.gumbel(size=X.shape)).argmax(axis=1)
    scaler = ExpertTemperatureScaler(**options).fit(X, y)
    expected = TemperatureScaler(bounds=(0.1, 10)).fit(X, y)
    assert (scaler.n_experts_, scaler.temperatures_) == (1, [expected.temperature_])
    np.testing.assert_array_equal(scaler.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_allclose(scaler.loss_, expected.loss_, rtol=1e-12)


def test_one_expert_named_is_the_same():
    X, y = two_experts()
    one = ExpertTemperatureScaler(expert_columns=[0], gate_columns=[]).fit(X, y)
    expected = TemperatureScaler(confidence_columns=0, bounds=(0.1, 10)).fit(X, y)
    np.testing.assert_allclose(one.predict_proba(X), expected.predict_proba(X), rtol=1e-12)


# --- temperatures --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 4])
def test_as_published_every_expert_is_fitted_on_all_rows(n_classes):
    X, y = two_experts(n_classes=n_classes)
    scaler = ExpertTemperatureScaler(**settings(n_classes)).fit(X, y)
    for m in (0, 1):
        z = X[:, m] if n_classes == 2 else X[:, 4 * m : 4 * m + 4]
        alone = fit_temperature(z, y.astype(float), np.ones(N), bounds=(0.1, 10))
        np.testing.assert_allclose(scaler.temperatures_[m], alone.temperature, rtol=1e-12)


def test_routing_weighted_experts_are_fitted_on_gated_rows():
    X, y = two_experts()
    scaler = ExpertTemperatureScaler(routing_weighted=True, **settings()).fit(X, y)
    for m in (0, 1):
        alone = fit_temperature(X[:, m], y.astype(float), X[:, 2 + m], bounds=(0.1, 10))
        np.testing.assert_allclose(scaler.temperatures_[m], alone.temperature, rtol=1e-9)


def test_hard_routing_recovers_the_temperature_of_each_expert_on_its_rows():
    X, y = two_experts(100_000)
    scaler = ExpertTemperatureScaler(routing="hard", **settings()).fit(X, y)
    np.testing.assert_allclose(scaler.temperatures_, [3, 0.5], rtol=0.03)


def test_prediction_mixes_tempered_probabilities():
    X, y = two_experts(n_classes=4)
    scaler = ExpertTemperatureScaler(**settings(4)).fit(X, y)
    first, second = (
        softmax(X[:, 4 * m : 4 * m + 4] / scaler.temperatures_[m], axis=1) for m in (0, 1)
    )
    expected = X[:, 8:9] * first + X[:, 9:] * second
    np.testing.assert_allclose(scaler.predict_proba(X), expected, rtol=1e-10)


def test_hard_prediction_is_that_of_the_expert_with_the_largest_gate():
    X, y = two_experts()
    scaler = ExpertTemperatureScaler(routing="hard", **settings()).fit(X, y)
    chosen = (X[:, 3] > X[:, 2]).astype(int)
    tempered = X[np.arange(N), chosen] / scaler.temperatures_[chosen]
    np.testing.assert_allclose(scaler.predict_proba(X)[:, 1], expit(tempered), rtol=1e-10)


def test_temperature_of_the_mixture_is_that_of_its_logarithms():
    X, y = two_experts(n_classes=4)
    plain = ExpertTemperatureScaler(**settings(4)).fit(X, y)
    more = ExpertTemperatureScaler(mixture_temperature=True, **settings(4)).fit(X, y)
    log_p = np.log(plain.predict_proba(X))
    alone = fit_temperature(log_p, y.astype(float), np.ones(N), bounds=(0.1, 10))
    assert plain.mixture_temperature_ == 1
    np.testing.assert_allclose(more.mixture_temperature_, alone.temperature, rtol=1e-8)
    assert more.loss_ < plain.loss_


def test_without_gates_experts_weigh_the_same():
    X, y = two_experts()
    equal = np.column_stack([X[:, :2], np.full((N, 2), 0.5)])
    expected = ExpertTemperatureScaler(**settings()).fit(equal, y).predict_proba(equal)
    found = ExpertTemperatureScaler(expert_columns=[0, 1]).fit(X[:, :2], y)
    np.testing.assert_allclose(found.predict_proba(X[:, :2]), expected, rtol=1e-12)


def test_weight_is_repetition():
    X, y = two_experts()
    weight = np.random.default_rng(1).integers(0, 3, N)
    options = {"routing_weighted": True, "mixture_temperature": True, **settings()}
    weighted = ExpertTemperatureScaler(**options).fit(X, y, sample_weight=weight)
    repeated = ExpertTemperatureScaler(**options).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9)


# --- warnings ------------------------------------------------------------------------------------


def test_expert_without_rows_is_named_and_left_alone():
    X, y = two_experts()
    X[:, 2:] = [1, 0]
    with pytest.warns(CalibrationWarning, match="Expert 1 has no row") as caught:
        scaler = ExpertTemperatureScaler(routing="hard", **settings()).fit(X, y)
    assert caught[0].filename == __file__
    assert scaler.temperatures_[1] == 1


def test_expert_with_rows_of_one_class_is_named_and_left_alone():
    X, y = two_experts()
    X[:, 2:] = np.eye(2)[y]
    with pytest.warns(CalibrationWarning, match="has rows of one class only") as caught:
        scaler = ExpertTemperatureScaler(routing="hard", **settings()).fit(X, y)
    assert [str(w.message)[:8] for w in caught] == ["Expert 0", "Expert 1"]
    np.testing.assert_array_equal(scaler.temperatures_, [1, 1])


def test_expert_that_ranks_backwards_is_named():
    X, y = two_experts()
    X[:, 1] *= -1
    with pytest.warns(CalibrationWarning, match="of expert 1 stopped at its upper") as caught:
        ExpertTemperatureScaler(routing="hard", **settings()).fit(X, y)
    assert caught[0].filename == __file__


def test_running_out_of_passes_warns():
    X, y = two_experts()
    with pytest.warns(ConvergenceWarning, match="not converged after 2 passes") as caught:
        ExpertTemperatureScaler(max_iter=2, **settings()).fit(X, y)
    assert next(str(w.message)[:28] for w in caught) == "The temperature of expert 0 "
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"routing": "top"}, "`routing` must be one of 'soft', 'hard'; got 'top'"),
        ({"bounds": (2, 1)}, r"`bounds\[1\]` must lie in"),
        ({"max_iter": 0}, "`max_iter` must be at least 1"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ExpertTemperatureScaler(**options).fit([[-1.0], [1.0], [2.0]], [1, 0, 1])


# --- what calibrated experts promise, and what not: exact populations ----------------------------


def test_both_experts_of_either_population_are_calibrated_on_their_gated_view(cancelling, agreeing):
    for population in (cancelling, agreeing):
        for m in (0, 1):
            gated = population.share * population.gates[:, m]
            for level in np.unique(population.experts[:, m]):
                at = population.experts[:, m] == level
                np.testing.assert_allclose(gated[at] @ population.rate[at] / gated[at].sum(), level)


def test_mixture_of_calibrated_experts_is_wrong(cancelling):
    np.testing.assert_allclose(cancelling.aggregate, [0.5, 0.8, 0.2, 0.5], rtol=1e-12)
    # At .5 the errors +.1 and -.1 cancel; three quarters are off by .1.
    np.testing.assert_allclose(cancelling.error(cancelling.aggregate), 0.075, atol=1e-12)
    np.testing.assert_allclose(
        cancelling.error(cancelling.aggregate, [1, 0, 0, 0]), 0.1, atol=1e-12
    )


def test_calibrated_experts_are_left_alone_so_their_mixture_stays_wrong(cancelling):
    X, y, weight = cancelling.rows()
    scaler = ExpertTemperatureScaler(routing_weighted=True, **cancelling.columns)
    scaler.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(scaler.temperatures_, 1, rtol=1e-9)
    p = scaler.predict_proba(cancelling.X)[:, 1]
    np.testing.assert_allclose(cancelling.error(p), 0.075, atol=1e-9)


def test_a_shift_of_the_gates_uncovers_errors(agreeing):
    X, y, weight = agreeing.rows()
    scaler = ExpertTemperatureScaler(mixture_temperature=True, **agreeing.columns)
    p = scaler.fit(X, y, sample_weight=weight).predict_proba(agreeing.X)[:, 1]
    np.testing.assert_allclose(p, 0.8, rtol=1e-9)
    assert agreeing.error(p) < 1e-9
    for share, error in [([0.2, 0.6, 0.2], 0.02), ([0, 1, 0], 0.1), ([0.5, 0, 0.5], 0.1)]:
        np.testing.assert_allclose(agreeing.error(p, share), error, rtol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_hard_routing_to_calibrated_experts_survives_every_shift_of_slices(seed):
    # Three experts, four confidences each, and the rate is what the expert says.
    rng = np.random.default_rng(seed)
    said = rng.uniform(0.1, 0.9, (3, 4))
    said[:, 0] = 0.5
    expert, level = np.divmod(np.arange(12), 4)
    experts = rng.uniform(0.1, 0.9, (12, 3))
    rate = experts[np.arange(12), expert] = said[expert, level]
    gates = np.full((12, 3), 0.2)
    gates[np.arange(12), expert] = 0.6
    X, y = np.tile(np.column_stack([experts, gates]), (2, 1)), np.repeat([0, 1], 12)
    columns = {"expert_columns": range(3), "gate_columns": [3, 4, 5]}
    scaler = ExpertTemperatureScaler(routing="hard", **columns)
    scaler.fit(X, y, sample_weight=np.r_[1 - rate, rate])
    np.testing.assert_allclose(scaler.temperatures_, 1, rtol=1e-8)
    p = scaler.predict_proba(X[:12])[:, 1]
    for _ in range(20):
        weight = rng.exponential(size=12) ** 3
        codes = np.unique(p.round(9), return_inverse=True)[1]
        error = np.abs(np.bincount(codes, weights=weight * (rate - p))).sum() / weight.sum()
        assert error < 1e-8


@pytest.mark.parametrize(("s", "error"), [(0.75, 0.375), (0.9, 0.18), (0.999999999, 2e-9)])
def test_soft_gate_over_calibrated_experts_is_off_by_twice_its_variance(s, error):
    # x in {a, b}, the event is x = a, gates (s, 1 - s) and (1 - s, s), experts s and 1 - s.
    gates = np.array([[s, 1 - s], [1 - s, s]])
    X = np.column_stack([np.tile([s, 1 - s], (2, 1)), gates])
    columns = {"expert_columns": [0, 1], "gate_columns": [2, 3], "routing_weighted": True}
    rows, y = np.tile(X, (2, 1)), np.array([0, 0, 1, 1])
    keep = np.array([1, 2])
    assert y[keep].tolist() == [0, 1]
    scaler = ExpertTemperatureScaler(**columns, mixture_temperature=False)
    scaler.fit(rows, y, sample_weight=[0, 1, 1, 0])
    np.testing.assert_allclose(scaler.temperatures_, 1, rtol=1e-6)
    p = scaler.predict_proba(X)[:, 1]
    np.testing.assert_allclose(np.abs(p - [1, 0]).mean(), error, rtol=1e-6, atol=1e-9)
    assert logit(p[0]) > 0 > logit(p[1])
