"""Calibrators and their peers on real predictions, with the folder of data files given.

    python -m benchmarks.calibrators_on_real_cells PATH/TO/data --jobs 2 --output docs/NAME.inc

Every method is fitted on one half of every cell and scored on the other. Lower is better:
log loss and Brier score (summed over classes) as paired difference to the raw scores with its
standard error, top-label ECE in 15 bins of equal width with a 95 % interval, SmoothECE with a
reflected bootstrap interval. For cells of confidence the event is that the prediction was right.
Simulated cells that are calibrated come first: nothing should move them. Peers that are not
installed (netcal, probmetrics, mcgrad) are left out. Probabilities of zero count as 1e-12.

Settings of ours are their defaults throughout. The one of `StructuredScaler` that is no parameter
was set by cross-validation within fit halves; its folds and penalty grid were settled after scores
of twelve cells had been seen, and its guard raised to that of the kernel after one null cell.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

import sk_arcal.calibration as ours
from benchmarks._cell_tables import Line, checks, every_line, summaries
from benchmarks._real_cells import Cell, read_cells
from sk_arcal.metrics import (
    bootstrap_interval,
    calibration_error_interval,
    smooth_calibration_error,
)

Array = NDArray[np.float64]
Method = Callable[[Cell], Array]
_SMALLEST = 1e-12
_N_RESAMPLES = 100


# --- methods: from a cell to class probabilities of its second half ------------------------------


class PassThrough(ClassifierMixin, BaseEstimator):
    """A classifier whose scores are its columns, for scikit-learn to calibrate."""

    def __init__(self, n_classes: int = 2) -> None:
        self.n_classes = n_classes

    def fit(self, X: Array, y: Array | None = None) -> "PassThrough":
        """Learn nothing."""
        self.classes_ = np.arange(self.n_classes)
        return self

    def decision_function(self, X: Array) -> Array:
        """Return log-odds of an event, or all columns."""
        return X[:, 1] - X[:, 0] if self.n_classes == 2 else X

    def predict(self, X: Array) -> Array:
        """Return the class of the largest column."""
        return X.argmax(axis=1)


def raw(cell: Cell) -> Array:
    """Return the probabilities as they come."""
    return softmax(cell.half(1)[0], axis=1)


def our_method(name: str, *, with_entropy: bool = False, **settings: object) -> Method:
    """Return one of our calibrators, with or without predictive entropy as a routing column."""

    def method(cell: Cell) -> Array:
        def columns(which: int) -> Array:
            logits = cell.half(which)[0]
            scores = logits[:, 1:] if cell.n_classes == 2 else logits
            p = softmax(logits, axis=1)
            entropy = -(p * np.log(np.maximum(p, _SMALLEST))).sum(axis=1, keepdims=True)
            return np.hstack([scores, entropy]) if with_entropy else scores

        n_scores = 1 if cell.n_classes == 2 else cell.n_classes
        calibrator = getattr(ours, name)(
            confidence_columns=list(range(n_scores)),
            confidence_kind="logit",
            classes=np.arange(cell.n_classes),
            **settings,
        )
        return calibrator.fit(columns(0), cell.half(0)[1]).predict_proba(columns(1))

    return method


def of_scikit_learn(word: str) -> Method:
    """Return a method of scikit-learn's CalibratedClassifierCV.

    It cannot be told of classes that y lacks: each gets a row of almost no weight.
    """

    def method(cell: Cell) -> Array:
        logits, y = cell.half(0)
        absent = np.setdiff1d(np.arange(cell.n_classes), y)
        X = np.vstack([logits, np.zeros((len(absent), cell.n_classes))])
        weight = np.r_[np.ones(len(y)), np.full(len(absent), _SMALLEST)]
        frozen = FrozenEstimator(PassThrough(cell.n_classes).fit(logits))
        calibrator = CalibratedClassifierCV(frozen, method=word)
        calibrator.fit(X, np.r_[y, absent], sample_weight=weight)
        return calibrator.predict_proba(cell.half(1)[0])

    return method


def of_probmetrics(word: str) -> Method:
    """Return a calibrator of probmetrics."""

    def method(cell: Cell) -> Array:
        from probmetrics.calibrators import get_calibrator

        logits, y = cell.half(0)
        return get_calibrator(word).fit(softmax(logits, axis=1), y).predict_proba(raw(cell))

    return method


def netcal_temperature(cell: Cell) -> Array:
    """Return netcal's temperature scaling, in double precision."""
    from netcal.scaling import TemperatureScaling

    logits, y = cell.half(0)
    fit, new = softmax(logits, axis=1), raw(cell)
    if cell.n_classes == 2:
        p = TemperatureScaling().fit(fit[:, 1], y).transform(new[:, 1])
        return np.column_stack([1 - p, p])
    return TemperatureScaling().fit(fit, y).transform(new)


