import io
import sys

import pytest

from sk_arcal.audit._progress_bar import progress_bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_bar_is_drawn_on_a_terminal():
    stream = Terminal()
    with progress_bar(stream, quiet=False) as progress:
        progress(3, 4, "testing load")
    assert "testing load" in stream.getvalue()
    assert "75%" in stream.getvalue()


@pytest.mark.parametrize(("stream", "quiet"), [(io.StringIO(), False), (Terminal(), True)])
def test_bar_is_not_drawn_where_nobody_looks(stream, quiet):
    with progress_bar(stream, quiet=quiet) as progress:
        assert progress is None


def test_bar_is_not_drawn_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress_bar(Terminal(), quiet=False) as progress:
        assert progress is None
