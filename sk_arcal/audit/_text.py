"""Lines of a summary in plain text."""

import textwrap

WIDTH = 100


def bullet(sentence: str) -> str:
    """Return a sentence as an item of a list."""
    return textwrap.fill(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def wrap(sentence: str, indent: int = 0) -> str:
    """Break a sentence into lines of the summary."""
    space = " " * indent
    return textwrap.fill(sentence, WIDTH, initial_indent=space, subsequent_indent=space)
