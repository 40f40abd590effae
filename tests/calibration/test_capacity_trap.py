"""The benchmark of the capacity trap, in small; ten seeds are in tests/statistical."""

import numpy as np
import pytest

from benchmarks.capacity_trap import METHODS, Comparison, compare, table


@pytest.mark.parametrize("truth", ["no effect", "effect"])
def test_controls_tell_capacity_from_routing(truth):
    comparison = compare(truth, 2, n_fit=3000, n_fresh=4000)
    logistic, confidence, shuffled, _ = comparison.gain[:, 0]
    assert logistic > 0.05
    if truth == "effect":
        assert min(confidence, shuffled) > 0.005
    else:
        assert max(confidence, shuffled) < 0.05 * logistic


def test_comparison_is_paired_over_seeds():
    runs = np.random.default_rng(0).random((5, 4, 2))
    comparison = Comparison.of(runs)
    differences = runs[:, 1, 0] - runs[:, 3, 0]
    assert comparison.gain[1, 0] == pytest.approx(differences.mean())
    expected = differences.mean() / (differences.std(ddof=1) / np.sqrt(5))
    assert comparison.z("confidence only", "log loss") == pytest.approx(expected)


def test_table_has_a_line_per_method():
    runs = np.random.default_rng(0).random((5, 4, 2))
    # Title, blank line, rule, header and rule above; a rule below.
    lines = table("effect", Comparison.of(runs), 5).splitlines()[5:-1]
    assert [line.split("  ")[0] for line in lines] == list(METHODS)
