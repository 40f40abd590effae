"""How long an import takes, in processes of their own, and what it brings along."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks._rst import publish, simple_table
from benchmarks.speed._harness import Target, machine, target_table

OTHERS = ("torchmetrics", "netcal", "probmetrics.calibrators", "relplot")
MODULES = ("numpy", "sklearn.base", "sk_arcal", "sk_arcal.metrics", "sk_arcal.calibration",
           "sk_arcal.diagnostics", "torch", "skorch", *OTHERS)  # fmt: skip
HEAVY = ("torch", "skorch", "pandas", "matplotlib")
# What a module of ours must not load; scikit-learn itself loads pandas where it is installed.
ABSENT = {
    "sk_arcal": (*HEAVY, "sklearn"),
    "sk_arcal.metrics": (*HEAVY, "sklearn"),
    "sk_arcal.calibration": ("torch", "skorch", "matplotlib"),
    "sk_arcal.diagnostics": ("torch", "skorch", "matplotlib"),
}

_PROBE = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
start = time.process_time()
__import__({module!r})
spent = time.process_time() - start
roots = sorted({{name.split(".")[0] for name in sys.modules}})
try:
    lines = open("/proc/self/status").read().splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
except OSError:
    peak = float("nan")
sys.stdout.write("\\n" + json.dumps([spent, peak, len(sys.modules), roots]))
"""


@dataclass(frozen=True)
class Import:
    """Median processor seconds, peak memory in MiB, number of modules, top-level names."""

    seconds: float
    peak: float
    n_modules: int
    roots: frozenset[str]


def measure(modules: tuple[str, ...], rounds: int) -> dict[str, Import]:
    """Import every module in turn, `rounds` times after a first one; skip what is missing."""
    runs: dict[str, list[tuple]] = {module: [] for module in modules}
    for turn in range(rounds + 1):
        for module in list(runs):
            answer = _once(module)
            if answer is None:
                del runs[module]
            elif turn:
                runs[module].append(answer)
    return {
        module: Import(
            median(run[0] for run in found), median(run[1] for run in found), found[0][2],
            frozenset(found[0][3]),
        )
        for module, found in runs.items()
    }  # fmt: skip


def _once(module: str) -> tuple | None:
    found = subprocess.run(
        [sys.executable, "-c", _PROBE.format(module=module)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if found.returncode:
        if "ModuleNotFoundError" not in found.stderr:
            raise RuntimeError(f"import {module}: {found.stderr}")
        return None
    return tuple(json.loads(found.stdout.splitlines()[-1]))


def loaded(imports: dict[str, Import]) -> list[str]:
    """Say which modules came along that must not."""
    return [
        f"{module} loads {name}"
        for module, names in ABSENT.items()
        for name in names
        if name in imports[module].roots
    ]


def tables(quick: bool = False) -> Iterator[str]:
    """Yield the table of imports and the targets.

    Raises
    ------
    RuntimeError
        If a module of ours loads what it must not.
    """
    imports = measure(MODULES, 1 if quick else 7)
    if loaded(imports):
        raise RuntimeError("; ".join(loaded(imports)))
    yield simple_table(
        "Imports in processes of their own, median",
        ("module", "ms", "MiB", "modules"),
        [
            (module, f"{1000 * found.seconds:.0f}", f"{found.peak:.0f}", f"{found.n_modules}")
            for module, found in imports.items()
        ],
    )
    yield target_table("Targets of the imports", _targets(imports))


def _targets(imports: dict[str, Import]) -> Iterator[Target]:
    seconds = {module: found.seconds for module, found in imports.items()}
    allowed = (1.05 * seconds["sklearn.base"] + 0.02) * 1000
    yield Target("sk_arcal: 1.05 sklearn.base + 20 ms", 1000 * seconds["sk_arcal"], allowed,
                 "<=", "ms")  # fmt: skip
    yield Target("sk_arcal.metrics", 1000 * seconds["sk_arcal.metrics"], 120, "<=", "ms")
    for other in OTHERS[:3]:
        if other in seconds:
            yield Target(f"sk_arcal: against {other}", seconds["sk_arcal"] / seconds[other], 0.45,
                         "<=")  # fmt: skip
    if "torchmetrics" in seconds:
        ratio = seconds["torchmetrics"] / seconds["sk_arcal.metrics"]
        yield Target("torchmetrics against sk_arcal.metrics", ratio, 18, ">=")


def main() -> None:
    """Print the tables; ``--quick`` imports twice only."""
    print(machine(), end="\n\n")
    publish(tables(quick="--quick" in sys.argv[1:]), None)


if __name__ == "__main__":
    main()
