"""What each probe gains over the one that sees the confidence only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sk_arcal._validation import check_option, import_optional
from sk_arcal.diagnostics._probing._probe_score import MatchedProbes
from sk_arcal.displays._base import plain_title, pyplot
from sk_arcal.displays._probe_rows import draw_probes, rows_needed
from sk_arcal.displays._rows import METRICS, check_kind


@dataclass(frozen=True)
class ProbeDifference:
    """Difference of one probe to the confidence-only one, in one run.

    Attributes
    ----------
    probe : str
        Name of the probe.
    role : {"baseline", "confidence", "feature", "shuffled", "noise"}
        What it is for.
    run : str
        Name of the run.
    estimate, low, high : float
        Probe minus confidence only, with its interval; negative is better.
    """

    probe: str
    role: str
    run: str
    estimate: float
    low: float
    high: float


class ProbeComparisonDisplay:
    """How much better each probe predicts than the one that sees the confidence only.

    One row per probe; the shuffled twins of a feature share its row, just below it. Left of zero
    is better than the confidence alone. A feature that says something stands left of zero, its
    shuffled twins and the noise do not.

    With one run, lines are the intervals of the differences. With several, small dots are the
    runs, the band spans them from the smallest to the largest, and the marker is their mean.

    Create it with :meth:`from_results`; every number that is drawn stays in `differences` and
    comes as a table from :meth:`frame`.

    Parameters
    ----------
    differences : sequence of ProbeDifference
        One per probe and run, the probes of every run in the same order.
    metric : {"log_loss", "brier", "ece", "worst_ece"}, default="log_loss"
        What they are differences of.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.matched_probes : The numbers behind the picture.

    Notes
    -----
    The band over runs is no interval: with more runs it grows. It shows whether runs agree.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import matched_probes
    >>> from sk_arcal.displays import ProbeComparisonDisplay
    >>> data = make_routing_data(600, effect="step", strength=0.2, random_state=0)
    >>> probes = matched_probes(
    ...     data.y, data.confidence, {"routing": data.routing[:, 0]},
    ...     baselines=False, n_shuffles=1, n_resamples=10, random_state=0,
    ... )
    >>> frame = ProbeComparisonDisplay.from_results(probes).frame()
    >>> frame.loc[frame["high"] < 0, "probe"].tolist()
    ['routing']
    """

    def __init__(self, differences: Sequence[ProbeDifference], *, metric: str = "log_loss") -> None:
        self.differences = tuple(differences)
        self.metric = metric

    @classmethod
    def from_results(
        cls,
        probes: MatchedProbes | Sequence[MatchedProbes],
        names: Sequence[str] | None = None,
        *,
        metric: Literal["log_loss", "brier", "ece", "worst_ece"] = "log_loss",
        ax: Any = None,
        **options: Any,
    ) -> "ProbeComparisonDisplay":
        """Draw the probes of one run or of several.

        Parameters
        ----------
        probes : MatchedProbes or sequence of such
            Of :func:`sk_arcal.diagnostics.matched_probes`; of several runs, with the same probes
            in each.
        names : sequence of str, default=None
            Names of the runs; None calls them run_0, run_1, ...
        metric : {"log_loss", "brier", "ece", "worst_ece"}, default="log_loss"
            Score to compare: log loss of the event, Brier score, expected calibration error, or
            its largest value in a stratum.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : ProbeComparisonDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `probes` holds something else.
        ValueError
            If there is no run, runs differ in their probes, `names` does not fit, or `metric` is
            unknown.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("ProbeComparisonDisplay")
        check_option("metric", metric, METRICS)
        runs = [probes] if isinstance(probes, MatchedProbes) else _several(probes)
        names = [f"run_{k}" for k in range(len(runs))] if names is None else list(names)
        if len(set(names)) != len(runs):
            raise ValueError(
                f"`names` must give the {len(runs)} runs of `probes` different names; got {names}."
            )
        differences = [
            ProbeDifference(
                score.name, score.role, str(name), *getattr(score, f"{metric}_difference")
            )
            for name, run in zip(names, runs, strict=True)
            for score in run.scores
        ]
        return cls(differences, metric=metric).plot(ax, **options)

    def frame(self, part: Literal["runs", "band"] = "runs") -> Any:
        """Return the numbers as a table.

        Parameters
        ----------
        part : {"runs", "band"}, default="runs"
            The differences, or what the band spans.

        Returns
        -------
        table : pandas.DataFrame
            Of the runs, one row per run and probe: "probe", "role", "run", "estimate", "low",
            "high". Of the band, one row per probe: "probe", "role", "mean", "smallest",
            "largest".

        Raises
        ------
        ValueError
            If `part` is neither of the two.
        ImportError
            If pandas is not installed.
        """
        check_option("part", part, ("runs", "band"))
        pandas = import_optional("pandas", extra="report", caller="ProbeComparisonDisplay.frame")
        runs = pandas.DataFrame([vars(difference) for difference in self.differences])
        if part == "runs":
            return runs
        grouped = runs.groupby(["probe", "role"], sort=False)["estimate"]
        band = grouped.agg(mean="mean", smallest="min", largest="max")
        return band.reset_index()

    def plot(
        self, ax: Any = None, *, name: str | None = None, legend: bool = True
    ) -> "ProbeComparisonDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure that is as high as there are rows.
        name : str, default=None
            Title; None leaves it out.
        legend : bool, default=True
            Whether to say above the axes what the markers are.

        Returns
        -------
        self : ProbeComparisonDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("ProbeComparisonDisplay.plot")
        if ax is None:
            height = 1.7 + 0.34 * rows_needed(self.differences)
            _, ax = plt.subplots(figsize=(7.0, height), layout="constrained")
        draw_probes(ax, self.differences, METRICS[self.metric], plt.rcParams["text.color"], legend)
        if name is not None:
            plain_title(ax, name, pad=24 if legend else None)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _several(probes: Sequence[MatchedProbes]) -> list[MatchedProbes]:
    """Return the runs if they have the same probes."""
    if not isinstance(probes, Sequence):
        raise TypeError(
            "`probes` must be what `matched_probes` returns, or a list of such; got "
            f"{type(probes).__name__}."
        )
    if not probes:
        raise ValueError("`probes` is empty; at least one run is needed.")
    for run in probes:
        check_kind("probes", run, MatchedProbes, "matched_probes")
    first = [score.name for score in probes[0].scores]
    for k, run in enumerate(probes):
        found = [score.name for score in run.scores]
        if found != first:
            odd = sorted(set(found) ^ set(first)) or found
            raise ValueError(
                "`probes` must hold the same probes in the same order in every run; run "
                f"{k} differs from run 0 in {', '.join(map(repr, odd))}."
            )
    return list(probes)
