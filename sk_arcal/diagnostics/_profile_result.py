"""What the test of a routing profile returns."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional
from sk_arcal.diagnostics._result import ConditionalCalibrationResult

if TYPE_CHECKING:
    import pandas

_SHOWN = 5


@dataclass(frozen=True, repr=False, eq=False)
class RoutingProfileResult:
    """Answer to whether a routing profile knows something that the confidence does not.

    Returned by :func:`routing_profile_test`.

    Attributes
    ----------
    pvalue : float
        Of the whole profile; NaN if the question has no answer.
    learner : str
        "none" where all rows were tested at once; else what learned the score.
    kind_pvalues : dict of str to float
        p-values of "trend", "curvature", "turn" and "pair", each valid by itself; empty with a
        learner.
    leading : str
        Term with the largest standard score, and that score; with a learner, the column that
        moves the score most. A description, not a test.
    importance : dict of str to float
        For each column of the profile that was used: the largest absolute standard score of the
        terms it is in; with a learner, the mean over splits of how far the score moves on the rows
        it was learned on when the column is permuted, in standard deviations. A description, not
        a test.
    splits : tuple of ConditionalCalibrationResult
        Test of the learned score on each held-out part, with its gap and interval; empty without
        a learner.
    held_out_rows : tuple of ndarray of shape (n_held_out,)
        Rows of each held-out part.
    held_out_scores : tuple of ndarray of shape (n_held_out,)
        Learned score of those rows; larger where the event is expected more often than the
        confidence says.
    identifiable : bool
        Whether the question has an answer; `notes` says why not.
    n_samples : int
        Number of rows.
    n_columns : int
        Number of columns used, levels of names counted one by one.
    n_groups : int or None
        Number of groups of dependent rows.
    null : {"shuffle", "sign-flip", "normal", "none"}
        How the draws were made; with a learner, in the held-out parts.
    n_resamples : int
        Number of draws.
    notes : tuple of str
        What to know before quoting the numbers.
    """

    pvalue: float
    learner: str
    leading: str
    n_samples: int
    n_columns: int
    n_groups: int | None
    null: str
    n_resamples: int
    identifiable: bool = True
    kind_pvalues: dict[str, float] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)
    splits: tuple[ConditionalCalibrationResult, ...] = ()
    held_out_rows: tuple[NDArray[np.intp], ...] = ()
    held_out_scores: tuple[NDArray[np.float64], ...] = ()
    notes: tuple[str, ...] = ()

    def to_frame(self) -> "pandas.DataFrame":
        """Return one row: the p-value, those of its parts, and a column for each number.

        Returns
        -------
        frame : pandas.DataFrame of shape (1, n_fields)
            `pvalue_<kind>` for each kind of term, `pvalue_split_<k>` for each split,
            `importance_<name>` for each column of the profile. Held-out rows and scores are left
            out, notes are joined to one text.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="RoutingProfileResult.to_frame")
        record: dict[str, object] = {"pvalue": self.pvalue, "learner": self.learner}
        record |= {f"pvalue_{kind}": p for kind, p in self.kind_pvalues.items()}
        record |= {f"pvalue_split_{k}": split.pvalue for k, split in enumerate(self.splits)}
        record |= {"leading": self.leading}
        record |= {f"importance_{name}": value for name, value in self.importance.items()}
        plain = ("identifiable", "n_samples", "n_columns", "n_groups", "null", "n_resamples")
        record |= {name: getattr(self, name) for name in plain}
        return pandas.DataFrame([record | {"notes": " ".join(self.notes)}])

    def __repr__(self) -> str:
        lines = ["RoutingProfileResult", *self._findings(), self._data_line()]
        return "\n  ".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _findings(self) -> list[str]:
        if not self.identifiable:
            return ["p-value     none: the question has no answer here"]
        parts = [f"{kind} {p:.3g}" for kind, p in self.kind_pvalues.items()]
        if self.splits:
            parts = ["splits " + " ".join(f"{split.pvalue:.3g}" for split in self.splits)]
        ranked = sorted(self.importance, key=lambda name: -self.importance[name])
        shown = ", ".join(f"{name} {self.importance[name]:.2f}" for name in ranked[:_SHOWN])
        more = f", and {len(ranked) - _SHOWN} more" if len(ranked) > _SHOWN else ""
        return [
            f"p-value     {self.pvalue:.3g}  ({', '.join(parts)})",
            f"leading     {self.leading}",
            f"importance  {shown}{more}",
        ]

    def _data_line(self) -> str:
        groups = "" if self.n_groups is None else f", {self.n_groups} groups"
        return (
            f"data        {self.n_samples} rows{groups}, {self.n_columns} columns, "
            f"learner {self.learner}, {self.n_resamples} draws ({self.null})"
        )
