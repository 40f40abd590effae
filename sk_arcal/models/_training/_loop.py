"""Training by skorch's loop, from rows to weights, leaving torch's global state as it was."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, cos, pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from skorch.helper import predefined_split
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from sk_arcal._validation import FloatArray, check_option, import_optional, usable_device
from sk_arcal.models._training._batches import Augmentation, ShuffledSlices, Slices
from sk_arcal.models._training._moments import weighted_moments
from sk_arcal.models._training._objectives import OBJECTIVES, Criterion
from sk_arcal.models._training._rectification import (
    set_rectified_gradients,
    soft_calibration_error,
)
from sk_arcal.models._training._settings import ObjectiveSettings, Snapshot, TrainingSettings

# Initial weights and dropout come from torch's one generator, so fits in threads take turns.
_TURN = threading.Lock()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in the form the module takes, class codes, and weights above zero."""

    x: NDArray[Any]
    labels: NDArray[np.intp]
    weight: FloatArray

    def take(self, which: NDArray[np.intp]) -> "Rows":
        """Return some of the rows."""
        return Rows(self.x[which], self.labels[which], self.weight[which])

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Return mean and deviation along the last axis; the modules read bytes as shares."""
        mean, deviation = weighted_moments(self.x, self.weight)
        largest = 255 if self.x.dtype == np.uint8 else 1
        return mean / largest, deviation / largest

    def tensors(self, device: torch.device, dtype: torch.dtype) -> TensorDataset:
        """Put the rows on the device once; weights have mean one, so that the loss is a mean."""
        return TensorDataset(
            torch.tensor(self.x, device=device),
            torch.tensor(self.labels, device=device),
            torch.tensor(self.weight / self.weight.mean(), dtype=dtype, device=device),
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained module in evaluation mode, one dict per epoch, and the snapshots kept."""

    module: nn.Module
    history: list[dict[str, Any]]
    snapshots: list[Snapshot]


def train(
    build: Callable[[], nn.Module],
    rows: Rows,
    objective: ObjectiveSettings,
    settings: TrainingSettings,
    rng: np.random.Generator,
    *,
    augmentation: Augmentation | None = None,
    caller: str,
) -> Trained:
    """Draw initial weights and minimise the objective by AdamW.

    Parameters
    ----------
    build : callable
        Returns the module; its initial weights may be drawn from torch's global generator.
    rows : Rows
        All rows. The module gets double precision if they have it.
    objective : ObjectiveSettings
        What to minimise.
    settings : TrainingSettings
        How.
    rng : Generator
        Draws a seed for torch, the rows held out, the order of the others, and augmentations.
    augmentation : callable, default=None
        Changes a batch of rows before the module sees it.
    caller : str
        Class named in errors.

    Returns
    -------
    trained : Trained
        On the device of the settings.

    Raises
    ------
    ValueError
        If the device is not there, no row is left to train or to validate on, or the loss is no
        longer finite.
    """
    check_option("objective", objective.objective, OBJECTIVES)
    dtype = torch.float64 if rows.x.dtype == np.float64 else torch.float32
    device = usable_device(torch, settings.device, dtype)
    training, validation = _split(rows, settings, rng)
    with _TURN, _seeded(device, int(rng.integers(2**62))), _progress(settings, caller) as advance:
        module = build().to(device=device, dtype=dtype)
        standardise: Any = module.standardise
        standardise.set_moments(*training.moments())
        watch = _Watch(settings, advance)
        callbacks: list[Callback] = [watch]
        if validation is not None:
            patience = settings.n_iter_no_change
            callbacks.append(EarlyStopping(patience=patience, threshold=0.0, load_best=True))
            held_out = predefined_split(validation.tensors(device, dtype))
        net = (_RectifiedNet if objective.rectify_gradient else _Net)(
            module,
            criterion=Criterion(objective, settings.max_epochs),
            optimizer=torch.optim.AdamW,
            optimizer__lr=settings.learning_rate,
            optimizer__weight_decay=settings.weight_decay,
            optimizer__fused=device.type in {"cpu", "cuda"},
            max_epochs=settings.max_epochs,
            batch_size=settings.batch_size,
            iterator_train=ShuffledSlices,
            iterator_train__rng=rng,
            iterator_train__augmentation=augmentation,
            iterator_valid=Slices,
            train_split=None if validation is None else held_out,
            callbacks=callbacks,
            callbacks__print_log=None,
            callbacks__epoch_timer=None,
            verbose=0,
            device=device,
        )
        net.rate_factor = _schedule(settings, len(training.labels))
        net.fit(training.tensors(device, dtype), None)
    if watch.n_epochs < settings.max_epochs and not _has_stopped(callbacks):
        # skorch takes Ctrl-C as the end of training; a search over many fits has to end as well.
        raise KeyboardInterrupt
    return Trained(module.eval(), _plain_history(net), list(watch.snapshots))


