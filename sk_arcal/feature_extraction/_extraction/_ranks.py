"""Several processes, one per GPU: which rows are whose."""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional


def share_of_rank(n_rows: int) -> tuple[NDArray[np.intp], str | None, Callable[[], None]]:
    """Return this process's rows, its device, and how to wait for the others.

    Started by torchrun or accelerate, every process takes each so-many-th row, so that long and
    short ones are spread evenly. Otherwise all rows are this process's.

    Parameters
    ----------
    n_rows : int
        Number of rows.

    Returns
    -------
    rows : ndarray of int
        Positions.
    device : str or None
        The one that the launcher meant for this process; None without a launcher.
    wait : callable
        Returns when all processes have called it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return np.arange(n_rows), None, lambda: None
    torch = import_optional("torch", extra="torch", caller="prefill on several processes")
    accelerate = import_optional("accelerate", extra="hf", caller="prefill on several processes")
    # Without a GPU accelerate takes every process for the only one, unless it is told.
    state = accelerate.PartialState(cpu=not torch.cuda.is_available())
    rows = np.arange(n_rows)[state.process_index :: state.num_processes]
    return rows, str(state.device), state.wait_for_everyone
