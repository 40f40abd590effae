"""A mixture of experts, as a classifier."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._columns import EXPERT_PREFIX, GATE_PREFIX
from sk_arcal._validation import FloatArray
from sk_arcal.models._classifier import NetworkClassifier
from sk_arcal.models._image_rows import ImageRows
from sk_arcal.models._training._settings import ObjectiveSettings


class MixtureOfExpertsClassifier(ImageRows, NetworkClassifier):
    r"""Classify rows of numbers by a small mixture of experts that exposes gates and experts.

    Trains a :class:`MixtureOfExperts` from scratch: a shared body, a router, and experts whose
    *probabilities* are mixed, :math:`p(x) = \sum_m r_m(x)\, p_m(x)`. Needs the extra "torch".

    Parameters
    ----------
    n_experts : int, default=4
        Experts M.
    body_widths : sequence of int, default=(64,)
        Units of the layers of the shared body, each with a ReLU. ``()`` gives the standardised
        columns to router and experts themselves. Not used with a `body`.
    body : callable, default=None
        Makes a shared body of your own: called with the shape of a row, it returns a new
        ``torch.nn.Module`` that turns rows, standardised along their last axis, into features of
        shape (n_samples, n_body_features). With it X may hold images; :class:`ResidualBody` reads
        them. Pass a class or a function that can be imported, so that the classifier can be
        pickled.
    expert_width : int, default=None
        Hidden units of every expert. None makes the experts linear.
    router_width : int, default=128
        Hidden units of the router.
    routing : {"soft", "hard"}, default="soft"
        Mix all experts, or predict by the one with the largest gate. Hard routing is trained as
        soft routing.
    dropout : float, default=0.0
        Share of the features that the body gives to router and experts, dropped in training.
    augment : bool, default=False
        Whether training shifts every image by up to an eighth of its side and mirrors every second
        one left to right, anew in every epoch. For images only.
    objective : {"log_loss", "softmax_weighted", "detached", "tilted", "cvar"}, default="log_loss"
        What training minimises: the mean log loss, or the log loss for the worst weights of the
        rows of every mini-batch. "softmax_weighted" is Robust MoE as published, whose weights are
        differentiated; "detached" holds them fixed; "tilted" is the value of the maximum; "cvar"
        the mean of the worst share `alpha`.
    eta : float, default=2.0
        Tilt of the weights per nat of loss; 0 weighs all rows alike. Not used by "cvar".
    alpha : float, default=0.2
        Share of the rows, in (0, 1], of "cvar"; 1 is the mean.
    relevance : {"all", "either", "regret", "disagreement"}, default="all"
        Rows the objective is for. Other than "all", the mean log loss over all rows is added to the
        objective over those whose routing matters: where an expert alone was better than the
        mixture, where the experts disagree, or either. "softmax_weighted" with "either" is Robust
        Filtered.
    min_regret : float, default=1e-6
        Regret, in nats, above which a row matters.
    min_disagreement : float, default=0.01
        Gate-weighted squared distance of the experts to their mixture above which a row matters.
    erm_fraction : float, default=0.4
        Share of the epochs, at the start, in which the mean log loss is minimised whatever the
        `objective`: 20 of 50, as published.
    rectify_gradient : bool, default=False
        Whether to remove from every gradient the part that would raise a smooth calibration error
        of the mini-batch. This is the baseline FGR without its filter of images.
    max_epochs : int, default=50
        Passes over the training rows.
    batch_size : int, default=128
        Rows per step.
    learning_rate : float, default=1e-3
        Largest step size of AdamW; it rises linearly and then falls along half a cosine to zero.
    weight_decay : float, default=1e-4
        Decoupled weight decay of AdamW, of matrices only: biases, norms and queries do not decay.
    warmup_fraction : float, default=0.0
        Share of all steps in which the step size rises.
    label_smoothing : float, default=0.0
        Probability that the training targets spread over all classes evenly.
    early_stopping : bool, default=False
        Whether to hold rows out, to stop when their log loss no longer falls, and to return to the
        epoch where it was lowest.
    validation_fraction : float, default=0.1
        Share of the rows held out by `early_stopping`.
    n_iter_no_change : int, default=10
        Epochs without a lower validation loss after which `early_stopping` ends training.
    snapshot_every : int, default=None
        Keep the weights after every so many epochs. None keeps none.
    n_snapshots : int, default=5
        How many of the last snapshots are kept.
    device : str, default="cpu"
        Where torch computes, such as "cuda".
    verbose : bool, default=False
        Whether to show a progress bar of the epochs.
    random_state : int, RandomState, Generator or None, default=None
        Initial weights, dropout, rows held out and mini-batches.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained :class:`MixtureOfExperts`, in evaluation mode. It takes raw rows, so a feature
        extractor can use it as it is.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    history_ : list of dict
        Of every epoch: "epoch", "train_loss", and with `early_stopping` "valid_loss", in nats.
    n_iter_ : int
        Epochs run.
    snapshots_ : list of Snapshot
        Epoch and weights, oldest first.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where X had any.
    image_shape_ : tuple of int
        (height, width, channels) of the images seen in `fit`. Only where X held images.

    Raises
    ------
    ValueError
        From `fit`, if the data or a parameter cannot be used, the device is not there, or training
        diverges.
    TypeError
        From `fit`, if a parameter has the wrong kind.
    ImportError
        From `fit`, if torch or skorch are not installed.

    See Also
    --------
    sk_arcal.calibration.ExpertTemperatureScaler : Calibrates the experts.
    TabularTransformerClassifier : Routes over depth instead of experts.

    Notes
    -----
    A weight multiplies the loss of its row. With one batch per epoch and no dropout a weight equals
    that many repetitions, up to rounding; otherwise they are equal on average.

    With a `random_state` the same data give the same weights on the same machine with the same
    number of threads, on the CPU. The global random state of torch is neither used nor changed.

    Columns are numbers without gaps, standardised in the network. The precision is that of X.
    Images have shape (n_samples, height, width, channels) or (n_samples, height, width); unsigned
    bytes are divided by 255, and the precision is single.

    With weights :math:`\propto e^{\eta \ell}`, for any law Q within :math:`\mathrm{KL}(Q \| P) \le
    \rho` of the training law P,

    .. math:: E_Q\, \ell \le \tfrac1\eta \big(\log E_P\, e^{\eta \ell} + \rho\big).

    No objective penalises a calibration error: a high loss stands for a fragile configuration.

    References
    ----------
    .. [1] G. Wong et al. "Toward Calibrated Mixture-of-Experts Under Distribution Shift".
       ICML 2026.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_arcal.models import MixtureOfExpertsClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MixtureOfExpertsClassifier(
    ...     n_experts=2, learning_rate=0.01, max_epochs=20, random_state=0
    ... ).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    >>> gates, experts = model.expert_scores(X)
    >>> gates.shape, experts.shape
    ((150, 2), (150, 2, 3))
    """

    def __init__(
        self,
        *,
        n_experts: int = 4,
        body_widths: Sequence[int] = (64,),
        body: Callable[[tuple[int, ...]], Any] | None = None,
        expert_width: int | None = None,
        router_width: int = 128,
        routing: str = "soft",
        dropout: float = 0.0,
        augment: bool = False,
        objective: str = "log_loss",
        eta: float = 2.0,
        alpha: float = 0.2,
        relevance: str = "all",
        min_regret: float = 1e-6,
        min_disagreement: float = 0.01,
        erm_fraction: float = 0.4,
        rectify_gradient: bool = False,
        max_epochs: int = 50,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup_fraction: float = 0.0,
        label_smoothing: float = 0.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        snapshot_every: int | None = None,
        n_snapshots: int = 5,
        device: str = "cpu",
        verbose: bool = False,
        random_state: object = None,
    ) -> None:
        self.n_experts = n_experts
        self.body_widths = body_widths
        self.body = body
        self.expert_width = expert_width
        self.router_width = router_width
        self.routing = routing
        self.dropout = dropout
        self.augment = augment
        self.objective = objective
        self.eta = eta
        self.alpha = alpha
        self.relevance = relevance
        self.min_regret = min_regret
        self.min_disagreement = min_disagreement
        self.erm_fraction = erm_fraction
        self.rectify_gradient = rectify_gradient
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_fraction = warmup_fraction
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.snapshot_every = snapshot_every
        self.n_snapshots = n_snapshots
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def routing_weights(self, X: ArrayLike) -> dict[str, FloatArray]:
        """Return the gates by the path of the router.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        routing : dict of ndarray of shape (n_samples, n_experts)
            One entry, "router": the softmax of the router, also with hard routing.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`.
        """
        return {"router": self.expert_scores(X)[0]}

    def expert_scores(self, X: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return gates and what every expert says.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        gates : ndarray of shape (n_samples, n_experts)
            Softmax of the router; rows sum to one.
        expert_logits : ndarray of shape (n_samples, n_experts, n_classes)
            Log-probabilities of every expert, nats, which are logits: their softmax is the
            expert's probability.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`.
        """
        return self._evaluate("expert_scores_of", X)

    def expert_columns(self, X: ArrayLike) -> dict[str, FloatArray]:
        """Return gates and experts as named columns that the calibrators understand.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in `fit`.

        Returns
        -------
        columns : dict of ndarray of shape (n_samples,)
            ``logit__<class>``, the log-probability of the mixture (of the chosen expert with hard
            routing), ``expert__<m>__<class>`` and ``gate__<m>``, with experts counted from 0.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`.
        """
        logits, (gates, experts) = self._logits(X), self.expert_scores(X)
        columns = {f"logit__{name}": logits[:, k] for k, name in enumerate(self.classes_)}
        for m in range(experts.shape[1]):
            for k, name in enumerate(self.classes_):
                columns[f"{EXPERT_PREFIX}{m}__{name}"] = experts[:, m, k]
        gate_columns = {f"{GATE_PREFIX}{m}": gate for m, gate in enumerate(gates.T)}
        return columns | gate_columns

    def _module(self, x: NDArray[Any], n_classes: int) -> Any:
        from sk_arcal.models._mixture_of_experts import MixtureOfExperts

        row_shape = tuple(map(int, x.shape[1:]))
        body = None if self.body is None else self.body(row_shape)
        return MixtureOfExperts(
            row_shape,
            n_classes,
            n_experts=self.n_experts,
            body_widths=self.body_widths,
            body=body,
            expert_width=self.expert_width,
            router_width=self.router_width,
            routing=self.routing,
            dropout=self.dropout,
        )

    def _objective(self) -> ObjectiveSettings:
        names = (field.name for field in fields(ObjectiveSettings))
        return ObjectiveSettings(**{name: getattr(self, name) for name in names})

    def _checked(self, X: Any, y: Any = None) -> tuple[NDArray[Any], Any]:
        if y is not None:
            self._reads_images = self.body is not None and np.ndim(X) > 2
            if self.augment and not self._reads_images:
                raise ValueError("`augment` needs images in `X`, and a `body` that reads them.")
        # `fit` without labels comes here too; the check of tables says so.
        base = ImageRows if getattr(self, "_reads_images", False) else NetworkClassifier
        return base._checked(self, X, y)

    def _augmentation(self) -> Callable[..., Any] | None:
        from sk_arcal.models._training._batches import crop_and_flip

        return crop_and_flip if self.augment else None