def mcgrad(cell: Cell) -> Array:
    """Return MCGrad with the log-odds of the event as its only feature."""
    import pandas as pd
    from mcgrad.methods import MCGrad

    logits, y = cell.half(0)
    features = {"numerical_feature_column_names": ["log_odds"]}
    tables = [
        pd.DataFrame({"score": softmax(z, axis=1)[:, 1], "log_odds": z[:, 1]})
        for z in (logits, cell.half(1)[0])
    ]
    model = MCGrad(random_state=0)
    model.fit(tables[0].assign(label=y), "score", "label", **features)
    p = np.asarray(model.predict(tables[1], "score", **features))
    return np.column_stack([1 - p, p])


def methods_for(cell: Cell) -> dict[str, Method]:
    """Return the methods that exist here and apply to a cell, ours first."""
    event = cell.n_classes == 2
    methods: dict[str, Method] = {"raw": raw}
    names = ("TemperatureScaler", "ExpertTemperatureScaler", "StructuredScaler")
    names += ("NWConditionalCalibrator", "AdversarialReweightCalibrator", "CapacityMatchedMLP")
    for name in names:
        if hasattr(ours, name):
            seed = (
                {"random_state": 0} if "random_state" in getattr(ours, name)().get_params() else {}
            )
            methods[name] = our_method(name, **seed)
            if cell.kind == "llm" and name in ("StructuredScaler", "NWConditionalCalibrator"):
                methods[f"{name} + entropy"] = our_method(name, with_entropy=True, **seed)
    for word in ("temperature", "sigmoid", "isotonic"):
        methods[f"scikit-learn {word}"] = of_scikit_learn(word)
    if find_spec("netcal"):
        methods["netcal temperature"] = netcal_temperature
    if find_spec("probmetrics"):
        words = ("quadratic-scaling",) if event else ("svs", "sms")
        methods |= {
            f"probmetrics {word}": of_probmetrics(word) for word in ("temp-scaling", *words)
        }
    if event and find_spec("mcgrad"):
        methods["MCGrad"] = mcgrad
    return methods


# --- scores -------------------------------------------------------------------------------------


def score_cell(cell: Cell, only: str, skip: str) -> list[Line]:
    """Fit and score all methods on one cell."""
    lines = []
    for name, method in methods_for(cell).items():
        wanted = only in name and name not in skip.split(",")
        if wanted or name in ("raw", "TemperatureScaler"):
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    probability, failure = method(cell), ""
                # A peer that raises is a result, and is shown as one.
                except Exception as error:
                    probability, failure = raw(cell), f"{type(error).__name__}: {error}"[:80]
            seconds = time.process_time() - start
            lines.append(_line(cell, name, probability, seconds, failure))
    return lines


def _line(cell: Cell, name: str, probability: Array, seconds: float, failure: str) -> Line:
    y = cell.half(1)[1]
    p = np.clip(np.asarray(probability, dtype=np.float64), _SMALLEST, 1)
    p /= p.sum(axis=1, keepdims=True)
    event = cell.n_classes == 2
    confidence = p[:, 1] if event else p.max(axis=1)
    outcome = y if event else p.argmax(axis=1) == y
    ece = calibration_error_interval(outcome, confidence, random_state=0)
    smooth = bootstrap_interval(
        smooth_calibration_error, outcome, confidence, n_resamples=_N_RESAMPLES, random_state=0
    )
    return Line(
        cell.name,
        cell.kind,
        cell.n_classes,
        name,
        -np.log(p[np.arange(len(y)), y]),
        ((p - np.eye(cell.n_classes)[y]) ** 2).sum(axis=1),
        float((p.argmax(axis=1) == y).mean()),
        (ece.estimate, ece.low, ece.high),
        # Reflected, as resampling adds to a bias that is there already.
        (smooth.estimate, *np.maximum(2 * smooth.estimate - np.r_[smooth.high, smooth.low], 0)),
        seconds,
        cell.drift(),
        failure,
    )


def main() -> None:
    """Run, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="methods whose name contains this")
    parser.add_argument("--skip", default="", help="methods to leave out, by commas")
    parser.add_argument("--cells", default="", help="cells whose name contains this")
    parser.add_argument(
        "--output", type=Path, help="write summary here, every line beside it as .csv"
    )
    arguments = parser.parse_args()
    cells = [cell for cell in read_cells(arguments.folder) if arguments.cells in cell.name]
    found = Parallel(n_jobs=arguments.jobs, return_as="generator")(
        delayed(score_cell)(cell, arguments.only, arguments.skip) for cell in cells
    )
    lines: list[Line] = []
    for count, more in enumerate(found, start=1):
        lines += more
        print(f"{count} of {len(cells)}: {more[0].cell}", flush=True)
        summary = "\n\n".join([*summaries(lines), *checks(lines)])
        # After every cell: a run of half an hour may be stopped.
        if arguments.output:
            arguments.output.write_text(summary + "\n")
            arguments.output.with_suffix(".csv").write_text(every_line(lines))
    print(summary)


if __name__ == "__main__":
    main()
