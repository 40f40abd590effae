"""How likely the test of the gap finds a gap, by its size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sk_arcal._validation import (
    FloatArray,
    check_number,
    check_option,
    check_vector,
    import_optional,
)
from sk_arcal.diagnostics._power import GapTest, detection_power
from sk_arcal.diagnostics._result import (
    ConditionalCalibrationResult,
    ConditionalCalibrationTests,
)
from sk_arcal.diagnostics._runs_result import ConditionalCalibrationRuns
from sk_arcal.displays._base import plain_title, pyplot
from sk_arcal.displays._power_marks import draw_power
from sk_arcal.displays._rows import check_kind

_N_POINTS = 201
_LARGEST_GAP = 0.999


@dataclass(frozen=True, eq=False)
class PowerCurve:
    """Power of the test of one gap, by the size of the gap.

    Attributes
    ----------
    name : str
        Name of the feature.
    gap : float
        Estimated gap, in probability units.
    delta : float
        Largest gap that counts as none.
    min_detectable_gap : float
        Gap that is found with 80 % power.
    sizes : ndarray of shape (n_points,)
        Sizes of the gap.
    power : dict of float to ndarray of shape (n_points,)
        Probability of finding a gap of each size, by multiple of the rows at hand.
    """

    name: str
    gap: float
    delta: float
    min_detectable_gap: float
    sizes: FloatArray
    power: Mapping[float, FloatArray]


class PowerCurveDisplay:
    """Probability that the test of the gap finds a gap, by the size of the gap.

    Dots mark the gap that is found with 80 % power, triangles the size of the estimated gap; the
    line at delta marks the smallest gap of interest. A curve that is low at delta cannot tell
    whether there is such a gap.

    Create it with :meth:`from_result`; every number that is drawn stays in `curves` and comes as
    a table from :meth:`frame`.

    Parameters
    ----------
    curves : sequence of PowerCurve
        One per feature.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.

    See Also
    --------
    sk_arcal.diagnostics.detection_power : The formula of the curves.
    sk_arcal.diagnostics.required_rows : The number of rows that finds a given gap.

    Notes
    -----
    The curve is that of the interval of the gap: a gap is found when it excludes zero. The
    p-value of the test looks at more than the gap. Of a nominal feature the curve is that of its
    least known level, and as wide as intervals for all levels at once require. For more rows
    the standard error shrinks with their square root.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_data
    >>> from sk_arcal.diagnostics import conditional_calibration_test
    >>> from sk_arcal.displays import PowerCurveDisplay
    >>> data = make_routing_data(1000, effect="step", strength=0.2, random_state=0)
    >>> result = conditional_calibration_test(
    ...     data.y, data.confidence, data.routing[:, 0], n_resamples=199, random_state=0
    ... )
    >>> display = PowerCurveDisplay.from_result(result, multiples=(1, 4))
    >>> marks = display.frame("marks")
    >>> bool(marks["min_detectable_gap"].iloc[0] == result.min_detectable_gap)
    True
    """

    def __init__(self, curves: Sequence[PowerCurve]) -> None:
        self.curves = tuple(curves)

    @classmethod
    def from_result(
        cls,
        result: Any,
        *,
        multiples: Sequence[float] = (1,),
        max_gap: float | None = None,
        ax: Any = None,
        **options: Any,
    ) -> "PowerCurveDisplay":
        """Draw the power of one test or of several.

        Parameters
        ----------
        result : ConditionalCalibrationResult, mapping of str to such, or result of many
            Of :func:`sk_arcal.diagnostics.conditional_calibration_test`, of its kin for several
            features or several runs, or named results of it; of several
            runs the curves are those of the mean gap. Features whose question has no answer get
            no curve.
        multiples : sequence of float, default=(1,)
            Multiples of the rows at hand, one curve each: ``(1, 2, 4)`` adds what twice and four
            times the rows would find.
        max_gap : float, default=None
            Right end of the axis, in probability units; None takes what the marks need.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **options : dict
            As in :meth:`plot`.

        Returns
        -------
        display : PowerCurveDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `result` or one of its entries is something else.
        ValueError
            If no question has an answer, or a number is out of range.
        ImportError
            If matplotlib is not installed.
        """
        pyplot("PowerCurveDisplay")
        gaps = list(_read(result))
        if not gaps:
            raise ValueError(
                "`result` must hold a test whose question has an answer; its `notes` say why "
                "there is none."
            )
        times = check_vector(multiples, "multiples")
        for one in times:
            check_number("multiples", one, low=0, strict=True)
        if max_gap is None:
            max_gap = max(_reach(one, delta) for _, one, delta, _ in gaps)
        largest = check_number("max_gap", max_gap, low=0, high=1, strict=True)
        sizes = np.linspace(0, largest, _N_POINTS)
        return cls([_curve(gap, sizes, times.tolist()) for gap in gaps]).plot(ax, **options)

    def frame(self, part: Literal["curves", "marks"] = "curves") -> Any:
        """Return the numbers as a table.

        Parameters
        ----------
        part : {"curves", "marks"}, default="curves"
            The curves, or the gaps that are marked.

        Returns
        -------
        table : pandas.DataFrame
            Of the curves: "name", "multiple", "gap", "power". Of the marks: "name", "gap",
            "min_detectable_gap", "delta".

        Raises
        ------
        ValueError
            If `part` is neither of the two.
        ImportError
            If pandas is not installed.
        """
        check_option("part", part, ("curves", "marks"))
        pandas = import_optional("pandas", extra="report", caller="PowerCurveDisplay.frame")
        if part == "marks":
            columns = ("name", "gap", "min_detectable_gap", "delta")
            return pandas.DataFrame(
                [{key: getattr(curve, key) for key in columns} for curve in self.curves]
            )
        return pandas.concat(
            [
                pandas.DataFrame(
                    {"name": curve.name, "multiple": times, "gap": curve.sizes, "power": power}
                )
                for curve in self.curves
                for times, power in curve.power.items()
            ],
            ignore_index=True,
        )

    def plot(
        self, ax: Any = None, *, name: str | None = None, legend: bool = True
    ) -> "PowerCurveDisplay":
        """Draw the figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Title; None leaves it out.
        legend : bool, default=True
            Whether to name the curves and their detectable gaps.

        Returns
        -------
        self : PowerCurveDisplay
            The display with `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = pyplot("PowerCurveDisplay.plot")
        if ax is None:
            width = 8.6 if legend else 5.6
            _, ax = plt.subplots(figsize=(width, 3.9), layout="constrained")
        draw_power(ax, self.curves, plt.rcParams["text.color"], legend=legend)
        if name is not None:
            plain_title(ax, name)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _read(result: Any) -> Iterator[tuple[str, Any, float, GapTest]]:
    """Yield name, result, delta and the test of the gap, where the question has an answer."""
    found: list[tuple[str, Any, float, int | None]]
    if isinstance(result, ConditionalCalibrationRuns):
        found = [(*pair, result.delta, result.n_groups) for pair in result.results.items()]
    else:
        tests = result.results if isinstance(result, ConditionalCalibrationTests) else result
        named = tests if isinstance(tests, Mapping) else {"": tests}
        for one in named.values():
            check_kind("result", one, ConditionalCalibrationResult, "conditional_calibration_test")
        found = [(str(name), one, one.delta, one.n_groups) for name, one in named.items()]
    for name, one, delta, n_groups in found:
        if one.identifiable and one.gap_se > 0:
            yield name, one, delta, GapTest.of(one, n_groups)


def _reach(result: Any, delta: float) -> float:
    """Return the size of gap that the marks of a result need room for."""
    return min(1.3 * max(result.min_detectable_gap, abs(result.gap), delta), _LARGEST_GAP)


def _curve(
    gap: tuple[str, Any, float, GapTest], sizes: FloatArray, multiples: Sequence[float]
) -> PowerCurve:
    name, result, delta, test = gap
    power = {
        times: detection_power(
            sizes, test.gap_se / np.sqrt(times), alpha=test.alpha, n_groups=test.n_groups
        )
        for times in multiples
    }
    return PowerCurve(name, result.gap, delta, result.min_detectable_gap, sizes, power)
