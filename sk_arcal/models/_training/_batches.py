"""Mini-batches cut from tensors, and what is done to images on the way."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

Augmentation = Callable[[Tensor, np.random.Generator], Tensor]


class ShuffledSlices:
    """Mini-batches in a new order every epoch.

    A loader that collects single rows costs several times what a small network does.
    """

    def __init__(
        self,
        dataset: TensorDataset,
        batch_size: int,
        rng: np.random.Generator,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.tensors, self.batch_size = dataset.tensors, batch_size
        self.rng, self.augmentation = rng, augmentation

    def __iter__(self) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
        x, labels, weight = self.tensors
        order = torch.from_numpy(self.rng.permutation(len(x))).to(x.device)
        for rows in order.split(self.batch_size):
            batch = x[rows]
            if self.augmentation is not None:
                batch = self.augmentation(batch, self.rng)
            yield batch, (labels[rows], weight[rows])


class Slices:
    """Mini-batches in the order of the rows."""

    def __init__(self, dataset: TensorDataset, batch_size: int) -> None:
        self.tensors, self.batch_size = dataset.tensors, batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, tuple[Tensor, Tensor]]]:
        parts = (tensor.split(self.batch_size) for tensor in self.tensors)
        for x, labels, weight in zip(*parts, strict=True):
            yield x, (labels, weight)


def crop_and_flip(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift every image by up to an eighth of its side, and mirror every second one.

    Parameters
    ----------
    images : Tensor of shape (n_images, height, width) or (n_images, height, width, channels)
        Unchanged.
    rng : Generator
        Draws the shifts, uniform on whole pixels, and the images to mirror.

    Returns
    -------
    images : Tensor of the same shape
        Pixels that were outside are zero.
    """
    n_images, height, width = images.shape[:3]
    far_down, far_right = height // 8, width // 8
    down = rng.integers(0, 2 * far_down + 1, n_images)[:, None] + np.arange(height)
    right = rng.integers(0, 2 * far_right + 1, n_images)[:, None] + np.arange(width)
    mirrored = rng.random(n_images) < 0.5
    right[mirrored] = right[mirrored, ::-1]
    shape = (n_images, height + 2 * far_down, width + 2 * far_right, *images.shape[3:])
    padded = images.new_zeros(shape)
    padded[:, far_down : far_down + height, far_right : far_right + width] = images
    image, row, column = (
        torch.from_numpy(index).to(images.device)
        for index in (np.arange(n_images)[:, None, None], down[:, :, None], right[:, None, :])
    )
    return padded[image, row, column]
