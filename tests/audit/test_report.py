"""The report: one page that stands alone, says what was found, and trusts no name."""

import html
import json
import re
import sys
from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sk_arcal.audit import Control, FeatureAudit, Recommendation, RoutingAudit, ScorecardRow
from sk_arcal.audit import _report_words as words
from sk_arcal.audit._figures import gap_svg
from sk_arcal.audit._report import gap_scale, list_names, render_report, strongest_first
from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import (
    RoutingProbe,
    conditional_calibration_tests,
    grouping_loss,
    matched_confidence_gaps,
    matched_probes,
    worst_tertile_error,
)
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    noise_floor,
    score_decomposition,
    smooth_calibration_error,
)

HOSTILE = "<script>alert(1)</script>"
QUOTED = "\"onload='alert(2)' & {{ 7 * 7 }} $x$ </style>"


def scorecard_row(name, event, confidence):
    """Score one set of confidences with few draws."""
    floor = noise_floor(confidence, n_resamples=20, random_state=0)
    interval = calibration_error_interval(event, confidence, n_resamples=20, random_state=0)
    split = score_decomposition(event, confidence)
    return ScorecardRow(
        name=name,
        ece=expected_calibration_error(event, confidence),
        ece_floor=floor.mean,
        ece_floor_95=floor.quantile_95,
        ece_corrected=interval.corrected,
        ece_low=interval.low,
        ece_high=interval.high,
        smooth_ece=smooth_calibration_error(event, confidence),
        brier=split.score,
        log_loss=score_decomposition(event, confidence, score="log").score,
        miscalibration=split.miscalibration,
        refinement=split.refinement,
        class_log_loss=0.75,
    )


def feature_audit(name, verdict, values, data, test, adjusted):
    """Audit one feature with few draws; the probe is made up."""
    rank = np.unique(values, return_inverse=True)[1].astype(float)
    options = {"n_resamples": 19, "random_state": 0}
    matched = matched_confidence_gaps(data.y, data.confidence, rank, **options)
    return FeatureAudit(
        name=name,
        role="routing",
        verdict=verdict,
        reason=f"Because {name} was found to be so.",
        pvalue=test.pvalue,
        pvalue_adjusted=adjusted,
        gap=test.gap,
        gap_low=test.gap_interval[0],
        gap_high=test.gap_interval[1],
        min_detectable_gap=test.min_detectable_gap,
        delta=test.delta,
        excess_gap=matched.excess_weighted_gap,
        test=test,
        matched=matched,
        worst_tertile=worst_tertile_error(data.y, data.confidence, rank, **options),
        probe=RoutingProbe(0.004, 0.001, 0.007, np.array([-0.001, 0.0005]), 0.33, 800),
        grouping_loss=grouping_loss(data.y, data.confidence, values, random_state=0),
        controls=(
            Control("matched confidence", True, f"p = 0.01 of {name}"),
            Control("shuffled twins", False, "gain +4.00, p = 0.33"),
            Control("bandwidth", None, "not run: an earlier control has failed"),
            Control("capacity", None, "not run: it needs torch"),
        ),
    )


@pytest.fixture(scope="module")
def audit():
    data = make_routing_data(800, effect="step", strength=0.15, n_noise_features=2, random_state=0)
    routing = {
        "depth": data.routing[:, 0],
        HOSTILE: data.routing[:, 1],
        QUOTED: data.routing[:, 2],
        "_region": np.array(["east", "north", "west"])[np.arange(800) % 3],
    }
    tests = conditional_calibration_tests(
        data.y, data.confidence, routing, n_resamples=99, random_state=0
    )
    verdicts = ("signal", "no signal", "cannot tell", "no signal")
    features = {
        name: feature_audit(
            name, verdict, values, data, tests.results[name], tests.pvalue_adjusted[name]
        )
        for (name, values), verdict in zip(routing.items(), verdicts, strict=True)
    }
    calibrated = {"temperature": data.confidence**1.2, "routing kernel": data.probability}
    scores = {"raw": data.confidence, **calibrated}
    return RoutingAudit(
        n=1000,
        n_evaluated=800,
        n_classes=10,
        accuracy=float(data.y.mean()),
        mean_confidence=float(data.confidence.mean()),
        scorecard=tuple(scorecard_row(name, data.y, score) for name, score in scores.items()),
        features=features,
        probes=matched_probes(
            data.y, data.confidence, routing, n_shuffles=1, n_resamples=20, random_state=0
        ),
        recommendation=Recommendation(
            "routing kernel", "It does best.", "calibrator = Kernel(a <b>).fit(X, y)\nproba = 1"
        ),
        checks=("A remark about <rows>.",),
        settings={"delta": 0.05, "random_state": 0},
        provenance={"source": f"{HOSTILE}.csv", "sha256": "00ff", "mapping": {HOSTILE: "x"}},
        event=data.y.astype(float),
        confidence=data.confidence,
        calibrated=calibrated,
        routing=routing,
    )


