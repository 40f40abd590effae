"""A small network on confidence and routing, and the controls its gain has to survive."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from sk_arcal._columns import Selector
from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_number,
    check_option,
)
from sk_arcal.calibration._base import BaseCalibrator
from sk_arcal.calibration._lift import LIFTS, lift_top_label
from sk_arcal.calibration._network._mlp_network import (
    InputScale,
    Network,
    count_parameters,
    matched_width,
)
from sk_arcal.calibration._network._mlp_rows import (
    LARGEST_OFFSET,
    DistinctRows,
    event_log_odds,
    orientation,
)
from sk_arcal.calibration._network._mlp_training import Rows, Schedule, train_and_judge
from sk_arcal.calibration._network._shuffled_profiles import ProfilePool
from sk_arcal.calibration._tempering import fit_temperature, warn_at_bound

_CONTROLS = ("confidence_only", "shuffled_routing")


class CapacityMatchedMLP(BaseCalibrator):
    r"""Correct the confidence by a small network on confidence and routing, or by its controls.

    One hidden layer models what has to be added to the log-odds of the event. The output layer
    starts at zero, so training starts from the confidence as it is; it stops early, and its
    result is used only if it beats doing nothing on rows held out.

    A wide routing profile makes a large network, which may win by bending the confidence alone.
    So compare it with its two controls, both of the same capacity: ``control="confidence_only"``
    and ``control="shuffled_routing"``. Routing matters if the network beats both. For a test
    with an error rate use :func:`~sk_arcal.diagnostics.conditional_calibration_test`; for few
    rows or one routing column use :class:`NWConditionalCalibrator`. Needs the extra "torch" in
    `fit`, not for prediction.

    Parameters
    ----------
    confidence_columns : int, str, list, slice, mask or callable, default=None
        Columns of X that hold the confidence: one for the score of an event, or one per class.
        By default columns named ``logit__<class>`` or ``proba__<class>``; without such names the
        first column with two classes, the first K with K > 2.
    routing_columns : int, str, list, slice, mask or callable, default=None
        Routing columns; by default all that are left. ``[]`` gives a network on the confidence
        alone, the same as ``control="confidence_only"``.
    confidence_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the confidence columns. "auto" decides once, in `fit`: probabilities if all
        lie in [0, 1] and, with several columns, sum to one.
    classes : array-like of shape (n_classes,), default=None
        The class each confidence column stands for, when y may lack one; for a single column
        ``[no_event, event]``.
    control : {None, "confidence_only", "shuffled_routing"}, default=None
        What the network reads: confidence and routing; the confidence only, with more hidden
        units; or the routing profiles of other rows of like confidence, in `fit` and in
        prediction.
    hidden_width : int, default=16
        Hidden units of the network on all columns of X. A network on fewer columns gets so many
        that its number of parameters is as near as can be, see `n_parameters_`.
    lift : {"temperature", "proportional", "uniform"}, default="temperature"
        With K > 2 classes the network corrects the probability of the top class; how the others
        share the rest. "temperature" keeps the order of the classes.
    weight_decay : float, default=0.1
        Decoupled weight decay of AdamW: per step the weights, not the biases, shrink by the
        share `learning_rate` * `weight_decay`.
    learning_rate : float, default=0.01
        Step size of AdamW.
    max_epochs : int, default=200
        Most passes over the training rows.
    batch_size : int, default=256
        Distinct rows per step.
    validation_fraction : float, default=0.3
        Share of the distinct rows that is held out to stop the training and to judge it.
    n_iter_no_change : int, default=20
        Epochs without a lower validation loss after which training stops.
    n_standard_errors : float, default=1.0
        How many standard errors of the paired loss difference the best epoch must gain, on the
        rows held out, over leaving the confidence alone.
    n_bins : int, default=15
        Confidence bins of ``control="shuffled_routing"``, of equal weight; fewer where a bin
        would hold less than ten distinct rows.
    device : str, default="cpu"
        Where torch trains, such as "cuda". Predictions are made in numpy.
    random_state : int, RandomState, Generator or None, default=None
        Initial weights, rows held out, mini-batches and shuffles.

    Attributes
    ----------
    coefs_ : tuple of ndarray
        Weights of shape (1 + n_routing, `hidden_width_`) and (`hidden_width_`, 1). Inputs are the
        standardised log-odds of the outcome more frequent in `fit`, then the routing columns,
        with weight 0 where they were constant.
    intercepts_ : tuple of ndarray
        Biases of shape (`hidden_width_`,) and (1,).
    hidden_width_ : int
        Hidden units.
    n_parameters_ : int
        Numbers in `coefs_` and `intercepts_`.
    n_iter_ : int
        Epochs run; 0 where there were too few rows to hold some out.
    best_iter_ : int
        Epoch whose weights are used; 0 leaves the confidence alone.
    validation_losses_ : ndarray of shape (1 + `n_iter_`,)
        Mean log loss on the rows held out, before training and after every epoch, nats. NaN if
        there were none.
    n_clipped_ : int
        Rows of `fit` with a calibrated confidence below 1/K, out of reach for
        ``lift="temperature"``.
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
        From `fit`, if the data or a parameter cannot be used, or the device is not there.
    TypeError
        From `fit`, if a parameter has the wrong kind.
    ImportError
        From `fit`, if torch or skorch are not installed.

    See Also
    --------
    NWConditionalCalibrator : Kernel correction by confidence and routing.

    Notes
    -----
    With log-odds z and inputs :math:`x = (\tilde z, \tilde r)`, the standardised log-odds and the
    ranks of the routing columns among the rows of `fit`, scaled to variance one,

    .. math:: P(\text{event}) = \sigma\big(z + v^\top \tanh(W^\top x + b) + a\big) .

    With more than two classes the event is that the top class is right, and z are its log-odds.
    The network on m routing columns has :math:`(m + 3) w + 1` parameters; with L the columns of X
    that hold no confidence, the width is :math:`w = [(L + 3) w_0 / (m + 3)]`, rounded, and
    :math:`w_0` the parameter `hidden_width`.

    Shuffled profiles in prediction are borrowed from rows of `fit`, by a hash of the row and not
    by a permutation of the batch, so that they do not depend on the other rows.

    Repeated rows and weights give the same fit, and so do reordered rows or columns. A fit with
    the same `random_state` gives the same weights to the last bit on the same machine.

    References
    ----------
    .. [1] Y. Liang et al. "Probing Routing-Conditional Calibration in Attention-Residual
       Transformers". arXiv:2605.09850, 2026. The full-profile MLP and its controls.
    .. [2] I. Loshchilov and F. Hutter. "Decoupled Weight Decay Regularization". ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import CapacityMatchedMLP
    >>> rng = np.random.default_rng(0)
    >>> log_odds, routing = rng.normal(size=2000), rng.normal(size=(2000, 4))
    >>> y = rng.random(2000) < 1 / (1 + np.exp(-log_odds - 1.4 * routing[:, 0]))
    >>> X = np.column_stack([log_odds, routing])
    >>> full = CapacityMatchedMLP(random_state=0).fit(X, y)
    >>> full.predict_proba([[0.0, -1, 0, 0, 0], [0.0, 1, 0, 0, 0]])[:, 1].round(1)
    array([0.2, 0.8])
    >>> control = CapacityMatchedMLP(control="confidence_only", random_state=0)
    >>> control.fit(X, y).n_parameters_, full.n_parameters_
    (112, 113)
    """

    def __init__(
        self,
        *,
        confidence_columns: Selector = None,
        routing_columns: Selector = None,
        confidence_kind: str = "auto",
        classes: ArrayLike | None = None,
        control: str | None = None,
        hidden_width: int = 16,
        lift: str = "temperature",
        weight_decay: float = 0.1,
        learning_rate: float = 0.01,
        max_epochs: int = 200,
        batch_size: int = 256,
        validation_fraction: float = 0.3,
        n_iter_no_change: int = 20,
        n_standard_errors: float = 1.0,
        n_bins: int = 15,
        device: str = "cpu",
        random_state: object = None,
    ) -> None:
        super().__init__(
            confidence_columns=confidence_columns,
            routing_columns=routing_columns,
            confidence_kind=confidence_kind,
            classes=classes,
        )
        self.control = control
        self.hidden_width = hidden_width
        self.lift = lift
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.n_standard_errors = n_standard_errors
        self.n_bins = n_bins
        self.device = device
        self.random_state = random_state

    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        schedule = self._checked_schedule()
        warn_at_bound(fit_temperature(logits, y, sample_weight))
        shuffle_rng, network_rng, training_rng = as_generator(self.random_state).spawn(3)
        event = y if logits.ndim == 1 else (logits.argmax(axis=1) == y).astype(np.float64)
        log_odds, read = event_log_odds(logits), self._read(routing)
        self._sign = orientation(log_odds, event, sample_weight)
        if self._sign < 0:
            log_odds, event = -log_odds, 1 - event
        n_routing = self.n_features_in_ - len(self.column_roles_.confidence)
        self.hidden_width_ = matched_width(self.hidden_width, n_routing, read.shape[1])
        self.n_parameters_ = count_parameters(read.shape[1], self.hidden_width_)
        rows = DistinctRows.collect(log_odds, read, event, sample_weight)
        profiles = self._shuffled(rows, shuffle_rng)
        self._input_scale = InputScale.fit(rows.log_odds, profiles, rows.weight)
        used = np.concatenate([[0], 1 + rows.varying])
        trained = train_and_judge(
            Network.at_identity(len(used), self.hidden_width_, network_rng),
            Rows(
                self._input_scale(rows.log_odds, profiles)[:, used],
                np.clip(rows.log_odds, -LARGEST_OFFSET, LARGEST_OFFSET),
                rows.event,
                rows.weight,
            ),
            schedule,
            training_rng,
        )
        network = trained.network.spread(used, 1 + read.shape[1])
        self.coefs_, self.intercepts_ = network.coefs, network.intercepts
        self.validation_losses_ = trained.validation_losses
        self.n_iter_, self.best_iter_ = len(trained.validation_losses) - 1, trained.best_epoch
        self.n_clipped_ = self._count_clipped(logits, routing)

    def _checked_schedule(self) -> Schedule:
        if self.control is not None:
            check_option("control", self.control, _CONTROLS)
        check_option("lift", self.lift, LIFTS)
        check_integer("hidden_width", self.hidden_width, low=1)
        check_integer("n_bins", self.n_bins, low=1)
        if not isinstance(self.device, str):
            raise TypeError(
                f"`device` must be the name of a torch device, such as 'cuda'; got {self.device!r}."
            )
        return Schedule(
            weight_decay=check_number("weight_decay", self.weight_decay, low=0.0),
            learning_rate=check_number("learning_rate", self.learning_rate, low=0.0, strict=True),
            max_epochs=check_integer("max_epochs", self.max_epochs, low=1),
            batch_size=check_integer("batch_size", self.batch_size, low=1),
            validation_fraction=check_number(
                "validation_fraction", self.validation_fraction, low=0.0, high=1.0, strict=True
            ),
            n_iter_no_change=check_integer("n_iter_no_change", self.n_iter_no_change, low=1),
            n_standard_errors=check_number("n_standard_errors", self.n_standard_errors, low=0.0),
            device=self.device,
        )

    def _read(self, routing: FloatArray) -> FloatArray:
        """Return the routing columns that this network may read."""
        return routing[:, :0] if self.control == "confidence_only" else routing

    def _shuffled(self, rows: DistinctRows, rng: np.random.Generator) -> FloatArray:
        """Return the profiles to train on, and keep what predictions may borrow."""
        self._pool, self._hashed = None, rows.varying
        if self.control != "shuffled_routing":
            return rows.routing
        self._pool = ProfilePool.fit(
            rows.log_odds, rows.routing, rows.weight, n_bins=self.n_bins, rng=rng
        )
        return self._pool.permute(rows.log_odds, rows.routing, rng)

    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        if self.best_iter_ == 0:
            return logits
        corrected = self._corrected_log_odds(logits, routing)
        if logits.ndim == 1:
            return corrected
        return lift_top_label(logits, expit(corrected), self.lift)[0]

    def _corrected_log_odds(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        log_odds, profiles = self._sign * event_log_odds(logits), self._read(routing)
        if self._pool is not None:
            profiles = self._pool.borrow(log_odds, profiles, self._hashed)
        inputs = self._input_scale(log_odds, profiles)
        return self._sign * (log_odds + Network(self.coefs_, self.intercepts_)(inputs))

    def _count_clipped(self, logits: FloatArray, routing: FloatArray) -> int:
        if logits.ndim == 1 or self.best_iter_ == 0:
            return 0
        event = expit(self._corrected_log_odds(logits, routing))
        return int(np.count_nonzero(event < 1 / logits.shape[1]))
