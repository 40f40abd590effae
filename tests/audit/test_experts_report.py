"""The section on experts: there where it was asked for, with its picture, safe for any name."""

import re

import numpy as np
import pandas as pd
import pytest

from sk_arcal.audit import PredictionTable, routing_audit
from sk_arcal.audit._experts_figure import configurations_svg
from sk_arcal.audit._report import render_report
from tests.diagnostics.mixture_fixtures import fixture_b

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def audit():
    fixture = fixture_b(20)
    frame = pd.DataFrame({"y": fixture.y})
    for m, name in enumerate(("night", HOSTILE)):
        frame[f"expert__{name}"], frame[f"gate__{name}"] = (
            fixture.expert_prob[:, m],
            fixture.gates[:, m],
        )
    table = PredictionTable.from_frame(frame, experts=True)
    return routing_audit(table, experts=True, n_resamples=49, random_state=0)


@pytest.fixture(scope="module")
def page(audit, parse_page):
    return parse_page(render_report(audit))


def test_section_says_the_verdict_and_shows_all_tables(audit, page):
    assert "experts" in page.values("id")
    assert "#experts" in page.values("href")
    for sentence in audit.experts.verdict.sentences:
        assert " ".join(sentence.split()) in page.words
    for row in audit.experts.repairs:
        assert row.name in page.words
    for row in audit.experts.configurations:
        assert row.words in page.words
    assert "Top expert alone" in page.words
    assert "largest sure gap" in page.words
    assert f"configurations: {audit.experts.verdict.repair}" in page.words


def test_names_of_experts_are_escaped(audit, page):
    assert HOSTILE in page.words
    assert page.tags["script"] == 0
    assert "<script" not in render_report(audit)


def test_picture_has_a_disc_for_each_configuration_and_no_address(audit):
    svg = configurations_svg(audit.experts, prefix="x")
    assert svg.startswith('<svg role="img" aria-label="Confidence and event rate')
    assert set(re.findall(r">([A-Z])<", svg)) == {"A", "B", "C"}
    assert "http" not in svg
    assert "currentColor" in svg


def test_without_experts_there_is_no_section(parse_page):
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 0.9, 200)
    event = (rng.random(200) < confidence).astype(int)
    plain = routing_audit(event, confidence=confidence, n_resamples=19, random_state=0)
    page = parse_page(render_report(plain))
    assert "experts" not in page.values("id")
    assert "MoCaE" not in page.words
