import numpy as np
import pytest

from sk_arcal.metrics._results import as_frame, as_text, short_repr

COLUMNS = {"name": np.array(["a", "bb"]), "value": np.array([0.123456, 12345.6])}


def test_as_text_aligns_columns_and_shortens_numbers():
    assert as_text(COLUMNS) == "name   value\n   a  0.1235\n  bb   12346"


def test_as_text_shows_missing_values():
    assert as_text({"x": np.array([np.nan])}) == "  x\nnan"


def test_as_frame_keeps_full_precision():
    pytest.importorskip("pandas")
    frame = as_frame(COLUMNS, "caller")
    assert list(frame.columns) == ["name", "value"]
    assert frame["value"][0] == 0.123456


def test_short_repr_has_four_digits():
    assert short_repr("Result", mean=0.0123456, level=0.95) == "Result(mean=0.01235, level=0.95)"
