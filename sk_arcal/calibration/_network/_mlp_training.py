"""Training of the logit-correcting network: skorch's loop, and nothing else in torch.

Torch computes here only and leaves no trace: its global random state and its number of threads
stay as they are, and what comes back are numpy arrays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray, import_optional, usable_device
from sk_arcal.calibration._network._mlp_network import Network

_CALLER = "CapacityMatchedMLP"
# Fewer rows say neither when to stop nor whether anything was gained.
_FEWEST_ROWS = 10


@dataclass(frozen=True, slots=True)
class Rows:
    """What the network is trained or judged on.

    Attributes
    ----------
    inputs : ndarray of shape (n_rows, n_inputs)
        Standardised.
    offset : ndarray of shape (n_rows,)
        Incoming log-odds.
    event : ndarray of shape (n_rows,)
        0 or 1.
    weight : ndarray of shape (n_rows,)
        Positive.
    """

    inputs: FloatArray
    offset: FloatArray
    event: FloatArray
    weight: FloatArray

    def take(self, which: NDArray[np.intp]) -> "Rows":
        """Return some of the rows."""
        return Rows(self.inputs[which], self.offset[which], self.event[which], self.weight[which])

    def losses(self, network: Network) -> FloatArray:
        """Return the log loss of every row under a network, nats."""
        sign = 1 - 2 * self.event
        return np.logaddexp(0, sign * (self.offset + network(self.inputs)))


@dataclass(frozen=True, slots=True)
class Schedule:
    """How to train; see the parameters of the estimator."""

    weight_decay: float
    learning_rate: float
    max_epochs: int
    batch_size: int
    validation_fraction: float
    n_iter_no_change: int
    n_standard_errors: float
    device: str


@dataclass(frozen=True, slots=True)
class Training:
    """The network to use, the epoch it is from, and the loss before the first and after each."""

    network: Network
    best_epoch: int
    validation_losses: FloatArray


def train_and_judge(
    start: Network, rows: Rows, schedule: Schedule, rng: np.random.Generator
) -> Training:
    """Hold some rows out, train on the others, and keep the result if it beats the start.

    Parameters
    ----------
    start : Network
        Initial weights; kept, as epoch 0, if no epoch gains more than its standard errors.
    rows : Rows
        All rows.
    schedule : Schedule
        Settings.
    rng : Generator
        Draws the rows held out, and shuffles the others before every epoch.

    Returns
    -------
    result : Training
        Without an epoch if fewer than ten rows would be held out or left.

    Raises
    ------
    ImportError
        If torch or skorch are not installed.
    ValueError
        If the device is not there, or cannot compute in double precision.
    """
    torch = import_optional("torch", extra="torch", caller=_CALLER)
    import_optional("skorch", extra="torch", caller=_CALLER)
    device = usable_device(torch, schedule.device, torch.float64)
    n_rows = len(rows.event)
    n_held_out = round(schedule.validation_fraction * n_rows)
    if min(n_held_out, n_rows - n_held_out) < _FEWEST_ROWS:
        return Training(start, 0, np.full(1, np.nan))
    order = rng.permutation(n_rows)
    validation = rows.take(order[:n_held_out])
    network, losses = train(start, rows.take(order[n_held_out:]), validation, schedule, rng, device)
    before, after = validation.losses(start), validation.losses(network)
    total = validation.weight.sum()
    gain = validation.weight @ (before - after) / total
    error = np.sqrt(validation.weight @ (before - after - gain) ** 2) / total
    curve = np.concatenate([[validation.weight @ before / total], losses])
    if not gain > schedule.n_standard_errors * error:
        return Training(start, 0, curve)
    return Training(network, 1 + int(losses.argmin()), curve)


def train(
    start: Network,
    training: Rows,
    validation: Rows,
    schedule: Schedule,
    rng: np.random.Generator,
    device: Any,
) -> tuple[Network, FloatArray]:
    """Minimise the weighted log loss by AdamW, from `start`, with early stopping.

    Parameters
    ----------
    start : Network
        Initial weights.
    training, validation : Rows
        Rows for the gradients, and rows that tell when to stop.
    schedule : Schedule
        Settings.
    rng : Generator
        Shuffles the rows before every epoch.
    device : torch.device
        Where to train.

    Returns
    -------
    network : Network
        Weights of the epoch with the lowest validation loss.
    losses : ndarray of shape (n_epochs,)
        Mean log loss on the validation rows after every epoch, nats.
    """
    torch = import_optional("torch", extra="torch", caller=_CALLER)
    skorch = import_optional("skorch", extra="torch", caller=_CALLER)
    helper = import_optional("skorch.helper", extra="torch", caller=_CALLER)
    callbacks = import_optional("skorch.callbacks", extra="torch", caller=_CALLER)
    module, criterion = _classes(torch)
    stopping = callbacks.EarlyStopping(
        patience=schedule.n_iter_no_change, threshold=0.0, load_best=True
    )
    net = skorch.NeuralNet(
        module,
        module__network=start,
        criterion=criterion,
        optimizer=torch.optim.AdamW,
        optimizer__lr=schedule.learning_rate,
        optimizer__weight_decay=schedule.weight_decay,
        optimizer__param_groups=[("intercepts*", {"weight_decay": 0.0})],
        optimizer__fused=device.type in {"cpu", "cuda"},
        max_epochs=schedule.max_epochs,
        batch_size=schedule.batch_size,
        iterator_train=ShuffledSlices,
        iterator_train__rng=rng,
        iterator_valid=WholeSet,
        train_split=helper.predefined_split(_tensors(torch, validation, device)),
        callbacks=[stopping],
        callbacks__print_log=None,
        callbacks__epoch_timer=None,
        verbose=0,
        device=device,
    )
    net.fit(_tensors(torch, training, device), None)
    arrays = {
        name: value.detach().cpu().numpy().astype(np.float64)
        for name, value in net.module_.state_dict().items()
    }
    network = Network(
        (arrays["coefs.0"], arrays["coefs.1"]), (arrays["intercepts.0"], arrays["intercepts.1"])
    )
    return network, np.array(net.history[:, "valid_loss"])


def _tensors(torch: Any, rows: Rows, device: Any) -> Any:
    """Put rows on the device once; weights have mean one, so that the loss is a mean."""
    weight = rows.weight / rows.weight.mean()
    arrays = (rows.inputs, rows.offset, np.column_stack([rows.event, weight]))
    tensors = [torch.tensor(array, dtype=torch.float64, device=device) for array in arrays]
    return torch.utils.data.TensorDataset(*tensors)


class ShuffledSlices:
    """Mini-batches cut from tensors in a new order every epoch.

    A loader that collects single rows costs several times what the network does.
    """

    def __init__(self, dataset: Any, batch_size: int, rng: np.random.Generator) -> None:
        self.tensors, self.batch_size, self.rng = dataset.tensors, batch_size, rng

    def __iter__(self) -> Iterator[tuple]:
        inputs, offset, target = self.tensors
        order = inputs.new_tensor(self.rng.permutation(len(inputs))).long()
        for rows in order.split(self.batch_size):
            yield {"inputs": inputs[rows], "offset": offset[rows]}, target[rows]


class WholeSet:
    """All rows as one batch."""

    def __init__(self, dataset: Any, batch_size: int) -> None:
        self.tensors = dataset.tensors

    def __iter__(self) -> Iterator[tuple]:
        inputs, offset, target = self.tensors
        yield {"inputs": inputs, "offset": offset}, target


def _classes(torch: Any) -> tuple[type, type]:
    """Return the module and the criterion; their base class exists only once torch is loaded."""
    base: Any = torch.nn.Module

    class CorrectedLogit(base):
        def __init__(self, network: Network) -> None:
            super().__init__()
            as_list = torch.nn.ParameterList
            self.coefs = as_list([torch.tensor(array) for array in network.coefs])
            self.intercepts = as_list([torch.tensor(array) for array in network.intercepts])

        def forward(self, inputs: Any, offset: Any) -> Any:
            hidden = torch.tanh(torch.addmm(self.intercepts[0], inputs, self.coefs[0]))
            return offset + torch.addmm(self.intercepts[1], hidden, self.coefs[1])[:, 0]

    class WeightedLogLoss(base):
        def forward(self, logit: Any, target: Any) -> Any:
            loss = torch.nn.functional.binary_cross_entropy_with_logits
            return loss(logit, target[:, 0], weight=target[:, 1])

    return CorrectedLogit, WeightedLogLoss
