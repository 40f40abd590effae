"""The transformer: from rows, through a network, to columns of scores and routing."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray
from sk_arcal.feature_extraction._extraction._base import BaseExtractor
from sk_arcal.feature_extraction._extraction._columns import (
    all_columns,
    degenerate_routing,
    whole_extraction,
)
from sk_arcal.feature_extraction._extraction._parameters import open_source
from sk_arcal.feature_extraction._extraction._record import Extraction
from sk_arcal.feature_extraction._extraction._rows import Rows
from sk_arcal.feature_extraction._extraction._run import RecordSource


class RoutingFeatureExtractor(BaseExtractor):
    """Columns of scores and routing from a network, one row of them for each row of X.

    Every row is forwarded once: what the network says is kept in a cache on disk, found by the
    content of the network and of the row. So a grid search, other folds, other `summaries` and
    other processes forward nothing anew. Needs the extra "torch" where rows have to be forwarded.

    Parameters
    ----------
    backbone : Backbone or torch.nn.Module
        The network. A module is used as it is and shared by clones; wrap it in
        :class:`Backbone` for parallel searches, so that it travels as a handle.
    outputs : {"logits", "options", "confidence"} or None, default="logits"
        What of the network's output becomes columns: the logits of its classes; of a language
        model, the logits of `option_tokens` after the last token; the log-odds of the most
        probable class or token; or nothing.
    option_tokens : list of str or int, default=None
        Tokens, or texts that are one token each, for ``outputs="options"``.
    classes : array-like of shape (n_scores,), default=None
        What the scores stand for; names their columns. By default 0, 1, ... or the texts of the
        options.
    summaries : str or sequence of str, default="auto"
        Routing columns, see :func:`summarize_routing`; ``()`` for none.
    token_reduction : {"mean", "cls", "last"}, default="mean"
        Whose routing stands for a row with several tokens: the mean over its tokens, padding
        left out, the first or the last.
    token_order : {"weights_first", "statistics_first"}, default="weights_first"
        Whether entropies and the like are those of the reduced weights, or reduced over tokens
        themselves.
    batch_size : int, default=64
        Most rows forwarded at once. Halved as often as memory does not suffice.
    device : str, default=None
        Where to compute, such as "cuda". By default where the network is; it is never moved.
    dtype : {"float16", "bfloat16"}, default=None
        Precision of the forward pass; routers stay in float32. By default that of the network.
    max_length : int, default=None
        Most tokens of a row; later ones are cut off.
    padding_side : {"left", "right"}, default=None
        Where shorter token sequences are filled up; by default left for "options" and
        "confidence", else right.
    pad_token_id : int, default=None
        Padding of token arrays in X. Also what to fill up with, else the tokenizer's, or 0.
    preprocess : callable, default=None
        Turns a batch, an array of shape (n_rows, ...), into what the network takes: an array, a
        tensor, or a mapping of arguments. A function that can be pickled.
    cache : bool or path-like, default=True
        Keep records in the user's cache folder, in this folder, or not at all.
    cache_max_bytes : int, default=None
        Size of the cache from which those records are dropped that were read longest ago.
    on_miss : {"auto", "compute", "raise"}, default="auto"
        What to do with rows that are not in the cache. "auto" forwards them, except in a worker
        process on a GPU, where every worker would load the weights anew.
    progress : bool, default=False
        Whether to show a bar.

    Attributes
    ----------
    backbone_ : Backbone
        The network.
    sites_ : tuple of RouteSite
        Where it routes.
    degenerate_features_ : list of str
        Routing columns that were constant in `fit`.
    input_kind_ : {"array", "tokens", "text"}
        What X was.
    n_features_in_ : int
        Columns of X, where it was a table.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where it had any.

    Raises
    ------
    ValueError
        From `fit`, if X or a parameter cannot be used, or the network has no site that routes.
    TypeError
        From `fit`, if the backbone is none, or a parameter has the wrong kind.
    ImportError
        From `fit`, if rows have to be forwarded and torch is not installed.

    See Also
    --------
    summarize_routing : From routing to columns, for weights of one's own.
    read_routing : Routing of every token, for a look inside.

    Notes
    -----
    Columns are ``logit__<class>`` for every score, with two classes one column of log-odds,
    ``logit__correct`` for a confidence, then ``routing__<summary>``. Every calibrator reads
    them without any parameter. A frozen network may be run before cross-validation without
    leakage; what learns from the columns may not. Numbers depend on the batch in their last digits.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import RoutingFeatureExtractor
    >>> from sk_arcal.models import MixtureOfExpertsClassifier
    >>> X = np.random.default_rng(0).normal(size=(200, 5))
    >>> model = MixtureOfExpertsClassifier(max_epochs=5, random_state=0).fit(X, X[:, 0] > 0)
    >>> extractor = RoutingFeatureExtractor(model.module_, cache=False)
    >>> extractor.fit_transform(X).shape
    (200, 2)
    >>> extractor.get_feature_names_out().tolist()
    ['logit__1', 'routing__router__mean_normalized_entropy']
    """

    def __init__(
        self,
        backbone: Any = None,
        *,
        outputs: str | None = "logits",
        option_tokens: Sequence[str | int] | None = None,
        classes: ArrayLike | None = None,
        summaries: str | Sequence[str] = "auto",
        token_reduction: str = "mean",
        token_order: str = "weights_first",
        batch_size: int = 64,
        device: str | None = None,
        dtype: str | None = None,
        max_length: int | None = None,
        padding_side: str | None = None,
        pad_token_id: int | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        cache: bool | str | Path = True,
        cache_max_bytes: int | None = None,
        on_miss: str = "auto",
        progress: bool = False,
    ) -> None:
        self.backbone = backbone
        self.outputs = outputs
        self.option_tokens = option_tokens
        self.classes = classes
        self.summaries = summaries
        self.token_reduction = token_reduction
        self.token_order = token_order
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.max_length = max_length
        self.padding_side = padding_side
        self.pad_token_id = pad_token_id
        self.preprocess = preprocess
        self.cache = cache
        self.cache_max_bytes = cache_max_bytes
        self.on_miss = on_miss
        self.progress = progress

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit, and return the columns of the same rows.

        Parameters
        ----------
        X : array-like or tensor of shape (n_samples, ...), or list of texts or token sequences
            What the network takes.
        y : object, default=None
            Ignored.

        Returns
        -------
        columns : ndarray or table of shape (n_samples, n_columns)
            Scores, then routing.
        """
        values, self._names, self.sites_ = all_columns(self, self._prepare(X))
        self.degenerate_features_ = degenerate_routing(values, self._names)
        return values

    def extract(self, X: Any) -> Extraction:
        """Return all that is known about some rows, before it is summarised.

        Works before `fit`, too.

        Parameters
        ----------
        X : array-like or tensor of shape (n_samples, ...), or list of texts or token sequences
            What the network takes.

        Returns
        -------
        extraction : Extraction
            Scores, prediction and routing profile.

        Raises
        ------
        ValueError
            If X or a parameter cannot be used.
        RuntimeError
            If a row is not in the cache and may not be forwarded, see `on_miss`.
        """
        extractor = self._ready(X)
        return whole_extraction(extractor, extractor._rows(X))

    def _values(self, rows: Rows) -> FloatArray:
        return all_columns(self, rows)[0]

    def _open(self, n_rows: int, progress: bool) -> AbstractContextManager[RecordSource]:
        return open_source(self, n_rows, progress)
