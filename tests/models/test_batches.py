import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from sk_arcal.models._training._batches import ShuffledSlices, Slices, crop_and_flip


def numbered(n=10):
    number = torch.arange(float(n))
    return TensorDataset(number[:, None], number.long(), 2 * number)


def test_every_row_is_seen_once_an_epoch():
    slices = ShuffledSlices(numbered(), 4, np.random.default_rng(0))
    epochs = [[labels for _, (labels, _) in slices] for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [4, 4, 2]
    seen = [torch.cat(epoch).numpy() for epoch in epochs]
    np.testing.assert_array_equal(np.sort(seen), [range(10), range(10)])
    assert (seen[0] != seen[1]).any()


@pytest.mark.parametrize("kind", ["shuffled", "in order"])
def test_rows_labels_and_weights_belong_together(kind):
    dataset = numbered()
    shuffled = ShuffledSlices(dataset, 3, np.random.default_rng(0))
    for x, (labels, weight) in shuffled if kind == "shuffled" else Slices(dataset, 3):
        torch.testing.assert_close(x[:, 0], labels.float())
        torch.testing.assert_close(weight, 2 * x[:, 0])


def test_slices_keep_the_order():
    seen = torch.cat([labels for _, (labels, _) in Slices(numbered(), 4)])
    np.testing.assert_array_equal(seen, range(10))


def test_augmentation_is_drawn_anew_for_every_batch():
    images = torch.arange(1, 2 * 16 * 16 + 1).reshape(2, 16, 16)
    dataset = TensorDataset(images, torch.arange(2), torch.ones(2))
    slices = ShuffledSlices(dataset, 2, np.random.default_rng(0), crop_and_flip)
    (first, _), (second, _) = next(iter(slices)), next(iter(slices))
    assert not torch.equal(first.sort(dim=0).values, second.sort(dim=0).values)


@pytest.mark.parametrize("shape", [(200, 16, 24, 3), (200, 16, 24)])
def test_every_image_is_shifted_and_perhaps_mirrored(shape):
    images = torch.from_numpy(np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8))
    before = images.clone()
    changed = crop_and_flip(images, np.random.default_rng(0))
    assert torch.equal(images, before)
    assert changed.dtype == torch.uint8
    assert changed.shape == shape
    found = set()
    for image, original in zip(changed.numpy(), images.numpy(), strict=True):
        matches = [
            move
            for move in np.ndindex(5, 7, 2)
            if np.array_equal(image, moved(original, move[0] - 2, move[1] - 3, move[2]))
        ]
        assert len(matches) == 1
        found.update(matches)
    # 70 moves in 200 draws
    assert len(found) > 55
    assert {mirrored for _, _, mirrored in found} == {0, 1}


def moved(image, down, right, mirrored):
    """Cut a window out of the image with a rim of zeros."""
    rim = [(2, 2), (3, 3)] + [(0, 0)] * (image.ndim - 2)
    window = np.pad(image, rim)[2 + down :, 3 + right :][: image.shape[0], : image.shape[1]]
    return window[:, ::-1] if mirrored else window


def test_small_images_are_only_mirrored():
    images = torch.arange(1, 50).reshape(1, 7, 7).expand(30, 7, 7)
    for image in crop_and_flip(images, np.random.default_rng(0)):
        assert torch.equal(image, images[0]) or torch.equal(image, images[0].flip(1))
