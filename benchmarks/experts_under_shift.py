"""Mixtures of experts under shift: objectives, baselines and repairs on real data.

FOLDER holds the shared data. Three sources: drift of gas sensors (trained on batches 1 to 3, the
later ones shifted), COMPAS (one group held out of training at a time), and CIFAR-10, for which
``--images`` names the output of ``python -m benchmarks.train_experts_on_images``; hard are the test
images with less than 0.7 of the human votes on one class. Written for every data set:

* accuracy and calibration error of the top label (15 bins) of every trained method and of every
  repair of the plain mixture, on rows like those of training and on hard or shifted rows, in
  percent, mean and standard deviation over seeds; with one temperature fitted to the method's own
  probabilities ("after T"); first the floor, the error that the plain mixture's confidences would
  show if they were calibrated;
* where the robust objective helps: the fall in calibration error by the tercile of disagreement;
* repairs against each other: the worst-case calibration error over configurations, with the worst
  shift found on other rows than it is measured on, and the log loss, paired over seeds.

The objective "detached" is left out: its gradients are those of "tilted".

Run as ``python -m benchmarks.experts_under_shift FOLDER [--images RUNS ...] [--seeds 5] [--jobs 1]
[--data gas compas images] [--output FILE]``.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from benchmarks._expert_domains import (
    Array,
    Case,
    Part,
    gas_sensors,
    image_cases,
    recidivism,
    trained_cases,
)
from benchmarks._rst import publish, simple_table
from benchmarks.train_experts_on_images import METHODS
from sk_arcal import AdversarialReweightCalibrator, ExpertTemperatureScaler, TemperatureScaler
from sk_arcal.calibration import CalibrationWarning, MulticalibrationCalibrator
from sk_arcal.diagnostics import (
    expert_disagreement,
    routing_configurations,
    worst_case_calibration_error,
)
from sk_arcal.metrics import noise_floor, rank_groups, top_label_calibration_error

NAMES = {
    "single": "single expert",
    "vanilla": "plain mixture",
    "robust": "Robust MoE",
    "filtered": "Robust Filtered",
    "fgr": "FGR",
    "fgr_robust": "FGR + Robust",
    "tilted": "tilted",
    "cvar": "CVaR 0.2",
}
N_BINS = 10


# -- repairs of frozen mixtures ------------------------------------------------------------------


def _columns(part: Part) -> Array:
    """Log-probabilities of the mixture, gates, and the experts' log-probabilities."""
    flat = part.experts.reshape(len(part.y), -1)
    return np.column_stack([part.log_probability, part.gates, flat])


def _roles(part: Part) -> dict[str, Any]:
    n_experts, n_classes = part.experts.shape[1:]
    first = n_classes + n_experts
    experts = [
        list(range(first + m * n_classes, first + (m + 1) * n_classes)) for m in range(n_experts)
    ]
    return {
        "expert_columns": experts,
        "gate_columns": list(range(n_classes, first)),
        "routing_columns": [],
        "expert_kind": "logit",
        "classes": np.arange(n_classes),
    }


def _repairs(part: Part) -> dict[str, Any]:
    n_experts, n_classes = part.experts.shape[1:]
    mixture = {
        "confidence_columns": list(range(n_classes)),
        "confidence_kind": "logit",
        "classes": np.arange(n_classes),
    }
    gates = list(range(n_classes, n_classes + n_experts))
    return {
        "temperature": TemperatureScaler(**mixture, routing_columns=[]),
        "MoCaE": ExpertTemperatureScaler(**_roles(part)),
        "MoCaE + temperature": ExpertTemperatureScaler(**_roles(part), mixture_temperature=True),
        "multicalibration": MulticalibrationCalibrator(**mixture, routing_columns=gates),
        "adversarial": AdversarialReweightCalibrator(**_roles(part)),
    }


