"""Kernel regression: fit and predict, a search over bandwidths, and what a grid costs in digits.

One axis (h = 0.05) and two (0.05, 0.10), n queries on n rows. Run as
``python -m benchmarks.speed.kernel [--quick]``.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks._rst import publish, simple_table
from benchmarks.speed._harness import Contender, Target, Timing, race, target_table
from benchmarks.speed._peers import contenders
from sk_arcal._smoothing import KernelTable, kernel_sums
from sk_arcal.calibration._kernel._cell_rows import CellRows
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut

BANDWIDTHS = {1: np.array([0.05]), 2: np.array([0.05, 0.10])}
# Queries that the slow ones answer, and at which all errors are measured.
N_CHECKED = 500
SEARCHED = np.geomspace(0.01, 0.3, 20)


def rows_of(n: int, n_axes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and 0/1 outcomes."""
    rng = np.random.default_rng(0)
    axes = rng.beta(3, 1.5, size=(n, n_axes))
    return axes, (rng.random(n) < axes.mean(axis=1)).astype(float)


def two_bincounts(axes: np.ndarray, y: np.ndarray) -> None:
    """Code every row and sum up twice: the least that reads the same data."""
    n_cells = 512 if axes.shape[1] == 1 else 128
    code = np.zeros(len(axes), dtype=np.intp)
    for column in axes.T:
        code = code * n_cells + (column * n_cells).astype(np.intp)
    np.bincount(code, minlength=n_cells ** axes.shape[1])
    np.bincount(code, y, n_cells ** axes.shape[1])


