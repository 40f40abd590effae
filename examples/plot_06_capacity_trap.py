"""
The capacity trap: a bigger net is not evidence for routing
===========================================================

You will learn why a network on the full routing profile can beat a simple calibrator although the
routing says nothing, and which two controls show it.
"""

# %%
# Two models
# ----------
# In both, the event rate bends as the confidence grows, as no straight line can. In the first the
# routing profile of six layers says nothing beyond the confidence; in the second its first layer
# does.

import numpy as np
from scipy.special import expit

rng = np.random.default_rng(0)
N = 16_000


def draw(effect):
    """Return log-odds and profile as one matrix, and outcomes."""
    log_odds = rng.normal(0, 2, N)
    profile = 0.6 * log_odds[:, None] / 2 + 0.8 * rng.normal(size=(N, 6))
    truth = expit(log_odds / 2 + 2 * np.sin(log_odds) + effect * profile[:, 0])
    return np.column_stack([log_odds, profile]), (rng.random(N) < truth).astype(int)


models = {"routing says nothing": draw(0.0), "routing matters": draw(0.8)}
fit, test = np.arange(N) < N // 2, np.arange(N) >= N // 2

# %%
# One net, two controls, one straw man
# ------------------------------------
# The control nets have as many parameters as the net on the full profile. One sees the confidence
# only, the other sees profiles that were shuffled among rows of like confidence. Six useless
# columns cost a little variance, so "ties" means: not better than its controls.

from sklearn.linear_model import LogisticRegression

from sk_arcal import CapacityMatchedMLP

losses = {}
for name, (X, y) in models.items():
    nets = {
        "logistic on confidence": LogisticRegression(),
        "confidence-only net": CapacityMatchedMLP(control="confidence_only", random_state=0),
        "shuffled-profile net": CapacityMatchedMLP(control="shuffled_routing", random_state=0),
        "full-profile net": CapacityMatchedMLP(random_state=0),
    }
    for net_name, net in nets.items():
        seen = slice(0, 1) if net_name.startswith("logistic") else slice(None)
        if not net_name.startswith("logistic"):
            net.set_params(confidence_columns=0, confidence_kind="logit")
        proba = net.fit(X[fit][:, seen], y[fit]).predict_proba(X[test][:, seen])
        losses[name, net_name] = -np.log(proba[np.arange(len(proba)), y[test]])

# %%
# Gains over the straw man, with their 95 % intervals.

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
gains = {}
for ax, name in zip(axes, models, strict=True):
    for row, net_name in enumerate(list(nets)[1:]):
        paired = losses[name, "logistic on confidence"] - losses[name, net_name]
        gain, error = paired.mean(), paired.std() / np.sqrt(len(paired))
        gains[name, net_name] = gain
        ax.errorbar(1e3 * gain, row, xerr=1.96e3 * error, fmt="o", capsize=4)
    ax.set(title=name, xlabel="gain over the logistic fit, 10⁻³ nats", ylim=(-0.6, 2.6))
    ax.set_yticks(range(3), list(nets)[1:])
    ax.axvline(0, color="black", linewidth=0.8)

# %%
# In words
# --------

null, signal = models
print(
    f"Where the routing says nothing, the net on the full profile still beats the logistic fit by "
    f"{1e3 * gains[null, 'full-profile net']:.0f} thousandths of a nat, and so do a net of equal "
    f"size without any routing ({1e3 * gains[null, 'confidence-only net']:.0f}) and one with a "
    f"shuffled profile ({1e3 * gains[null, 'shuffled-profile net']:.0f}): the gain is capacity. "
    f"Where the routing matters the full profile gains "
    f"{1e3 * gains[signal, 'full-profile net']:.0f}, the controls "
    f"{1e3 * gains[signal, 'confidence-only net']:.0f} and "
    f"{1e3 * gains[signal, 'shuffled-profile net']:.0f}."
)
