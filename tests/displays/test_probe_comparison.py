"""The comparison of probes shows their differences, by interval or by run."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics._matched_probes import matched_probes
from sk_arcal.displays._probe_comparison import ProbeComparisonDisplay


@pytest.fixture(scope="module")
def runs():
    def run(seed):
        data = make_routing_data(
            120, effect="step", strength=0.2, n_noise_features=1, random_state=seed
        )
        features = dict(zip(("_cost $", "übrig $"), data.routing.T, strict=True))
        return matched_probes(
            data.y, data.confidence, features, n_shuffles=1, n_resamples=2, random_state=0
        )

    return [run(seed) for seed in range(3)]


@pytest.mark.parametrize("metric", ["log_loss", "brier", "ece", "worst_ece"])
def test_frame_holds_the_differences_of_one_run(runs, metric):
    frame = ProbeComparisonDisplay.from_results(runs[0], metric=metric).frame()
    assert frame["probe"].tolist() == [score.name for score in runs[0].scores]
    assert frame["role"].tolist() == [score.role for score in runs[0].scores]
    expected = [getattr(score, f"{metric}_difference") for score in runs[0].scores]
    np.testing.assert_array_equal(frame[["estimate", "low", "high"]], expected)


def test_one_run_is_drawn_with_its_intervals(runs):
    display = ProbeComparisonDisplay.from_results(runs[0], metric="ece")
    segments = [c.get_segments()[0] for c in display.ax_.collections]
    drawn = np.array([segment[:, 0] for segment in segments])
    np.testing.assert_allclose(drawn, 100 * display.frame()[["low", "high"]])


def test_several_runs_are_drawn_as_dots_in_a_band_around_their_mean(runs):
    display = ProbeComparisonDisplay.from_results(runs, names=["a", "b", "c"])
    frame, band = display.frame(), display.frame("band").set_index("probe")
    bands, dots = display.ax_.collections[::2], display.ax_.collections[1::2]
    means = [line.get_xdata()[0] for line in display.ax_.lines[1:]]
    for name, line, dot, mean in zip(band.index, bands, dots, means, strict=True):
        of_runs = frame.loc[frame["probe"] == name, "estimate"]
        np.testing.assert_array_equal(dot.get_offsets()[:, 0], of_runs)
        np.testing.assert_array_equal(
            line.get_segments()[0][:, 0], band.loc[name, ["smallest", "largest"]].astype(float)
        )
        assert mean == pytest.approx(of_runs.mean())
        assert band.loc[name, "mean"] == pytest.approx(of_runs.mean())
    assert frame["run"].drop_duplicates().tolist() == ["a", "b", "c"]


def test_twins_share_the_row_of_their_feature(runs):
    display = ProbeComparisonDisplay.from_results(runs)
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names == [score.name for score in runs[0].scores if score.role != "shuffled"]
    frame = display.frame("band")
    places = dict(
        zip(frame["probe"], (line.get_ydata()[0] for line in display.ax_.lines[1:]), strict=True)
    )
    for feature in ("_cost $", "übrig $"):
        assert round(places[feature]) == round(places[f"{feature}, shuffled"])
        assert places[feature] < places[f"{feature}, shuffled"]


def test_roles_differ_in_their_markers(runs):
    display = ProbeComparisonDisplay.from_results(runs[0])
    roles = display.frame()["role"]
    markers = [line.get_marker() for line in display.ax_.lines[1:]]
    assert len(set(zip(roles, markers, strict=True))) == len(set(roles)) == len(set(markers)) == 5
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["feature", "its shuffled twins"]
    several = ProbeComparisonDisplay.from_results(runs).ax_.get_legend().get_texts()
    assert [text.get_text() for text in several] == [*texts, "smallest to largest run"]


def test_figure_grows_with_the_probes(runs):
    many = replace(
        runs[0],
        scores=tuple(replace(s, name=f"{k} {s.name}") for k in range(15) for s in runs[0].scores),
    )
    height = ProbeComparisonDisplay.from_results(runs[0]).figure_.get_figheight()
    assert ProbeComparisonDisplay.from_results(many).figure_.get_figheight() > 5 * height


def test_draws_on_the_axes_it_is_given(runs):
    ax = plt.figure().add_subplot()
    display = ProbeComparisonDisplay.from_results(runs[0], ax=ax, legend=False, name="$ and $")
    assert display.ax_ is ax
    assert ax.get_legend() is None
    display.figure_.draw_without_rendering()
    assert ax.get_title(loc="left") == "$ and $"


def test_runs_that_do_not_match_are_refused(runs):
    draw = ProbeComparisonDisplay.from_results
    fewer = replace(runs[1], scores=runs[1].scores[:-1])
    with pytest.raises(ValueError, match="run 1 differs from run 0 in 'pure noise'"):
        draw([runs[0], fewer])
    turned = replace(runs[1], scores=runs[1].scores[::-1])
    with pytest.raises(ValueError, match="same order"):
        draw([runs[0], turned])
    with pytest.raises(ValueError, match="`probes` is empty"):
        draw([])
    with pytest.raises(TypeError, match="`probes` must be what `matched_probes` returns"):
        draw(None)
    with pytest.raises(TypeError, match="`probes` must be a MatchedProbes"):
        draw([runs[0].scores])


def test_wrong_options_are_refused(runs):
    draw = ProbeComparisonDisplay.from_results
    for names in (["a"], ["a", "a", "b"]):
        with pytest.raises(ValueError, match="`names` must give the 3 runs"):
            draw(runs, names)
    with pytest.raises(ValueError, match="`metric`"):
        draw(runs, metric="accuracy")
    with pytest.raises(ValueError, match="`part`"):
        draw(runs).frame("probes")


@pytest.mark.usefixtures("no_matplotlib")
def test_missing_package_is_named(runs):
    with pytest.raises(ImportError, match="ProbeComparisonDisplay needs matplotlib"):
        ProbeComparisonDisplay.from_results(runs)