class _Net(NeuralNet):
    """skorch's net for a module with two outputs; vectors (biases, norms, queries) do not decay.

    A step on a small network takes about as long as the events that skorch sends around it. Nothing
    here listens to events of batches, so they are left out; those of epochs are sent.
    """

    rate_factor: Callable[[int], float]

    def infer(self, x: Tensor, **fit_params: Any) -> tuple[Tensor, Any]:
        return self.module_(x, return_routing=True)

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        super().on_train_begin(net, **kwargs)
        self.n_steps = 0

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Callable, **fit_params: Any
    ) -> None:
        if iterator is None:
            return
        for part in (self.module_, self.criterion_):
            part.train(training)
        for batch in iterator:
            step = step_fn(batch, **fit_params)
            self.history.new_batch()
            self.history.record_batch(prefix + "_loss", step["loss"].item())
            self.history.record_batch(prefix + "_batch_size", len(batch[0]))

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        rate = self.optimizer__lr * self.rate_factor(self.n_steps)
        for group in self.optimizer_.param_groups:
            group["lr"] = rate
        self.optimizer_.zero_grad()
        step = self.train_step_single(batch, **fit_params)
        self.optimizer_.step()
        self.n_steps += 1
        return step

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        x, target = batch
        output = self.infer(x, **fit_params)
        loss = self.criterion_(output, target)
        self.set_gradients(loss, output, target)
        return {"loss": loss, "y_pred": output}

    def set_gradients(self, loss: Tensor, output: Any, target: Any) -> None:
        """Set the gradients of the module to those of the loss."""
        loss.backward()

    def get_params_for_optimizer(self, prefix: str, named_parameters: Iterator[tuple]) -> tuple:
        (groups,), kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        parameters = groups[0]["params"]
        matrices = {"params": [value for value in parameters if value.ndim > 1]}
        vectors = {"params": [value for value in parameters if value.ndim <= 1]}
        return ([matrices, vectors | {"weight_decay": 0.0}],), kwargs


class _RectifiedNet(_Net):
    """Steps along gradients that do not raise the calibration error of their batch."""

    def set_gradients(self, loss: Tensor, output: Any, target: Any) -> None:
        set_rectified_gradients(self.module_, loss, soft_calibration_error(output[0], *target))


class _Watch(Callback):
    """Count epochs, keep snapshots, and end a run whose loss is no number."""

    def __init__(self, settings: TrainingSettings, advance: Callable[[], object]) -> None:
        self.every, self.advance, self.n_epochs = settings.snapshot_every, advance, 0
        self.snapshots: deque[Snapshot] = deque(maxlen=settings.n_snapshots)

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        net.criterion_.epoch = self.n_epochs + 1

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.n_epochs += 1
        loss = net.history[-1, "train_loss"]
        if not np.isfinite(loss):
            raise ValueError(
                f"Training diverged: the loss of epoch {self.n_epochs} is {loss}. Use a smaller "
                "`learning_rate` or a larger `warmup_fraction`."
            )
        if self.every is not None and self.n_epochs % self.every == 0:
            state = net.module_.state_dict()
            copies = {name: value.detach().cpu().clone() for name, value in state.items()}
            self.snapshots.append(Snapshot(self.n_epochs, copies))
        self.advance()


def _plain_history(net: NeuralNet) -> list[dict[str, Any]]:
    losses = ("train_loss", "valid_loss")
    return [
        {"epoch": row["epoch"]} | {name: float(row[name]) for name in losses if name in row}
        for row in net.history
    ]


def _has_stopped(callbacks: list[Callback]) -> bool:
    last = callbacks[-1]
    return isinstance(last, EarlyStopping) and last.misses_ == last.patience


def _schedule(settings: TrainingSettings, n_rows: int) -> Callable[[int], float]:
    n_steps = settings.max_epochs * ceil(n_rows / settings.batch_size)
    n_warmup = round(settings.warmup_fraction * n_steps)
    return lambda step: rate_factor(step, n_steps, n_warmup)


def rate_factor(step: int, n_steps: int, n_warmup: int) -> float:
    """Return what the learning rate is multiplied with: a linear rise, then half a cosine."""
    if step < n_warmup:
        return (step + 1) / n_warmup
    return 0.5 * (1 + cos(pi * (step - n_warmup) / max(1, n_steps - n_warmup)))


def _split(
    rows: Rows, settings: TrainingSettings, rng: np.random.Generator
) -> tuple[Rows, Rows | None]:
    if not settings.early_stopping:
        return rows, None
    n_rows = len(rows.labels)
    n_held_out = round(settings.validation_fraction * n_rows)
    if not 0 < n_held_out < n_rows:
        raise ValueError(
            f"`validation_fraction` leaves no row to train or to validate on: {n_held_out} of "
            f"{n_rows} would be held out. Use more rows or early_stopping=False."
        )
    order = rng.permutation(n_rows)
    return rows.take(order[n_held_out:]), rows.take(order[:n_held_out])


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's generators of the CPU and of the device, and restore them at the end."""
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _progress(settings: TrainingSettings, caller: str) -> Iterator[Callable[[], object]]:
    """Yield what to call after every epoch; a bar on request."""
    if not settings.verbose:
        yield lambda: None
        return
    tqdm = import_optional("tqdm", extra="torch", caller=f"{caller}(verbose=True)")
    with tqdm.tqdm(total=settings.max_epochs, desc=caller, unit="epoch") as bar:
        yield bar.update
