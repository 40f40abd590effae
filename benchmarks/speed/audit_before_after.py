"""One audit with its report, by an earlier state of this library and by this one, in one run.

The earlier state is a checkout in a folder of its own (``git worktree add FOLDER REVISION``). Both
run ``benchmarks/audit_at_scale.py`` in turn, in processes of their own. Run as
``python -m benchmarks.speed.audit_before_after FOLDER [--rows 100000 1000000]``.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks._rst import publish, simple_table

_LAST_LINE = re.compile(r": (\d+) s, peak memory (\d+) MB")
_HERE = Path(__file__).resolve().parents[2]


def run(checkout: Path, rows: int, n_jobs: int) -> tuple[int, int, str]:
    """Return seconds, megabytes and the verdicts of one audit."""
    command = [sys.executable, "benchmarks/audit_at_scale.py", "--rows", str(rows)]
    answer = subprocess.run(
        [*command, "--n-jobs", str(n_jobs)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    seconds, megabytes = map(int, _LAST_LINE.findall(answer)[-1])
    return seconds, megabytes, "\n".join(answer.splitlines()[:-2])


def tables(before: Path, sizes: list[int], n_jobs: int) -> Iterator[str]:
    """Yield one table; summaries that differ are printed."""
    lines = []
    for rows in sizes:
        old, new = (run(checkout, rows, n_jobs) for checkout in (before, _HERE))
        ratio = f"{old[0] / max(new[0], 1):.1f}"
        memory = f"{old[1]:,}", f"{new[1]:,}"
        lines.append((f"{rows:,}", f"{old[0]:,}", f"{new[0]:,}", ratio, *memory))
        print(f"--- before, {rows:,} rows\n{old[2]}\n--- now\n{new[2]}\n", flush=True)
    header = ("rows", "s before", "s now", "ratio", "MB before", "MB now")
    yield simple_table(f"Audit with five routing features, n_jobs={n_jobs}", header, lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="checkout of the earlier state")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = tables(arguments.before.resolve(), arguments.rows, arguments.n_jobs)
    publish(found, arguments.output)


if __name__ == "__main__":
    main()
