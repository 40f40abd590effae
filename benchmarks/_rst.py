"""Tables for the documentation, as the measuring commands write them."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def simple_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a simple table of reStructuredText under its title in bold.

    A line whose first cell is empty would be read as the end of the one before.
    """
    lines = [tuple(header), *map(tuple, rows)]
    if not all(line[0] for line in lines):
        raise ValueError(f"The first cell of a line of {title!r} is empty.")
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([f"**{title}**", "", rule, text[0], rule, *text[1:], rule])


def publish(tables: Iterable[str], output: Path | None) -> None:
    """Print tables as they come; write what has come so far to a file, if there is one."""
    done: list[str] = []
    for table in tables:
        print(table, end="\n\n", flush=True)
        done.append(table)
        if output is not None:
            output.write_text("\n\n".join(done) + "\n", encoding="utf-8")
