"""Which answer option was the right one, by whatever notation the log uses."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._lm_eval_sample import Sample

_Reading = Callable[[Sample, int], int]


def true_options(
    samples: list[Sample], scores: list[FloatArray], top: NDArray[np.intp], metric: str
) -> tuple[NDArray[np.intp] | None, FloatArray, tuple[str, ...]]:
    """Return the right option of every sample, the correctness, and remarks.

    `target` is an index, the text of an option, or a letter; an option may itself be a number.
    A notation is believed if it names one option in every sample and, where the metric is
    logged, reproduces it in every sample. If none does (several right options, options in the
    prompt), the logged metric alone is the outcome.

    Raises
    ------
    ValueError
        If the logged metric is not 0 or 1, or nothing says what was right.
    """
    logged = _logged(samples, metric)
    for reading in (_index, _option, _choice, _letter):
        truth = np.array(
            [reading(sample, len(row)) for sample, row in zip(samples, scores, strict=True)],
            dtype=np.intp,
        )
        right = (truth == top).astype(np.float64)
        if (truth >= 0).all() and (logged is None or np.array_equal(right, logged)):
            return truth, right, ()
    if logged is None:
        raise ValueError(
            f"line {samples[0].line}: `target` {samples[0].target!r} does not name one of the "
            f"options in every sample, and the metric {metric!r} is not logged."
        )
    note = f"`target` does not name one right option in every sample; `{metric}` is the outcome."
    return None, logged, (note,)


def _logged(samples: list[Sample], metric: str) -> FloatArray | None:
    """Return the metric of every sample, or None where it was not logged."""
    if any(metric not in sample.metrics for sample in samples):
        return None
    values = np.array([sample.metrics[metric] for sample in samples])
    partial = (values != 0) & (values != 1)
    if partial.any():
        row = int(np.argmax(partial))
        raise ValueError(
            f"line {samples[row].line}: `{metric}` is {values[row]:g}, neither 0 nor 1; this task "
            "has no single right option, so a confidence in it is not defined."
        )
    return values


def _index(sample: Sample, n_options: int) -> int:
    text = sample.target
    return int(text) if text.isdecimal() and int(text) < n_options else -1


def _option(sample: Sample, n_options: int) -> int:
    return _only(tuple(text.strip() for text in sample.options[:n_options]), sample.target)


def _choice(sample: Sample, n_options: int) -> int:
    """Look the target up in the lists of the document."""
    lists = [texts for texts in sample.choices if len(texts) == n_options]
    return next((_only(texts, sample.target) for texts in lists if sample.target in texts), -1)


def _letter(sample: Sample, n_options: int) -> int:
    position = ord(sample.target) - ord("A") if len(sample.target) == 1 else -1
    return position if 0 <= position < n_options else -1


def _only(texts: tuple[str, ...], wanted: str) -> int:
    return texts.index(wanted) if texts.count(wanted) == 1 else -1
