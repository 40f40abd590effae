"""All measurements of speed, one file of tables for each topic, and the machine they are from.

Run as ``python -m benchmarks.speed OUT [--quick] [--only metrics kernel]``; the documentation
includes the files from ``docs/speed``.
"""

import argparse
from importlib import import_module
from pathlib import Path

from benchmarks._rst import publish
from benchmarks.speed._harness import machine

TOPICS = (
    "temperature",
    "metrics",
    "kernel",
    "permutation",
    "reweighting",
    "training",
    "imports",
    "growth",
    "dask_workers",
)


def main() -> None:
    """Run the topics one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder for the tables")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", nargs="+", choices=TOPICS, default=TOPICS)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "machine.inc").write_text(machine() + "\n", encoding="utf-8")
    for topic in arguments.only:
        print(f"--- {topic}")
        module = import_module(f"benchmarks.speed.{topic}")
        publish(module.tables(arguments.quick), arguments.output / f"{topic}.inc")


if __name__ == "__main__":
    main()
