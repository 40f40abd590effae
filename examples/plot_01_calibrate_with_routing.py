"""
Calibrate with routing
======================

You will learn to build the matrix of confidence and routing columns, to fit calibrators with and
without routing, and to see on fresh rows whether the routing was worth having.
"""

# %%
# A model whose routing knows something
# -------------------------------------
# The simulated model is overconfident, and at equal confidence it is right more often in the upper
# half of one routing feature. A second feature is noise. The true probabilities are known, which
# real data never grant.

import numpy as np

from sk_arcal.datasets import make_routing_data

data = make_routing_data(
    8000, effect="step", strength=0.08, correlation=0.5, n_noise_features=1, random_state=1
)
X = np.column_stack([data.confidence, data.routing])
fit, test = np.arange(8000) < 4000, np.arange(8000) >= 4000

# %%
# Three calibrators
# -----------------
# All see the same matrix. ``confidence_columns=0`` names the confidence; the routing columns are
# all others unless ``routing_columns`` says otherwise, and ``[]`` means none.

from sk_arcal import NWConditionalCalibrator, TemperatureScaler

calibrators = {
    "temperature": TemperatureScaler(confidence_columns=0),
    "confidence kernel": NWConditionalCalibrator(confidence_columns=0, routing_columns=[]),
    "routing kernel": NWConditionalCalibrator(confidence_columns=0),
}
probability = {"raw": data.confidence[test]}
for name, calibrator in calibrators.items():
    probability[name] = calibrator.fit(X[fit], data.y[fit]).predict_proba(X[test])[:, 1]

# %%
# The routing kernel chose by leave-one-out which columns to use: an infinite bandwidth switches an
# axis off. The axes are the confidence, the feature with the effect, and the noise.

calibrators["routing kernel"].bandwidth_.round(3)

# %%
# Was it worth it?
# ----------------
# The calibration error (ECE) alone cannot say: temperature scaling is already near the noise floor,
# for on average over the routing it *is* calibrated. The log loss can.

from sklearn.metrics import log_loss

from sk_arcal.metrics import expected_calibration_error, noise_floor

floor = noise_floor(probability["temperature"], random_state=0).mean
losses = {name: log_loss(data.y[test], p) for name, p in probability.items()}
for name, p in probability.items():
    error = expected_calibration_error(data.y[test], p)
    distance = np.sqrt(np.mean((p - data.probability[test]) ** 2))
    print(
        f"{name:18} log loss {losses[name]:.4f}   ECE {error:.3f} (floor {floor:.3f})   "
        f"distance to the truth {distance:.3f}"
    )

# %%
# The kernel without routing found nothing that one temperature had left over, and is one
# temperature. The strata of the routing show what it could not see: rows high and low in the
# routing lie on either side of the curve of all rows and cancel. The routing kernel brings them
# together.

import matplotlib.pyplot as plt

from sk_arcal.displays import ReliabilityDisplay
from sk_arcal.metrics import rank_groups, worst_group_calibration_error

thirds = rank_groups(data.routing[test, 0])
fig, axes = plt.subplots(1, 2, figsize=(11, 6), layout="constrained")
for ax, name in zip(axes, ("temperature", "routing kernel"), strict=True):
    ReliabilityDisplay.from_predictions(
        data.y[test],
        probability[name],
        strata=thirds,
        strata_names=["low routing", "middle", "high routing"],
        random_state=0,
        ax=ax,
    )
    ax.set_title(name)

# %%
# In words
# --------

worst = {
    name: worst_group_calibration_error(data.y[test], probability[name], thirds)
    for name in ("temperature", "routing kernel")
}
worst_floor = noise_floor(
    probability["routing kernel"],
    metric=worst_group_calibration_error,
    groups=thirds,
    random_state=0,
).mean
gain = losses["temperature"] - losses["routing kernel"]
print(
    f"One temperature takes the log loss from {losses['raw']:.3f} to {losses['temperature']:.3f} "
    f"nats; using the routing takes off another {gain:.4f}. On average both are calibrated to "
    f"within the noise. In the worst third of the routing the error is {worst['temperature']:.3f} "
    f"with one temperature and {worst['routing kernel']:.3f} with the routing kernel, where a "
    f"perfectly calibrated model would read {worst_floor:.3f}."
)
