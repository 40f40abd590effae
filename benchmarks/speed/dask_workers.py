"""Rows over two worker processes: rows per second, bytes of what travels, and exactness.

A table of confidence, routing, event and group lies in parquet files. A worker reads a file and
updates a histogram, a temperature and a kernel; the states are added up in pairs. Processor
seconds are taken inside the workers, around each of the four steps.
"""

import argparse
import pickle
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

from benchmarks._rst import publish, simple_table
from benchmarks.speed._harness import Target, machine, significant, target_table
from sk_arcal.calibration import NWConditionalCalibrator, TemperatureScaler
from sk_arcal.datasets import make_routing_data
from sk_arcal.metrics import CalibrationHistogram

COLUMNS = ["proba__1", "routing__1"]
N_GROUPS = 8
N_FIRST = 20_000
BILLION, N_WORKERS = 10**9, 64
# Loading of modules and growing of the heap are no part of the pace.
WARM_UP = 2


@dataclass(frozen=True)
class Part:
    """What a worker has to say about some rows.

    Attributes
    ----------
    states : dict of str to object
        Histogram, temperature and kernel of the rows.
    seconds : dict of str to float
        Processor time of every step.
    row_bytes : float
        Bytes a row takes in memory.
    peak : float
        Largest memory of the process so far, in MiB.
    """

    states: dict[str, Any]
    seconds: dict[str, float]
    row_bytes: float
    peak: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rows only")
    parser.add_argument("--output", type=Path, help="file for the tables")
    arguments = parser.parse_args()
    publish(tables(arguments.quick), arguments.output)


def tables(quick: bool = False) -> Iterator[str]:
    """Return pace and size of each state, the plan for 10^9 rows, and the targets."""
    n_files, n_rows = (4, 50_000) if quick else (16, 250_000)
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), n_files, n_rows)
        first = pd.read_parquet(paths[0]).iloc[:N_FIRST]
        empty = first_states(first)
        with cluster(folder) as workers, Client(workers) as client:
            client.gather(client.map(part, [*paths[:1]] * WARM_UP, empty=empty, pure=False))
            start = time.perf_counter()
            found = map_reduce(client, paths, empty)
            wall = time.perf_counter() - start
        errors = differences(found.states, paths, empty)
        n_bytes = sum(Path(path).stat().st_size for path in paths)
    total = n_files * n_rows
    pace = {name: total / spent for name, spent in found.seconds.items()}
    sizes = {name: len(pickle.dumps(state)) for name, state in found.states.items()}
    yield pace_table(pace, sizes, n_files, n_rows)
    yield simple_table(
        "All of it on two worker processes",
        ("rows", "seconds, wall clock", "10^6 rows per second", "MiB of a worker, at most"),
        [(f"{total:,}", *map(significant, (wall, total / wall / 1e6, found.peak)))],
    )
    yield billion_table(pace, sizes, n_bytes / total, found.row_bytes)
    targets = [
        Target(f"{name}: states added up against one pass", error, 1e-12, "<=", "")
        for name, error in errors.items()
    ]
    targets += [
        Target(f"{name}: kB of a state", size / 1e3, 4e3, "<=", "kB")
        for name, size in sizes.items()
    ]
    yield target_table(f"Targets ({machine()})", targets)


def cluster(folder: str) -> LocalCluster:
    """Return two worker processes of one thread each."""
    return LocalCluster(
        host="127.0.0.1",
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        memory_limit=0,
        local_directory=folder,
    )


def write(folder: Path, n_files: int, n_rows: int) -> list[str]:
    """Write a simulated table in files; return their paths."""
    paths = []
    for k in range(n_files):
        data = make_routing_data(n_rows, effect="step", random_state=k)
        table = pd.DataFrame({"proba__1": data.confidence, "routing__1": data.routing[:, 0]})
        table["event"] = data.y.astype(np.int8)
        table["group"] = (N_GROUPS * table["routing__1"].rank(pct=True)).astype(int).clip(upper=7)
        paths.append(str(folder / f"part-{k:03d}.parquet"))
        table.to_parquet(paths[-1])
    return paths


