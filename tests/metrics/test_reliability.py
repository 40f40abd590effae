import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from sk_arcal.metrics import expected_calibration_error, reliability_table


def test_table_equals_sklearn_calibration_curve_in_bins_that_hold_rows(rng):
    y_prob = rng.random(500)
    y_true = rng.random(500) < y_prob
    rate, confidence = calibration_curve(y_true, y_prob, n_bins=10)
    table = reliability_table(y_true, y_prob, n_bins=10)
    np.testing.assert_allclose(table.event_rate, rate)
    np.testing.assert_allclose(table.mean_confidence, confidence)


@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_table_has_n_bins_rows_even_when_some_are_empty(n_bins):
    table = reliability_table([0, 1], [0.02, 0.97], n_bins=n_bins)
    assert table.count.shape == (n_bins,)
    assert table.upper[-1] == 1


def test_empty_bin_has_count_zero_and_no_rate():
    table = reliability_table([0, 1], [0.1, 0.9], n_bins=3)
    assert table.count[1] == 0
    assert np.isnan(table.event_rate[1])
    assert np.isnan(table.mean_confidence[1])


def test_quantile_table_has_no_empty_bin(events):
    table = reliability_table(*events, strategy="quantile")
    assert (table.count > 0).all()
    assert table.count.sum() == len(events[0])


def test_mean_absolute_gap_is_the_expected_calibration_error(events):
    table = reliability_table(*events)
    error = np.nansum(table.count * np.abs(table.gap)) / table.count.sum()
    assert error == pytest.approx(expected_calibration_error(*events))


def test_single_row_is_one_bin():
    table = reliability_table([1], [0.3], n_bins=5, strategy="quantile")
    assert (table.count, table.mean_confidence, table.event_rate) == ([1], [0.3], [1])


def test_frame_has_the_columns_of_the_table(events):
    pytest.importorskip("pandas")
    frame = reliability_table(*events, n_bins=4).to_frame()
    assert list(frame) == ["lower", "upper", "count", "mean_confidence", "event_rate"]
    assert len(frame) == 4


def test_printing_shows_one_line_per_bin(events):
    assert len(repr(reliability_table(*events, n_bins=4)).splitlines()) == 5
