"""A vision transformer with attention over depth."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sk_arcal._validation import check_integer
from sk_arcal.models._standardise import Standardise
from sk_arcal.models._transformer import ResidualTransformer

# About that of the embedded patches; smaller ones have to be learned before places can be told.
_POSITION_DEVIATION = 0.5


class VisionTransformer(ResidualTransformer):
    r"""Transformer on the patches of an image, its residual stream plain or attention over depth.

    It takes images as they are stored, channels last, and standardises them itself, so that it can
    be handed to a feature extractor together with raw rows. Every read over depth is a
    :class:`DepthRead` at the path "blocks.<b>.attention_read", "blocks.<b>.mlp_read" or
    "output_read".

    Parameters
    ----------
    image_shape : tuple of int
        (height, width, channels).
    n_classes : int
        Number of logits, at least 2.
    patch_size : int, default=4
        Side of the square patches, in pixels; height and width are multiples of it.
    width : int, default=64
        Numbers per token; a multiple of `n_heads`.
    depth : int, default=6
        Transformer blocks, of two sub-layers each.
    n_heads : int, default=4
        Heads of the attention over tokens. Attention over depth has one.
    mlp_ratio : float, default=2.0
        Hidden units of the MLPs by `width`.
    dropout : float, default=0.0
        Share of the outputs of every sub-layer, and of the hidden units, dropped in training.
    pooling : {"cls", "mean"}, default="cls"
        What the head reads: a token of its own, which comes first, or the mean over all tokens.
    residual : {"none", "block", "full"}, default="full"
        Plain sum, Block or Full attention over depth.
    n_blocks : int, default=4
        Blocks of ``residual="block"``, at most ``2 * depth``.
    two_phase : bool, default=False
        How Block attention over depth is computed, see :func:`depth_stream`. An attribute of the
        same name may be changed later.

    Raises
    ------
    ValueError
        If a size is out of range, `width` is no multiple of `n_heads`, or the image cannot be cut
        into patches.
    TypeError
        If a size is no number.

    See Also
    --------
    VisionTransformerClassifier : The same as a scikit-learn estimator.

    References
    ----------
    .. [1] A. Dosovitskiy et al. "An Image is Worth 16x16 Words". ICLR 2021.
    .. [2] Kimi Team. "Attention Residuals". arXiv:2603.15031, 2026.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.models import VisionTransformer
    >>> module = VisionTransformer((8, 8, 3), n_classes=10, depth=2)
    >>> images = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8)
    >>> logits, routing = module(images, return_routing=True)
    >>> logits.shape
    torch.Size([5, 10])
    >>> routing["blocks.1.mlp_read"].shape
    torch.Size([5, 5, 4])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        n_classes: int,
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
        two_phase: bool = False,
    ) -> None:
        super().__init__(
            n_classes,
            width=width,
            depth=depth,
            n_heads=n_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            pooling=pooling,
            residual=residual,
            n_blocks=n_blocks,
            two_phase=two_phase,
        )
        self.image_shape = tuple(image_shape)
        self.patch_size = patch_size
        n_patches = count_patches(self.image_shape, patch_size)
        channels = self.image_shape[2]
        self.standardise = Standardise(channels)
        self.patches = nn.Linear(patch_size * patch_size * channels, width)
        self.positions = nn.Parameter(torch.empty(n_patches, width))
        nn.init.trunc_normal_(self.positions, std=_POSITION_DEVIATION)

    def embed(self, x: Tensor) -> Tensor:
        """Return one token per patch, and the classification token before them.

        Parameters
        ----------
        x : Tensor of shape (n_samples, height, width, channels)
            Images; unsigned bytes are divided by 255, other numbers are taken as they are.
            Images of one channel may lack the last axis.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_tokens, width)
            Row by row.

        Raises
        ------
        ValueError
            If the images have another shape.
        """
        height, width, channels = self.image_shape
        images = x.unsqueeze(-1) if x.ndim == 3 and channels == 1 else x
        if tuple(images.shape[1:]) != self.image_shape:
            raise ValueError(
                f"Images must have shape (n_samples, {height}, {width}, {channels}); got "
                f"{tuple(x.shape)}."
            )
        if images.dtype == torch.uint8:
            images = images.to(self.positions.dtype) / 255
        side = self.patch_size
        cut = self.standardise(images).view(-1, height // side, side, width // side, side, channels)
        patches = cut.transpose(2, 3).reshape(len(x), len(self.positions), -1)
        return self._with_cls(self.patches(patches) + self.positions)


def count_patches(image_shape: tuple[int, ...], patch_size: int) -> int:
    """Return the number of patches of an image of shape (height, width, channels)."""
    if len(image_shape) != 3:
        raise ValueError(f"`image_shape` must be (height, width, channels); got {image_shape!r}.")
    height, width, channels = (check_integer("image_shape", size, low=1) for size in image_shape)
    side = check_integer("patch_size", patch_size, low=1)
    if height % side or width % side:
        raise ValueError(
            f"`patch_size` must divide the height and the width of the images; got {side} for "
            f"images of {height} x {width} pixels with {channels} channels."
        )
    return (height // side) * (width // side)
