"""Fixtures shared by all tests."""

from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("Agg")

_SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """Folder with real predictions beside the checkout; the test is skipped where it is absent."""
    if not _SHARED_DATA.is_dir():
        pytest.skip("the folder of real predictions is not beside this checkout")
    return _SHARED_DATA
