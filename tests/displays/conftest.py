"""What the tests of several figures share."""

import sys

import matplotlib.pyplot as plt
import pytest

# The name that a user gives may hold anything: math signs, a leading underscore, lines, umlauts.
HARD_NAME = "_cost in $ and $\nübermäßig langer Name eines Merkmals der Schicht 17 (µ)"


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Matplotlib as if it were not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)


@pytest.fixture
def hard_name():
    return HARD_NAME
