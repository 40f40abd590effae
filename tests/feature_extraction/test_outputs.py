"""What is kept of a model's output."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from sk_arcal.feature_extraction._extraction._batches import Batch
from sk_arcal.feature_extraction._extraction._outputs import kept_scores
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings


def batch_of(n_rows, mask=None):
    return Batch((), {}, n_rows, None if mask is None else torch.tensor(mask))


@pytest.fixture
def logits():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (x, "hidden"),
        lambda x: {"logits": x, "loss": None},
        lambda x: SimpleNamespace(logits=x),
    ],
    ids=["tensor", "tuple", "mapping", "object"],
)
def test_logits_are_found(wrap, logits):
    kept = kept_scores(wrap(logits), batch_of(3), ExtractionSettings())
    assert torch.equal(kept, logits)


def test_half_precision_is_widened(logits):
    kept = kept_scores(logits.bfloat16(), batch_of(3), ExtractionSettings())
    assert kept.dtype == torch.float32


def test_a_single_logit_is_a_column():
    kept = kept_scores(torch.arange(3.0), batch_of(3), ExtractionSettings())
    assert kept.shape == (3, 1)


@pytest.mark.parametrize("side", ["left", "right"])
def test_options_are_read_after_the_last_real_token(side):
    logits = torch.arange(2 * 3 * 5, dtype=torch.float32).reshape(2, 3, 5)
    mask = [[True] * 3, [False, True, True] if side == "left" else [True, True, False]]
    settings = ExtractionSettings(outputs="options", option_ids=(4, 1))
    kept = kept_scores(logits, batch_of(2, mask), settings)
    last = 2 if side == "left" else 1
    np.testing.assert_array_equal(kept, [logits[0, 2, [4, 1]], logits[1, last, [4, 1]]])


def test_confidence_is_the_log_odds_of_the_top_class_also_near_one():
    logits = torch.tensor([[0.3, -0.2, 1.0], [60.0, 0.0, 0.0], [0.0, 0.0, 200.0]])
    kept = kept_scores(logits, batch_of(3), ExtractionSettings(outputs="confidence")).numpy()
    for row, expected in zip(logits.numpy().astype(float), kept, strict=True):
        top = row.argmax()
        assert expected[1] == top
        log_odds = row[top] - logsumexp(np.delete(row, top))
        np.testing.assert_allclose(expected[0], log_odds, rtol=1e-6)


def test_no_outputs_need_no_logits():
    kept = kept_scores(object(), batch_of(3), ExtractionSettings(outputs=None))
    assert kept.shape == (3, 0)


@pytest.mark.parametrize(
    ("output", "settings", "error", "message"),
    [
        (torch.zeros(2, 3, 4), {}, ValueError, "outputs='options'"),
        (torch.zeros(3, 4), {}, ValueError, "3 rows of logits for 2 rows"),
        (SimpleNamespace(hidden=1), {}, TypeError, "without logits"),
        ({"loss": torch.zeros(2)}, {}, TypeError, "without logits"),
        (torch.zeros(2, 1), {"outputs": "confidence"}, ValueError, "log-odds already"),
        (torch.zeros(2, 1, 2, 3), {"outputs": "confidence"}, ValueError, "vocabulary"),
        (
            torch.zeros(2, 3),
            {"outputs": "options", "option_ids": (1, 3)},
            ValueError,
            "token 3, but the model scores 3",
        ),
    ],
)
def test_output_that_does_not_fit_is_refused(output, settings, error, message):
    with pytest.raises(error, match=message):
        kept_scores(output, batch_of(2), ExtractionSettings(**settings))
