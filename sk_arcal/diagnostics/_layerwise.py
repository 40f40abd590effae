"""Accuracy, confidence and calibration of every layer of a network."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_number,
    import_optional,
)
from sk_arcal.diagnostics._depth._layer_error import layer_errors, wilson
from sk_arcal.diagnostics._depth._layer_rows import LayerRows, read_rows
from sk_arcal.metrics._results import as_text

_SHOWN = ("accuracy", "confidence", "ece", "ece_floor", "ece_corrected", "ece_low", "ece_high")


@dataclass(frozen=True, eq=False, repr=False)
class LayerwiseCalibration:
    """Calibration of every layer of a network, and the rows behind it.

    Returned by :func:`layerwise_calibration`. Printing it shows the layers.

    Attributes
    ----------
    layers : tuple
        Names of the layers, the first one first.
    table : dict of str to ndarray of shape (n_layers,)
        `layer`; `accuracy` with `accuracy_low` and `accuracy_high` (Wilson); `confidence` (its
        mean); `ece` (expected calibration error), `ece_floor` (its mean for a calibrated layer of
        the same confidences), `ece_corrected` (less its bias) with `ece_low` and `ece_high`;
        `maximum_error` (largest gap of a bin); `log_loss` (nats); `brier`.
    event : ndarray of bool of shape (n_samples, n_layers)
        Whether the event came: the most probable class of the layer is right or, with two
        classes or one event, the latter class came, which is the same in every layer.
    confidence : ndarray of float32 of shape (n_samples, n_layers)
        Probability that the layer gives the event.
    row_log_loss, row_brier : ndarray of float32 of shape (n_samples, n_layers)
        Log loss, nats, and Brier score of every row.
    one_event : bool
        Whether the event is one of the data, not that a prediction is right.
    n_bins : int
        Equal-width confidence bins.
    level : float
        Coverage of the intervals.
    """

    layers: tuple[Any, ...]
    table: dict[str, NDArray[Any]]
    event: NDArray[np.bool_] = field(repr=False)
    confidence: NDArray[np.float32] = field(repr=False)
    row_log_loss: NDArray[np.float32] = field(repr=False)
    row_brier: NDArray[np.float32] = field(repr=False)
    one_event: bool
    n_bins: int
    level: float

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class of each layer is right.

        Returns
        -------
        right : ndarray of bool of shape (n_samples, n_layers)
            Equal to `event`, except where that is one of the data.
        """
        return _right(self.event, self.confidence, self.one_event)

    def to_frame(self) -> Any:
        """Return the table as a pandas DataFrame.

        Returns
        -------
        frame : pandas.DataFrame
            One row per layer.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        caller = "LayerwiseCalibration.to_frame"
        return import_optional("pandas", extra="report", caller=caller).DataFrame(self.table)

    def __repr__(self) -> str:
        shown = {name: self.table[name] for name in ("layer", *_SHOWN, "maximum_error", "log_loss")}
        n_rows, n_layers = self.event.shape
        head = f"LayerwiseCalibration: {n_layers} layers, {n_rows} rows, {self.n_bins} bins"
        return f"{head}\n{as_text(shown)}"


def layerwise_calibration(
    y_true: ArrayLike | None,
    layer_scores: Any,
    *,
    score_kind: str = "auto",
    labels: ArrayLike | None = None,
    layers: Any = None,
    n_bins: int = 15,
    level: float = 0.95,
    n_resamples: int = 200,
    random_state: object = None,
    n_jobs: int | None = None,
) -> LayerwiseCalibration:
    r"""Measure accuracy and calibration after every layer.

    A network read out before its end has predictions too: through its own output head (the logit
    lens), through probes, or through the stages of boosting. Each layer is judged by its own
    prediction.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or None
        True labels; 0 and 1 where scores are of one event. None if `layer_scores` yields them.
    layer_scores : array-like, mapping, sequence or iterator
        Scores of the layers on the same rows: an array of shape (n_samples, n_layers, n_classes),
        or (n_samples, n_layers) for one event; or one array per layer, of shape (n_samples,
        n_classes) or (n_samples,), in a mapping by name or in order, such as
        `staged_predict_proba` yields; or a reading with `scores` and `layers`. With `y_true` None,
        an iterator of chunks of rows, each a pair (y_true, layer_scores) of these. Of a chunk 13
        bytes a row and layer are kept.
    score_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the scores, the same in all layers. "auto" takes probabilities if all numbers (of
        the first chunk) lie in [0, 1] and the classes of a row sum to one.
    labels : array-like of shape (n_classes,), default=None
        The class of every column; None means the sorted labels of `y_true` (of the first chunk).
    layers : sequence of length n_layers, default=None
        Names of the layers; None takes those found, or counts from 0.
    n_bins : int, default=15
        Equal-width confidence bins of the calibration errors, at least 1.
    level : float, default=0.95
        Coverage of the intervals, in (0, 1).
    n_resamples : int, default=200
        Samples behind every floor and interval up to 20 000 rows, at least 2. With more rows
        their normal limits are used.
    random_state : int, RandomState, Generator or None, default=None
        Source of the samples.
    n_jobs : int, default=None
        Number of joblib workers over layers; the result does not depend on it.

    Returns
    -------
    result : LayerwiseCalibration
        The table of the layers, and event and confidence of every row and layer.

    Raises
    ------
    ValueError
        If there are fewer than two rows, shapes or layers do not fit each other, a value is not
        finite or out of range, or a label is unknown.
    TypeError
        If an array does not hold numbers, a count is not an integer, or `layer_scores` is of no
        kind above.

    See Also
    --------
    calibration_phases : Finds plateau, peak and correction.
    probe_layers : Scores of layers that have none, from their hidden states.
    checkpoint_profile : The same over training instead of depth.

    Notes
    -----
    With more than two classes the event is that the layer's own most probable class is right, and
    the confidence its probability. With two classes, or with one event, the event is that the
    latter class came; accuracy is then that of the more probable class. Floor, correction and
    interval are those of :func:`sk_arcal.metrics.noise_floor` and
    :func:`sk_arcal.metrics.calibration_error_interval`; the maximum error leaves bins of fewer
    than five rows out, unless all are. The Brier score is the sum over classes, halved for two.
    Confidences are kept in float32, so that one exactly on the edge of a bin may change sides.

    References
    ----------
    .. [1] A. Joshi, A. Ahmad and A. Modi. "Calibration Across Layers: Understanding Calibration
       Evolution in LLMs". EMNLP 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import layerwise_calibration
    >>> rng = np.random.default_rng(0)
    >>> logits = rng.normal(size=(1000, 4))
    >>> y_true = (logits + rng.gumbel(size=(1000, 4))).argmax(axis=1)
    >>> layer_scores = np.stack([0 * logits, 3 * logits, logits], axis=1)
    >>> result = layerwise_calibration(
    ...     y_true, layer_scores, layers=["input", "middle", "end"], random_state=0
    ... )
    >>> result.table["layer"][result.table["ece"].argmax()].item()
    'middle'
    """
    settings: dict[str, Any] = {
        "n_bins": check_integer("n_bins", n_bins, low=1),
        "level": check_number("level", level, low=0, high=1, strict=True),
        "n_resamples": check_integer("n_resamples", n_resamples, low=2),
    }
    rng = as_generator(random_state)
    depth = read_rows(y_true, layer_scores, score_kind, labels, layers)
    rows = depth.rows
    if len(rows.event) < 2:
        raise ValueError("`y_true` holds one row; an interval needs at least two.")
    children = rng.spawn(len(depth.layers))
    errors = Parallel(n_jobs=n_jobs)(
        delayed(_errors)(rows.event[:, layer], rows.confidence[:, layer], child, **settings)
        for layer, child in enumerate(children)
    )
    columns = {name: np.array([error[name] for error in errors]) for name in errors[0]}
    return LayerwiseCalibration(
        layers=depth.layers,
        table={"layer": _name_column(depth.layers)}
        | _means(rows, depth.one_event, settings["level"], columns),
        event=rows.event,
        confidence=rows.confidence,
        row_log_loss=rows.log_loss,
        row_brier=rows.brier,
        one_event=depth.one_event,
        n_bins=settings["n_bins"],
        level=settings["level"],
    )


def _errors(
    event: NDArray[np.bool_],
    confidence: NDArray[np.float32],
    rng: np.random.Generator,
    **settings: Any,
) -> dict[str, float]:
    return layer_errors(event.astype(np.float64), confidence.astype(np.float64), rng, **settings)


def _means(
    rows: LayerRows, one_event: bool, level: float, errors: dict[str, FloatArray]
) -> dict[str, FloatArray]:
    """Return the columns of numbers in their order."""
    n_rows = len(rows.event)
    hits = _right(rows.event, rows.confidence, one_event).sum(axis=0).astype(np.float64)
    low, high = wilson(hits, n_rows, level)
    # float32 would lose digits in sums over many rows.
    confidence, log_loss, brier = (
        values.mean(axis=0, dtype=np.float64)
        for values in (rows.confidence, rows.log_loss, rows.brier)
    )
    return {
        "accuracy": hits / n_rows,
        "accuracy_low": low,
        "accuracy_high": high,
        "confidence": confidence,
        **errors,
        "log_loss": log_loss,
        "brier": brier,
    }


def _right(
    event: NDArray[np.bool_], confidence: NDArray[np.float32], one_event: bool
) -> NDArray[np.bool_]:
    return (confidence > 0.5) == event if one_event else event


def _name_column(layers: tuple[Any, ...]) -> NDArray[Any]:
    """Return the names as a column, mixed ones as they are."""
    column = np.empty(len(layers), dtype=object)
    column[:] = layers
    same = len({type(name) for name in layers}) == 1 and isinstance(layers[0], (str, int))
    return np.array(layers) if same else column
