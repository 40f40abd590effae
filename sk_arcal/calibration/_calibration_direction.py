"""A direction of the residual stream along which the confidence can be corrected."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_arcal._validation import FloatArray, as_generator, check_option
from sk_arcal.calibration._layers._direction_fit import (
    DirectionRows,
    DirectionSettings,
    direction_rows,
    raw_directions,
    tune_scale,
)
from sk_arcal.calibration._layers._directions import unit_directions
from sk_arcal.calibration._layers._shifted_readout import FLOATS, ShiftedReadout


class CalibrationDirection(ShiftedReadout):
    r"""Shift hidden states along one direction, so that their read-out is better calibrated.

    The direction is found on one part of the rows and its scale on the other, where no shift is
    always among the choices. With a final norm and a direction that the head does not see, the
    shift only lengthens the states, so it acts as one temperature per row and no
    prediction changes. It has the width of the network to overfit with, where
    :class:`TemperatureScaler` has one number: look at
    :func:`~sk_arcal.diagnostics.direction_controls` before you believe it.

    Parameters
    ----------
    method : {"correction", "contrastive", "optimised"}, default="correction"
        "correction": the mean of `reference` - `hidden`, what later layers add. "contrastive":
        the mean of right rows less that of over-confident wrong rows, those no less confident
        than the median wrong row. "optimised": the least log loss, by L-BFGS.
    n_components : int, default=1
        For "correction": the mean shift is taken within this many leading principal axes of
        `reference` - `hidden`; 1 takes all of it. The other methods have one direction.
    null_space : bool, default=True
        Whether to project out what the read-out sees, :meth:`LinearReadout.row_space`. Needs
        a norm, without which nothing would be left to change.
    scales : array-like of shape (m,), default=None
        Scales to try, either sign, in units of the median length of the hidden states. By
        default 16 either side from 0.02 to 4, doubled to at most 128 while the last is the best,
        then twice 9 more around the best.
    accuracy_tolerance : float, default=0.005
        Largest loss of accuracy accepted for a scale, against no shift.
    criterion : {"log_loss", "ece"}, default="log_loss"
        What the scale makes smallest on the rows held out.
    validation_fraction : float, default=0.5
        Share of the rows held out for the scale, in (0, 1).
    max_iter : int, default=200
        Iterations of "optimised".
    flip_penalty : float, default=1.0
        For "optimised": weight of the squared margin by which another class overtakes.
    ridge : float, default=1e-3
        For "optimised": weight of the squared length, in units of the median length.
    classes : array-like of shape (n_classes,), default=None
        The class of each row of the read-out, when y may lack one. By default the sorted labels
        of y, or 0 to n_classes - 1 if y holds some of them.
    keep_rows : bool, default=True
        Whether to keep the rows of `fit`, which controls are fitted on: n x d numbers in the
        precision of `hidden`, in memory and in a pickle. The array passed is kept, not a copy.
    random_state : int, RandomState, Generator or None, default=None
        Source of the split of the rows.

    Attributes
    ----------
    directions_ : ndarray of shape (k, d)
        Orthonormal directions.
    coefficients_ : ndarray of shape (k,)
        Unit vector that mixes them into the one that is added.
    scale_ : float
        Length of the shift, signed; 0 if no shift was better than none.
    unit_ : float
        Median length of the hidden states held out.
    shift_ : ndarray of shape (d,)
        What is added: ``scale_ * coefficients_ @ directions_``.
    path_ : dict of str to ndarray of shape (m,)
        On the rows held out, sorted by "scale" (in units of the hidden states): "ece" and
        "maximum_error" of the top label in 15 equal bins, "log_loss" in nats, "accuracy".
    chosen_ : int
        Row of the path that was chosen.
    n_iter_ : int
        Iterations of "optimised", `max_iter` if it was stopped; 1 for the other methods.
    readout_ : LinearReadout
        The read-out, its rows in the order of `classes_`.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    calibration_rows_ : dict or None
        "hidden", "codes" (positions in `classes_`) and "held_out" (mask) of the rows of `fit`.
    n_features_in_ : int
        Width d.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where the hidden states had any.

    Raises
    ------
    ValueError
        From `fit`, if the data or a parameter cannot be used.
    TypeError
        From `fit`, if a parameter has the wrong kind.

    See Also
    --------
    LinearReadout : The norm and head in front of which the states are shifted.
    TemperatureScaler : One number; the control that is hardest to beat.
    sk_arcal.diagnostics.direction_controls : Against random directions and shuffled labels.

    Notes
    -----
    Let d be a unit direction with :math:`g_j d_j` orthogonal to :math:`w_k - \bar w` for all
    classes, and let the norm be an RMS norm without bias. Then the centred logits obey

    .. math:: z(h + a d) = z(h)\, \frac{\mathrm{rms}(h)}{\mathrm{rms}(h + a d)}

    exactly, rms with the norm's :math:`\epsilon`: a temperature
    :math:`\sqrt{1 + (2 a\, h \cdot d + a^2) / (d\,\mathrm{rms}(h)^2)}` that differs from row to
    row only by :math:`h \cdot d` and the length of h. It is the mechanism of entropy neurons
    [2]_. The same holds for a layer norm with the standard deviation. A bias is not
    divided. That a direction of few dimensions carries the correction of upper layers is the
    claim of [1]_; how it was built there is not public, so the three methods are ours.

    The read-out is applied to the states as given: for states of an earlier layer that is the
    logit lens, not the output of the network. :meth:`applied` shifts a live network; measure what
    comes out of it.

    References
    ----------
    .. [1] A. Joshi, A. Ahmad and A. Modi. "Calibration Across Layers: Understanding Calibration
       Evolution in LLMs". EMNLP 2025.
    .. [2] A. Stolfo, B. Wu, W. Gurnee, Y. Belinkov, X. Song, M. Sachan and N. Nanda. "Confidence
       Regulation Neurons in Language Models". NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.calibration import CalibrationDirection, LinearReadout
    >>> rng = np.random.default_rng(0)
    >>> hidden = rng.normal(size=(2000, 8))
    >>> readout = LinearReadout(4 * np.eye(3, 8), norm="rms")
    >>> y = (readout.logits(hidden) / 2 + rng.gumbel(size=(2000, 3))).argmax(axis=1)
    >>> later = hidden + [0, 0, 0, 1, 1, 1, 1, 1]
    >>> direction = CalibrationDirection(random_state=0)
    >>> _ = direction.fit(hidden, y, readout=readout, reference=later)
    >>> error, best = direction.path_["ece"], direction.chosen_
    >>> bool(error[best] < error[direction.path_["scale"] == 0][0] / 2)
    True
    >>> bool((direction.predict(hidden) == readout.logits(hidden).argmax(axis=1)).all())
    True
    """

    def __init__(
        self,
        method: str = "correction",
        *,
        n_components: int = 1,
        null_space: bool = True,
        scales: ArrayLike | None = None,
        accuracy_tolerance: float = 0.005,
        criterion: str = "log_loss",
        validation_fraction: float = 0.5,
        max_iter: int = 200,
        flip_penalty: float = 1.0,
        ridge: float = 1e-3,
        classes: ArrayLike | None = None,
        keep_rows: bool = True,
        random_state: object = None,
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.null_space = null_space
        self.scales = scales
        self.accuracy_tolerance = accuracy_tolerance
        self.criterion = criterion
        self.validation_fraction = validation_fraction
        self.max_iter = max_iter
        self.flip_penalty = flip_penalty
        self.ridge = ridge
        self.classes = classes
        self.keep_rows = keep_rows
        self.random_state = random_state

    def fit(
        self,
        hidden: ArrayLike,
        y: ArrayLike,
        *,
        readout: Any = None,
        reference: ArrayLike | None = None,
    ) -> Self:
        """Find the direction and its scale.

        Parameters
        ----------
        hidden : array-like of shape (n_samples, d)
            States of one layer, in single or double precision.
        y : array-like of shape (n_samples,)
            Class labels.
        readout : LinearReadout or dict
            Norm and head, one row per class; required. A dictionary is read by
            :meth:`LinearReadout.from_dict`.
        reference : array-like of shape (n_samples, d), default=None
            States of the same rows at the last layer; required by "correction".

        Returns
        -------
        self : CalibrationDirection
            Fitted.

        Raises
        ------
        ValueError
            If `readout` or a needed `reference` is missing, shapes do not belong together, a
            value is not finite, or no direction is left after the projection.
        TypeError
            If `readout` is neither a read-out nor a dictionary.
        """
        settings = DirectionSettings.checked(**self.get_params(deep=False))
        X, y = validate_data(self, hidden, y, dtype=FLOATS, ensure_min_samples=2)
        rows, self.classes_, self.readout_ = direction_rows(X, y, readout, reference, settings)
        self._learn(settings, rows, *raw_directions(settings, self.readout_, rows))
        return self

    def control(
        self, kind: str, *, random_state: int | np.random.Generator | None = None
    ) -> "CalibrationDirection":
        """Return a control fitted on the same rows by the same rules.

        Parameters
        ----------
        kind : {"random", "shuffled"}
            "random": a random direction with the same projection, and a scale of its own.
            "shuffled": direction and scale fitted to shuffled labels; the direction of
            "correction" does not depend on them.
        random_state : int, RandomState, Generator or None, default=None
            Source of the direction or of the order.

        Returns
        -------
        control : CalibrationDirection
            A new one, fitted.

        Raises
        ------
        ValueError
            If the rows were not kept, or `kind` is another word.

        See Also
        --------
        sk_arcal.diagnostics.direction_controls : Compares them.
        """
        check_is_fitted(self)
        check_option("kind", kind, ("random", "shuffled"))
        if self.calibration_rows_ is None:
            raise ValueError("A control is fitted on the rows of `fit`; pass keep_rows=True.")
        rng = as_generator(random_state)
        copy = clone(self)
        copy.classes_, copy.readout_ = self.classes_, self.readout_
        copy.n_features_in_ = self.n_features_in_
        settings = DirectionSettings.checked(**self.get_params(deep=False))
        rows = DirectionRows(**self.calibration_rows_)
        raw, n_iter = self._raw_, 1
        if kind == "random":
            raw = rng.normal(size=(1, self.n_features_in_))
        else:
            rows = replace(rows, codes=rng.permutation(rows.codes))
            if self.method != "correction":
                raw, n_iter = raw_directions(settings, self.readout_, rows)
        copy._learn(settings, rows, raw, n_iter)
        return copy

    def _learn(
        self, settings: DirectionSettings, rows: DirectionRows, raw: FloatArray, n_iter: int
    ) -> None:
        self._raw_, self.n_iter_ = raw, n_iter
        self.directions_, self.coefficients_ = unit_directions(raw, settings.basis(self.readout_))
        combined = self.coefficients_ @ self.directions_
        self.path_, self.chosen_, self.unit_ = tune_scale(settings, self.readout_, rows, combined)
        self.scale_ = float(self.path_["scale"][self.chosen_])
        self.shift_ = self.scale_ * combined
        kept = {"hidden": rows.hidden, "codes": rows.codes, "held_out": rows.held_out}
        self.calibration_rows_ = kept if self.keep_rows else None
