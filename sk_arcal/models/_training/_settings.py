"""Settings of a training run, checked, and what a run leaves behind. Loads without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sk_arcal._validation import check_integer, check_number, check_option

RELEVANCE_RULES = ("all", "either", "regret", "disagreement")


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """What to minimise; see the parameters of :class:`MixtureOfExpertsClassifier`."""

    objective: str = "log_loss"
    label_smoothing: float = 0.0
    eta: float = 2.0
    alpha: float = 0.2
    relevance: str = "all"
    min_regret: float = 1e-6
    min_disagreement: float = 0.01
    erm_fraction: float = 0.0
    rectify_gradient: bool = False

    def __post_init__(self) -> None:
        for name in ("label_smoothing", "erm_fraction"):
            check_number(name, getattr(self, name), low=0.0, high=1.0)
        for name in ("eta", "min_regret", "min_disagreement"):
            check_number(name, getattr(self, name), low=0.0)
        check_number("alpha", self.alpha, low=0.0, high=1.0)
        if self.alpha == 0:
            raise ValueError("`alpha`, a share of the rows, must be larger than 0; got 0.")
        check_option("relevance", self.relevance, RELEVANCE_RULES)


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How to train; see the parameters of the classifiers."""

    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_fraction: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    snapshot_every: int | None
    n_snapshots: int
    device: str
    verbose: bool

    def __post_init__(self) -> None:
        for name in ("max_epochs", "batch_size", "n_iter_no_change", "n_snapshots"):
            check_integer(name, getattr(self, name), low=1)
        if self.snapshot_every is not None:
            check_integer("snapshot_every", self.snapshot_every, low=1)
        for name in ("learning_rate", "weight_decay"):
            check_number(name, getattr(self, name), low=0.0)
        check_number("warmup_fraction", self.warmup_fraction, low=0.0, high=1.0)
        check_number(
            "validation_fraction", self.validation_fraction, low=0.0, high=1.0, strict=True
        )
        if not isinstance(self.device, str):
            raise TypeError(
                f"`device` must be the name of a torch device, such as 'cuda'; got {self.device!r}."
            )


@dataclass(frozen=True, eq=False, slots=True)
class Snapshot:
    """Weights of a network after one epoch.

    Kept by the classifiers with `snapshot_every`, see :class:`VisionTransformerClassifier`.

    Attributes
    ----------
    epoch : int
        Epochs trained, from 1.
    state : dict of str to Tensor
        Copies on the CPU, in the form that ``load_state_dict`` of `module_` takes.
    """

    epoch: int
    state: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Snapshot(epoch={self.epoch})"
