"""Train mixtures of experts on CIFAR-10 by every objective, several seeds each.

FOLDER holds ``images/cifar10_small_raw.npz`` (2000 decoded training images) or, with ``--n-train``
above 2000, ``images/cifar10_train_jpeg.npz``; test images are the 5000 of
``images/cifar10_test_even_jpeg.npz``. A tenth of the training images is drawn anew for every seed,
kept out, and serves to fit calibrators.

Written to OUTPUT: ``<method>.npz`` with the arrays ``gates`` (seed, image, expert) and ``experts``
(seed, image, expert, class; log-probabilities, half precision), for the images kept out first and
the test images then, their labels ``y`` (seed, image), and the seconds each run took. This is what
``python -m benchmarks.experts_under_shift`` reads.

Run as ``python -m benchmarks.train_experts_on_images FOLDER OUTPUT [--n-train 2000] [--epochs 50]
[--widths 64 128 256] [--seeds 5] [--jobs 1] [--device cpu] [--methods NAME ...]``.
"""

import argparse
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from benchmarks._images import decoded, training_images
from sk_arcal.models import MixtureOfExpertsClassifier, ResidualBody

# The published seeds are 42 to 46.
FIRST_SEED = 42
METHODS: dict[str, dict[str, Any]] = {
    "single": {"n_experts": 1},
    "vanilla": {},
    "robust": {"objective": "softmax_weighted"},
    "filtered": {"objective": "softmax_weighted", "relevance": "either"},
    "fgr": {"rectify_gradient": True},
    "fgr_robust": {"objective": "softmax_weighted", "rectify_gradient": True},
    "tilted": {"objective": "tilted"},
    "cvar": {"objective": "cvar"},
}


def one_run(
    arguments: argparse.Namespace, method: str, seed: int, data: tuple[np.ndarray, ...]
) -> dict[str, Any]:
    """Train one network and return what it says about images it did not see."""
    X, y, X_test, y_test = data
    order = np.random.default_rng(seed).permutation(len(X))
    kept, rest = order[: len(X) // 10], order[len(X) // 10 :]
    started = time.perf_counter()
    model = MixtureOfExpertsClassifier(
        body=partial(ResidualBody, widths=tuple(arguments.widths)),
        augment=True,
        max_epochs=arguments.epochs,
        device=arguments.device,
        random_state=seed,
        **METHODS[method],
    ).fit(X[rest], y[rest])
    seconds = time.perf_counter() - started
    seen = np.concatenate([X[kept], X_test])
    gates, experts = model.expert_scores(seen)
    accuracy = float((model.predict(X_test) == y_test).mean())
    print(f"{method} {seed}: {seconds:.0f} s, accuracy {accuracy:.3f}", flush=True)
    return {
        "gates": gates.astype(np.float32),
        "experts": experts.astype(np.float16),
        "y": np.concatenate([y[kept], y_test]).astype(np.int8),
        "seconds": seconds,
    }


def main() -> None:
    """Train all methods on all seeds, a file per method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--n-train", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="networks trained at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    data = (
        *training_images(arguments.folder, arguments.n_train),
        *decoded(arguments.folder / "images" / "cifar10_test_even_jpeg.npz"),
    )
    tasks = [(m, FIRST_SEED + s) for m in arguments.methods for s in range(arguments.seeds)]
    runs = Parallel(arguments.jobs, return_as="generator")(
        delayed(one_run)(arguments, method, seed, data) for method, seed in tasks
    )
    for method in arguments.methods:
        found = list(islice(runs, arguments.seeds))
        stacked = {name: np.stack([run[name] for run in found]) for name in found[0]}
        np.savez_compressed(arguments.output / f"{method}.npz", **stacked)


if __name__ == "__main__":
    main()
