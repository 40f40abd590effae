"""How the prediction of a row came about over depth, as columns for the audit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from sk_arcal._numeric import row_blocks
from sk_arcal._validation import FloatArray
from sk_arcal.diagnostics._depth._layer_scores import (
    LayerProbabilities,
    read_layer,
    resolve_kind,
    split_layers,
)


def layer_features(
    layer_scores: Any, *, score_kind: str = "auto", prefix: str = ""
) -> dict[str, FloatArray]:
    r"""Describe how the prediction of every row settled over the layers of a network.

    The columns need no labels. They are what the depth may know beyond the final confidence, in
    the form that the tests and the audit take as `routing`.

    Parameters
    ----------
    layer_scores : array-like, mapping, sequence or iterable
        Scores of the layers on the same rows, as in :func:`layerwise_calibration`; two layers at
        least, the last being the network's own output. Chunks can be described one by one.
    score_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the scores, the same in all layers.
    prefix : str, default=""
        Put before every name.

    Returns
    -------
    features : dict of str to ndarray of shape (n_samples,)
        The columns below, finite, in float64.

    Raises
    ------
    ValueError
        If there are fewer than two layers, shapes do not fit each other, or a value is not finite
        or out of range.
    TypeError
        If an array does not hold numbers, `prefix` is no string, or `layer_scores` is of no kind
        that is known.

    See Also
    --------
    conditional_calibration_tests : Takes the columns as `routing`.
    sk_arcal.audit.routing_audit : So does the audit.
    layerwise_calibration : The layers on average.

    Notes
    -----
    With layers 0 to L, class probabilities :math:`p_l`, the final class
    :math:`k = \arg\max p_L`, and :math:`q_l = p_l(k)`, the layer's confidence in it:

    - ``settling_depth``: the least l, over L, such that :math:`\arg\max p_j = k` for all
      :math:`j \ge l`. In [0, 1].
    - ``confidence_settling_depth``: the least l, over L, such that :math:`q_j > q_L / 2` for all
      :math:`j \ge l`. In [0, 1].
    - ``mean_layer_confidence``: the mean of :math:`\max p_l` over the layers.
    - ``confidence_variance``: the variance of :math:`q_l` over the layers.
    - ``last_correction``: :math:`q_L - \max_{l < L} q_l`, negative where the end takes back
      confidence that was there.
    - ``n_flips``: the number of :math:`l \ge 1` with
      :math:`\arg\max p_l \ne \arg\max p_{l-1}`.
    - ``mean_disagreement``: the mean over :math:`l < L` of the total variation
      :math:`\tfrac12 \sum_c |p_l(c) - p_L(c)|`. In [0, 1].
    - ``mean_divergence``: the mean over :math:`l < L` of
      :math:`\mathrm{KL}(p_L \,\|\, p_l)`, nats. Given as probabilities, a zero is taken for
      2.2e-16.
    - ``entropy_slope``: the least-squares slope of the entropy of :math:`p_l`, nats, on l / L.

    Of equal largest probabilities the first counts. Scores of one event are read as two classes.

    Examples
    --------
    >>> from sk_arcal.diagnostics import layer_features
    >>> early, middle, late = [[0.6, 0.4]], [[0.1, 0.9]], [[0.3, 0.7]]
    >>> features = layer_features([early, middle, late])
    >>> features["settling_depth"], features["last_correction"].round(4), features["n_flips"]
    (array([0.5]), array([-0.2]), array([1.]))
    """
    if not isinstance(prefix, str):
        raise TypeError(f"`prefix` must be a string; got {type(prefix).__name__}.")
    names, scores = split_layers(layer_scores)
    if len(scores) < 2:
        raise ValueError("`layer_scores` holds one layer; features over depth need at least two.")
    kind = resolve_kind(score_kind, scores)
    last = read_layer(scores[-1], kind, _name(names[-1]), n_samples=None, n_classes=None)
    n_samples, n_classes = last.probability.shape
    path = _Path(last, len(scores))
    for place, (name, one) in enumerate(zip(names, scores, strict=True)):
        layer = read_layer(one, kind, _name(name), n_samples=n_samples, n_classes=n_classes)
        path.read(place, layer)
    return {prefix + name: column for name, column in path.columns().items()}


def _name(layer: object) -> str:
    return f"layer_scores[{layer!r}]"


class _Path:
    """What each layer says of every row in a few numbers, arrays (n_samples, n_layers)."""

    def __init__(self, last: LayerProbabilities, n_layers: int) -> None:
        self.last = last
        self.final = last.probability.argmax(axis=1)
        shape = (len(self.final), n_layers)
        self.top = np.empty(shape, dtype=np.intp)
        self.confidence, self.own, self.entropy = (np.empty(shape) for _ in range(3))
        self.distance, self.divergence = (np.empty(shape) for _ in range(2))

    def read(self, place: int, layer: LayerProbabilities) -> None:
        """Note what the layer at this place says."""
        p, rows = layer.probability, np.arange(len(self.final))
        self.top[:, place] = p.argmax(axis=1)
        self.confidence[:, place] = p.max(axis=1)
        self.own[:, place] = p[rows, self.final]
        for block in row_blocks(*p.shape):
            final = self.last.probability[block]
            logs = self.last.log_probability[block] - layer.log_probability[block]
            self.entropy[block, place] = entr(p[block]).sum(axis=1)
            self.distance[block, place] = np.abs(p[block] - final).sum(axis=1) / 2
            self.divergence[block, place] = np.maximum((final * logs).sum(axis=1), 0)

    def columns(self) -> dict[str, FloatArray]:
        """Return the features."""
        depth = np.linspace(0, 1, self.top.shape[1])
        away = depth - depth.mean()
        columns: Sequence[tuple[str, NDArray[Any]]] = (
            ("settling_depth", depth[_settled(self.top == self.final[:, None])]),
            ("confidence_settling_depth", depth[_settled(self.own > self.own[:, -1:] / 2)]),
            ("mean_layer_confidence", self.confidence.mean(axis=1)),
            ("confidence_variance", self.own.var(axis=1)),
            ("last_correction", self.own[:, -1] - self.own[:, :-1].max(axis=1)),
            ("n_flips", (self.top[:, 1:] != self.top[:, :-1]).sum(axis=1)),
            ("mean_disagreement", self.distance[:, :-1].mean(axis=1)),
            ("mean_divergence", self.divergence[:, :-1].mean(axis=1)),
            ("entropy_slope", self.entropy @ away / (away @ away)),
        )
        return {name: column.astype(np.float64) for name, column in columns}


def _settled(holds: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the first layer from which something holds to the end; it holds at the end."""
    broken = ~holds[:, ::-1]
    after = np.where(broken.any(axis=1), broken.argmax(axis=1), holds.shape[1])
    return np.asarray(holds.shape[1] - after, dtype=np.intp)
