"""One line of a lm-evaluation-harness sample log.

The log holds one object per document and filter. All inner values of `resps` and
`filtered_resps` are texts, even numbers: ``[["-1.5", "False"], ["-0.2", "True"]]`` is the
log-likelihood of each answer option and whether it is the greedy continuation. `target` is
``str(...)`` of an index, an option or a list of them. Metrics are keys of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sk_arcal.audit._reading._cells import is_missing

_FIXED = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
}
_LONGEST_FIELD = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """What an audit needs of one line.

    Attributes
    ----------
    line : int
        Number of the line.
    filter : str
        Name of the answer filter.
    target : str
        The right answer, in one of several notations.
    likelihoods : tuple of float or None
        Log-likelihood of every request; None for a generated answer.
    contexts, options : tuple of str
        Prompt and continuation of every request; empty if they were not logged.
    choices : tuple of tuple of str
        Lists found in the document whose entries may be what `target` names.
    metrics : dict of str to float
        The metrics that are single numbers.
    fields : dict of str to Any
        `doc_id`, `doc_hash` and, as "doc.<name>", the short values of the document.
    """

    line: int
    filter: str
    target: str
    likelihoods: tuple[float, ...] | None
    contexts: tuple[str, ...]
    options: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...]
    metrics: dict[str, float]
    fields: dict[str, Any]


def is_sample(record: Mapping[str, Any]) -> bool:
    """Whether an object looks like a line of a sample log."""
    return "target" in record and ("filtered_resps" in record or "resps" in record)


def parse_sample(line: int, record: Mapping[str, Any]) -> Sample:
    """Read one line.

    Raises
    ------
    ValueError
        If it is not a line of a sample log.
    """
    if not is_sample(record):
        raise ValueError(
            f"line {line} lacks `target` or `filtered_resps`, unlike the first line of this "
            "lm-evaluation-harness log."
        )
    doc = record.get("doc")
    doc = doc if isinstance(doc, dict) else {}
    contexts, options = _requests(record.get("arguments"))
    return Sample(
        line=line,
        filter=str(record.get("filter", "none")),
        target=str(record["target"]).strip(),
        likelihoods=_likelihoods(record.get("filtered_resps") or record.get("resps")),
        contexts=contexts,
        options=options,
        choices=_choices(doc),
        metrics=_metrics(record),
        fields=_fields(record, doc),
    )


def _likelihoods(responses: Any) -> tuple[float, ...] | None:
    """Return the log-likelihoods of at least two requests, or None for generated answers."""
    if not isinstance(responses, list) or len(responses) < 2:
        return None
    try:
        return tuple(float(_innermost(entry)[0]) for entry in responses)
    except (TypeError, ValueError, IndexError):
        return None


def _innermost(entry: Any) -> list[Any]:
    """Unwrap repeats: `resps` has one more level than `filtered_resps`."""
    if not isinstance(entry, list):
        raise TypeError("a log-likelihood stands in a list with its greedy flag")
    return _innermost(entry[0]) if entry and isinstance(entry[0], list) else entry


def _requests(arguments: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return prompts and continuations; older logs hold lists instead of objects."""
    if isinstance(arguments, dict):
        arguments = [list(item.values()) for item in arguments.values() if isinstance(item, dict)]
    if not isinstance(arguments, list):
        return (), ()
    pairs = [item for item in arguments if isinstance(item, list) and len(item) > 1]
    if len(pairs) < len(arguments):
        return (), ()
    # One space is the usual delimiter; what else surrounds an option is part of its length.
    options = tuple(str(item[1]).removeprefix(" ") for item in pairs)
    return tuple(str(item[0]) for item in pairs), options


def _choices(doc: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Find lists of texts in the document, also one level down (ARC keeps text and label)."""
    found = []
    for value in doc.values():
        inner = value.values() if isinstance(value, dict) else [value]
        for item in inner:
            if isinstance(item, list) and item and all(isinstance(text, str) for text in item):
                found.append(tuple(text.strip() for text in item))
    return tuple(found)


def _metrics(record: Mapping[str, Any]) -> dict[str, float]:
    named = record.get("metrics")
    names = named if isinstance(named, list) else [key for key in record if key not in _FIXED]
    return {
        name: float(record[name])
        for name in names
        if isinstance(record.get(name), (bool, int, float))
    }


def _fields(record: Mapping[str, Any], doc: Mapping[str, Any]) -> dict[str, Any]:
    keys = {key: record[key] for key in ("doc_id", "doc_hash") if key in record}
    short = {
        f"doc.{key}": value
        for key, value in doc.items()
        if isinstance(value, (bool, int, float))
        or (isinstance(value, str) and len(value) <= _LONGEST_FIELD and not is_missing(value))
    }
    return keys | short
