"""One epoch of a small network: plain torch, loaders, skorch, and the package's loops."""

# Cores are measured beside the public functions.

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks._rst import publish, simple_table
from benchmarks.speed._harness import (
    Contender,
    Target,
    Timing,
    machine,
    race,
    significant,
    target_table,
)

N_FEATURES, N_HIDDEN = 25, 64
BATCHES = (256, 4096)
PLAIN, FUSED = "plain torch, sliced tensors", "plain torch, sliced, fused Adam"
PLAIN_DOUBLE = "plain torch, double precision, weighted"
OURS, TILTED = "sk_arcal.models", "sk_arcal.models, tilted loss"
SHUFFLED, MLP = "skorch, default loader", "sk_arcal, CapacityMatchedMLP"


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, N_FEATURES)).astype(np.float32)
    return x, (x[:, 0] + rng.standard_normal(n) > 0).astype(np.int64)


def network() -> Any:
    """Network of one hidden layer, as torch has it."""
    from torch import manual_seed, nn

    manual_seed(0)
    return nn.Sequential(nn.Linear(N_FEATURES, N_HIDDEN), nn.ReLU(), nn.Linear(N_HIDDEN, 2))


def plain(data: tuple, batch_size: int, *, fused: bool, loader: bool = False) -> float:
    """Train for an epoch by hand; return the loss afterwards."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    x, labels = map(torch.from_numpy, data)
    module, loss = network(), torch.nn.functional.cross_entropy
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3, weight_decay=0.0, fused=fused)
    batches = (
        DataLoader(TensorDataset(x, labels), batch_size, shuffle=True)
        if loader
        else ((x[r], labels[r]) for r in torch.randperm(len(x)).split(batch_size))
    )
    n_steps = -(-len(x) // batch_size)
    for step, (batch, target) in enumerate(batches):
        # half a cosine, as the package's own networks are trained
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * step / n_steps))
        optimizer.zero_grad()
        loss(module(batch), target).backward()
        optimizer.step()
    with torch.no_grad():
        return float(loss(module(x), labels))


def products(data: tuple, batch_size: int) -> None:
    """Multiply the matrices of the forward and the backward pass, and nothing else."""
    import torch

    x, first, second = torch.from_numpy(data[0]), torch.ones(N_FEATURES, N_HIDDEN), torch.ones(
        N_HIDDEN, 2)  # fmt: skip
    for batch in x.split(batch_size):
        hidden = batch @ first
        output = hidden @ second
        torch.mm(hidden.T, output)
        back = output @ second.T
        torch.mm(batch.T, back)


def default_skorch(data: tuple, batch_size: int) -> float:
    """Train by skorch as it comes."""
    import skorch
    import torch

    net = skorch.NeuralNetClassifier(
        network(), criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-3,
        max_epochs=1, batch_size=batch_size, train_split=None, verbose=0, classes=[0, 1],
        iterator_train__shuffle=True,
    ).fit(*data)  # fmt: skip
    return _loss(net.module_, data)


def sklearn_mlp(data: tuple, batch_size: int) -> float:
    """Train by scikit-learn."""
    import warnings

    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = MLPClassifier(N_HIDDEN, alpha=0, batch_size=batch_size, max_iter=1).fit(*data)
    return float(log_loss(data[1], fitted.predict_proba(data[0])))


def ours(data: tuple, batch_size: int, objective: str) -> float:
    """Train by the loop of the package's own networks."""
    from torch import nn

    from sk_arcal.models._standardise import Standardise
    from sk_arcal.models._training._loop import Rows, train
    from sk_arcal.models._training._settings import ObjectiveSettings, TrainingSettings

    class TwoOutputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.standardise, self.network = Standardise(N_FEATURES), network()

        def forward(self, x: Any, *, return_routing: bool = False) -> Any:
            logits = self.network(self.standardise(x))
            return (logits, None) if return_routing else logits

    settings = TrainingSettings(
        max_epochs=1, batch_size=batch_size, learning_rate=1e-3, weight_decay=0.0,
        warmup_fraction=0.0, early_stopping=False, validation_fraction=0.1, n_iter_no_change=3,
        snapshot_every=None, n_snapshots=1, device="cpu", verbose=False,
    )  # fmt: skip
    given = Rows(*data, np.ones(len(data[0])))
    trained = train(
        TwoOutputs, given, ObjectiveSettings(objective=objective), settings,
        np.random.default_rng(0), caller="benchmark",
    )  # fmt: skip
    return _loss(trained.module, data)


def _loss(module: Any, data: tuple) -> float:
    import torch

    with torch.no_grad():
        x, labels = map(torch.from_numpy, data)
        return float(torch.nn.functional.cross_entropy(module(x), labels))


def double_rows(data: tuple) -> Any:
    """Rows of the logit-correcting network, with an offset of zero."""
    from sk_arcal.calibration._network._mlp_training import Rows

    n = len(data[0])
    return Rows(data[0].astype(float), np.zeros(n), data[1].astype(float), np.ones(n))


