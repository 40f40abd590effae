"""What the conditional calibration test over several runs returns."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from sk_arcal._validation import import_optional
from sk_arcal.diagnostics._result import ConditionalCalibrationTests, Interval

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, repr=False)
class RunsFeatureResult:
    """What several runs say together about one routing feature.

    One of the `results` of :class:`ConditionalCalibrationRuns`.

    Attributes
    ----------
    exists : float
        p-value of "in no run does routing say more than confidence", all runs pooled item by
        item; NaN if the question has no answer in any run.
    any_run : float
        p-value of the same null hypothesis, Cauchy combination of the runs' p-values. Finds a
        signal that one run has, or whose sign differs between runs.
    stable : float
        p-value of "fewer than `min_runs` runs have a signal", partial conjunction of the runs'
        p-values. A run without an answer counts as one without a signal.
    exists_adjusted, any_run_adjusted, stable_adjusted : float
        Corrected for the number of features: `exists` by Westfall and Young's step-down on the
        shared signs, the others by Holm's rule.
    component_pvalues : dict of str to float
        p-values of "linear", "low_order", "part" and "scan" behind `exists`, each valid by itself.
    gap : float
        Mean over runs of the matched gap, in probability units.
    gap_contrast : str
        What the gap compares, in words; the same in every run.
    gap_interval : tuple of float
        Interval of `gap`, clustered by item; simultaneous over the levels of a nominal feature.
    gap_se : float
        Standard error of `gap`, clustered by item.
    min_detectable_gap : float
        Mean gap that these runs find with 80 % power; for a nominal feature, in its least known
        level.
    equivalence_interval : tuple of float
        Narrower interval of `gap` that `equivalent` compares with `delta`.
    equivalent : bool
        Whether the data show that the mean gap (of every level) is smaller than `delta`.
    run_pvalues : dict of str to float
        p-value of each run by itself; NaN where it has no answer.
    run_gaps : dict of str to float
        Gap of each run in the contrast of `gap`; NaN where the run cannot tell.
    run_gap_intervals : dict of str to tuple of float
        Their intervals, as wide in standard errors as `gap_interval`.
    sign_agreement : float
        Share of the runs with a gap in which it has the sign of `gap`.
    consistent : bool
        Whether more than half of the runs with a gap share the sign of `gap` and no run's
        interval lies wholly on the other side of zero.
    identifiable : bool
        Whether the question has an answer in some run.
    notes : tuple of str
        What to know before quoting the numbers.
    """

    exists: float
    any_run: float
    stable: float
    exists_adjusted: float
    any_run_adjusted: float
    stable_adjusted: float
    component_pvalues: dict[str, float]
    gap: float
    gap_contrast: str
    gap_interval: Interval
    gap_se: float
    min_detectable_gap: float
    equivalence_interval: Interval
    equivalent: bool
    run_pvalues: dict[str, float]
    run_gaps: dict[str, float]
    run_gap_intervals: dict[str, Interval]
    sign_agreement: float
    consistent: bool
    identifiable: bool
    notes: tuple[str, ...] = ()

    def _record(self) -> dict[str, object]:
        record: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "component_pvalues":
                record |= {f"exists_{name}": p for name, p in value.items()}
            elif field.name == "run_gap_intervals":
                for run, (low, high) in value.items():
                    record |= {f"gap_low[{run}]": low, f"gap_high[{run}]": high}
            elif isinstance(value, dict):
                stem = field.name.removeprefix("run_").removesuffix("s")
                record |= {f"{stem}[{run}]": number for run, number in value.items()}
            elif field.name.endswith("interval"):
                record |= {f"{field.name}_low": value[0], f"{field.name}_high": value[1]}
            else:
                record[field.name] = " ".join(value) if field.name == "notes" else value
        return record

    def __repr__(self) -> str:
        lines = ["RunsFeatureResult", *self._findings(), *(f"note: {note}" for note in self.notes)]
        return "\n  ".join(lines)

    def _findings(self) -> list[str]:
        if not self.identifiable:
            return ["p-values        none: the question has no answer in any run"]
        low, high = self.gap_interval
        gaps = ", ".join(f"{run} {gap:+.4f}" for run, gap in self.run_gaps.items())
        word = "consistent" if self.consistent else "not consistent"
        return [
            f"exists          {self.exists:.3g}  (adjusted {self.exists_adjusted:.3g})",
            f"any run         {self.any_run:.3g}  (adjusted {self.any_run_adjusted:.3g})",
            f"stable          {self.stable:.3g}  (adjusted {self.stable_adjusted:.3g})",
            f"gap             {self.gap:+.4f} [{low:+.4f}, {high:+.4f}]  {self.gap_contrast}",
            f"detectable gap  {self.min_detectable_gap:.4f} with 80 % power",
            f"runs            {gaps}",
            f"signs           {self.sign_agreement:.0%} as the mean gap, {word}",
        ]


@dataclass(frozen=True, repr=False)
class ConditionalCalibrationRuns:
    """The conditional calibration test over several runs that share their test set.

    Returned by :func:`conditional_calibration_runs`.

    Attributes
    ----------
    results : dict of str to RunsFeatureResult
        What all runs say together, by routing feature.
    runs : dict of str to ConditionalCalibrationTests
        Each run by itself.
    n_items : int
        Items of the test set.
    n_groups : int
        Groups of items that flip their sign together; `n_items` if each stands alone.
    n_bins : int
        Bins of like confidence that runs are matched on.
    min_runs : int
        u of "a signal in at least u runs".
    delta : float
        Largest gap that counts as none.
    alpha : float
        Level: intervals hold 1 - alpha, those of equivalence 1 - 2 alpha.
    n_resamples : int
        Number of draws.
    notes : tuple of str
        What holds for all features.
    """

    results: dict[str, RunsFeatureResult]
    runs: dict[str, ConditionalCalibrationTests]
    n_items: int
    n_groups: int
    n_bins: int
    min_runs: int
    delta: float
    alpha: float
    n_resamples: int
    notes: tuple[str, ...] = ()

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.runs)

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row per feature; numbers of a run stand in columns like `gap[run_0]`.

        Returns
        -------
        frame : pandas.DataFrame of shape (n_features, n_fields)
            Intervals are `_low` and `_high`, notes are joined to one text.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        caller = "ConditionalCalibrationRuns.to_frame"
        pandas = import_optional("pandas", extra="report", caller=caller)
        return pandas.DataFrame(
            [{"feature": name, **result._record()} for name, result in self.results.items()]
        )

    def __repr__(self) -> str:
        width = max([len("feature"), *(len(name) for name in self.results)])
        stable = f"in {self.min_runs} of {self.n_runs}"
        titles = (
            f"{'exists':>7}  {'any run':>7}  {stable:>9}  {'gap':>8}  {'detectable':>10}  signs"
        )
        head = f"{'feature':{width}}  {titles}"
        lines = [f"{name:{width}}  {self._line(result)}" for name, result in self.results.items()]
        what = f"ConditionalCalibrationRuns: {self.n_runs} runs, {self.n_items} items"
        adjusted = f"{what}, p-values adjusted for {len(lines)} features"
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([adjusted if len(lines) > 1 else what, head, *lines, *notes])

    def _line(self, result: RunsFeatureResult) -> str:
        if not result.identifiable:
            empty = f"{'-':>7}  {'-':>7}  {'-':>9}  {'-':>8}  {'-':>10}"
            return f"{empty}  {result.notes[0]}"
        word = "consistent" if result.consistent else "not consistent"
        return (
            f"{result.exists_adjusted:7.3g}  {result.any_run_adjusted:7.3g}  "
            f"{result.stable_adjusted:9.3g}  {result.gap:+8.4f}  "
            f"{result.min_detectable_gap:10.4f}  {result.sign_agreement:.0%}, {word}"
        )
