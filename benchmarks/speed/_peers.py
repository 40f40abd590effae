"""Other libraries, compared where they are installed: ``pip install "sk-arcal[bench]"``."""

import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from benchmarks.speed._harness import Contender


def contenders(*offers: tuple[str, str, Callable[[Any], Callable[[], Any]], float]) -> list:
    """Return the contenders whose library is there.

    Parameters
    ----------
    *offers : tuple of (name, module, prepare, share)
        `prepare` takes the imported module and returns what to call; `share` is the part of the
        work that call does.

    Returns
    -------
    present : list of Contender
        In the order given.
    """
    return list(_present(offers))


def _present(offers: Iterable[tuple]) -> Iterable[Contender]:
    for name, module, prepare, share in offers:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = import_module(module)
                call = prepare(found)
        except ImportError:
            print(f"{name}: left out, {module} is not installed")
            continue
        yield Contender(name, call, share)
