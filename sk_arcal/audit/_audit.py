"""One call from predictions to a verdict."""

import platform
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
import sklearn
from numpy.typing import ArrayLike

from sk_arcal import __version__
from sk_arcal._validation import as_generator, check_integer, check_number, check_option
from sk_arcal.audit._alternatives import RAW, alternatives
from sk_arcal.audit._controls import EXTENTS
from sk_arcal.audit._experts import audit_experts
from sk_arcal.audit._experts_repairs import REPAIRS
from sk_arcal.audit._experts_rows import ExpertRows
from sk_arcal.audit._features import (
    Evaluated,
    Plan,
    audit_features,
    compare_probes,
    numeric_columns,
)
from sk_arcal.audit._layers import audit_layers
from sk_arcal.audit._layers_rows import LayerRows
from sk_arcal.audit._reading import PredictionTable
from sk_arcal.audit._results import RoutingAudit
from sk_arcal.audit._scorecard import recommend, score
from sk_arcal.audit._verdict import SIGNAL

_FLOOR_RESAMPLES = 200
_FEWEST_ROWS = 30
# Arrays, and the names `routing_audit` gives them.
_ARRAYS = ("logits", "proba", "confidence", "y_pred", "routing", "groups", "split", "classes")


def routing_audit(
    data: Any,
    *,
    logits: ArrayLike | None = None,
    proba: ArrayLike | None = None,
    confidence: ArrayLike | None = None,
    y_pred: ArrayLike | None = None,
    routing: Any = None,
    groups: ArrayLike | None = None,
    split: ArrayLike | None = None,
    classes: Sequence[Any] | None = None,
    delta: float = 0.05,
    alpha: float = 0.05,
    cv: int = 5,
    n_resamples: int = 999,
    n_shuffles: int = 20,
    controls: str = "candidates",
    experts: bool = False,
    layers: bool = False,
    random_state: object = None,
    n_jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> RoutingAudit:
    """Say whether a model is calibrated, whether routing knows more, and what to use.

    For every routing feature the audit runs the conditional calibration test (adjusted for the
    number of features), the matched-confidence gaps, the worst-tertile error beside its null
    mean, the grouping loss, and the controls: a kernel probe against its shuffled twins, the same
    probe under several bandwidth rules, and a network against its twins of equal capacity (where
    torch is installed). A signal is claimed only if the test rejects and every control is
    survived. The calibrated alternatives are compared out of sample. With class scores,
    predictive entropy and margin are audited too, as controls: what they know is already in the
    logits.

    Parameters
    ----------
    data : PredictionTable, DataFrame, or array-like of shape (n_samples,)
        A table from :func:`read_predictions`, a DataFrame with the column names it understands,
        or the true labels, with the arrays below.
    logits, proba : array-like of shape (n_samples, n_classes), default=None
        Class scores or class probabilities.
    confidence : array-like of shape (n_samples,), default=None
        Probability that the prediction is right; `data` is then 1 where it was.
    y_pred : array-like of shape (n_samples,), default=None
        Predicted labels, beside `confidence`.
    routing : array-like of shape (n_samples, n_routing), dict or DataFrame, default=None
        Routing features; text columns are levels without order.
    groups : array-like of shape (n_samples,), default=None
        Rows that depend on each other (tokens of a text, crops of an image) share a value.
    split : array-like of shape (n_samples,), default=None
        0: fit calibrators here, 1: evaluate here. Without it all rows are evaluated and
        calibrators are cross-fitted.
    classes : sequence, default=None
        Class of every score column.
    delta : float, default=0.05
        Gap in event rate between the top and bottom tertile of a feature, at equal confidence,
        from which it would matter.
    alpha : float, default=0.05
        Level of the tests.
    cv : int, default=5
        Folds where there is no `split`.
    n_resamples : int, default=999
        Shuffles behind the tests.
    n_shuffles : int, default=20
        Shuffled twins of every routing probe.
    controls : {"candidates", "all"}, default="candidates"
        Whether the controls of bandwidth and capacity are run only for features that have survived
        those before, which gives the same verdicts sooner, or for all.
    experts : bool, default=False
        Whether the experts of a mixture are audited: calibration of each, configurations of gates
        and experts that the confidence hides, the error under the worst shift of their shares,
        and repairs. `data` is a table with columns of experts and gates, or a
        :class:`PredictionTable` that was built with them.
    layers : bool, default=False
        Whether the layers of a network are audited: accuracy and calibration of each, whether the
        confidence is corrected towards the end, and the features of depth
        (:func:`~sk_arcal.diagnostics.layer_features`), which join the routing features. `data` is
        a table with columns of layers, or a :class:`PredictionTable` that was built with them.
    random_state : int, RandomState, Generator or None, default=None
        Seed; the same seed gives the same audit, whatever `n_jobs`.
    n_jobs : int, default=None
        Number of joblib jobs.
    progress : callable, default=None
        Called with (steps done, steps in all, what was done).

    Returns
    -------
    audit : RoutingAudit
        Verdicts, scorecard and recommendation; print it, or save it with `to_json` or `to_html`.

    Raises
    ------
    ValueError
        If values, shapes or labels cannot be used, fewer than 30 rows are to be evaluated, or
        `experts` or `layers` is True and there are none.
    TypeError
        If an argument has the wrong kind.

    See Also
    --------
    conditional_calibration_test : The test behind the verdicts.
    read_predictions : A table from a file.

    References
    ----------
    .. [1] Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. The audit suite this one grew from.

    Examples
    --------
    >>> from sk_arcal.audit import routing_audit
    >>> from sk_arcal.datasets import make_routing_data
    >>> data = make_routing_data(1500, effect="step", strength=0.1, random_state=0)
    >>> audit = routing_audit(
    ...     data.y, confidence=data.confidence, routing={"depth": data.routing[:, 0]},
    ...     n_resamples=199, random_state=0)
    >>> audit.features["depth"].verdict
    'signal'
    """
    given = (logits, proba, confidence, y_pred, routing, groups, split, classes)
    arrays = {name: value for name, value in zip(_ARRAYS, given, strict=True) if value is not None}
    _check_switch("experts", experts)
    _check_switch("layers", layers)
    table = _as_table(data, arrays, experts, layers)
    mixture = ExpertRows.of(table) if experts else None
    depth = LayerRows.of(table) if layers else None
    table = table if depth is None else depth.with_features(table)
    plan = Plan(
        delta=check_number("delta", delta, low=0, high=1, strict=True),
        alpha=check_number("alpha", alpha, low=0, high=1, strict=True),
        n_resamples=check_integer("n_resamples", n_resamples, low=19),
        n_shuffles=check_integer("n_shuffles", n_shuffles, low=1),
        controls=check_option("controls", controls, EXTENTS),
        n_jobs=n_jobs,
    )
    cv = check_integer("cv", cv, low=2)
    settings = {
        "delta": plan.delta,
        "alpha": plan.alpha,
        "cv": None if table.evaluate is not None else cv,
        "n_resamples": plan.n_resamples,
        "n_shuffles": plan.n_shuffles,
        "controls": plan.controls,
        "random_state": random_state if isinstance(random_state, (int, np.integer)) else None,
    }
    return _run(table, mixture, depth, plan, cv, settings, as_generator(random_state), progress)


def _check_switch(name: str, value: object) -> None:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"`{name}` must be True or False; got {type(value).__name__}. Arrays of {name} go to "
            "`PredictionTable.from_arrays`."
        )


