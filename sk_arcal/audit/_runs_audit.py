"""One call from the predictions of several runs to one verdict a feature."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import as_generator, check_integer
from sk_arcal.audit._audit import routing_audit
from sk_arcal.audit._reading import PredictionTable
from sk_arcal.audit._runs_features import families_over_runs, features_over_runs, remarks
from sk_arcal.audit._runs_records import RunsAudit

Progress = Callable[[int, int, str], None]


def audit_runs(
    tables: Mapping[str, PredictionTable] | Sequence[PredictionTable],
    *,
    min_runs: int | None = None,
    delta: float = 0.05,
    alpha: float = 0.05,
    cv: int = 5,
    n_resamples: int = 999,
    n_shuffles: int = 20,
    controls: str = "candidates",
    random_state: object = None,
    n_jobs: int | None = None,
    progress: Progress | None = None,
) -> RunsAudit:
    """Audit several runs of one architecture on one test set, and say what holds for all.

    Each run, such as one seed, is audited by :func:`routing_audit`; the features they share are
    then tested over all runs by :func:`~sk_arcal.diagnostics.conditional_calibration_runs`, which
    knows that runs fail on the same items. A feature is a signal only if the runs together reject,
    a majority of them does by itself with gaps that point one way, and as many survive every
    control.

    Parameters
    ----------
    tables : mapping of str to PredictionTable, or sequence of PredictionTable
        One table a run, of the same items in the same order; names are those of the runs, and
        "run_0", "run_1", ... for a sequence. DataFrames are understood as well.
    min_runs : int, default=None
        Runs that make a signal stable; None takes a majority.
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
        Seed; the same seed gives the same audit, whatever `n_jobs`.
    n_jobs : int, default=None
        Number of joblib jobs.
    progress : callable, default=None
        Called with (steps done, steps in all, what was done).

    Returns
    -------
    audit : RunsAudit
        A verdict for each feature over all runs, and the audit of each run.

    Raises
    ------
    ValueError
        If there are fewer than two runs, they differ in rows or labels, share no feature, or an
        option is out of range.
    TypeError
        If an argument has the wrong kind.

    See Also
    --------
    routing_audit : One run.

    Notes
    -----
    Features are matched by name, and those that some run lacks are audited in their runs only.

    References
    ----------
    .. [1] Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. Verdicts stable across seeds.

    Examples
    --------
    >>> from sk_arcal.audit import PredictionTable, audit_runs
    >>> from sk_arcal.datasets import make_routing_data
    >>> tables = []
    >>> for seed in range(3):
    ...     data = make_routing_data(600, effect="none", random_state=seed)
    ...     tables.append(PredictionTable.from_arrays(
    ...         data.y, confidence=data.confidence, routing={"depth": data.routing[:, 0]}))
    >>> audit = audit_runs(tables, n_resamples=99, n_shuffles=2, random_state=0)
    >>> audit.features["depth"].verdict != "signal"
    True
    """
    named = _named(tables)
    rng = as_generator(random_state)
    min_runs = _min_runs(min_runs, len(named))
    test_rng, *run_rngs = rng.spawn(1 + len(named))
    shared: dict[str, Any] = {"delta": delta, "alpha": alpha, "n_resamples": n_resamples}
    runs = {
        name: routing_audit(
            table,
            cv=cv,
            n_shuffles=n_shuffles,
            controls=controls,
            random_state=run_rng,
            n_jobs=n_jobs,
            progress=_share_of(progress, k, len(named), name),
            **shared,
        )
        for k, ((name, table), run_rng) in enumerate(zip(named.items(), run_rngs, strict=True))
    }
    tests = families_over_runs(
        runs,
        items=_items(next(iter(named.values()))),
        min_runs=min_runs,
        rng=test_rng,
        n_jobs=n_jobs,
        **shared,
    )
    return RunsAudit(
        features=features_over_runs(runs, tests, delta=delta, alpha=alpha),
        runs=runs,
        tests=tests,
        n_items=len(next(iter(runs.values())).event),
        min_runs=min_runs,
        checks=tuple(remarks(runs, tests)),
        settings=dict(next(iter(runs.values())).settings) | {"min_runs": min_runs},
    )


def _named(
    tables: Mapping[str, PredictionTable] | Sequence[PredictionTable],
) -> dict[str, PredictionTable]:
    if isinstance(tables, PredictionTable) or hasattr(tables, "columns"):
        raise TypeError("`tables` must hold one table for each run; for one table, routing_audit.")
    if not isinstance(tables, Mapping):
        tables = {f"run_{k}": table for k, table in enumerate(tables)}
    if len(tables) < 2:
        raise ValueError(f"`tables` holds {len(tables)} runs; two are the fewest to compare.")
    named = {
        str(name): table
        if isinstance(table, PredictionTable)
        else PredictionTable.from_frame(table)
        for name, table in tables.items()
    }
    (first, reference), *others = named.items()
    for name, table in others:
        _check_same_items(first, reference, name, table)
    return named


def _check_same_items(
    first: str, reference: PredictionTable, name: str, table: PredictionTable
) -> None:
    """Refuse runs whose rows are not the same items in the same order, as far as can be seen."""
    if len(table.event) != len(reference.event):
        raise ValueError(
            f"Runs must hold the same items in the same order; {first!r} has "
            f"{len(reference.event)} rows and {name!r} {len(table.event)}."
        )
    for what in ("labels", "evaluate", "groups"):
        one, other = getattr(reference, what), getattr(table, what)
        if (one is None) != (other is None) or (one is not None and not np.array_equal(one, other)):
            word = {"labels": "true labels", "evaluate": "split", "groups": "groups"}[what]
            raise ValueError(
                f"Runs must hold the same items in the same order; {first!r} and {name!r} differ "
                f"in their {word}. Sort both by item."
            )


def _items(table: PredictionTable) -> NDArray[Any] | None:
    """Return the group of every evaluated row."""
    if table.groups is None or table.evaluate is None:
        return table.groups
    return table.groups[table.evaluate]


def _min_runs(min_runs: int | None, n_runs: int) -> int:
    if min_runs is None:
        return n_runs // 2 + 1
    if check_integer("min_runs", min_runs, low=1) > n_runs:
        raise ValueError(f"`min_runs` is {min_runs}, but there are {n_runs} runs only.")
    return min_runs


def _share_of(progress: Progress | None, k: int, n_runs: int, run: str) -> Progress | None:
    """Return the progress of run `k` as a part of that of all."""
    if progress is None:
        return None
    return lambda done, total, label: progress(k * total + done, n_runs * total, f"{run}: {label}")
