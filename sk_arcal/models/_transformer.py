"""A pre-norm transformer whose residual stream is plain, or attention over depth.

Attention and MLP read what the stream gives them, normalise it, and write their output back. With
``residual="full"`` or ``"block"`` every block owns two reads, ``attention_read`` and ``mlp_read``,
and the network a last one, ``output_read``.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sk_arcal._validation import check_integer, check_number, check_option
from sk_arcal.models._attention_residual import block_sizes, depth_stream
from sk_arcal.models._depth_read import DepthRead

RESIDUALS = ("none", "block", "full")
POOLINGS = ("cls", "mean")
# Of classification token and head, as in the first vision transformers.
_INITIAL_DEVIATION = 0.02


@dataclass
class PlainStream:
    """The usual residual stream: a sum, which nothing chooses from."""

    total: Tensor
    weights: list[Tensor] = field(default_factory=list)

    def read(self) -> Tensor:
        """Return the sum."""
        return self.total

    def add(self, output: Tensor) -> None:
        """Add the output of a sub-layer."""
        self.total = self.total + output


class AttentionLayer(nn.Module):
    """Multi-head self-attention on normalised tokens, without the residual sum."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return outputs of the shape of `tokens`, (n_samples, n_tokens, width)."""
        n_samples, n_tokens, width = tokens.shape
        mixed = self.query_key_value(self.norm(tokens))
        by_head = mixed.view(n_samples, n_tokens, 3, self.n_heads, width // self.n_heads)
        query, key, value = by_head.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        joined = attended.transpose(1, 2).reshape(n_samples, n_tokens, width)
        return self.dropout(self.project(joined))


class MlpLayer(nn.Module):
    """Two linear maps with a GELU between them on normalised tokens, without the residual sum."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.project = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return outputs of the shape of `tokens`, (n_samples, n_tokens, width)."""
        hidden = functional.gelu(self.expand(self.norm(tokens)))
        return self.dropout(self.project(self.dropout(hidden)))


class TransformerBlock(nn.Module):
    """Attention and MLP, and with attention over depth the read before each."""

    def __init__(
        self, width: int, n_heads: int, hidden: int, dropout: float, *, reads: bool
    ) -> None:
        super().__init__()
        self.attention_read = DepthRead(width, read_kind="attention") if reads else None
        self.attention = AttentionLayer(width, n_heads, dropout)
        self.mlp_read = DepthRead(width, read_kind="mlp") if reads else None
        self.mlp = MlpLayer(width, hidden, dropout)


class ResidualTransformer(nn.Module):
    """Transformer classifier over tokens that a subclass makes in `embed`.

    See :class:`~sk_arcal.models.VisionTransformer` for the parameters.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        width: int,
        depth: int,
        n_heads: int,
        mlp_ratio: float,
        dropout: float,
        pooling: str,
        residual: str,
        n_blocks: int,
        two_phase: bool,
    ) -> None:
        super().__init__()
        _check_sizes(n_classes, width, depth, n_heads)
        check_number("mlp_ratio", mlp_ratio, low=0.0, strict=True)
        check_number("dropout", dropout, low=0.0, high=1.0)
        self.pooling = check_option("pooling", pooling, POOLINGS)
        self.residual = check_option("residual", residual, RESIDUALS)
        self.n_blocks = n_blocks if residual == "block" else None
        if residual == "block":
            block_sizes(2 * depth, n_blocks)
        self.two_phase = two_phase
        reads, hidden = residual != "none", max(1, round(mlp_ratio * width))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, n_heads, hidden, dropout, reads=reads) for _ in range(depth)
        )
        self.output_read = DepthRead(width, read_kind="output") if reads else None
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_classes)
        nn.init.trunc_normal_(self.head.weight, std=_INITIAL_DEVIATION)
        nn.init.zeros_(self.head.bias)
        self.cls_token = nn.Parameter(torch.zeros(width)) if pooling == "cls" else None
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=_INITIAL_DEVIATION)

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Return the embedding of raw rows, (n_samples, n_tokens, width); `cls` comes first."""

    def forward(self, x: Tensor, *, return_routing: bool = False) -> Any:
        """Return logits, and on demand the weights of all reads.

        Parameters
        ----------
        x : Tensor of shape (n_samples, ...)
            Raw rows.
        return_routing : bool, default=False
            Whether to return the weights as well.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_classes)
            One score per class.
        routing : dict of Tensor of shape (n_samples, n_tokens, n_sources)
            Weights of the sources by the path of the read, such as "blocks.0.mlp_read", in the
            order of the reads; empty with a plain residual. Only with `return_routing`.
        """
        stream = self._stream(self.embed(x))
        block: Any
        for block in self.blocks:
            stream.add(block.attention(stream.read()))
            stream.add(block.mlp(stream.read()))
        pooled = self._pooled(stream.read())
        logits = self.head(self.norm(pooled) if self.pooling == "cls" else pooled)
        if not return_routing:
            return logits
        return logits, dict(zip(self.read_paths(), stream.weights, strict=True))

    def read_layers(self, x: Tensor) -> Tensor:
        """Return what the head would be given if the network ended earlier.

        With attention over depth that is the mixture that the last read makes of the sources so
        far; with a plain residual, the sum so far.

        Parameters
        ----------
        x : Tensor of shape (n_samples, ...)
            Raw rows.

        Returns
        -------
        states : Tensor of shape (n_samples, depth + 1, width)
            Before the first block, and after every block. Of the classification token before
            the norm, or the mean of the normalised tokens; `layer_readout` turns both into logits.
        """
        embedding = self.embed(x)
        reads = [read for _, read in self._named_reads()]
        # In one phase a read leaves no trace in the stream, so the last can be made at any depth.
        stream: Any = (
            depth_stream(embedding, reads, n_blocks=self.n_blocks)
            if reads
            else PlainStream(embedding)
        )
        states = [self._pooled(self._read_last(stream))]
        block: Any
        for block in self.blocks:
            stream.add(block.attention(stream.read()))
            stream.add(block.mlp(stream.read()))
            states.append(self._pooled(self._read_last(stream)))
        return torch.stack(states, dim=1)

    def layer_readout(self) -> tuple[nn.Module | None, nn.Linear]:
        """Return what turns the states of `read_layers` into logits.

        Returns
        -------
        norm : Module or None
            Comes first; None if the states are normalised already.
        head : Linear
            From states to logits.
        """
        return (self.norm if self.pooling == "cls" else None), self.head

    def _read_last(self, stream: Any) -> Tensor:
        if self.output_read is None:
            return stream.read()
        return stream.last_mixture()

    def _pooled(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0] if self.pooling == "cls" else self.norm(tokens).mean(dim=1)

    def read_paths(self) -> list[str]:
        """Return the paths of the reads, in their order.

        Returns
        -------
        paths : list of str
            Of the modules that forward hooks can be set on; empty with a plain residual.
        """
        return [path for path, _ in self._named_reads()]

    def _named_reads(self) -> list[tuple[str, DepthRead]]:
        if self.output_read is None:
            return []
        names = ("attention_read", "mlp_read")
        inner = [
            (f"blocks.{i}.{name}", getattr(block, name))
            for i, block in enumerate(self.blocks)
            for name in names
        ]
        return [*inner, ("output_read", self.output_read)]

    def _stream(self, embedding: Tensor) -> Any:
        reads = [read for _, read in self._named_reads()]
        if not reads:
            return PlainStream(embedding)
        return depth_stream(embedding, reads, n_blocks=self.n_blocks, two_phase=self.two_phase)

    def _with_cls(self, tokens: Tensor) -> Tensor:
        if self.cls_token is None:
            return tokens
        return torch.cat([self.cls_token.expand(len(tokens), 1, -1), tokens], dim=1)


def _check_sizes(n_classes: int, width: int, depth: int, n_heads: int) -> None:
    for name, value, low in (("n_classes", n_classes, 2), ("width", width, 1), ("depth", depth, 1)):
        check_integer(name, value, low=low)
    if width % check_integer("n_heads", n_heads, low=1):
        raise ValueError(f"`width` must be a multiple of `n_heads`; got {width} and {n_heads}.")
