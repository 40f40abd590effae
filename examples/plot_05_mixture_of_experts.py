"""
A mixture of calibrated experts can be miscalibrated
====================================================

You will learn why calibrating every expert does not calibrate their soft mixture, what a shift of
the gates does to it, and how to repair the mixture after training.
"""

# %%
# Two experts, each calibrated, and a gate
# ----------------------------------------
# Both experts say 0.8 for every row. The gate is sure of one of them in half of the rows and
# undecided in the others. Where it is undecided the event is likelier, so that each expert is
# right on average over the rows it is given, and so is their mixture.

import numpy as np

from sk_arcal.metrics import expected_calibration_error

rng = np.random.default_rng(0)


def draw(n, share_undecided):
    """Return gates, experts' log-odds and outcomes."""
    configuration = rng.choice(
        3, size=n, p=[(1 - share_undecided) / 2, share_undecided, (1 - share_undecided) / 2]
    )
    first_gate = np.array([0.2, 0.5, 0.8])[configuration]
    truth = np.array([0.7, 0.9, 0.7])[configuration]
    said = np.full(n, np.log(0.8 / 0.2))
    X = np.column_stack([said, said, first_gate, 1 - first_gate])
    return X, (rng.random(n) < truth).astype(int), configuration


X, y, _ = draw(6000, 0.5)
columns = {"expert_columns": [[0], [1]], "gate_columns": [2, 3]}

# %%
# Four repairs
# ------------

from sk_arcal import (
    AdversarialReweightCalibrator,
    ExpertTemperatureScaler,
    NWConditionalCalibrator,
    TemperatureScaler,
)

repairs = {
    "one temperature": TemperatureScaler(confidence_columns=0),
    "expert temperatures": ExpertTemperatureScaler(**columns),
    "adversarial": AdversarialReweightCalibrator(**columns),
    "routing kernel": NWConditionalCalibrator(confidence_columns=0, routing_columns=[2]),
}
for repair in repairs.values():
    repair.fit(X, y)

# %%
# Shift the prevalence of the configurations
# ------------------------------------------
# No new inputs, no new outputs: only the share of rows in which the gate is undecided changes. The
# true rate goes from 0.7 to 0.9, and a calibrator that cannot tell the configurations apart says
# 0.8 throughout.

shares = np.linspace(0, 1, 9)
errors = {name: [] for name in repairs}
for share in shares:
    X_new, y_new, _ = draw(40_000, share)
    for name, repair in repairs.items():
        said = repair.predict_proba(X_new)[:, 1]
        errors[name].append(expected_calibration_error(y_new, said))

# %%
import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
styles = ("-", "--", "-", "--")
for (name, line), style in zip(errors.items(), styles, strict=True):
    ax.plot(shares, line, style, marker="o", markersize=4, label=name)
ax.axvline(0.5, color="black", linewidth=0.8)
ax.annotate("as fitted", (0.5, 0.078), xytext=(4, 0), textcoords="offset points")
ax.set(xlabel="share of rows with an undecided gate", ylabel="ECE", ylim=(0, 0.105))
ax.legend(loc="upper center", ncols=2)

# %%
# In words
# --------

worst = {name: max(line) for name, line in errors.items()}
print(
    f"On the rows as fitted one temperature reads an ECE of {errors['one temperature'][4]:.3f}; "
    f"under the worst shift {worst['one temperature']:.3f}. A temperature for every expert does "
    f"not help ({worst['expert temperatures']:.3f}), because the fault lies in the mixing. A map "
    f"that sees the gates keeps the worst case at {worst['adversarial']:.3f} (adversarial) and "
    f"{worst['routing kernel']:.3f} (kernel)."
)
