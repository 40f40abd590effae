"""What extractors share: a backbone that clones do not copy, and rows of the kind seen in `fit`."""

from abc import abstractmethod
from contextlib import AbstractContextManager
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sk_arcal._validation import FloatArray
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._extraction._columns import prefill_rows
from sk_arcal.feature_extraction._extraction._inputs import read_rows
from sk_arcal.feature_extraction._extraction._parameters import as_backbone
from sk_arcal.feature_extraction._extraction._rows import Rows


class BaseExtractor(TransformerMixin, BaseEstimator):
    """Transformer of rows by a network; its parameters are those of a derived class."""

    backbone: Any
    cache: Any
    _names: list[str]

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find out what the columns are.

        Parameters
        ----------
        X : array-like or tensor of shape (n_samples, ...), or list of texts or token sequences
            What the network takes.
        y : object, default=None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If X or a parameter cannot be used, or the network cannot be read.
        TypeError
            If the backbone is none, or a parameter has the wrong kind.
        """
        self.fit_transform(X)
        return self

    def transform(self, X: Any) -> Any:
        """Return the columns of some rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_samples, ...), or list of texts or token sequences
            Of the kind seen in `fit`.

        Returns
        -------
        columns : ndarray or table of shape (n_samples, n_columns)
            As from `fit_transform`.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If X has another kind or shape than in `fit`, or holds NaN.
        RuntimeError
            If a row is not in the cache and may not be forwarded, see `on_miss`.
        """
        check_is_fitted(self)
        return self._values(self._rows(X))

    def prefill(self, X: Any, *, progress: bool = True) -> Self:
        """Forward the rows that the cache lacks, before a search or on several GPUs.

        Works before `fit`, too. Started by torchrun or accelerate, each process forwards its
        share on its own device; all return when all are done.

        Parameters
        ----------
        X : array-like or tensor of shape (n_samples, ...), or list of texts or token sequences
            What the network takes.
        progress : bool, default=True
            Whether to show a bar.

        Returns
        -------
        self : object
            The transformer, not fitted by this.

        Raises
        ------
        ValueError
            If there is no cache to fill, or X or a parameter cannot be used.
        """
        if self.cache is False:
            raise ValueError("There is nothing to prefill with cache=False.")
        extractor = self._ready(X)
        prefill_rows(extractor, extractor._rows(X), progress=progress)
        return self

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the columns.

        Parameters
        ----------
        input_features : object, default=None
            Ignored.

        Returns
        -------
        names : ndarray of str of shape (n_columns,)
            In the order of the columns.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        """
        check_is_fitted(self)
        return np.array(self._names, dtype=object)

    @abstractmethod
    def _values(self, rows: Rows) -> FloatArray:
        """Return the columns of some rows."""

    @abstractmethod
    def _open(self, n_rows: int, progress: bool) -> AbstractContextManager[Any]:
        """Return a context with a source of records."""

    def _ready(self, X: Any) -> Self:
        """Return this transformer if it is fitted, else a twin that knows the kind of X."""
        if self.__sklearn_is_fitted__():
            return self
        twin = clone(self)
        twin._prepare(X)
        return twin

    def _prepare(self, X: Any) -> Rows:
        """Learn what X is; return its rows."""
        self.backbone_ = as_backbone(self.backbone, type(self).__name__)
        rows, self.input_kind_ = read_rows(self, X, kind=None)
        return rows

    def _rows(self, X: Any) -> Rows:
        return read_rows(self, X, kind=self.input_kind_)[0]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_names")

    def __sklearn_clone__(self) -> Any:
        # A module is shared, not copied; everything else is cloned as usual.
        if self.backbone is None or isinstance(self.backbone, Backbone):
            return super().__sklearn_clone__()
        shell = copy(self)
        shell.backbone = None
        return clone(shell).set_params(backbone=self.backbone)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags
