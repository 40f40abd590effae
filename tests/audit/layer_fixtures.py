"""Networks whose layers are known, and an audit of the layers without the dearer rest."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from sk_arcal.audit import PredictionTable, routing_audit
from sk_arcal.audit._features import Plan
from sk_arcal.audit._layers import audit_layers
from sk_arcal.audit._layers_rows import LayerRows

VERDICTS = ("signal", "no signal", "no signal", "cannot tell")


def corrected(n=1200, n_classes=4, seed=0, n_layers=6):
    """Return labels and logits of layers: accuracy from layer 2 on, sharp to the last but one."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, n_classes))
    y = (logits + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    noise = rng.normal(size=(n, n_classes))
    middle = np.linspace(2.5, 3.5, n_layers - 3)
    layers = [noise, noise + logits / 3, *(sharp * logits for sharp in middle), logits]
    return y, np.stack(layers, axis=1)


def layers_of(table, n_jobs=None):
    """Audit the layers alone; the verdicts on features of depth are made up."""
    depth = LayerRows.of(table)
    verdicts = [VERDICTS[i % len(VERDICTS)] for i in range(len(depth.features))]
    features = {
        name: SimpleNamespace(verdict=verdict)
        for name, verdict in zip(depth.features, verdicts, strict=True)
    }
    plan = Plan(0.05, 0.05, 49, 1, "candidates", n_jobs)
    return audit_layers(depth, features, plan, np.random.default_rng(0))


def audit_with_layers(y, layer_scores, **options):
    """Return a whole audit, of which only the layers know of layers."""
    table = PredictionTable.from_arrays(y, layer_scores=layer_scores, **options)
    event = table.event.astype(int)
    plain = routing_audit(event, confidence=table.confidence, n_resamples=19, random_state=0)
    return replace(plain, layers=layers_of(table))
