import numpy as np
import pytest
import torch

from sk_arcal._routing import TOKEN_REDUCTIONS, route_statistics
from sk_arcal.feature_extraction._readers._pooling import pool, token_statistics
from sk_arcal.feature_extraction._readers._routes import Routes

LENGTHS = (5, 2, 1)


def routes_of(n_rows=3, n_tokens=5, n_routes=4, k=2, dtype=torch.float32, seed=0):
    rng = torch.Generator().manual_seed(seed)
    weights = torch.rand(n_rows, n_tokens, n_routes, generator=rng, dtype=torch.float64)
    selected = torch.rand(n_rows, n_tokens, n_routes, generator=rng).argsort(dim=-1)[..., :k]
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return Routes(weights.to(dtype), selected=selected)


def mask_of(side, n_tokens=5):
    mask = torch.zeros(len(LENGTHS), n_tokens, dtype=torch.bool)
    for i, length in enumerate(LENGTHS):
        mask[i, n_tokens - length :] = side == "left"
        mask[i, :length] |= side == "right"
    return mask


def by_hand(routes, mask, reduction):
    """The definition, token by token."""
    weights, selected = routes.weights.double().numpy(), routes.selected.numpy()
    pooled, statistics, loads = [], [], []
    for row in range(len(weights)):
        tokens = [t for t in range(weights.shape[1]) if mask is None or mask[row, t]]
        tokens = {"mean": tokens, "cls": tokens[:1], "last": tokens[-1:]}[reduction]
        pooled.append(np.mean([weights[row, t] for t in tokens], axis=0))
        statistics.append(np.mean([route_statistics(weights[row, t]) for t in tokens], axis=0))
        counts = np.zeros(weights.shape[2])
        for t in tokens:
            for slot in selected[row, t]:
                counts[slot] += slot >= 0
        loads.append(counts / max(counts.sum(), 1))
    return np.array(pooled), np.array(statistics), np.array(loads)


@pytest.mark.parametrize("reduction", TOKEN_REDUCTIONS)
@pytest.mark.parametrize("side", ["left", "right", None])
def test_pooling_is_its_definition(reduction, side):
    routes, mask = routes_of(), None if side is None else mask_of(side)
    got = pool(routes, mask, reduction)
    for tensor, expected in zip(
        (got.weights, got.statistics, got.load), by_hand(routes, mask, reduction), strict=True
    ):
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", TOKEN_REDUCTIONS)
def test_a_mask_with_gaps_counts_what_is_marked(reduction):
    routes = routes_of(n_rows=1)
    mask = torch.tensor([[0, 1, 0, 1, 0]])
    got = pool(routes, mask, reduction)
    np.testing.assert_allclose(
        got.weights.numpy(), by_hand(routes, mask.numpy(), reduction)[0], rtol=1e-6
    )


@pytest.mark.parametrize("reduction", TOKEN_REDUCTIONS)
def test_not_a_number_in_padding_stays_there(reduction):
    routes, mask = routes_of(), mask_of("left")
    clean = pool(routes, mask, reduction)
    routes.weights[~mask] = torch.nan
    got = pool(routes, mask, reduction)
    assert torch.equal(got.weights, clean.weights)
    assert torch.equal(got.statistics, clean.statistics)


def test_side_of_the_padding_does_not_matter():
    routes = routes_of()
    right = mask_of("right")
    moved = Routes(routes.weights.flip(1), selected=routes.selected.flip(1))
    torch.testing.assert_close(
        pool(routes, right, "mean").weights, pool(moved, right.flip(1), "mean").weights
    )
    first = pool(routes, right, "cls").weights
    assert torch.equal(first, pool(moved, right.flip(1), "last").weights)


def test_statistics_are_averaged_and_not_taken_of_the_average():
    sure = Routes(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    got = pool(sure, None, "mean")
    np.testing.assert_allclose(got.weights, [[0.5, 0.5]])
    np.testing.assert_allclose(got.statistics, [[0.0, 1.0, 1.0, 1.0]])


def test_zero_weights_have_no_entropy_and_even_ones_all_of_it():
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    expected = [[0.0, 1.0, 1.0, 1.0], [np.log(4), 0.25, 0.0, 4.0]]
    np.testing.assert_allclose(token_statistics(weights), expected, rtol=1e-6)


def test_single_route_has_a_margin_of_one():
    np.testing.assert_allclose(token_statistics(torch.ones(1, 1)), [[0.0, 1.0, 1.0, 1.0]])


def test_statistics_are_those_of_the_profile():
    weights = routes_of(dtype=torch.float64).weights
    np.testing.assert_allclose(
        token_statistics(weights), route_statistics(weights.numpy()), rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_kept(dtype):
    got = pool(routes_of(dtype=dtype), mask_of("right"), "mean")
    assert {got.weights.dtype, got.statistics.dtype, got.load.dtype} == {dtype}


def test_double_precision_is_exact():
    routes = routes_of(dtype=torch.float64)
    got = pool(routes, mask_of("right"), "mean")
    np.testing.assert_allclose(
        got.weights, by_hand(routes, mask_of("right"), "mean")[0], rtol=1e-14
    )


def test_empty_slots_are_no_load():
    routes = routes_of(n_rows=1, n_tokens=2)
    full = Routes(routes.weights, selected=torch.tensor([[[0, -1], [3, 0]]]))
    np.testing.assert_allclose(pool(full, None, "mean").load, [[2 / 3, 0, 0, 1 / 3]])


def test_row_whose_slots_are_all_empty_has_no_load():
    routes = routes_of(n_rows=1, n_tokens=2)
    empty = Routes(routes.weights, selected=torch.full((1, 2, 1), -1))
    np.testing.assert_allclose(pool(empty, None, "mean").load, [[0, 0, 0, 0]])


def test_load_is_unknown_where_the_selection_is():
    assert pool(Routes(routes_of().weights), None, "mean").load is None


@pytest.mark.parametrize("reduction", TOKEN_REDUCTIONS)
def test_site_with_tokens_of_its_own_is_pooled_if_nothing_is_padding(reduction):
    routes = routes_of(n_rows=2, n_tokens=7)
    everything = torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(
        pool(routes, everything, reduction).weights, pool(routes, None, reduction).weights
    )


def test_site_with_tokens_of_its_own_is_refused_beside_padding():
    with pytest.raises(ValueError, match="7 tokens a row where `mask` has 5"):
        pool(routes_of(n_tokens=7), mask_of("left"), "mean")


@pytest.mark.parametrize("shape", [(2, 5), (3,), (3, 5, 1)])
def test_mask_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"`mask` must have shape .* with 3 rows"):
        pool(routes_of(), torch.ones(shape), "mean")


def test_row_without_tokens_is_refused():
    mask = mask_of("left")
    mask[1] = False
    with pytest.raises(ValueError, match="Row 1 has no real token"):
        pool(routes_of(), mask, "mean")


def test_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="`reduction` must be one of 'mean', 'cls', 'last'"):
        pool(routes_of(), None, "max")


def test_integer_mask_is_a_mask():
    routes, mask = routes_of(), mask_of("left")
    assert torch.equal(pool(routes, mask.long(), "last").load, pool(routes, mask, "last").load)
