import numpy as np
import pytest

from sk_arcal.diagnostics._conditional._combination import holm
from sk_arcal.diagnostics._conditional._methods._finding import Finding, adjusted_pvalues


def test_holm_by_hand():
    adjusted = holm(np.array([0.04, 0.01, 0.5, 0.02]))
    np.testing.assert_allclose(adjusted, [0.08, 0.04, 0.5, 0.06])


def test_holm_is_monotone_and_at_most_one():
    np.testing.assert_allclose(holm(np.array([0.3, 0.29, 0.9])), [0.87, 0.87, 0.9])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])


def test_shared_draws_are_used_where_all_have_them():
    shared = np.array([0.25, 0.5, 0.75, 1.0])
    finding = Finding(1.0, 0.25, "", shared_pvalues=shared)
    np.testing.assert_allclose(adjusted_pvalues([finding, finding]), [0.25, 0.25])
    alone = Finding(1.0, 0.25, "")
    np.testing.assert_allclose(adjusted_pvalues([finding, alone]), [0.5, 0.5])


@pytest.mark.parametrize("findings", [[], [Finding(2.0, 0.3, "")]])
def test_one_feature_or_none_is_not_adjusted(findings):
    assert adjusted_pvalues(findings).tolist() == [finding.pvalue for finding in findings]
