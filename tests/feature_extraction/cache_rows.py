"""Rows for the tests of the cache, whose values follow from their numbers, and other processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from sk_arcal.feature_extraction._cache._row_digest import row_digests

ROOT = Path(__file__).parents[2]
# The cache needs numpy alone. The package around it loads scikit-learn, which takes these
# processes longer than all they do, so an empty one stands in its place.
PRELUDE = f"""
import sys, types
import numpy as np
package = types.ModuleType("sk_arcal.feature_extraction")
package.__path__ = [{str(ROOT / "sk_arcal" / "feature_extraction")!r}]
sys.modules[package.__name__] = package
from sk_arcal.feature_extraction._cache import RowCache
from tests.feature_extraction.cache_rows import keys_of, values_of
"""


def keys_of(numbers):
    return row_digests(np.asarray(numbers, dtype=np.int64)[:, None])


def values_of(numbers, width=5):
    angle = np.multiply.outer(np.asarray(numbers) + 1.0, np.arange(1, width + 1))
    return np.sin(angle).astype(np.float32)


def start(code, *arguments):
    """Run code in a fresh interpreter that knows the rows; returns the process."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Wait for a process and return what it printed; fail with its traceback."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def shard_files(table):
    return sorted(table.folder.glob("*.shard"))
