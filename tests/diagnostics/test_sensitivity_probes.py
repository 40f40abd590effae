"""The residual pair under a dictated bandwidth, against its two kernels written out."""

import numpy as np
import pytest
from scipy.special import logit

from sk_arcal.calibration import TemperatureScaler
from sk_arcal.diagnostics._probing._bandwidth_rules import FoldRows
from sk_arcal.diagnostics._probing._sensitivity_probes import ProbeSettings, probe_pairs

N, FIT, TEST = 80, np.arange(0, 80, 2), np.arange(1, 80, 2)
SHRINKAGES = (0, 4, 16, 64, 256, 1024)


def rows(seed):
    rng = np.random.default_rng(seed)
    confidence, feature = rng.beta(3, 2, N), rng.random(N)
    y = (rng.random(N) < np.clip(confidence + 0.6 * (feature - 0.5), 0, 1)).astype(float)
    return y, confidence, feature


def corrected(y, base, axes, bandwidths, shrinkages):
    """Base plus the kernel of smallest leave-one-out loss on its residual."""
    best, chosen = np.inf, None
    for h in bandwidths:
        kernel = np.exp(-0.5 * (((axes[:, None] - axes[None, FIT]) / h) ** 2).sum(axis=2))
        kernel[FIT, np.arange(len(FIT))] = 0
        for shrinkage in shrinkages:
            q = base + kernel @ (y - base)[FIT] / (kernel.sum(axis=1) + shrinkage)
            q = q.clip(1 / (len(FIT) + 2), 1 - 1 / (len(FIT) + 2))
            loss = -np.log(np.where(y == 1, q, 1 - q))[FIT].mean()
            if loss < best:
                best, chosen = loss, q
    return chosen


@pytest.mark.parametrize("multiple", [0.5, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_rule_dictates_how_local_both_kernels_are(seed, multiple):
    y, confidence, feature = rows(seed)
    part = np.arange(len(FIT)) % 5
    settings = ProbeSettings("residual", np.array([0.5, 2.0]), False)
    alone, added = probe_pairs(settings, confidence, feature, FoldRows(y, FIT, TEST, part))

    scaler = TemperatureScaler().fit(confidence[FIT, None], y[FIT])
    anchor = scaler.predict_proba(confidence[:, None])[:, 1]
    axes = np.column_stack([logit(anchor.clip(1e-4, 1 - 1e-4)), feature])
    spread, n = axes[FIT].std(axis=0), len(FIT)
    h = multiple * spread[:1] * n ** (-1 / 5)
    base = corrected(y, anchor, axes[:, :1], [h], SHRINKAGES)
    h = multiple * spread * n ** (-1 / 6)
    both = corrected(y, base, axes, [[np.inf, h[1]], h], (*SHRINKAGES, 1e300))
    rule = f"Scott x {multiple:g}"
    np.testing.assert_allclose(alone[rule].prediction, base, rtol=1e-6)
    np.testing.assert_allclose(added[rule].prediction, both, rtol=1e-6)
