"""Time against the number of rows, from 10^4 to 10^7: the slope on logarithmic scales.

A slope of 1 is linear growth. Fixed costs make small data look dear and the slope small, so the
slope between the two largest sizes is shown, too. Run as ``python -m benchmarks.speed.growth``.
"""

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._rst import publish, simple_table
from benchmarks.speed._harness import Target, significant, target_table
from sk_arcal import NWConditionalCalibrator, TemperatureScaler
from sk_arcal.datasets import make_routing_data
from sk_arcal.diagnostics import conditional_calibration_test, routing_permutation_test
from sk_arcal.metrics import (
    calibration_error_interval,
    expected_calibration_error,
    noise_floor,
    smooth_calibration_error,
)

_STEEPEST = 1.1


class _Data:
    """One data set; columns as the calibrators want them."""

    def __init__(self, n: int) -> None:
        data = make_routing_data(n, effect="step", random_state=0)
        self.y, self.confidence, self.routing = data.y, data.confidence, data.routing[:, 0]
        self.X = np.column_stack([self.confidence, self.routing])


def _fitted_kernel(data: _Data) -> Callable[[], Any]:
    kernel = NWConditionalCalibrator(confidence_kind="probability").fit(data.X, data.y)
    return lambda: kernel.predict_proba(data.X)


PATHS: dict[str, Callable[[_Data], Callable[[], Any]]] = {
    "expected_calibration_error": lambda d: lambda: expected_calibration_error(d.y, d.confidence),
    "smooth_calibration_error": lambda d: lambda: smooth_calibration_error(d.y, d.confidence),
    "noise_floor, 50 draws": lambda d: (
        lambda: noise_floor(d.confidence, n_resamples=50, random_state=0)
    ),
    "calibration_error_interval": lambda d: (
        lambda: calibration_error_interval(d.y, d.confidence, random_state=0)
    ),
    "TemperatureScaler.fit": lambda d: (
        lambda: TemperatureScaler(confidence_kind="probability").fit(d.confidence[:, None], d.y)
    ),
    "NWConditionalCalibrator.fit": lambda d: (
        lambda: NWConditionalCalibrator(confidence_kind="probability").fit(d.X, d.y)
    ),
    "NWConditionalCalibrator.predict_proba": _fitted_kernel,
    "routing_permutation_test, 999 draws": lambda d: (
        lambda: routing_permutation_test(d.y, d.confidence, d.routing, random_state=0)
    ),
    "conditional_calibration_test": lambda d: (
        lambda: conditional_calibration_test(d.y, d.confidence, d.routing, random_state=0)
    ),
}


def _seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Return processor seconds and megabytes that were held at most beyond what was there."""
    start = time.process_time()
    call()
    seconds = time.process_time() - start
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return seconds, peak / 1e6


def tables(quick: bool = False) -> Iterator[str]:
    """Yield times, memory and slopes."""
    sizes = [10_000, 100_000] if quick else [10_000, 100_000, 1_000_000, 10_000_000]
    seconds = {name: np.empty(len(sizes)) for name in PATHS}
    peaks = dict.fromkeys(PATHS, 0.0)
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k, n in enumerate(sizes):
            data = _Data(n)
            for name, prepare in PATHS.items():
                seconds[name][k], peaks[name] = _seconds(prepare(data))
    header = ("what", *(f"{n:,}" for n in sizes), "slope", "last step", "bytes a row at the end")
    rows, targets = [], []
    for name, spent in seconds.items():
        slope = float(np.polyfit(np.log(sizes), np.log(spent), 1)[0])
        last = float(np.log(spent[-1] / spent[-2]) / np.log(sizes[-1] / sizes[-2]))
        times = (significant(1000 * second) for second in spent)
        a_row = significant(1e6 * peaks[name] / sizes[-1])
        rows.append((name, *times, f"{slope:.2f}", f"{last:.2f}", a_row))
        targets.append(Target(f"{name}: slope", slope, _STEEPEST, "<=", ""))
    yield simple_table("Milliseconds of one thread, by the number of rows", header, rows)
    yield target_table("Growth", targets)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 100 000 rows")
    publish(tables(parser.parse_args().quick), None)


if __name__ == "__main__":
    main()
