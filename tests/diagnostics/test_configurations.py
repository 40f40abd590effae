"""Cells of like gates and like expert outputs."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from sk_arcal.diagnostics import _configurations
from sk_arcal.diagnostics._configurations import routing_configurations
from sk_arcal.diagnostics._disagreement import expert_disagreement
from tests.diagnostics.mixture_fixtures import fixture_a, fixture_b


def mixture(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, 3)), rng.dirichlet([1, 1, 1], n)


@pytest.mark.parametrize("table", [fixture_a(2), fixture_b(2)], ids=["a", "b"])
@pytest.mark.parametrize("n_configurations", [4, 8])
def test_finds_the_configurations_of_a_table_and_no_more(table, n_configurations):
    codes = routing_configurations(
        table.expert_prob, table.gates, n_configurations=n_configurations, random_state=0
    )
    assert adjusted_rand_score(codes, table.codes) == 1
    assert sorted(set(codes)) == list(range(len(set(table.codes))))


def test_is_kmeans_on_standardised_coordinates():
    experts, gates = mixture()
    points = np.hstack([gates, experts])
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    ours = routing_configurations(experts, gates, n_configurations=5, random_state=0)
    inertia = sum(
        ((points[ours == k] - points[ours == k].mean(axis=0)) ** 2).sum() for k in set(ours)
    )
    reference = KMeans(5, n_init=10, random_state=0).fit(points).inertia_
    assert inertia == pytest.approx(reference, rel=0.02)


def test_codes_are_sorted_by_the_first_gate_of_the_centre():
    experts, gates = mixture()
    codes = routing_configurations(experts, gates, n_configurations=6, random_state=3)
    centres = [gates[codes == k, 0].mean() for k in range(6)]
    assert centres == sorted(centres)


def test_codes_do_not_hang_on_the_order_in_which_clusters_are_found():
    table = fixture_b(3)
    found = [
        routing_configurations(table.expert_prob, table.gates, random_state=seed)
        for seed in range(8)
    ]
    for codes in found:
        np.testing.assert_array_equal(codes, table.codes)


def test_ties_of_the_first_gate_are_broken_by_what_follows():
    experts = np.repeat([[0.9, 0.5], [0.1, 0.5], [0.5, 0.5]], 5, axis=0)
    for seed in range(5):
        codes = routing_configurations(experts, np.full((15, 2), 0.5), random_state=seed)
        assert codes[::5].tolist() == [2, 0, 1]


@pytest.mark.parametrize("method", ["kmeans", "disagreement"])
def test_cells_are_found_on_the_fit_rows_alone(method):
    experts, gates = mixture()
    fit_rows = np.arange(600) < 300
    settings = {"method": method, "fit_rows": fit_rows, "random_state": 0}
    codes = routing_configurations(experts, gates, **settings)
    # Other rows elsewhere change nothing for the rows that stay.
    moved_experts, moved_gates = experts.copy(), gates.copy()
    moved_experts[450:], moved_gates[450:] = 0.99, [0.98, 0.01, 0.01]
    moved = routing_configurations(moved_experts, moved_gates, **settings)
    np.testing.assert_array_equal(codes[:450], moved[:450])
    everywhere = routing_configurations(moved_experts, moved_gates, method=method, random_state=0)
    assert (everywhere[:450] != codes[:450]).any()


def test_same_values_at_every_row_make_one_cell():
    codes = routing_configurations(np.full((50, 2), 0.3), np.full((50, 2), 0.5))
    assert set(codes) == {0}
    codes = routing_configurations(
        np.full((50, 2), 0.3), np.full((50, 2), 0.5), method="disagreement"
    )
    assert set(codes) == {0}


def test_values_that_differ_by_rounding_are_one():
    experts = np.array([[0.8, 0.8], [np.nextafter(0.8, 1), 0.8], [0.1, 0.8]] * 4)
    codes = routing_configurations(experts, np.full((12, 2), 0.5))
    assert codes.tolist() == [1, 1, 0] * 4


def test_disagreement_is_top_expert_and_tercile():
    experts, gates = mixture()
    codes = routing_configurations(experts, gates, method="disagreement")
    np.testing.assert_array_equal(codes // 3, gates.argmax(axis=1))
    apart = expert_disagreement(experts, gates)
    assert np.bincount(codes % 3).tolist() == [200, 200, 200]
    assert apart[codes % 3 == 0].max() < apart[codes % 3 == 1].min()
    assert apart[codes % 3 == 1].max() < apart[codes % 3 == 2].min()


@pytest.mark.parametrize("method", ["kmeans", "disagreement"])
def test_event_and_its_two_classes_have_the_same_cells(method):
    experts, gates = mixture()
    pair = np.stack([1 - experts, experts], axis=2)
    np.testing.assert_array_equal(
        routing_configurations(experts, gates, method=method, random_state=0),
        routing_configurations(pair, gates, method=method, random_state=0),
    )


def test_classes_are_read_at_the_top_of_the_mixture():
    # The experts' own top classes differ; what they give the mixture's tells the rows apart.
    experts = np.array([[[0.6, 0.3, 0.1], [0.6, 0.1, 0.3]], [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]] * 5)
    codes = routing_configurations(experts, np.full((10, 2), [0.8, 0.2]))
    assert codes.tolist() == [1, 0] * 5


def test_cells_of_many_rows_are_found_on_some_of_them(monkeypatch):
    experts, gates = mixture(3000)
    table = fixture_b(75)
    monkeypatch.setattr(_configurations, "_MOST_FIT_ROWS", 500)
    codes = routing_configurations(table.expert_prob, table.gates, random_state=0)
    np.testing.assert_array_equal(codes, table.codes)
    some = routing_configurations(experts, gates, n_configurations=4, random_state=0)
    monkeypatch.undo()
    whole = routing_configurations(experts, gates, n_configurations=4, random_state=0)
    assert (some != whole).any()
    points = np.hstack([gates, experts]) / np.hstack([gates, experts]).std(axis=0)

    def inertia(codes):
        return sum(((points[codes == k] - points[codes == k].mean(0)) ** 2).sum() for k in range(4))

    assert inertia(some) < 1.03 * inertia(whole)


def test_same_seed_same_codes():
    experts, gates = mixture()
    first, second = (routing_configurations(experts, gates, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    seeded = routing_configurations(experts, gates, random_state=np.random.default_rng(7))
    np.testing.assert_array_equal(first, seeded)


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"method": "gmm"}, ValueError, "`method` must be one of 'kmeans', 'disagreement'"),
        ({"n_configurations": 0}, ValueError, "`n_configurations` must be at least 1"),
        ({"fit_rows": [0, 1]}, ValueError, "`fit_rows` must be booleans"),
        ({"fit_rows": [True]}, ValueError, r"`fit_rows` must be booleans of shape \(2,\)"),
        ({"fit_rows": [False, False]}, ValueError, "true in 0 rows"),
    ],
)
def test_refuses(settings, error, match):
    good = {"expert_prob": [[0.2, 0.7]] * 2, "gates": [[0.5, 0.5]] * 2}
    with pytest.raises(error, match=match):
        routing_configurations(**good | settings)
