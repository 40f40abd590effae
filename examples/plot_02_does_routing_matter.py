"""
Does the routing matter?
========================

You will learn to ask whether a routing feature says more than the confidence, to read an answer of
"no", and to see why comparing strata without matching the confidence misleads.
"""

# %%
# Two features that both look informative
# ---------------------------------------
# Both follow the confidence closely, as the entropy of a router usually does. In the first model
# that is all the feature does; in the second it knows a little more.

from sk_arcal.datasets import make_routing_data

settings = {"n_samples": 5000, "correlation": 0.8, "random_state": 3}
models = {
    "follows the confidence": make_routing_data(effect="none", **settings),
    "knows more": make_routing_data(effect="linear", strength=0.06, **settings),
}

# %%
# The naive look
# --------------
# Split the rows into thirds of the feature and compare how often the model is right. The gap is
# large in both models: it is mostly the confidence that differs between the thirds.

from sk_arcal.metrics import rank_groups

for name, data in models.items():
    thirds = rank_groups(data.routing[:, 0])
    low, high = (data.y[thirds == k].mean() for k in (0, 2))
    print(f"{name:24} right in the low third {low:.3f}, high third {high:.3f}")

# %%
# The matched look
# ----------------
# Among rows of *equal* confidence the picture is another one. The points are event rates by stratum
# of the feature less what rows of the same confidence achieve; the band is where all of them would
# lie if the routing said nothing more. First the feature that only follows the confidence:

from sk_arcal.displays import RoutingGapDisplay


def show(name):
    data = models[name]
    RoutingGapDisplay.from_predictions(
        data.y, data.confidence, data.routing[:, 0], name=name, random_state=0
    )


show("follows the confidence")

# %%
# and now the one that knows more:

show("knows more")

# %%
# The test
# --------
# The null hypothesis is that the event rate depends on the confidence only, whatever the
# calibration. Both models are overconfident; that alone must not make it reject.

from sk_arcal import conditional_calibration_test

results = {
    name: conditional_calibration_test(
        data.y, data.confidence, data.routing[:, 0], delta=0.06, random_state=0
    )
    for name, data in models.items()
}
for name, result in results.items():
    low, high = result.gap_interval
    print(
        f"{name:24} p = {result.pvalue:.3f}   gap {result.gap:+.3f} [{low:+.3f}, {high:+.3f}]   "
        f"detectable {result.min_detectable_gap:.3f}"
    )

# %%
# Fewer rows, fewer answers
# -------------------------
# The same model with a tenth of the rows. A large p-value is then not "no": the interval still
# holds gaps that matter, and the honest verdict is *cannot tell*.

few = make_routing_data(500, effect="none", correlation=0.8, random_state=3)
small = conditional_calibration_test(
    few.y, few.confidence, few.routing[:, 0], delta=0.06, random_state=0
)
print(f"p = {small.pvalue:.2f}, smaller than six points: {small.equivalent}")

# %%
# In words
# --------

null, real = results["follows the confidence"], results["knows more"]
print(
    f"Matched for confidence, the feature that only follows it shows a gap of {null.gap:+.1%} "
    f"(p = {null.pvalue:.2f}), and a gap of six points is "
    f"{'excluded' if null.equivalent else 'not excluded'}. The other one shows {real.gap:+.1%} "
    f"(p = {real.pvalue:.3f}). In 500 rows, only a gap of {small.min_detectable_gap:.1%} or more "
    "would probably have been found."
)
