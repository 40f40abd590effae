"""Calibration over the depth of networks trained here, and a direction that mends it.

NETWORKS is the output of ``python -m benchmarks.train_deep_networks``; the rows are the 5000 test
images of FOLDER. Half of them fit, the other half is measured. Written to OUTPUT:

* ``layers.inc``: accuracy and calibration after every layer of the first network, read by its own
  norm and head and by cross-fitted linear probes; the phases of every network; every network and
  method of a direction beside its controls; the verdict of the audit, with all controls, on
  features of depth;
* ``layers.png``, the layers and phases of the first network; ``direction.png``, the path of scales.

Run as ``python -m benchmarks.layers_of_networks FOLDER NETWORKS OUTPUT [--audited 1]
[--random 20]``.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from benchmarks._images import decoded
from benchmarks._rst import publish, simple_table
from sk_arcal import Backbone, routing_audit
from sk_arcal.calibration import CalibrationDirection, LinearReadout
from sk_arcal.diagnostics import (
    calibration_phases,
    direction_controls,
    layer_features,
    layerwise_calibration,
    probe_layers,
)
from sk_arcal.displays import DirectionScaleDisplay, LayerwiseCalibrationDisplay
from sk_arcal.feature_extraction import LayerExtractor

mpl.use("Agg")
METHODS = ("correction", "contrastive", "optimised")
# The others are near copies of these, and the kernel of the scorecard pays for every column.
FEATURES = ("settling_depth", "confidence_variance", "last_correction", "mean_disagreement")


@dataclass(frozen=True)
class Layers:
    """What one network says and holds at every layer, on all test images."""

    name: str
    scores: NDArray[Any]
    hidden: NDArray[Any]
    readout: LinearReadout


def layers_of(file: Path, images: NDArray[Any]) -> Layers:
    """Read a network."""
    backbone = Backbone(joblib.load(file).module_)
    lens = LayerExtractor(backbone, batch_size=256, cache=False)
    held = LayerExtractor(backbone, readout="hidden", batch_size=256, cache=False)
    scores, hidden = lens.extract(images).scores, held.extract(images).hidden
    assert scores is not None
    assert hidden is not None
    return Layers(file.stem, scores, hidden, LinearReadout.from_dict(lens.linear_readout()))


# -- over depth ----------------------------------------------------------------------------------


def layer_table(title: str, y: NDArray[Any], scores: Any) -> str:
    """Accuracy and calibration after every layer."""
    table = layerwise_calibration(y, scores, random_state=0).table
    names = ("accuracy", "confidence", "ece", "ece_floor", "maximum_error")
    rows = [
        (
            str(table["layer"][row]),
            *(f"{100 * table[name][row]:.1f}" for name in names),
            f"{table['log_loss'][row]:.2f}",
        )
        for row in range(len(table["layer"]))
    ]
    header = ("layer", "accuracy", "confidence", "ECE", "floor", "maximum error", "log loss")
    return simple_table(title, header, rows)


def phase_rows(networks: list[Layers], y: NDArray[Any]) -> Iterator[tuple[str, ...]]:
    """Phases of every network."""
    for network in networks:
        phases = calibration_phases(layerwise_calibration(y, network.scores), random_state=0)
        low, high = phases.strength_interval
        yield (
            network.name,
            f"{phases.plateau_start} {list(phases.plateau_interval)}",
            f"{phases.peak} {list(phases.peak_interval)}",
            f"{100 * phases.strength:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
            f"{100 * phases.accuracy_change:+.1f}",
            "yes" if phases.present else "no",
        )


def draw_layers(network: Layers, y: NDArray[Any], output: Path) -> None:
    """Draw accuracy and calibration over depth with the phases."""
    layerwise = layerwise_calibration(y, network.scores, random_state=0)
    phases = calibration_phases(layerwise, random_state=0)
    display = LayerwiseCalibrationDisplay.from_result(layerwise, phases=phases)
    display.figure_.savefig(output / "layers.png", dpi=100)


# -- directions ----------------------------------------------------------------------------------


def fitted(
    network: Layers, y: NDArray[Any], fit: NDArray[np.intp], method: str, layer: int, **changes: Any
) -> CalibrationDirection:
    """Fit a direction at the last layer on half of the images.

    "correction" is what the layers after `layer` add.
    """
    direction = CalibrationDirection(method, random_state=0, **changes)
    last = network.hidden[fit, -1]
    if method != "correction":
        return direction.fit(last, y[fit], readout=network.readout)
    # The last states and what is added to them by the layers after `layer`.
    return direction.fit(
        last, y[fit], readout=network.readout, reference=2 * last - network.hidden[fit, layer]
    )


def direction_rows(
    networks: list[Layers], y: NDArray[Any], n_random: int
) -> Iterator[tuple[str, ...]]:
    """Every network and method against its controls, on images that fitted nothing."""
    order = np.random.default_rng(0).permutation(len(y))
    fit, test = np.split(order, 2)
    for network in networks:
        phases = calibration_phases(layerwise_calibration(y[fit], network.scores[fit]))
        n_layers = network.scores.shape[1]
        # Where calibration is worst at the end, nothing follows the peak; the plateau does.
        layer = phases.peak if phases.peak < n_layers - 1 else phases.plateau_start
        for method in METHODS:
            direction = fitted(network, y, fit, method, layer)
            found = direction_controls(
                direction, network.hidden[test, -1], y[test], n_random=n_random, random_state=0
            )
            low, middle, high = 100 * np.quantile(found.ece[4:], [0, 0.5, 1])
            yield (
                network.name,
                method,
                *(f"{100 * found.ece[arm]:.1f}" for arm in (0, 1)),
                f"{middle:.1f} [{low:.1f}, {high:.1f}]",
                f"{100 * found.random_share:.0f} %",
                *(f"{100 * found.ece[arm]:.1f}" for arm in (3, 2)),
                f"{100 * found.noise_floor[2]:.1f}",
                *(f"{found.log_loss[arm]:.3f}" for arm in (0, 1, 2)),
                f"{100 * found.differences['accuracy'][1]:+.1f}",
            )


def draw_direction(network: Layers, y: NDArray[Any], output: Path) -> None:
    """Draw the path of scales of one direction with its controls."""
    order = np.random.default_rng(0).permutation(len(y))
    fit, _ = np.split(order, 2)
    direction = fitted(network, y, fit, "correction", network.scores.shape[1] // 2)
    chance = [direction.control("random", random_state=seed) for seed in range(10)]
    display = DirectionScaleDisplay.from_result(direction, random=chance)
    display.figure_.savefig(output / "direction.png", dpi=100)


# -- features of depth ---------------------------------------------------------------------------


def verdict_rows(networks: list[Layers], y: NDArray[Any]) -> Iterator[tuple[str, ...]]:
    """Audit features of depth, with all controls."""
    for network in networks:
        found = layer_features(network.scores)
        features = {name: found[name] for name in FEATURES}
        audit = routing_audit(
            y, logits=network.scores[:, -1], routing=features, controls="all", random_state=0
        )
        for name, feature in audit.features.items():
            low, high = 100 * feature.gap_low, 100 * feature.gap_high
            failed = [control.name for control in feature.controls if control.survived is False]
            yield (
                network.name,
                name,
                f"{feature.pvalue:.3f}",
                f"{100 * feature.gap:+.1f} [{low:.1f}, {high:.1f}]",
                feature.verdict,
                ", ".join(failed) or "none",
            )


def tables(arguments: argparse.Namespace) -> Iterator[str]:
    """Run everything, and write pictures on the way."""
    X, y = decoded(arguments.folder / "images" / "cifar10_test_even_jpeg.npz")
    networks = [layers_of(file, X) for file in sorted(arguments.networks.glob("*.joblib"))]
    first = networks[0]
    draw_layers(first, y, arguments.output)
    yield layer_table(f"{first.name}: the network's own head", y, first.scores)
    probes = probe_layers(first.hidden, y, random_state=0)
    yield layer_table(f"{first.name}: cross-fitted linear probes", y, probes)
    header = ("network", "plateau from", "peak", "correction, points", "accuracy after", "present")
    yield simple_table("Phases", header, phase_rows(networks, y))
    header = (
        *(
            "network",
            "method",
            "as is",
            "direction",
            "random",
            "as good",
            "shuffled",
            "temperature",
            "floor",
        ),
        *("log loss as is", "direction ", "temperature ", "accuracy"),
    )
    yield simple_table(
        "Directions: ECE, log loss and change of accuracy",
        header,
        direction_rows(networks, y, arguments.random),
    )
    draw_direction(first, y, arguments.output)
    header = ("network", "feature", "p", "gap, points", "verdict", "controls that fail")
    yield simple_table(
        "Features of depth in the audit", header, verdict_rows(networks[: arguments.audited], y)
    )


def main() -> None:
    """Read all networks and write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--audited", type=int, default=1, help="networks whose features are audited"
    )
    parser.add_argument("--random", type=int, default=20, help="random directions")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    publish(tables(arguments), arguments.output / "layers.inc")


if __name__ == "__main__":
    main()
