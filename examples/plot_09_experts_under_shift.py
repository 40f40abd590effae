"""
Experts under shift: see it, train for it, repair it
====================================================

You will learn how to ask a mixture of experts whether a shift would break its calibration, what
training against the worst weights buys and costs, and how to repair a network that is frozen.
"""

# %%
# A crowd that is harder to predict
# ---------------------------------
# In three rows of ten the outcome follows the columns only loosely. The first column tells which
# rows these are, though not with certainty. The shift: there will be more of them.

import numpy as np
from scipy.special import expit

from sk_arcal.metrics import expected_calibration_error


def draw(n, share_hard, seed):
    """Return columns, outcomes, and which rows are hard."""
    rng = np.random.default_rng(seed)
    is_hard = rng.random(n) < share_hard
    X = rng.normal(size=(n, 5))
    X[:, 0] = np.where(is_hard, 1, -1) + 0.8 * X[:, 0]
    truth = expit(np.where(is_hard, 0.7, 4) * X[:, 1] + 0.5 * X[:, 2])
    return X, (rng.random(n) < truth).astype(int), is_hard


X, y, _ = draw(1000, 0.3, seed=0)
X_calibrate, y_calibrate, _ = draw(2000, 0.3, seed=1)
X_test, y_test, is_hard = draw(10_000, 0.3, seed=2)

# %%
# Three objectives
# ----------------
# The plain mean, and the two objectives that are published for shifts: the worst weights of the
# rows of a mini-batch, over all rows, and over those whose routing matters.

from sk_arcal.models import MixtureOfExpertsClassifier

objectives = {
    "plain": {},
    "robust": {"objective": "softmax_weighted"},
    "robust, filtered": {"objective": "softmax_weighted", "relevance": "either"},
}
errors = {}
for name, changes in objectives.items():
    model = MixtureOfExpertsClassifier(random_state=0, **changes).fit(X, y)
    said = model.predict_proba(X_test)[:, 1]
    right = (said > 0.5) == y_test
    errors[name] = [
        expected_calibration_error(y_test[rows], said[rows]) for rows in (~is_hard, is_hard)
    ]
    easy, hard = errors[name]
    print(f"{name:17} accuracy {right.mean():.1%}, ECE on easy rows {easy:.1%}, on hard {hard:.1%}")

# %%
# What the mixture hides
# ----------------------
# Back to the plain mixture: its experts on the rows they are given, beside the mixture of them; how
# much the event rate varies between routing configurations of the same confidence; and the error if
# these came in the worst proportions. The configurations are found on other rows than those judged.

from sk_arcal.diagnostics import (
    configuration_collapse,
    expert_calibration,
    routing_configurations,
    worst_case_calibration_error,
)

plain = MixtureOfExpertsClassifier(random_state=0).fit(X, y)
gates, log_experts = plain.expert_scores(np.concatenate([X_calibrate, X_test]))
experts = np.exp(log_experts[:, :, 1])
judged = np.arange(len(gates)) >= len(X_calibrate)
codes = routing_configurations(experts, gates, fit_rows=~judged, random_state=0)[judged]
said = plain.predict_proba(X_test)[:, 1]

print(expert_calibration(y_test, experts[judged], gates[judged], random_state=0), end="\n\n")
print(configuration_collapse(y_test, said, codes), end="\n\n")
print(worst_case_calibration_error(y_test, said, codes, random_state=0))

# %%
# Repairs of the frozen network
# -----------------------------
# All are fitted on rows with the old share of hard ones. The columns have the names that
# calibrators understand.

import pandas as pd

from sk_arcal import (
    AdversarialReweightCalibrator,
    ExpertTemperatureScaler,
    MulticalibrationCalibrator,
    TemperatureScaler,
)

columns = pd.DataFrame(plain.expert_columns(X_calibrate))
mixture = ["logit__0", "logit__1"]
gate_columns = [name for name in columns if name.startswith("gate__")]
repairs = {
    "temperature": TemperatureScaler(confidence_columns=mixture, routing_columns=[]),
    "expert temperatures": ExpertTemperatureScaler(mixture_temperature=True),
    "adversarial": AdversarialReweightCalibrator(),
    "multicalibration": MulticalibrationCalibrator(
        confidence_columns=mixture, routing_columns=gate_columns
    ),
}
new_columns = pd.DataFrame(plain.expert_columns(X_test))
repaired = {"raw": said}
for name, repair in repairs.items():
    repaired[name] = repair.fit(columns, y_calibrate).predict_proba(new_columns)[:, 1]

# %%
# A shift that grows
# ------------------
# The share of hard rows goes from none to all, by weights on the test rows. Bands are intervals for
# the error without its bias; what a calibrated model would read is dashed.

import matplotlib.pyplot as plt

from sk_arcal.diagnostics import share_weights
from sk_arcal.displays import ShiftSweepDisplay

display = ShiftSweepDisplay.from_predictions(
    y_test,
    repaired,
    lambda share: share_weights(is_hard, [1 - share, share]),
    np.linspace(0, 1, 6),
    n_resamples=50,
    random_state=0,
    severity_name="share of hard rows",
)
plt.show()

# %%
# In words
# --------

table = display.frame()
at_end = table[table["severity"] == 1].set_index("model")["corrected"]
(plain_easy, plain_hard), (robust_easy, robust_hard), (filtered_easy, filtered_hard) = (
    errors.values()
)
print(
    f"The plain mixture is off by {plain_hard:.1%} on hard rows, the robust one by "
    f"{robust_hard:.1%}, the filtered one by {filtered_hard:.1%}. The price is paid on easy rows, "
    f"{robust_easy:.1%} and {filtered_easy:.1%} against {plain_easy:.1%}: modesty is all that "
    "losses can teach. Inside the plain mixture every expert is far off on its own rows and the "
    "mixture is not, so a temperature for every expert has nothing to mend. If all rows are hard, "
    f"the frozen network is off by {at_end['raw']:.1%}, by {at_end['temperature']:.1%} after one "
    f"temperature, {at_end['expert temperatures']:.1%} after a temperature for every expert, "
    f"{at_end['adversarial']:.1%} after the adversarial calibrator and "
    f"{at_end['multicalibration']:.1%} after multicalibration: here one temperature buys nearly "
    "all of it, as the gates hardly tell hard rows from easy ones better than the confidence does."
)
