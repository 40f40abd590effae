"""One read over depth: a query, the gain of its norm, and a place where a hook sees the weights."""

import torch
from torch import Tensor, nn

from sk_arcal._validation import check_integer, check_option

READ_KINDS = ("attention", "mlp", "output")


class DepthRead(nn.Module):
    """The query and the key gain of one read; calling it turns scores into weights.

    A network makes one for every sub-layer and one for its head, and gives them to
    :func:`depth_stream`, which scores the sources and mixes them. Every read passes through the
    call of its module, so a forward hook there sees the weights.

    Parameters
    ----------
    width : int
        Numbers per token.
    read_kind : {"attention", "mlp", "output"}, default="attention"
        What the mixture is for: an attention layer, an MLP, or the head.

    Attributes
    ----------
    query : Parameter of shape (width,)
        Starts at zero.
    key_gain : Parameter of shape (width,)
        Starts at one.
    read_kind : str
        As given.
    route_kind : str
        "depth": the routes are earlier depths. Read by feature extractors.

    Raises
    ------
    ValueError
        If `width` is below 1 or `read_kind` is none of the three.
    TypeError
        If `width` is no integer.

    See Also
    --------
    depth_stream : Scores and mixes.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.models import DepthRead
    >>> DepthRead(16)(torch.zeros(1, 1, 4))
    tensor([[[0.2500, 0.2500, 0.2500, 0.2500]]])
    """

    route_kind = "depth"

    def __init__(self, width: int, *, read_kind: str = "attention") -> None:
        super().__init__()
        self.read_kind = check_option("read_kind", read_kind, READ_KINDS)
        self.query = nn.Parameter(torch.zeros(check_integer("width", width, low=1)))
        self.key_gain = nn.Parameter(torch.ones(width))

    @property
    def direction(self) -> Tensor:
        """What a source divided by its root mean square is multiplied with, (width,)."""
        return self.query * self.key_gain

    def forward(self, scores: Tensor) -> Tensor:
        """Return the weights of the sources.

        Parameters
        ----------
        scores : Tensor of shape (n_samples, n_tokens, n_sources)
            Products of the query with the normalised sources.

        Returns
        -------
        weights : Tensor of shape (n_samples, n_tokens, n_sources)
            Not negative; they sum to one over the sources.
        """
        # The streams hold the scores source by source; along those the softmax is several times
        # faster than along the last axis.
        return scores.movedim(-1, 0).softmax(dim=0).movedim(0, -1)

    def read_routes(self, args: tuple, output: Tensor) -> dict[str, Tensor]:
        """Say what a forward hook on this module saw.

        Parameters
        ----------
        args : tuple
            Arguments of the call.
        output : Tensor of shape (n_samples, n_tokens, n_sources)
            What the call returned.

        Returns
        -------
        routes : dict
            "weights": the weights of the sources, the embedding first.
        """
        return {"weights": output}
