import numpy as np
import pandas as pd
import polars as pl
import pytest

from sk_arcal.diagnostics._conditional._runs_input import read_runs


def _read(y=((0, 1, 1), (1, 1, 0)), p=((0.5, 0.6, 0.7),) * 2, routing=((1, 2, 3),) * 2, **options):
    defaults = {"items": None, "run_names": None, "feature_names": None, "routing_kind": "auto"}
    return read_runs(y, p, routing, **{**defaults, **options})


def test_defaults_name_runs_and_features():
    runs = _read()
    assert runs.names == ["run_0", "run_1"]
    assert list(runs.routing) == ["routing_0"]
    assert runs.items.tolist() == [0, 1, 2]
    assert (runs.n_items, runs.n_groups, runs.grouped) == (3, 3, False)


def test_three_axes_are_runs_items_features():
    cube = np.arange(12.0).reshape(2, 3, 2)
    runs = _read(routing=cube, feature_names=["a", "b"], run_names=["x", "y"])
    assert runs.names == ["x", "y"]
    np.testing.assert_array_equal(runs.columns[1]["b"], cube[1, :, 1])


@pytest.mark.parametrize("frame", [dict, pd.DataFrame, pl.DataFrame])
def test_tables_are_read_by_name_in_the_order_of_the_first(frame):
    tables = [frame({"a": [1, 2, 3], "b": [4, 5, 6]}), frame({"b": [7, 8, 9], "a": [1, 2, 4]})]
    runs = _read(routing=tables)
    assert [list(names) for names in (runs.routing, *runs.columns)] == [["a", "b"]] * 3
    assert runs.routing["b"][1].numbers.tolist() == [7, 8, 9]


def test_kind_and_levels_are_decided_from_all_runs():
    """Seven values in each run, fourteen in both: continuous. Three names, two in each run."""
    rng = np.random.default_rng(0)
    n = 70
    y, p = np.tile([0, 1], (2, n // 2)), rng.random((2, n))
    tables = [
        {
            "number": np.arange(n) % 7 + 7 * s,
            "name": np.array(["a", "b", "c"])[np.arange(n) % 2 + s],
        }
        for s in range(2)
    ]
    runs = _read(y, p, tables)
    assert runs.kinds == {"number": "continuous", "name": "nominal"}
    first, second = runs.routing["name"]
    assert first.levels == second.levels == ("a", "b", "c")
    assert first.codes[:2].tolist() == [0, 1]
    assert second.codes[:2].tolist() == [1, 2]
    assert second.numbers.tolist() == second.codes.tolist()


def test_numbered_levels_keep_their_numbers():
    runs = _read(routing=[[1, 2, 10], [2, 2, 10]])
    first, second = runs.routing["routing_0"]
    assert first.kind == "discrete"
    assert second.levels == ("1", "2", "10")
    assert second.codes.tolist() == [1, 1, 2]
    assert second.numbers.tolist() == [2, 2, 10]


def test_kind_by_name():
    runs = _read(
        routing=np.ones((2, 3, 2)), feature_names=["a", "b"], routing_kind={"b": "nominal"}
    )
    assert runs.kinds == {"a": "discrete", "b": "nominal"}


def test_items_may_be_names():
    assert _read(items=["x", "y", "x"]).items.tolist() == [0, 1, 0]
    assert _read(items=["x", "y", "x"]).n_groups == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": [[0, 1, 1], [1, 1]]}, "`y_true` differ in length"),
        ({"y": [0, 1, 1]}, r"`y_true` must have shape \(n_runs, n_items\).*pass \[y_true\]"),
        ({"y": np.ones((0, 3))}, "`y_true` must have shape"),
        ({"y": [[0, 1, 1], [1, 1, 2]]}, r"`y_true\['run_1'\]` must be 0 or 1"),
        ({"p": [[0.5, 0.6, 0.7]]}, "`y_prob` holds 1 runs where `y_true` holds 2"),
        ({"p": [[0.5, 0.6]] * 2}, r"`y_prob\['run_0'\]` has 2 rows where 3"),
        ({"p": [[0.5, 0.6, 1.7]] * 2}, r"`y_prob\['run_0'\]` must lie in \[0, 1\]"),
        ({"routing": [[1, 2, 3]]}, "`routing` holds 1 runs where `y_true` holds 2"),
        ({"routing": [[1, 2, 3], [1, 2]]}, r"`routing\['run_1'\]\['routing_0'\]` has 2 rows"),
        ({"routing": [[1, 2, 3], [1, 2, np.nan]]}, r"`routing\['run_1'\]\['routing_0'\]` must be"),
        ({"routing": np.ones((2, 3, 2, 2))}, r"one run has shape \(3, 2, 2\)"),
        ({"routing": np.ones((2, 3, 0))}, "`routing` has no columns"),
        ({"routing": [{"a": [1, 2, 3]}, {"b": [1, 2, 3]}]}, "same routing features"),
        ({"routing": [{"a": [1, 2, 3]}] * 2, "feature_names": ["b"]}, "already has names"),
        ({"routing": [{1: [1, 2, 3], "1": [1, 2, 3]}] * 2}, "must differ; repeated"),
        ({"feature_names": ["a", "b"]}, "`feature_names` has 2 names where 1"),
        ({"run_names": ["a", "a"]}, r"`run_names` must differ; repeated: \['a'\]"),
        ({"run_names": ["a"]}, "`run_names` has 1 names where 2"),
        ({"items": [0, 1]}, "`items` has 2 rows where 3"),
        ({"routing_kind": {"a": "nominal"}}, "speaks of"),
        ({"routing_kind": "ordinal"}, "`routing_kind` must be one of"),
    ],
)
def test_what_is_wrong_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        _read(**change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"routing": {"a": [1, 2, 3]}}, "one entry for every run"),
        ({"routing": pd.DataFrame({"a": [1, 2, 3]})}, "one entry for every run"),
        ({"routing": [[1, 2, 3], ["a", "b", "c"]]}, "names in 'run_1' and numbers in 'run_0'"),
        ({"routing": [["a", "b", "c"]] * 2, "routing_kind": "continuous"}, "holds names"),
    ],
)
def test_kinds_that_cannot_be_read_are_named(change, words):
    with pytest.raises(TypeError, match=words):
        _read(**change)


def test_names_and_numbers_meet_as_nominal():
    runs = _read(routing=[[1, 2, 3], ["1", "2", "4"]], routing_kind="nominal")
    assert runs.routing["routing_0"][0].levels == ("1", "2", "3", "4")
