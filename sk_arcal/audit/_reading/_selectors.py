"""Columns by exact name or glob, and what to say when there is none."""

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

_LISTED = 20


def select_several(
    selectors: str | Sequence[str],
    names: Sequence[str],
    parameter: str,
    *,
    among: Sequence[str] | None = None,
) -> list[str]:
    """Return the columns that the selectors name, in the order of the table.

    Parameters
    ----------
    selectors : str or sequence of str
        Exact names or globs; an exact name is never read as a glob.
    names : sequence of str
        All columns.
    parameter : str
        What the caller calls the selectors; stands in the error.
    among : sequence of str, default=None
        Columns that may be chosen; the others play another role. Globs pass over them, an exact
        name among them is refused.
    """
    selectors = [selectors] if isinstance(selectors, str) else list(selectors)
    allowed = names if among is None else among
    chosen: set[str] = set()
    for selector in selectors:
        if not isinstance(selector, str):
            raise TypeError(f"`{parameter}` must hold column names or globs; got {selector!r}.")
        if selector in names and selector not in allowed:
            raise ValueError(
                f"The column `{selector}` already has another role; it cannot be `{parameter}`."
            )
        found = [selector] if selector in names else _glob(selector, allowed)
        if not found:
            raise ValueError(
                f"`{parameter}`={selector!r} matches no column. {listed(names, [selector])}"
            )
        chosen.update(found)
    return [name for name in names if name in chosen]


def _glob(selector: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if fnmatchcase(name, selector)]


def select_one(selector: str, names: Sequence[str], parameter: str) -> str:
    """Return the one column that the selector names."""
    found = select_several(selector, names, parameter)
    if len(found) > 1:
        raise ValueError(
            f"`{parameter}`={selector!r} must name one column; it matches {quoted(found)}."
        )
    return found[0]


def first_known(names: Iterable[str], known: Iterable[str]) -> str | None:
    """Return the first of the `known` names that is there, whatever its capitals."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(name.casefold(), name)
    return next((by_name[word] for word in known if word in by_name), None)


def listed(names: Sequence[str], wanted: Iterable[str]) -> str:
    """Say which columns there are, and which of them look like a wanted one."""
    wanted = list(wanted)
    near = [n for n in names if difflib.get_close_matches(n.casefold(), wanted, n=1, cutoff=0.75)]
    hint = f" Did you mean {quoted(near[:3])}?" if near else ""
    return f"The columns are {quoted(names)}.{hint}"


def quoted(names: Sequence[str]) -> str:
    """Write column names for a sentence, the first of many."""
    return listing([f"`{name}`" for name in names])


def listing(words: Sequence[str]) -> str:
    """Write words with commas, the first of many."""
    shown, more = ", ".join(words[:_LISTED]), len(words) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown
