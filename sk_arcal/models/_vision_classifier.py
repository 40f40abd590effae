"""A vision transformer with attention over depth, as a classifier."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from sklearn.utils import Tags

from sk_arcal.models._depth_classifier import DepthClassifier
from sk_arcal.models._image_rows import ImageRows


class VisionTransformerClassifier(ImageRows, DepthClassifier):
    """Classify images by a small transformer that exposes its attention over depth.

    Trains a :class:`VisionTransformer` from scratch. Needs the extra "torch".

    Parameters
    ----------
    patch_size : int, default=4
        Side of the square patches, in pixels; height and width are multiples of it.
    width : int, default=64
        Numbers per token; a multiple of `n_heads`.
    depth : int, default=6
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
    n_blocks : int, default=4
        Blocks of ``residual="block"``, at most ``2 * depth``.
    augment : bool, default=False
        Whether training shifts every image by up to an eighth of its side and mirrors every second
        one left to right, anew in every epoch.
    objective : {"log_loss"}, default="log_loss"
        What training minimises.
    max_epochs : int, default=50
        Passes over the training rows.
    batch_size : int, default=128
        Rows per step.
    learning_rate : float, default=1e-3
        Largest step size of AdamW; it rises linearly and then falls along half a cosine to zero.
    weight_decay : float, default=0.05
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
        Initial weights, dropout, rows held out, mini-batches and augmentations.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained :class:`VisionTransformer`, in evaluation mode. It takes raw rows, so a feature
        extractor can use it as it is.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    history_ : list of dict
        Of every epoch: "epoch", "train_loss", and with `early_stopping` "valid_loss", in nats.
    n_iter_ : int
        Epochs run.
    snapshots_ : list of Snapshot
        Epoch and weights, oldest first.
    image_shape_ : tuple of int
        (height, width, channels) of the images seen in `fit`.
    n_features_in_ : int
        Numbers per image.

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
    TabularTransformerClassifier : For tables.

    Notes
    -----
    A weight multiplies the loss of its row. With one batch per epoch, without dropout and
    augmentation, a weight equals that many repetitions, up to rounding; otherwise they are equal on
    average.

    With a `random_state` the same data give the same weights on the same machine with the same
    number of threads, on the CPU. The global random state of torch is neither used nor changed.

    X has shape (n_samples, height, width, channels), or (n_samples, height, width) for one channel.
    Unsigned bytes are divided by 255, other numbers are taken as they are, and both are
    standardised per channel by the moments of the training images. Computed in single precision.

    References
    ----------
    .. [1] A. Dosovitskiy et al. "An Image is Worth 16x16 Words". ICLR 2021.
    .. [2] Kimi Team. "Attention Residuals". arXiv:2603.15031, 2026.
    .. [3] Y. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. Networks and snapshots.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_arcal.models import VisionTransformerClassifier
    >>> digits = load_digits(n_class=3)
    >>> model = VisionTransformerClassifier(
    ...     width=16, depth=2, max_epochs=4, batch_size=32, learning_rate=0.01, random_state=0
    ... ).fit(digits.images, digits.target)
    >>> bool(model.score(digits.images, digits.target) > 0.9)
    True
    >>> model.routing_weights(digits.images)["blocks.1.mlp_read"].shape
    (537, 4)
    """

    def __init__(
        self,
        *,
        patch_size: int = 4,
        width: int = 64,
        depth: int = 6,
        n_heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
        pooling: str = "cls",
        residual: str = "full",
        n_blocks: int = 4,
        augment: bool = False,
        objective: str = "log_loss",
        max_epochs: int = 50,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
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
        self.patch_size = patch_size
        self.width = width
        self.depth = depth
        self.n_heads = n_heads
        self.mlp_ratio = mlp_ratio
        self.dropout = dropout
        self.pooling = pooling
        self.residual = residual
        self.n_blocks = n_blocks
        self.augment = augment
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
        from sk_arcal.models._vision_transformer import VisionTransformer

        return VisionTransformer(
            x.shape[1:], n_classes, patch_size=self.patch_size, **self._depth_parameters()
        )

    def _augmentation(self) -> Callable[..., Any] | None:
        from sk_arcal.models._training._batches import crop_and_flip

        return crop_and_flip if self.augment else None

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags
