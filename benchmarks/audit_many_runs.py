"""One audit of several runs with many features and all controls: its time, and the same by Dask.

    python -m benchmarks.audit_many_runs [--runs 5] [--features 10] [--rows 10000] [--dask]

Simulated runs share one test set; the first feature has an effect of 4 points in every run, the
others follow the confidence and say nothing. With ``--dask`` the audit is repeated on a local
cluster of as many workers as ``--n-jobs``, and every number is compared to the last digit (extra
"dask").
"""

import argparse
import json
import time
from typing import Any

import joblib
import numpy as np

from sk_arcal.audit import PredictionTable, RunsAudit, audit_runs
from sk_arcal.datasets import make_routing_runs


def tables(arguments: argparse.Namespace) -> dict[str, PredictionTable]:
    """Return one table a run."""
    data = make_routing_runs(
        arguments.rows, arguments.runs, effect="step", strength=0.04, random_state=0
    )
    rng = np.random.default_rng(1)
    found = {}
    for k in range(arguments.runs):
        score = np.log(data.confidence[k] / (1 - data.confidence[k]))
        noise = rng.standard_normal((arguments.features - 1, arguments.rows))
        routing = {"effect": data.routing[k]}
        routing |= {f"noise_{j}": 0.3 * score + row for j, row in enumerate(noise, start=1)}
        found[f"seed_{k}"] = PredictionTable.from_arrays(
            data.y[k], confidence=data.confidence[k], routing=routing
        )
    return found


def show(done: int, total: int, label: str) -> None:
    """Print the progress on one line."""
    print(f"\r{done:>4} of {total}  {label:<40}", end="", flush=True)


def timed(found: dict[str, PredictionTable], arguments: argparse.Namespace) -> RunsAudit:
    """Audit, and print how long it took."""
    start = time.perf_counter()
    audit = audit_runs(
        found, controls="all", random_state=0, n_jobs=arguments.n_jobs, progress=show
    )
    print(f"\n{time.perf_counter() - start:.0f} s")
    return audit


def cluster(n_workers: int) -> Any:
    """Return a local Dask cluster and its client, to be closed by `with`."""
    from dask.distributed import Client

    return Client(n_workers=n_workers, threads_per_worker=1)


def main() -> None:
    """Read the arguments, audit, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--features", type=int, default=10)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--dask", action="store_true")
    arguments = parser.parse_args()
    found = tables(arguments)
    audit = timed(found, arguments)
    for name, feature in audit.features.items():
        print(f"{name:<10} {feature.verdict:<12} {feature.controls}")
    if arguments.dask:
        with cluster(arguments.n_jobs), joblib.parallel_config(backend="dask"):
            other = timed(found, arguments)
        same = json.dumps(audit.to_dict()) == json.dumps(other.to_dict())
        print(f"the same to the last digit on Dask: {same}")


if __name__ == "__main__":
    main()
