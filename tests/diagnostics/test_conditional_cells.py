import numpy as np
import pytest

from sk_arcal.diagnostics._conditional_cells import ConditionalCells


@pytest.fixture
def table():
    return ConditionalCells(
        confidence_low=np.array([0.5, 0.5, 0.75]),
        confidence_high=np.array([0.7, 0.7, 1.0]),
        stratum=("bottom tertile of routing", "top tertile of routing", "routing a"),
        n_samples=np.array([30, 31, 2]),
        event_rate=np.array([0.5, 0.6, 1.0]),
        gap=np.array([-0.1, 0.1, 0.2]),
        gap_low=np.array([-0.3, -0.05, -1.0]),
        gap_high=np.array([0.1, 0.25, 1.4]),
        pvalue_adjusted=np.array([0.4, 0.2, np.nan]),
        alpha=0.05,
    )


def test_frame_has_a_row_for_each_cell(table):
    frame = table.to_frame()
    assert frame.shape == (3, 9)
    assert frame.loc[1, "gap_high"] == 0.25
    assert frame["stratum"].tolist() == list(table.stratum)


def test_repr_shows_the_smallest_pvalues_first(table):
    lines = repr(table).splitlines()
    assert lines[0] == "ConditionalCells: 2 of 3 cells tested; smallest p first"
    assert lines[1].split()[:2] == ["p", "0.2"]
    assert "confidence 0.5 to 0.7, top tertile of routing (31 rows)" in lines[1]
    assert "nan" not in repr(table)
