"""Wall time and peak memory of one audit with report: 100 000 rows, five routing features.

python benchmarks/audit_at_scale.py
python benchmarks/audit_at_scale.py --rows 20000 --n-jobs 1
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from sk_arcal.audit import routing_audit
from sk_arcal.datasets import make_routing_data


def main() -> None:
    """Run one audit on simulated predictions and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--classes", type=int, default=0, help="0: a single confidence")
    arguments = parser.parse_args()
    data = make_routing_data(
        arguments.rows,
        effect="step",
        n_noise_features=arguments.features - 1,
        n_classes=arguments.classes or None,
        random_state=0,
    )
    names = [f"feature_{i}" for i in range(data.routing.shape[1])]
    routing = dict(zip(names, np.asarray(data.routing).T, strict=True))
    before = _peak_megabytes()
    start = time.perf_counter()
    if arguments.classes:
        audit = routing_audit(
            data.labels,
            logits=data.logits,
            routing=routing,
            random_state=0,
            n_jobs=arguments.n_jobs,
        )
    else:
        audit = routing_audit(
            data.y,
            confidence=data.confidence,
            routing=routing,
            random_state=0,
            n_jobs=arguments.n_jobs,
        )
    with tempfile.TemporaryDirectory() as folder:
        audit.to_html(Path(folder) / "report.html")
    seconds = time.perf_counter() - start
    print(audit.summary())
    print(
        f"\n{arguments.rows:,} rows, {len(routing)} features, n_jobs={arguments.n_jobs}: "
        f"{seconds:.0f} s, peak memory {_peak_megabytes():.0f} MB "
        f"(of which {before:.0f} MB before the audit)"
    )


def _peak_megabytes() -> float:
    # Linux counts in kilobytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
