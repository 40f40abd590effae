"""What it costs to hold a network by a handle, and what by the network itself.

A module of 100 MB in float32, ten linear layers. Printed are medians over repetitions:

``clone``
    ``sklearn.base.clone`` of an estimator with the network as parameter: time, and memory that
    each clone keeps.
``pickle``
    Time, and bytes sent with every task.
``joblib.hash``
    Time, and whether an equal network built anew has the same hash.
``first digest``, ``first pickle``
    What a handle pays once: reading all bytes, and writing them to disk.
``check``
    What every later look at the digest costs, with 4000 parameters: whether something changed.
``workers``
    Memory of each of two loky workers that ran one batch (proportional set size: what is shared
    counts in part), above a worker that has only loaded torch.

Run as ``python -m benchmarks.backbone_handle [--megabytes 100] [--repeats 5]``; a minute. Memory is
read from /proc, so on Linux only.
"""

import argparse
import gc
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from sklearn.base import BaseEstimator, clone
from torch import nn

from benchmarks._rst import simple_table
from sk_arcal.feature_extraction import Backbone

N_LAYERS = 10


class Holder(BaseEstimator):
    """An estimator with a network as parameter."""

    def __init__(self, network: Any = None) -> None:
        self.network = network


def make(megabytes: float, seed: int = 0) -> nn.Module:
    """Return linear layers that weigh so much together."""
    torch.manual_seed(seed)
    width = round((megabytes * 1e6 / 4 / N_LAYERS) ** 0.5)
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(N_LAYERS))).eval()


def milliseconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times)


def memory() -> float:
    """Return the proportional set size of this process in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1e3


def kept_by_clones(holder: Holder, n_clones: int = 5) -> float:
    """Return the memory that each of some clones keeps, in MB."""
    gc.collect()
    before = memory()
    clones = [clone(holder) for _ in range(n_clones)]
    kept = (memory() - before) / len(clones)
    return max(kept, 0)


def memory_in_use(network: Any, seconds: float = 1.0) -> float:
    """Run one batch; return the memory of the worker while the other one holds its module too."""
    module = network.module if isinstance(network, Backbone) else network
    if module is not None:
        with torch.inference_mode():
            module(torch.ones(2, module[0].in_features))
    time.sleep(seconds)
    found = memory()
    time.sleep(seconds)
    return found


def per_worker(network: Any) -> float:
    """Return the mean memory of two fresh workers that use a network at the same time, in MB."""
    get_reusable_executor().shutdown(wait=True)
    parallel = Parallel(2, backend="loky")
    # Workers come up one after the other; the second time both are there.
    parallel(delayed(memory_in_use)(None) for _ in range(2))
    return sum(parallel(delayed(memory_in_use)(network) for _ in range(2))) / 2


def costs(network: Any, twin: Any, repeats: int) -> list[str]:
    """Return the cells of one way to hold a network."""
    holder = Holder(network)
    same = joblib.hash(Holder(network)) == joblib.hash(Holder(twin))
    cloned = milliseconds(lambda: clone(holder), repeats)
    pickled = milliseconds(lambda: pickle.dumps(network), repeats)
    hashed = milliseconds(lambda: joblib.hash(holder), repeats)
    return [
        f"{cloned:.2f} ms, {kept_by_clones(holder):.1f} MB",
        f"{pickled:.2f} ms, {len(pickle.dumps(network)):,} bytes",
        f"{hashed:.2f} ms, {'same' if same else 'another'}",
    ]


def first_times(megabytes: float, repeats: int) -> tuple[float, float]:
    """Return the times of the first digest and of the first pickle after it, in ms."""
    digests, pickles = [], []
    for seed in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            backbone = Backbone(make(megabytes, seed), folder=folder)
            digests.append(milliseconds(lambda backbone=backbone: backbone.digest, 1))
            pickles.append(milliseconds(lambda backbone=backbone: pickle.dumps(backbone), 1))
    return median(digests), median(pickles)


def check_time(repeats: int, n_parameters: int = 4000) -> float:
    """Return the time of a look at a digest that is known, in ms."""
    small = nn.ModuleList(nn.Linear(2, 2) for _ in range(n_parameters // 2))
    backbone = Backbone(small)
    _ = backbone.digest
    return milliseconds(lambda: backbone.digest, 5 * repeats)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        nets = make(args.megabytes), make(args.megabytes)
        handles = [Backbone(net, folder=folder) for net in nets]
        base = per_worker(None)
        rows = {
            "module": [*costs(*nets, args.repeats), per_worker(nets[0])],
            "Backbone": [*costs(*handles, args.repeats), per_worker(handles[0])],
        }
        get_reusable_executor().shutdown(wait=True)
    cells = [
        [name, *row[:-1], f"{base:.0f} + {row[-1] - base:.0f} MB"] for name, row in rows.items()
    ]
    header = ("held by", "clone", "pickle", "joblib.hash of an equal one", "each of two workers")
    print(simple_table(f"A module of {args.megabytes:.0f} MB", header, cells), end="\n\n")
    digest, spill = first_times(args.megabytes, args.repeats)
    once = [
        ("first digest", f"{digest:.0f} ms"),
        ("first pickle after it", f"{spill:.0f} ms"),
        ("check of 4000 parameters", f"{check_time(args.repeats):.1f} ms"),
    ]
    print(simple_table("Paid by the handle", ("what", "time"), once))


if __name__ == "__main__":
    main()
