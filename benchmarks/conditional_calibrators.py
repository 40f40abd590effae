"""Calibration by confidence and routing features beside boosted multicalibration.

Confidence c ~ Beta(6, 2); the event rate is c, or c changed by a routing feature r ~ U(0, 1):
a step of 0.1 at r = 1/2, or 0.1 sin(2 pi r). In six families:

``n1000``, ``n3000``
    One feature, independent of the confidence.
``n500``
    The same with few rows.
``correlated``
    One feature whose normal score has correlation 0.8 with that of the confidence; 3000 rows.
``five``
    Five features, of which the first matters; 3000 rows.
``overconfident``
    One feature; the model reports log-odds twice as large as they should be; 3000 rows.

Printed, null rows first: mean squared distance to the truth on 20 000 fresh rows, times 10^4,
mean and standard error over seeds, and the paired difference of the kernel calibrator to MCGrad,
which is run where it is installed (``pip install mcgrad``).

Run as ``python -m benchmarks.conditional_calibrators [--seeds 10] [--jobs 1]``.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr
from scipy.stats import beta

import sk_arcal.calibration as ours
from benchmarks._rst import publish, simple_table
from benchmarks.kernel_calibrator import PLAIN, LeaveAlone, squared_distance

Array = NDArray[np.float64]
N_FRESH = 20_000
FAMILIES = {
    "n500": 500,
    "n1000": 1000,
    "n3000": 3000,
    "correlated": 3000,
    "five": 3000,
    "overconfident": 3000,
}
EFFECTS = ("null", "step", "sine")
# Of a confidence that goes through its logit and back, in the units of the table.
ROUNDING = 1e-6
KERNEL, PEER = "NWConditionalCalibrator", "MCGrad"


def draw(family: str, effect: str, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return columns (confidence, features) and the true event rate."""
    score = rng.normal(size=n)
    confidence = beta(6, 2).ppf(ndtr(score))
    features = rng.random((n, 5 if family == "five" else 1))
    if family == "correlated":
        features[:, 0] = ndtr(0.8 * score + 0.6 * rng.normal(size=n))
    shift = {
        "null": 0.0,
        "step": np.where(features[:, 0] < 0.5, -0.1, 0.1),
        "sine": 0.1 * np.sin(2 * np.pi * features[:, 0]),
    }[effect]
    truth = np.clip(confidence + shift, 0, 1)
    if family == "overconfident":
        confidence = expit(2 * logit(confidence))
    return np.column_stack([confidence, features]), truth


class Multicalibration:
    """MCGrad at its defaults, behind the interface of a classifier."""

    def fit(self, X: Array, y: NDArray[np.int_]) -> "Multicalibration":
        """Boost trees on the logit of the confidence."""
        from mcgrad.methods import MCGrad

        self.model_ = MCGrad()
        table = self._table(X).assign(label=y)
        self.model_.fit(table, label_column_name="label", **self._names(table))
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return both probabilities."""
        table = self._table(X)
        event = np.asarray(self.model_.predict(table, **self._names(table)))
        return np.column_stack([1 - event, event])

    @staticmethod
    def _table(X: Array) -> object:
        import pandas as pd

        names = ["prediction", *(f"feature{i}" for i in range(X.shape[1] - 1))]
        return pd.DataFrame(X, columns=names)

    @staticmethod
    def _names(table: object) -> dict:
        features = [name for name in table.columns if name.startswith("feature")]
        return {
            "prediction_column_name": "prediction",
            "categorical_feature_column_names": [],
            "numerical_feature_column_names": features,
        }


def methods() -> dict[str, Callable]:
    """Return constructors, ours first, the peer where it is installed."""
    found: dict[str, Callable] = {
        "leave it alone": LeaveAlone,
        "plain kernel, Scott": lambda: ours.NWConditionalCalibrator(**PLAIN),
    }
    for name in ("TemperatureScaler", KERNEL, "StructuredScaler", "AdversarialReweightCalibrator"):
        found[name] = lambda name=name: getattr(ours, name)()
    found["CapacityMatchedMLP"] = lambda: ours.CapacityMatchedMLP(random_state=0)
    if find_spec("mcgrad"):
        found[PEER] = Multicalibration
    return found


def one_seed(family: str, effect: str, seed: int) -> dict[str, tuple[float, float]]:
    """Fit all methods on one draw; return squared distance and seconds of each."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family), EFFECTS.index(effect)])
    X, truth = draw(family, effect, FAMILIES[family], rng)
    y = (rng.random(len(truth)) < truth).astype(int)
    fresh, fresh_truth = draw(family, effect, N_FRESH, rng)
    results = {}
    for name, make in methods().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.process_time()
            method = make().fit(X, y)
            seconds = time.process_time() - start
            event = method.predict_proba(fresh)[:, 1]
        results[name] = squared_distance(fresh_truth, event), seconds
    return results


def mean_and_error(values: Array) -> tuple[float, float]:
    """Return mean and standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def table(effect: str, cells: dict[str, list], names: list[str]) -> str:
    """One line per method, one column per family."""
    rows = []
    for name in names:
        scores = [mean_and_error([run[name][0] for run in runs]) for runs in cells.values()]
        seconds = np.median([run[name][1] for runs in cells.values() for run in runs])
        rows.append([name, *(f"{m:.1f} ± {e:.1f}" for m, e in scores), f"{seconds:.2f}"])
    if PEER in names:
        paired = [
            mean_and_error(np.array([run[KERNEL][0] - run[PEER][0] for run in runs]))
            for runs in cells.values()
        ]
        no_worse = ["yes" if mean <= error + ROUNDING else "no" for mean, error in paired]
        rows.append([f"kernel less {PEER}", *(f"{m:+.1f} ± {e:.1f}" for m, e in paired), ""])
        rows.append(["no worse", *no_worse, ""])
    return simple_table(f"Effect: {effect}", ["method", *cells, "CPU s"], rows)


def tables(families: list[str], n_seeds: int, n_jobs: int) -> Iterator[str]:
    """Run effect after effect, the null first."""
    for effect in EFFECTS:
        cells = {
            family: Parallel(n_jobs=n_jobs)(
                delayed(one_seed)(family, effect, seed) for seed in range(n_seeds)
            )
            for family in families
        }
        yield table(effect, cells, list(methods()))


def main() -> None:
    """Run all settings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    args = parser.parse_args()
    publish(tables(args.families, args.seeds, args.jobs), args.output)


if __name__ == "__main__":
    main()
