"""What X holds: texts, token sequences or numbers."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sk_arcal.feature_extraction._extraction._rows import (
    ArrayRows,
    TokenRows,
    sequences_of,
    texts_of,
)

TEXTS = ["a b", "c"]


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS, dtype=object)[:, None],
        pd.Series(TEXTS),
        pd.DataFrame({"text": TEXTS}),
        pl.Series(TEXTS),
        pl.DataFrame({"text": TEXTS}),
    ],
    ids=lambda X: type(X).__name__,
)
def test_texts_are_recognised(X):
    assert texts_of(X) == TEXTS


@pytest.mark.parametrize(
    "X", [np.ones((2, 3)), [[1, 2], [3]], [[0.5], [1.0]], np.ones(3), pd.DataFrame({"a": [1.0]})]
)
def test_numbers_are_no_texts(X):
    assert texts_of(X) is None


def test_missing_text_is_named():
    with pytest.raises(TypeError, match="row 1 holds None"):
        texts_of(["a", None])
    with pytest.raises(TypeError, match="a single text"):
        texts_of("a")


def test_sequences_of_different_lengths_are_tokens():
    rows = sequences_of([[1, 2, 3], [4]], None)
    assert [row.tolist() for row in rows] == [[1, 2, 3], [4]]
    assert sequences_of([np.array([1, 2]), np.array([3, 4])], None) is not None


def test_a_table_of_numbers_is_none_unless_tokens_are_expected():
    assert sequences_of([[1, 2], [3, 4]], None) is None
    assert sequences_of([[1.0, 2.0], [3.0]], None) is None
    assert sequences_of(np.ones((2, 3)), 0) is None
    assert len(sequences_of([[1, 2], [3, 4]], None, expected=True)) == 2
    assert len(sequences_of(np.array([[1, 2], [3, 4]]), None, expected=True)) == 2


def test_known_padding_is_cut_off_at_both_ends_only():
    rows = sequences_of(np.array([[0, 0, 5, 0, 6], [7, 8, 0, 0, 0]]), 0)
    assert [row.tolist() for row in rows] == [[5, 0, 6], [7, 8]]


@pytest.mark.parametrize("X", [[[1, 2], []], [[1], [[2, 3]]]])
def test_row_without_tokens_is_named(X):
    with pytest.raises(ValueError, match="Row 1 of X must be a sequence"):
        sequences_of(X, None, expected=True)


def test_digests_belong_to_the_content_of_a_row():
    tokens = TokenRows([np.array([1, 2]), np.array([3]), np.array([1, 2])])
    digests = tokens.digests()
    assert (digests[0] == digests[2]).all()
    assert (digests[0] != digests[1]).any()
    np.testing.assert_array_equal(tokens.take(np.array([2, 1])).digests(), digests[[2, 1]])
    values = np.arange(12.0).reshape(4, 3)
    arrays = ArrayRows(values)
    np.testing.assert_array_equal(arrays.take(slice(1, 3)).digests(), arrays.digests()[1:3])
    np.testing.assert_array_equal(tokens.lengths(), [2, 1, 2])
