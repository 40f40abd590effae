"""How near the kernel calibrator comes to the truth, where the truth is known.

Two experiments, each over 20 seeds:

``routing``
    Confidence c ~ Beta(6, 2), a routing feature r ~ U(0, 1) independent of it. The event rate is
    c (null), c -+ 0.1 with a step at r = 1/2, or c + 0.1 sin(2 pi r). Useless columns are added
    in a second block. Printed: mean squared distance to the truth on fresh rows, times 10^4.
``confidence``
    No routing. Log-odds are normal, 53 % of the confidences exceed 0.93 and 81 % of the events
    happen; the truth is one temperature ("smooth") or one temperature and a sine on the logit
    scale ("wiggly"). Printed: excess log loss, in 10^-3 nats.

Run as ``python benchmarks/kernel_calibrator.py [--seeds 20] [--jobs 1]``; a few minutes.
"""

import argparse
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import expit, rel_entr
from sklearn.base import ClassifierMixin
from sklearn.isotonic import IsotonicRegression

from sk_arcal import NWConditionalCalibrator, TemperatureScaler

Array = NDArray[np.float64]
N_FRESH = 5000

PLAIN = {
    "anchor": "none",
    "bandwidth": "scott",
    "confidence_axis": "probability",
    "routing_axis": "standardized",
    "shrinkage": 0.0,
    "min_mass": 0.0,
}


# -- data ------------------------------------------------------------------------------------


def routing_setting(kind: str, n: int, n_useless: int, rng: np.random.Generator) -> tuple:
    """Draw columns (confidence, routing, useless columns) and the true event rate."""
    confidence, routing = rng.beta(6, 2, n), rng.random(n)
    effect = {
        "null": np.zeros(n),
        "step": np.where(routing < 0.5, -0.1, 0.1),
        "sine": 0.1 * np.sin(2 * np.pi * routing),
    }[kind]
    useless = rng.random((n, n_useless))
    columns = np.column_stack([confidence, routing, useless])
    return columns, np.clip(confidence + effect, 0, 1)


def confidence_setting(kind: str, n: int, rng: np.random.Generator) -> tuple:
    """Draw one column of log-odds and the true event rate."""
    log_odds = rng.normal(2.745, 2.1, n)
    if kind == "smooth":
        truth = expit(log_odds / 1.352)
    else:
        truth = expit(log_odds / 1.291 + 0.7 * np.sin(3 * log_odds))
    return log_odds[:, None], truth


# -- methods ---------------------------------------------------------------------------------


class LeaveAlone(ClassifierMixin):
    """The confidence as it comes."""

    def fit(self, X: Array, y: Array) -> "LeaveAlone":
        """Learn whether the column holds probabilities."""
        self.is_probability_ = bool(((X[:, 0] >= 0) & (X[:, 0] <= 1)).all())
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return the confidence."""
        event = X[:, 0] if self.is_probability_ else expit(X[:, 0])
        return np.column_stack([1 - event, event])


class Isotonic(LeaveAlone):
    """Isotonic regression on the confidence."""

    def fit(self, X: Array, y: Array) -> "Isotonic":
        """Fit the monotone map."""
        self.map_ = IsotonicRegression(y_min=1e-3, y_max=1 - 1e-3, out_of_bounds="clip")
        self.map_.fit(X[:, 0], y)
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return mapped confidences."""
        event = self.map_.predict(X[:, 0])
        return np.column_stack([1 - event, event])


METHODS: dict[str, Callable[[], ClassifierMixin]] = {
    "leave it alone": LeaveAlone,
    "isotonic on confidence": Isotonic,
    "temperature": TemperatureScaler,
    "plain kernel, Scott": lambda: NWConditionalCalibrator(**PLAIN),
    "NWConditionalCalibrator": NWConditionalCalibrator,
}


# -- scores ----------------------------------------------------------------------------------


def squared_distance(truth: Array, event: Array) -> float:
    """Mean squared distance to the truth, times 10^4."""
    return float(np.mean((truth - event) ** 2) * 1e4)


def excess_log_loss(truth: Array, event: Array) -> float:
    """Mean Kullback-Leibler divergence from the truth, in 10^-3 nats."""
    event = np.clip(event, 1e-12, 1 - 1e-12)
    return float(np.mean(rel_entr(truth, event) + rel_entr(1 - truth, 1 - event)) * 1e3)


def one_seed(draw: Callable, score: Callable, n: int, seed: int) -> dict[str, tuple[float, str]]:
    """Fit all methods on one draw; return score and selected arm of each."""
    rng = np.random.default_rng(seed)
    X, truth = draw(n, rng)
    y = (rng.random(n) < truth).astype(int)
    fresh, fresh_truth = draw(N_FRESH, rng)
    results = {}
    for name, make in METHODS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            method = make().fit(X, y)
            event = method.predict_proba(fresh)[:, 1]
        results[name] = (score(fresh_truth, event), getattr(method, "selected_", ""))
    return results


def print_table(
    title: str,
    settings: dict[str, Callable],
    sizes: Iterable[int],
    score: Callable,
    args: argparse.Namespace,
) -> None:
    """Print mean +- standard deviation over seeds for every method, setting and size."""
    cells = {}
    for n in sizes:
        for setting, draw in settings.items():
            runs = Parallel(n_jobs=args.jobs)(
                delayed(one_seed)(draw, score, n, seed) for seed in range(args.seeds)
            )
            cells[f"{setting}, n={n}"] = runs
    print(f"\n{title}, {args.seeds} seeds")
    print(" " * 26 + "".join(f"{column:>22}" for column in cells))
    for name in METHODS:
        line = f"{name:<26}"
        for runs in cells.values():
            scores = [run[name][0] for run in runs]
            line += f"{np.mean(scores):>14.1f} ± {np.std(scores):<5.1f}"
        print(line)
    print("selected (alone/temperature/confidence/routing):")
    for column, runs in cells.items():
        words = [run["NWConditionalCalibrator"][1] for run in runs]
        counts = [words.count(w) for w in ("identity", "temperature", "confidence", "routing")]
        print(f"  {column:<24}{'/'.join(map(str, counts))}")


def main() -> None:
    """Run both experiments and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", choices=["routing", "useless", "confidence"])
    args = parser.parse_args()
    kinds = ("null", "step", "sine")

    def routing(kind: str, n_useless: int) -> Callable:
        return lambda n, rng: routing_setting(kind, n, n_useless, rng)

    if args.only in {None, "routing"}:
        settings = {kind: routing(kind, 0) for kind in kinds}
        title = "Mean squared distance to the truth x 10^4, one routing column"
        print_table(title, settings, (1000, 3000), squared_distance, args)
    if args.only in {None, "useless"}:
        settings = {kind: routing(kind, 2) for kind in kinds}
        title = "The same with two useless columns more"
        print_table(title, settings, (3000,), squared_distance, args)
    if args.only in {None, "confidence"}:
        settings = {
            kind: lambda n, rng, kind=kind: confidence_setting(kind, n, rng)
            for kind in ("smooth", "wiggly")
        }
        title = "Excess log loss x 10^3 nats, no routing"
        print_table(title, settings, (1000, 5000), excess_log_loss, args)


if __name__ == "__main__":
    main()
