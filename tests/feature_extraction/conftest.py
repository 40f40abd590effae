"""A cache folder of its own for every test."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep the tests out of the user's cache, in this process and in those it starts."""
    folder = tmp_path / "own_cache"
    monkeypatch.setenv("SK_ARCAL_CACHE", str(folder))
    return folder
