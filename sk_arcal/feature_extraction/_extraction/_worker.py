"""Whether this process is somebody's worker."""

import multiprocessing
import sys


def in_worker_process() -> bool:
    """Return whether joblib, multiprocessing or dask started this process to work for another."""
    if multiprocessing.parent_process() is not None:
        return True
    if multiprocessing.current_process().name.startswith("LokyProcess"):
        return True
    return _in_dask_worker()


def _in_dask_worker() -> bool:
    # A process that never loaded distributed is none of its workers.
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except (AttributeError, ValueError):
        return False
    return True
