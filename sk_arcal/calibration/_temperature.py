"""Temperature scaling: one number for the whole network."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sk_arcal._columns import Selector
from sk_arcal._numeric import take_columns, tempered_softmax
from sk_arcal._validation import FloatArray, check_integer
from sk_arcal.calibration._temperature_stream import StreamedTemperature
from sk_arcal.calibration._tempering import (
    check_temperature_bounds,
    fit_temperature,
    warn_at_bound,
)


class TemperatureScaler(StreamedTemperature):
    r"""Divide all logits by one temperature.

    The simplest calibrator that works for networks: it cannot change which class is most
    probable, and with one parameter it cannot overfit. It corrects confidence on average, not
    for groups of rows; whether routing could do better is what
    :func:`~sk_arcal.diagnostics.conditional_calibration_test` asks.

    Parameters
    ----------
    confidence_columns : int, str, list, slice, mask or callable, default=None
        Columns of X that hold the confidence: one for the score of an event, or one per class.
        By default columns named ``logit__<class>`` or ``proba__<class>``; without such names the
        first column with two classes, the first K with K > 2.
    routing_columns : int, str, list, slice, mask or callable, default=None
        Routing columns; by default all that are left. Temperature scaling does not use them,
        but they may be there, so that calibrators can be swapped in a pipeline.
    confidence_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the confidence columns. "auto" decides once, in `fit`: probabilities if all
        lie in [0, 1] and, with several columns, sum to one. Pass logits where you can;
        probabilities that round to 0 or 1 have lost what a temperature needs, and are read as
        half the smallest one that did not.
    classes : array-like of shape (n_classes,), default=None
        The class each confidence column stands for, when y may lack one; for a single column
        ``[no_event, event]``.
    bounds : tuple of float, default=(1e-3, 1e3)
        Smallest and largest temperature considered.
    max_iter : int, default=100
        Largest number of passes over the data.

    Attributes
    ----------
    temperature_ : float
        T. Above 1 the confidence was too high, below 1 too low.
    loss_ : float
        Mean log loss on the data of `fit` at T, nats.
    n_iter_ : int
        Passes over all rows; those over a share of them at the start are not counted.
    n_samples_seen_ : int
        Rows of positive weight that `partial_fit` has seen; only there after it.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    column_roles_ : ColumnRoles
        Positions of the confidence and routing columns.
    confidence_kind_ : str
        "logit" or "probability", as decided in `fit`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where X had any.

    Raises
    ------
    ValueError
        From `fit`, if the data or a parameter cannot be used.
    TypeError
        From `fit`, if a parameter has the wrong kind.

    See Also
    --------
    NWConditionalCalibrator : Kernel correction by confidence and routing.

    Notes
    -----
    The weighted log loss is convex in :math:`\beta = 1/T`. The fit solves it on every 64th and
    every 8th row first, which leaves one or two passes over all of them: each gives the loss and
    its derivatives, and the step to the root of their Taylor polynomial, kept inside a bracket.
    From about a million logits on the exponentials are float32 and the totals float64; the
    temperature is then right to 1e-6, else to 1e-10. Logits are not copied, whatever their
    precision. A temperature at a bound warns with the usual causes.

    Rows that do not fit into memory, or come from several machines, go to `partial_fit`.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger. "On Calibration of Modern Neural
       Networks". ICML 2017. Section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import TemperatureScaler
    >>> rng = np.random.default_rng(0)
    >>> log_odds = rng.normal(size=2000)
    >>> y = rng.random(2000) < 1 / (1 + np.exp(-log_odds))
    >>> scaler = TemperatureScaler().fit(3 * log_odds[:, None], y)
    >>> round(scaler.temperature_, 1)
    3.0
    """

    def __init__(
        self,
        *,
        confidence_columns: Selector = None,
        routing_columns: Selector = None,
        confidence_kind: str = "auto",
        classes: ArrayLike | None = None,
        bounds: tuple[float, float] = (1e-3, 1e3),
        max_iter: int = 100,
    ) -> None:
        super().__init__(
            confidence_columns=confidence_columns,
            routing_columns=routing_columns,
            confidence_kind=confidence_kind,
            classes=classes,
        )
        self.bounds = bounds
        self.max_iter = max_iter

    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        bounds = check_temperature_bounds(self.bounds)
        max_iter = check_integer("max_iter", self.max_iter, low=1)
        fit = fit_temperature(logits, y, sample_weight, bounds=bounds, max_iter=max_iter)
        warn_at_bound(fit)
        if not fit.converged:
            warnings.warn(
                f"The temperature had not converged after {max_iter} passes; increase `max_iter`.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self._forget_stream()
        self.temperature_ = fit.temperature
        self.loss_ = fit.loss
        self.n_iter_ = fit.n_iter

    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        return np.divide(logits, self.temperature_, dtype=np.float64)

    def _write_probabilities(
        self, logits: FloatArray, routing: FloatArray, out: NDArray[np.floating]
    ) -> None:
        if logits.ndim == 1:
            super()._write_probabilities(logits, routing, out)
        else:
            tempered_softmax(logits, self.temperature_, out)

    def _split(self, X: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        # Nothing here writes to the logits and the routing is not read: no copies.
        confidence = take_columns(X, self.column_roles_.confidence)
        return self._by_class(self._scale.to_logits(confidence, copy=False)), X[:, :0]
