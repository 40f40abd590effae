"""Calibration errors: against other libraries, and against reading the data once.

Run ``python -m benchmarks.speed.metrics``, with ``--quick`` for a tenth of the rows.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
from scipy.fft import dct
from scipy.optimize import brentq

from benchmarks._rst import publish, simple_table
from benchmarks.speed._harness import (
    Contender,
    Target,
    Timing,
    machine,
    race,
    significant,
    target_table,
)
from benchmarks.speed._peers import contenders
from sk_arcal.metrics import (
    CalibrationHistogram,
    bootstrap_interval,
    calibration_error_interval,
    classwise_calibration_error,
    expected_calibration_error,
    noise_floor,
    smooth_calibration_error,
    top_label_calibration_error,
    worst_group_calibration_error,
)

N_BINS = 15
BLOCK = 1 << 14
OURS = "sk_arcal"
LIMIT = "limit: code + one bincount"


def tables(quick: bool = False) -> Iterator[str]:
    """Yield the tables, the targets last."""
    scale = 10 if quick else 1
    targets: list[Target] = []
    for n_samples in (100_000 // scale, 1_000_000 // scale):
        yield from _event_tables(n_samples, targets)
    yield from _class_tables(50_000 // scale, 100, targets)
    yield from _histogram_tables(1_000_000 // scale, targets)
    yield from _resampling_tables(1_000_000 // scale)
    yield target_table(f"Targets ({machine()})", targets)


# --- one event -----------------------------------------------------------------------------------


def event_rows(n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes and confidences of an overconfident model."""
    rng = np.random.default_rng(20261126)
    y_prob = rng.random(n_samples)
    return (rng.random(n_samples) < 0.2 + 0.6 * y_prob).astype(np.float64), y_prob


