"""What the classifiers with attention over depth share: their size, and where depth was read."""

from typing import Any

from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, check_option
from sk_arcal.models._classifier import NetworkClassifier

_SIZES = (
    *("width", "depth", "n_heads", "mlp_ratio"),
    *("dropout", "pooling", "residual", "n_blocks"),
)
_TOKENS = ("mean", "cls", "all")


class DepthClassifier(NetworkClassifier):
    """Base class of the transformers."""

    pooling: str

    def routing_weights(self, X: ArrayLike, *, tokens: str = "mean") -> dict[str, FloatArray]:
        """Return the weights that every read puts on earlier depths.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Rows as in `fit`.
        tokens : {"mean", "cls", "all"}, default="mean"
            The mean over the tokens, those of the classification token, or all.

        Returns
        -------
        weights : dict of ndarray of shape (n_samples, n_sources)
            By the path of the read in `module_`, in the order of the reads:
            "blocks.0.attention_read", "blocks.0.mlp_read", ..., "output_read". Of shape
            (n_samples, n_tokens, n_sources) with ``tokens="all"``. Source 0 is the embedding;
            then come the layers with ``residual="full"``, and with "block" the finished blocks and
            the unfinished one. They sum to one. Empty with ``residual="none"``.

        Raises
        ------
        NotFittedError
            If `fit` has not been called.
        ValueError
            If the rows differ in shape from those of `fit`, or there is no classification token.
        """
        check_option("tokens", tokens, _TOKENS)
        if tokens == "cls" and self.pooling != "cls":
            raise ValueError(
                "tokens='cls' needs a network with pooling='cls'; this one has no such token."
            )
        return self._evaluate("depth_weights_of", X, tokens)

    def _depth_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SIZES}
