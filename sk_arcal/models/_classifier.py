"""What the networks share as scikit-learn classifiers: labels, weights, training, prediction."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_weights,
    import_optional,
    usable_device,
)
from sk_arcal.models._training._settings import ObjectiveSettings, TrainingSettings


class NetworkClassifier(ClassifierMixin, BaseEstimator):
    """Base class of the networks.

    A subclass has the fields of `TrainingSettings` and `random_state` among its parameters, and
    supplies ``_module(x, n_classes)``. Its module standardises raw rows by a part called
    `standardise` and takes ``return_routing``.
    """

    objective: str
    label_smoothing: float
    device: str
    random_state: object

    # -- what a subclass supplies ----------------------------------------------------------------

    @abstractmethod
    def _module(self, x: NDArray[Any], n_classes: int) -> Any:
        """Return a new module for rows like `x`; torch is there."""

    def _checked(self, X: Any, y: Any = None) -> tuple[NDArray[Any], Any]:
        """Return rows as the module takes them, and labels in `fit`."""
        how: dict[str, Any] = {"dtype": [np.float64, np.float32], "order": "C"}
        if y is None:
            return validate_data(self, X, reset=False, **how), None
        return validate_data(self, X, y, **how)

    def _objective(self) -> ObjectiveSettings:
        """Return what to minimise."""
        return ObjectiveSettings(self.objective, self.label_smoothing)

    def _augmentation(self) -> Callable[..., Any] | None:
        return None

    # -- scikit-learn's protocol -------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the network from new initial weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows as described under the class.
        y : array-like of shape (n_samples,)
            Class labels, two or more different ones.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows in the loss and in the standardisation; a row of weight zero is
            absent.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            If X, y, weights or a parameter cannot be used, the device is not there, or training
            diverges.
        TypeError
            If a parameter has the wrong kind.
        ImportError
            If torch or skorch are not installed.
        """
        self._load_torch()
        from sk_arcal.models._training._loop import Rows, train

        names = [field.name for field in fields(TrainingSettings)]
        settings = TrainingSettings(**{name: getattr(self, name) for name in names})
        rows = Rows(*self._rows(X, y, sample_weight))
        trained = train(
            lambda: self._module(rows.x, len(self.classes_)),
            rows,
            self._objective(),
            settings,
            as_generator(self.random_state),
            augmentation=self._augmentation(),
            caller=type(self).__name__,
        )
        self.module_ = trained.module
        self.history_, self.snapshots_ = trained.history, trained.snapshots
        self.n_iter_ = len(trained.history)
        return self

    def _rows(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None
    ) -> tuple[NDArray[Any], NDArray[np.intp], FloatArray]:
        x, labels = self._checked(X, y)
        check_classification_targets(labels)
        weight = check_weights(sample_weight, len(labels))
        present = weight > 0
        if not present.all():
            x, labels, weight = x[present], labels[present], weight[present]
        self.classes_, codes = np.unique(column_or_1d(labels), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"`y` holds one class only, {self.classes_[0]!r}; a classifier needs rows of at "
                "least two classes, of weight above zero."
            )
        return x, codes, weight

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows as in `fit`.

        Returns
        -------
        logits : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of ``classes_[1]`` with two classes, else one score per class.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the rows differ in shape from those of `fit`.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Return class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows as in `fit`.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; rows sum to one.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the rows differ in shape from those of `fit`.
        """
        return softmax(self._logits(X), axis=1)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows as in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Entries of ``classes_``.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the rows differ in shape from those of `fit`.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    # -- snapshots ---------------------------------------------------------------------------------

    def staged_modules(self) -> Iterator[Any]:
        """Return the network as it was at every snapshot, one after the other.

        Returns
        -------
        modules : iterator of torch.nn.Module
            Copies of `module_` with the weights of the entries of `snapshots_`, oldest first.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If `fit` kept no snapshot.
        """
        self._load_torch()
        check_is_fitted(self)
        from sk_arcal.models._training._forward import with_state

        if not self.snapshots_:
            raise ValueError(
                "`fit` kept no snapshots; set `snapshot_every` to a number of epochs not above "
                "`max_epochs`."
            )
        return (with_state(self._placed(), snapshot.state) for snapshot in self.snapshots_)

    def staged_predict_proba(self, X: ArrayLike) -> Iterator[FloatArray]:
        """Return class probabilities at every snapshot, one after the other.

        Their mean is the temporal ensemble.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows as in `fit`.

        Returns
        -------
        probabilities : iterator of ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``; rows sum to one.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If `fit` kept no snapshot, or the rows differ in shape from those of `fit`.
        """
        modules = self.staged_modules()
        from sk_arcal.models._training._forward import logits_of

        x, _ = self._checked(X)
        return (softmax(logits_of(module, x), axis=1) for module in modules)

    # -- shared by subclasses ----------------------------------------------------------------------

    def _load_torch(self) -> None:
        for module in ("torch", "skorch"):
            import_optional(module, extra="torch", caller=type(self).__name__)

    def _logits(self, X: ArrayLike) -> FloatArray:
        return self._evaluate("logits_of", X)

    def _evaluate(self, name: str, X: ArrayLike, *args: Any) -> Any:
        """Call a function of `_forward` with the network, on its device, and checked rows."""
        check_is_fitted(self)
        x, _ = self._checked(X)
        self._load_torch()
        from sk_arcal.models._training import _forward

        return getattr(_forward, name)(self._placed(), x, *args)

    def _placed(self) -> Any:
        """Return the network, moved to `device`: one that was unpickled lies on the CPU."""
        torch = import_optional("torch", extra="torch", caller=type(self).__name__)
        dtype = next(self.module_.parameters()).dtype
        return self.module_.to(usable_device(torch, self.device, dtype))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "module_" in state and next(self.module_.parameters()).device.type != "cpu":
            # A pickle has to open where the device is not.
            state["module_"] = deepcopy(self.module_).cpu()
        return state
