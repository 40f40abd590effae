"""From rows to what the test of a profile returns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import check_events, check_groups, check_probabilities
from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._notes import data_notes
from sk_arcal.diagnostics._profile._held_out import HeldOut, merged_pvalue
from sk_arcal.diagnostics._profile._joint_test import JointTest
from sk_arcal.diagnostics._profile._profile_columns import ProfileColumns
from sk_arcal.diagnostics._profile._profile_input import Profile, read_profile
from sk_arcal.diagnostics._profile_result import RoutingProfileResult

IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class ProfileRows:
    """Checked data in order of confidence; `places` are the rows as the user gave them."""

    outcomes: BinnedOutcomes
    profile: Profile
    places: IntArray


def read_rows(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    profile: Any,
    groups: ArrayLike | None,
    rng: np.random.Generator,
) -> ProfileRows:
    """Check the data and put rows in an order that does not depend on the order given."""
    events = check_events(y_true)
    confidence = check_probabilities(y_prob, n_samples=len(events))
    read = read_profile(profile, len(events))
    codes = None if groups is None else check_groups(groups, len(events))[1]
    keys = [values.numbers for values in read.columns.values()]
    own = [] if codes is None else [codes]
    places = np.lexsort([*own, events, *keys, confidence])
    sorted_codes = None if codes is None else codes[places]
    outcomes = BinnedOutcomes.from_rows(events[places], confidence[places], sorted_codes, rng)
    places = places[outcomes.order]
    return ProfileRows(outcomes, read.taken(places), places)


@dataclass(frozen=True)
class ProfileAnswer:
    """Fills results with what is known before the test."""

    learner: Any
    rows: ProfileRows
    columns: ProfileColumns
    n_resamples: int

    def refusal(self) -> str:
        """Say why the question has no answer; empty if it has one."""
        if self.rows.outcomes.hits.sum() in {0, self.rows.outcomes.n_samples}:
            return "All outcomes are the same, so there is nothing to explain."
        if self.rows.outcomes.n_groups == 1:
            return "All rows are in one group, so there is no independent repetition."
        return "" if self.columns.n_columns else "No column of the profile is left to test."

    def refused(self, reason: str) -> RoutingProfileResult:
        """Describe a question without an answer."""
        return self._result(
            pvalue=np.nan, leading="none", identifiable=False, null="none", notes=(reason,)
        )

    def joint(self, test: JointTest) -> RoutingProfileResult:
        """Describe the test of all terms on all rows."""
        if not test.terms:
            return self.refused("No term of the profile varies among rows of like confidence.")
        importance = dict.fromkeys(self.columns.sources, 0.0)
        for term, score in zip(test.terms, np.abs(test.scores).tolist(), strict=True):
            for name in {self.columns.sources[part] for part in term.parts}:
                importance[name] = max(importance[name], score)
        k = int(np.argmax(np.abs(test.scores)))
        return self._result(
            pvalue=test.pvalue,
            kind_pvalues=test.kind_pvalues,
            leading=f"{test.terms[k].name} (z = {test.scores[k]:+.2f})",
            importance=importance,
            null=test.null,
        )

    def learned(self, splits: list[HeldOut]) -> RoutingProfileResult:
        """Describe the tests of a learned score on held-out rows."""
        results = tuple(split.result for split in splits)
        answered = [result for result in results if result.identifiable]
        silent = len(results) - len(answered)
        importance = {
            name: float(np.mean([split.importance[name] for split in splits]))
            for name in splits[0].importance
        }
        return self._result(
            pvalue=merged_pvalue(np.array([r.pvalue for r in results]), self.n_resamples),
            leading=max(importance, key=lambda name: importance[name]),
            importance=importance,
            splits=results,
            held_out_rows=tuple(self.rows.places[split.rows] for split in splits),
            held_out_scores=tuple(split.scores for split in splits),
            identifiable=bool(answered),
            null=answered[0].null if answered else "none",
            notes=(f"{silent} of {len(results)} splits have no answer; see `splits`.",)
            * (silent > 0),
        )

    def _result(self, notes: tuple[str, ...] = (), **found: Any) -> RoutingProfileResult:
        outcomes, learner = self.rows.outcomes, self.learner
        name = learner if isinstance(learner, str) else type(learner).__name__
        return RoutingProfileResult(
            learner="none" if learner is None else name,
            n_samples=outcomes.n_samples,
            n_columns=self.columns.n_columns,
            n_groups=outcomes.n_groups,
            n_resamples=self.n_resamples,
            notes=(*notes, *data_notes(outcomes), *self.columns.notes),
            **found,
        )
