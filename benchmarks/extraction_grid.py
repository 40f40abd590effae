"""What a grid search over a pipeline with a network in it forwards, sends and costs.

600 rows, 3 folds, 4 strengths of a logistic regression on the columns: 12 fits, and the refit. A
network of 25 million parameters is held in two ways:

``raw module``
    A transformer with the module as its parameter, as one would write it: `clone` copies it,
    every task carries it, and every `transform` forwards its rows.
``extractor``
    :class:`RoutingFeatureExtractor` around a :class:`Backbone`: first with a cold cache, then
    again in a second process.

Printed: rows forwarded (counted by the module itself, over all processes), bytes of one pickled
task, seconds and their ratio to the raw module in the same run. Every line is a process of its
own, so that none profits from what another has loaded.

Run as ``python -m benchmarks.extraction_grid [--repeats 3] [--output FILE]``; some minutes.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from benchmarks._rst import publish, simple_table
from sk_arcal import Backbone, RoutingFeatureExtractor
from sk_arcal.models import MixtureOfExperts

N_ROWS, N_INPUTS, N_CLASSES = 600, 64, 5
BODY = (3400, 3400, 3400)
GRID = {"classifier__C": [0.01, 0.1, 1.0, 10.0]}
HOLDERS = ("raw module", "extractor")


class CountingModule(torch.nn.Module):
    """A mixture of experts that notes how many rows it is given.

    Parameters
    ----------
    log : str
        File to which the number of rows of every call is appended; processes share it.
    """

    def __init__(self, log: str) -> None:
        super().__init__()
        self.log = log
        torch.manual_seed(0)
        self.inner = MixtureOfExperts(N_INPUTS, N_CLASSES, body_widths=BODY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Note the rows, and pass them on."""
        with open(self.log, "a") as file:
            file.write(f"{len(x)}\n")
        return self.inner(x)


class RawModuleExtractor(TransformerMixin, BaseEstimator):
    """Logits and the entropy of the gates, by a module that is a parameter."""

    def __init__(self, module: Any = None) -> None:
        self.module = module

    def fit(self, X: Any, y: Any = None) -> "RawModuleExtractor":
        """Do nothing."""
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Forward all rows."""
        module = self.module.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(X), 64):
                batch = torch.as_tensor(X[start : start + 64], dtype=torch.float32)
                logits = module(batch)
                parts.append(torch.cat([logits, logits.std(dim=1, keepdim=True)], dim=1))
        return torch.cat(parts).double().numpy()

    def __sklearn_is_fitted__(self) -> bool:
        return True


def extractor_of(holder: str, folder: Path) -> Any:
    """Return the transformer of one design; both hold the same network."""
    module = CountingModule(str(folder / "rows.log"))
    if holder == "raw module":
        return RawModuleExtractor(module)
    return RoutingFeatureExtractor(Backbone(module), cache=folder / "cache")


def search(holder: str, folder: Path, n_jobs: int) -> dict[str, Any]:
    """Run the grid search in this process; return what it took."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_INPUTS)).astype(np.float32)
    y = X[:, :N_CLASSES].argmax(axis=1)
    extractor = extractor_of(holder, folder)
    n_bytes = len(pickle.dumps(clone(extractor)))
    classifier = LogisticRegression(max_iter=1000)
    pipeline = Pipeline([("extractor", extractor), ("classifier", classifier)])
    grid = GridSearchCV(pipeline, GRID, cv=3, n_jobs=n_jobs, scoring="neg_log_loss")
    log = folder / "rows.log"
    before = rows_in(log)
    started = time.perf_counter()
    grid.fit(X, y)
    seconds = time.perf_counter() - started
    score = float(grid.best_score_)
    rows = rows_in(log) - before
    return {"rows": rows, "bytes": n_bytes, "seconds": seconds, "score": score}


def rows_in(log: Path) -> int:
    """Return the rows noted so far."""
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def in_new_process(holder: str, folder: Path, n_jobs: int) -> dict[str, Any]:
    """Run the search in a process of its own, like somebody's script."""
    command = [sys.executable, "-m", "benchmarks.extraction_grid", "--worker", holder]
    command += ["--folder", str(folder), "--jobs", str(n_jobs)]
    environment = os.environ | {"SK_ARCAL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(n_jobs: int) -> dict[str, dict[str, Any]]:
    """Run both designs once, the extractor twice."""
    with tempfile.TemporaryDirectory() as raw, tempfile.TemporaryDirectory() as cached:
        return {
            "raw module": in_new_process("raw module", Path(raw), n_jobs),
            "extractor, cold": in_new_process("extractor", Path(cached), n_jobs),
            "extractor, second process": in_new_process("extractor", Path(cached), n_jobs),
        }


def tables(repeats: int) -> Iterator[str]:
    """Yield a table per number of jobs."""
    for n_jobs in (1, 2):
        runs = [measure(n_jobs) for _ in range(repeats)]
        lines = []
        for name in runs[0]:
            ratios = [run["raw module"]["seconds"] / run[name]["seconds"] for run in runs]
            lines.append(
                [
                    name,
                    f"{max(run[name]['rows'] for run in runs)}",
                    f"{runs[0][name]['bytes']:,}",
                    f"{median(run[name]['seconds'] for run in runs):.2f}",
                    f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})",
                ]
            )
        header = ["design", "most rows forwarded", "bytes per task", "seconds", "times faster"]
        yield simple_table(f"n_jobs={n_jobs}, median of {repeats} runs", header, lines)


def main() -> None:
    """Read the arguments; print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--worker", choices=HOLDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(search(arguments.worker, arguments.folder, arguments.jobs)))
    else:
        publish(tables(arguments.repeats), arguments.output)


if __name__ == "__main__":
    main()
