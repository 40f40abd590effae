"""Train attention-residual vision transformers on CIFAR-10, and look at their routing.

FOLDER holds ``images/cifar10_small_raw.npz`` (2000 decoded training images) or, with
``--n-train`` above 2000, ``images/cifar10_train_jpeg.npz``; test images are the 5000 of
``images/cifar10_test_even_jpeg.npz``. Half of them fit a temperature, the other half is measured.

Written to OUTPUT for Block and Full attention over depth: ``<residual>.csv``, a row per test
image with its logits, routing columns and label, which ``sk-arcal audit`` reads;
``<residual>.png``, training, reliability before and after one temperature, and the entropy of every
depth site; ``table.inc``, the table of the documentation.

Run as ``python -m benchmarks.train_on_images FOLDER OUTPUT [--n-train 2000] [--epochs 60]
[--patch-size 8] [--device cpu] [--seed 0]``; some minutes on one core.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from scipy.special import softmax
from sklearn.metrics import log_loss

from benchmarks._images import decoded, training_images
from benchmarks._rst import publish, simple_table
from sk_arcal import Backbone, RoutingFeatureExtractor, TemperatureScaler
from sk_arcal.displays import ReliabilityDisplay
from sk_arcal.metrics import noise_floor, top_label_calibration_error
from sk_arcal.models import VisionTransformerClassifier

mpl.use("Agg")

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
SUMMARIES = ("mean_normalized_entropy", "entropy_variance", "mean_max_weight", "entropy")


def measure(y: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """Return accuracy, mean confidence, calibration error and log loss."""
    return {
        "accuracy": float((probability.argmax(axis=1) == y).mean()),
        "mean_confidence": float(probability.max(axis=1).mean()),
        "ece": float(top_label_calibration_error(y, probability)),
        "log_loss": float(log_loss(y, probability, labels=np.arange(10))),
    }


def figure(model: Any, y: np.ndarray, raw: np.ndarray, scaled: np.ndarray, profile: Any) -> Any:
    """Draw the learning curve, reliability before and after, and entropy by depth."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 2, figsize=(10, 9), layout="constrained")
    axes[0, 0].plot(range(1, 1 + model.n_iter_), [row["train_loss"] for row in model.history_])
    axes[0, 0].set(xlabel="epoch", ylabel="training loss (nats)", title="Training")
    axes[0, 0].set_ylim(bottom=0)
    draw_entropies(axes[0, 1], profile)
    for ax, probability, name in zip(
        axes[1], (raw, scaled), ("raw", "one temperature"), strict=True
    ):
        correct = probability.argmax(axis=1) == y
        ReliabilityDisplay.from_predictions(correct, probability.max(axis=1), name=name, ax=ax)
        ax.set_title(f"Top label on test images, {name}")
    return fig


def draw_entropies(ax: Any, profile: Any) -> None:
    """Draw median and central nine tenths of the normalised entropy at every depth site."""
    sites = [site for site in profile.sites if site.n_routes > 1]
    shares = []
    for site in sites:
        weights = profile.site_weights(site.label).astype(float)
        entropy = -(weights * np.log(np.maximum(weights, 1e-30))).sum(axis=1)
        shares.append(np.quantile(entropy / np.log(site.n_routes), [0.05, 0.5, 0.95], axis=0))
    low, middle, high = np.array(shares).T
    depth = np.arange(1, len(sites) + 1)
    ax.fill_between(depth, low, high, alpha=0.3, label="5 to 95 % of the images")
    ax.plot(depth, middle, marker="o", markersize=4, label="median")
    ax.set(xlabel="depth site", ylabel="entropy / log(sources)", title="Routing entropy by depth")
    ax.set_ylim(top=1.02)
    ax.legend()


def trained(arguments: argparse.Namespace, residual: str) -> tuple[Any, dict[str, Any]]:
    """Return a trained network, and how well it learnt its images."""
    X, y = training_images(arguments.folder, arguments.n_train)
    model = VisionTransformerClassifier(
        patch_size=arguments.patch_size,
        residual=residual,
        max_epochs=arguments.epochs,
        device=arguments.device,
        random_state=arguments.seed,
    ).fit(X, y)
    return model, {"training_accuracy": float(model.score(X, y))}


def report(arguments: argparse.Namespace, residual: str) -> list[dict[str, Any]]:
    """Train and extract; write the table of columns and the figure; return both measurements."""
    model, training = trained(arguments, residual)
    X, y = decoded(arguments.folder / "images" / "cifar10_test_even_jpeg.npz")
    extractor = RoutingFeatureExtractor(
        Backbone(model.module_), classes=CLASSES, summaries=SUMMARIES, batch_size=256, cache=False
    ).set_output(transform="pandas")
    columns = extractor.fit_transform(X).assign(y_true=np.array(CLASSES)[y])
    columns.to_csv(arguments.output / f"{residual}.csv", index=False)
    extraction = extractor.extract(X)
    half = len(y) // 2
    scaler = TemperatureScaler().fit(extraction.scores[:half], y[:half])
    raw = softmax(extraction.scores[half:].astype(float), axis=1)
    scaled = scaler.predict_proba(extraction.scores[half:])
    fig = figure(model, y[half:], raw, scaled, extraction.profile)
    fig.savefig(arguments.output / f"{residual}.png", dpi=100)
    kinds = (("raw", raw), (f"temperature {scaler.temperature_:.2f}", scaled))
    return [
        training
        | {"residual": residual, "probabilities": kind}
        | measure(y[half:], probability)
        | {"floor": noise_floor(probability.max(axis=1), random_state=0).mean}
        for kind, probability in kinds
    ]


def table(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """Return the table of the documentation."""
    header = ["residual", "probabilities", "accuracy, %", "mean confidence, %", "ECE, %"]
    header += ["its floor", "log loss"]
    shares = ("accuracy", "mean_confidence", "ece", "floor")
    lines = [
        [row["residual"], row["probabilities"]]
        + [f"{100 * row[name]:.1f}" for name in shares]
        + [f"{row['log_loss']:.3f}"]
        for row in rows
    ]
    learnt = min(row["training_accuracy"] for row in rows)
    title = (
        f"{arguments.n_train} training images, {arguments.epochs} epochs, training accuracy "
        f"{learnt:.0%}; 2500 test images"
    )
    return simple_table(title, header, lines)


def main() -> None:
    """Read the arguments; train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--n-train", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    rows = [row for residual in ("block", "full") for row in report(arguments, residual)]
    publish([table(rows, arguments)], arguments.output / "table.inc")


if __name__ == "__main__":
    main()
