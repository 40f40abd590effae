import threading
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from sk_arcal.models._standardise import Standardise
from sk_arcal.models._training._loop import Rows, rate_factor, train
from sk_arcal.models._training._objectives import OBJECTIVES
from sk_arcal.models._training._settings import ObjectiveSettings, TrainingSettings


class Softmax(nn.Module):
    """Multinomial logistic regression with the two outputs of a network."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.standardise = Standardise(2)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2, 2)

    def forward(self, x, *, return_routing=False):
        logits = self.linear(self.dropout(self.standardise(x)))
        return (logits, "routing") if return_routing else logits


def settings(**changes):
    given = {
        "max_epochs": 5,
        "batch_size": 64,
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "warmup_fraction": 0.0,
        "early_stopping": False,
        "validation_fraction": 0.25,
        "n_iter_no_change": 3,
        "snapshot_every": None,
        "n_snapshots": 5,
        "device": "cpu",
        "verbose": False,
    }
    return TrainingSettings(**given | changes)


def rows(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, size=(n, 2))
    labels = (rng.random(n) < 1 / (1 + np.exp(-(x[:, 0] - 3)))).astype(int)
    return Rows(x, labels, rng.random(n) + 0.5)


def trained(some=None, seed=0, build=Softmax, **changes):
    some = rows() if some is None else some
    names = {field.name for field in fields(ObjectiveSettings)}
    objective = ObjectiveSettings(**{name: changes.pop(name) for name in names & set(changes)})
    rng = np.random.default_rng(seed)
    return train(build, some, objective, settings(**changes), rng, caller="Test")


def numbers(module):
    return np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])


def log_loss(module, some):
    with torch.no_grad():
        log_p = module(torch.from_numpy(some.x)).log_softmax(dim=1).numpy()
    return np.average(-log_p[np.arange(len(some.x)), some.labels], weights=some.weight)


def test_training_finds_the_maximum_likelihood():
    some = rows(500)
    found = trained(some, max_epochs=300, batch_size=500).module
    from sklearn.linear_model import LogisticRegression

    linear = LogisticRegression(C=np.inf, tol=1e-8).fit(
        some.x, some.labels, sample_weight=some.weight
    )
    log_p = linear.predict_log_proba(some.x)[np.arange(500), some.labels]
    assert log_loss(found, some) == pytest.approx(np.average(-log_p, weights=some.weight), abs=1e-5)


def test_input_is_standardised_by_the_weighted_training_rows():
    some = rows()
    module = trained(some).module
    mean = np.average(some.x, axis=0, weights=some.weight)
    variance = np.average((some.x - mean) ** 2, axis=0, weights=some.weight)
    np.testing.assert_allclose(module.standardise.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(module.standardise.deviation, np.sqrt(variance), rtol=1e-12)


def test_first_full_batch_step_is_the_learning_rate_against_the_gradient():
    some = rows()
    still = trained(some, max_epochs=1, learning_rate=0.0).module
    moved = trained(some, max_epochs=1, batch_size=1000, learning_rate=1e-3).module
    loss = nn.functional.cross_entropy(
        still(torch.from_numpy(some.x)), torch.from_numpy(some.labels), reduction="none"
    )
    (loss * torch.from_numpy(some.weight)).sum().backward()
    signs = np.concatenate([p.grad.numpy().ravel() for p in still.parameters()])
    np.testing.assert_allclose(numbers(moved) - numbers(still), -1e-3 * np.sign(signs), rtol=1e-3)


def test_a_weight_is_that_many_repetitions_in_one_batch():
    some = rows()
    weight = np.random.default_rng(1).integers(1, 4, 200)
    weighted = Rows(some.x, some.labels, weight.astype(float))
    which = np.repeat(np.arange(200), weight)
    repeated = Rows(some.x[which], some.labels[which], np.ones(len(which)))
    results = [trained(r, batch_size=10_000, max_epochs=20) for r in (weighted, repeated)]
    np.testing.assert_allclose(*(numbers(r.module) for r in results), rtol=1e-10)
    losses = [[epoch["train_loss"] for epoch in r.history] for r in results]
    np.testing.assert_allclose(*losses, rtol=1e-10)


def test_matrices_decay_and_vectors_do_not():
    # without a gradient, decay is all that moves
    flat = Rows(np.zeros((4, 2)), np.array([0, 1, 0, 1]), np.ones(4))

    class Even(Softmax):
        def __init__(self):
            super().__init__()
            nn.init.ones_(self.linear.weight)
            nn.init.ones_(self.linear.bias)

    module = trained(flat, build=Even, max_epochs=1, weight_decay=0.5, learning_rate=0.1).module
    np.testing.assert_allclose(module.linear.weight.detach(), 1 - 0.1 * 0.5, rtol=1e-12)
    np.testing.assert_array_equal(module.linear.bias.detach(), 1)


def test_step_size_rises_and_then_falls_to_zero():
    factors = [rate_factor(step, 100, 10) for step in range(101)]
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    assert factors[10] == 1
    assert (np.diff(factors[10:]) < 0).all()
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert rate_factor(0, 5, 0) == 1
    assert rate_factor(4, 5, 5) == 1


def test_schedule_reaches_the_optimiser():
    # one step at the full rate against one in the middle of the warm-up
    some = rows()
    still = numbers(trained(some, max_epochs=1, learning_rate=0.0).module)
    step = numbers(trained(some, max_epochs=1, batch_size=200, learning_rate=1e-3).module) - still
    warm = trained(some, max_epochs=2, batch_size=200, learning_rate=1e-3, warmup_fraction=1.0)
    two_steps = numbers(warm.module) - still
    np.testing.assert_allclose(two_steps, 1.5 * step, rtol=0.02)


def test_history_is_one_entry_per_epoch():
    history = trained(early_stopping=True, max_epochs=4, learning_rate=1e-4).history
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    assert [set(entry) for entry in history] == [{"epoch", "train_loss", "valid_loss"}] * 4
    assert set(trained().history[0]) == {"epoch", "train_loss"}


def test_early_stopping_returns_to_the_best_epoch():
    some = rows(60)
    result = trained(
        some,
        early_stopping=True,
        max_epochs=400,
        learning_rate=0.5,
        snapshot_every=1,
        n_snapshots=400,
    )
    losses = [entry["valid_loss"] for entry in result.history]
    assert len(losses) < 400
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
    best = result.snapshots[int(np.argmin(losses))]
    for name, value in result.module.state_dict().items():
        assert torch.equal(value, best.state[name])


def test_rows_held_out_are_not_trained_on():
    some = rows(40)
    seen = []

    class Recording(Softmax):
        def forward(self, x, *, return_routing=False):
            if self.training:
                seen.extend(x[:, 0].tolist())
            return super().forward(x, return_routing=return_routing)

    trained(some, build=Recording, early_stopping=True, max_epochs=2)
    assert len(seen) == 2 * 30
    assert len(set(seen)) == 30


def test_last_snapshots_are_kept():
    result = trained(max_epochs=11, snapshot_every=2, n_snapshots=3)
    assert [snapshot.epoch for snapshot in result.snapshots] == [6, 8, 10]
    states = [snapshot.state["linear.weight"] for snapshot in result.snapshots]
    assert not torch.equal(states[0], states[1])
    assert all(set(s.state) == set(result.module.state_dict()) for s in result.snapshots)


def test_snapshot_is_the_state_at_that_epoch():
    result = trained(max_epochs=4, snapshot_every=2, n_snapshots=9)
    assert torch.equal(result.snapshots[-1].state["linear.weight"], result.module.linear.weight)
    assert repr(result.snapshots[-1]) == "Snapshot(epoch=4)"


def test_torch_is_left_as_it_was():
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    trained(build=lambda: Softmax(dropout=0.5))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (torch.get_num_threads(), torch.get_default_dtype())


def test_state_of_torch_does_not_matter_and_the_seed_does():
    results = []
    for torch_seed, seed in ((1, 0), (2, 0), (2, 1)):
        with torch.random.fork_rng():
            torch.manual_seed(torch_seed)
            results.append(numbers(trained(seed=seed, build=lambda: Softmax(0.5)).module))
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[1] != results[2]).any()


def test_fits_in_threads_do_not_disturb_each_other():
    expected = {
        seed: numbers(trained(seed=seed, build=lambda: Softmax(0.5)).module) for seed in range(4)
    }
    before, found = torch.get_rng_state(), {}

    def fit(seed):
        found[seed] = numbers(trained(seed=seed, build=lambda: Softmax(0.5)).module)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        np.testing.assert_array_equal(found[seed], expected[seed])
    assert torch.equal(before, torch.get_rng_state())


def test_training_prints_nothing(capfd):
    trained(early_stopping=True, max_epochs=50, learning_rate=0.5)
    assert capfd.readouterr() == ("", "")


def test_progress_is_a_bar_on_standard_error(capfd):
    trained(verbose=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Test: 100%" in err
    assert "5/5" in err


def test_objective_is_told_the_epoch(monkeypatch):
    epochs = []

    def peek(batch):
        epochs.append((batch.epoch, batch.routing))
        return batch.losses().mean()

    monkeypatch.setitem(OBJECTIVES, "peek", peek)
    trained(objective="peek", max_epochs=3, batch_size=1000)
    assert epochs == [(1, "routing"), (2, "routing"), (3, "routing")]


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_loss_that_is_no_number_ends_training(monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "lost", lambda batch: batch.losses().sum() * float("nan"))
    with pytest.raises(ValueError, match="Training diverged: the loss of epoch 1 is nan"):
        trained(objective="lost")


def test_interruption_is_passed_on(monkeypatch):
    def interrupt(batch):
        if batch.epoch == 2:
            raise KeyboardInterrupt
        return batch.losses().mean()

    monkeypatch.setitem(OBJECTIVES, "interrupt", interrupt)
    before = torch.get_rng_state()
    for early_stopping in (False, True):
        with pytest.raises(KeyboardInterrupt):
            trained(objective="interrupt", early_stopping=early_stopping)
    assert torch.equal(before, torch.get_rng_state())


def test_precision_is_that_of_the_rows():
    some = rows()
    assert trained(some).module.linear.weight.dtype == torch.float64
    single = Rows(some.x.astype(np.float32), some.labels, some.weight)
    assert trained(single).module.linear.weight.dtype == torch.float32


def test_unknown_objective_is_named():
    with pytest.raises(ValueError, match="`objective` must be one of 'log_loss'"):
        trained(objective="hinge")


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_rows_to_hold_some_out(n):
    with pytest.raises(ValueError, match="`validation_fraction` leaves no row"):
        trained(rows(n), early_stopping=True)


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.3])
def test_training_is_the_plain_loop_of_torch(warmup_fraction):
    some = rows(230)
    options = {"max_epochs": 3, "weight_decay": 0.1, "warmup_fraction": warmup_fraction}
    found = trained(some, seed=5, **options)
    rng = np.random.default_rng(5)
    torch_seed = int(rng.integers(2**62))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(torch_seed)
        module = Softmax().double()
    module.standardise.set_moments(*some.moments())
    matrix, vector = module.linear.weight, module.linear.bias
    groups = [{"params": [matrix]}, {"params": [vector], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.05, weight_decay=0.1, fused=True)
    n_steps, warmup = 12, round(12 * warmup_fraction)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, n_steps, warmup)
    )
    x, labels = torch.from_numpy(some.x), torch.from_numpy(some.labels)
    weight = torch.from_numpy(some.weight / some.weight.mean())
    means = []
    for _ in range(3):
        total = 0.0
        for batch in torch.from_numpy(rng.permutation(230)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(x[batch]), labels[batch], reduction="none")
            loss = (weight[batch] * loss).mean()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        means.append(total / 230)
    np.testing.assert_array_equal(numbers(found.module), numbers(module))
    np.testing.assert_allclose([row["train_loss"] for row in found.history], means, rtol=1e-12)
