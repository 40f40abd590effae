import pytest

from sk_arcal.feature_extraction._readers._labels import label_sites


def labels(paths, kinds="router"):
    kinds = [kinds] * len(paths) if isinstance(kinds, str) else kinds
    return [label for label, _ in label_sites(kinds, paths)]


def test_kind_and_block_are_enough_where_each_block_has_one_site():
    paths = [f"model.layers.{i}.mlp.gate" for i in (0, 3, 12)]
    named = label_sites(["router"] * 3, paths)
    assert named == [("router_l00", 0), ("router_l03", 3), ("router_l12", 12)]


def test_two_sites_in_a_block_are_told_apart_by_what_differs_between_them():
    paths = ["layers.0.mlp.router", "layers.0.self_attention.experts.router"]
    assert labels(paths) == ["router_l00_mlp", "router_l00_self_attention_experts"]


def test_one_block_with_two_sites_names_all_blocks_alike():
    paths = ["layers.0.mlp_input", "layers.1.attention_input", "layers.1.mlp_input", "final_input"]
    expected = ["l00_mlp_input", "l01_attention_input", "l01_mlp_input", "final_input"]
    assert labels(paths, "depth") == [f"depth_{name}" for name in expected]


def test_towers_are_told_apart_by_what_comes_before_their_blocks():
    paths = ["encoder.block.1.layer.1.mlp.router", "decoder.block.1.layer.2.mlp.router"]
    assert labels(paths) == ["router_l01_encoder", "router_l01_decoder"]


def test_towers_with_several_sites_in_a_block_need_both():
    paths = [f"{tower}.{i}.{part}" for tower in "ab" for i in (0, 1) for part in ("x", "y")]
    named = labels(paths)
    assert named[0] == "router_l00_a_x"
    assert len(set(named)) == 8


def test_kinds_do_not_disturb_each_other():
    paths = ["layers.0.gate", "layers.0.read"]
    assert labels(paths, ["router", "depth"]) == ["router_l00", "depth_l00"]


def test_the_first_number_is_the_block():
    assert label_sites(["router"], ["blocks.7.1.gate"]) == [("router_l07", 7)]


def test_module_itself_has_no_path():
    assert label_sites(["router"], [""]) == [("router", None)]


def test_word_that_says_the_kind_is_not_said_twice():
    assert labels(["router"]) == ["router"]
    assert labels(["depth"], "depth") == ["depth"]


def test_sites_outside_blocks_with_equal_ends_keep_their_whole_path():
    assert labels(["left.gate", "right.gate"]) == ["router_left_gate", "router_right_gate"]


@pytest.mark.parametrize("paths", [["0.a_b", "0.a.b", "0.c"], ["x.y_z", "x_y.z", "x.y.z"]])
def test_labels_stay_unique_where_words_join_to_the_same(paths):
    assert len(set(labels(paths))) == len(paths)


def test_a_label_does_not_depend_on_the_order_of_the_sites():
    paths = ["layers.0.mlp_input", "layers.1.attention_input", "layers.1.mlp_input", "final_input"]
    backwards = dict(zip(paths[::-1], labels(paths[::-1], "depth"), strict=True))
    assert [backwards[path] for path in paths] == labels(paths, "depth")
