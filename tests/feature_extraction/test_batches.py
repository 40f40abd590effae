"""Rows as tensors."""

import numpy as np
import pytest
import torch

from sk_arcal.feature_extraction._extraction._batches import Caller
from sk_arcal.feature_extraction._extraction._rows import ArrayRows, TokenRows
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings

TOKENS = TokenRows([np.array([5, 6, 7]), np.array([8])])


def caller(*accepted):
    return Caller(frozenset(accepted), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [
        ("left", [[5, 6, 7], [9, 9, 8]], [[1, 1, 1], [0, 0, 1]]),
        ("right", [[5, 6, 7], [8, 9, 9]], [[1, 1, 1], [1, 0, 0]]),
    ],
)
def test_sequences_are_filled_up_and_masked(side, ids, mask):
    settings = ExtractionSettings(padding_side=side, pad_token_id=9)
    batch = caller("input_ids", "attention_mask", "use_cache").batch(TOKENS, settings)
    assert batch.kwargs["input_ids"].tolist() == ids
    assert batch.kwargs["attention_mask"].tolist() == mask
    assert batch.mask.tolist() == np.array(mask, dtype=bool).tolist()
    assert batch.kwargs["use_cache"] is False
    assert batch.n_rows == 2


def test_left_padding_counts_positions_from_the_first_real_token():
    settings = ExtractionSettings(padding_side="left")
    module = caller("input_ids", "attention_mask", "position_ids", "logits_to_keep")
    batch = module.batch(TOKENS, settings)
    assert batch.kwargs["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert batch.kwargs["logits_to_keep"] == 1


def test_a_module_without_names_gets_tokens_first():
    batch = caller("tokens", "attention_mask").batch(TOKENS, ExtractionSettings())
    assert batch.args[0].shape == (2, 3)
    assert set(batch.kwargs) == {"attention_mask"}


def test_a_module_without_mask_takes_one_length_only():
    same = TokenRows([np.array([1, 2]), np.array([3, 4])])
    assert caller("x").batch(same, ExtractionSettings()).args[0].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="takes no `attention_mask`"):
        caller("x").batch(TOKENS, ExtractionSettings())


def test_numbers_take_the_precision_of_the_module_and_integers_stay():
    rows = ArrayRows(np.ones((2, 3)))
    assert caller("x").batch(rows, ExtractionSettings()).args[0].dtype == torch.float32
    images = ArrayRows(np.ones((2, 4, 4, 3), dtype=np.uint8))
    assert caller("x").batch(images, ExtractionSettings()).args[0].dtype == torch.uint8


def test_a_table_of_integers_holds_numbers_unless_the_module_takes_tokens():
    table = ArrayRows(np.arange(6).reshape(2, 3))
    assert caller("x").batch(table, ExtractionSettings()).args[0].dtype == torch.float32
    assert caller("input_ids").batch(table, ExtractionSettings()).args[0].dtype == torch.int64


def test_preprocess_may_return_an_array_or_named_arguments():
    rows = ArrayRows(np.ones((2, 3)))
    doubled = ExtractionSettings(preprocess=lambda batch: 2 * batch)
    assert caller("x").batch(rows, doubled).args[0].tolist() == [[2.0] * 3] * 2
    named = ExtractionSettings(preprocess=lambda batch: {"pixel_values": batch})
    assert caller("x").batch(rows, named).kwargs["pixel_values"].shape == (2, 3)
