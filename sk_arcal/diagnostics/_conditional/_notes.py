"""When the question has no answer, and what to know before quoting one."""

import numpy as np

from sk_arcal.diagnostics._conditional._binned_outcomes import BinnedOutcomes
from sk_arcal.diagnostics._conditional._routing_feature import RoutingFeature, smallest_level
from sk_arcal.diagnostics._conditional._routing_input import RoutingValues

# Smooth functions of the confidence leave about 10 / n^2 to 40 / n^2 open, by their kinks.
_MIN_SHARE_OPEN = 1e-4
_KINKS = 40
_MIN_ROWS = 200
_MIN_OUTCOMES = 10
_MIN_GROUPS = 30
_LARGE_TIE = 1 / 3


def refusal(outcomes: BinnedOutcomes, values: RoutingValues, feature: RoutingFeature) -> str:
    """Say why the question has no answer; empty if it has one."""
    if outcomes.hits.sum() in {0, outcomes.n_samples}:
        return "All outcomes are the same, so there is nothing to explain."
    if outcomes.n_groups == 1:
        return "All rows are in one group, so there is no independent repetition."
    if np.ptp(values.numbers) == 0:
        return "The routing has the same value in every row."
    if feature.n_columns == 0:
        return (
            f"No routing level leaves {smallest_level(outcomes.n_samples)} rows with it and as "
            "many without it."
        )
    if feature.share_left_open < max(_MIN_SHARE_OPEN, _KINKS / outcomes.n_samples**2):
        return (
            "The routing is a function of the confidence "
            f"(share left open {feature.share_left_open:.1e}): beyond the confidence it holds "
            "nothing to test."
        )
    return ""


def too_few_outcomes(outcomes: BinnedOutcomes) -> bool:
    """Whether either outcome is too rare for a normal interval."""
    hits = outcomes.hits.sum()
    return bool(min(hits, outcomes.n_samples - hits) < _MIN_OUTCOMES)


def data_notes(outcomes: BinnedOutcomes) -> list[str]:
    """Return notes that hold for every feature of a table."""
    notes = []
    if outcomes.n_samples < _MIN_ROWS:
        notes.append(
            f"{outcomes.n_samples} rows are too few to say much; a large p-value says nothing."
        )
    if too_few_outcomes(outcomes):
        hits = int(outcomes.hits.sum())
        notes.append(
            f"{hits} events and {outcomes.n_samples - hits} non-events: with fewer than "
            f"{_MIN_OUTCOMES} of either, intervals are rough and equivalence is not claimed."
        )
    if outcomes.n_groups is not None and outcomes.n_groups < _MIN_GROUPS:
        notes.append(f"{outcomes.n_groups} groups are few: p-values are coarse and intervals wide.")
    return notes


def feature_notes(values: RoutingValues, feature: RoutingFeature) -> list[str]:
    """Return notes on one routing feature."""
    notes = []
    untested = len(values.levels) - len(feature.level_names)
    if feature.level is not None and untested > (not feature.is_ranked and len(values.levels) == 2):
        share = np.mean(feature.level < 0)
        notes.append(
            f"{untested} of {len(values.levels)} routing levels ({share:.1%} of the rows) have too "
            "few rows to be tested by themselves."
        )
    if feature.level is not None and feature.is_ranked:
        notes.append(
            f"The {len(values.levels)} routing values are read as ordered numbers, and gap and "
            'equivalence speak of their tertiles; for names such as expert ids pass "nominal".'
        )
    if feature.level is None:
        largest = np.unique(values.numbers, return_counts=True)[1].max() / len(values.numbers)
        if largest > _LARGE_TIE:
            notes.append(
                f"{largest:.0%} of the rows share one routing value; tertiles divide them as if "
                "at random, which makes the gap small."
            )
    return notes
