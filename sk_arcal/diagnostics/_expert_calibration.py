"""Calibration of the experts on the rows the router gives them, and of their mixture."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_number,
    import_optional,
)
from sk_arcal.diagnostics._experts._mixture_rows import MixtureRows, read_mixture
from sk_arcal.diagnostics._experts._views import ExpertView, ViewSettings, measure_view
from sk_arcal.metrics._results import as_text


@dataclass(frozen=True, eq=False, repr=False)
class ExpertCalibration:
    """Calibration of the experts on their own rows, and of the mixture of them.

    Returned by :func:`expert_calibration`. Printing it shows the experts and both mixtures.

    Parameters
    ----------
    share : ndarray of shape (n_experts,)
        Mean gate.
    top_share : ndarray of shape (n_experts,)
        Share of the rows on which an expert has the largest gate.
    hard : tuple of ExpertView
        Every expert on the rows where it is on top.
    weighted : tuple of ExpertView
        Every expert on all rows, weighted by its gate.
    mixture : ExpertView
        The soft mixture on all rows.
    top_expert : ExpertView
        Hard routing with the same router: on every row the expert on top alone.
    bound : float
        Errors of `hard` weighted by `top_share`. The error of `top_expert` is never above it.
    level : float
        Coverage asked for.
    notes : tuple of str
        What could not be measured.

    Attributes
    ----------
    table : dict of str to ndarray
        Two rows per expert and one for each mixture.

    See Also
    --------
    expert_calibration : Computes it.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import expert_calibration
    >>> gates = np.tile([0.75, 0.25], (400, 1))
    >>> experts = np.tile([0.8, 0.4], (400, 1))
    >>> result = expert_calibration(np.arange(400) < 320, experts, gates, random_state=0)
    >>> [round(view.error, 3) for view in result.weighted], result.notes
    ([0.0, 0.4], ('expert 1 is never on top',))
    """

    share: FloatArray
    top_share: FloatArray
    hard: tuple[ExpertView, ...]
    weighted: tuple[ExpertView, ...]
    mixture: ExpertView
    top_expert: ExpertView
    bound: float
    level: float
    notes: tuple[str, ...]

    @property
    def table(self) -> dict[str, NDArray[Any]]:
        """Columns `expert`, `view`, `share` and those of :class:`ExpertView`."""
        views = [*self.hard, *self.weighted, self.mixture, self.top_expert]
        names = [*map(str, range(len(self.share)))]
        kinds = ["hard"] * len(names) + ["weighted"] * len(names) + ["all"] * 2
        columns = {
            "expert": np.array([*names, *names, "mixture", "top expert"]),
            "view": np.array(kinds),
            "share": np.concatenate([self.top_share, self.share, [1.0, 1.0]]),
        }
        return columns | {name: np.array([vars(v)[name] for v in views]) for name in vars(views[0])}

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row per expert and view, and one per mixture.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="ExpertCalibration.to_frame")
        return pandas.DataFrame(self.table)

    def __repr__(self) -> str:
        lines = [
            f"ExpertCalibration, {self.level:.0%} intervals",
            as_text(self.table),
            f"bound of the top expert's error by the hard views: {self.bound:.4g}",
        ]
        return "\n".join([*lines, *self.notes])


def expert_calibration(
    y_true: ArrayLike,
    expert_prob: ArrayLike,
    gates: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    n_bins: int = 15,
    level: float = 0.95,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
) -> ExpertCalibration:
    r"""Measure every expert on the rows the router gives it, and the mixture of them.

    Calibrated experts make a calibrated mixture under hard routing, and need not under soft
    routing. So the mixture's error says nothing of where it comes from; both views of the experts
    do.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Events, 0 or 1; with class probabilities class labels.
    expert_prob : array-like of shape (n_samples, n_experts) or (n_samples, n_experts, n_classes)
        Probability of the event by every expert, or its class probabilities. With more than two
        classes an expert's event is "my most probable class is right".
    gates : array-like of shape (n_samples, n_experts)
        Weights of the experts; rows sum to one.
    labels : array-like of shape (n_classes,), default=None
        Class of every column of an expert; the sorted labels of `y_true` if None.
    n_bins : int, default=15
        Bins of equal width, the same for all views, at least 1.
    level : float, default=0.95
        Coverage of the intervals, in (0, 1).
    n_resamples : int, default=200
        Draws behind every floor and every interval, at least 2.
    random_state : int, RandomState, Generator or None, default=None
        Source of the draws.
    n_jobs : int, default=None
        Number of joblib workers over the views; the result does not depend on it.

    Returns
    -------
    result : ExpertCalibration
        Both views of every expert, both mixtures, and the bound that ties them.

    Raises
    ------
    ValueError
        If a shape, a probability, a gate, a label or an option cannot be used.
    TypeError
        If an input does not hold numbers, or a count is not an integer.

    See Also
    --------
    configuration_collapse : Whether errors of opposite sign cancel in the mixture.
    sk_arcal.calibration.ExpertTemperatureScaler : Mends experts that are wrong by a temperature.

    Notes
    -----
    The *hard* view of expert k are the rows where it has the largest gate, the *weighted* view
    all rows with weight :math:`r_k`. An expert is calibrated on the weighted view if
    :math:`\mathrm{E}[r_k (y - p_k) \mid p_k] = 0`, the standing assumption of [1]_. Let
    :math:`q_k` be the share of the rows on which k is on top. With the same bin edges everywhere,

    .. math:: \mathrm{ECE}(\text{top expert}) \le \sum_k q_k \, \mathrm{ECE}_k(\text{hard}),

    as the gaps of the experts in a bin add up to the bin's, by the triangle inequality. The
    weighted views bound nothing of the kind: gates s and 1 - s over constant experts s and 1 - s
    leave an error of 2 s (1 - s) though both views read zero.

    The error of few rows is mostly noise: compare it with its floor, or read `corrected`. Gates
    are rescaled to sum to their effective number of rows before the interval is taken, which
    assumes that the size of a gate tells nothing of the variance of the outcome, and independent
    rows. The floor of the weighted view is that of an expert that is right in every row, not on
    average over the gates.

    References
    ----------
    .. [1] G. Wong et al. "Toward calibrated mixture-of-experts under distribution shift". ICML
       2026. Sections 2 and 3.

    Examples
    --------
    The event happens where the first gate is large, and the experts do not know:

    >>> import numpy as np
    >>> from sk_arcal.diagnostics import expert_calibration
    >>> y = np.arange(1000) % 2
    >>> gates = np.where(y[:, None] == 1, [0.75, 0.25], [0.25, 0.75])
    >>> experts = np.tile([0.75, 0.25], (1000, 1))
    >>> result = expert_calibration(y, experts, gates, n_resamples=50, random_state=0)
    >>> [round(view.error, 3) for view in result.weighted]
    [0.0, 0.0]
    >>> round(result.mixture.error, 3)
    0.375
    """
    settings = ViewSettings(
        check_integer("n_bins", n_bins, low=1),
        check_number("level", level, low=0, high=1, strict=True),
        check_integer("n_resamples", n_resamples, low=2),
    )
    rows = read_mixture(y_true, expert_prob, gates, labels)
    on_top = rows.top[:, None] == np.arange(rows.gates.shape[1])
    views = _views(rows, on_top)
    generators = as_generator(random_state).spawn(len(views))
    measured = Parallel(n_jobs=n_jobs)(
        delayed(measure_view)(*view, settings, rng)
        for view, rng in zip(views, generators, strict=True)
    )
    n_experts, top_share = on_top.shape[1], on_top.mean(axis=0)
    hard, weighted = measured[:n_experts], measured[n_experts : 2 * n_experts]
    return ExpertCalibration(
        share=rows.gates.mean(axis=0),
        top_share=top_share,
        hard=tuple(hard),
        weighted=tuple(weighted),
        mixture=measured[-2],
        top_expert=measured[-1],
        bound=float(sum(q * view.error for q, view in zip(top_share, hard, strict=True) if q > 0)),
        level=settings.level,
        notes=_notes(hard, weighted),
    )


def _views(rows: MixtureRows, on_top: NDArray[np.bool_]) -> list[tuple[FloatArray, ...]]:
    """Return events, confidences and weights of the hard and weighted views and both mixtures."""
    own = [(rows.own_events[:, k], rows.own_experts[:, k]) for k in range(on_top.shape[1])]
    row, one = np.arange(len(rows.top)), np.ones(len(rows.top))
    return [
        *((*pair, mask.astype(np.float64)) for pair, mask in zip(own, on_top.T, strict=True)),
        *((*pair, gate) for pair, gate in zip(own, rows.gates.T, strict=True)),
        (rows.event, rows.probability, one),
        (rows.own_events[row, rows.top], rows.own_experts[row, rows.top], one),
    ]


def _notes(hard: list[ExpertView], weighted: list[ExpertView]) -> tuple[str, ...]:
    notes = [f"expert {k} is never on top" for k, view in enumerate(hard) if view.n_rows == 0]
    notes += [f"expert {k} has no gate above zero" for k, v in enumerate(weighted) if v.n_rows == 0]
    notes += [
        f"expert {k} has {view.n_rows:.3g} rows in its {kind} view, too few for an interval"
        for kind, views in (("hard", hard), ("weighted", weighted))
        for k, view in enumerate(views)
        if 0 < view.n_rows < 2
    ]
    return tuple(notes)
