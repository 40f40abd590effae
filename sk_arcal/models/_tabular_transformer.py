"""A transformer over the columns of a table, with attention over depth."""

import torch
from torch import Tensor, nn

from sk_arcal._validation import check_integer
from sk_arcal.models._standardise import Standardise
from sk_arcal.models._transformer import ResidualTransformer


class TabularTransformer(ResidualTransformer):
    r"""Transformer whose tokens are the columns of a table of numbers.

    Column j becomes the token :math:`x_j w_j + b_j`, with :math:`x_j` standardised and both
    vectors learned. Reads over depth lie where those of :class:`VisionTransformer` do.

    Parameters
    ----------
    n_features : int
        Number of columns.
    n_classes : int
        Number of logits, at least 2.
    width : int, default=32
        Numbers per token; a multiple of `n_heads`.
    depth : int, default=3
        Transformer blocks, of two sub-layers each.
    n_heads : int, default=4
        Heads of the attention over tokens. Attention over depth has one.
    mlp_ratio : float, default=2.0
        Hidden units of the MLPs by `width`.
    dropout : float, default=0.0
        Share of the outputs of every sub-layer, and of the hidden units, dropped in training.
    pooling : {"cls", "mean"}, default="cls"
        What the head reads: a token of its own, which comes first, or the mean over all tokens.
    residual : {"none", "block", "full"}, default="full"
        Plain sum, Block or Full attention over depth.
    n_blocks : int, default=3
        Blocks of ``residual="block"``, at most ``2 * depth``.
    two_phase : bool, default=False
        How Block attention over depth is computed, see :func:`depth_stream`. An attribute of the
        same name may be changed later.

    Raises
    ------
    ValueError
        If a size is out of range or `width` is no multiple of `n_heads`.
    TypeError
        If a size is no number.

    See Also
    --------
    TabularTransformerClassifier : The same as a scikit-learn estimator.

    References
    ----------
    .. [1] Y. Gorishniy et al. "Revisiting Deep Learning Models for Tabular Data". NeurIPS 2021.
    .. [2] Kimi Team. "Attention Residuals". arXiv:2603.15031, 2026.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.models import TabularTransformer
    >>> module = TabularTransformer(7, n_classes=2, residual="block", n_blocks=3)
    >>> _, routing = module(torch.randn(5, 7), return_routing=True)
    >>> [weights.shape[-1] for weights in routing.values()]
    [1, 2, 2, 3, 3, 4, 4]
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        *,
        width: int = 32,
        depth: int = 3,
        n_heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
        pooling: str = "cls",
        residual: str = "full",
        n_blocks: int = 3,
        two_phase: bool = False,
    ) -> None:
        super().__init__(
            n_classes,
            width=width,
            depth=depth,
            n_heads=n_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            pooling=pooling,
            residual=residual,
            n_blocks=n_blocks,
            two_phase=two_phase,
        )
        self.standardise = Standardise(check_integer("n_features", n_features, low=1))
        bound = width**-0.5
        self.column_weights = nn.Parameter(torch.empty(n_features, width))
        self.column_biases = nn.Parameter(torch.empty(n_features, width))
        for parameter in (self.column_weights, self.column_biases):
            nn.init.uniform_(parameter, -bound, bound)

    def embed(self, x: Tensor) -> Tensor:
        """Return one token per column, and the classification token before them.

        Parameters
        ----------
        x : Tensor of shape (n_samples, n_features)
            Raw numbers.

        Returns
        -------
        tokens : Tensor of shape (n_samples, n_tokens, width)
            In the order of the columns.

        Raises
        ------
        ValueError
            If `x` has another number of columns.
        """
        n_features = len(self.column_weights)
        if x.ndim != 2 or x.shape[1] != n_features:
            raise ValueError(
                f"Rows must have shape (n_samples, {n_features}); got {tuple(x.shape)}."
            )
        standardised = self.standardise(x).unsqueeze(-1)
        tokens = torch.addcmul(self.column_biases, standardised, self.column_weights)
        return self._with_cls(tokens)
