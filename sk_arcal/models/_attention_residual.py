r"""Attention over depth: a sub-layer reads a learned mixture of what earlier ones wrote.

With the embedding :math:`v_0` and the outputs :math:`v_i` of the sub-layers, read l mixes

.. math::

   h_l = \sum_{i<l} \alpha_{il}\, v_i, \qquad
   \alpha_{il} = \operatorname{softmax}_i\big(w_l^\top \mathrm{RMSNorm}_l(v_i)\big),

for every token by itself. The query :math:`w_l` and the gain of the norm are learned, one per
read, and the query starts at zero: all sources weigh the same. Values are not normalised, scores
not scaled. *Full* attends to every output. *Block* adds up the outputs of S sub-layers first and
attends to the sums, and to the unfinished sum of the block it is in.

Source: Kimi Team, "Attention Residuals", arXiv:2603.15031, 2026, equation 2 and section on blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from sk_arcal._validation import check_integer
from sk_arcal.models._depth_read import DepthRead

# Added to the mean square of a source; an output may be zero.
_EPSILON = 1e-6


class DepthStream(ABC):
    """The residual stream of one forward pass: `read`, then `add` what was made of it.

    Made by :func:`depth_stream`.

    Parameters
    ----------
    embedding : Tensor of shape (n_samples, n_tokens, width)
        First source.
    reads : sequence of DepthRead
        One per sub-layer and one for the head.
    sizes : iterable of int
        Sub-layers of every block.

    Attributes
    ----------
    weights : list of Tensor of shape (n_samples, n_tokens, n_sources)
        Of every read so far.
    """

    def __init__(self, embedding: Tensor, reads: Sequence[DepthRead], sizes: Iterable[int]) -> None:
        self.weights: list[Tensor] = []
        self._reads = list(reads)
        self._directions = torch.stack([read.direction for read in reads])
        # The read of the head stands alone, as a block without a sum of its own.
        self._ends = [*accumulate(sizes), len(self._reads)]
        self._finished: list[Tensor] = []
        self._score_table: list[list[Tensor]] = []
        self._partial: Tensor | None = None
        self._finish(embedding)

    def read(self) -> Tensor:
        """Return the mixture that the next read makes.

        Returns
        -------
        mixture : Tensor of shape (n_samples, n_tokens, width)
            Input of the next sub-layer, or of the head.

        Raises
        ------
        ValueError
            If all reads have been made.
        """
        position = len(self.weights)
        if position == len(self._reads):
            raise ValueError("All `reads` have been made; give one more for every sub-layer.")
        weights, mixture = self._mix(position)
        self.weights.append(weights)
        return mixture

    def last_mixture(self) -> Tensor:
        """Return what the last read would be given now, without making a read.

        Not with two phases, where a read takes what was prepared for it.

        Returns
        -------
        mixture : Tensor of shape (n_samples, n_tokens, width)
            Of the sources so far.
        """
        return self._mix(len(self._reads) - 1)[1]

    def add(self, output: Tensor) -> None:
        """Take in the output of a sub-layer.

        Parameters
        ----------
        output : Tensor of shape (n_samples, n_tokens, width)
            Without the input of the sub-layer.
        """
        self._partial = output if self._partial is None else self._partial + output
        if len(self.weights) in self._ends:
            self._finish(self._partial)
            self._partial = None

    def _finish(self, source: Tensor) -> None:
        """Take in a source that stays as it is, and score it for all reads to come, at once."""
        n_made = len(self.weights)
        scores = _scores(self._directions[n_made:], source)
        # The position of a read in the list is that among all reads.
        self._score_table.append([scores.new_empty(0)] * n_made + list(scores))
        self._finished.append(source)

    def _weights(self, position: int) -> Tensor:
        scores = [known[position] for known in self._score_table]
        if self._partial is not None:
            scores += list(_scores(self._directions[position, None], self._partial))
        return self._reads[position](torch.stack(scores).movedim(0, -1))

    @abstractmethod
    def _mix(self, position: int) -> tuple[Tensor, Tensor]:
        """Return weights and mixture of the read at a position."""


class _DirectStream(DepthStream):
    def _mix(self, position: int) -> tuple[Tensor, Tensor]:
        weights = self._weights(position)
        sources = self._finished if self._partial is None else [*self._finished, self._partial]
        # One by one, so that the sources need not be copied into one stack.
        shares = weights.unsqueeze(-2).unbind(dim=-1)
        mixture = sources[0] * shares[0]
        for source, share in zip(sources[1:], shares[1:], strict=True):
            mixture = torch.addcmul(mixture, source, share)
        return weights, mixture


class _TwoPhaseStream(DepthStream):
    """All reads of a block attend to the finished sources at once; each then merges its own sum."""

    def _mix(self, position: int) -> tuple[Tensor, Tensor]:
        if self._partial is None:
            self._mix_finished(position)
        weights, mixture = self._weights(position), self._prepared.pop(0)
        if self._partial is None:
            return weights, mixture
        # The online softmax: what was mixed shrinks by the weight of what is added.
        return weights, torch.lerp(mixture, self._partial, weights[..., -1:])

    def _mix_finished(self, start: int) -> None:
        end = next(end for end in self._ends if end > start)
        by_source = [torch.stack(known[start:end], dim=-1) for known in self._score_table]
        weights = torch.stack(by_source, dim=-1).softmax(dim=-1)
        mixtures = weights @ torch.stack(self._finished, dim=-2)
        self._prepared = list(mixtures.unbind(dim=-2))


def _scores(directions: Tensor, source: Tensor) -> Tensor:
    """Return the score of a source in every direction, (n_directions, n_samples, n_tokens)."""
    products = directions @ source.flatten(0, 1).T
    inverse_rms = source.square().mean(dim=-1).add(_EPSILON).rsqrt()
    return products.unflatten(1, source.shape[:2]) * inverse_rms


def depth_stream(
    embedding: Tensor,
    reads: Sequence[DepthRead],
    *,
    n_blocks: int | None = None,
    two_phase: bool = False,
) -> DepthStream:
    r"""Begin the residual stream of a network with attention over depth.

    Parameters
    ----------
    embedding : Tensor of shape (n_samples, n_tokens, width)
        Source :math:`v_0`.
    reads : sequence of DepthRead
        One per sub-layer, in the order in which the network reaches them, and one for the head.
    n_blocks : int, default=None
        Blocks N, at most as many as there are sub-layers. None makes every sub-layer a block of
        its own, which is Full attention over depth.
    two_phase : bool, default=False
        Whether the reads of a block attend to the finished sources together, in one product. The
        result is the same up to rounding; it reads the sources less often.

    Returns
    -------
    stream : DepthStream
        Its `read` and `add` are called in turn, with a last `read` for the head.

    Raises
    ------
    ValueError
        If there are no sub-layers, or more blocks than sub-layers.
    TypeError
        If `n_blocks` is no integer.

    Notes
    -----
    Blocks have ``L // N`` of the L sub-layers; the last takes the remainder. The first read of
    block n has n sources, the sums :math:`b_1, \dots, b_{n-1}` of the blocks before it and the
    embedding; the others have the unfinished sum of their own block as well. The very first read
    has a single source, with weight one. With N = 1 the sum of all outputs is kept apart from
    the embedding, so that read i > 1 is :math:`\alpha v_0 + (1 - \alpha) (v_1 + \dots + v_{i-1})`:
    half the plain residual stream while the query is zero.

    Every read is over L + 1 sources at most, so that memory grows with the depth; Block lowers it
    to N + 1.

    References
    ----------
    .. [1] Kimi Team. "Attention Residuals". arXiv:2603.15031, 2026.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.models import DepthRead, depth_stream
    >>> reads = [DepthRead(4), DepthRead(4), DepthRead(4, read_kind="output")]
    >>> stream = depth_stream(torch.ones(1, 1, 4), reads)
    >>> for layer in (lambda h: 2 * h, lambda h: 4 * h):
    ...     stream.add(layer(stream.read()))
    >>> stream.read().detach()
    tensor([[[3., 3., 3., 3.]]])
    >>> [weights.shape[-1] for weights in stream.weights]
    [1, 2, 3]
    """
    if len(reads) < 2:
        raise ValueError(
            "`reads` must hold one read for every sub-layer and one for the head; got "
            f"{len(reads)}."
        )
    n_layers = len(reads) - 1
    sizes = block_sizes(n_layers, n_layers if n_blocks is None else n_blocks)
    kind = _TwoPhaseStream if two_phase else _DirectStream
    return kind(embedding, reads, sizes)


def block_sizes(n_layers: int, n_blocks: int) -> list[int]:
    """Return how many sub-layers each block has; the last takes the remainder."""
    if check_integer("n_blocks", n_blocks, low=1) > n_layers:
        raise ValueError(
            f"`n_blocks` must not exceed the number of sub-layers, two per transformer block; got "
            f"{n_blocks} for {n_layers}."
        )
    size = n_layers // n_blocks
    return [size] * (n_blocks - 1) + [n_layers - size * (n_blocks - 1)]
