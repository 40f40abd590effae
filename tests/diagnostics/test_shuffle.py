import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import chisquare, spearmanr

from sk_arcal.diagnostics._confidence_bins import confidence_bins
from sk_arcal.diagnostics._shuffle import shuffle_within_bins


@pytest.fixture
def confidence():
    return np.random.default_rng(0).beta(5, 1, 1000)


def test_values_stay_in_their_bin(confidence):
    rows = np.arange(1000)
    codes, _ = confidence_bins(confidence)
    shuffled = shuffle_within_bins(rows, confidence, random_state=0)
    assert sorted(shuffled) == rows.tolist()
    np.testing.assert_array_equal(codes[shuffled], codes)
    assert (shuffled == rows).mean() < 0.05


def test_rows_of_a_matrix_move_as_a_whole(confidence):
    pairs = np.column_stack([np.arange(1000), -np.arange(1000)])
    shuffled = shuffle_within_bins(pairs, confidence, random_state=0)
    np.testing.assert_array_equal(shuffled[:, 0], -shuffled[:, 1])


def test_each_place_of_a_bin_is_equally_likely():
    rng = np.random.default_rng(0)
    places = [
        int(np.argmax(shuffle_within_bins(np.arange(40) == 0, np.full(40, 0.5), random_state=rng)))
        for _ in range(4000)
    ]
    assert chisquare(np.bincount(places, minlength=40)).pvalue > 1e-3


def test_relation_to_confidence_is_kept_and_to_the_outcome_lost(confidence):
    y = np.random.default_rng(1).random(1000) < confidence
    planted = confidence + y
    shuffled = shuffle_within_bins(planted, confidence, random_state=0)
    residual = y - confidence
    assert np.corrcoef(residual, planted)[0, 1] > 0.5
    assert abs(np.corrcoef(residual, shuffled)[0, 1]) < 0.1
    only_confidence = shuffle_within_bins(confidence, confidence, random_state=0)
    assert spearmanr(only_confidence, confidence).statistic > 0.99


def test_frames_keep_their_kind(confidence):
    columns = {"a": np.arange(1000), "b": np.arange(1000) % 7}
    array = shuffle_within_bins(columns["a"], confidence, random_state=0)
    frame = pd.DataFrame(columns, index=np.arange(1000) + 5)
    shuffled = shuffle_within_bins(frame, confidence, random_state=0)
    np.testing.assert_array_equal(shuffled["a"], array)
    assert shuffled.index.equals(frame.index)
    other = shuffle_within_bins(pl.DataFrame(columns), confidence, random_state=0)
    np.testing.assert_array_equal(other["a"].to_numpy(), array)


def test_input_is_left_alone(confidence):
    values = np.arange(1000)
    shuffle_within_bins(values, confidence, random_state=0)
    np.testing.assert_array_equal(values, np.arange(1000))


def test_same_seed_same_shuffle(confidence):
    first, second = (
        shuffle_within_bins(np.arange(1000), confidence, random_state=4) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.arange(5), "`values` has 5 rows where 1000"), (3, "`values` must have shape")],
)
def test_wrong_shapes_are_named(confidence, values, message):
    with pytest.raises(ValueError, match=message):
        shuffle_within_bins(values, confidence)
