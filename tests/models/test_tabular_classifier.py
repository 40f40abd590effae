import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone

from sk_arcal.models import TabularTransformerClassifier


@pytest.fixture
def small():
    return TabularTransformerClassifier(
        width=8, depth=1, n_heads=2, max_epochs=3, learning_rate=0.02, random_state=0
    )


def table(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(5, 3, (n, 3))
    return X, (X[:, 0] > 5).astype(int)


@pytest.mark.parametrize("residual", ["none", "block", "full"])
def test_interactions_are_learned(residual):
    X = np.random.default_rng(0).uniform(-1, 1, (800, 3)).astype(np.float32)
    y = X[:, 0] * X[:, 1] > 0
    model = TabularTransformerClassifier(
        width=8,
        depth=2,
        max_epochs=8,
        learning_rate=0.02,
        residual=residual,
        random_state=0,
        batch_size=32,
    ).fit(X[:500], y[:500])
    assert model.score(X[500:], y[500:]) > 0.9


def test_queries_leave_zero_in_training(small):
    X, y = table()
    module = small.set_params(depth=2).fit(X, y).module_
    assert all(module.get_submodule(path).query.any() for path in module.read_paths()[1:])


def test_units_of_the_columns_do_not_matter(small):
    X, y = table()
    expected = clone(small).fit(X, y).predict_proba(X)
    scaled = 1e6 * X + 1e9
    np.testing.assert_allclose(
        clone(small).fit(scaled, y).predict_proba(scaled), expected, atol=1e-6
    )


def test_constant_column_changes_nothing_but_its_token(small):
    X, y = table()
    X = np.column_stack([X, np.full(60, 3.0)])
    probability = small.fit(X, y).predict_proba(X)
    assert np.isfinite(probability).all()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_tables_with_names_are_checked_by_name(small, frame):
    X, y = table()
    named = frame(dict(zip("abc", X.T, strict=True)))
    small.fit(named, y)
    assert small.feature_names_in_.tolist() == ["a", "b", "c"]
    expected = clone(small).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(small.predict_proba(named), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        small.predict(named[["c", "b", "a"]])


def test_precision_is_that_of_the_table(small):
    X, y = table()
    double, single = clone(small).fit(X, y), clone(small).fit(X.astype(np.float32), y)
    assert double.module_.head.weight.dtype == torch.float64
    assert single.module_.head.weight.dtype == torch.float32
    np.testing.assert_allclose(single.predict_proba(X), double.predict_proba(X), atol=0.02)
    assert single.predict_proba(X).dtype == np.float64


def test_gaps_are_refused(small):
    X, y = table()
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        small.fit(X, y)
