"""The audit of a mixture of experts: what it says of mixtures whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy.special import expit

from sk_arcal import cli
from sk_arcal.audit import PredictionTable, routing_audit
from sk_arcal.audit._alternatives import _folds
from sk_arcal.audit._experts import audit_experts
from sk_arcal.audit._experts_repairs import REPAIRS
from sk_arcal.audit._experts_rows import ExpertRows
from sk_arcal.audit._features import Plan
from sk_arcal.diagnostics import configuration_collapse, expert_calibration
from tests.diagnostics.mixture_fixtures import fixture_b

FAST = {"experts": True, "n_resamples": 99, "random_state": 0}


def experts_of(table, n_jobs=None, cv=3):
    """Audit the experts alone, without the dearer rest."""
    plan = Plan(0.05, 0.05, 49, 1, "candidates", n_jobs)
    rng = np.random.default_rng(0)
    return audit_experts(ExpertRows.of(table), _folds(table, cv, rng), plan, rng, lambda _: None)


def fixture_table(scale=60, **options):
    fixture = fixture_b(scale)
    return PredictionTable.from_arrays(
        fixture.y, experts=fixture.expert_prob, gates=fixture.gates, **options
    )


def null_table(n=1500, seed=0):
    """Experts that disagree, and a mixture that is right in every row."""
    rng = np.random.default_rng(seed)
    gates = rng.dirichlet([1, 1], size=n)
    experts = expit(rng.normal(0.5, 1, (n, 1)) + rng.normal(0, 0.8, (n, 2)))
    event = rng.random(n) < (gates * experts).sum(axis=1)
    return PredictionTable.from_arrays(event, experts=experts, gates=gates)


@pytest.fixture(scope="module")
def fragile():
    return routing_audit(fixture_table(), **FAST)


@pytest.fixture(scope="module")
def null():
    return routing_audit(null_table(700), **FAST)


def test_a_mixture_that_cancels_is_calibrated_and_fragile(fragile):
    verdict = fragile.experts.verdict
    assert verdict.calibrated
    assert verdict.stability == "fragile"
    assert fragile.experts.collapse.low < 0.01 < fragile.experts.collapse.high
    assert 0 < fragile.experts.excess_low < 0.1 < fragile.experts.excess_high + 0.02


def test_its_worst_configuration_is_the_middle_one(fragile):
    rows = fragile.experts.configurations
    assert [row.share for row in rows] == [0.25, 0.5, 0.25]
    np.testing.assert_allclose([row.gap for row in rows], [-0.1, 0.1, -0.1])
    worst = fragile.experts.worst_configuration
    assert worst is rows[1]
    assert worst.words == "experts 0 and 1 (50:50), agreed on 80%"
    assert f"Worst is B, {worst.words}: its rate lies 10.0 points above" in fragile.summary()


def test_a_map_of_the_gates_repairs_it_and_temperatures_do_not(fragile):
    rows = {row.name: row for row in fragile.experts.repairs}
    assert list(rows) == ["raw", *REPAIRS]
    assert fragile.experts.verdict.repair in {"adversarial", "multicalibration"}
    for name in ("adversarial", "multicalibration"):
        assert rows[name].worst < rows["raw"].worst / 2
        assert rows[name].log_loss_difference < -4 * rows[name].standard_error
    for name in ("temperature", "MoCaE", "MoCaE + temperature"):
        assert rows[name].worst > 0.06
        assert not rows[name].within_one_error


def test_the_code_of_the_repair_runs(fragile):
    fixture, verdict = fixture_b(10), fragile.experts.verdict
    experts = {f"expert__{m}": fixture.expert_prob[:, m] for m in range(2)}
    gates = {f"gate__{m}": fixture.gates[:, m] for m in range(2)}
    X = pd.DataFrame(experts | gates)
    if verdict.repair == "multicalibration":
        X = np.column_stack([fixture.expert_prob[:, :1], X.to_numpy()])
    namespace = {"X": X, "y": fixture.y, "X_new": X[:5]}
    exec(verdict.code, namespace)
    assert namespace["proba"].shape == (5, 2)
    assert f"configurations: {verdict.repair}" in fragile.summary()


def test_nothing_is_said_against_a_mixture_that_is_right_everywhere(null):
    verdict = null.experts.verdict
    assert verdict.calibrated
    assert verdict.stability != "fragile"
    assert verdict.repair == "none"
    assert verdict.code == ""
    assert "No repair is needed" in null.summary()


def test_the_experts_agree_with_the_diagnostics_and_the_scorecard(null):
    table, experts = null_table(700), null.experts
    own = np.exp(table.experts[:, :, 1])
    direct = expert_calibration(table.event, own, table.gates, n_resamples=20, random_state=0)
    assert experts.calibration.mixture.error == pytest.approx(direct.mixture.error)
    assert experts.repairs[0].ece == pytest.approx(null.scorecard[0].ece)
    direct = configuration_collapse(table.event, table.confidence, experts.codes, random_state=0)
    assert experts.collapse.estimate == pytest.approx(direct.estimate, rel=0.5, abs=2e-3)


def test_folds_are_those_of_the_scorecard(null):
    temperature = {row.name: row for row in null.experts.repairs}["temperature"]
    assert temperature.log_loss == pytest.approx(null.scorecard[1].log_loss, rel=1e-9)
    assert temperature.log_loss_difference == temperature.standard_error == 0


def test_excess_is_zero_where_all_configurations_err_alike():
    rng = np.random.default_rng(0)
    table = null_table(1000)
    event = rng.random(1000) < np.clip(table.confidence - 0.15, 0, 1)
    wrong = PredictionTable.from_arrays(
        event, experts=np.exp(table.experts[:, :, 1]), gates=table.gates
    )
    found = experts_of(wrong)
    assert not found.verdict.calibrated
    assert found.shift.low > 0.1
    assert found.excess_low < 0 < found.excess_high
    assert found.verdict.stability != "fragile"
    assert found.verdict.repair != "none"


def test_split_finds_configurations_on_the_rows_that_fit():
    fixture = fixture_b(40)
    split = np.arange(len(fixture.y)) % 2
    found = experts_of(fixture_table(40, split=split))
    assert found.found_on == "the rows that fit the calibrators"
    assert len(found.codes) == split.sum()
    assert sum(row.n_rows for row in found.configurations) == split.sum()
    assert found.verdict.stability == "fragile"


def test_a_configuration_without_an_evaluated_row_is_left_out():
    gates = np.repeat([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]], 100, axis=0)
    split = np.r_[np.zeros(100), np.arange(200) % 2].astype(int)
    event = np.random.default_rng(0).random(300) < 0.8
    table = PredictionTable.from_arrays(
        event, experts=np.full((300, 2), 0.8), gates=gates, split=split
    )
    found = experts_of(table)
    assert [row.label for row in found.configurations] == ["A", "B"]
    assert [row.n_rows for row in found.configurations] == [50, 50]


def test_result_does_not_depend_on_the_number_of_jobs():
    with parallel_config(backend="threading"):
        one, two = (experts_of(fixture_table(10), n_jobs=jobs) for jobs in (1, 2))
    assert one.to_dict() == two.to_dict()


def test_the_rest_of_the_audit_does_not_change_with_the_experts(null):
    plain = routing_audit(null_table(700), **(FAST | {"experts": False}))
    assert plain.experts is None
    left, right = plain.to_dict(), null.to_dict()
    assert left.pop("experts") is None
    assert right.pop("experts") is not None
    assert left == right


def test_rows_of_a_group_stay_together_in_the_standard_errors():
    table = fixture_table(20)
    doubled = PredictionTable.from_arrays(
        np.concatenate([table.event] * 2),
        experts=np.exp(np.concatenate([table.experts] * 2)[:, :, 1]),
        gates=np.concatenate([table.gates] * 2),
        groups=np.concatenate([np.arange(len(table.event))] * 2),
    )
    single = {r.name: r for r in experts_of(table).repairs}
    grouped = {r.name: r for r in experts_of(doubled).repairs}
    ratio = grouped["multicalibration"].standard_error / single["multicalibration"].standard_error
    assert ratio == pytest.approx(1, abs=0.25)


def test_three_classes_are_about_the_predicted_one():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (900, 2, 3))
    gates = rng.dirichlet([1, 1], size=900)
    proba = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    mixed = (gates[:, :, None] * proba).sum(axis=1)
    labels = (mixed.cumsum(axis=1) < rng.random((900, 1))).sum(axis=1)
    table = PredictionTable.from_arrays(labels, experts=proba, gates=gates)
    rows = ExpertRows.of(table)
    top = mixed.argmax(axis=1)
    np.testing.assert_allclose(rows.own, proba[np.arange(900), :, top])
    found = experts_of(table)
    raw = found.repairs[0]
    assert raw.log_loss == pytest.approx(-np.log(mixed[np.arange(900), labels]).mean())
    assert found.calibration.mixture.error == pytest.approx(raw.ece)
    assert found.verdict.stability != "fragile"


def test_two_classes_are_one_event():
    table = null_table(400)
    own = np.exp(table.experts)
    two = PredictionTable.from_arrays(table.event.astype(int), experts=own, gates=table.gates)
    rows = ExpertRows.of(two)
    assert rows.scores.shape == (400, 1)
    np.testing.assert_allclose(expit(rows.scores[:, 0]), table.confidence, rtol=1e-9)
    np.testing.assert_array_equal(rows.event, two.event)
    both = [experts_of(one).repairs for one in (table, two)]
    losses = [[row.log_loss for row in rows[:4]] for rows in both]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_json_holds_the_experts(fragile):
    found = json.loads(json.dumps(fragile.to_dict()))["experts"]
    assert found["worst_configuration"] == "B"
    assert len(found["configurations"]) == 3
    assert [row["name"] for row in found["repairs"]] == ["raw", *REPAIRS]
    assert {row["expert"] for row in found["experts"]} == {"0", "1", "mixture", "top expert"}
    assert found["verdict"]["stability"] == "fragile"


def test_summary_has_no_line_beyond_a_hundred_letters(fragile, null):
    for audit in (fragile, null):
        assert max(map(len, audit.summary().splitlines())) <= 100


def test_progress_ends_at_its_total():
    steps = []
    routing_audit(fixture_table(10), progress=lambda *step: steps.append(step), **FAST)
    assert steps[-1][0] == steps[-1][1] == len(steps)


@pytest.mark.parametrize(
    "data", [[0, 1] * 20, pd.DataFrame({"correct": [0, 1] * 20, "confidence": 0.5})]
)
def test_a_table_without_experts_is_refused(data):
    options = {} if isinstance(data, pd.DataFrame) else {"confidence": [0.5] * 40}
    with pytest.raises(ValueError, match="`expert__<m>__<class>`"):
        routing_audit(data, experts=True, **options)


def test_experts_is_a_switch():
    with pytest.raises(TypeError, match=r"PredictionTable\.from_arrays"):
        routing_audit([0, 1], confidence=[0.5, 0.5], experts=np.ones((2, 2)))


# --- the shell -----------------------------------------------------------------------------------


def test_shell_says_that_the_fixture_is_fragile(tmp_path, capsys):
    fixture = fixture_b(40)
    frame = pd.DataFrame({"y": fixture.y})
    for m in range(2):
        frame[f"expert__{m}"], frame[f"gate__{m}"] = fixture.expert_prob[:, m], fixture.gates[:, m]
    frame.to_csv(tmp_path / "b.csv", index=False)
    command = ["audit", str(tmp_path / "b.csv"), "--experts", "--json", str(tmp_path / "b.json")]
    assert cli.main(command) == 0
    out = capsys.readouterr().out
    assert "the mixture of the experts" in out
    assert "Fragile: event rates differ" in out
    assert json.loads((tmp_path / "b.json").read_text())["experts"]["worst_configuration"] == "B"


def test_shell_audits_what_a_network_writes(tmp_path, capsys):
    pytest.importorskip("torch")
    from sk_arcal.models import MixtureOfExpertsClassifier

    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 3))
    y = np.array(["ant", "bee", "cow"])[(X[:, 0] > 0).astype(int) + (rng.random(240) < 0.3)]
    network = MixtureOfExpertsClassifier(n_experts=2, max_epochs=2, random_state=0)
    columns = network.fit(X[:140], y[:140]).expert_columns(X[140:])
    path = tmp_path / "network.csv"
    pd.DataFrame({"label": y[140:], **columns}).to_csv(path, index=False)
    assert cli.main(["audit", str(path), "--experts", "--json", str(tmp_path / "a.json")]) == 0
    out = capsys.readouterr().out
    assert "experts     2, logits of 3 classes each" in out
    assert "differs from the mixture" not in out
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["n_classes"] == 3
    assert found["experts"]["confidence_of"] == "mixture"


@pytest.mark.parametrize("count", [1, 2])
def test_shell_refuses_what_it_cannot_audit(tmp_path, capsys, count):
    files = [tmp_path / f"{i}.csv" for i in range(count)]
    for file in files:
        file.write_text("correct,confidence\n1,0.9\n0,0.8\n")
    assert cli.main(["audit", *map(str, files), "--experts"]) == 2
    message = capsys.readouterr().err
    expected = "needs columns `expert__<m>" if count == 1 else "the mixture of one file"
    assert expected in message
    assert message.count("\n") == 1
