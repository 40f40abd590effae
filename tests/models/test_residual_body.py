import pytest
import torch
from torch import nn

from sk_arcal.models import ResidualBody


def test_default_is_three_stages_of_a_small_image_resnet18():
    body = ResidualBody((32, 32, 3))
    convolutions = [m for m in body.modules() if isinstance(m, nn.Conv2d)]
    # stem, twelve in blocks, two shortcuts
    assert len(convolutions) == 15
    # 3 * 64 * 9, then the stages without biases
    weights = sum(c.weight.numel() for c in convolutions)
    first, second, third = 4 * 64**2 * 9, 64 * 128 * 10 + 3 * 128**2 * 9, 128 * 256 * 10
    assert weights == 3 * 64 * 9 + first + second + third + 3 * 256**2 * 9
    assert body(torch.zeros(2, 32, 32, 3)).shape == (2, 256)


def test_all_stages_but_the_first_halve_the_image():
    body = ResidualBody((16, 12, 1), widths=(2, 3, 4), blocks_per_stage=1)
    sizes = []
    for block in body.blocks:
        block.register_forward_hook(lambda _, __, maps: sizes.append(tuple(maps.shape[1:])))
    body(torch.zeros(1, 16, 12, 1))
    assert sizes == [(2, 16, 12), (3, 8, 6), (4, 4, 3)]


def test_block_adds_to_its_shortcut():
    body = ResidualBody((8, 8, 2), widths=(5,), blocks_per_stage=1).eval()
    for norm in body.blocks[0].layers[-1].modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.zeros_(norm.weight)
    images = torch.randn(3, 8, 8, 2)
    stem = body.stem(images.permute(0, 3, 1, 2))
    torch.testing.assert_close(body(images), stem.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image_shape": (8, 8)}, "`image_shape` must be"),
        ({"image_shape": (8, 0, 3)}, "`image_shape`"),
        ({"image_shape": (8, 8, 3), "widths": ()}, "`widths` must name"),
        ({"image_shape": (8, 8, 3), "blocks_per_stage": 0}, "`blocks_per_stage`"),
    ],
)
def test_bad_sizes_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        ResidualBody(**given)
