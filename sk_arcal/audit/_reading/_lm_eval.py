"""Read the sample logs of lm-evaluation-harness (``samples_<task>_<date>.jsonl``).

Multiple choice gives class scores; the metric that is audited says which:

==================== ==========================================================
metric               score of an option
==================== ==========================================================
``acc``              its log-likelihood
``acc_norm``         its log-likelihood per character
``acc_bytes``        its log-likelihood per byte
``acc_mutual_info``  its log-likelihood less the one without the prompt
==================== ==========================================================

The softmax over the options gives the confidence. Generated answers only have a correctness;
their confidence has to come from a second file.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from sk_arcal._validation import FloatArray, check_option
from sk_arcal.audit._reading._json_lines import column_of, json_objects
from sk_arcal.audit._reading._lm_eval_sample import Sample, parse_sample
from sk_arcal.audit._reading._lm_eval_target import true_options
from sk_arcal.audit._reading._source import Source

_MUTUAL = "acc_mutual_info"
_SCORINGS = {
    "acc": "log-likelihoods",
    "acc_norm": "log-likelihoods per character",
    "acc_bytes": "log-likelihoods per byte",
    _MUTUAL: "log-likelihoods less those without the prompt",
}
_USUAL_METRICS = ("exact_match", "acc", "em", "acc_norm")
_FORMAT = "lm-evaluation-harness samples"


def read_lm_eval(path: Path, *, target: str | None = None) -> Source:
    """Read a sample log.

    Parameters
    ----------
    path : Path
        The file.
    target : str, default=None
        The metric that says whether an answer is right; by default `acc` for multiple choice,
        and for generated answers the first one that is 0 or 1 in every sample.

    Raises
    ------
    ValueError
        If a line cannot be read, the metric is not there, or nothing says what was right.
    """
    samples, notes = _one_filter([parse_sample(n, record) for n, record in json_objects(path)])
    lines = [sample.line for sample in samples]
    if samples[0].likelihoods is None:
        source = _generated(samples, target)
    else:
        source = _multiple_choice(samples, check_option("target", target or "acc", _SCORINGS))
    shared = set(samples[0].fields).intersection(*(sample.fields for sample in samples))
    fields = {
        key: column_of([sample.fields[key] for sample in samples])
        for key in samples[0].fields
        if key in shared
    }
    return Source(
        source.columns | fields,
        locate=lambda row: f"line {lines[row]}",
        classes=source.classes,
        mapping=source.mapping,
        hint=source.hint,
        notes=(*notes, *source.notes),
    )


def _one_filter(samples: list[Sample]) -> tuple[list[Sample], tuple[str, ...]]:
    """Keep one line per document: every answer filter writes its own."""
    count = Counter(sample.filter for sample in samples)
    if len(count) == 1:
        return samples, ()
    chosen = "none" if "none" in count else samples[0].filter
    others = ", ".join(name for name in count if name != chosen)
    note = f"Of the answer filters, {chosen!r} is read; the lines of {others} are left out."
    return [sample for sample in samples if sample.filter == chosen], (note,)


def _generated(samples: list[Sample], target: str | None) -> Source:
    metrics = samples[0].metrics
    known = [name for name in _USUAL_METRICS if name in metrics]
    binary = [
        name
        for name in (*known, *metrics)
        if all(sample.metrics.get(name) in {0.0, 1.0} for sample in samples)
    ]
    metric = target or (binary[0] if binary else None)
    if metric is None or metric not in binary:
        wanted = "a metric" if target is None else f"the metric {target!r} to be"
        raise ValueError(
            f"expected {wanted} 0 or 1 in every sample; the first sample has "
            f"{', '.join(metrics) or 'none'}."
        )
    correct = np.array([sample.metrics[metric] for sample in samples])
    return Source(
        {"correct": correct},
        mapping={"format": f"{_FORMAT}: generated answers, `{metric}`"},
        hint="Generated answers come without a confidence; bring one with `join`.",
    )


def _multiple_choice(samples: list[Sample], metric: str) -> Source:
    mutual = _has_scores_without_prompt(samples[0])
    if metric == _MUTUAL and not mutual:
        raise ValueError(f"{_MUTUAL!r} needs the options scored without the prompt too.")
    scores = [_scores(sample, metric, mutual) for sample in samples]
    top = np.array([row.argmax() for row in scores])
    truth, correct, notes = true_options(samples, scores, top, metric)
    columns: dict[str, NDArray[Any]] = {"correct": correct}
    sizes = sorted({len(row) for row in scores})
    names = _option_names(samples, sizes[0]) if len(sizes) == 1 else ()
    if truth is not None and names and all(np.isfinite(row).all() for row in scores):
        columns |= {"logits": np.stack(scores), "target": np.array(names)[truth]}
    else:
        columns["confidence"] = np.array([softmax(row).max() for row in scores])
        notes += _why_no_matrix(truth, sizes)
    width = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
    words = f"{_FORMAT}: {width} options, {_SCORINGS[metric]} (`{metric}`)"
    return Source(columns, classes=names or None, mapping={"format": words}, notes=notes)


def _has_scores_without_prompt(sample: Sample) -> bool:
    """Whether the second half of the requests repeats the options without the prompt."""
    n_requests = len(sample.likelihoods or ())
    if n_requests % 2:
        return False
    half = n_requests // 2
    empty = [context == "" for context in sample.contexts]
    return _MUTUAL in sample.metrics or (any(empty) and all(empty[half:]) and not any(empty[:half]))


def _scores(sample: Sample, metric: str, mutual: bool) -> FloatArray:
    """Score the options of one sample in the way of the metric."""
    if sample.likelihoods is None:
        raise ValueError(f"line {sample.line} holds no log-likelihoods, unlike the first line.")
    every = np.array(sample.likelihoods)
    given = every[: len(every) // 2] if mutual else every
    if np.isnan(given).any() or not (given < np.inf).all() or not np.isfinite(given).any():
        raise ValueError(f"line {sample.line} holds log-likelihoods {given.tolist()}.")
    if metric == "acc":
        return given
    if metric == _MUTUAL:
        return given - every[len(given) :]
    return given / _lengths(sample, len(given), in_bytes=metric == "acc_bytes")


def _lengths(sample: Sample, n_options: int, *, in_bytes: bool) -> FloatArray:
    options = sample.options[:n_options]
    sizes = [len(text.encode()) if in_bytes else len(text) for text in options]
    if len(sizes) < n_options or not all(sizes):
        raise ValueError(f"line {sample.line} does not log the texts of the answer options.")
    return np.array(sizes, dtype=np.float64)


def _option_names(samples: list[Sample], n_options: int) -> tuple[str, ...]:
    """Return the options where every document offers the same, else their positions."""
    options = samples[0].options[:n_options]
    same = all(sample.options[:n_options] == options for sample in samples)
    names = tuple(text.strip() for text in options)
    if same and len(set(names)) == n_options:
        return names
    return tuple(f"option {position}" for position in range(n_options))


def _why_no_matrix(truth: NDArray[np.intp] | None, sizes: list[int]) -> tuple[str, ...]:
    if truth is None:
        return ()
    reason = "the number of options varies" if len(sizes) > 1 else "some options score -inf"
    return (f"Only the confidence of the chosen option is audited, because {reason}.",)