def ours(axes: np.ndarray, y: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Fit and read at all rows."""
    sums, mass = KernelTable.of(axes, bandwidth, y[:, None]).sums(axes)
    return sums[:, 0] / mass


def exact(axes: np.ndarray, y: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Sum up term by term at the queries that are checked."""
    query = axes[:N_CHECKED]
    sums, mass = kernel_sums(query, axes, bandwidth, y[:, None], algorithm="exact")
    return sums[:, 0] / mass


def linear_binning(axes: np.ndarray, y: np.ndarray, bandwidth: np.ndarray) -> np.ndarray:
    """Share rows out linearly, filter, read linearly: the textbook's acceleration."""
    n_nodes = 512 if axes.shape[1] == 1 else 128
    left = np.minimum((axes * (n_nodes - 1)).astype(np.intp), n_nodes - 2)
    share = axes * (n_nodes - 1) - left
    corners = np.stack(np.meshgrid(*[(0, 1)] * axes.shape[1]), -1).reshape(-1, axes.shape[1])
    tables = np.zeros((2, n_nodes ** axes.shape[1]))
    parts = []
    for corner in corners:
        weight = np.where(corner, share, 1 - share).prod(axis=1)
        code = (left + corner) @ n_nodes ** np.arange(axes.shape[1])[::-1]
        parts.append((code, weight))
        tables[0] += np.bincount(code, weight, tables.shape[1])
        tables[1] += np.bincount(code, weight * y, tables.shape[1])
    shape = (n_nodes,) * axes.shape[1]
    sigma = bandwidth * (n_nodes - 1)
    smooth = [
        gaussian_filter(table.reshape(shape), sigma, mode="constant").ravel() for table in tables
    ]
    mass, sums = (sum(weight * table[code] for code, weight in parts) for table in smooth)
    return sums / mass


def _kdepy(axes: np.ndarray, y: np.ndarray, bandwidth: np.ndarray) -> Callable[[Any], Any]:
    def prepare(module: Any) -> Callable[[], np.ndarray]:
        return partial(_kdepy_ratio, module, axes, y, bandwidth)

    return prepare


def _kdepy_ratio(module: Any, axes: np.ndarray, y: np.ndarray, bandwidth: np.ndarray) -> Any:
    from scipy.interpolate import RegularGridInterpolator

    # One bandwidth for all axes is what it has, so axes are scaled.
    scaled = axes / bandwidth
    n_nodes = 512 if axes.shape[1] == 1 else 256
    grid, density = module.FFTKDE(bw=1).fit(scaled).evaluate(n_nodes)
    weighted = module.FFTKDE(bw=1).fit(scaled, weights=y)
    ratio = y.mean() * weighted.evaluate(grid) / np.maximum(density, 1e-300)
    if axes.shape[1] == 1:
        return np.interp(scaled[:, 0], np.ravel(grid), ratio)
    nodes = [np.unique(column) for column in grid.T]
    return RegularGridInterpolator(nodes, ratio.reshape(n_nodes, n_nodes))(scaled)


def _statsmodels(axes: np.ndarray, y: np.ndarray, bandwidth: np.ndarray, n: int) -> Any:
    def prepare(module: Any) -> Callable[[], np.ndarray]:
        kind = "c" * axes.shape[1]
        model = module.KernelReg(y, axes, kind, reg_type="lc", bw=bandwidth)
        return lambda: model.fit(axes[:n])[0]

    return prepare


def _fit_and_predict(n: int, n_axes: int) -> tuple[dict[str, Timing], dict[str, float]]:
    axes, y = rows_of(n, n_axes)
    bandwidth = BANDWIDTHS[n_axes]
    data = (axes, y, bandwidth)
    n_statsmodels = max(2, min(n, 20_000_000 // n))
    timings = race(
        [
            Contender("limit: code + two bincounts", partial(two_bincounts, axes, y)),
            Contender("sk-arcal", partial(ours, *data)),
            Contender("linear binning + filter", partial(linear_binning, *data)),
            Contender("exact, in blocks", partial(exact, *data), min(1.0, N_CHECKED / n)),
            *contenders(
                ("KDEpy FFTKDE ratio", "KDEpy", _kdepy(*data), 1.0),
                (
                    "statsmodels KernelReg",
                    "statsmodels.nonparametric.kernel_regression",
                    _statsmodels(*data, n_statsmodels),
                    n_statsmodels / n,
                ),
            ),
        ],
        rounds=3 if n >= 1_000_000 else 5,
    )
    truth = timings["exact, in blocks"].result[:N_CHECKED]
    errors = {
        name: float(np.abs(timing.result[:N_CHECKED] - truth[: len(timing.result)]).max())
        for name, timing in timings.items()
        if timing.result is not None and name != "exact, in blocks"
    }
    return timings, errors


def _search(n: int, n_axes: int) -> tuple[dict[str, Timing], float]:
    """20 bandwidths by leave-one-out: on cells, and exactly for a share of them."""
    axes, y = rows_of(n, n_axes)
    lines = SEARCHED[:, None] * np.ones(n_axes)
    problem = LeaveOneOut(
        axes, np.full(n, y.mean()), y, np.ones(n), 0.0, False, (0.0,), algorithm="auto"
    )
    n_exact = min(n, 4000)
    part = LeaveOneOut(
        axes[:n_exact], np.full(n_exact, y.mean()), y[:n_exact], np.ones(n_exact), 0.0, False,
        (0.0,), algorithm="exact",
    )  # fmt: skip

    def on_cells() -> np.ndarray:
        return np.array([trial.loss for trial in CellRows.of(problem).trials(lines)])

    def by_rows() -> np.ndarray:
        return np.array([trial.loss for trial in part.trials(lines)])

    timings = race(
        [
            Contender("limit: code + two bincounts", partial(two_bincounts, axes, y)),
            Contender("sk-arcal, on cells", on_cells),
            Contender("exact leave-one-out", by_rows, (n_exact / n) ** 2),
        ],
        rounds=3,
    )
    through_grid = np.array([trial.loss for trial in problem.trials(lines)])
    losses = timings["sk-arcal, on cells"].result
    error = abs(float(losses.min() - through_grid.min()))
    return timings, error if losses.argmin() == through_grid.argmin() else np.inf


def tables(quick: bool = False) -> Iterator[str]:
    """Yield the tables of the page."""
    sizes = (2_000, 10_000) if quick else (2_000, 10_000, 100_000, 1_000_000)
    targets: list[Target] = []
    for n_axes in (1, 2):
        lines = []
        for n in sizes:
            timings, errors = _fit_and_predict(n, n_axes)
            for name, timing in timings.items():
                error = errors.get(name)
                lines.append((f"{n:,}", name, timing.text, "" if error is None else f"{error:.0e}"))
            targets += _fit_targets(n, n_axes, timings, errors)
        header = ("n", "fit and n queries", "ms", "largest error")
        yield simple_table(f"Kernel regression on {n_axes} axis/axes", header, lines)
    lines = []
    for n_axes in (1, 2):
        for n in (10_000,) if quick else (10_000, 100_000):
            timings, error = _search(n, n_axes)
            lines += [(str(n_axes), f"{n:,}", t.name, t.text) for t in timings.values()]
            targets += _search_targets(n, n_axes, timings, error)
    yield simple_table("Search over 20 bandwidths", ("axes", "n", "how", "ms"), lines)
    if not quick:
        targets += _predict_targets()
    yield target_table("Targets", targets)


def _fit_targets(
    n: int, n_axes: int, timings: dict[str, Timing], errors: dict[str, float]
) -> Iterator[Target]:
    label, own = f"{n_axes} axis/axes, n = {n:,}", timings["sk-arcal"].milliseconds
    limit = timings["limit: code + two bincounts"].milliseconds
    many = n >= 1_000_000
    bound = {1: 2.5, 2: 10.0}[n_axes] if many else {1: 10.0, 2: 18.0}[n_axes]
    yield Target(f"{label}: times two bincounts", own / limit, bound, "<=")
    if "KDEpy FFTKDE ratio" in timings:
        peer = timings["KDEpy FFTKDE ratio"].milliseconds
        bound = 12.0 if many else 20.0 if n_axes == 2 and n == 2_000 else 2.5
        yield Target(f"{label}: faster than KDEpy", peer / own, bound, ">=")
    if many and "statsmodels KernelReg" in timings:
        peer = timings["statsmodels KernelReg"].milliseconds
        yield Target(f"{label}: faster than statsmodels", peer / own, 1e6, ">=")
    yield Target(f"{label}: largest error", errors["sk-arcal"], 1e-4, "<=", "")


def _search_targets(
    n: int, n_axes: int, timings: dict[str, Timing], error: float
) -> Iterator[Target]:
    label, own = f"search, {n_axes} axis/axes, n = {n:,}", timings["sk-arcal, on cells"]
    limit, peer = timings["limit: code + two bincounts"], timings["exact leave-one-out"]
    if n == 100_000:
        ratio = own.milliseconds / limit.milliseconds
        yield Target(f"{label}: times two bincounts", ratio, {1: 10.0, 2: 30.0}[n_axes], "<=")
        gain = peer.milliseconds / own.milliseconds
        yield Target(f"{label}: faster than exact", gain, {1: 5e4, 2: 5e3}[n_axes], ">=")
    name = f"{label}: loss at the same best bandwidth, nats"
    yield Target(name, error, 1e-5, "<=", "")


def _predict_targets() -> Iterator[Target]:
    for n_axes, bound in ((1, 6.0), (2, 18.0)):
        axes, y = rows_of(1_000_000, n_axes)
        table = KernelTable.of(axes, BANDWIDTHS[n_axes], y[:, None])
        timing = race([Contender("predict", partial(table.sums, axes))], rounds=3)["predict"]
        label = f"predict 1,000,000 rows, {n_axes} axis/axes"
        yield Target(label, timing.milliseconds, bound, "<=", "ms")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    publish(tables(parser.parse_args().quick), None)


if __name__ == "__main__":
    main()
