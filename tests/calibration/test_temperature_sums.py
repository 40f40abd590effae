"""What a stream keeps: it adds up, and its minimum is that of all rows."""

import numpy as np
import pytest
from scipy.special import expit

from sk_arcal.calibration._temper_passes import Rows
from sk_arcal.calibration._temperature_sums import TemperatureSums
from sk_arcal.calibration._tempering import fit_temperature

BOUNDS = (1e-3, 1e3)


def rows(n=3000, n_classes=5, temperature=2.0, seed=0):
    rng = np.random.default_rng(seed)
    if n_classes == 1:
        logits = rng.normal(0, 2, n)
        y = (rng.random(n) < expit(logits)).astype(float)
    else:
        logits = rng.normal(0, 2, (n, n_classes))
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1).astype(float)
    return Rows.of(temperature * logits, y, rng.random(n), may_be_single=False)


@pytest.mark.parametrize("n_classes", [1, 2, 5, 40])
@pytest.mark.parametrize("drift", [0.65, 1.0, 1.5])
def test_minimum_is_that_of_the_rows(n_classes, drift):
    anchor = TemperatureSums.around(rows(1000, n_classes, seed=1), BOUNDS)
    data = rows(n_classes=n_classes, temperature=2 * drift)
    found = anchor.plus_rows(data).minimum(BOUNDS)
    expected = fit_temperature(data.logits, data.labels.astype(float), data.weight)
    assert found.converged
    assert found.bound is None
    assert abs(np.log(found.temperature / expected.temperature)) < 1e-6
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-8)


def test_an_optimum_at_a_node_is_that_node():
    data = rows()
    anchor = TemperatureSums.around(data, BOUNDS)
    found = anchor.plus_rows(data).minimum(BOUNDS)
    np.testing.assert_allclose(1 / found.temperature, anchor.nodes[2], rtol=1e-9)


def test_sums_do_not_depend_on_the_order_of_blocks():
    anchor = TemperatureSums.around(rows(seed=1), BOUNDS)
    parts = [anchor.plus_rows(rows(seed=seed)) for seed in range(5)]
    forward, backward = anchor, anchor
    for part in parts:
        forward = forward.plus(part)
    for part in parts[::-1]:
        backward = backward.plus(part)
    one, two = forward.minimum(BOUNDS), backward.minimum(BOUNDS)
    np.testing.assert_allclose(one.temperature, two.temperature, rtol=1e-12)
    assert forward.n_samples == backward.n_samples == 15_000


def test_sums_at_other_nodes_do_not_add_up():
    one, two = (TemperatureSums.around(rows(seed=seed), BOUNDS) for seed in (0, 1))
    with pytest.raises(ValueError, match=r"different temperatures.*new_shard"):
        one.plus(two)


@pytest.mark.parametrize(("temperature", "end"), [(0.2, -1), (20.0, 0)])
def test_beyond_the_nodes_it_has_not_converged(temperature, end):
    anchor = TemperatureSums.around(rows(seed=1), BOUNDS)
    found = anchor.plus_rows(rows(temperature=temperature)).minimum(BOUNDS)
    assert not found.converged
    assert found.temperature == 1 / anchor.nodes[end]


@pytest.mark.parametrize("temperature", [0.2, 20.0])
def test_a_node_at_a_bound_is_that_bound(temperature):
    bounds = (1.5, 2.5)
    anchor = TemperatureSums.around(rows(seed=1), bounds)
    data = rows(temperature=temperature)
    found = anchor.plus_rows(data).minimum(bounds)
    expected = fit_temperature(data.logits, data.labels, data.weight, bounds=bounds)
    assert found.converged
    assert (found.temperature, found.bound, found.cause) == (
        expected.temperature,
        expected.bound,
        "narrow",
    )


def test_perfect_separation_and_backwards_confidence_are_told_as_by_fit():
    data = rows()
    anchor = TemperatureSums.around(data, (0.5, 3.0))
    sure = Rows(data.logits, data.logits.argmax(axis=1), data.weight, single=False)
    assert anchor.plus_rows(sure).minimum((0.5, 3.0)).cause == "separated"
    # One error anywhere ends the separation.
    assert anchor.plus_rows(sure).plus(anchor.plus_rows(data)).minimum((0.5, 3.0)).cause is None
    backwards = Rows(-data.logits, data.labels, data.weight, single=False)
    found = anchor.plus_rows(backwards).minimum((0.5, 3.0))
    assert (found.temperature, found.cause) == (3.0, "unranked")


def test_logits_that_say_nothing_leave_the_temperature_alone():
    flat = Rows.of(np.zeros((50, 3)), np.arange(50) % 3.0, np.ones(50))
    found = TemperatureSums.around(flat, BOUNDS).plus_rows(flat).minimum(BOUNDS)
    assert (found.temperature, found.bound, found.converged) == (1.0, None, True)
