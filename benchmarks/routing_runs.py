"""Train one network a seed and kind of residual stream, and write what the audit reads.

    python -m benchmarks.routing_runs PATH/TO/data OUT

Small vision transformers learn CIFAR-10 on the CPU, three seeds each of a plain residual stream
("none"), of attention over blocks ("block") and over all layers ("full"). Written to OUT, for
every network, over the 5000 test images with even index:

``<residual>_<seed>.csv``
    Class scores, scalar routing summaries (``routing__depth__...``) and the entropy of every depth
    site (``routing__profile__...``), true labels.
``<residual>_<seed>.npz``
    ``proba`` of shape (n_snapshots, n_images, n_classes): the same images at every second epoch.

The test images have the same order in every file, so that runs can be pooled image by image.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks._images import decoded, training_images
from benchmarks.train_on_images import CLASSES
from sk_arcal import Backbone, RoutingFeatureExtractor
from sk_arcal.models import VisionTransformerClassifier

RESIDUALS = ("none", "block", "full")
SCALARS = ("mean_normalized_entropy", "entropy_variance", "mean_max_weight")


def train(arguments: argparse.Namespace, residual: str, seed: int) -> VisionTransformerClassifier:
    """Return a network trained on the first training images."""
    X, y = training_images(arguments.folder, arguments.n_train)
    return VisionTransformerClassifier(
        patch_size=8,
        depth=4,
        residual=residual,
        augment=True,
        batch_size=64,
        max_epochs=arguments.epochs,
        snapshot_every=2,
        n_snapshots=arguments.epochs,
        device=arguments.device,
        random_state=seed,
    ).fit(X, y)


def write(arguments: argparse.Namespace, residual: str, seed: int) -> str:
    """Train one network and write its two files; return one line that sums them up."""
    start = time.perf_counter()
    model = train(arguments, residual, seed)
    X, y = decoded(arguments.folder / "images" / "cifar10_test_even_jpeg.npz")
    summaries = () if residual == "none" else (*SCALARS, "entropy")
    extractor = RoutingFeatureExtractor(
        Backbone(model.module_), classes=CLASSES, summaries=summaries, batch_size=256, cache=False
    ).set_output(transform="pandas")
    columns = extractor.fit_transform(X).assign(y_true=np.array(CLASSES)[y])
    stem = arguments.output / f"{residual}_{seed}"
    columns.to_csv(stem.with_suffix(".csv"), index=False)
    proba = np.stack(list(model.staged_predict_proba(X))).astype(np.float32)
    np.savez_compressed(stem.with_suffix(".npz"), proba=proba, y=y)
    right = proba[-1].argmax(axis=1) == y
    return (
        f"{residual:<6} seed {seed}: accuracy {right.mean():.3f}, mean confidence "
        f"{proba[-1].max(axis=1).mean():.3f}, {time.perf_counter() - start:.0f} s"
    )


def main() -> None:
    """Read the arguments; train every network that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-train", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seeds):
        for residual in RESIDUALS:
            if not (arguments.output / f"{residual}_{seed}.npz").exists():
                print(write(arguments, residual, seed), flush=True)


if __name__ == "__main__":
    main()
