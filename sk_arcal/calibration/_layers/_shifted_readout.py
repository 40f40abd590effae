"""What a fitted shift of hidden states does: shift arrays, predict, shift a live network."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._layers._live_shift import find_blocks, shifted_blocks
from sk_arcal.calibration._layers._shifted_states import ShiftedStates
from sk_arcal.calibration._linear_readout import LinearReadout
from sk_arcal.calibration._saving._persistence import PlainState

FLOATS = [np.float64, np.float32]


class ShiftedReadout(OneToOneFeatureMixin, TransformerMixin, ClassifierMixin, PlainState):
    """Base of estimators whose `fit` sets `shift_`, `readout_` and `classes_`."""

    shift_: FloatArray
    readout_: LinearReadout
    classes_: NDArray[Any]

    def transform(self, hidden: ArrayLike) -> NDArray[Any]:
        """Add the shift.

        Parameters
        ----------
        hidden : array-like of shape (n_samples, d)
            States of the layer of `fit`.

        Returns
        -------
        shifted : ndarray of shape (n_samples, d)
            In the precision of `hidden`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the width is another one or a value is not finite.
        """
        check_is_fitted(self)
        X = validate_data(self, hidden, dtype=FLOATS, reset=False)
        return X + self.shift_.astype(X.dtype)

    def decision_function(self, hidden: ArrayLike) -> FloatArray:
        """Return the logits of the shifted states.

        Parameters
        ----------
        hidden : array-like of shape (n_samples, d)
            States of the layer of `fit`.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes)
            With two classes, of shape (n_samples,): the log-odds of ``classes_[1]``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the width is another one or a value is not finite.
        """
        logits = self._logits(hidden)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def predict_proba(self, hidden: ArrayLike) -> FloatArray:
        """Return the class probabilities of the shifted states.

        Parameters
        ----------
        hidden : array-like of shape (n_samples, d)
            States of the layer of `fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns in the order of `classes_`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the width is another one or a value is not finite.
        """
        return softmax(self._logits(hidden), axis=1)

    def predict(self, hidden: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of the shifted states.

        Parameters
        ----------
        hidden : array-like of shape (n_samples, d)
            States of the layer of `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Taken from `classes_`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the width is another one or a value is not finite.
        """
        best = self._logits(hidden).argmax(axis=1)
        return self.classes_[best]

    def applied(
        self, module: Any, path: str | list[str] | None = None, *, all_after: bool = False
    ) -> AbstractContextManager[None]:
        """Shift the output of a block of a live torch network while a context lasts.

        Parameters
        ----------
        module : torch.nn.Module
            The network, or the block itself.
        path : str or list of str, default=None
            Dotted name of the block in `module`, such as "model.layers.20", or several. By
            default `module` is the block.
        all_after : bool, default=False
            Whether to shift all blocks that follow in the same container, too. The residual stream
            carries each shift on, so m blocks shift the last state by m times as much.

        Returns
        -------
        context : context manager
            On entering, the shift is added to the tensor that the block returns, or to the first
            entry of a tuple, in its own precision. On leaving, also by an exception, the hooks are
            gone and the network is as it was; contexts may be nested, and shifts add.

        Raises
        ------
        ValueError
            If there is no such part; from the forward pass, if the width is another one.
        TypeError
            If `module` is no torch module; from the forward pass, if a block returns no tensor.

        Warns
        -----
        CalibrationWarning
            On leaving, if a block did not run.

        Notes
        -----
        No parameter is touched. All threads that run the network see the shift.

        Examples
        --------
        Needs torch and a network, so it is not run here::

            with direction.applied(model, "model.layers.20"):
                logits = model(tokens).logits
        """
        check_is_fitted(self)
        return shifted_blocks(find_blocks(module, path, all_after), self.shift_)

    def _logits(self, hidden: ArrayLike) -> FloatArray:
        check_is_fitted(self)
        X = validate_data(self, hidden, dtype=FLOATS, reset=False)
        return ShiftedStates(self.readout_, X).along(self.shift_)(1.0)
