"""
One verdict over several seeds
==============================

You will learn why three seeds on one test set are not three experiments, to ask whether an effect
exists, whether some seed has it and whether it is stable, and to read the controls that a gain has
to survive.
"""

# %%
# Five seeds, one test set
# ------------------------
# All seeds fail on the same hard items, and route them alike. In the first architecture the routing
# says nothing beyond the confidence, in the second it does in every seed, in the third in one.

from sk_arcal.datasets import make_routing_runs

settings = {"n_samples": 2500, "n_runs": 5, "strength": 0.08, "shared": 0.6, "random_state": 4}
architectures = {
    "no effect": make_routing_runs(effect="none", **settings),
    "every seed": make_routing_runs(effect="step", **settings),
    "one seed": make_routing_runs(effect="step", n_affected=1, **settings),
}

# %%
# Three questions
# ---------------
# *Exists* pools all seeds item by item, and flips one coin an item for all of them. *Any run* asks
# whether some seed has a signal, *stable* whether a majority does.

from sk_arcal.diagnostics import conditional_calibration_runs

results = {
    name: conditional_calibration_runs(
        data.y, data.confidence, data.routing, feature_names=["depth"], random_state=0
    )
    for name, data in architectures.items()
}
for name, runs in results.items():
    found = runs.results["depth"]
    print(
        f"{name:12} exists p = {found.exists:.3f}   any run {found.any_run:.3f}   "
        f"stable {found.stable:.3f}   gap {found.gap:+.3f}"
    )

# %%
# Where every seed has the effect, the gaps of the runs point one way:

from sk_arcal.displays import RunsGapDisplay

_ = RunsGapDisplay.from_result(results["every seed"])

# %%
# and where one has it, its run stands alone:

_ = RunsGapDisplay.from_result(results["one seed"])

# %%
# What a gain has to survive
# --------------------------
# A small p-value is the first control. The matched probes ask for more: a kernel that may use the
# feature has to beat the same kernel on the confidence alone, and its shuffled twin must not.

from sk_arcal.diagnostics import matched_probes
from sk_arcal.displays import ProbeComparisonDisplay

data = architectures["every seed"]
probes = [
    matched_probes(y, c, {"depth": r}, n_shuffles=2, n_resamples=20, random_state=0)
    for y, c, r in zip(data.y[:3], data.confidence[:3], data.routing[:3], strict=True)
]
_ = ProbeComparisonDisplay.from_results(probes, names=["seed 0", "seed 1", "seed 2"])

# %%
# The gain must not hang on one bandwidth either:

from sk_arcal.diagnostics import bandwidth_sensitivity
from sk_arcal.displays import BandwidthSensitivityDisplay

sensitivity = bandwidth_sensitivity(
    data.y[0], data.confidence[0], data.routing[0], n_resamples=20, random_state=0
)
_ = BandwidthSensitivityDisplay.from_result(sensitivity)

# %%
# :func:`~sk_arcal.audit.audit_runs`, or ``sk-arcal audit seed_0.csv seed_1.csv seed_2.csv`` in the
# shell, runs all of this for every feature, and says *signal* only if nothing fails.

# %%
# How large a gap would have shown
# --------------------------------
# "No effect" is worth as much as the gap that these runs would have found.

from sk_arcal.displays import PowerCurveDisplay

_ = PowerCurveDisplay.from_result(results["no effect"], multiples=(1, 4))

# %%
# In words
# --------

none, every, one = (results[name].results["depth"] for name in architectures)
print(
    f"Without an effect the pooled test does not reject (p = {none.exists:.2f}), and a mean gap of "
    f"{none.min_detectable_gap:.1%} would probably have shown. An effect in every seed exists "
    f"(p = {every.exists:.3f}) and is stable (p = {every.stable:.3f}). In one seed of five it is "
    f"found by that seed (any run: p = {one.any_run:.3f}) but is not stable "
    f"(p = {one.stable:.2f}): no property of the architecture."
)
