"""The code in the prose runs, and prints what the page says."""

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in (ROOT / "docs").glob("**/*.rst") if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_page_runs(path):
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testfile(str(path), module_relative=False, optionflags=options)
    assert result.attempted > 0
    assert result.failed == 0


def test_pages_with_code_were_found():
    assert len([path for path in PAGES if path.is_relative_to(ROOT / "docs" / "user_guide")]) >= 4