def _as_table(data: Any, arrays: dict[str, Any], experts: bool, layers: bool) -> PredictionTable:
    is_table = isinstance(data, PredictionTable)
    if is_table or hasattr(data, "columns"):
        if arrays:
            raise TypeError(
                f"A table holds everything, so {sorted(arrays)} cannot be given beside it; add "
                "them to the table, or pass the labels as an array."
            )
        if is_table:
            return data
        return PredictionTable.from_frame(data, experts=experts, layers=layers)
    return PredictionTable.from_arrays(data, **arrays)


def _run(
    table: PredictionTable,
    mixture: ExpertRows | None,
    depth: LayerRows | None,
    plan: Plan,
    cv: int,
    settings: dict[str, Any],
    rng: np.random.Generator,
    progress: Callable[[int, int, str], None] | None,
) -> RoutingAudit:
    rows = Evaluated.of(table)
    _check_parts(table, rows)
    columns, left_out = numeric_columns(table)
    kernels = 4 if columns.shape[1] else 2
    n_features = len(rows.routing) + len(rows.controls)
    n_parts = (0 if mixture is None else len(REPAIRS) + 2) + (depth is not None)
    counter = _Counter(n_features + bool(n_features) + kernels + 1 + n_parts, progress)
    features = audit_features(rows, plan, rng.spawn(1)[0], counter.step)
    probes = compare_probes(rows, plan, rng.spawn(1)[0], counter.step)
    found, folds = alternatives(
        table, columns, cv=cv, rng=rng.spawn(1)[0], n_jobs=plan.n_jobs, progress=counter.step
    )
    scorecard = tuple(
        score(rows.event, alternative, _FLOOR_RESAMPLES, rng.spawn(1)[0]) for alternative in found
    )
    counter.step("scorecard")
    experts = None
    if mixture is not None:
        experts = audit_experts(mixture, folds, plan, rng.spawn(1)[0], counter.step)
    layers = None
    if depth is not None:
        layers = audit_layers(depth, features, plan, rng.spawn(1)[0])
        counter.step("layers")
    n_classes = 2 if table.logits is None else table.logits.shape[1]
    helps = any(f.verdict == SIGNAL for f in features.values() if f.role == "routing")
    clusters = np.arange(len(rows.event))
    if rows.groups is not None:
        clusters = np.unique(rows.groups, return_inverse=True)[1]
    return RoutingAudit(
        n=len(table.event),
        n_evaluated=len(rows.event),
        n_classes=n_classes,
        accuracy=float(rows.event.mean()),
        mean_confidence=float(rows.confidence.mean()),
        scorecard=scorecard,
        features=features,
        probes=probes,
        recommendation=recommend(
            rows.event,
            found,
            routing_helps=helps,
            n_columns=n_classes if n_classes > 2 else 1,
            clusters=clusters,
        ),
        checks=(*table.notes, *_remarks(left_out, rows)),
        settings=settings,
        provenance=_provenance(table),
        event=rows.event,
        confidence=rows.confidence,
        calibrated={a.name: a.confidence for a in found if a.name != RAW},
        routing={**rows.routing, **rows.controls},
        experts=experts,
        layers=layers,
        stream=table.stream,
    )