def repaired(case: Case) -> dict[str, tuple[Array, Array]]:
    """Return probabilities on usual and on shifted rows of every repair, raw first."""
    found = {"raw": (softmax(case.usual.log_probability, axis=1),)}
    found["raw"] += (softmax(case.shifted.log_probability, axis=1),)
    X = _columns(case.calibration)
    for name, repair in _repairs(case.calibration).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            repair.fit(X, case.calibration.y)
        found[name] = tuple(
            repair.predict_proba(_columns(part)) for part in (case.usual, case.shifted)
        )
    return found


def _tempered(case: Case) -> tuple[Array, Array]:
    """Return probabilities after one temperature, for a table of trained methods."""
    scaler = _repairs(case.calibration)["temperature"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        scaler.fit(case.calibration.log_probability, case.calibration.y)
    return tuple(scaler.predict_proba(p.log_probability) for p in (case.usual, case.shifted))


# -- scores --------------------------------------------------------------------------------------


def _event(y: Any, probability: Array) -> tuple[Array, Array]:
    """Whether the most probable class is right, and its probability."""
    return (probability.argmax(axis=1) == y).astype(float), probability.max(axis=1)


def _error(y: Any, probability: Array) -> float:
    labels = np.arange(probability.shape[1])
    return top_label_calibration_error(y, probability, labels=labels)


def _percent(values: Any, digits: int = 1) -> str:
    values = 100 * np.asarray(values, dtype=float)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return f"{values.mean():.{digits}f} ± {spread:.{digits}f}"


def _line(name: str, ys: list[tuple[Any, Any]], raw: list[Any], after: list[Any] | None) -> tuple:
    cells: list[str] = []
    for part in (0, 1):
        pairs = [(y[part], p[part]) for y, p in zip(ys, raw, strict=True)]
        cells.append(_percent([_event(*pair)[0].mean() for pair in pairs]))
        cells.append(_percent([_error(*pair) for pair in pairs]))
        if after is None:
            cells.append("")
            continue
        scaled = [(y[part], p[part]) for y, p in zip(ys, after, strict=True)]
        cells.append(_percent([_error(*pair) for pair in scaled]))
    return (name, *cells)


def _floor(cases: list[Case]) -> tuple:
    """Mean error if the plain mixture's confidences were calibrated."""
    cells = []
    for name in ("usual", "shifted"):
        floors = []
        for case in cases:
            confidence = softmax(getattr(case, name).log_probability, axis=1).max(axis=1)
            floors.append(noise_floor(confidence, n_resamples=100, random_state=0).mean)
        cells += ["", _percent(floors), ""]
    return ("(floor)", *cells)


def accuracy_table(
    title: str, cases: dict[str, list[Case]], repairs: list[dict[str, tuple[Array, Array]]]
) -> str:
    """Accuracy and calibration error of methods and repairs."""
    header = (
        *("method", "accuracy", "ECE", "after T"),
        *("accuracy, shifted", "ECE, shifted", "after T, shifted"),
    )
    rows = [_floor(cases["vanilla"])]
    for method, runs in cases.items():
        ys = [(case.usual.y, case.shifted.y) for case in runs]
        raw = [
            tuple(softmax(p.log_probability, axis=1) for p in (case.usual, case.shifted))
            for case in runs
        ]
        rows.append(_line(NAMES[method], ys, raw, [_tempered(case) for case in runs]))
    ys = [(case.usual.y, case.shifted.y) for case in cases["vanilla"]]
    for name in repairs[0]:
        if name != "raw":
            rows.append(_line(f"plain, {name}", ys, [found[name] for found in repairs], None))
    return simple_table(title, header, rows)


def stress_table(title: str, cases: dict[str, list[Case]]) -> str:
    """Calibration error of plain and robust mixtures by disagreement of the plain one's experts."""
    rows = []
    methods = [m for m in ("vanilla", "robust", "filtered", "tilted", "cvar") if m in cases]
    thirds = [
        rank_groups(expert_disagreement(np.exp(case.usual.experts), case.usual.gates), 3)
        for case in cases["vanilla"]
    ]
    for level, name in enumerate(("lowest third", "middle third", "highest third")):
        cells = []
        for method in methods:
            errors = []
            for case, third in zip(cases[method], thirds, strict=True):
                part = case.usual.take(third == level)
                errors.append(_error(part.y, softmax(part.log_probability, axis=1)))
            cells.append(_percent(errors))
        rows.append((name, *cells))
    return simple_table(title, ("disagreement", *(NAMES[m] for m in methods)), rows)


def _worst(case: Case, probability: Array, seed: int) -> float:
    """Worst-case calibration error over configurations that the calibration rows define."""
    parts = (case.calibration, case.usual)
    experts = np.exp(np.concatenate([part.experts for part in parts]))
    gates = np.concatenate([part.gates for part in parts])
    n_fit = len(case.calibration.y)
    codes = routing_configurations(
        experts, gates, fit_rows=np.arange(len(gates)) < n_fit, random_state=0
    )
    event, confidence = _event(case.usual.y, probability)
    found = worst_case_calibration_error(
        event, confidence, codes[n_fit:], n_bins=N_BINS, n_resamples=2, random_state=seed
    )
    return found.error


def repair_table(
    title: str, cases: list[Case], repairs: list[dict[str, tuple[Array, Array]]]
) -> str:
    """Repairs of the plain mixture: worst case and log loss, the adversarial one against each."""
    worst: dict[str, list[float]] = {name: [] for name in repairs[0]}
    losses: dict[str, list[Array]] = {name: [] for name in repairs[0]}
    for seed, (case, found) in enumerate(zip(cases, repairs, strict=True)):
        for name, (probability, _) in found.items():
            worst[name].append(_worst(case, probability, seed))
            own = log_softmax(np.log(np.maximum(probability, 1e-300)), axis=1)
            losses[name].append(-own[np.arange(len(own)), case.usual.y])
    rows = []
    for name in worst:
        gain = [
            a.mean() - b.mean() for a, b in zip(losses["adversarial"], losses[name], strict=True)
        ]
        beaten = sum(a < b for a, b in zip(worst["adversarial"], worst[name], strict=True))
        error = np.std(gain, ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.nan
        rows.append(
            (
                name,
                _percent(worst[name]),
                f"{np.mean([x.mean() for x in losses[name]]):.4f}",
                "" if name == "adversarial" else f"{beaten} of {len(gain)}",
                "" if name == "adversarial" else f"{1e3 * np.mean(gain):+.1f} ± {1e3 * error:.1f}",
            )
        )
    header = (
        *("repair", "worst case", "log loss"),
        *("adversarial lower", "its log loss less this, × 1000"),
    )
    return simple_table(title, header, rows)


# -- report --------------------------------------------------------------------------------------


def sources(arguments: argparse.Namespace) -> Iterator[tuple[str, Callable[[], dict]]]:
    """Yield the name of every data set, and what trains or reads its networks."""
    domains = []
    if "gas" in arguments.data:
        domains += gas_sensors(arguments.folder)
    if "compas" in arguments.data:
        domains += recidivism(arguments.folder)
    for domain in domains:
        yield (
            domain.name,
            lambda domain=domain: trained_cases(
                domain, list(METHODS), arguments.seeds, arguments.jobs
            ),
        )
    for runs in arguments.images if "images" in arguments.data else ():
        yield (
            f"CIFAR-10, {runs.name.replace('_', ' ')}",
            lambda runs=runs: image_cases(arguments.folder, runs),
        )


def tables(arguments: argparse.Namespace) -> Iterator[str]:
    """Run data set after data set."""
    for name, prepare in sources(arguments):
        cases = prepare()
        repairs = [repaired(case) for case in cases["vanilla"]]
        yield accuracy_table(f"{name}: methods", cases, repairs)
        yield stress_table(f"{name}: calibration error where experts disagree", cases)
        yield repair_table(f"{name}: repairs of the plain mixture", cases["vanilla"], repairs)


def main() -> None:
    """Run all data sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--images", type=Path, nargs="+", default=[], help="folders of networks trained on images"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--data",
        nargs="+",
        choices=("gas", "compas", "images"),
        default=["gas", "compas", "images"],
    )
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    arguments = parser.parse_args()
    publish(tables(arguments), arguments.output)


if __name__ == "__main__":
    main()
