import numpy as np
import pytest

from sk_arcal.diagnostics._conditional import _draws
from sk_arcal.diagnostics._conditional._answer import Settings, answer, read_data
from sk_arcal.diagnostics._conditional._pooled_runs import left_out_contributions
from sk_arcal.diagnostics._conditional._routing_input import read_routing
from sk_arcal.diagnostics._conditional._runs_answer import pool_runs
from sk_arcal.diagnostics._conditional._runs_input import read_runs
from sk_arcal.diagnostics._conditional._step_down import step_down

_OPTIONS = {"items": None, "run_names": None, "feature_names": None, "routing_kind": "auto"}


def _table(n=500, seed=0):
    """One run: tied confidences, and one ordered, one discrete and one named feature."""
    rng = np.random.default_rng(seed)
    confidence = np.round(rng.uniform(0.5, 1, n), 2)
    depth, width = rng.normal(size=n), rng.integers(0, 4, n) * 1.0
    right = (rng.random(n) < confidence - 0.1 + 0.05 * np.sign(depth)) * 1.0
    return right, confidence, {"depth": depth, "width": width, "expert": rng.choice(["a", "b"], n)}


def _pool(y, confidence, tables, seed=0, n_resamples=199, **options):
    runs = read_runs(y, confidence, tables, **{**_OPTIONS, **options})
    return pool_runs(runs, 0.05, n_resamples, np.random.default_rng(seed), None)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("name", ["depth", "width", "expert"])
@pytest.mark.parametrize("items", [None, np.arange(500) // 2])
def test_copies_of_a_run_are_the_single_test_with_flipped_signs(copies, name, items, monkeypatch):
    """The same stream and the same residuals: equal p-values, not only up to their noise."""
    monkeypatch.setattr(_draws, "group_contributions", left_out_contributions)
    y, confidence, table = _table()
    pooled = _pool([y] * copies, [confidence] * copies, [{name: table[name]}] * copies, items=items)
    data = read_data(y, confidence, np.arange(500) if items is None else items)
    values = read_routing(table[name], name, "auto", 500)
    settings = Settings.checked(0.05, 0.05, 199, "shuffle")
    (expected,), _ = answer(data, [values], settings, np.random.default_rng(0))
    found = pooled.answers[0]
    assert found.pvalues[0] == expected.pvalue
    assert found.component_pvalues.tolist() == list(expected.component_pvalues.values())
    assert found.gap.summary.gap == pytest.approx(expected.gap)
    assert found.gap.summary.gap_interval == pytest.approx(expected.gap_interval)
    assert found.gap.summary.min_detectable_gap == pytest.approx(expected.min_detectable_gap)
    assert found.gap.summary.equivalence_interval == pytest.approx(expected.equivalence_interval)


def test_features_share_their_signs():
    """A feature and its copy: one p-value, and no price for asking twice."""
    y, confidence, table = _table()
    copies = {"one": table["depth"], "two": table["depth"]}
    pooled = _pool([y], [confidence], [copies])
    one, two = (answered.pvalues for answered in pooled.answers)
    np.testing.assert_array_equal(one, two)
    assert pooled.adjusted.tolist() == [one[0], one[0]]


def test_adjusted_pvalues_are_no_smaller_and_ignore_what_has_no_answer():
    y, confidence, table = _table()
    pooled = _pool([y, y], [confidence] * 2, [{**table, "one": np.ones(500)}] * 2)
    assert pooled.answers[3] is None
    assert np.isnan(pooled.adjusted[3])
    shared = np.column_stack([answered.pvalues for answered in pooled.answers[:3]])
    np.testing.assert_array_equal(pooled.adjusted[:3], step_down(shared))
    assert (pooled.adjusted[:3] >= shared[0]).all()
    assert pooled.adjusted[:3].min() > shared[0].min()


def test_order_of_runs_changes_nothing():
    tables = [_table(seed=seed) for seed in range(3)]
    y, confidence, routing = (list(column) for column in zip(*tables, strict=True))
    found = _pool(y, confidence, routing)
    turned = _pool(y[::-1], confidence[::-1], routing[::-1])
    assert found.n_bins == turned.n_bins
    for one, other in zip(found.answers, turned.answers, strict=True):
        assert one.pvalues[0] == other.pvalues[0]
        assert one.gap.summary.gap == pytest.approx(other.gap.summary.gap)
        np.testing.assert_allclose(one.gap.run_gap, other.gap.run_gap[::-1])


def test_order_of_items_changes_nothing_beyond_the_draws():
    tables = [_table(seed=seed) for seed in range(3)]
    shuffled = np.random.default_rng(5).permutation(500)
    y, confidence, routing = (list(column) for column in zip(*tables, strict=True))
    found = _pool(y, confidence, [{"depth": r["depth"]} for r in routing], n_resamples=1999)
    again = _pool(
        [row[shuffled] for row in y],
        [row[shuffled] for row in confidence],
        [{"depth": r["depth"][shuffled]} for r in routing],
        n_resamples=1999,
    )
    one, other = found.answers[0], again.answers[0]
    assert one.gap.summary.gap == pytest.approx(other.gap.summary.gap)
    assert one.gap.summary.gap_se == pytest.approx(other.gap.summary.gap_se)
    p = one.pvalues[0]
    assert abs(p - other.pvalues[0]) < 4 * np.sqrt(2 * p * (1 - p) / 2000) + 1e-9
