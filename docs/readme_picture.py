"""Draw the picture of the README: python docs/readme_picture.py."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from scipy.special import softmax

from sk_arcal.datasets import load_routing_demo
from sk_arcal.diagnostics import conditional_calibration_test
from sk_arcal.displays import RoutingGapDisplay

TARGET = Path(__file__).parent / "_static" / "readme.png"


def main() -> None:
    """Draw the gap at equal confidence for the demo's planted and null features."""
    data = load_routing_demo()
    confidence = softmax(data.logits, axis=1).max(axis=1)
    right = data.logits.argmax(axis=1) == data.y
    figure, axes = plt.subplots(
        2, 2, figsize=(10, 6.4), layout="constrained", width_ratios=(1, 1.6)
    )
    for row, name, values in zip(axes, data.feature_names, data.routing.T, strict=True):
        test = conditional_calibration_test(right, confidence, values, random_state=0)
        verdict = "signal" if test.pvalue <= 0.05 else "no signal"
        RoutingGapDisplay.from_predictions(
            right,
            confidence,
            values,
            random_state=0,
            ax=row,
            name=f"{name} (p = {test.pvalue:.2g})",
            verdict=verdict,
        )
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
