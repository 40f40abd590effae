"""
Wrap a classifier: cross-fitted calibration with routing
========================================================

You will learn to calibrate any scikit-learn classifier together with a transformer that yields
routing features, and to compare it with calibration by the confidence alone.
"""

# %%
# A classifier and a router
# -------------------------
# Patients of four clinics, recognisable by their case mix; one clinic records a third of its
# diagnoses wrongly. The classifier is linear and does not know the clinics. The routing columns
# are the distances to four cluster centres, the soft assignment of a mixture of experts in its
# plainest form. Any transformer will do. This one is fitted once, without labels, and frozen:
# fitted anew in every fold, cluster 3 of one fold would be cluster 1 of the next.

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)
X, clinic = make_blobs(9000, n_features=6, centers=4, cluster_std=3.0, random_state=4)
score = X @ rng.normal(size=6)
score = 2.5 * (score - np.median(score)) / score.std()
y = (rng.random(9000) < 1 / (1 + np.exp(-score))).astype(int)
wrong = (clinic == 2) & (rng.random(9000) < 1 / 3)
y[wrong] = 1 - y[wrong]
fit, test = np.arange(9000) < 4500, np.arange(9000) >= 4500

# %%
# Three models
# ------------
# The wrapper fits the classifier on four fifths of the rows, predicts the fifth left out, and fits
# the calibrator on all rows so predicted; ``ensemble=False`` then fits the classifier once more on
# everything.

from sk_arcal import NWConditionalCalibrator, RoutingCalibratedClassifierCV, TemperatureScaler

classifier = LogisticRegression()
router = FrozenEstimator(KMeans(4, n_init=10, random_state=0).fit(X[fit]))
models = {
    "as it comes": classifier,
    "one temperature": RoutingCalibratedClassifierCV(
        classifier, calibrator=TemperatureScaler(), ensemble=False
    ),
    "kernel with routing": RoutingCalibratedClassifierCV(
        classifier,
        routing_transformer=router,
        calibrator=NWConditionalCalibrator(random_state=0),
        ensemble=False,
    ),
}
probability = {
    name: model.fit(X[fit], y[fit]).predict_proba(X[test])[:, 1] for name, model in models.items()
}

# %%
# The fitted calibrator is inside. It says whether routing was used, and which columns: an infinite
# bandwidth switches one off; the first is the confidence.

inside = models["kernel with routing"].calibrated_classifiers_[0].calibrator
print(inside.selected_, inside.bandwidth_.round(2))

# %%
# Held-out scores
# ---------------

from sklearn.metrics import log_loss

from sk_arcal.metrics import worst_group_calibration_error

losses, worst = {}, {}
for name, said in probability.items():
    losses[name] = log_loss(y[test], said)
    worst[name] = worst_group_calibration_error(y[test], said, clinic[test])
    print(f"{name:20} log loss {losses[name]:.4f}   ECE of the worst clinic {worst[name]:.3f}")

# %%
# Reliability in the careless clinic and in the others, which one temperature cannot tell apart.

import matplotlib.pyplot as plt

from sk_arcal.displays import ReliabilityDisplay

strata = (clinic[test] == 2).astype(int)
fig, axes = plt.subplots(1, 2, figsize=(11, 6), layout="constrained")
for ax, name in zip(axes, ("one temperature", "kernel with routing"), strict=True):
    ReliabilityDisplay.from_predictions(
        y[test],
        probability[name],
        strata=strata,
        strata_names=["other clinics", "careless clinic"],
        random_state=0,
        ax=ax,
    )
    ax.set_title(name)

# %%
# In words
# --------
# The gain is a mean of differences row by row, so its standard error is known.


def row_losses(said):
    """Return the log loss of every held-out row."""
    return -np.log(np.where(y[test] == 1, said, 1 - said))


paired = row_losses(probability["one temperature"]) - row_losses(probability["kernel with routing"])
gain, error = paired.mean(), paired.std() / np.sqrt(len(paired))
print(
    f"One temperature moves the log loss from {losses['as it comes']:.4f} to "
    f"{losses['one temperature']:.4f} nats; the kernel, given the distances to the clusters, gains "
    f"{gain:.4f} ± {error:.4f} more. In the worst clinic the calibration error falls from "
    f"{worst['one temperature']:.3f} to {worst['kernel with routing']:.3f}."
)
