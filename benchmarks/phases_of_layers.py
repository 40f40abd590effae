"""How honest the correction strength is that `calibration_phases` reports.

Depth profiles of ten layers and four classes with a known truth. Layers mix the true logits with
others, exaggerate them, and add noise of their own:

``flat``
    All layers are calibrated and differ by noise: no correction, though one layer looks worst.
``deep``
    Accuracy is reached in the fifth layer, the error there rises to 23 points and falls to none.
``slight``
    As before, with an error of 4 points at its peak.
``off``
    As before, but the last layer is off by 7 points itself.

Printed for every case: mean true strength of the layers measured, mean strength, what the same rows
would say (the difference of the errors as they stand), how often the interval holds the truth, how
often it lies above, and how often a phase is called present.

Run as ``python -m benchmarks.phases_of_layers [--sizes 500 2000] [--replicates 200] [--n-jobs 2]
[--output phases.rst]``. Every replicate has a seed of its own, so results do not depend on the
number of jobs.
"""

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from benchmarks._rst import publish, simple_table
from sk_arcal.diagnostics import calibration_phases, layerwise_calibration

Array = NDArray[np.float64]
N_TRUTH = 200_000


class Case(NamedTuple):
    """Share of the truth in every layer, its exaggeration, and noise of the layer's own."""

    share: tuple[float, ...]
    factor: tuple[float, ...]
    noise: float


_RISE = (0, 0, 0.3, 0.7, 0.95, 1, 1, 1, 1, 1)
CASES = {
    "flat": Case((1,) * 10, (1,) * 10, 0.3),
    "deep": Case(_RISE, (1, 1, 1, 1.5, 2.5, 3, 2.5, 1.6, 1.2, 1), 0),
    "slight": Case(_RISE, (1, 1, 1, 1.1, 1.2, 1.2, 1.2, 1.1, 1, 1), 0.2),
    "off": Case(_RISE, (1, 1, 1, 1.5, 1.7, 2, 2, 1.8, 1.6, 1.5), 0.2),
}


def draw(case: Case, n_rows: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], Array]:
    """Return labels and logits (n_rows, n_layers, n_classes)."""
    truth, other = 1.5 * rng.normal(size=(2, n_rows, 4))
    y_true = (truth + rng.gumbel(size=truth.shape)).argmax(axis=1)
    scores = np.stack(
        [f * (s * truth + (1 - s) * other) for s, f in zip(case.share, case.factor, strict=True)],
        axis=1,
    )
    return y_true, scores + case.noise * rng.normal(size=scores.shape)


@cache
def true_errors(name: str) -> Array:
    """Return the calibration error of every layer on a very large test set."""
    data = draw(CASES[name], N_TRUTH, np.random.default_rng(99))
    return np.asarray(layerwise_calibration(*data).table["ece_corrected"])


def replicate(name: str, n_rows: int, seed: int) -> tuple[float, ...]:
    """Return truth, strength, naive strength, both ends, and whether a phase is present."""
    rng = np.random.default_rng([seed, n_rows])
    layers = layerwise_calibration(*draw(CASES[name], n_rows, rng), n_resamples=2, random_state=0)
    phases = calibration_phases(layers, n_resamples=200, random_state=rng)
    error = true_errors(name)
    truth = float(np.mean([error[peak] - error[-1] for peak in phases.measured_peaks]))
    strength = (phases.strength, phases.naive_strength, *phases.strength_interval)
    return truth, *strength, float(phases.present)


def table(sizes: Sequence[int], replicates: int, n_jobs: int) -> str:
    """Return the table of all cases."""
    rows = []
    for name in CASES:
        for n_rows in sizes:
            found = Parallel(n_jobs=n_jobs)(
                delayed(replicate)(name, n_rows, seed) for seed in range(replicates)
            )
            truth, strength, naive, low, high, present = np.array(found).T
            numbers = (
                f"{100 * truth.mean():.1f}",
                f"{100 * strength.mean():.1f}",
                f"{100 * naive.mean():.1f}",
                f"{100 * ((low <= truth) & (truth <= high)).mean():.1f}",
                f"{100 * (low > truth).mean():.1f}",
                f"{100 * present.mean():.1f}",
            )
            rows.append((name, str(n_rows), *numbers))
    header = ("case", "n", "truth", "strength", "naive", "coverage", "above", "present")
    return simple_table(f"Correction strength, points; {replicates} runs, %", header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[500, 2000])
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--output", type=Path, help="file for the table, as reStructuredText")
    options = parser.parse_args(arguments)
    publish((table(options.sizes, options.replicates, options.n_jobs),), options.output)


if __name__ == "__main__":
    main()
