"""Counts and the gap that is read from them, against regressions on the rows."""

import numpy as np
import pytest

from sk_arcal.audit._reading._rows import Coded
from sk_arcal.audit._streaming._cells import (
    MOST_LEVELS,
    ConfidenceCells,
    LevelCells,
    NumericCells,
    confidence_edges,
    quantile_edges,
)
from sk_arcal.audit._streaming._gap import Bins, streamed_gap, thirds
from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import conditional_calibration_test


def draw(n, seed=0, slope=0.1):
    """Rows whose event rate bends with the confidence and moves with a feature."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(3, 1, n)
    feature = 2 * confidence + rng.normal(size=n)
    noise = feature - 2 * confidence
    rate = np.clip(0.2 + 0.6 * confidence**2 + slope * np.sign(noise), 0, 1)
    return (rng.random(n) < rate).astype(float), confidence, feature


def count(event, confidence, values, edges=None, n_chunks=1):
    """Return the cells of all rows, added chunk by chunk."""
    cells = ConfidenceCells(confidence_edges(confidence[:2000]) if edges is None else edges)
    names = isinstance(values, Coded)
    table = (
        LevelCells(len(cells.edges))
        if names
        else NumericCells(len(cells.edges), quantile_edges(values[:2000], 96))
    )
    for rows in np.array_split(np.arange(len(event)), n_chunks):
        part = Coded(values.names, values.codes[rows]) if names else values[rows]
        table.add(event[rows], *cells.add(event[rows], confidence[rows]), part)
    return cells, table


def regression(event, confidence, contrast, bins):
    """Coefficient and Hinkley's standard error of a contrast beside a line in every bin."""
    design = [contrast]
    for b in np.unique(bins):
        inside = bins == b
        design += [inside * 1.0, inside * (confidence - confidence[inside].mean())]
    design = np.stack(design, axis=1)
    solution = np.linalg.lstsq(design, event, rcond=None)[0]
    residual = event - design @ solution
    own = contrast - design[:, 1:] @ np.linalg.lstsq(design[:, 1:], contrast, rcond=None)[0]
    n = np.bincount(bins)[bins]
    return solution[0], np.sqrt((n / (n - 2) * own**2 * residual**2).sum()) / (own @ own)


