"""What the conditional calibration tests return."""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional
from sk_arcal.diagnostics._conditional_cells import ConditionalCells

if TYPE_CHECKING:
    import pandas

Interval = tuple[float, float]


@dataclass(frozen=True, repr=False)
class ConditionalCalibrationResult:
    """Answer to whether routing knows something that the confidence does not.

    Returned by :func:`conditional_calibration_test`.

    Attributes
    ----------
    statistic : float
        Combined score of the four components, the larger the more evidence.
    pvalue : float
        Share of {data, draws} with a combined score at least that of the data; NaN if the
        question has no answer.
    component_pvalues : dict of str to float
        p-values of "linear", "low_order", "part" and "scan", each valid by itself; for another
        `method` its name and p-value.
    leading : str
        The component with the smallest p and its window of confidence or part of the routing.
    leading_gap : float
        Gap of that window or part, in probability units.
    leading_interval : tuple of float
        Interval of `leading_gap`, wide enough for having been picked among all.
    gap : float
        P(event) in the top tertile of the routing minus that in the bottom tertile, among rows
        of like confidence. Two routing values: upper minus lower. Nominal routing: the level
        that differs most from the rest.
    gap_interval : tuple of float
        Interval of `gap`; simultaneous over the levels of a nominal feature.
    gap_se : float
        Standard error of `gap`.
    min_detectable_gap : float
        Gap that these data find with 80 % power; for a nominal feature, in its least known level.
    delta : float
        Largest gap that counts as none.
    equivalent : bool
        Whether the data show that the gap (of every level) is smaller than `delta`.
    equivalence_interval : tuple of float
        Narrower interval of `gap` that `equivalent` compares with `delta`; for a nominal feature
        it spans the intervals of all levels.
    identifiable : bool
        Whether the question has an answer; `notes` says why not.
    share_left_open : float
        Share of the routing that the confidence leaves open: 1 if they are independent, 0 if
        the routing is a function of the confidence.
    n_samples : int
        Number of rows.
    n_bins : int
        Number of bins of like confidence.
    n_groups : int or None
        Number of groups of dependent rows.
    null : {"shuffle", "sign-flip", "normal", "multiplier", "chi-square", "martingale", "none"}
        How the draws were made, or what gave the p-value without any.
    n_resamples : int
        Number of draws; 0 if the p-value needs none.
    notes : tuple of str
        What to know before quoting the numbers.
    gap_contrast : str
        What `gap` compares, in words.
    alpha : float
        Level: intervals hold 1 - alpha, the one of equivalence 1 - 2 alpha.
    method : str
        Method behind `pvalue`, `component_pvalues` and `leading`. Everything that says how large
        the gap is or may be is the same for all methods.
    noncentrality_bound : float
        Upper bound, with confidence 1 - alpha, of the noncentrality along the directions of the
        routing: the sum over rows of the squared gap in standard deviations of one outcome.
    rms_gap_bound : float
        The same in probability units. It bounds the root mean square, over the rows, of
        P(event | confidence, routing) - P(event | confidence), as far as this follows the
        directions: trend and curvature of the routing, any level, and a trend (or level) whose
        effect turns along the confidence, together and in any mixture. An effect of another
        shape, such as one in a single narrow range of confidence, is bounded by its share that
        follows them. NaN with about as many groups as directions or fewer.
    equivalent_any_shape : bool
        Whether `rms_gap_bound` is smaller than `delta`. `equivalent` speaks of one contrast, top
        against bottom tertile, which a U-shape or a turning trend leaves at zero; this speaks of
        all directions at once, but of their root mean square: a step of +/- delta / 2 between
        outer tertiles has one of 0.41 delta.
    component_statistics : dict of str to float
        Statistics behind `component_pvalues`; empty if the question has no answer.
    null_statistics : dict of str to ndarray of shape (n_resamples,)
        Their draws under the null hypothesis; empty for methods that do not draw.
    cells : ConditionalCells or None
        Table of cells, for ``method="cells"``.
    """

    statistic: float
    pvalue: float
    component_pvalues: dict[str, float]
    leading: str
    leading_gap: float
    leading_interval: Interval
    gap: float
    gap_interval: Interval
    gap_se: float
    min_detectable_gap: float
    delta: float
    equivalent: bool
    equivalence_interval: Interval
    identifiable: bool
    share_left_open: float
    n_samples: int
    n_bins: int
    n_groups: int | None
    null: str
    n_resamples: int
    notes: tuple[str, ...] = ()
    gap_contrast: str = ""
    alpha: float = 0.05
    method: str = "default"
    noncentrality_bound: float = np.nan
    rms_gap_bound: float = np.nan
    equivalent_any_shape: bool = False
    component_statistics: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    null_statistics: dict[str, NDArray[np.float64]] = field(
        default_factory=dict, repr=False, compare=False
    )
    cells: ConditionalCells | None = field(default=None, repr=False, compare=False)

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row: a column for each number, intervals as `_low` and `_high`.

        Returns
        -------
        frame : pandas.DataFrame of shape (1, n_fields)
            Notes are joined to one text; draws and cells are left out.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        caller = "ConditionalCalibrationResult.to_frame"
        pandas = import_optional("pandas", extra="report", caller=caller)
        return pandas.DataFrame([self._record()])

    def _record(self) -> dict[str, object]:
        record: dict[str, object] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if not one.repr:
                continue
            if one.name == "component_pvalues":
                record |= {f"pvalue_{name}": p for name, p in value.items()}
            elif one.name.endswith("interval"):
                record |= {f"{one.name}_low": value[0], f"{one.name}_high": value[1]}
            else:
                record[one.name] = " ".join(value) if one.name == "notes" else value
        return record

    def __repr__(self) -> str:
        lines = ["ConditionalCalibrationResult", *self._findings(), self._data_line()]
        return "\n  ".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _findings(self) -> list[str]:
        if not self.identifiable:
            return ["p-value         none: the question has no answer here"]
        parts = ", ".join(f"{name} {p:.3g}" for name, p in self.component_pvalues.items())
        shown = "shown" if self.equivalent else "not shown"
        within = f"{shown} within {self.delta:g}: {_bracket(self.equivalence_interval)}"
        return [
            f"p-value         {self.pvalue:.3g}  ({parts})",
            f"leading         {self.leading}",
            f"                gap {self.leading_gap:+.4f} {_bracket(self.leading_interval)}",
            f"gap             {self.gap:+.4f} {_bracket(self.gap_interval)}  {self.gap_contrast}",
            f"detectable gap  {self.min_detectable_gap:.4f} with 80 % power",
            f"equivalence     {within}",
            f"any shape       {self._any_shape()}",
        ]

    def _any_shape(self) -> str:
        if np.isnan(self.rms_gap_bound):
            return "not bounded: too few groups"
        shown = "shown" if self.equivalent_any_shape else "not shown"
        return f"{shown} within {self.delta:g}: root mean square gap below {self.rms_gap_bound:.4f}"

    def _data_line(self) -> str:
        groups = "" if self.n_groups is None else f", {self.n_groups} groups"
        return (
            f"data            {self.n_samples} rows in {self.n_bins} bins{groups}, "
            f"{self.share_left_open:.3g} of the routing left open, "
            + (f"{self.n_resamples} draws ({self.null})" if self.n_resamples else self.null)
        )


