"""A transformer over the columns of a table with attention over depth, as a classifier."""

from typing import Any

from numpy.typing import NDArray

from sk_arcal.models._depth_classifier import DepthClassifier


class TabularTransformerClassifier(DepthClassifier):
    """Classify rows of numbers by a small transformer that exposes its attention over depth.

    Trains a :class:`TabularTransformer`, whose tokens are the columns, from scratch. Needs the
    extra "torch".

    Parameters
    ----------
    width : int, default=32
        Numbers per token; a multiple of `n_heads`.
    depth : int, default=3
        Transformer blocks, of an attention and an MLP layer each.
    n_heads : int, default=4
        Heads of the attention over tokens. Attention over depth has one.
    mlp_ratio : float, default=2.0
        Hidden units of the MLPs by `width`.
    dropout : float, default=0.0
        Share of the outputs of every layer, and of the hidden units, dropped in training.
    pooling : {"cls", "mean"}, default="cls"
        What the head reads: a token of its own, which comes first, or the mean over all tokens.
    residual : {"none", "block", "full"}, default="full"
        Residual stream: a plain sum, which routes nothing; attention over the sums of blocks of
        layers; or attention over the outputs of all layers.
    n_blocks : int, default=3
        Blocks of ``residual="block"``, at most ``2 * depth``.
    objective : {"log_loss"}, default="log_loss"
        What training minimises.
    max_epochs : int, default=50
        Passes over the training rows.
    batch_size : int, default=128
        Rows per step.
    learning_rate : float, default=1e-3
        Largest step size of AdamW; it rises linearly and then falls along half a cosine to zero.
    weight_decay : float, default=1e-4
        Decoupled weight decay of AdamW, of matrices only: biases, norms and queries do not decay.
    warmup_fraction : float, default=0.1
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
        The trained :class:`TabularTransformer`, in evaluation mode. It takes raw rows, so a feature
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
    VisionTransformerClassifier : For images.
    MixtureOfExpertsClassifier : Routes rows to experts instead of depths.

    Notes
    -----
    A weight multiplies the loss of its row. With one batch per epoch and no dropout a weight equals
    that many repetitions, up to rounding; otherwise they are equal on average.

    With a `random_state` the same data give the same weights on the same machine with the same
    number of threads, on the CPU. The global random state of torch is neither used nor changed.

    Columns are numbers without gaps, standardised in the network. The precision is that of X.

    References
    ----------
    .. [1] Y. Gorishniy et al. "Revisiting Deep Learning Models for Tabular Data". NeurIPS 2021.
    .. [2] Kimi Team. "Attention Residuals". arXiv:2603.15031, 2026.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_arcal.models import TabularTransformerClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = TabularTransformerClassifier(
    ...     width=16, depth=2, max_epochs=20, learning_rate=0.01, batch_size=32, random_state=0
    ... ).fit(X, y)
    >>> bool(model.score(X, y) > 0.9)
    True
    >>> weights = model.routing_weights(X)
    >>> list(weights)[-2:], weights["output_read"].shape
    (['blocks.1.mlp_read', 'output_read'], (150, 5))
    """

    def __init__(
        self,
        *,
        width: int = 32,
        depth: int = 3,
        n_heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
        pooling: str = "cls",
        residual: str = "full",
        n_blocks: int = 3,
        objective: str = "log_loss",
        max_epochs: int = 50,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup_fraction: float = 0.1,
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
        self.width = width
        self.depth = depth
        self.n_heads = n_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.pooling = pooling
        self.residual = residual
        self.n_blocks = n_blocks
        self.objective = objective
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

    def _module(self, x: NDArray[Any], n_classes: int) -> Any:
        from sk_arcal.models._tabular_transformer import TabularTransformer

        return TabularTransformer(x.shape[1], n_classes, **self._depth_parameters())
