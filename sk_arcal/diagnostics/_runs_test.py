"""Several trained runs on one test set: is there a signal, in some run, in most of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray, as_generator, check_integer, check_number
from sk_arcal.diagnostics._conditional._runs_answer import pool_runs
from sk_arcal.diagnostics._conditional._runs_input import Runs, read_runs
from sk_arcal.diagnostics._conditional._runs_summary import summarise_runs
from sk_arcal.diagnostics._conditional_test import conditional_calibration_tests
from sk_arcal.diagnostics._result import ConditionalCalibrationTests
from sk_arcal.diagnostics._runs_result import ConditionalCalibrationRuns


def conditional_calibration_runs(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    routing: Any,
    *,
    items: ArrayLike | None = None,
    run_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    routing_kind: str | Mapping[str, str] = "auto",
    delta: float = 0.05,
    alpha: float = 0.05,
    n_resamples: int = 999,
    min_runs: int | None = None,
    random_state: object = None,
    n_jobs: int | None = None,
) -> ConditionalCalibrationRuns:
    """Test whether routing says more than confidence, with several runs on one test set.

    Networks trained from several seeds and evaluated on the same items fail on the same hard
    items and often route them alike: they are no independent repetitions. Three questions are
    answered without taking them for such:

    - *exists*: does routing say more than confidence, all runs taken together?
    - *any run*: does it in some run?
    - *stable*: does it in at least `min_runs` runs?

    Parameters
    ----------
    y_true : array-like of shape (n_runs, n_items)
        Events, 0 or 1; for top-label confidence, whether each run was right on each item.
    y_prob : array-like of shape (n_runs, n_items)
        Confidence: probability of the event, in [0, 1]. Only its order within a run is used.
    routing : array-like of shape (n_runs, n_items) or (n_runs, n_items, n_features), or sequence
        Routing of every run; as a sequence, one array, mapping or DataFrame for each run, with
        the same features. Levels are matched over runs by their name: where expert 3 of one run
        is not expert 3 of the next, name them differently, such as "run 0, expert 3".
    items : array-like of shape (n_items,), default=None
        Group of each item, where items depend on one another (crops of an image, tokens of a
        text). None: every item stands alone.
    run_names : sequence of str, default=None
        Names of the runs; None calls them run_0, run_1, ...
    feature_names : sequence of str, default=None
        Names of the features of arrays; None calls them routing_0, routing_1, ...
    routing_kind : str or mapping of str to str, default="auto"
        As in :func:`conditional_calibration_tests`; "auto" decides from all runs together.
    delta : float, default=0.05
        Gap, in probability units, below which a difference is of no interest.
    alpha : float, default=0.05
        Level; intervals hold 1 - alpha.
    n_resamples : int, default=999
        Number of draws under the null hypothesis.
    min_runs : int, default=None
        Runs that must have a signal for it to be stable; None takes a majority.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws and of the order of ties.
    n_jobs : int, default=None
        Number of joblib workers, over runs and over features. It does not change results.

    Returns
    -------
    runs : ConditionalCalibrationRuns
        For each feature the three p-values, adjusted for the number of features, and the mean
        gap beside the gap of each run; and each run by itself.

    Raises
    ------
    ValueError
        If runs differ in length or in features, a value is NaN or out of range, names repeat, or
        an option is unknown.
    TypeError
        If arrays hold the wrong kind of value, or one table is given for all runs.

    See Also
    --------
    conditional_calibration_tests : One run; the method and its assumptions.

    Notes
    -----
    *exists.* Every run has bins of its own confidences, matched over runs by their place in the
    order of confidence. The sums of the single test are added over runs, and one random sign is
    drawn for each item, or group of items, for all its runs and features: what makes runs alike
    is kept. `exists_adjusted` is Westfall and Young's step-down over these shared draws. Signals
    of opposite sign cancel; *any run* then still finds them.

    *any run.* With p_s the p-value of run s by itself, T = mean of tan((1/2 - p_s) pi) is
    compared with the Cauchy law [1]_; p_s above 0.99 count as 0.99, so that one run cannot undo
    another.

    *stable.* p = min(1, (S - u + 1) p_(u)) for the u-th smallest of S p-values [2]_. Holm's rule
    adjusts this and *any run* over features: their runs are shuffled one by one, so that
    there are no shared draws, and none exist under "a signal in fewer than u runs".

    The mean and standard deviation over seeds, a t test over seeds, Stouffer's or Fisher's sum
    take runs for independent and reject far too often when they share items.

    References
    ----------
    .. [1] Y. Liu and J. Xie. "Cauchy combination test: a powerful test with analytic p-value
       calculation under arbitrary dependency structures". Journal of the American Statistical
       Association 115, 2020.
    .. [2] Y. Benjamini and R. Heller. "Screening for partial conjunction hypotheses". Biometrics
       64, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import conditional_calibration_runs
    >>> rng = np.random.default_rng(0)
    >>> confidence, depth = rng.uniform(0.5, 1, (2, 3, 2000))
    >>> right = rng.random((3, 2000)) < confidence - 0.1 + 0.3 * (depth - 0.75)
    >>> runs = conditional_calibration_runs(
    ...     right, confidence, depth, feature_names=["depth"], n_resamples=199, random_state=0
    ... )
    >>> found = runs.results["depth"]
    >>> found.exists <= 0.01, found.stable <= 0.05, found.consistent
    (True, True, True)
    """
    alpha = check_number("alpha", alpha, low=0, high=0.5, strict=True)
    delta = check_number("delta", delta, low=0, high=1, strict=True)
    n_resamples = check_integer("n_resamples", n_resamples, low=19)
    runs = read_runs(
        y_true,
        y_prob,
        routing,
        items=items,
        run_names=run_names,
        feature_names=feature_names,
        routing_kind=routing_kind,
    )
    min_runs = _checked_min_runs(min_runs, len(runs.names))
    pool_rng, *run_rngs = as_generator(random_state).spawn(1 + len(runs.names))
    options: dict[str, Any] = {"delta": delta, "alpha": alpha, "n_resamples": n_resamples}
    tests = Parallel(n_jobs=n_jobs)(
        delayed(_test_run)(
            runs.events[s],
            runs.confidence[s],
            runs.columns[s],
            runs.kinds,
            runs.items if runs.grouped else None,
            rng,
            options,
        )
        for s, rng in enumerate(run_rngs)
    )
    pooled = pool_runs(runs, alpha, n_resamples, pool_rng, n_jobs)
    return ConditionalCalibrationRuns(
        results=summarise_runs(runs, tests, pooled, min_runs, delta),
        runs=dict(zip(runs.names, tests, strict=True)),
        n_items=runs.n_items,
        n_groups=runs.n_groups,
        n_bins=pooled.n_bins,
        min_runs=min_runs,
        notes=(*_run_notes(runs), *pooled.notes),
        **options,
    )


def _checked_min_runs(min_runs: int | None, n_runs: int) -> int:
    if min_runs is None:
        return n_runs // 2 + 1
    wanted = check_integer("min_runs", min_runs, low=1)
    if wanted > n_runs:
        raise ValueError(f"`min_runs` must be at most the number of runs, {n_runs}; got {wanted}.")
    return wanted


def _test_run(
    events: FloatArray,
    confidence: FloatArray,
    columns: dict[str, Any],
    kinds: dict[str, str],
    groups: NDArray[np.intp] | None,
    rng: np.random.Generator,
    options: dict[str, Any],
) -> ConditionalCalibrationTests:
    """Test one run; a worker is sent no other."""
    return conditional_calibration_tests(
        events,
        confidence,
        columns,
        routing_kind=kinds,
        groups=groups,
        random_state=rng,
        **options,
    )


def _run_notes(runs: Runs) -> list[str]:
    if len(runs.names) > 1:
        return []
    note = "One run only: the three p-values ask the same, and nothing is known of another run."
    return [note]
