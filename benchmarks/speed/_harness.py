"""Timing that neighbours on the machine disturb little, and the lines of a target table.

Contenders take turns (A B C, A B C, ...), each measured in processor time of one thread; the
median over the rounds is reported. A contender that takes long is given fewer rounds.
"""

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks._rst import simple_table

# Seconds of one contender in one comparison, after which it is left out of further rounds.
_LONGEST = 20.0


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Attributes
    ----------
    name : str
        As it is called in the tables.
    call : callable
        Takes nothing; what it returns is kept for comparisons of exactness.
    share : float
        Part of the work that `call` does; its time is divided by it and marked with ``~``.
    """

    name: str
    call: Callable[[], Any]
    share: float = 1.0


@dataclass(frozen=True)
class Timing:
    """Median processor time of one call, in milliseconds, and what the call returned."""

    name: str
    milliseconds: float
    result: Any
    rounds: int
    extrapolated: bool = False

    @property
    def text(self) -> str:
        """The time as it stands in a table."""
        mark = "~" if self.extrapolated else "" if self.rounds > 1 else " (once)"
        return f"{significant(self.milliseconds)}{mark}"


@dataclass(frozen=True)
class Target:
    """A line of the targets and what was measured.

    Attributes
    ----------
    what : str
        What is compared with what.
    measured : float
        A ratio, a time or an error.
    bound : float
        What it has to reach.
    sense : {">=", "<="}
        In which direction.
    unit : str
        Such as "x", "ms" or "".
    """

    what: str
    measured: float
    bound: float
    sense: str
    unit: str = "x"

    @property
    def reached(self) -> bool:
        """Whether the bound holds."""
        return self.measured >= self.bound if self.sense == ">=" else self.measured <= self.bound


def race(contenders: Sequence[Contender], rounds: int = 7) -> dict[str, Timing]:
    """Time contenders in turn on one thread; the first turn of each only warms up."""
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    results: dict[str, Any] = {}
    with threadpool_limits(limits=1):
        _one_torch_thread()
        for turn in range(rounds + 1):
            for contender in contenders:
                spent = times[contender.name]
                if sum(spent) / 1000 > _LONGEST:
                    continue
                start = time.process_time()
                results[contender.name] = contender.call()
                spent.append(1000 * (time.process_time() - start))
                # A warm-up as long as that is a measurement.
                if turn == 0 and spent[0] / 1000 <= _LONGEST / 4:
                    spent.clear()
    return {
        contender.name: Timing(
            contender.name,
            statistics.median(times[contender.name]) / contender.share,
            results[contender.name],
            len(times[contender.name]),
            contender.share != 1.0,
        )
        for contender in contenders
    }


def _one_torch_thread() -> None:
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


def significant(value: float, digits: int = 3) -> str:
    """Return a number with a few digits, without an exponent where that is short."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e7:
        decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
        return f"{value:,.{decimals}f}"
    return f"{value:.1e}"


def target_table(title: str, targets: Iterable[Target]) -> str:
    """Return the targets as a table; what is missed says so."""
    rows = [
        (
            target.what,
            f"{target.sense} {significant(target.bound)}{_unit(target)}",
            f"{significant(target.measured)}{_unit(target)}",
            "yes" if target.reached else "**no**",
        )
        for target in targets
    ]
    return simple_table(title, ("target", "bound", "measured", "reached"), rows)


def _unit(target: Target) -> str:
    return f" {target.unit}" if target.unit else ""


def machine() -> str:
    """Return one line about the machine and the versions that count."""
    import scipy
    import sklearn

    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            models = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        name = f"{models[0]}, {len(models)} cores" if models else name
    except OSError:
        pass
    return (
        f"{name}; Python {platform.python_version()}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, scikit-learn {sklearn.__version__}"
    )
