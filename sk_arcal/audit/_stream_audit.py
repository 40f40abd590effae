"""One call from a file larger than memory to a verdict."""

from collections.abc import Callable, Sequence
from typing import Any

from sk_arcal.audit._audit import routing_audit
from sk_arcal.audit._results import RoutingAudit
from sk_arcal.audit._streaming._reading import read_stream


def stream_audit(
    source: Any,
    *,
    chunk_rows: int = 1_000_000,
    max_rows: int = 200_000,
    target: str | None = None,
    confidence: str | Sequence[str] | None = None,
    routing: str | Sequence[str] | None = None,
    group: str | None = None,
    split: str | None = None,
    delta: float = 0.05,
    alpha: float = 0.05,
    cv: int = 5,
    n_resamples: int = 999,
    n_shuffles: int = 20,
    controls: str = "candidates",
    random_state: object = None,
    n_jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> RoutingAudit:
    r"""Audit predictions that do not fit into memory, in one pass.

    All rows are counted: calibration errors, the temperature and the gap of every routing feature
    are those of all rows. A uniform sample of `max_rows` rows goes to :func:`routing_audit`, whose
    verdicts rest on it. With no more rows than that the result is the one of
    :func:`routing_audit`.

    Parameters
    ----------
    source : str, Path, sequence of str or Path, or iterable of DataFrame
        A `.parquet`, `.csv`, `.tsv` or `.jsonl` file, or several that are read one after another
        as one; or the chunks themselves.
    chunk_rows : int, default=1000000
        Most rows of a file that are in memory together, at least 1; fewer where more than 20
        columns are read. It does not change the result.
    max_rows : int, default=200000
        Rows of the sample, at least 30. As many rows at the beginning decide which column plays
        which role, the classes, and the cells that rows are counted in.
    target, confidence, routing, group, split : str or sequence of str, default=None
        Columns, as in :func:`read_predictions`.
    delta, alpha : float, default=0.05
        As in :func:`routing_audit`.
    cv : int, default=5
        Folds where there is no split.
    n_resamples : int, default=999
        Shuffles behind the tests.
    n_shuffles : int, default=20
        Shuffled twins of every routing probe.
    controls : {"candidates", "all"}, default="candidates"
        As in :func:`routing_audit`.
    random_state : int, RandomState, Generator or None, default=None
        Seed; the same seed gives the same audit, whatever `n_jobs` and `chunk_rows`.
    n_jobs : int, default=None
        Number of joblib jobs.
    progress : callable, default=None
        Called with (steps done, steps in all, what was done), while reading and again from 0
        while auditing.

    Returns
    -------
    audit : RoutingAudit
        As of :func:`routing_audit`; `stream` holds the figures of all rows, None if the sample is
        all rows.

    Raises
    ------
    ValueError
        If a file cannot be read in chunks, a value or a label cannot be used or is none that the
        first rows allow for (the row is named), or an option is out of range.
    TypeError
        If an argument has the wrong kind.
    OSError
        If a file cannot be opened.
    ImportError
        If pandas or pyarrow is needed and not installed.

    See Also
    --------
    StreamedTables : What is kept of a stream; merges over machines.
    routing_audit : The audit of what fits into memory.

    Notes
    -----
    The gap of all rows is a weighted mean over bins of like confidence of the difference in the
    event rate between the outer thirds of the feature within the bin, after a straight line in
    the confidence. It is read from counts in at most 320 cells of confidence and 96 of the
    feature (256 levels of texts), cut at quantiles of the first rows: shuffle a sorted file.

    The sample takes rows, not groups. Where rows belong to groups, the sample holds fewer rows
    of each, and its tests respect that they depend on each other; figures of all rows come
    without intervals then.

    Class probabilities of exactly 0 are read as half the smallest positive one of the first rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_arcal.audit import stream_audit
    >>> from sk_arcal.datasets import make_routing_data
    >>> data = make_routing_data(4000, effect="step", strength=0.2, random_state=0)
    >>> table = pd.DataFrame({"correct": data.y, "confidence": data.confidence,
    ...                       "routing__depth": data.routing[:, 0]})
    >>> chunks = (table[k : k + 500] for k in range(0, 4000, 500))
    >>> audit = stream_audit(
    ...     chunks, max_rows=1000, n_resamples=99, n_shuffles=2, random_state=0)
    >>> audit.n, audit.stream.n_rows
    (1000, 4000)
    >>> audit.stream.gaps["depth"].gap_low > 0
    True
    """
    table = read_stream(
        source,
        chunk_rows=chunk_rows,
        max_rows=max_rows,
        random_state=random_state,
        progress=progress,
        target=target,
        confidence=confidence,
        routing=routing,
        group=group,
        split=split,
    )
    return routing_audit(
        table,
        delta=delta,
        alpha=alpha,
        cv=cv,
        n_resamples=n_resamples,
        n_shuffles=n_shuffles,
        controls=controls,
        random_state=random_state,
        n_jobs=n_jobs,
        progress=progress,
    )
