import pickle

import numpy as np
import pytest

from sk_arcal.metrics import (
    CalibrationHistogram,
    calibration_error_interval,
    expected_calibration_error,
    group_calibration_error,
    maximum_calibration_error,
    noise_floor,
    reliability_table,
    smooth_calibration_error,
    squared_calibration_error,
)


@pytest.fixture
def rows(rng):
    """Overconfident predictions, a third of them on edges of bins, with groups and weights."""
    n = 6000
    y_prob = rng.random(n)
    y_prob[: n // 3] = rng.integers(0, 61, n // 3) / 60
    y_true = (rng.random(n) < 0.2 + 0.6 * y_prob).astype(float)
    return y_true, y_prob, np.array(["b", "a", "c"])[rng.integers(0, 3, n)], rng.integers(0, 4, n)


def batches(rows, n_batches, *, grouped=False, weighted=False, **params):
    """One histogram for each batch."""
    parts = zip(*(np.array_split(array, n_batches) for array in rows), strict=True)
    return [
        CalibrationHistogram(**params).update(
            y_true,
            y_prob,
            groups=groups if grouped else None,
            sample_weight=weight if weighted else None,
        )
        for y_true, y_prob, groups, weight in parts
    ]


def merged(histograms):
    total = histograms[0]
    for histogram in histograms[1:]:
        total = total + histogram
    return total


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_bins", [1, 3, 5, 10, 15, 20, 512, 7680])
def test_binned_errors_equal_those_of_all_rows(n_bins, weighted, rows):
    y_true, y_prob, _, weight = rows
    histogram = merged(batches(rows, 7, weighted=weighted))
    options = {"n_bins": n_bins, "sample_weight": weight if weighted else None}
    for norm in ("l1", "l2"):
        error = histogram.expected_calibration_error(n_bins=n_bins, norm=norm)
        expected = expected_calibration_error(y_true, y_prob, norm=norm, **options)
        assert error == pytest.approx(expected, abs=1e-12)
    error = histogram.maximum_calibration_error(n_bins=n_bins, min_count=1)
    expected = maximum_calibration_error(y_true, y_prob, min_count=1, **options)
    assert error == pytest.approx(expected, abs=1e-12)
    for debias in (False, True):
        error = histogram.squared_calibration_error(n_bins=n_bins, debias=debias)
        expected = squared_calibration_error(
            y_true, y_prob, strategy="uniform", debias=debias, **options
        )
        assert error == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_smooth_error_equals_that_of_all_rows(weighted, rows):
    y_true, y_prob, _, weight = rows
    histogram = merged(batches(rows, 7, weighted=weighted))
    weight = weight if weighted else None
    for bandwidth in (None, 0.002, 0.1):
        expected = smooth_calibration_error(
            y_true, y_prob, bandwidth=bandwidth, sample_weight=weight
        )
        error = histogram.smooth_calibration_error(bandwidth=bandwidth)
        assert error == pytest.approx(expected, abs=1e-6)


def test_table_equals_that_of_all_rows(rows):
    table = merged(batches(rows, 4)).reliability_table(n_bins=12)
    expected = reliability_table(rows[0], rows[1], n_bins=12)
    for name in ("lower", "upper", "count", "mean_confidence", "event_rate"):
        np.testing.assert_allclose(getattr(table, name), getattr(expected, name), rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_groups_are_learned_as_they_come(weighted, rows):
    order = np.argsort(rows[2], kind="stable")
    rows = [array[order] for array in rows]
    # Batches of sorted rows know different groups.
    parts = batches(rows, 4, grouped=True, weighted=weighted)
    assert parts[0].groups == ["a"]
    histogram = merged(parts[::-1])
    expected = group_calibration_error(*rows[:3], sample_weight=rows[3] if weighted else None)
    result = histogram.group_calibration_error()
    assert result.names.tolist() == expected.names.tolist() == histogram.groups
    np.testing.assert_allclose(result.errors, expected.errors, rtol=1e-12)
    np.testing.assert_allclose(result.counts, expected.counts, rtol=1e-12)
    error = histogram.expected_calibration_error()
    expected = merged(batches(rows, 1, weighted=weighted)).expected_calibration_error()
    assert error == pytest.approx(expected, abs=1e-12)


def test_order_of_merging_and_ways_to_add_change_nothing_but_rounding(rows):
    parts = batches(rows, 9, grouped=True, weighted=True)
    there, back = merged(parts), merged(parts[::-1])
    stream = CalibrationHistogram()
    for part in parts:
        stream.merge(part)
    for other in (back, stream):
        assert other.n_samples == there.n_samples == np.count_nonzero(rows[3])
        for read in ("expected_calibration_error", "smooth_calibration_error"):
            assert getattr(other, read)() == pytest.approx(getattr(there, read)(), abs=1e-12)


def test_totals(rows):
    y_true, y_prob, _, weight = rows
    histogram = merged(batches(rows, 3, weighted=True))
    assert histogram.total_weight == weight.sum()
    assert histogram.mean_confidence == pytest.approx(weight @ y_prob / weight.sum())
    assert histogram.event_rate == pytest.approx(weight @ y_true / weight.sum())
    assert histogram.n_cells == 7680


def test_adding_changes_neither_part(rows):
    first, second = batches(rows, 2, grouped=True)
    before = first.expected_calibration_error(), second.expected_calibration_error()
    first + second
    assert (first.expected_calibration_error(), second.expected_calibration_error()) == before


def test_merging_into_itself_doubles(rows):
    (histogram,) = batches(rows, 1)
    error = histogram.expected_calibration_error()
    histogram.merge(histogram)
    assert histogram.n_samples == 12_000
    assert histogram.expected_calibration_error() == pytest.approx(error, abs=1e-12)


def test_refused_rows_change_nothing(rows):
    (histogram,) = batches(rows, 1)
    with pytest.raises(ValueError, match="`y_prob` must be finite; row 30000"):
        histogram.update(np.ones(30_001), np.append(np.ones(30_000), np.nan))
    assert histogram.n_samples == 6000
    assert histogram.total_weight == 6000


def test_pickles(rows):
    histogram = merged(batches(rows, 2, grouped=True))
    copy = pickle.loads(pickle.dumps(histogram))
    assert copy.expected_calibration_error() == histogram.expected_calibration_error()
    assert (copy + histogram).n_samples == 12_000
    assert repr(copy) == repr(histogram)


def test_floor_and_interval_are_near_those_of_the_rows(rows):
    y_true, y_prob, _, _ = rows
    (histogram,) = batches(rows, 1)
    floor = histogram.noise_floor(n_resamples=300, random_state=0)
    expected = noise_floor(y_prob, n_resamples=300, random_state=1)
    assert floor.mean == pytest.approx(expected.mean, rel=0.06)
    assert floor.std == pytest.approx(expected.std, rel=0.2)
    interval = histogram.calibration_error_interval(n_resamples=300, random_state=0)
    expected = calibration_error_interval(y_true, y_prob, n_resamples=300, random_state=1)
    assert interval.estimate == pytest.approx(expected.estimate, abs=1e-12)
    assert interval.standard_error == pytest.approx(expected.standard_error, rel=1e-6)
    tolerance = 0.1 * expected.standard_error
    assert interval.corrected == pytest.approx(expected.corrected, abs=tolerance)
    assert interval.high == pytest.approx(expected.high, abs=tolerance)


@pytest.mark.parametrize(
    ("use", "error", "match"),
    [
        (lambda h: h.expected_calibration_error(n_bins=7), ValueError, "must divide the 7680"),
        (lambda h: h.expected_calibration_error(norm="max"), ValueError, "`norm` must be one of"),
        (lambda h: h.maximum_calibration_error(min_count=1e9), ValueError, "No bin reaches"),
        (lambda h: h.smooth_calibration_error(bandwidth=0), ValueError, "`bandwidth` must lie"),
        (lambda h: h.group_calibration_error(), ValueError, "without `groups`"),
        (lambda h: h.noise_floor(n_resamples=1), ValueError, "`n_resamples` must be at least 2"),
        (lambda h: h.update([1], [0.5], groups=["a"]), ValueError, "to all or to none"),
        (lambda h: h.merge(CalibrationHistogram(n_bins=10)), ValueError, "10 bins of 512 cells"),
        (lambda h: h.merge([1]), TypeError, "must be a CalibrationHistogram; got list"),
        (lambda h: h + 1, TypeError, "unsupported operand"),
    ],
)
def test_refuses(use, error, match, rows):
    (histogram,) = batches(rows, 1)
    with pytest.raises(error, match=match):
        use(histogram)


def test_refuses_names_of_two_kinds():
    histogram = CalibrationHistogram().update([1], [0.5], groups=["a"])
    with pytest.raises(TypeError, match="named 2 here and 'a' before"):
        histogram.update([1], [0.5], groups=[2])


def test_refuses_to_read_nothing():
    histogram = CalibrationHistogram()
    assert np.isnan(histogram.event_rate)
    with pytest.raises(ValueError, match="call `update` first"):
        histogram.expected_calibration_error()


def test_refuses_fractions_of_rows_in_a_floor():
    histogram = CalibrationHistogram().update([0, 1], [0.2, 0.7], sample_weight=[1, 0.5])
    with pytest.raises(ValueError, match="add up to fractions"):
        histogram.noise_floor()


def test_refuses_too_few_cells_for_the_smooth_error():
    histogram = CalibrationHistogram(cells_per_bin=4).update([0, 1], [0.2, 0.7])
    with pytest.raises(ValueError, match="at least 4096 cells"):
        histogram.smooth_calibration_error()


def test_refuses_one_row_in_an_interval():
    histogram = CalibrationHistogram().update([1], [0.2])
    with pytest.raises(ValueError, match="at least two rows"):
        histogram.calibration_error_interval()
