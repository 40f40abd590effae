"""What a grid search over a pipeline with a network in it forwards, sends and costs.

600 rows, 3 folds, 4 strengths of a logistic regression on the columns: 12 fits, and the refit. A
network of 25 million parameters is held in two ways:

``raw module``
    A transformer with the module as its parameter, as one would write it: `clone` copies it,
    every task carries it, and every `transform` forwards its rows.
``extractor``
    :class:`RoutingFeatureExtractor` around a :class:`Backbone`: first with a cold cache, then
    again in a second process.

A row is one token or eight, for which the weights are used. One is the cheapest there is; then the
search itself, a fifth of a second, is a third of what the extractor takes.

Printed: rows forwarded (counted by the module itself, over all processes), bytes of one pickled
task, seconds and their ratio to the raw module in the same run. Every line is a process of its
own, so that none profits from what another has loaded. Its workers are started, and have imported
what either design needs, before the clock starts: that takes longer than the searches.

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
from importlib import import_module
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from benchmarks._rst import publish, simple_table
from sk_arcal import Backbone, RoutingFeatureExtractor
from sk_arcal.models import MixtureOfExperts

N_ROWS, N_INPUTS, N_CLASSES = 600, 64, 5
TOKENS = (1, 8)
BODY = (3400, 3400, 3400)
GRID = {"classifier__C": [0.01, 0.1, 1.0, 10.0]}
HOLDERS = ("raw module", "extractor")


class CountingModule(torch.nn.Module):
    """A mixture of experts that notes how many rows it is given.

    Parameters
    ----------
    log : str
        File to which the number of rows of every call is appended; processes share it.
    n_tokens : int
        Tokens that a row is cut into; their log-probabilities are averaged.
    """

    def __init__(self, log: str, n_tokens: int) -> None:
        super().__init__()
        self.log, self.n_tokens = log, n_tokens
        torch.manual_seed(0)
        self.inner = MixtureOfExperts(N_INPUTS // n_tokens, N_CLASSES, body_widths=BODY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Note the rows, and pass them on."""
        with open(self.log, "a") as file:
            file.write(f"{len(x)}\n")
        tokens = self.inner(x.view(len(x) * self.n_tokens, -1))
        return tokens.view(len(x), self.n_tokens, -1).mean(dim=1)


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


def extractor_of(holder: str, folder: Path, n_tokens: int) -> Any:
    """Return the transformer of one design; both hold the same network."""
    module = CountingModule(str(folder / "rows.log"), n_tokens)
    if holder == "raw module":
        return RawModuleExtractor(module)
    return RoutingFeatureExtractor(Backbone(module), cache=folder / "cache")


def search(holder: str, folder: Path, n_jobs: int, n_tokens: int) -> dict[str, Any]:
    """Run the grid search in this process; return what it took."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, N_INPUTS)).astype(np.float32)
    y = X[:, :N_CLASSES].argmax(axis=1)
    extractor = extractor_of(holder, folder, n_tokens)
    n_bytes = len(pickle.dumps(clone(extractor)))
    classifier = LogisticRegression(max_iter=1000)
    pipeline = Pipeline([("extractor", extractor), ("classifier", classifier)])
    grid = GridSearchCV(pipeline, GRID, cv=3, n_jobs=n_jobs, scoring="neg_log_loss")
    # With torch: scikit-learn sends the warning filters along, and one of them is torch's.
    Parallel(n_jobs)(delayed(load)("benchmarks.extraction_grid") for _ in range(4 * n_jobs))
    log = folder / "rows.log"
    before = rows_in(log)
    started = time.perf_counter()
    grid.fit(X, y)
    seconds = time.perf_counter() - started
    score = float(grid.best_score_)
    rows = rows_in(log) - before
    return {"rows": rows, "bytes": n_bytes, "seconds": seconds, "score": score}


def load(module: str) -> None:
    """Import a module, and be busy for a moment so that every worker gets to do so."""
    import_module(module)
    time.sleep(0.2)


def rows_in(log: Path) -> int:
    """Return the rows noted so far."""
    return sum(map(int, log.read_text().split())) if log.exists() else 0


def in_new_process(holder: str, folder: Path, n_jobs: int, n_tokens: int) -> dict[str, Any]:
    """Run the search in a process of its own, like somebody's script."""
    command = [sys.executable, "-m", "benchmarks.extraction_grid", "--worker", holder]
    command += ["--folder", str(folder), "--jobs", str(n_jobs), "--tokens", str(n_tokens)]
    environment = os.environ | {"SK_ARCAL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(*setting: int) -> dict[str, dict[str, Any]]:
    """Run both designs once, the extractor twice."""
    with tempfile.TemporaryDirectory() as raw, tempfile.TemporaryDirectory() as cached:
        return {
            "raw module": in_new_process("raw module", Path(raw), *setting),
            "extractor, cold": in_new_process("extractor", Path(cached), *setting),
            "extractor, second process": in_new_process("extractor", Path(cached), *setting),
        }


def tables(repeats: int) -> Iterator[str]:
    """Yield a table per number of jobs and of tokens."""
    for n_jobs, n_tokens in product((1, 2), TOKENS):
        runs = [measure(n_jobs, n_tokens) for _ in range(repeats)]
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
        per_row = "one token a row" if n_tokens == 1 else f"{n_tokens} tokens a row"
        title = f"n_jobs={n_jobs}, {per_row}, median of {repeats} runs"
        yield simple_table(title, header, lines)


def main() -> None:
    """Read the arguments; print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--worker", choices=HOLDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        setting = (arguments.jobs, arguments.tokens)
        print(json.dumps(search(arguments.worker, arguments.folder, *setting)))
    else:
        publish(tables(arguments.repeats), arguments.output)


if __name__ == "__main__":
    main()