class _Counter:
    """Counts steps for a progress bar."""

    def __init__(self, total: int, report: Callable[[int, int, str], None] | None) -> None:
        self.total, self.report, self.done = total, report, 0

    def step(self, label: str) -> None:
        self.done += 1
        if self.report is not None:
            self.report(self.done, self.total, label)


def _check_parts(table: PredictionTable, rows: Evaluated) -> None:
    n_rows = len(rows.event)
    if n_rows < _FEWEST_ROWS:
        raise ValueError(
            f"{n_rows} rows to evaluate are too few for an audit; at least {_FEWEST_ROWS} are "
            "needed to compare anything, and a few hundred to see much."
        )
    n_fitted = n_rows if table.evaluate is None else len(table.event) - n_rows
    if n_fitted < 2:
        raise ValueError(
            f"The split leaves {n_fitted} rows to fit calibrators on (rows with 0); at least two "
            "are needed."
        )


def _remarks(left_out: list[str], rows: Evaluated) -> list[str]:
    found = []
    if left_out:
        found.append(
            f"{', '.join(left_out)}: more than twelve levels, so tested but not used by the "
            "routing kernel of the scorecard."
        )
    errors = int((rows.event == 0).sum())
    if min(errors, len(rows.event) - errors) < 10:
        found.append(
            f"{errors} errors among {len(rows.event)} rows are too few to say much; every verdict "
            "rests on the rarer outcome."
        )
    return found


def _provenance(table: PredictionTable) -> dict[str, Any]:
    return {
        "source": table.source,
        "sha256": table.digest,
        "sk-arcal": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        **({"mapping": dict(table.mapping)} if table.mapping else {}),
    }
