"""The reader of layers: from rows, through a network, to what it says or holds at every depth."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, import_optional
from sk_arcal.feature_extraction._extraction._base import BaseExtractor
from sk_arcal.feature_extraction._extraction._parameters import as_backbone
from sk_arcal.feature_extraction._extraction._rows import Rows
from sk_arcal.feature_extraction._lens._columns import layer_columns
from sk_arcal.feature_extraction._lens._layout import LayerReadout
from sk_arcal.feature_extraction._lens._source import (
    LayerSource,
    check_layer_parameters,
    layer_settings_of,
    open_layers,
)


class LayerExtractor(BaseExtractor):
    r"""What a network says or holds at each of its layers, one row of it for each row of X.

    Layers are counted from 0, the input of the first block, to L, the output of the last. The
    *lens* lets the network's own final norm and head read the state at every layer, as if the
    network ended there; at layer L that is the network itself. Every row is forwarded once and
    kept in a cache on disk, as by :class:`RoutingFeatureExtractor`. Needs the extra "torch" where
    rows have to be forwarded.

    Parameters
    ----------
    backbone : Backbone or torch.nn.Module
        The network: for the lens a language model of transformers or a classifier made from one,
        a :class:`~sk_arcal.models.VisionTransformer` or
        :class:`~sk_arcal.models.TabularTransformer`, or a module with methods `read_layers` and
        `layer_readout` like theirs; for states any.
    readout : {"lens", "hidden"}, default="lens"
        Logits at every layer, or the states themselves.
    layers : "all" or sequence of int or str, default="all"
        Numbers of layers, negative ones from the end; or with ``readout="hidden"`` paths from
        `named_modules()`, whose outputs are the states.
    outputs : {"logits", "options"}, default="logits"
        All scores of the network, or of a language model those of `option_tokens`. All logits of
        a large vocabulary at all layers are large.
    option_tokens : list of str or int, default=None
        Tokens, or texts that are one token each, for ``outputs="options"``.
    classes : array-like of shape (n_scores,), default=None
        What the scores stand for; names their columns. By default 0, 1, ... or the texts of the
        options.
    token : {"last", "mean", "cls"}, default="last"
        Whose state stands for a row: that of its last token, of its first, or the mean over its
        tokens, padding left out. Maps of shape (n_rows, channels, height, width) are averaged
        over places, and a network with `read_layers` reduces its tokens itself.
    batch_size : int, default=64
        Most rows forwarded at once. Halved as often as memory does not suffice.
    device : str, default=None
        Where to compute, such as "cuda". By default where the network is; it is never moved.
    dtype : {"float16", "bfloat16"}, default=None
        Precision of the forward pass. By default that of the network; the head is computed in
        float32 at least.
    max_length : int, default=None
        Most tokens of a row; later ones are cut off.
    padding_side : {"left", "right"}, default=None
        Where shorter token sequences are filled up; by default left for ``token="last"``, else
        right.
    pad_token_id : int, default=None
        Padding of token arrays in X. Also what to fill up with, else the tokenizer's, or 0.
    preprocess : callable, default=None
        Turns a batch, an array of shape (n_rows, ...), into what the network takes. A function
        that can be pickled.
    cache : bool or path-like, default=True
        Keep records in the user's cache folder, in this folder, or not at all.
    cache_max_bytes : int, default=None
        Size of the cache from which those records are dropped that were read longest ago.
    on_miss : {"auto", "compute", "raise"}, default="auto"
        What to do with rows that are not in the cache, see :class:`RoutingFeatureExtractor`.
    progress : bool, default=False
        Whether to show a bar.

    Attributes
    ----------
    backbone_ : Backbone
        The network.
    layers_ : tuple of str
        Names of the layers that are read.
    input_kind_ : {"array", "tokens", "text"}
        What X was.
    n_features_in_ : int
        Columns of X, where it was a table.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where it had any.

    Raises
    ------
    ValueError
        From `fit`, if X or a parameter cannot be used, the network has no layers that can be
        counted, or its head does something that the lens does not.
    TypeError
        From `fit`, if the backbone is none, or a parameter has the wrong kind.
    ImportError
        From `fit`, if rows have to be forwarded and torch is not installed.

    See Also
    --------
    RoutingFeatureExtractor : Scores and routing of the same networks.

    Notes
    -----
    With the state :math:`h_l` of a row at layer l, the final norm N, the unembedding W and what
    the network does to its logits afterwards, a factor s and perhaps a bound c, the lens is

    .. math:: z_l = s\, W N(h_l), \qquad \text{or} \qquad z_l = c \tanh(s\, W N(h_l) / c) .

    All of these are found by what a small forward pass does, and not by name; a network whose own
    logits differ from the lens at layer L is refused. States are those before the norm, at layer L
    too. With attention over depth, a state is what the last read of the network would mix of the
    sources up to layer l.

    References
    ----------
    .. [1] nostalgebraist. "interpreting GPT: the logit lens". LessWrong, 2020.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.feature_extraction import LayerExtractor
    >>> from sk_arcal.models import TabularTransformer
    >>> _ = torch.manual_seed(0)
    >>> module = TabularTransformer(5, n_classes=3, depth=2).eval()
    >>> X = torch.randn(20, 5)
    >>> extractor = LayerExtractor(module, cache=False)
    >>> readout = extractor.extract(X)
    >>> readout.scores.shape, readout.layers
    ((20, 3, 3), ('0', '1', '2'))
    >>> bool(torch.allclose(torch.tensor(readout.scores[:, -1]), module(X), atol=1e-5))
    True
    >>> extractor.fit(X).get_feature_names_out()[:4].tolist()
    ['layer__0__logit__0', 'layer__0__logit__1', 'layer__0__logit__2', 'layer__1__logit__0']
    """

    def __init__(
        self,
        backbone: Any = None,
        *,
        readout: str = "lens",
        layers: str | Sequence[int] | Sequence[str] = "all",
        outputs: str = "logits",
        option_tokens: Sequence[str | int] | None = None,
        classes: ArrayLike | None = None,
        token: str = "last",
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
        self.readout = readout
        self.layers = layers
        self.outputs = outputs
        self.option_tokens = option_tokens
        self.classes = classes
        self.token = token
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
            Layer by layer, ``layer__<layer>__logit__<class>``, with two classes one column of
            log-odds a layer; or ``layer__<layer>__hidden__<number>``.
        """
        rows = self._prepare(X)
        values, self._names, self.layers_ = self._columns(rows)
        return values

    def extract(self, X: Any) -> LayerReadout:
        """Return what the network says or holds at every layer, as arrays.

        Works before `fit`, too.

        Parameters
        ----------
        X : array-like or tensor of shape (n_samples, ...), or list of texts or token sequences
            What the network takes.

        Returns
        -------
        readout : LayerReadout
            Logits or states, and the prediction.

        Raises
        ------
        ValueError
            If X or a parameter cannot be used, or the network cannot be read.
        RuntimeError
            If a row is not in the cache and may not be forwarded, see `on_miss`.
        """
        return LayerReadout.concatenate([part for _, part in self.extract_chunks(X)])

    def extract_chunks(self, X: Any) -> Iterator[tuple[slice, LayerReadout]]:
        """Yield the same piece by piece, where all of it would not fit in memory.

        Parameters
        ----------
        X : array-like or tensor of shape (n_samples, ...), or list of texts or token sequences
            What the network takes.

        Yields
        ------
        rows : slice
            Which rows of X, in order.
        readout : LayerReadout
            What the network says or holds for them; a quarter of a gigabyte at most, or one
            batch.

        Raises
        ------
        ValueError
            If X or a parameter cannot be used, or the network cannot be read.
        RuntimeError
            If a row is not in the cache and may not be forwarded, see `on_miss`.
        """
        extractor = self._ready(X)
        rows = extractor._rows(X)
        with extractor._open(len(rows), extractor.progress) as source:
            yield from source.windows(rows)

    def linear_readout(self) -> dict[str, Any]:
        r"""Return what turns the states into the logits of the lens, as plain arrays.

        Needs the network, but no rows; works before `fit`, too.

        Returns
        -------
        readout : dict
            `weight` of shape (n_scores, width) and `bias` of shape (n_scores,) or None, of the
            options or of all classes; `norm` in {"none", "rms", "layer"}, with `norm_weight`,
            `norm_bias` (each of shape (width,) or None) and `eps`; `scale`, which logits are
            multiplied with, and `softcap`, their bound or None.

        Raises
        ------
        ValueError
            If the network has no lens, or what follows its blocks is no norm and linear map.
        ImportError
            If torch is not installed.
        """
        import_optional("torch", extra="torch", caller="LayerExtractor.linear_readout")
        from sk_arcal.feature_extraction._lens._forward import LayerForward

        check_layer_parameters(self)
        backbone = as_backbone(self.backbone, type(self).__name__)
        return LayerForward(backbone, layer_settings_of(self, backbone)).describe()

    def _values(self, rows: Rows) -> FloatArray:
        return self._columns(rows)[0]

    def _open(self, n_rows: int, progress: bool) -> AbstractContextManager[LayerSource]:
        return open_layers(self, n_rows, progress)

    def _columns(self, rows: Rows) -> tuple[FloatArray, list[str], tuple[str, ...]]:
        classes = self.option_tokens if self.classes is None else self.classes
        parts = []
        with self._open(len(rows), self.progress) as source:
            for _, readout in source.windows(rows):
                values, names = layer_columns(readout, classes)
                parts.append(values)
        return np.concatenate(parts), names, readout.layers
