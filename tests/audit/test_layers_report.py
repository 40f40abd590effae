"""The section on layers: there where it was asked for, with its picture, safe for any name."""

import pytest

from sk_arcal.audit import PredictionTable, routing_audit
from sk_arcal.audit._layers_figure import layers_svg
from sk_arcal.audit._report import render_report
from tests.audit.layer_fixtures import audit_with_layers, corrected, layers_of

HOSTILE = "<script>alert(1)</script>"
NAMES = ["$x$", HOSTILE, "stem", "Schicht \u4e09", "late", "end"]


@pytest.fixture(scope="module")
def audit():
    return audit_with_layers(*corrected(700), layer_names=NAMES)


@pytest.fixture(scope="module")
def page(audit, parse_page):
    return parse_page(render_report(audit))


def test_section_names_the_phases_and_shows_every_layer(audit, page):
    assert "layers" in page.values("id")
    assert "#layers" in page.values("href")
    assert audit.layers.phases.present
    assert " ".join(audit.layers.summary.split()) in page.words
    assert "late worst calibrated" in page.words
    for name in NAMES:
        assert name in page.words
    assert "All 6 layers" not in page.words


def test_names_of_layers_are_escaped(audit, page):
    assert HOSTILE in page.words
    assert page.tags["script"] == 0
    assert "<script" not in render_report(audit)


def test_picture_has_both_panels_and_the_phases_and_no_address(audit):
    svg = layers_svg(audit.layers, prefix="x")
    assert svg.startswith('<svg role="img" aria-label="Accuracy and calibration of every layer"')
    words = ("accuracy", "mean confidence", "ECE", "ECE of a calibrated layer")
    for word in (*words, "plateau to peak", "correction", "stem", "end"):
        assert f">{word}<" in svg
    assert "http" not in svg
    assert "currentColor" in svg


def test_names_that_matplotlib_cannot_measure_stand_in_the_picture():
    y, scores = corrected(300)
    names = ["a", "b", "\u4e09", "\u56db", "e", "f"]
    found = layers_of(PredictionTable.from_arrays(y, layer_scores=scores, layer_names=names))
    svg = layers_svg(found, prefix="x")
    assert svg.count(">\u4e09<") == svg.count(">f<") == 2


def test_many_layers_are_folded(parse_page):
    audit = audit_with_layers(*corrected(300, n_layers=13))
    page = parse_page(render_report(audit))
    assert "All 13 layers" in page.words
    assert "of 13 layers are shown" in audit.summary()


def test_few_groups_have_a_section_without_phases(parse_page):
    audit = audit_with_layers(*corrected(300), groups=[i % 5 for i in range(300)])
    page = parse_page(render_report(audit))
    assert "too few groups" in page.words
    assert "plateau to peak" not in page.words


def test_without_layers_there_is_no_section(strong_effect, parse_page):
    event, confidence, _ = strong_effect(200, 0)
    plain = routing_audit(event, confidence=confidence, n_resamples=19, random_state=0)
    page = parse_page(render_report(plain))
    assert plain.layers is None
    assert "layers" not in page.values("id")
