"""A parquet file larger than memory, audited in one pass: time and peak memory, report included.

python -m benchmarks.speed.streamed_audit
python -m benchmarks.speed.streamed_audit --rows 10000000
python -m benchmarks.speed.streamed_audit --quick

The file has a confidence (float32), an outcome (int8) and routing columns (float32), the first of
which moves the event rate. It is written in row groups, and audited by the shell command in a
process of its own, whose memory the kernel reports.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks._rst import simple_table
from benchmarks.speed._harness import Target, significant, target_table

_GROUP = 1_000_000
_LIMIT = 2000.0
# What the subprocess runs: the command, then its own peak memory (kilobytes) and the seconds.
_AUDIT = """
import sys, time
start = time.perf_counter()
from sk_arcal.audit._streaming import _reading
from sk_arcal.cli import main
read_stream = _reading.read_stream
def timed(*args, **options):
    global reading
    began = time.perf_counter()
    table = read_stream(*args, **options)
    reading = time.perf_counter() - began
    return table
_reading.read_stream = timed
code = main(sys.argv[1:])
spent = time.perf_counter() - start
with open("/proc/self/status", encoding="utf-8") as lines:
    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
print(f"measured {spent} {reading} {time.process_time()} {peak}")
sys.exit(code)
"""
_SHIFT = 0.04


def write_rows(path: Path, n_rows: int, n_features: int, group: int = _GROUP) -> None:
    """Write simulated predictions row group by row group; the memory is that of one."""
    import pyarrow as arrow
    from pyarrow import parquet

    names = [f"routing__feature_{k}" for k in range(n_features)]
    fields = [("correct", arrow.int8()), ("confidence", arrow.float32())]
    schema = arrow.schema([*fields, *((name, arrow.float32()) for name in names)])
    rng = np.random.default_rng(0)
    with parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, n_rows, group):
            n = min(group, n_rows - first)
            confidence = rng.beta(4, 1.2, n).astype(np.float32)
            routing = rng.standard_normal((n_features, n), dtype=np.float32)
            rate = confidence**1.3 + _SHIFT * np.sign(routing[0])
            correct = (rng.random(n, dtype=np.float32) < rate).astype(np.int8)
            columns = [correct, confidence, *routing]
            writer.write_table(arrow.table(list(map(arrow.array, columns)), schema=schema))


def audit_file(path: Path, report: Path, options: list[str]) -> dict[str, float]:
    """Audit in a fresh process; return seconds, those of reading and of the processor, and MB."""
    command = ["audit", str(path), "--stream", "--report", str(report), *options]
    found = subprocess.run(
        [sys.executable, "-c", _AUDIT, *command],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = found.stdout.splitlines()
    print("\n".join(lines[:-1]), file=sys.stderr)
    names = ("seconds", "reading", "processor", "peak")
    taken = dict(zip(names, map(float, lines[-1].split()[1:]), strict=True))
    return taken | {"peak": taken["peak"] / 1024}


def measure(n_rows: int, n_features: int, max_rows: int) -> Iterator[str]:
    """Yield the table of one size, and the targets."""
    with tempfile.TemporaryDirectory() as folder:
        path, report = Path(folder) / "predictions.parquet", Path(folder) / "report.html"
        start = time.perf_counter()
        write_rows(path, n_rows, n_features)
        written = time.perf_counter() - start
        size = path.stat().st_size / 1e9
        options = ["--max-rows", str(max_rows)]
        taken = audit_file(path, report, options)
        page = report.stat().st_size / 1e6
    yield simple_table(
        f"Streamed audit of {n_rows:,} rows with {n_features} routing features, "
        f"{max_rows:,} rows sampled",
        ("what", "value"),
        [
            ("file", f"{size:.2f} GB (written in {written:.0f} s)"),
            (
                "time with report",
                f"{taken['seconds']:.0f} s ({taken['processor']:.0f} s of processor time)",
            ),
            ("of it reading and counting all rows", f"{taken['reading']:.1f} s"),
            ("rows read and counted per second", f"{n_rows / taken['reading']:,.0f}"),
            ("rows per second, audit of the sample included", f"{n_rows / taken['seconds']:,.0f}"),
            ("peak resident memory", f"{significant(taken['peak'])} MB"),
            ("report", f"{page:.2f} MB"),
        ],
    )
    yield target_table(
        "Targets",
        [Target(f"peak memory, {n_rows:,} rows", taken["peak"], _LIMIT, "<=", "MB")],
    )


def tables(quick: bool = False) -> Iterator[str]:
    """Yield the tables of this benchmark."""
    yield from measure(10**6 if quick else 10**8, 3, 20_000 if quick else 200_000)


def main() -> None:
    """Print what one streamed audit takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10**8)
    parser.add_argument("--features", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=200_000)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        found = tables(quick=True)
    else:
        found = measure(arguments.rows, arguments.features, arguments.max_rows)
    for table in found:
        print(table)


if __name__ == "__main__":
    main()
