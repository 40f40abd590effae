"""The report of several runs: one page that stands alone, says what was found, trusts no name."""

import html
import json
import re
import sys

import numpy as np
import pytest

from sk_arcal.audit import PredictionTable, audit_runs
from sk_arcal.audit import _report_words as words
from sk_arcal.audit._runs_report import render_runs_report

HOSTILE = "<script>alert(1)</script>"
QUOTED = "\"onload='alert(2)' & {{ 7 * 7 }} $x$ </style>"
CHINESE = "专家负载"


@pytest.fixture(scope="module")
def audit():
    """Three classes and groups; two runs and four features, most with names that do harm."""
    tables = {}
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    for name in (HOSTILE.upper(), "第二次"):
        features = rng.uniform(size=(90, 4))
        features[:, 3] = 1.0
        logits = rng.normal(size=(90, 3)) + np.eye(3)[labels]
        tables[name] = PredictionTable.from_arrays(
            labels,
            logits=logits,
            routing=dict(zip((HOSTILE, QUOTED, CHINESE, "flat"), features.T, strict=True)),
            groups=np.repeat(np.arange(30), 3),
        )
    return audit_runs(tables, n_resamples=19, n_shuffles=1, random_state=0)


@pytest.fixture(scope="module")
def text(audit):
    return render_runs_report(audit)


@pytest.fixture(scope="module")
def page(text, parse_page):
    return parse_page(text)


def test_page_parses_and_every_tag_is_closed(page):
    assert page.tags["h1"] == page.tags["main"] == page.tags["html"] == 1


def test_page_holds_no_script_and_no_address(text, page):
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "img", "base"}
    assert "http" not in text.lower()
    assert not re.search(r"@import|url\((?!#)", text)
    assert all(target.startswith("#") for target in page.values("href"))
    assert not page.values("src")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_names_are_unique_and_every_reference_has_its_target(text, page):
    names = page.values("id")
    assert len(names) == len(set(names))
    targets = [target[1:] for target in page.values("href")]
    targets += re.findall(r"url\(#([^)]+)\)", text) + page.values("aria-labelledby")
    assert targets
    assert set(targets) <= set(names)


def test_hostile_names_are_text_everywhere(text, page):
    assert HOSTILE not in text
    assert HOSTILE.upper() not in text
    assert html.escape(HOSTILE) in text
    # lead, verdicts, evidence, gaps and controls
    for name in (HOSTILE, QUOTED, CHINESE):
        assert page.words.count(" ".join(name.split())) >= 5
    assert "{{ 7 * 7 }}" in page.words


def test_every_feature_has_verdict_and_reason(audit, page):
    for feature in audit.features.values():
        assert " ".join(feature.reason.split()) in page.words
    chips = [value for value in page.values("class") if value and value.startswith("chip")]
    verdicts = {f.verdict for f in audit.features.values() if f.role == "routing"}
    # lead, verdict table, and every run in the table of evidence
    assert len(chips) == len(verdicts) + 3 * len(audit.features)


def test_every_run_is_there_with_its_gaps_and_its_calibration(audit, page):
    for name, run in audit.runs.items():
        # source line, evidence, calibration, provenance, and the gaps of every feature
        assert page.words.count(name) >= 4 + len(audit.features)
        assert words.percent(run.scorecard[0].ece) in " ".join(page.text)
        for feature in audit.features.values():
            assert words.points(feature.result.run_gaps[name]) in page.words


def test_built_in_controls_are_marked(page):
    for name in ("predictive entropy", "margin"):
        assert f"{name} control" in page.words


def test_every_probe_is_in_the_picture_under_its_name(audit, text):
    (picture,) = re.findall(r"<svg role=.*?</svg>", text, flags=re.DOTALL)
    assert f">{CHINESE}</text>" in picture
    assert "§" not in picture
    assert "currentColor" in picture
    assert "#010203" not in text


def test_feature_without_an_answer_shows_no_nan(audit, page):
    assert audit.features["flat"].verdict == "cannot tell"
    shown = page.words[: page.words.index("All numbers as JSON")]
    assert not re.search(r"\bnan\b", shown.lower())


def test_numbers_are_on_the_page_as_json(audit, page):
    (data,) = [piece for piece in page.text if piece.startswith("{")]
    assert json.loads(data) == json.loads(json.dumps(audit.to_dict()))


def test_tables_have_captions_and_figures_are_described(page):
    assert page.tags["caption"] == page.tags["table"]
    described = [tag for tag, name, _ in page.attributes if name == "aria-label" and tag == "svg"]
    assert len(described) == page.tags["svg"]


def test_to_html_writes_the_same_page_every_time(audit, text, tmp_path):
    audit.to_html(tmp_path / "runs.html")
    assert (tmp_path / "runs.html").read_text(encoding="utf-8") == text


def test_missing_jinja2_is_one_sentence(audit, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"The HTML report needs jinja2.*sk-arcal\[report\]"):
        render_runs_report(audit)
