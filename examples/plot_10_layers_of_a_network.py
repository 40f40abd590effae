"""
Calibration over the layers of a network
========================================

You will learn how to read what a network says at every depth, how to see where its confidence runs
ahead of its accuracy, and how to try a direction of its hidden states against one temperature.
"""

# %%
# A deep network
# --------------
# Twelve blocks on noisy digits. The head reads the last block only, but nothing keeps it from
# reading the others: that is the logit lens.

import numpy as np
from sklearn.datasets import load_digits

from sk_arcal.feature_extraction import LayerExtractor
from sk_arcal.models import VisionTransformerClassifier

X, y = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
images = X.reshape(-1, 8, 8) + rng.normal(0, 6, (len(X), 8, 8))
train, rest = np.split(rng.permutation(len(X)), [500])
model = VisionTransformerClassifier(
    patch_size=4, width=32, depth=12, residual="none", max_epochs=40, learning_rate=3e-3,
    random_state=0,
).fit(images[train], y[train])  # fmt: skip

lens = LayerExtractor(model.module_, cache=False)
readout = lens.extract(images[rest])
print(readout.scores.shape, readout.layers)

# %%
# What happens on the way
# -----------------------
# Accuracy and mean confidence of every layer above, calibration error with its floor below.

import matplotlib.pyplot as plt

from sk_arcal.diagnostics import calibration_phases, layerwise_calibration
from sk_arcal.displays import LayerwiseCalibrationDisplay

layerwise = layerwise_calibration(y[rest], readout, random_state=0)
phases = calibration_phases(layerwise, random_state=0)
print(phases)
LayerwiseCalibrationDisplay.from_result(layerwise, phases=phases)
plt.show()

# %%
# A direction of the last hidden states
# -------------------------------------
# What the last four blocks add, projected onto what the head does not hear; its scale is chosen on
# rows that did not give the direction. Behind the norm this is one temperature per row.

from sk_arcal.calibration import CalibrationDirection, LinearReadout
from sk_arcal.diagnostics import direction_controls
from sk_arcal.displays import DirectionScaleDisplay

hidden = LayerExtractor(model.module_, readout="hidden", layers=[8, 12], cache=False)
earlier, last = np.moveaxis(hidden.extract(images[rest]).hidden, 1, 0)
head = LinearReadout.from_dict(lens.linear_readout())
fit, test = slice(0, 650), slice(650, None)
direction = CalibrationDirection(random_state=0).fit(
    last[fit], y[rest][fit], readout=head, reference=2 * last[fit] - earlier[fit]
)
controls = direction_controls(direction, last[test], y[rest][test], n_random=5, random_state=0)
print(controls)

# %%
by_chance = [direction.control("random", random_state=seed) for seed in range(3)]
DirectionScaleDisplay.from_result(direction, random=by_chance)
plt.show()

# %%
# In the live network
# -------------------
# The shift is a context; outside of it the network is what it was. The last MLP is what writes
# into the residual stream last.

before = model.predict_proba(images[rest][test])
with direction.applied(model.module_, "blocks.11.mlp"):
    within = model.predict_proba(images[rest][test])
after = model.predict_proba(images[rest][test])
same = (within.argmax(axis=1) == before.argmax(axis=1)).mean()

# %%
# In words
# --------

ece, loss = controls.ece, controls.log_loss
sure = [probability.max(axis=1).mean() for probability in (before, within)]
print(
    f"{phases.summary} On rows that fitted nothing, the network as it is has a calibration error "
    f"of {ece[0]:.1%}; the direction leaves {ece[1]:.1%}, random directions {ece[4:].mean():.1%} "
    f"on average, one temperature {ece[2]:.1%}. In log loss that is {loss[0]:.3f}, {loss[1]:.3f}, "
    f"{loss[4:].mean():.3f} and {loss[2]:.3f} nats. Within the context {same:.0%} of the "
    f"predictions are the same and the mean confidence is {sure[1]:.1%} instead of {sure[0]:.1%}; "
    f"after it the network is itself again: {np.array_equal(before, after)}."
)
