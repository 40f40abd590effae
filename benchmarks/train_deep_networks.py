"""Train deep vision transformers on CIFAR-10, to be read layer by layer.

FOLDER holds ``images/cifar10_small_raw.npz`` (2000 decoded training images) or, with ``--n-train``
above 2000, ``images/cifar10_train_jpeg.npz``. Written to OUTPUT: ``<residual>_<seed>.joblib``, the
fitted classifier, which ``python -m benchmarks.layers_of_networks`` reads.

Run as ``python -m benchmarks.train_deep_networks FOLDER OUTPUT [--n-train 5000] [--epochs 40]
[--depth 12] [--residual none full] [--seeds 5] [--device cpu]``.
"""

import argparse
import time
from pathlib import Path

import joblib

from benchmarks._images import training_images
from sk_arcal.models import VisionTransformerClassifier


def main() -> None:
    """Train all kinds and seeds, a file each; files that are there are left alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--n-train", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--residual", nargs="+", default=["none", "full"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    X, y = training_images(arguments.folder, arguments.n_train)
    for seed in range(arguments.seeds):
        for residual in arguments.residual:
            file = arguments.output / f"{residual}_{seed}.joblib"
            if file.exists():
                continue
            started = time.perf_counter()
            model = VisionTransformerClassifier(
                patch_size=8,
                depth=arguments.depth,
                residual=residual,
                max_epochs=arguments.epochs,
                device=arguments.device,
                random_state=seed,
            ).fit(X, y)
            joblib.dump(model, file)
            print(f"{file.name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
