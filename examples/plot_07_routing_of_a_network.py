"""
Routing out of a network
========================

You will learn how a PyTorch network becomes columns of confidence and routing, how to look at its
routing, and how to search over a whole pipeline without forwarding a row twice.
"""

# %%
# A network with attention residuals
# ----------------------------------
# Each layer of this small vision transformer reads a mixture of all earlier layers, and the weights
# of the mixture are its routing. It is trained on few images for long enough to be too sure of
# itself. Any PyTorch module would do: see the user guide for what is read.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_arcal.models import VisionTransformerClassifier

X, y = load_digits(return_X_y=True)
images = X.reshape(-1, 8, 8)
X_train, X_rest, y_train, y_rest = train_test_split(
    images, y, train_size=300, stratify=y, random_state=0
)
network = VisionTransformerClassifier(
    patch_size=2, width=32, depth=4, max_epochs=80, learning_rate=0.01, random_state=0
)
network.fit(X_train, y_train)

# %%
# Columns
# -------
# The backbone holds the network so that scikit-learn neither copies nor sends it. The extractor
# forwards every row once and names the columns; every calibrator understands the names.

import tempfile

from sk_arcal import Backbone, RoutingFeatureExtractor

cache = tempfile.TemporaryDirectory()
extractor = RoutingFeatureExtractor(Backbone(network.module_), cache=cache.name)
extractor.set_output(transform="pandas")
table = extractor.fit_transform(X_rest)
table.iloc[:3, 8:].round(2)

# %%
# Where does the network look?
# ----------------------------
# Entropy says how evenly a layer reads the earlier ones. Its number of sources grows with depth, so
# it is divided by its largest possible value.

import matplotlib.pyplot as plt
import numpy as np

from sk_arcal.feature_extraction import summarize_routing

profile = extractor.extract(X_rest).profile
entropy, names = summarize_routing(profile, "normalized_entropy")
low, middle, high = np.quantile(entropy, [0.05, 0.5, 0.95], axis=0)
depth = np.arange(1, len(names) + 1)

fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
axes[0].fill_between(depth, low, high, alpha=0.3, label="5 to 95 % of the images")
axes[0].plot(depth, middle, marker="o", label="median image")
axes[0].set(xlabel="read", ylabel="entropy / log(sources)")
axes[0].set_title("How evenly is depth read?")
axes[0].legend()
weights, mask = profile.padded()
shown = np.where(mask, weights.mean(axis=0), np.nan)
picture = axes[1].imshow(shown, cmap="viridis", vmin=0, aspect="auto")
axes[1].set(xlabel="source (0 is the embedding)", ylabel="read")
axes[1].set_title("Mean weight of each source")
_ = fig.colorbar(picture, ax=axes[1])

# %%
# A search over the whole pipeline
# --------------------------------
# Does routing help, and which summary of it? Both are parameters. The rows are in the cache, so the
# network is not run again, however many candidates there are.

from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_arcal import NWConditionalCalibrator
from sk_arcal.metrics import neg_log_loss_scorer

X_fit, X_test, y_fit, y_test = train_test_split(X_rest, y_rest, test_size=0.5, random_state=0)
pipeline = Pipeline(
    [
        ("extractor", extractor.set_params(on_miss="raise")),
        ("calibrator", NWConditionalCalibrator(bandwidth="scott")),
    ]
)
grid = {
    "extractor__summaries": ["auto", ["mean_max_weight"], ["mean_embedding_weight"]],
    "calibrator__routing_columns": [None, []],
}
search = GridSearchCV(pipeline, grid, cv=5, scoring=neg_log_loss_scorer).fit(X_fit, y_fit)

# %%
# In words
# --------

from sklearn.metrics import log_loss

from sk_arcal.metrics import top_label_calibration_error

raw = network.predict_proba(X_test)
calibrated = search.predict_proba(X_test)
used = "without routing" if search.best_params_["calibrator__routing_columns"] == [] else "with it"
print(
    f"The network is right on {np.mean(raw.argmax(axis=1) == y_test):.1%} of the test images and "
    f"says {raw.max(axis=1).mean():.1%}. Calibration takes its log loss from "
    f"{log_loss(y_test, raw):.3f} to {log_loss(y_test, calibrated):.3f} nats and its calibration "
    f"error from {top_label_calibration_error(y_test, raw):.1%} to "
    f"{top_label_calibration_error(y_test, calibrated):.1%}. The search chose a candidate {used}; "
    f"all {len(search.cv_results_['params'])} of them, in 5 folds, forwarded no row."
)
cache.cleanup()
