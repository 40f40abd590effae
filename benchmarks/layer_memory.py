"""Memory for reading the layers of many rows of a wide and deep network.

The network has 32 blocks of width 4096, each a gain per number, a norm and a head of four options:
as cheap as blocks can be, so that time and memory are those of the reading. The states of 100 000
rows are 54 GB. ``LayerExtractor.extract_chunks`` reads the lens at all layers, and the states of
one; each chunk goes into the statistics of the layers and is dropped.

Prints the largest resident memory of the process before and after, and the seconds.

Run as ``python -m benchmarks.layer_memory [--rows 100000] [--layers 32] [--width 4096]``.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sk_arcal.diagnostics import layerwise_calibration
from sk_arcal.feature_extraction import LayerExtractor

N_COLUMNS, N_CLASSES = 8, 4


class Tower(nn.Module):
    """Blocks that multiply, a norm and a head."""

    def __init__(self, n_layers: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(N_COLUMNS, width)
        self.gains = nn.Parameter(1 + 0.1 * torch.randn(n_layers, width))
        self.norm, self.head = nn.RMSNorm(width, eps=1e-6), nn.Linear(width, N_CLASSES)

    def read_layers(self, x: Tensor) -> Tensor:
        """Return the states of a batch before and after every block."""
        states = [self.embedding(x)]
        for gain in self.gains:
            states.append(states[-1] * gain)
        return torch.stack(states, dim=1)

    def layer_readout(self) -> tuple[nn.Module, nn.Linear]:
        """Return norm and head."""
        return self.norm, self.head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.norm(self.read_layers(x)[:, -1]))


def megabytes() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def scores(extractor: LayerExtractor, X: Any, y: Any) -> Iterator[tuple[Any, Any]]:
    """Yield labels and lens, chunk by chunk."""
    for rows, readout in extractor.extract_chunks(X):
        yield y[rows], readout.scores


def main() -> None:
    """Read lens and one layer of states of all rows, and print memory and time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=4096)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(arguments.rows, N_COLUMNS)).astype(np.float32)
    y = rng.integers(N_CLASSES, size=arguments.rows)
    module = Tower(arguments.layers, arguments.width).eval()
    lens = LayerExtractor(module, cache=False)
    held = LayerExtractor(module, readout="hidden", layers=[arguments.layers // 2], cache=False)
    # Everything is loaded and has run once before memory is looked at.
    layerwise_calibration(None, scores(lens, X[:500], y[:500]), n_resamples=20)
    whole = arguments.rows * (arguments.layers + 1) * arguments.width * 4 / 1e9
    print(f"all states at once: {whole:.1f} GB")
    before, started = megabytes(), time.perf_counter()
    print(f"before: {before:.0f} MB")
    found = layerwise_calibration(None, scores(lens, X, y), n_resamples=20)
    seconds = time.perf_counter() - started
    print(f"lens at {len(found.layers)} layers: {megabytes():.0f} MB at most, {seconds:.0f} s")
    started, norms = time.perf_counter(), np.empty(arguments.rows)
    for rows, readout in held.extract_chunks(X):
        norms[rows] = np.linalg.norm(readout.hidden[:, 0], axis=1)
    seconds = time.perf_counter() - started
    print(f"states of one layer: {megabytes():.0f} MB at most, {seconds:.0f} s")


if __name__ == "__main__":
    main()
