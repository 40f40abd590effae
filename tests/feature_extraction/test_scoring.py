import pytest
import torch

from sk_arcal.feature_extraction._readers._routes import Reading
from sk_arcal.feature_extraction._readers._scoring import SCORES, distribution, explain


def logits_of(n=40, n_experts=8, seed=0, spread=1.0):
    return spread * torch.randn(n, n_experts, generator=torch.Generator().manual_seed(seed))


def reading(scoring, k=3, *, renormalise=True, scale=1.0, dtype=torch.float32, n=40, spread=1.0):
    """What a router returns that selects by a bias, not by its scores."""
    logits = logits_of(n, spread=spread)
    scores = SCORES[scoring](logits)
    selected = (scores + logits_of(1, seed=1)).topk(k, dim=-1).indices
    factors = scores.gather(1, selected)
    if renormalise:
        factors = factors / factors.sum(dim=-1, keepdim=True)
    return Reading(logits, None, selected, (scale * factors).to(dtype))


@pytest.mark.parametrize("scoring", SCORES)
@pytest.mark.parametrize("renormalise", [True, False])
@pytest.mark.parametrize("scale", [1.0, 2.446])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_scoring_is_found_from_what_was_used(scoring, renormalise, scale, dtype):
    assert explain(reading(scoring, renormalise=renormalise, scale=scale, dtype=dtype)) == scoring


@pytest.mark.parametrize("scoring", SCORES)
def test_small_logits_of_a_fresh_model_are_enough(scoring):
    assert explain(reading(scoring, spread=0.1)) == scoring


@pytest.mark.parametrize("scoring", SCORES)
def test_one_token_is_enough(scoring):
    assert explain(reading(scoring, n=1)) == scoring


def test_softmax_over_the_selected_is_softmax():
    logits = logits_of()
    top, selected = logits.topk(4, dim=-1)
    assert explain(Reading(logits, None, selected, top.softmax(dim=-1))) == "softmax"


def test_a_common_factor_per_token_explains_nothing_away():
    # factors shared with experts outside the selection, as where shared experts take part
    known = reading("sigmoid")
    factors = known.selected_weights * torch.rand(40, 1)
    assert explain(Reading(known.logits, None, known.selected, factors)) == "sigmoid"


def test_factors_that_no_scoring_gives_are_unknown():
    known = reading("softmax")
    assert explain(Reading(known.logits, None, known.selected, torch.rand(40, 3))) == "unknown"


def test_one_selected_expert_tells_nothing():
    assert explain(reading("sigmoid", k=1)) == "unknown"


def test_logits_alone_tell_nothing():
    assert explain(Reading(logits_of())) == "unknown"


def test_factors_of_zero_are_unknown_not_an_error():
    known = reading("softmax")
    zero = torch.zeros_like(known.selected_weights)
    assert explain(Reading(known.logits, None, known.selected, zero)) == "unknown"


@pytest.mark.parametrize("scoring", SCORES)
def test_distribution_is_the_scores_over_their_sum(scoring):
    logits = logits_of()
    scores = SCORES[scoring](logits)
    expected = scores / scores.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(distribution(logits, scoring), expected)


def test_unknown_scoring_means_softmax():
    logits = logits_of()
    assert torch.equal(distribution(logits, "unknown"), logits.softmax(dim=-1))


@pytest.mark.parametrize("scoring", SCORES)
def test_distribution_of_hopeless_logits_still_sums_to_one(scoring):
    weights = distribution(torch.full((2, 4), -500.0), scoring)
    torch.testing.assert_close(weights, torch.full((2, 4), 0.25))


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64,) * 2],
)
def test_distribution_is_in_single_precision_at_least(given, computed):
    assert distribution(logits_of().to(given), "sigmoid").dtype == computed
