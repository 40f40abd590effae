"""What a routing feature adds at equal confidence, as a picture."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import check_events, check_option, check_probabilities, import_optional
from sk_arcal.diagnostics import MatchedGaps
from sk_arcal.displays._base import column_of, event_of_estimator, only_routing_column, pyplot
from sk_arcal.displays._gap_numbers import GapNumbers, from_matched_gaps, gap_numbers
from sk_arcal.displays._gap_panels import draw_map, draw_profile, make_panels, write_title

_KINDS = ("both", "profile", "map")


class RoutingGapDisplay:
    """How the event rate varies with a routing feature among rows of like confidence.

    Rows are binned by confidence, and every bin is cut into strata by the rank of the feature or,
    where it has few values, by these. The left panel shows, by stratum, the event rate less what
    rows of the same confidence achieve; the right panel shows the same for every cell. If
    routing says nothing beyond the confidence, both are noise around zero.

    Create it with :meth:`from_estimator`, :meth:`from_predictions` or
    :meth:`from_matched_gaps`; every number that is drawn stays in `numbers` and comes as a table
    from :meth:`frame`.

    Parameters
    ----------
    numbers : GapNumbers
        Deviations and bands by cell and by stratum.
    name : str, default=None
        Name of the feature.

    Attributes
    ----------
    ax_ : matplotlib Axes or ndarray of Axes
        The panel, or both panels.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    ReliabilityDisplay : Its `strata` show the same rows as reliability curves.
    sk_arcal.diagnostics.matched_confidence_gaps : The table behind the picture.
    sk_arcal.diagnostics.conditional_calibration_test : The test to decide with.

    Notes
    -----
    The grey band is where the points of *all* strata would lie, in 95 % of cases, if the
    outcomes were shuffled inside the bins of confidence; framed numbers in the map lie outside
    a band that holds all cells at once. Both take rows as independent and the confidence of a
    bin as constant. They are an aid to the eye: a decision needs the test, which keeps its level
    when rows come in groups and when confidence and routing are strongly related.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.displays import RoutingGapDisplay
    >>> data = make_routing_data(3000, effect="step", strength=0.1, random_state=0)
    >>> display = RoutingGapDisplay.from_predictions(
    ...     data.y, data.confidence, data.routing[:, 0], n_groups=3, random_state=0
    ... )
    >>> display.frame("strata")[["stratum", "count", "gap", "outside"]].round(2)
      stratum  count   gap  outside
    0     low   1000 -0.07     True
    1       2   1000  0.01    False
    2    high   1000  0.06     True
    """

    def __init__(self, numbers: GapNumbers, *, name: str | None = None) -> None:
        self.numbers = numbers
        self.name = name

    @classmethod
    def from_matched_gaps(
        cls, gaps: MatchedGaps, *, ax: Any = None, name: str | None = None, **options: Any
    ) -> "RoutingGapDisplay":
        """Draw a table of matched gaps.

        Parameters
        ----------
        gaps : MatchedGaps
            Result of :func:`sk_arcal.diagnostics.matched_confidence_gaps`.
        ax : matplotlib Axes or sequence of two, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the feature.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : RoutingGapDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        return cls(from_matched_gaps(gaps), name=name).plot(ax, **options)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        routing: ArrayLike | str | int | None = None,
        **options: Any,
    ) -> "RoutingGapDisplay":
        """Draw what a feature adds to the probabilities of a fitted classifier or calibrator.

        With two classes the event is ``y == classes_[1]``; with more it is "the most probable
        class was the right one".

        Parameters
        ----------
        estimator : fitted estimator
            With `predict_proba` and `classes_`.
        X : array-like of shape (n_samples, n_features)
            Rows it has not been fitted on.
        y : array-like of shape (n_samples,)
            Labels.
        routing : str, int or array-like of shape (n_samples,), default=None
            Column of `X`, or the feature itself. None takes the routing column of a calibrator
            that has exactly one.
        **options : dict
            As in :meth:`from_predictions`.

        Returns
        -------
        display : RoutingGapDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no `predict_proba`.
        ValueError
            If `y` does not fit `X` or the classes of the estimator, or `routing` is None and the
            estimator does not have exactly one routing column.
        ImportError
            If matplotlib is not installed.
        """
        event, probability = event_of_estimator(estimator, X, y)
        if routing is None:
            routing = only_routing_column(estimator)
        if isinstance(routing, (str, int, np.integer)):
            if isinstance(routing, str):
                options.setdefault("name", routing)
            routing = column_of(X, routing)
        return cls.from_predictions(event, probability, routing, **options)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_prob: ArrayLike,
        routing: ArrayLike,
        *,
        n_bins: int = 8,
        strategy: Literal["quantile", "uniform"] = "quantile",
        n_groups: int | Literal["auto"] = "auto",
        value: Literal["calibrated_residual", "residual", "accuracy"] = "calibrated_residual",
        min_count: int = 5,
        random_state: Any = None,
        ax: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> "RoutingGapDisplay":
        """Draw what a feature adds to predicted probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Whether the event happened, 0 or 1.
        y_prob : array-like of shape (n_samples,)
            Probability of the event.
        routing : array-like of shape (n_samples,)
            Routing feature; of numbers only the ranks count.
        n_bins : int, default=8
            Bins of confidence.
        strategy : {"quantile", "uniform"}, default="quantile"
            Bins of equal count or of equal width. In wide bins the feature may stand in for the
            confidence.
        n_groups : int or "auto", default="auto"
            Strata of each bin, by the rank of the feature among rows of like confidence (as in the
            test, so that strata do not differ in their confidence). "auto" takes five, but one for
            each value where these are words or at most twelve numbers; of more than twelve words
            the rarest become "others".
        value : {"calibrated_residual", "residual", "accuracy"}, default="calibrated_residual"
            What is averaged, as in :func:`sk_arcal.diagnostics.matched_confidence_gaps`.
        min_count : int, default=5
            Rows below which a cell is hatched; with ranks, that all strata of a bin must have.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the folds behind the residuals and of the order of ties.
        ax : matplotlib Axes or sequence of two, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the feature.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : RoutingGapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If shapes differ, values are out of range, or no bin has enough rows.
        TypeError
            If a count is not an integer, or words are to be ranked.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("RoutingGapDisplay")
        event = check_events(y_true)
        confidence = check_probabilities(y_prob, n_samples=len(event))
        numbers = gap_numbers(
            event, confidence, routing, n_groups=n_groups, random_state=random_state,
            n_bins=n_bins, strategy=strategy, value=value, min_count=min_count,
        )  # fmt: skip
        if not numbers.usable.any():
            raise ValueError(
                f"no value of `routing` has `min_count`={min_count} rows in any bin of "
                "confidence. Lower `n_bins` or `min_count`, or bring more rows."
            )
        return cls(numbers, name=name).plot(ax, **options)

    def frame(self, part: Literal["cells", "strata"] = "cells") -> Any:
        """Return the numbers as a table.

        Parameters
        ----------
        part : {"cells", "strata"}, default="cells"
            The map or the profile.

        Returns
        -------
        table : pandas.DataFrame
            For the map: "lower", "upper", "confidence", "stratum", "count", "usable", "gap",
            "band_low", "band_high", "outside". For the profile: "stratum", "count", "gap",
            "band_low", "band_high", "outside".

        Raises
        ------
        ValueError
            If `part` is neither of the two.
        ImportError
            If pandas is not installed.
        """
        check_option("part", part, ("cells", "strata"))
        pandas = import_optional("pandas", extra="report", caller="RoutingGapDisplay.frame")
        numbers = self.numbers
        n_bins, n_strata = numbers.gap.shape
        if part == "strata":
            return pandas.DataFrame({
                "stratum": numbers.strata,
                "count": numbers.stratum_count,
                "gap": numbers.stratum_gap,
                "band_low": -numbers.stratum_band,
                "band_high": numbers.stratum_band,
                "outside": numbers.stratum_outside,
            })  # fmt: skip
        by_bin = ("lower", "upper", "confidence")
        by_cell = ("count", "usable", "gap", "band_low", "band_high", "outside")
        return pandas.DataFrame(
            {key: np.repeat(getattr(numbers, key), n_strata) for key in by_bin}
            | {"stratum": np.tile(np.array(numbers.strata, dtype=object), n_bins)}
            | {key: getattr(numbers, key).ravel() for key in by_cell}
        )

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        kind: Literal["both", "profile", "map"] = "both",
        verdict: str | None = None,
    ) -> "RoutingGapDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of two, default=None
            Where to draw; two for ``kind="both"``. None makes a figure.
        name : str, default=None
            Name of the feature, for the title; None takes that of the display.
        kind : {"both", "profile", "map"}, default="both"
            The gap by stratum, by cell, or both side by side.
        verdict : str, default=None
            What the test says, to stand behind the name.

        Returns
        -------
        self : RoutingGapDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If `kind` is unknown or `ax` does not hold as many axes as it needs.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("RoutingGapDisplay.plot")
        panels = make_panels(plt, ax, check_option("kind", kind, _KINDS), self.numbers.gap.shape)
        ink = plt.rcParams["text.color"]
        if kind != "map":
            draw_profile(panels[0], self.numbers, ink=ink)
        if kind != "profile":
            draw_map(panels[-1], self.numbers, ink=ink)
        if kind == "both":
            panels[1].set_yticklabels([])
            panels[1].set_ylabel("")
        write_title(panels, self.name if name is None else name, verdict)
        self.ax_ = panels[0] if len(panels) == 1 else panels
        self.figure_ = panels[0].figure
        return self