def definition(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    """Return the 15-bin error by a search among the edges, in extended precision."""
    codes = np.searchsorted(np.linspace(0, 1, N_BINS + 1)[1:-1], y_prob)
    gaps = [np.sum((y_prob - y_true)[codes == code], dtype=np.longdouble) for code in range(N_BINS)]
    return float(np.abs(gaps).sum() / len(y_true))


def fine_smooth_error(y_true: np.ndarray, y_prob: np.ndarray, n_cells: int = 2**18) -> float:
    """Return SmoothECE with every row shared between two of 2**18 nodes."""
    position = y_prob * n_cells
    left = np.minimum(position.astype(np.intp), n_cells - 1)
    residual = (y_prob - y_true) / len(y_true)
    to_right = residual * (position - left)
    node = np.bincount(left, residual - to_right, n_cells + 1)
    node += np.bincount(left + 1, to_right, n_cells + 1)
    node[1:-1] /= 2
    n_kept = 2**15
    coefficients = dct(node, type=1)[: n_kept + 1]

    def error(width: float) -> float:
        damping = np.exp(-((np.pi * width * np.arange(n_kept + 1)) ** 2) / 2)
        smooth = np.abs(dct(coefficients * damping, type=1))
        return float((smooth.sum() - (smooth[0] + smooth[-1]) / 2) / n_kept)

    return float(brentq(lambda width: error(width) - width, 1e-3, 1, xtol=1e-11))


def one_bincount(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    """Bin by a product and add up, block by block, without a check or an exact edge."""
    gap = np.zeros(N_BINS + 1)
    size = min(BLOCK, len(y_true))
    scaled, residual, codes = np.empty(size), np.empty(size), np.empty(size, dtype=np.intp)
    for start in range(0, len(y_true), BLOCK):
        part = y_prob[start : start + BLOCK]
        n = len(part)
        np.multiply(part, N_BINS, out=scaled[:n])
        np.copyto(codes[:n], scaled[:n], casting="unsafe")
        np.subtract(part, y_true[start : start + BLOCK], out=residual[:n])
        gap += np.bincount(codes[:n], residual[:n], N_BINS + 1)
    return float(np.abs(gap).sum() / len(y_true))


def three_bincounts(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    """Bin as it is usually written in numpy."""
    codes = np.minimum((y_prob * N_BINS).astype(np.intp), N_BINS - 1)
    count = np.bincount(codes, minlength=N_BINS)
    gap = np.bincount(codes, y_prob, N_BINS) - np.bincount(codes, y_true, N_BINS)
    return float(np.abs(gap[count > 0]).sum() / len(y_true))


def _curve(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], Any]:
    return lambda: module.calibration_curve(y_true, y_prob, n_bins=N_BINS)


def _torch_binary(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
    torch = sys.modules["torch"]
    probability, label = torch.from_numpy(y_prob), torch.from_numpy(y_true.astype(np.int64))
    return lambda: float(module.binary_calibration_error(probability, label, n_bins=N_BINS))


def _netcal(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
    label = y_true.astype(np.int64)
    return lambda: float(module.ECE(N_BINS).measure(y_prob, label))


def _probmetrics_smooth(module: Any, y_true: Any, y_prob: Any) -> Callable[[], float]:
    torch = sys.modules["torch"]
    label = torch.from_numpy(y_true.astype(np.int64))
    logits = torch.log(torch.from_numpy(np.stack([1 - y_prob, y_prob], axis=1)))
    metric = module.Metrics.from_names(["smece"])
    return lambda: float(metric.compute_all_from_labels_logits(label, logits)["smece"])


def _uncertainty(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
    label = y_true.astype(np.int64)
    return lambda: float(module.get_ece(y_prob, label, num_bins=N_BINS))


def _mcgrad(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
    label = y_true.astype(np.int64)
    return lambda: float(module.expected_calibration_error(label, y_prob, num_bins=N_BINS))


def _relplot(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
    return lambda: float(module.smECE(y_prob, y_true))


def _event_tables(n_samples: int, targets: list[Target]) -> Iterator[str]:
    rows = event_rows(n_samples)
    exact = definition(*rows)
    times = race(
        [
            Contender("limit: read both arrays", lambda: float(rows[0] @ rows[1])),
            Contender(LIMIT, lambda: one_bincount(*rows)),
            Contender("three bincounts, numpy", lambda: three_bincounts(*rows)),
            Contender(OURS, lambda: expected_calibration_error(*rows)),
            *_with_rows(
                rows,
                ("scikit-learn calibration_curve", "sklearn.calibration", _curve),
                ("torchmetrics", "torchmetrics.functional.classification", _torch_binary),
                ("netcal", "netcal.metrics", _netcal),
                ("mcgrad", "mcgrad.metrics", _mcgrad),
                ("uncertainty-calibration", "calibration", _uncertainty),
            ),
        ]
    )
    yield _table(f"ECE in {N_BINS} bins, n = {n_samples:,}", times, exact, LIMIT)
    smooth = race(
        [
            Contender(LIMIT, lambda: one_bincount(*rows)),
            Contender(OURS, lambda: smooth_calibration_error(*rows)),
            *_with_rows(
                rows,
                ("relplot", "relplot", _relplot),
                ("probmetrics", "probmetrics.metrics", _probmetrics_smooth),
            ),
        ]
    )
    fine = fine_smooth_error(*rows)
    yield _table(f"SmoothECE, automatic width, n = {n_samples:,}", smooth, fine, LIMIT)
    label = f"n = {n_samples:,}"
    large = n_samples > 100_000
    if large:
        targets += [
            *_against(f"ECE, {label}", times, {"torchmetrics": 12.0, "netcal": 25.0}),
            _over(f"ECE over code + bincount, {label}", times, LIMIT, 1.3),
        ]
    targets += [
        *_against(f"SmoothECE, {label}", smooth, {"relplot": 33.0 if large else 15.0}),
        _over(f"SmoothECE over code + bincount, {label}", smooth, LIMIT, 2.0 if large else 3.0),
        _error(f"ECE, {label}", times, exact, 1e-12),
        _error(f"SmoothECE, {label}", smooth, fine, 1e-6),
    ]


# --- classes -------------------------------------------------------------------------------------


def class_rows(n_samples: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and the probabilities of an overconfident model."""
    rng = np.random.default_rng(20261127)
    logits = 2 * rng.normal(size=(n_samples, n_classes))
    tempered = np.exp(logits).cumsum(axis=1)
    y_true = (tempered < rng.random((n_samples, 1)) * tempered[:, -1:]).sum(axis=1)
    y_prob = np.exp(1.5 * logits)
    y_prob /= y_prob.sum(axis=1, keepdims=True)
    return y_true, y_prob


def _torch_classes(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
    torch = sys.modules["torch"]
    probability, label = torch.from_numpy(y_prob), torch.from_numpy(y_true)
    n_classes = y_prob.shape[1]
    return lambda: float(
        module.multiclass_calibration_error(probability, label, n_classes, n_bins=N_BINS)
    )


def _loop(one: Callable[..., Callable[[], float]], n_loop: int) -> Callable[..., Callable]:
    """Return the mean over the first classes of a binary error."""

    def prepare(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
        calls = [
            one(module, (y_true == k).astype(np.float64), np.ascontiguousarray(y_prob[:, k]))
            for k in range(n_loop)
        ]
        return lambda: float(np.mean([call() for call in calls]))

    return prepare


def _numpy_loop(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    parts = [three_bincounts(y_true == k, column) for k, column in enumerate(y_prob.T)]
    return float(np.mean(parts))


def _class_tables(n_samples: int, n_classes: int, targets: list[Target]) -> Iterator[str]:
    rows = class_rows(n_samples, n_classes)
    y_true, y_prob = rows
    labels, shape = np.arange(n_classes), f"{n_samples:,} x {n_classes}"
    right, confidence = y_true == y_prob.argmax(axis=1), y_prob.max(axis=1)
    top = race(
        [
            Contender("limit: row argmax", lambda: y_prob.argmax(axis=1)),
            Contender(OURS, lambda: top_label_calibration_error(*rows, labels=labels)),
            *_with_rows(
                rows,
                ("torchmetrics", "torchmetrics.functional.classification", _torch_classes),
                ("netcal", "netcal.metrics", _netcal),
                ("uncertainty-calibration", "calibration", _uncertainty),
            ),
        ]
    )
    exact = definition(right.astype(np.float64), confidence)
    yield _table(f"Top-label ECE, {shape}", top, exact, "limit: row argmax")
    few, share = max(1, n_classes // 10), max(1, n_classes // 10) / n_classes
    offers = [
        ("torchmetrics, loop", "torchmetrics.functional.classification", _torch_binary),
        ("netcal, loop", "netcal.metrics", _netcal),
        ("mcgrad, loop", "mcgrad.metrics", _mcgrad),
        ("uncertainty-calibration, loop", "calibration", _uncertainty),
    ]
    by_class = race(
        [
            Contender("limit: column sums", lambda: y_prob.sum(axis=0)),
            Contender("numpy loop over classes", lambda: _numpy_loop(*rows)),
            Contender(OURS, lambda: classwise_calibration_error(*rows, labels=labels)),
            *_with_rows(rows, *((n, m, _loop(one, few)) for n, m, one in offers), share=share),
            *_with_rows(rows, ("uncertainty-calibration, marginal", "calibration", _marginal)),
        ],
        rounds=5,
    )
    columns = [definition((y_true == k).astype(float), y_prob[:, k]) for k in range(n_classes)]
    exact_classwise = float(np.mean(columns))
    yield _table(f"Classwise ECE, {shape}", by_class, exact_classwise, "limit: column sums")
    marginal = {"numpy loop over classes": 5.0, "torchmetrics, loop": 20.0}
    targets += [
        *_against("top label", top, {"torchmetrics": 3.0}),
        *_against("top label", top, {"netcal": 7.0, "uncertainty-calibration": 7.0}),
        _over("top label over row argmax", top, "limit: row argmax", 1.7),
        *_against("classwise", by_class, marginal),
        *_against("classwise", by_class, {"uncertainty-calibration, marginal": 290.0}),
        _over("classwise over column sums", by_class, "limit: column sums", 4.5),
        _error("top label", top, exact, 1e-12),
        _error("classwise", by_class, exact_classwise, 1e-12),
    ]


def _marginal(module: Any, y_true: np.ndarray, y_prob: np.ndarray) -> Callable[[], float]:
    return lambda: float(
        module.get_calibration_error(y_prob, y_true, mode="marginal", debias=False)
    )


# --- one pass for everything, and resampling -----------------------------------------------------


def _everything(histogram: CalibrationHistogram) -> None:
    histogram.expected_calibration_error()
    histogram.expected_calibration_error(norm="l2")
    histogram.maximum_calibration_error()
    histogram.squared_calibration_error()
    histogram.reliability_table()
    histogram.smooth_calibration_error()


def _histogram_tables(n_samples: int, targets: list[Target]) -> Iterator[str]:
    rows = event_rows(n_samples)
    groups = np.arange(n_samples) % 3
    filled = CalibrationHistogram().update(*rows)
    halves = [CalibrationHistogram().update(*(part[k::2] for part in rows)) for k in range(2)]

    def batches() -> CalibrationHistogram:
        total = CalibrationHistogram()
        for start in range(0, n_samples, 65_536):
            total.update(*(part[start : start + 65_536] for part in rows))
        return total

    times = race(
        [
            Contender("SmoothECE alone, function", lambda: smooth_calibration_error(*rows)),
            Contender(
                "SmoothECE alone, histogram",
                lambda: CalibrationHistogram().update(*rows).smooth_calibration_error(),
            ),
            Contender("all errors", lambda: _everything(CalibrationHistogram().update(*rows))),
            Contender("update", lambda: CalibrationHistogram().update(*rows)),
            Contender("update in batches of 65,536", batches),
            Contender(
                "update with three groups",
                lambda: CalibrationHistogram().update(*rows, groups=groups),
            ),
            Contender("read all errors", lambda: _everything(filled)),
            Contender("merge", lambda: halves[0] + halves[1]),
        ]
    )
    yield _plain_table(f"One histogram for all, n = {n_samples:,}", times)
    ratio = _ratio(times, "all errors", "SmoothECE alone, histogram")
    targets.append(Target("all errors over SmoothECE alone, histogram", ratio, 1.2, "<="))
    merged = halves[0] + halves[1]
    errors = [
        abs(merged.expected_calibration_error() - expected_calibration_error(*rows)),
        abs(merged.smooth_calibration_error() - smooth_calibration_error(*rows)),
    ]
    targets += [
        Target("merged ECE against all rows", errors[0], 1e-12, "<=", ""),
        Target("merged SmoothECE against all rows", errors[1], 1e-6, "<=", ""),
    ]


def _resampling_tables(n_samples: int) -> Iterator[str]:
    """Twenty resamples, by counts and by rows."""
    rows = event_rows(n_samples)
    groups, n_resamples = np.arange(n_samples) % 3, 20
    uses: dict[str, Callable[[], Any]] = {
        "noise_floor, ECE": lambda: noise_floor(rows[1], n_resamples=n_resamples),
        "noise_floor, SmoothECE": lambda: noise_floor(
            rows[1], metric=smooth_calibration_error, n_resamples=n_resamples
        ),
        "noise_floor, worst group": lambda: noise_floor(
            rows[1], metric=worst_group_calibration_error, groups=groups, n_resamples=n_resamples
        ),
        "bootstrap_interval, ECE": lambda: bootstrap_interval(
            expected_calibration_error, *rows, n_resamples=n_resamples
        ),
        "calibration_error_interval": lambda: calibration_error_interval(
            *rows, n_resamples=n_resamples
        ),
    }
    lines = []
    for name, use in uses.items():
        contestants = [Contender("counts", use), Contender("rows", lambda use=use: _by_rows(use))]
        times = race(contestants, rounds=1)
        gain = f"{significant(_ratio(times, 'rows', 'counts'))} x"
        lines.append((name, times["counts"].text, times["rows"].text, gain))
    title = f"{n_resamples} resamples by counts and by rows, n = {n_samples:,}"
    yield simple_table(title, ("function", "counts, ms", "rows, ms", "gain"), lines)


def _by_rows(use: Callable[[], Any]) -> Any:
    """Draw rows whatever their number, as is done with few."""
    names = ("_bootstrap", "_interval", "_noise_floor")
    modules: list[Any] = [import_module(f"sk_arcal.metrics.{name}") for name in names]
    usual = [module.MANY_ROWS for module in modules]
    try:
        for module in modules:
            module.MANY_ROWS = sys.maxsize
        return use()
    finally:
        for module, number in zip(modules, usual, strict=True):
            module.MANY_ROWS = number


# --- tables --------------------------------------------------------------------------------------


def _with_rows(
    rows: tuple[np.ndarray, np.ndarray], *offers: tuple[str, str, Callable], share: float = 1.0
) -> list[Contender]:
    """Return the peers that are there, each given the rows."""
    return contenders(
        *(
            (name, module, lambda found, prepare=prepare: prepare(found, *rows), share)
            for name, module, prepare in offers
        )
    )


def _table(title: str, times: dict[str, Timing], exact: float, limit: str) -> str:
    """Return times, their ratio to the limit, and the error against the definition."""
    lines = [
        (
            timing.name,
            timing.text,
            f"{significant(timing.milliseconds / times[limit].milliseconds)} x",
            _deviation(timing, exact),
        )
        for timing in times.values()
    ]
    return simple_table(title, ("what", "ms", "over the limit", "error"), lines)


def _deviation(timing: Timing, exact: float) -> str:
    """Return how far a result is off; a limit or part of the work has none."""
    number = isinstance(timing.result, float) and not timing.extrapolated
    if not number or timing.name.startswith("limit: r"):
        return ""
    return f"{abs(timing.result - exact):.1e}"


def _plain_table(title: str, times: dict[str, Timing]) -> str:
    return simple_table(title, ("what", "ms"), [(one.name, one.text) for one in times.values()])


def _ratio(times: dict[str, Timing], name: str, base: str) -> float:
    return times[name].milliseconds / times[base].milliseconds


def _over(what: str, times: dict[str, Timing], limit: str, bound: float) -> Target:
    return Target(what, _ratio(times, OURS, limit), bound, "<=")


def _against(what: str, times: dict[str, Timing], peers: dict[str, float]) -> list[Target]:
    """Return a target for each peer that is there."""
    return [
        Target(f"{what}, {peer} over ours", _ratio(times, peer, OURS), bound, ">=")
        for peer, bound in peers.items()
        if peer in times
    ]


def _error(what: str, times: dict[str, Timing], exact: float, bound: float) -> Target:
    return Target(f"{what}, error", abs(times[OURS].result - exact), bound, "<=", "")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    publish(tables(parser.parse_args().quick), None)


if __name__ == "__main__":
    main()
