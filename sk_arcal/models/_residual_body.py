"""A small residual network that turns images into features, as the body of a mixture.

A 3 × 3 convolution without pooling, stages of two-convolution residual blocks of which all but the
first halve the image, and the mean over what is left. With ``widths=(64, 128, 256)`` and two blocks
per stage these are the first three stages of a ResNet-18 for small images.

Source: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sk_arcal._validation import check_integer


class ResidualBody(nn.Module):
    """Turn images into features by residual convolutions.

    Parameters
    ----------
    image_shape : tuple of int
        (height, width, channels).
    widths : sequence of int, default=(64, 128, 256)
        Channels of every stage; the last is the number of features.
    blocks_per_stage : int, default=2
        Residual blocks of every stage.

    Raises
    ------
    ValueError
        If a size is out of range.
    TypeError
        If a size is no number.

    See Also
    --------
    MixtureOfExpertsClassifier : Takes it as `body`.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun. "Deep Residual Learning for Image Recognition".
       CVPR 2016.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.models import ResidualBody
    >>> body = ResidualBody((8, 8, 3), widths=(4, 6), blocks_per_stage=1)
    >>> body(torch.randn(2, 8, 8, 3)).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256),
        blocks_per_stage: int = 2,
    ) -> None:
        super().__init__()
        if len(image_shape) != 3:
            raise ValueError(
                f"`image_shape` must be (height, width, channels); got {tuple(image_shape)!r}."
            )
        *_, channels = (check_integer("image_shape", size, low=1) for size in image_shape)
        if not widths:
            raise ValueError("`widths` must name the channels of at least one stage; got none.")
        sizes = [check_integer("widths", width, low=1) for width in widths]
        n_blocks = check_integer("blocks_per_stage", blocks_per_stage, low=1)
        self.stem = nn.Sequential(_convolution(channels, sizes[0]), nn.ReLU())
        blocks: list[nn.Module] = [_ResidualBlock(sizes[0], sizes[0], 1) for _ in range(n_blocks)]
        for before, after in pairwise(sizes):
            blocks.append(_ResidualBlock(before, after, 2))
            blocks += [_ResidualBlock(after, after, 1) for _ in range(n_blocks - 1)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Return features.

        Parameters
        ----------
        images : Tensor of shape (n_samples, height, width, channels)
            Standardised.

        Returns
        -------
        features : Tensor of shape (n_samples, widths[-1])
            Means over the image.
        """
        # Channels stay last in memory, which is how the convolutions read them fastest.
        maps = self.blocks(self.stem(images.permute(0, 3, 1, 2)))
        return maps.mean(dim=(2, 3))


class _ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(before, after, stride), nn.ReLU(), _convolution(after, after)
        )
        is_same = before == after and stride == 1
        self.shortcut = nn.Identity() if is_same else _convolution(before, after, stride, size=1)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.layers(maps) + self.shortcut(maps))


def _convolution(before: int, after: int, stride: int = 1, size: int = 3) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(after),
    )