@dataclass(frozen=True, repr=False)
class ConditionalCalibrationTests:
    """The conditional calibration test for several routing features of the same rows.

    Returned by :func:`conditional_calibration_tests`.

    Attributes
    ----------
    results : dict of str to ConditionalCalibrationResult
        Result of each feature, in the order given.
    pvalue_adjusted : dict of str to float
        p-value of each feature corrected for the number of features (Westfall-Young where features
        share their draws, otherwise Holm): rejecting those at most 0.05 gives one false alarm or
        more in at most 5 % of tables.
    """

    results: dict[str, ConditionalCalibrationResult]
    pvalue_adjusted: dict[str, float]

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row per feature, with its name and adjusted p-value in front.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_features, n_fields)
            Columns as in :meth:`ConditionalCalibrationResult.to_frame`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        caller = "ConditionalCalibrationTests.to_frame"
        pandas = import_optional("pandas", extra="report", caller=caller)
        return pandas.DataFrame(
            [
                {"feature": name, "pvalue_adjusted": self.pvalue_adjusted[name], **result._record()}
                for name, result in self.results.items()
            ]
        )

    def __repr__(self) -> str:
        width = max([len("feature"), *(len(name) for name in self.results)])
        titles = f"{'p':>7}  {'adjusted':>8}  {'gap':>8}  {'detectable':>10}  leading"
        head = f"{'feature':{width}}  {titles}"
        lines = [f"{name:{width}}  {self._line(name)}" for name in self.results]
        return "\n".join(["ConditionalCalibrationTests", head, *lines])

    def _line(self, name: str) -> str:
        result = self.results[name]
        if not result.identifiable:
            return f"{'-':>7}  {'-':>8}  {'-':>8}  {'-':>10}  {result.notes[0]}"
        return (
            f"{result.pvalue:7.3g}  {self.pvalue_adjusted[name]:8.3g}  "
            f"{result.gap:+8.4f}  {result.min_detectable_gap:10.4f}  {result.leading}"
        )


def _bracket(interval: Interval) -> str:
    return f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"
