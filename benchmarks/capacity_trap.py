"""The capacity trap: a network on the full routing profile wins although routing says nothing.

Two truths, each over 10 seeds, with log-odds z ~ N(0, 2) and a profile of six layers, each
correlated 0.6 with z:

``no effect``
    P(event | z, r) = sigmoid(z / 2 + 2 sin z): far from any line in z, and without routing.
``effect``
    The same, plus 0.8 times the first layer inside the sigmoid.

Each is fitted on 8000 rows by logistic regression on z, by the network on the full profile, and by
its two controls of the same capacity. Printed: log loss and Brier score on 8000 fresh rows, and by
how much the full profile is better than each other method: mean over the seeds +- standard error
of paired differences, in 10^-3.

Without an effect the full profile should beat the logistic fit and tie with both controls: six
useless columns may cost it a few hundredths of that gain, but should not add to it. With an effect
it should beat both.

Run as ``python -m benchmarks.capacity_trap [--seeds 10] [--jobs 1]``; a few minutes.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from benchmarks._rst import publish, simple_table
from sk_arcal import CapacityMatchedMLP

Array = NDArray[np.float64]
TRUTHS = {"no effect": 0.0, "effect": 0.8}
METHODS = ("logistic on confidence", "confidence only", "shuffled profile", "full profile")
SCORES = ("log loss", "Brier")
N_LAYERS, N_FIT, N_FRESH = 6, 8000, 8000


def draw(effect: float, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return columns (log-odds, profile) and 0/1 outcomes."""
    log_odds = rng.normal(0, 2, n)
    profile = 0.6 * log_odds[:, None] / 2 + 0.8 * rng.normal(size=(n, N_LAYERS))
    truth = expit(log_odds / 2 + 2 * np.sin(log_odds) + effect * profile[:, 0])
    return np.column_stack([log_odds, profile]), (rng.random(n) < truth).astype(float)


def fitted_probabilities(X: Array, y: Array, fresh: Array, seed: int) -> list[Array]:
    """Return P(event) on fresh rows by every method, in the order of METHODS."""
    logistic = LogisticRegression(C=np.inf).fit(X[:, :1], y)
    found = [logistic.predict_proba(fresh[:, :1])[:, 1]]
    for control in ("confidence_only", "shuffled_routing", None):
        network = CapacityMatchedMLP(
            confidence_columns=0, confidence_kind="logit", control=control, random_state=seed
        )
        found.append(network.fit(X, y).predict_proba(fresh)[:, 1])
    return found


def one_seed(effect: float, seed: int, n_fit: int = N_FIT, n_fresh: int = N_FRESH) -> Array:
    """Return scores of shape (n_methods, 2): mean log loss and Brier score on fresh rows."""
    rng = np.random.default_rng([seed, round(100 * effect)])
    X, y = draw(effect, n_fit, rng)
    fresh, outcome = draw(effect, n_fresh, rng)
    scores = []
    for event in fitted_probabilities(X, y, fresh, seed):
        own = np.where(outcome == 1, event, 1 - event)
        scores.append((-np.log(np.maximum(own, 1e-15)).mean(), np.mean((event - outcome) ** 2)))
    return np.array(scores)


@dataclass(frozen=True)
class Comparison:
    """By how much the full profile is better: arrays of shape (n_methods, 2)."""

    mean_score: Array
    gain: Array
    standard_error: Array

    @classmethod
    def of(cls, runs: Array) -> "Comparison":
        """Compare runs of shape (n_seeds, n_methods, 2)."""
        gain = runs - runs[:, -1:]
        error = gain.std(axis=0, ddof=1) / np.sqrt(len(runs))
        return cls(runs.mean(axis=0), gain.mean(axis=0), error)

    def z(self, method: str, score: str) -> float:
        """Return a gain in standard errors."""
        at = METHODS.index(method), SCORES.index(score)
        return float(self.gain[at] / self.standard_error[at])


def compare(truth: str, n_seeds: int, n_jobs: int = 1, **sizes: int) -> Comparison:
    """Run all methods on one of TRUTHS, over seeds 0 to `n_seeds` - 1."""
    jobs = (delayed(one_seed)(TRUTHS[truth], seed, **sizes) for seed in range(n_seeds))
    return Comparison.of(np.array(Parallel(n_jobs=n_jobs)(jobs)))


def table(truth: str, comparison: Comparison, n_seeds: int) -> str:
    """Scores and gains of one truth, in 10^-3."""
    header = ("method", "log loss", "gain of full profile", "Brier", "gain of full profile")
    rows = []
    for row, method in enumerate(METHODS):
        cells = [method]
        for column in range(len(SCORES)):
            gain, error = comparison.gain[row, column], comparison.standard_error[row, column]
            is_itself = row == len(METHODS) - 1
            cells.append(f"{1e3 * comparison.mean_score[row, column]:.1f}")
            cells.append("" if is_itself else f"{1e3 * gain:+.2f} ± {1e3 * error:.2f}")
        rows.append(cells)
    return simple_table(f"{truth}, {n_seeds} seeds, in thousandths", header, rows)


def main() -> None:
    """Print a table per truth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the tables, as reStructuredText")
    args = parser.parse_args()
    publish(
        (table(truth, compare(truth, args.seeds, args.jobs), args.seeds) for truth in TRUTHS),
        args.output,
    )


if __name__ == "__main__":
    main()
