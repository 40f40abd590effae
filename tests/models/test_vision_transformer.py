import numpy as np
import pytest
import torch

from sk_arcal.models import VisionTransformer
from sk_arcal.models._attention_residual import DepthRead

IN_ORDER = [
    *("blocks.0.attention_read", "blocks.0.mlp_read"),
    *("blocks.1.attention_read", "blocks.1.mlp_read"),
    *("blocks.2.attention_read", "blocks.2.mlp_read"),
    "output_read",
]


def bytes_of(images):
    return torch.from_numpy(images)


@pytest.mark.parametrize(
    ("residual", "n_blocks", "n_sources"),
    [
        ("full", 4, [1, 2, 3, 4, 5, 6, 7]),
        ("block", 3, [1, 2, 2, 3, 3, 4, 4]),
        ("block", 6, [1, 2, 3, 4, 5, 6, 7]),
        ("block", 1, [1, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_every_read_is_returned_by_its_path(
    make_transformer, images, residual, n_blocks, n_sources
):
    module = make_transformer(residual, n_blocks=n_blocks)
    _, routing = module(bytes_of(images), return_routing=True)
    assert list(routing) == module.read_paths() == IN_ORDER
    assert [alpha.shape for alpha in routing.values()] == [(12, 5, n) for n in n_sources]
    for path in routing:
        read = module.get_submodule(path)
        assert isinstance(read, DepthRead)
        assert read.read_kind == path.rsplit(".", maxsplit=1)[-1].removesuffix("_read")


@pytest.mark.parametrize("two_phase", [False, True])
def test_hooks_see_what_is_returned(make_transformer, images, two_phase):
    module, seen = make_transformer("block", n_blocks=3, two_phase=two_phase), {}
    for path, part in module.named_modules():
        if getattr(part, "route_kind", None) == "depth":
            part.register_forward_hook(
                lambda read, args, output, path=path: seen.update(
                    {path: read.read_routes(args, output)["weights"]}
                )
            )
    _, routing = module(bytes_of(images), return_routing=True)
    assert list(seen) == IN_ORDER
    torch.testing.assert_close(seen, routing, rtol=0, atol=0)


def test_two_phases_give_what_one_does(make_transformer, images):
    module = make_transformer("block", n_blocks=2)
    direct = module(bytes_of(images), return_routing=True)
    module.two_phase = True
    torch.testing.assert_close(direct, module(bytes_of(images), return_routing=True))


def test_block_of_every_layer_is_full(make_transformer, images):
    full, block = make_transformer("full"), make_transformer("block", n_blocks=6)
    assert full.state_dict().keys() == block.state_dict().keys()
    torch.testing.assert_close(full(bytes_of(images)), block(bytes_of(images)), rtol=0, atol=0)


def test_one_block_with_zero_queries_is_the_plain_network(make_transformer, images):
    # Half the residual stream is the same to layers behind a norm, up to the norm's epsilon.
    one, plain = make_transformer("block", n_blocks=1), make_transformer("none")
    state = {name: value for name, value in one.state_dict().items() if "_read." not in name}
    plain.load_state_dict(state)
    for name, parameter in one.named_parameters():
        if name.endswith("query"):
            parameter.data.zero_()
    for part in [*one.modules(), *plain.modules()]:
        if isinstance(part, torch.nn.LayerNorm):
            part.eps = 1e-14
    logits, routing = plain(bytes_of(images), return_routing=True)
    assert routing == {}
    torch.testing.assert_close(one(bytes_of(images)), logits, rtol=1e-8, atol=1e-10)


def test_weights_depend_on_the_image(make_transformer, images):
    _, routing = make_transformer()(bytes_of(images), return_routing=True)
    for alpha in list(routing.values())[1:]:
        assert alpha.std(dim=0).max() > 0.01


def test_tokens_are_linear_in_the_pixels_of_their_patch(make_transformer, images):
    module = make_transformer()
    module.standardise.set_moments([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
    tokens = module.embed(bytes_of(images)).detach().numpy()
    weight = module.patches.weight.detach().numpy()
    bias, positions = module.patches.bias.detach().numpy(), module.positions.detach().numpy()
    for patch, (top, left) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        pixels = images[:, top : top + 4, left : left + 4] / 255
        standardised = ((pixels - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]).reshape(12, -1)
        expected = standardised @ weight.T + bias + positions[patch]
        np.testing.assert_allclose(tokens[:, 1 + patch], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(tokens[:, 0], np.tile(module.cls_token.detach(), (12, 1)))


def test_bytes_are_shares_of_255(make_transformer, images):
    module = make_transformer()
    as_shares = torch.from_numpy(images / 255)
    torch.testing.assert_close(module(bytes_of(images)), module(as_shares))


def test_one_channel_may_lack_its_axis(images):
    module = VisionTransformer((8, 8, 1), 3, depth=1).eval()
    gray = torch.from_numpy(images[..., 0])
    torch.testing.assert_close(module(gray), module(gray[..., None]), rtol=0, atol=0)


def test_mean_pooling_reads_all_tokens(make_transformer, images):
    module = make_transformer(pooling="mean")
    _, routing = module(bytes_of(images), return_routing=True)
    assert routing["output_read"].shape == (12, 4, 7)
    module.positions.data.zero_()
    shuffled = images.reshape(12, 2, 4, 2, 4, 3)[:, ::-1].reshape(images.shape)
    # without positions the order of the patches is lost in the mean
    torch.testing.assert_close(module(bytes_of(images)), module(bytes_of(shuffled.copy())))


def test_rows_do_not_see_each_other(make_transformer, images):
    module = make_transformer()
    torch.testing.assert_close(module(bytes_of(images))[3:4], module(bytes_of(images[3:4])))


def test_dropout_acts_in_training_only(images):
    module = VisionTransformer((8, 8, 3), 3, depth=1, dropout=0.5)
    with torch.random.fork_rng():
        first, second = module(bytes_of(images)), module(bytes_of(images))
    assert not torch.equal(first, second)
    module.eval()
    assert torch.equal(module(bytes_of(images)), module(bytes_of(images)))


def test_all_parameters_are_trained(make_transformer, images):
    module = make_transformer()
    module(bytes_of(images)).square().sum().backward()
    idle = {name for name, p in module.named_parameters() if not p.grad.any()}
    first = "blocks.0.attention_read"
    assert idle == {f"{first}.query", f"{first}.key_gain"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"patch_size": 3},
            "`patch_size` must divide the height and the width.*got 3 for .* 8 x 8",
        ),
        ({"n_heads": 3}, "`width` must be a multiple of `n_heads`; got 64 and 3"),
        ({"residual": "dense"}, "`residual` must be one of 'none', 'block', 'full'"),
        ({"pooling": "max"}, "`pooling` must be one of"),
        ({"residual": "block", "n_blocks": 13}, "`n_blocks` must not exceed"),
        ({"dropout": 1.5}, "`dropout` must lie in"),
        ({"mlp_ratio": 0.0}, "`mlp_ratio` must lie in"),
        ({"depth": 0}, "`depth` must be at least 1"),
    ],
)
def test_parameters_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        VisionTransformer((8, 8, 3), 5, **changes)


def test_shapes_that_do_not_fit_are_named(make_transformer):
    with pytest.raises(ValueError, match=r"`image_shape` must be \(height, width, channels\)"):
        VisionTransformer((8, 8), 5)
    with pytest.raises(ValueError, match=r"\(n_samples, 8, 8, 3\); got \(2, 3, 8, 8\)"):
        make_transformer()(torch.zeros(2, 3, 8, 8))
