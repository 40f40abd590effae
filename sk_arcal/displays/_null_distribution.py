"""The statistics of the conditional calibration test among their draws under the null."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sk_arcal._validation import FloatArray, check_integer, check_option, import_optional
from sk_arcal.diagnostics._result import ConditionalCalibrationResult
from sk_arcal.displays._base import HIGH, bare, plain_title, pyplot
from sk_arcal.displays._rows import check_kind, few_ticks, first_or_all, panels_of, plain_heading

_COLUMNS = 4


@dataclass(frozen=True, eq=False)
class NullDistribution:
    """Statistic of one component and its draws under the null hypothesis.

    Attributes
    ----------
    name : str
        Name of the component.
    statistic : float
        Its value in the data.
    draws : ndarray of shape (n_resamples,)
        Its values under the null hypothesis.
    pvalue : float
        Its p-value.
    """

    name: str
    statistic: float
    draws: FloatArray
    pvalue: float


class NullDistributionDisplay:
    """Where the statistics of the test lie among their draws under the null hypothesis.

    One panel per component of the test: the histogram is what the statistic would be if routing
    said nothing beyond the confidence, the line what it is.

    Create it with :meth:`from_result`; every number that is drawn stays in `components` and
    comes as a table from :meth:`frame`.

    Parameters
    ----------
    components : sequence of NullDistribution
        Name, statistic, draws and p-value of each component.
    name : str, default=None
        Name of the feature.

    Attributes
    ----------
    ax_ : matplotlib Axes or ndarray of Axes
        The panel, or one per component.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.conditional_calibration_test : The test.

    Notes
    -----
    Each p-value is valid by itself; the smallest of several is not. The p-value of the test
    combines them.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import conditional_calibration_test
    >>> from sk_arcal.displays import NullDistributionDisplay
    >>> data = make_routing_data(1000, effect="step", strength=0.2, random_state=0)
    >>> result = conditional_calibration_test(
    ...     data.y, data.confidence, data.routing[:, 0], n_resamples=199, random_state=0
    ... )
    >>> display = NullDistributionDisplay.from_result(result)
    >>> frame = display.frame()
    >>> frame.loc[frame["pvalue"] < 0.05, "component"].tolist()
    ['linear', 'low_order', 'part', 'scan']
    """

    def __init__(self, components: Sequence[NullDistribution], *, name: str | None = None) -> None:
        self.components = tuple(components)
        self.name = name

    @classmethod
    def from_result(
        cls,
        result: ConditionalCalibrationResult,
        *,
        ax: Any = None,
        name: str | None = None,
        **options: Any,
    ) -> "NullDistributionDisplay":
        """Draw the components of a test.

        Parameters
        ----------
        result : ConditionalCalibrationResult
            Of :func:`sk_arcal.diagnostics.conditional_calibration_test`.
        ax : matplotlib Axes or sequence of such, default=None
            Where to draw, one per component; None makes a figure.
        name : str, default=None
            Name of the feature.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : NullDistributionDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `result` is something else.
        ValueError
            If the question has no answer, the method makes no draws, or `ax` does not hold an
            axes per component.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("NullDistributionDisplay")
        check_kind("result", result, ConditionalCalibrationResult, "conditional_calibration_test")
        if not result.null_statistics:
            why = f"its method, {result.method!r}, makes none" if result.identifiable else ""
            raise ValueError(
                "`result` must hold draws under the null hypothesis; "
                f"{why or 'its question has no answer: ' + result.notes[0]}."
            )
        components = [
            NullDistribution(
                key,
                result.component_statistics[key],
                np.asarray(draws, dtype=np.float64),
                result.component_pvalues[key],
            )
            for key, draws in result.null_statistics.items()
        ]
        return cls(components, name=name).plot(ax, **options)

    def frame(self, part: Literal["components", "draws"] = "components") -> Any:
        """Return the numbers as a table.

        Parameters
        ----------
        part : {"components", "draws"}, default="components"
            The statistics, or the draws behind the histograms.

        Returns
        -------
        table : pandas.DataFrame
            Of the components: "component", "statistic", "n_draws", "pvalue". Of the draws:
            "component", "draw".

        Raises
        ------
        ValueError
            If `part` is neither of the two.
        ImportError
            If pandas is not installed.
        """
        check_option("part", part, ("components", "draws"))
        pandas = import_optional("pandas", extra="report", caller="NullDistributionDisplay.frame")
        names = [one.name for one in self.components]
        n_draws = [len(one.draws) for one in self.components]
        if part == "draws":
            draws = np.concatenate([one.draws for one in self.components])
            return pandas.DataFrame({"component": np.repeat(names, n_draws), "draw": draws})
        return pandas.DataFrame({
            "component": names,
            "statistic": [one.statistic for one in self.components],
            "n_draws": n_draws,
            "pvalue": [one.pvalue for one in self.components],
        })  # fmt: skip

    def plot(
        self, ax: Any = None, *, name: str | None = None, n_bins: int = 30
    ) -> "NullDistributionDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of such, default=None
            Where to draw, one per component; None makes a figure.
        name : str, default=None
            Name of the feature, above the figure; None takes that of the display. On axes that
            were given it is left out.
        n_bins : int, default=30
            Bars of each histogram.

        Returns
        -------
        self : NullDistributionDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ValueError
            If `n_bins` is not positive or `ax` does not hold an axes per component.
        TypeError
            If `n_bins` is not an integer.
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("NullDistributionDisplay.plot")
        n_bins = check_integer("n_bins", n_bins, low=1)
        panels = panels_of(plt, ax, len(self.components), (2.4, 2.4), _COLUMNS)
        ink = plt.rcParams["text.color"]
        for panel, component in zip(panels, self.components, strict=True):
            _draw(panel, component, n_bins, ink)
        panels[0].set_ylabel("Draws under the null")
        self.ax_, self.figure_ = first_or_all(panels), panels[0].figure
        title = self.name if name is None else name
        if title is not None and ax is None:
            plain_heading(self.figure_, title)
        return self


def _draw(ax: Any, component: NullDistribution, n_bins: int, ink: Any) -> None:
    """Draw one histogram, and the statistic with its p-value."""
    ax.hist(component.draws, bins=n_bins, color=(ink, 0.3), linewidth=0)
    ax.axvline(component.statistic, color=HIGH, linewidth=2)
    plain_title(ax, f"{component.name}: p = {component.pvalue:.3g}", fontsize="medium")
    ax.set_xlabel("Statistic")
    few_ticks(ax, most=4)
    few_ticks(ax, "y", most=4)
    bare(ax)
