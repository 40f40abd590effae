"""Data sets with a part that is harder or shifted, and networks trained on them.

A *case* is one trained mixture: what gates and experts say about rows to fit calibrators on, rows
like those of training, and rows of the hard or shifted part.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.preprocessing import StandardScaler

from benchmarks.train_experts_on_images import METHODS
from sk_arcal.diagnostics import agreement_subsets
from sk_arcal.models import MixtureOfExpertsClassifier

Array = NDArray[np.float64]

# Of the drift over 36 months: the early batches, and all later ones.
EARLY_BATCHES = (1, 2, 3)
RACES = ("African-American", "Caucasian", "Hispanic")


@dataclass(frozen=True)
class Part:
    """Rows as a mixture sees them.

    Attributes
    ----------
    gates : ndarray of shape (n_rows, n_experts)
        Softmax of the router.
    experts : ndarray of shape (n_rows, n_experts, n_classes)
        Log-probabilities.
    y : ndarray of int of shape (n_rows,)
        Class codes.
    """

    gates: Array
    experts: Array
    y: NDArray[np.intp]

    @property
    def log_probability(self) -> Array:
        """Log-probabilities of the mixture."""
        with np.errstate(divide="ignore"):
            return logsumexp(np.log(self.gates)[:, :, None] + self.experts, axis=1)

    def take(self, rows: Any) -> "Part":
        """Return some of the rows."""
        return Part(self.gates[rows], self.experts[rows], self.y[rows])


@dataclass(frozen=True)
class Case:
    """One trained network: rows to calibrate on, rows as in training, hard or shifted rows."""

    calibration: Part
    usual: Part
    shifted: Part


@dataclass(frozen=True)
class Domain:
    """A table, and the rows of the part that is held out of training."""

    name: str
    X: Array
    y: NDArray[np.intp]
    is_shifted: NDArray[np.bool_]


def gas_sensors(folder: Path) -> list[Domain]:
    """Return the drift of gas sensors: trained on early batches, shifted are the later ones."""
    data = np.load(folder / "tabular" / "gas_sensor_drift.npz")
    X = np.sign(data["X"]) * np.log1p(np.abs(data["X"].astype(float)))
    later = ~np.isin(data["batch"], EARLY_BATCHES)
    return [Domain("gas sensors, later batches", X, data["y"].astype(np.intp), later)]


def recidivism(folder: Path) -> list[Domain]:
    """Return COMPAS, one of the three largest groups held out of training at a time."""
    data = np.load(folder / "tabular" / "compas.npz")
    X, y = data["X"].astype(float), data["y"].astype(np.intp)
    names = data["race_names"][data["race"]]
    return [Domain(f"COMPAS, {race} held out", X, y, names == race) for race in RACES]


def trained_cases(
    domain: Domain, methods: list[str], n_seeds: int, n_jobs: int
) -> dict[str, list[Case]]:
    """Train every method on every seed."""
    tasks = [(method, seed) for method in methods for seed in range(n_seeds)]
    cases = Parallel(n_jobs)(delayed(_trained)(domain, *task) for task in tasks)
    found: dict[str, list[Case]] = {method: [] for method in methods}
    for (method, _), case in zip(tasks, cases, strict=True):
        found[method].append(case)
    return found


def _trained(domain: Domain, method: str, seed: int) -> Case:
    inside = np.flatnonzero(~domain.is_shifted)
    order = np.random.default_rng(seed).permutation(inside)
    train, calibrate, test = np.split(order, [int(0.6 * len(order)), int(0.8 * len(order))])
    scale = StandardScaler().fit(domain.X[train])
    X = scale.transform(domain.X)
    model = MixtureOfExpertsClassifier(random_state=seed, **METHODS[method])
    model.fit(X[train], domain.y[train])

    def part(rows: NDArray[np.intp]) -> Part:
        return Part(*model.expert_scores(X[rows]), domain.y[rows])

    return Case(part(calibrate), part(test), part(np.flatnonzero(domain.is_shifted)))


def image_cases(folder: Path, runs: Path) -> dict[str, list[Case]]:
    """Read networks trained on CIFAR-10; hard are test images people disagree about.

    Parameters
    ----------
    folder : Path
        Shared data, for the human votes.
    runs : Path
        Output of ``benchmarks.train_experts_on_images``.

    Returns
    -------
    cases : dict of str to list of Case
        By method; those with a file.
    """
    votes = np.load(folder / "logits" / "cifar10h_human_counts.npz")["counts"]
    index = np.load(folder / "images" / "cifar10_test_even_jpeg.npz")["index"]
    hard = agreement_subsets(votes[index]) == "hard"
    found = {}
    for method in METHODS:
        file = runs / f"{method}.npz"
        if file.exists():
            found[method] = list(_image_runs(np.load(file), hard))
    return found


def _image_runs(stored: Any, hard: NDArray[np.bool_]) -> Iterator[Case]:
    arrays = zip(stored["gates"], stored["experts"], stored["y"], strict=True)
    for gates, experts, y in arrays:
        exact = experts.astype(np.float64)
        # Half precision has lost the last digits of the sum.
        exact -= logsumexp(exact, axis=2)[:, :, None]
        seen = Part(gates.astype(np.float64), exact, y.astype(np.intp))
        n_kept = len(y) - len(hard)
        test = seen.take(slice(n_kept, None))
        yield Case(seen.take(slice(n_kept)), test, test.take(hard))