def start_network() -> Any:
    """Return first weights of the logit-correcting network."""
    from sk_arcal.calibration._network._mlp_network import Network

    rng = np.random.default_rng(0)
    coefs = rng.normal(0, 0.2, (N_FEATURES, N_HIDDEN)), np.zeros((N_HIDDEN, 1))
    return Network(coefs, (np.zeros(N_HIDDEN), np.zeros(1)))


def corrected(given: Any, batch_size: int) -> float:
    """Train the network that corrects logits, as `CapacityMatchedMLP` does."""
    import torch

    from sk_arcal.calibration._network._mlp_training import Schedule, train

    schedule = Schedule(0.0, 1e-3, 1, batch_size, 0.1, 3, 1.0, "cpu")
    few = given.take(np.arange(100))
    rng = np.random.default_rng(0)
    found, _ = train(start_network(), given, few, schedule, rng, torch.device("cpu"))
    return float(given.losses(found).mean())


def corrected_by_hand(given: Any, batch_size: int) -> float:
    """Train the same network with the same loss in plain torch."""
    import torch

    from sk_arcal.calibration._network._mlp_network import Network

    first = start_network()
    arrays = (first.coefs[0], first.intercepts[0], first.coefs[1], first.intercepts[1])
    w, b, v, a = parts = [torch.tensor(array, requires_grad=True) for array in arrays]
    optimizer = torch.optim.AdamW(parts, 1e-3, weight_decay=0.0, fused=True)
    x, offset, event, weight = map(
        torch.from_numpy, (given.inputs, given.offset, given.event, given.weight)
    )
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    for r in torch.randperm(len(x)).split(batch_size):
        optimizer.zero_grad()
        logit = offset[r] + torch.addmm(a, torch.tanh(torch.addmm(b, x[r], w)), v)[:, 0]
        loss(logit, event[r], weight=weight[r]).backward()
        optimizer.step()
    w, b, v, a = (part.detach().numpy() for part in parts)
    return float(given.losses(Network((w, v), (b, a))).mean())


def epoch_times(n: int, batch_size: int, rounds: int) -> dict[str, Timing]:
    """Race one epoch."""
    data = rows(n)
    double = double_rows(data)

    def by(call: Callable, *args: Any, **options: Any) -> Callable[[], Any]:
        return lambda: call(data, batch_size, *args, **options)

    return race(
        [
            Contender("limit: the matrix products alone", by(products)),
            Contender(PLAIN, by(plain, fused=False)),
            Contender(FUSED, by(plain, fused=True)),
            Contender("plain torch, DataLoader", by(plain, fused=False, loader=True)),
            Contender("scikit-learn MLPClassifier", by(sklearn_mlp)),
            Contender(SHUFFLED, by(default_skorch)),
            Contender(OURS, by(ours, "log_loss")),
            Contender(TILTED, by(ours, "tilted")),
            Contender(PLAIN_DOUBLE, lambda: corrected_by_hand(double, batch_size)),
            Contender(MLP, lambda: corrected(double, batch_size)),
        ],
        rounds,
    )


def tables(quick: bool = False) -> Iterator[str]:
    """Yield the table of times and losses, and the targets."""
    n, rounds = (20_000, 2) if quick else (100_000, 5)
    times = {size: epoch_times(n, size, rounds) for size in BATCHES}
    names = list(times[BATCHES[0]])
    yield simple_table(
        f"One epoch of a {N_FEATURES}-{N_HIDDEN}-2 network on {n:,} rows, milliseconds",
        ("what", *(f"batches of {size}" for size in BATCHES)),
        [(name, *(times[size][name].text for size in BATCHES)) for name in names],
    )
    yield simple_table(
        "Log loss after that epoch, nats",
        ("what", *(f"batches of {size}" for size in BATCHES)),
        [
            (name, *(significant(times[size][name].result, 4) for size in BATCHES))
            for name in names[1:]
        ],
    )
    yield target_table("Targets of training", _targets(times))


def _targets(times: dict[int, dict[str, Timing]]) -> Iterator[Target]:
    for size, timing in times.items():
        for what, mine, other, bound in (
            ("sk_arcal.models: against plain torch", OURS, PLAIN, 1.1),
            ("sk_arcal.models: against plain torch with fused Adam", OURS, FUSED, 1.1),
            ("CapacityMatchedMLP: against plain torch, same loss", MLP, PLAIN_DOUBLE, 1.1),
            ("tilted loss: against log loss", TILTED, OURS, 1.1),
        ):
            ratio = timing[mine].milliseconds / timing[other].milliseconds
            yield Target(f"batches of {size}, {what}", ratio, bound, "<=")
        apart = abs(timing[OURS].result - timing[PLAIN].result)
        yield Target(f"batches of {size}: difference of the losses", apart, 0.005, "<=", "nats")


def main() -> None:
    """Print the tables; ``--quick`` takes a fifth of the rows."""
    print(machine(), end="\n\n")
    publish(tables(quick="--quick" in sys.argv[1:]), None)


if __name__ == "__main__":
    main()
