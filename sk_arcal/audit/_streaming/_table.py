"""From the sums and the sample of a stream to the table that an audit takes."""

from typing import Any

import numpy as np

from sk_arcal.audit._reading import PredictionTable
from sk_arcal.audit._reading._cells import counted
from sk_arcal.audit._reading._chunk_rules import ChunkRules
from sk_arcal.audit._reading._data_checks import data_notes
from sk_arcal.audit._reading._rows import UnderstoodRows
from sk_arcal.audit._reading._selectors import listing
from sk_arcal.audit._stream_records import StreamedRows
from sk_arcal.audit._streaming._part import PartSums

_RESAMPLES = 200


def sampled_table(
    rules: ChunkRules,
    fit: PartSums,
    evaluate: PartSums,
    rows: UnderstoodRows,
    *,
    n_read: int,
    seed: int,
) -> PredictionTable:
    """Return the sample with the figures of all rows.

    Parameters
    ----------
    rules : ChunkRules
        How rows were read.
    fit, evaluate : PartSums
        Sums over the rows of both parts; without a split all are in the second.
    rows : UnderstoodRows
        The sample.
    n_read : int
        Rows read, left-out ones included.
    seed : int
        Of the noise floor and the interval.
    """
    sizes = fit.histogram.n_samples, evaluate.histogram.n_samples
    n_used, is_split = sum(sizes), 0 not in sizes
    if not is_split:
        # A split with one part only is none.
        whole = evaluate.empty()
        whole.merge(fit)
        whole.merge(evaluate)
        fit = evaluate = whole
    fields: dict[str, Any] = {
        "event": rows.event,
        "confidence": rows.confidence,
        "logits": rows.logits,
        "labels": rows.labels,
        "classes": rules.classes,
        "routing": dict(rows.routing),
        "groups": rows.groups,
        "evaluate": rows.evaluate if is_split else None,
    }
    numbers = {"n_rows": n_read, "n_used": n_used, "n_sampled": len(rows)}
    has_groups = rows.groups is not None
    return PredictionTable(
        **fields,
        mapping=_mapping(rules, rows, is_split),
        notes=(*_remarks(rules, n_read - n_used, is_split), *data_notes(**fields)),
        stream=_figures(fit, evaluate, seed, numbers, has_groups=has_groups),
    )


def _figures(
    fit: PartSums, evaluate: PartSums, seed: int, numbers: dict[str, int], *, has_groups: bool
) -> StreamedRows:
    histogram = evaluate.histogram
    floors, intervals = np.random.default_rng(seed).spawn(2)
    floor = histogram.noise_floor(n_resamples=_RESAMPLES, random_state=floors)
    interval = histogram.calibration_error_interval(n_resamples=_RESAMPLES, random_state=intervals)
    low, high = (np.nan, np.nan) if has_groups else (interval.low, interval.high)
    return StreamedRows(
        **numbers,
        n_evaluated=histogram.n_samples,
        accuracy=histogram.event_rate,
        mean_confidence=histogram.mean_confidence,
        ece=histogram.expected_calibration_error(),
        ece_floor=floor.mean,
        ece_floor_95=floor.quantile_95,
        ece_corrected=interval.corrected,
        ece_low=low,
        ece_high=high,
        smooth_ece=histogram.smooth_calibration_error(),
        temperature=fit.heat.temperature(),
        gaps=evaluate.gaps(independent=not has_groups),
        has_groups=has_groups,
    )


def _mapping(rules: ChunkRules, rows: UnderstoodRows, is_split: bool) -> dict[str, str]:
    """Say what was read from where; categories and rows are counted in the sample."""
    mapping = dict(rules.mapping)
    texts = {
        name: np.unique(values)
        for name, values in rows.routing.items()
        if isinstance(values, np.ndarray) and values.dtype.kind == "U"
    }
    features = [
        f"{name} ({len(texts[name])} categories)" if name in texts else name
        for name in rows.routing
    ]
    mapping["routing"] = listing(features) or "none"
    mapping.pop("split", None)
    if is_split and rows.evaluate is not None:
        n_evaluate = int(rows.evaluate.sum())
        words = f"{counted(len(rows) - n_evaluate, 'row')} to fit the calibrator"
        mapping["split"] = f"`{rules.split}`: {words}, {n_evaluate} to evaluate"
    return mapping


def _remarks(rules: ChunkRules, n_left: int, is_split: bool) -> tuple[str, ...]:
    found = ["Remarks on the data are about the sampled rows."]
    if rules.split is not None and n_left:
        found.append(f"{counted(n_left, 'row')} left out by `{rules.split}`.")
    if rules.split is not None and not is_split:
        found.append(f"`{rules.split}` leaves one part without rows; it is ignored.")
    if rules.roles.weight is not None:
        found.append(f"`{rules.roles.weight}` is not used: the audit counts every row once.")
    return tuple(found)
