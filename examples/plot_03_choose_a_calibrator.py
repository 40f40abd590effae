"""
Choose a calibrator, and check the choice
=========================================

You will learn to put all calibrators in one cross-validated search, to choose one by a proper
score, and to check the choice on rows that neither the fit nor the search has seen.
"""

# %%
# Two data sets
# -------------
# Both models are overconfident. In the first the routing feature says nothing beyond the
# confidence; in the second the event is likelier where the feature is in the middle of its range,
# which no straight line can follow. A second feature is noise in both.

import numpy as np

from sk_arcal.datasets import make_routing_data


def columns_of(data):
    """Return confidence and routing columns as one matrix."""
    return np.column_stack([data.confidence, data.routing])


sets = {
    effect: make_routing_data(
        8000, effect=effect, strength=0.15, n_noise_features=1, random_state=3
    )
    for effect in ("none", "u_shape")
}
fit, test = np.arange(8000) < 4000, np.arange(8000) >= 4000

# %%
# One search over everything
# --------------------------
# A calibrator is a step like any other, so the choice of the calibrator is a parameter, and so is
# the choice of its routing columns. Each entry of the grid is a full method; the score is the log
# loss, because the calibration error alone rewards a model that says the same for all rows.

from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_arcal import (
    AdversarialReweightCalibrator,
    CapacityMatchedMLP,
    NWConditionalCalibrator,
    StructuredScaler,
    TemperatureScaler,
)
from sk_arcal.metrics import neg_log_loss_scorer

candidates = [
    TemperatureScaler(confidence_columns=0),
    StructuredScaler(confidence_columns=0),
    NWConditionalCalibrator(confidence_columns=0),
    AdversarialReweightCalibrator(confidence_columns=0),
    CapacityMatchedMLP(confidence_columns=0, random_state=0),
]
search = GridSearchCV(
    Pipeline([("calibrator", TemperatureScaler())]),
    [
        {"calibrator": candidates[:1]},
        {"calibrator": candidates[1:], "calibrator__routing_columns": [[], [1, 2]]},
    ],
    scoring=neg_log_loss_scorer,
    cv=3,
    refit=False,
)
tables = {name: search.fit(columns_of(s)[fit], s.y[fit]).cv_results_ for name, s in sets.items()}

# %%
# The score of a fold is a noisy number. Read the gain over the plain temperature, not the rank.

for name, table in tables.items():
    print(f"routing effect: {name}")
    loss = -table["mean_test_score"]
    for parameters, value in zip(table["params"], loss, strict=True):
        routing = parameters.get("calibrator__routing_columns", [])
        method = type(parameters["calibrator"]).__name__
        print(f"  {method:30} routing {routing!s:7} gain {1e3 * (loss[0] - value):+6.2f} mnat")

# %%
# Check the choice where nothing was chosen
# -----------------------------------------
# The best of nine is flattered by having been chosen. The held-out rows give the gain of the
# winner over the temperature with a standard error, by the difference of the two losses row by row.

from sklearn.base import clone


def row_losses(calibrator, data):
    """Return the log loss of every held-out row."""
    X = columns_of(data)
    proba = calibrator.fit(X[fit], data.y[fit]).predict_proba(X[test])
    return -np.log(proba[np.arange(len(proba)), data.y[test]])


gains = {}
for name, data in sets.items():
    best = tables[name]["params"][int(np.argmax(tables[name]["mean_test_score"]))]
    winner = clone(best["calibrator"]).set_params(
        routing_columns=best.get("calibrator__routing_columns", [])
    )
    paired = row_losses(clone(candidates[0]), data) - row_losses(winner, data)
    gains[name] = winner, 1e3 * paired.mean(), 1e3 * paired.std() / np.sqrt(len(paired))

# %%
# The gains of all candidates with and without routing, from the search (bars), and that of the
# winner on held-out rows (line with its 95 % interval).

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharey=True)
for ax, (name, table) in zip(axes, tables.items(), strict=True):
    loss = -table["mean_test_score"]
    labels = [
        type(p["calibrator"]).__name__
        + (" + routing" if p.get("calibrator__routing_columns") else "")
        for p in table["params"]
    ]
    ax.barh(labels, 1e3 * (loss[0] - loss), color="tab:blue", alpha=0.75)
    _, gain, error = gains[name]
    ax.axvspan(gain - 1.96 * error, gain + 1.96 * error, color="tab:orange", alpha=0.25, zorder=0)
    ax.axvline(gain, color="tab:orange", label="winner on held-out rows")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(title=f"routing effect: {name}", xlabel="gain over one temperature, 10⁻³ nats")
    ax.legend(loc="lower right")

# %%
# In words
# --------

for name, (winner, gain, error) in gains.items():
    sure = "beyond" if gain > 1.96 * error else "not beyond"
    print(
        f"Routing effect {name}: the search took {type(winner).__name__} with routing columns "
        f"{winner.routing_columns}. On held-out rows it gains {gain:.1f} ± {error:.1f} "
        f"thousandths of a nat over one temperature, {sure} what chance gives."
    )