def first_states(first: pd.DataFrame) -> dict[str, Any]:
    """Return what every worker starts from: empty states that add up."""
    X, y = first[COLUMNS], first["event"]
    scaler = TemperatureScaler().partial_fit(X, y, classes=[0, 1])
    kernel = NWConditionalCalibrator().partial_fit(X, y, classes=[0, 1])
    return {
        "CalibrationHistogram, 8 groups": CalibrationHistogram(),
        "TemperatureScaler": scaler.new_shard(),
        f"NWConditionalCalibrator, first block of {N_FIRST:,}": kernel.new_shard(),
    }


def part(path: str, empty: dict[str, Any]) -> Part:
    """Read a file and update a copy of every state."""
    states, seconds = {}, {}
    clock = time.process_time()
    table = pd.read_parquet(path)
    X, y, groups = table[COLUMNS], table["event"], table["group"]
    seconds["reading the file"] = time.process_time() - clock
    for name, state in empty.items():
        clock = time.process_time()
        states[name] = updated(pickle.loads(pickle.dumps(state)), X, y, groups)
        seconds[name] = time.process_time() - clock
    row_bytes = float(table.memory_usage(index=False).sum() / len(table))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Part(states, seconds, row_bytes, peak)


def updated(state: Any, X: pd.DataFrame, y: pd.Series, groups: pd.Series) -> Any:
    """Add rows to a state."""
    if isinstance(state, CalibrationHistogram):
        return state.update(y, X["proba__1"], groups=groups)
    return state.partial_fit(X, y)


def merged(one: Part, other: Part) -> Part:
    """Add up states, and seconds."""
    return Part(
        {name: state.merge(other.states[name]) for name, state in one.states.items()},
        {name: spent + other.seconds[name] for name, spent in one.seconds.items()},
        one.row_bytes,
        max(one.peak, other.peak),
    )


def map_reduce(client: Client, paths: list[str], empty: dict[str, Any]) -> Part:
    """Read every file once and add up in pairs."""
    start = client.scatter(empty, broadcast=True, hash=False)
    found = client.map(part, paths, empty=start, pure=False)
    while len(found) > 1:
        odd = found[len(found) - len(found) % 2 :]
        pairs = zip(found[::2], found[1::2], strict=False)
        found = [client.submit(merged, *pair, pure=False) for pair in pairs] + odd
    return found[0].result()


def differences(total: dict[str, Any], paths: list[str], empty: dict[str, Any]) -> dict[str, float]:
    """Return the largest difference between merged states and one pass over all rows."""
    whole = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
    X, y, errors = whole[COLUMNS], whole["event"], {}
    for name, state in empty.items():
        once = updated(pickle.loads(pickle.dumps(state)), X, y, whole["group"])
        if isinstance(state, CalibrationHistogram):
            pair = [s.expected_calibration_error() for s in (once, total[name])]
        else:
            pair = [s.predict_proba(X[:N_FIRST]) for s in (once, total[name])]
        errors[name] = float(np.abs(np.subtract(*pair)).max())
    return errors


def pace_table(pace: dict[str, float], sizes: dict[str, int], n_files: int, n_rows: int) -> str:
    """Return rows per second of one process, and bytes of a pickled state."""
    return simple_table(
        f"One process: {n_files} files of {n_rows:,} rows, one confidence, one routing column",
        ("what", "10^6 rows per second", "kB of the state"),
        [
            (name, significant(rate / 1e6), significant(sizes[name] / 1e3) if name in sizes else "")
            for name, rate in pace.items()
        ],
    )


def billion_table(
    pace: dict[str, float], sizes: dict[str, int], file_bytes: float, row_bytes: float
) -> str:
    """Return the cost of 10^9 rows in files of 10^6 rows, worked out from the pace."""
    hours = sum(BILLION / rate for rate in pace.values()) / 3600
    moved = sum(sizes.values()) / 1e6
    return simple_table(
        "10^9 rows in 1,000 files, worked out from the pace",
        ("what", "amount"),
        [
            ("GB read, in one pass", significant(file_bytes * BILLION / 1e9)),
            ("core-hours, reading included", significant(hours)),
            (f"minutes on {N_WORKERS} cores", significant(hours * 60 / N_WORKERS)),
            ("MB moved, a state for every file", significant(moved * BILLION / 1e6)),
            (f"MB moved, a state for each of {N_WORKERS} workers", significant(moved * N_WORKERS)),
            ("MB of rows in a worker, a file at a time", significant(row_bytes)),
        ],
    )


if __name__ == "__main__":
    main()
