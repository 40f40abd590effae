"""The rows of a probe: checked, thinned, dealt into folds."""

import numpy as np
import pytest

from sk_arcal.diagnostics._probing._probe_rows import deal_folds, read_rows


def read(n=100, groups=None, cv=2, max_samples=1000, seed=0):
    y, confidence = np.arange(n) % 2, np.linspace(0, 1, n)
    rng = np.random.default_rng(seed)
    return read_rows(y, confidence, groups, cv=cv, max_samples=max_samples, rng=rng)


@pytest.mark.parametrize("cv", [2, 3, 7])
def test_every_row_is_predicted_once_from_all_others(cv):
    folds = read(cv=cv).folds()
    assert len(folds) == cv
    np.testing.assert_array_equal(np.sort(np.concatenate([test for _, test in folds])), range(100))
    for fit, test in folds:
        np.testing.assert_array_equal(np.sort(np.concatenate([fit, test])), range(100))
        assert len(test) in {100 // cv, 100 // cv + 1}


def test_clusters_are_dealt_out_whole():
    cluster = np.repeat(np.arange(50), 4)[np.random.default_rng(0).permutation(200)]
    fold = deal_folds(cluster, 3, np.random.default_rng(0))
    assert all(len(set(fold[cluster == c])) == 1 for c in range(50))
    assert set(fold) == {0, 1, 2}


def test_thinning_keeps_the_rows_in_their_places():
    rows = read(n=300, max_samples=40)
    assert len(rows.kept) == 40
    assert rows.n_given == 300
    np.testing.assert_array_equal(rows.event, rows.kept % 2)
    np.testing.assert_allclose(rows.confidence, rows.kept / 299)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 1}, "at least two rows, or two groups"),
        ({"groups": ["a"] * 100}, "at least two rows, or two groups.*got 1"),
        ({"groups": np.arange(100) % 3, "cv": 4}, "`cv`=4 groups.*got 3"),
    ],
)
def test_every_fold_needs_a_group(settings, message):
    with pytest.raises(ValueError, match=message):
        read(**settings)
