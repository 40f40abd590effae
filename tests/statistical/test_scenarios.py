import numpy as np
import pytest

from benchmarks.conditional_test_level_and_power import collect, main, seeded
from benchmarks.scenarios import ALTERNATIVES, NULLS, oracle_pvalue, tertile_gap

SCENARIOS = NULLS | ALTERNATIVES
# Power of the oracle that the descriptions of the nine alternatives state; ours have no target.
ORACLE = {
    "A1": 1.0, "A2": 0.995, "A3": 0.99, "A4": 1.0, "A5": 0.995,
    "A6": 0.935, "A7": 0.87, "A8": 0.955, "A9": 0.88,
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_truth_averages_to_the_calibration_curve_at_every_confidence(name):
    simulation = SCENARIOS[name](60_000, seeded("mean", 0, 0))
    order = np.argsort(simulation.confidence, kind="stable")
    difference = (simulation.eta - simulation.g)[order].reshape(60, 1000)
    error = difference.std(axis=1) / np.sqrt(1000)
    # the last term is for effects on a handful of rows, whose mean is not normal
    assert (np.abs(difference.mean(axis=1)) <= 4.2 * error + 2e-4).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_outcomes_follow_the_truth_along_confidence_and_routing(name):
    simulation = SCENARIOS[name](60_000, seeded("outcome", 0, 0))
    surplus = simulation.y - simulation.eta
    for column in (simulation.confidence, simulation.routing):
        code = np.searchsorted(np.quantile(column, np.linspace(0, 1, 21)[1:-1]), column)
        total = np.bincount(code, weights=surplus, minlength=20)
        spread = np.bincount(code, weights=simulation.eta * (1 - simulation.eta), minlength=20)
        # rows of a cluster err together: its ten rows count as a few
        slack = 3 if simulation.groups is not None else 1
        assert (np.abs(total) <= 4.2 * slack * np.sqrt(spread) + 1e-9).all()


@pytest.mark.parametrize("name", NULLS)
def test_null_has_the_calibration_curve_as_truth(name):
    simulation = NULLS[name](500, seeded(name, 0, 0))
    np.testing.assert_array_equal(simulation.eta, simulation.g)
    one_curve = {}
    for confidence, g in zip(simulation.confidence, simulation.g, strict=True):
        assert one_curve.setdefault(confidence, g) == g


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_effect_is_bounded_by_four_fifths_of_the_rates(name):
    simulation = ALTERNATIVES[name](20_000, seeded(name, 0, 0))
    effect = np.abs(simulation.eta - simulation.g)
    assert effect.max() > 0.01
    assert (effect <= 0.8 * np.minimum(simulation.g, 1 - simulation.g) + 1e-12).all()


def test_overconfident_model_is_the_one_described():
    simulation = NULLS["N3"](200_000, seeded("law", 0, 0))
    assert (simulation.confidence > 0.93).mean() == pytest.approx(0.537, abs=0.004)
    assert simulation.y.mean() == pytest.approx(0.811, abs=0.004)
    ece = np.abs(simulation.g - simulation.confidence).mean()
    assert ece == pytest.approx(0.040, abs=0.001)


@pytest.mark.parametrize(("name", "accuracy"), [("N10", 0.98), ("N7", 0.85)])
def test_other_confidence_laws_are_those_described(name, accuracy):
    simulation = NULLS[name](100_000, seeded("law", 0, 0))
    assert simulation.y.mean() == pytest.approx(accuracy, abs=0.005)
    at_one = (simulation.confidence == 1).mean()
    assert at_one == (pytest.approx(0.2, abs=0.01) if name == "N7" else 0)


@pytest.mark.parametrize("gap", [0.0, 0.03, 0.06])
def test_tertile_gap_is_the_gap_asked_for(gap):
    assert tertile_gap(400_000, seeded("gap", 0, 0), gap).gap() == pytest.approx(gap, abs=5e-4)


def test_oracle_keeps_its_level():
    pvalues = []
    for k in range(400):
        rng = seeded("oracle", 0, k)
        simulation = ALTERNATIVES["A2"](500, rng)
        drawn = rng.random(500) < simulation.g
        null = type(simulation)(
            drawn * 1.0, simulation.confidence, simulation.routing, simulation.eta, simulation.g
        )
        pvalues.append(oracle_pvalue(null, rng, 199))
    assert np.mean(np.array(pvalues) <= 0.05) == pytest.approx(0.05, abs=0.035)


@pytest.mark.slow
@pytest.mark.parametrize("name", ORACLE)
def test_oracle_has_the_power_that_the_description_states(name):
    n = 5000 if name == "A7" else 2500
    power = (collect(name, n, 1000, tests=["oracle"])["oracle"] <= 0.05).mean()
    assert power == pytest.approx(ORACLE[name], abs=0.03)


def test_replicates_do_not_depend_on_the_number_of_jobs():
    first, second = (collect("N1", 300, 4, n_resamples=49, n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(first["conditional"], second["conditional"])


def test_command_writes_its_tables(tmp_path, capsys):
    path = tmp_path / "tables.rst"
    main([
        *("--scenarios", "N1", "A1", "--tests", "conditional", "--parts", "level", "power"),
        *("--replicates", "3", "--n", "300", "--n-resamples", "49", "--n-jobs", "1"),
        *("--output", str(path)),
    ])  # fmt: skip
    text = path.read_text(encoding="utf-8")
    assert text.count(".. csv-table::") == 2
    assert '"N1","calibrated, routing unrelated to confidence"' in text
    assert "A1" in capsys.readouterr().out
