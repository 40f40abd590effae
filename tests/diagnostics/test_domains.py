"""Splits by domain, inside scikit-learn as well, and subsets by agreement."""

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, cross_validate

from sk_arcal.diagnostics._domains import LeaveOneDomainOut, agreement_subsets

DOMAINS = np.array(["photo", "art", "sketch", "art", "photo", "cartoon", "sketch", "photo"])
YEARS = np.array([2021, 2020, 2022, 2020, 2021, 2022])


def pairs(splitter, groups):
    return [
        (train.tolist(), test.tolist())
        for train, test in splitter.split(np.zeros(len(groups)), groups=groups)
    ]


def test_all_domains_are_those_of_scikit_learn():
    assert pairs(LeaveOneDomainOut(), DOMAINS) == pairs(LeaveOneGroupOut(), DOMAINS)
    assert LeaveOneDomainOut().get_n_splits(groups=DOMAINS) == 4
    assert LeaveOneDomainOut().held_out(DOMAINS).tolist() == ["art", "cartoon", "photo", "sketch"]


def test_chosen_domains_are_held_out_in_their_order():
    splitter = LeaveOneDomainOut(["sketch", "art"])
    assert splitter.held_out(DOMAINS).tolist() == ["sketch", "art"]
    assert [test for _, test in pairs(splitter, DOMAINS)] == [[2, 6], [1, 3]]
    # What is not held out is trained on, and so is the other that is.
    assert pairs(splitter, DOMAINS)[0][0] == [0, 1, 3, 4, 5, 7]
    assert splitter.get_n_splits(groups=DOMAINS) == 2


def test_forward_trains_on_the_past():
    splitter = LeaveOneDomainOut(forward=True)
    assert splitter.held_out(YEARS).tolist() == [2021, 2022]
    assert pairs(splitter, YEARS) == [([1, 3], [0, 4]), ([0, 1, 3, 4], [2, 5])]


def test_forward_follows_the_given_order():
    splitter = LeaveOneDomainOut(["sketch", "photo"], forward=True)
    assert splitter.held_out(DOMAINS).tolist() == ["sketch", "photo"]
    assert [train for train, _ in pairs(splitter, DOMAINS)] == [[1, 3, 5], [1, 2, 3, 5, 6]]
    splitter = LeaveOneDomainOut([2022, 2021, 2020], forward=True)
    assert splitter.held_out(YEARS).tolist() == [2021, 2020]


@pytest.mark.parametrize(
    ("splitter", "groups", "sentence"),
    [
        (LeaveOneDomainOut(), None, "`groups` is missing"),
        (LeaveOneDomainOut(), ["a", "a"], "at least two domains"),
        (LeaveOneDomainOut(["b"]), ["a", "c"], "must name domains of `groups`"),
        (LeaveOneDomainOut(["a", "a"]), ["a", "c"], "each once"),
        (LeaveOneDomainOut([]), ["a", "c"], "must name domains"),
        (LeaveOneDomainOut(min_train_rows=2), ["a", "a", "b"], "`min_train_rows` is 2"),
    ],
)
def test_refuses(splitter, groups, sentence):
    with pytest.raises(ValueError, match=sentence):
        splitter.get_n_splits(groups=groups)
    with pytest.raises(ValueError, match=sentence):
        list(splitter.split(np.zeros(2 if groups is None else len(groups)), groups=groups))


def test_works_where_scikit_learn_takes_a_splitter():
    rng = np.random.default_rng(0)
    groups, X = np.repeat(["x", "y", "z"], 20), rng.normal(size=(60, 2))
    y = rng.integers(2, size=60)
    cv = LeaveOneDomainOut(["y", "z"])
    found = cross_validate(LogisticRegression(), X, y, cv=cv, groups=groups, return_indices=True)
    assert [set(groups[test]) for test in found["indices"]["test"]] == [{"y"}, {"z"}]
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=cv)
    assert search.fit(X, y, groups=groups).n_splits_ == 2
    assert "domains=['y', 'z']" in repr(cv)


def test_groups_are_routed():
    groups, X = np.repeat(["x", "y"], 10), np.arange(20.0)[:, None]
    with sklearn.config_context(enable_metadata_routing=True):
        found = cross_validate(
            LogisticRegression(), X, X[:, 0] % 2, cv=LeaveOneDomainOut(),
            params={"groups": groups},
        )  # fmt: skip
    assert len(found["test_score"]) == 2


def test_subsets_are_strict_at_both_limits():
    shares = [0.69, 0.7, 0.8, 0.9, 0.91]
    expected = ["hard", "medium", "medium", "medium", "easy"]
    assert agreement_subsets(shares).tolist() == expected
    assert agreement_subsets([[s] for s in shares]).tolist() == expected


def test_counts_are_read_by_their_largest_share():
    counts = np.array([[6, 4, 0], [0, 7, 3], [1, 0, 50]])
    assert agreement_subsets(counts).tolist() == ["hard", "medium", "easy"]


@pytest.mark.parametrize(
    ("agreement", "options", "sentence"),
    [
        ([0.5, 1.2], {}, r"must lie in \[0, 1\]"),
        ([[1, -1]], {}, "row 0 holds"),
        ([[1, 2], [0, 0]], {}, "row 1 holds"),
        ([0.5], {"hard": 0.9, "easy": 0.7}, "`easy` must lie in"),
    ],
)
def test_agreement_refuses(agreement, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        agreement_subsets(agreement, **options)
