"""Kernel regression on confidence and routing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_arcal._columns import Selector
from sk_arcal._smoothing import ALGORITHMS
from sk_arcal._validation import FloatArray, check_integer, check_number, check_option
from sk_arcal.calibration._axes import ROUTING_AXES
from sk_arcal.calibration._kernel._anchor import anchor_temperature, event, top_confidence
from sk_arcal.calibration._kernel._bandwidth import check_bandwidth, select_setting
from sk_arcal.calibration._kernel._bandwidth_search import SHRINKAGES
from sk_arcal.calibration._kernel._fitted_kernel import FittedKernel, count_on_fit
from sk_arcal.calibration._kernel._kernel_axes import CONFIDENCE_AXES, KernelAxes
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut
from sk_arcal.calibration._kernel_stream import StreamedKernel
from sk_arcal.calibration._lift import LIFTS, lift_top_label

_WORDS = {
    "anchor": ("temperature", "identity", "none"),
    "confidence_axis": CONFIDENCE_AXES,
    "routing_axis": ROUTING_AXES,
    "lift": LIFTS,
    "algorithm": ALGORITHMS,
}


class NWConditionalCalibrator(StreamedKernel):
    r"""Correct the confidence by what happened at similar confidence and routing.

    Nadaraya-Watson regression on (confidence, routing columns), with any number of routing
    columns from none. The default scales by one temperature, smooths what is left, and uses
    routing only if that lowers the leave-one-out log loss by more than one and a half standard
    errors; it may also find that the confidence is best left alone (`selected_`).

    Use it with a few hundred calibration rows and more; below that :class:`TemperatureScaler` is as
    good and simpler. That routing is selected is no proof that it matters: now and then a useless
    column is picked (in 2 of 60 simulated data sets, ``benchmarks/kernel_calibrator.py``). Proof
    comes from :func:`~sk_arcal.diagnostics.conditional_calibration_test`.

    Parameters
    ----------
    confidence_columns : int, str, list, slice, mask or callable, default=None
        Columns of X that hold the confidence: one for the score of an event, or one per class.
        By default columns named ``logit__<class>`` or ``proba__<class>``; without such names the
        first column with two classes, the first K with K > 2.
    routing_columns : int, str, list, slice, mask or callable, default=None
        Routing columns; by default all that are left. ``[]`` gives a classical kernel calibrator
        on the confidence alone.
    confidence_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the confidence columns. "auto" decides once, in `fit`: probabilities if all
        lie in [0, 1] and, with several columns, sum to one.
    classes : array-like of shape (n_classes,), default=None
        The class each confidence column stands for, when y may lack one; for a single column
        ``[no_event, event]``.
    anchor : {"temperature", "identity", "none"}, default="temperature"
        What the kernel corrects: the confidence after one temperature, the confidence as it
        comes, or the event rate, i.e. outcomes are smoothed instead of residuals.
    confidence_axis : {"logit", "probability", "rank"}, default="logit"
        Scale on which confidences are near each other; logits beyond the probabilities 1e-4 and
        1 - 1e-4 count as equal.
    routing_axis : {"rank", "standardized"}, default="rank"
        The same for routing columns: the weighted rank in (0, 1), interpolated between the rows
        of `fit`, or standard deviations.
    bandwidth : "loo", "scott", float or sequence of float, default="loo"
        Standard deviation of the Gaussian kernel. "loo" searches by leave-one-out log loss.
        "scott" is :math:`\sigma_d n^{-1/(D+4)}`. Numbers are in units of the axes, one for all
        or one per axis, confidence first; ``np.inf`` ignores an axis.
    bandwidth_scale : float, default=1.0
        Multiplies every bandwidth, also the one a search has found, as in a sensitivity table.
    shrinkage : "loo" or float, default="loo"
        Pseudo-counts :math:`\lambda`: so many rows that agree with the anchor are added to
        every neighbourhood.
    lift : {"temperature", "proportional", "uniform"}, default="temperature"
        With K > 2 classes the kernel corrects the probability of the top class; how the others
        share the rest. "temperature" keeps the order of the classes.
    min_mass : float, default=5.0
        Rows with fewer neighbours than this (sum of kernel weights) keep the anchor. With
        ``anchor="none"`` they get the estimate from the confidence alone, then the event rate.
    n_standard_errors : float, default=1.5
        With ``bandwidth="loo"``: how many standard errors of the paired loss difference a kernel
        must gain over leaving the confidence alone, and routing over doing without; for the best
        of m routing columns :math:`\sqrt{1 + 2 \log m}` times as many. 0 takes the lowest loss.
    max_search_samples : int, default=5000
        With several routing columns, or ``algorithm="exact"``, the search uses at most so many
        rows, drawn without replacement, and scales what it finds by
        :math:`(n / n_{search})^{-1/(D+4)}`. With one or none it uses all rows: more than so many
        are counted in cells.
    algorithm : {"auto", "exact", "binned"}, default="auto"
        How kernel sums are computed: term by term, or through a grid, to which rows are carried by
        cubic splines. "auto" takes the grid where it is cheaper: from 1000 rows on, for kernels
        with up to four axes in use.
    random_state : int, RandomState, Generator or None, default=None
        Draws these rows; without effect on fewer rows.

    Attributes
    ----------
    selected_ : str
        "identity", "temperature", "confidence" or "routing", from leaving the confidence alone to
        using routing; "mean", the event rate, with ``anchor="none"`` only.
    bandwidth_ : ndarray of shape (1 + n_routing,)
        On each axis, confidence first; infinite where the axis is off.
    shrinkage_ : float
        Pseudo-counts; infinite if nothing is corrected.
    temperature_ : float
        T of the anchor; 1 unless ``anchor="temperature"``.
    search_ : dict of str to ndarray
        One line per setting tried: "candidate", "bandwidth", "shrinkage", "complexity" (effective
        number of parameters), "loss" (mean leave-one-out log loss of the event, nats) and
        "standard_error" (of the difference to the first line).
    n_fallback_ : int
        Rows of `fit` that keep the anchor for lack of neighbours.
    n_clipped_ : int
        Rows of `fit` with a calibrated confidence below 1/K, out of reach for
        ``lift="temperature"``.
    n_samples_seen_ : int
        Rows of positive weight that `partial_fit` has seen; only there after it.
    n_outside_ : int
        Those of them that lie beyond the grid of the first block and carry no weight; as above.
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
    TemperatureScaler : One temperature for all rows.

    Notes
    -----
    With the anchor :math:`p = \sigma(z/T)`, outcomes y and the product Gaussian kernel K,

    .. math:: q(x) = p(x) + \frac{\sum_j w_j K(x, x_j) (y_j - p_j)}
                                 {\sum_j w_j K(x, x_j) + \lambda},

    kept half a row away from 0 and 1. With more than two classes p is the top probability of
    softmax(z/T) and y tells whether the top class was right. A temperature at its lower bound
    (the confidence separates the outcomes perfectly) is not used as an anchor; T is 1 then.

    The routing-conditional probe of [1]_, plain kernel regression of outcomes on confidence and
    routing with k times Scott's rule, is the setting ``anchor="none", bandwidth="scott",
    bandwidth_scale=k, confidence_axis="probability", routing_axis="standardized", shrinkage=0.0,
    min_mass=0.0``. It has a bias near confidence 1 and no way to ignore a useless column.

    Through a grid, time and memory of `fit` and of a prediction grow linearly with the rows, and
    the model keeps the grid instead of the rows; `partial_fit` sums rows up on it block by block
    (see :ref:`scaling`). Probabilities differ from exact sums by less than 1e-4 (see
    :ref:`speed`). Exact sums take time that grows with the product of the rows of `fit` and of
    the rows predicted.

    References
    ----------
    .. [1] Y. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. The AR-CondCal probe.
    .. [2] E. A. Nadaraya. "On Estimating Regression". Theory of Probability and its
       Applications 9(1), 1964. Equation 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import NWConditionalCalibrator
    >>> rng = np.random.default_rng(0)
    >>> confidence, routing = rng.beta(6, 2, size=2000), rng.random(2000)
    >>> truth = np.clip(confidence + np.where(routing < 0.5, -0.1, 0.1), 0, 1)
    >>> y = rng.random(2000) < truth
    >>> X = np.column_stack([confidence, routing])
    >>> calibrator = NWConditionalCalibrator().fit(X, y)
    >>> calibrator.selected_
    'routing'
    >>> calibrator.predict_proba([[0.7, 0.2], [0.7, 0.8]])[:, 1].round(1)
    array([0.6, 0.8])
    """

    def __init__(
        self,
        *,
        confidence_columns: Selector = None,
        routing_columns: Selector = None,
        confidence_kind: str = "auto",
        classes: ArrayLike | None = None,
        anchor: str = "temperature",
        confidence_axis: str = "logit",
        routing_axis: str = "rank",
        bandwidth: str | float | Sequence[float] = "loo",
        bandwidth_scale: float = 1.0,
        shrinkage: str | float = "loo",
        lift: str = "temperature",
        min_mass: float = 5.0,
        n_standard_errors: float = 1.5,
        max_search_samples: int = 5000,
        algorithm: str = "auto",
        random_state: object = None,
    ) -> None:
        super().__init__(
            confidence_columns=confidence_columns,
            routing_columns=routing_columns,
            confidence_kind=confidence_kind,
            classes=classes,
        )
        self.anchor = anchor
        self.confidence_axis = confidence_axis
        self.routing_axis = routing_axis
        self.bandwidth = bandwidth
        self.bandwidth_scale = bandwidth_scale
        self.shrinkage = shrinkage
        self.lift = lift
        self.min_mass = min_mass
        self.n_standard_errors = n_standard_errors
        self.max_search_samples = max_search_samples
        self.algorithm = algorithm
        self.random_state = random_state

    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        axes, problem = self._learn_setting(logits, routing, y, sample_weight)
        setting = self.bandwidth_, self.shrinkage_
        self._forget_stream()
        self._kernel = FittedKernel.of(axes, problem, *setting)
        self.n_fallback_, self.n_clipped_ = count_on_fit(problem, *setting, logits[0].size)

    def _learn_setting(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> tuple[KernelAxes, LeaveOneOut]:
        self._check_options()
        bandwidth = check_bandwidth(self.bandwidth, 1 + routing.shape[1])
        self.temperature_ = 1.0
        if self.anchor == "temperature":
            self.temperature_ = anchor_temperature(logits, y, sample_weight)
        happened = event(logits, y)
        confidence = top_confidence(logits / self.temperature_)
        anchor = confidence
        if self.anchor == "none":
            anchor = np.full(len(happened), np.average(happened, weights=sample_weight))
        axes = KernelAxes(self.confidence_axis, self.routing_axis)
        axes.fit(confidence, routing, sample_weight)
        problem = LeaveOneOut(
            axes=axes.positions(confidence, routing),
            anchor=anchor,
            y=happened,
            sample_weight=sample_weight,
            min_mass=float(self.min_mass),
            anchored=self.anchor != "none",
            shrinkages=SHRINKAGES if self.shrinkage == "loo" else (float(self.shrinkage),),
            algorithm=self.algorithm,
        )
        chosen = select_setting(
            problem,
            self._alternatives(top_confidence(logits), anchor),
            bandwidth,
            scale=self.bandwidth_scale,
            n_standard_errors=self.n_standard_errors,
            max_samples=self.max_search_samples,
            random_state=self.random_state,
        )
        self.selected_, self.search_ = chosen.word, chosen.table
        self.bandwidth_, self.shrinkage_ = chosen.bandwidth, chosen.shrinkage
        return axes, problem

    def _check_options(self) -> None:
        for name, words in _WORDS.items():
            check_option(name, getattr(self, name), words)
        for name in ("min_mass", "n_standard_errors"):
            check_number(name, getattr(self, name), low=0.0)
        check_number("bandwidth_scale", self.bandwidth_scale, low=0.0, strict=True)
        check_integer("max_search_samples", self.max_search_samples, low=1)
        if isinstance(self.shrinkage, str):
            check_option("shrinkage", self.shrinkage, ("loo",))
        else:
            check_number("shrinkage", self.shrinkage, low=0.0)

    def _alternatives(self, incoming: FloatArray, anchor: FloatArray) -> dict[str, FloatArray]:
        """Event probabilities without a kernel, simplest first."""
        if self.anchor == "none":
            return {"mean": anchor}
        alone = {"identity": incoming}
        return alone if self.anchor == "identity" else {**alone, "temperature": anchor}

    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        if self.selected_ == "identity":
            return logits
        tempered = logits / self.temperature_
        if self.selected_ == "temperature":
            return tempered
        probability, is_anchor = self._kernel.estimate(top_confidence(tempered), routing)
        if logits.ndim == 1:
            corrected = np.log(probability) - np.log1p(-probability)
            return np.where(is_anchor, tempered, corrected)
        lifted, _ = lift_top_label(tempered, probability, self.lift)
        return np.where(is_anchor[:, None], tempered, lifted)

    def kernel_mass(self, X: ArrayLike) -> FloatArray:
        """Return how many rows of `fit`, or of a stream, a prediction rests on.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Columns as in `fit`.

        Returns
        -------
        mass : ndarray of shape (n_samples,)
            Sum of kernel weights, between 0 and the total weight of `fit`; below `min_mass` the
            row is not corrected.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the columns differ from those of `fit`, or a probability leaves [0, 1].
        """
        check_is_fitted(self)
        values: Any = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        logits, routing = self._split(values)
        return self._kernel.mass(top_confidence(logits / self.temperature_), routing)
