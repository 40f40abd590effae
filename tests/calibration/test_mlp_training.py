import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from sk_arcal.calibration._network._mlp_network import Network
from sk_arcal.calibration._network._mlp_training import (
    Rows,
    Schedule,
    ShuffledSlices,
    train,
    train_and_judge,
)

CPU = torch.device("cpu")


def schedule(**changes):
    settings = {
        "weight_decay": 0.0,
        "learning_rate": 0.01,
        "max_epochs": 30,
        "batch_size": 64,
        "validation_fraction": 0.3,
        "n_iter_no_change": 30,
        "n_standard_errors": 1.0,
        "device": "cpu",
    }
    return Schedule(**settings | changes)


def rows(n=400, effect=1.0, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 2))
    y = (rng.random(n) < expit(inputs[:, 0] + effect * inputs[:, 1])).astype(float)
    return Rows(inputs, inputs[:, 0], y, np.ones(n))


def start(seed=0, width=8):
    return Network.at_identity(2, width, np.random.default_rng(seed))


def numbers(network):
    return np.concatenate([a.ravel() for a in (*network.coefs, *network.intercepts)])


def weighted_loss(network, some):
    return np.average(some.losses(network), weights=some.weight)


def test_losses_are_minus_the_logarithm_of_the_probability_of_the_outcome():
    some = rows(20)
    probability = expit(some.offset)
    expected = -np.log(np.where(some.event == 1, probability, 1 - probability))
    np.testing.assert_allclose(some.losses(start()), expected, rtol=1e-12)


def test_first_full_batch_step_follows_the_gradient_by_finite_differences():
    rng = np.random.default_rng(1)
    network = start()
    network.coefs[1][:] = rng.normal(size=(8, 1))
    some = rows(50)
    some.weight[:] = rng.random(50) + 0.1
    # the first step of Adam without decay is the learning rate times the sign of the gradient
    stepped, _ = train(
        network, some, some, schedule(max_epochs=1, batch_size=50), np.random.default_rng(0), CPU
    )
    step = numbers(stepped) - numbers(network)
    flat, slopes = [*network.coefs, *network.intercepts], []
    for array in flat:
        for at in np.ndindex(array.shape):
            keep, h = array[at], 1e-6
            array[at] = keep + h
            high = weighted_loss(network, some)
            array[at] = keep - h
            slopes.append((high - weighted_loss(network, some)) / (2 * h))
            array[at] = keep
    np.testing.assert_allclose(step, -0.01 * np.sign(slopes), rtol=1e-4)


def test_weights_decay_and_biases_do_not():
    # the gradient is zero, so that decay is all that moves
    network = Network((np.ones((2, 3)), np.zeros((3, 1))), (np.ones(3), np.zeros(1)))
    balanced = Rows(np.zeros((2, 2)), np.zeros(2), np.array([0.0, 1.0]), np.ones(2))
    settings = schedule(max_epochs=1, weight_decay=0.5, batch_size=2)
    decayed, _ = train(network, balanced, balanced, settings, np.random.default_rng(0), CPU)
    np.testing.assert_allclose(decayed.coefs[0], 1 - 0.01 * 0.5, rtol=1e-12)
    np.testing.assert_array_equal(decayed.intercepts[0], 1)


def test_validation_losses_are_those_of_the_returned_network():
    training, validation = rows(), rows(seed=1)
    validation.weight[:] = np.random.default_rng(0).random(400)
    network, losses = train(
        start(), training, validation, schedule(), np.random.default_rng(0), CPU
    )
    assert len(losses) == 30
    assert weighted_loss(network, validation) == pytest.approx(losses.min(), rel=1e-12)


def test_training_stops_after_epochs_without_a_gain():
    settings = schedule(max_epochs=500, n_iter_no_change=4, learning_rate=0.1)
    _, losses = train(start(), rows(60), rows(60, seed=1), settings, np.random.default_rng(0), CPU)
    assert len(losses) < 500
    assert len(losses) - 1 - losses.argmin() == 4


def test_wide_net_reaches_the_maximum_likelihood_of_a_linear_truth():
    some = rows(4000)
    network, _ = train(
        start(width=32),
        some,
        some,
        schedule(max_epochs=60, batch_size=256),
        np.random.default_rng(0),
        CPU,
    )
    linear = LogisticRegression(C=np.inf).fit(some.inputs, some.event)
    expected = linear.predict_log_proba(some.inputs)[np.arange(4000), some.event.astype(int)]
    # it may bend and so fit its own rows a little better
    assert -expected.mean() + 0.002 > weighted_loss(network, some) > -expected.mean() - 0.02


def test_every_row_is_seen_once_an_epoch():
    number = torch.arange(10.0, dtype=torch.float64)
    dataset = torch.utils.data.TensorDataset(number[:, None], number, number[:, None])
    slices = ShuffledSlices(dataset, batch_size=4, rng=np.random.default_rng(0))
    epochs = [[batch[0]["offset"] for batch in slices] for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [4, 4, 2]
    seen = [torch.cat(epoch).numpy() for epoch in epochs]
    np.testing.assert_array_equal(np.sort(seen[0]), np.arange(10))
    assert (seen[0] != seen[1]).any()


def test_inputs_and_target_of_a_batch_belong_together():
    number = torch.arange(50.0, dtype=torch.float64)
    dataset = torch.utils.data.TensorDataset(number[:, None], 2 * number, 3 * number[:, None])
    for given, target in ShuffledSlices(dataset, batch_size=8, rng=np.random.default_rng(0)):
        torch.testing.assert_close(given["offset"], 2 * given["inputs"][:, 0])
        torch.testing.assert_close(target, 3 * given["inputs"])


def test_gain_beyond_its_standard_error_is_kept():
    result = train_and_judge(start(), rows(1000), schedule(), np.random.default_rng(0))
    assert result.best_epoch == result.validation_losses.argmin() > 0
    assert len(result.validation_losses) == 31


def test_small_gain_is_not_kept():
    some, beginning = rows(1000), start()
    settings = schedule(n_standard_errors=1e6)
    result = train_and_judge(beginning, some, settings, np.random.default_rng(0))
    assert result.best_epoch == 0
    assert result.network is beginning
    assert result.validation_losses.min() < result.validation_losses[0]


@pytest.mark.parametrize(("n", "n_epochs"), [(32, 30), (31, 0), (1, 0)])
def test_fewer_than_ten_rows_held_out_leave_the_start_alone(n, n_epochs):
    result = train_and_judge(start(), rows(n), schedule(), np.random.default_rng(0))
    assert len(result.validation_losses) == 1 + n_epochs


def test_torch_is_left_as_it_was():
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    train_and_judge(start(), rows(), schedule(max_epochs=2), np.random.default_rng(0))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.get_default_dtype())


def test_state_of_torch_does_not_matter():
    results = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            results.append(train_and_judge(start(), rows(), schedule(), np.random.default_rng(0)))
    np.testing.assert_array_equal(*(numbers(result.network) for result in results))


def test_training_prints_nothing(capfd):
    train_and_judge(start(), rows(), schedule(max_epochs=3), np.random.default_rng(0))
    assert capfd.readouterr() == ("", "")