def bin_of_rows(cells, confidence, n_rows=300):
    """Bins of the documented size, from ranks of cells."""
    place = np.searchsorted(cells.edges[1:], confidence, side="right")
    sizes = np.bincount(place, minlength=len(cells.edges))
    middle = np.cumsum(sizes) - sizes / 2
    return np.floor(max(len(confidence) // n_rows, 5) * middle / len(confidence)).astype(int)[place]


def test_gap_of_a_level_is_the_coefficient_of_a_regression_on_all_rows():
    event, confidence, feature = draw(6000)
    codes = (feature > 2.2).astype(np.intp)
    cells, table = count(event, confidence, Coded(np.array(["low", "top"]), codes))
    gap = streamed_gap("kind", cells, table, independent=True)
    bins = np.unique(bin_of_rows(cells, confidence), return_inverse=True)[1]
    expected, error = regression(event, confidence, codes * 1.0, bins)
    assert gap.contrast == "routing top minus the rest"
    assert gap.gap == pytest.approx(expected, abs=1e-12)
    assert gap.gap_se == pytest.approx(error, rel=0.01)
    np.testing.assert_allclose(
        [gap.gap_low, gap.gap_high], expected + 1.959964 * gap.gap_se * np.array([-1, 1]), atol=1e-7
    )


def test_gap_of_thirds_is_the_regression_on_shares_of_thirds():
    event, confidence, feature = draw(6000, seed=1)
    cells, table = count(event, confidence, feature)
    bins = np.unique(bin_of_rows(cells, confidence), return_inverse=True)[1]
    place = np.searchsorted(table.edges, feature, side="right")
    phi, lost = np.empty((2, len(event)))
    for b in np.unique(bins):
        rows = np.flatnonzero(bins == b)
        n = len(rows)
        for j in np.unique(place[rows]):
            # Ranks of the ties, spread evenly, counted one by one on a fine grid.
            low, high = (place[rows] < j).sum() / n, (place[rows] <= j).sum() / n
            grid = low + (high - low) * (np.arange(3000) + 0.5) / 3000
            third = (grid > 2 / 3) * 1.0 - (grid < 1 / 3)
            inside = rows[place[rows] == j]
            phi[inside], lost[inside] = third.mean(), third.var()
    expected, _ = regression(event, confidence, phi, bins)
    own = phi.copy()
    for b in np.unique(bins):
        inside = bins == b
        line = np.polynomial.Polynomial.fit(confidence[inside], phi[inside], 1)
        own[inside] -= line(confidence[inside])
    shrunk = own @ own / (own @ own + lost.sum() * (1 - 2 * len(np.unique(bins)) / len(event)))
    gap = streamed_gap("x", cells, table, independent=True)
    assert gap.gap == pytest.approx(2 * expected * shrunk, abs=2e-5)


def test_gap_is_that_of_the_conditional_test_within_a_fraction_of_its_error():
    event, confidence, feature = draw(20_000, seed=2, slope=0.05)
    test = conditional_calibration_test(event, confidence, feature, n_resamples=19, random_state=0)
    gap = streamed_gap("x", *count(event, confidence, feature), independent=True)
    assert gap.gap == pytest.approx(test.gap, abs=0.3 * test.gap_se)
    assert gap.gap_se == pytest.approx(test.gap_se, rel=0.05)


def test_intervals_cover_no_effect_although_the_feature_follows_the_confidence():
    inside = 0
    for seed in range(40):
        event, confidence, feature = draw(4000, seed=100 + seed, slope=0.0)
        gap = streamed_gap("x", *count(event, confidence, feature), independent=True)
        inside += gap.gap_low <= 0 <= gap.gap_high
    assert inside >= 34


def test_known_effect_is_found():
    data = make_routing_data(60_000, effect="step", strength=0.1, random_state=0)
    cells = count(data.y.astype(float), data.confidence, data.routing[:, 0])
    gap = streamed_gap("x", *cells, independent=True)
    top, bottom = (data.routing[:, 0] > np.quantile(data.routing[:, 0], q) for q in (2 / 3, 1 / 3))
    extra = data.true_proba - data.confidence if hasattr(data, "true_proba") else None
    if extra is not None:
        truth = extra[top].mean() - extra[~bottom].mean()
        assert gap.gap_low < truth < gap.gap_high
    assert gap.gap_low > 0.05


@pytest.mark.parametrize("n_chunks", [2, 7])
def test_chunks_and_merged_shards_give_the_figures_of_all_rows(n_chunks):
    event, confidence, feature = draw(3000, seed=4)
    names = np.array(["a", "b", "c"])
    for values in (feature, Coded(names, np.digitize(feature, [1.5, 2.5]))):
        cells, table = count(event, confidence, values)
        whole = streamed_gap("x", cells, table, independent=True)
        cut = streamed_gap(
            "x", *count(event, confidence, values, cells.edges, n_chunks), independent=True
        )
        first, second = ConfidenceCells(cells.edges), ConfidenceCells(cells.edges)
        one, two = table.empty(), table.empty()
        for part, own, rows in ((first, one, slice(0, 1000)), (second, two, slice(1000, None))):
            coded = isinstance(values, Coded)
            some = Coded(names, values.codes[rows]) if coded else values[rows]
            own.add(event[rows], *part.add(event[rows], confidence[rows]), some)
        first.merge(second)
        one.merge(two)
        merged = streamed_gap("x", first, one, independent=True)
        for found in (cut, merged):
            assert found.gap == pytest.approx(whole.gap, abs=1e-12)
            assert found.gap_se == pytest.approx(whole.gap_se, abs=1e-12)
            assert found.contrast == whole.contrast


def test_two_numbers_are_compared_as_levels():
    event, confidence, feature = draw(3000, seed=5)
    values = np.where(feature > 2, 4.0, -1.0)
    gap = streamed_gap("x", *count(event, confidence, values), independent=True)
    named = Coded(np.array(["-1", "4"]), (values > 0).astype(np.intp))
    level = streamed_gap("x", *count(event, confidence, named), independent=True)
    assert gap.contrast == "routing 4 minus the rest"
    assert gap.gap == pytest.approx(level.gap, abs=1e-12)


def test_more_levels_widen_the_interval():
    event, confidence, feature = draw(3000, seed=6)
    two = Coded(np.array(["a", "b"]), (feature > 2).astype(np.intp))
    four = Coded(np.array(list("abcd")), np.digitize(feature, [1, 2, 3]))
    widths = []
    for values in (two, four):
        gap = streamed_gap("x", *count(event, confidence, values), independent=True)
        widths.append((gap.gap_high - gap.gap_low) / gap.gap_se)
    np.testing.assert_allclose(widths, [2 * 1.959964, 2 * 2.497705], rtol=1e-5)


def test_constant_feature_has_no_gap():
    event, confidence, _ = draw(500)
    gap = streamed_gap("x", *count(event, confidence, np.ones(500)), independent=True)
    assert np.isnan([gap.gap, gap.gap_low, gap.gap_high]).all()
    assert gap.largest_cell == 1


def test_too_many_levels_are_not_counted_however_they_come():
    event, confidence, _ = draw(2 * MOST_LEVELS)
    names = np.array([f"level {k}" for k in range(2 * MOST_LEVELS)])
    values = Coded(names, np.arange(len(names)))
    for n_chunks in (1, 5):
        cells, table = count(event, confidence, values, n_chunks=n_chunks)
        gap = streamed_gap("x", cells, table, independent=True)
        assert np.isnan(gap.gap)
        assert gap.contrast == "more than 256 levels, not counted"
    fresh = table.empty()
    fresh.merge(table)
    assert fresh.is_full


def test_without_independence_there_is_no_interval():
    gap = streamed_gap("x", *count(*draw(1000)), independent=False)
    assert np.isfinite(gap.gap)
    assert np.isnan([gap.gap_low, gap.gap_high, gap.gap_se]).all()


def test_thirds_average_over_ties():
    phi, lost = thirds(np.array([[1.0, 0, 1, 1], [2, 0, 1, 3]]))
    np.testing.assert_allclose(phi[0], [-1, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(lost[0], 0, atol=1e-12)
    # A cell of ranks 1/2 to 1 lies in the top third with two of three parts.
    np.testing.assert_allclose(phi[1], [-1, 0, 0, 2 / 3], atol=1e-12)
    assert lost[1, 3] == pytest.approx(2 / 3 - 4 / 9)


def test_no_digits_are_lost_next_to_one():
    rng = np.random.default_rng(0)
    confidence = 1 - 1e-6 * rng.random(4000)
    level = (rng.random(4000) < 0.5).astype(np.intp)
    event = (rng.random(4000) < 0.8 + 0.1 * level).astype(float)
    cells, table = count(event, confidence, Coded(np.array(["a", "b"]), level))
    bins = Bins.of(cells, table)
    own = np.unique(bin_of_rows(cells, confidence), return_inverse=True)[1]
    squares = [((confidence[own == b] - confidence[own == b].mean()) ** 2).sum() for b in range(13)]
    np.testing.assert_allclose(bins.squares, squares[: len(bins.squares)], rtol=1e-6)
