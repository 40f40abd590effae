"""The reliability diagram."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

from sk_arcal._validation import (
    as_generator,
    check_events,
    check_integer,
    check_option,
    check_probabilities,
    import_optional,
)
from sk_arcal.displays._base import event_of_estimator, plain_title, pyplot
from sk_arcal.displays._curves import (
    FloorSettings,
    ReliabilityCurve,
    curves_of_models,
    curves_of_strata,
)
from sk_arcal.displays._diagram import draw_density, draw_diagram, draw_legend


class ReliabilityDisplay:
    """Reliability diagram of one or several models, or of the strata of one model.

    Create it with :meth:`from_estimator` or :meth:`from_predictions`; every number that is
    drawn stays in `curves` and comes as a table from :meth:`frame`.

    Parameters
    ----------
    curves : sequence of ReliabilityCurve
        Points, isotonic line, band, density, calibration error and noise floor of each model
        or stratum.
    pooled : ReliabilityCurve, default=None
        The curve of all rows, if `curves` are strata.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the diagram.
    density_ax_ : matplotlib Axes or None
        Axes of the histogram of confidences below it.
    figure_ : matplotlib Figure
        The figure.
    points_ : list of matplotlib PathCollection
        The points of each curve; a hollow point lies inside its band.
    lines_ : list of matplotlib Line2D
        The isotonic line of each model, or the line through the points of each stratum.
    bands_ : list of matplotlib PolyCollection
        The band of each curve.

    See Also
    --------
    RoutingGapDisplay : What a routing feature adds at equal confidence.
    sk_arcal.metrics.reliability_table : The points alone, with weights.

    Notes
    -----
    *Points* are the event rates in bins of confidence. The *line* is the isotonic regression of
    the event on the confidence (CORP [1]_): it needs no bins. The *band* of a model is its
    consistency band: where the points of a perfectly calibrated model with these confidences
    would lie (y ~ Bernoulli(c)). It is simultaneous: in 95 % of calibrated data sets (or a few
    more, as counts are whole numbers) *all* points of the model lie inside. The line may leave
    it sooner, because the band is that of the points.

    With `strata` the band belongs to each stratum and lies around the curve of all rows: where
    its points would lie if the outcomes were shuffled inside the bins, so that strata differed
    in their confidences only. It is simultaneous over all points of all strata. What shows is
    whether the strata *differ at equal confidence*, not whether any of them is calibrated.

    The legend gives the expected calibration error in 15 equal-width bins and its *noise floor*,
    the mean error of a perfectly calibrated model of the same size and confidences. The points
    have bins of their own, by default with equal counts.

    References
    ----------
    .. [1] T. Dimitriadis, T. Gneiting and A. I. Jordan. "Stable reliability diagrams for
       probabilistic classifiers". PNAS 118 (8), 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.displays import ReliabilityDisplay
    >>> rng = np.random.default_rng(0)
    >>> confidence = rng.uniform(0.5, 1, 2000)
    >>> event = rng.random(2000) < confidence**2
    >>> display = ReliabilityDisplay.from_predictions(event, confidence, n_bins=4)
    >>> display.frame()[["count", "mean_confidence", "event_rate", "inside"]].round(2)
       count  mean_confidence  event_rate  inside
    0    500             0.56        0.34   False
    1    500             0.69        0.48   False
    2    500             0.81        0.65   False
    3    500             0.94        0.90   False
    """

    def __init__(
        self, curves: Sequence[ReliabilityCurve], *, pooled: ReliabilityCurve | None = None
    ) -> None:
        self.curves = tuple(curves)
        self.pooled = pooled

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, y: ArrayLike, *, name: str | None = None, **options: Any
    ) -> "ReliabilityDisplay":
        """Draw the reliability diagram of a fitted classifier or calibrator.

        With two classes the event is ``y == classes_[1]``; with more it is "the most probable
        class was the right one" and its probability the largest one.

        Parameters
        ----------
        estimator : fitted estimator
            With `predict_proba` and `classes_`.
        X : array-like of shape (n_samples, n_features)
            Rows it has not been fitted on.
        y : array-like of shape (n_samples,)
            Labels.
        name : str, default=None
            Name in the legend; None takes that of the class.
        **options : dict
            As in :meth:`from_predictions`.

        Returns
        -------
        display : ReliabilityDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no `predict_proba`.
        ValueError
            If `y` does not fit `X` or the classes of the estimator.
        ImportError
            If matplotlib is not installed.
        """
        event, probability = event_of_estimator(estimator, X, y)
        name = type(estimator).__name__ if name is None else name
        return cls.from_predictions(event, probability, name=name, **options)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_prob: ArrayLike | Mapping[str, ArrayLike],
        *,
        strata: ArrayLike | None = None,
        strata_names: Sequence[str] | None = None,
        n_bins: int | Literal["auto"] = "auto",
        strategy: Literal["quantile", "uniform"] = "quantile",
        n_resamples: int = 200,
        random_state: Any = None,
        ax: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> "ReliabilityDisplay":
        """Draw the reliability diagram of predicted probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Whether the event happened, 0 or 1.
        y_prob : array-like of shape (n_samples,) or dict of such
            Probability of the event; a dict from names to probabilities draws several models.
        strata : array-like of shape (n_samples,), default=None
            Names or codes that split the rows of one model, at most eight different ones. Cut a
            number into strata with :func:`sk_arcal.metrics.rank_groups`.
        strata_names : sequence of str, default=None
            What to call the strata, in the sorted order of their values.
        n_bins : int or "auto", default="auto"
            Bins of confidence. "auto" takes the cube root of the number of rows (of a stratum),
            kept in 4 to 30.
        strategy : {"quantile", "uniform"}, default="quantile"
            Bins of equal count or of equal width.
        n_resamples : int, default=200
            Draws behind the noise floor of the calibration error, at least 2; 0 leaves it out.
        random_state : int, RandomState, Generator or None, default=None
            Seed of the noise floor; nothing else is random.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of a single model.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : ReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If shapes differ, `y_true` is not 0 or 1, `y_prob` leaves [0, 1] or holds no model,
            there are several models and `strata`, or more than eight strata.
        TypeError
            If `n_bins` is neither "auto" nor an integer.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("ReliabilityDisplay")
        check_option("strategy", strategy, ("quantile", "uniform"))
        event = check_events(y_true)
        models = y_prob if isinstance(y_prob, Mapping) else {name or "all rows": y_prob}
        if not models:
            raise ValueError("`y_prob` is an empty dict; at least one model is needed.")
        confidences = {
            str(key): check_probabilities(values, n_samples=len(event))
            for key, values in models.items()
        }
        floor = FloorSettings(
            check_integer("n_resamples", n_resamples, low=0), as_generator(random_state)
        )
        binning = (n_bins, strategy)
        if strata is None:
            return cls(curves_of_models(event, confidences, binning, floor)).plot(ax, **options)
        curves, pooled = curves_of_strata(event, confidences, strata, strata_names, binning, floor)
        return cls(curves, pooled=pooled).plot(ax, **options)

    def frame(self) -> Any:
        """Return the points as a table.

        Returns
        -------
        table : pandas.DataFrame
            One row per point: "curve", "lower", "upper", "count", "mean_confidence",
            "event_rate", "band_center", "band_low", "band_high", "inside".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="ReliabilityDisplay.frame")
        columns = (
            "lower", "upper", "count", "mean_confidence", "event_rate",
            "band_center", "band_low", "band_high", "inside",
        )  # fmt: skip
        return pandas.concat(
            [
                pandas.DataFrame({"curve": curve.name} | {c: getattr(curve, c) for c in columns})
                for curve in self.curves
            ],
            ignore_index=True,
        )

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        density: bool = True,
        legend: bool = True,
    ) -> "ReliabilityDisplay":
        """Draw the diagram.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure. The histogram takes the lower part of it.
        name : str, default=None
            Title; None leaves it out.
        density : bool, default=True
            Whether to draw the histogram of the confidences below the diagram.
        legend : bool, default=True
            Whether to write names, calibration errors and noise floors.

        Returns
        -------
        self : ReliabilityDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("ReliabilityDisplay.plot")
        if ax is None:
            _, ax = plt.subplots(figsize=(5.4, 6.4 if density else 5.2), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        ink = plt.rcParams["text.color"]
        drawn = draw_diagram(ax, self.curves, self.pooled, ink=ink)
        self.points_, self.lines_, self.bands_ = drawn
        self.density_ax_ = draw_density(ax, self.curves, self.pooled) if density else None
        (self.density_ax_ or ax).set_xlabel("Confidence (probability of the event)")
        ax.set_ylabel("Rate of the event")
        if name is not None:
            plain_title(ax, name)
        if legend:
            draw_legend(ax, self.curves, self.pooled, ink=ink)
        return self
