"""A bar on the terminal for the steps of an audit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from sk_arcal._validation import import_optional

Progress = Callable[[int, int, str], None]


@contextmanager
def progress_bar(stream: TextIO, *, quiet: bool) -> Iterator[Progress | None]:
    """Yield a function that draws a bar, or None where nobody would see one."""
    bar_class = None if quiet or not stream.isatty() else _tqdm()
    if bar_class is None:
        yield None
        return
    with bar_class(
        total=1, file=stream, leave=False, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}"
    ) as bar:

        def draw(done: int, total: int, label: str) -> None:
            bar.total, bar.n = total, done
            bar.set_description_str(label)

        yield draw


def _tqdm() -> Any:
    try:
        return import_optional("tqdm", extra="report", caller="The progress bar").tqdm
    except ImportError:
        return None