@pytest.fixture(scope="module")
def text(audit):
    return render_report(audit)


@pytest.fixture(scope="module")
def page(text, parse_page):
    return parse_page(text)


# --- stands alone --------------------------------------------------------------------------------


def test_page_parses_and_every_tag_is_closed(page):
    assert page.tags["h1"] == 1
    assert page.tags["main"] == 1
    assert page.tags["html"] == 1


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


def test_page_is_light(text):
    assert len(text.encode()) < 1_500_000


def test_page_is_the_same_every_time_whatever_the_users_style(audit, text):
    figures = plt.get_fignums()
    with plt.rc_context({"text.color": "red", "font.size": 30, "svg.fonttype": "path"}):
        assert render_report(audit) == text
        assert plt.rcParams["font.size"] == 30
    assert plt.get_fignums() == figures


# --- trusts no name ------------------------------------------------------------------------------


def test_hostile_names_are_text_everywhere(text, page):
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text
    # title, source, lead, verdicts, card, two tables
    assert page.words.count(HOSTILE) >= 7
    assert page.words.count(" ".join(QUOTED.split())) >= 4


def test_hostile_names_stay_inside_attributes(page):
    labels = [value for value in page.values("aria-label") if value]
    assert any(HOSTILE in label for label in labels)
    assert any(QUOTED in label for label in labels)


def test_template_code_in_a_name_is_not_run(page):
    assert "{{ 7 * 7 }}" in page.words


# --- says what was found -----------------------------------------------------------------------


def test_verdict_comes_first(page):
    lead = page.words[: page.words.index("Scorecard")]
    for verdict in ("signal", "no signal", "cannot tell"):
        assert verdict in lead
    assert lead.index("depth says something") < lead.index("nothing larger than 5 points")


def test_every_feature_has_verdict_reason_and_figure(audit, page):
    for feature in audit.features.values():
        assert feature.reason in page.words
    # two reliability diagrams: before and after
    assert page.tags["figure"] == len(audit.features) + 2
    chips = [value for value in page.values("class") if value and value.startswith("chip")]
    # lead; verdict table, card, table of sizes and four controls
    assert len(chips) == 3 + (3 + 4) * len(audit.features)


def test_raw_recommendation_needs_one_reliability_diagram_only(audit, parse_page):
    kept = replace(audit, recommendation=Recommendation("raw", "It is fine.", "# keep"))
    page = parse_page(render_report(replace(kept, features={})))
    assert page.tags["figure"] == 1


def test_every_row_of_the_scorecard_is_there(audit, page):
    for row in audit.scorecard:
        assert row.name in page.words
        assert words.decimal(row.log_loss) in page.words
        assert words.percent(row.ece_floor) in " ".join(page.text)


def test_code_line_checks_and_provenance_are_there(audit, page):
    code = " ".join(audit.recommendation.code.split())
    assert code in page.words
    assert "A remark about <rows>." in page.words
    for key in ("sha256", "00ff", "random state"):
        assert key in page.words


def test_all_numbers_are_on_the_page_as_json(audit, page):
    (data,) = [piece for piece in page.text if piece.startswith("{")]
    assert json.loads(data) == json.loads(json.dumps(audit.to_dict()))


def test_worst_tertile_stands_beside_its_null_mean(audit, page):
    worst = audit.features["depth"].worst_tertile
    stated = f"{words.percent(worst.error)}; {words.percent(worst.null_mean)}"
    assert stated in " ".join(page.text)


def test_page_adapts_to_dark_and_to_paper(text):
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    assert "currentColor" in text
    assert "#010203" not in text


def test_figures_are_described(page):
    described = [tag for tag, name, _ in page.attributes if name == "aria-label" and tag == "svg"]
    assert len(described) == page.tags["svg"]


def test_tables_have_captions_and_headers(page):
    assert page.tags["caption"] == page.tags["table"]
    scopes = Counter(page.values("scope"))
    assert scopes["row"] > 0
    assert scopes["col"] > 0


def test_features_beyond_the_sixth_are_folded(audit, monkeypatch, parse_page):
    monkeypatch.setattr("sk_arcal.audit._report._N_DRAWN", 2)
    feature, values = audit.features["depth"], audit.routing["depth"]
    names = [f"feature {k:02d}" for k in range(9)]
    many = replace(
        audit,
        features={name: replace(feature, name=name) for name in names},
        routing=dict.fromkeys(names, values),
    )
    page = parse_page(render_report(many))
    assert page.values("class").count("feature") == 9
    assert page.tags["details"] == 3 + 1
    drawn = [value for value in page.values("aria-label") if value.startswith("Gap at")]
    assert len(drawn) == 2
    assert "feature 03 and 5 more" in page.words


def test_audit_without_features_says_so(audit, parse_page):
    page = parse_page(render_report(replace(audit, features={}, routing={})))
    assert "No routing feature was given." in page.words
    assert "Routing gap at equal confidence" not in page.words


def test_feature_that_cannot_be_tested_is_shown(audit, parse_page):
    nan = float("nan")
    feature = audit.features["depth"]
    test = replace(
        feature.test, pvalue=nan, component_pvalues={}, leading="none", leading_gap=nan,
        leading_interval=(nan, nan), gap=nan, gap_interval=(nan, nan), identifiable=False,
    )  # fmt: skip
    untested = replace(
        feature, verdict="cannot tell", pvalue=nan, pvalue_adjusted=nan, gap=nan, gap_low=nan,
        gap_high=nan, min_detectable_gap=nan, test=test,
        probe=replace(feature.probe, shuffled_gains=np.array([])),
    )  # fmt: skip
    page = parse_page(render_report(replace(audit, features={"depth": untested})))
    assert not re.search(r"\bnan\b", page.words.lower())


def test_feature_without_an_answer_has_no_picture(audit, parse_page):
    feature = audit.features["depth"]
    silent = replace(feature, test=replace(feature.test, identifiable=False))
    page = parse_page(render_report(replace(audit, features={"depth": silent})))
    assert page.tags["figure"] == 2


def test_few_rows_have_no_gap_picture(audit, parse_page):
    few = replace(
        audit,
        n_evaluated=20,
        event=audit.event[:20],
        confidence=audit.confidence[:20],
        calibrated={name: values[:20] for name, values in audit.calibrated.items()},
        routing={name: values[:20] for name, values in audit.routing.items()},
    )
    assert parse_page(render_report(few)).tags["figure"] == 2


def test_level_names_in_any_script_reach_the_picture(audit):
    levels = np.array(["猫", "собака <&>", "🐦"])[np.arange(800) % 3]
    picture = gap_svg(
        replace(audit, routing={"depth": levels}), audit.features["depth"], prefix="x"
    )
    for level in ("猫", "собака &lt;&amp;&gt;", "🐦"):
        assert f">{level}</text>" in picture


def test_to_html_writes_the_page(audit, text, tmp_path):
    audit.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == text


def test_missing_jinja2_is_one_sentence(audit, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"The HTML report needs jinja2.*sk-arcal\[report\]"):
        render_report(audit)


# --- numbers in words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "value", "shown"),
    [
        (words.percent, 0.1069, "10.7\u202f%"),
        (words.percent, float("nan"), "\u2013"),
        (words.points, -0.0305, "\u22123.0"),
        (words.points, 0.0305, "+3.0"),
        (words.points, -0.0001, "0.0"),
        (words.decimal, None, "\u2013"),
        (words.decimal, 0.44726, "0.4473"),
        (words.whole, 1234567, "1\u202f234\u202f567"),
        (words.pvalue, 0.0004, "<\u202f0.001"),
        (words.pvalue, 0.0123, "0.012"),
        (words.pvalue, 0.5, "0.50"),
        (words.gain, 0.00213, "+2.1"),
        (words.equals, 0.0004, "p\u202f<\u202f0.001"),
        (words.plain, {"a": [1, None]}, "a 1, \u2013"),
    ],
)
def test_numbers_are_written_for_readers(write, value, shown):
    assert write(value) == shown


def test_confidence_and_rate_that_agree_are_not_called_biased(audit):
    level = replace(audit, mean_confidence=audit.accuracy)
    assert "right on average" in words.calibration_sentence(level)
    over = replace(audit, mean_confidence=audit.accuracy + 0.1)
    assert "over-confident by 10.0 points" in words.calibration_sentence(over)
    under = replace(audit, mean_confidence=audit.accuracy - 0.1)
    assert "under-confident by 10.0 points" in words.calibration_sentence(under)


def test_strongest_features_come_first(audit):
    order = [feature.verdict for feature in strongest_first(audit.features.values())]
    assert order == ["signal", "cannot tell", "no signal", "no signal"]


def test_names_are_listed_as_in_a_sentence(audit):
    features = list(audit.features.values())
    assert list_names(features[:1]) == "depth"
    assert list_names(features[:2]) == f"depth and {HOSTILE}"


def test_scale_covers_all_intervals(audit):
    features = audit.features.values()
    scale = gap_scale(features)
    assert all(max(abs(f.gap_low), abs(f.gap_high), f.delta) <= scale for f in features)


# --- controls and probes -------------------------------------------------------------------------


def test_every_control_stands_beside_its_finding(audit, page):
    shown = page.words[page.words.index("What an effect has to survive") :]
    outcomes = {True: "survives", False: "fails", None: "not run"}
    for feature in audit.features.values():
        for control in feature.controls:
            finding = " ".join(f"{outcomes[control.survived]} {control.finding}".split())
            assert finding in shown


def test_every_probe_and_the_grouping_loss_are_there(audit, page):
    for score in audit.probes.scores:
        assert " ".join(score.name.split()) in page.words
    loss = audit.features["depth"].grouping_loss
    assert words.decimal(1000 * loss.estimate, 2) in page.words
