"""What a site did for every token of one batch, and the raw reading it is made from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Routes:
    """What one site did for every token of one batch.

    Made by :func:`read_routing`. All tensors lie on the device of the site, without gradients.

    Attributes
    ----------
    weights : Tensor of shape (n_rows, n_tokens, n_routes)
        Distribution over the routes, summing to one: softmax of the logits, or scores divided by
        their sum where the router scores experts one by one; at a depth site the weights with
        which earlier depths are mixed. Single precision at least.
    logits : Tensor of shape (n_rows, n_tokens, n_routes) or None
        What the router computed before scoring; None where it is not known.
    selected : Tensor of int of shape (n_rows, n_tokens, n_selected) or None
        Routes that the model used; -1 where a slot stayed empty, as when an expert is full. None
        where it is not known, and at depth sites, which use all.
    selected_weights : Tensor of shape (n_rows, n_tokens, n_selected) or None
        Factors with which the model combined them. They need not sum to one.
    scoring : str
        How `weights` follow from `logits`: "softmax", "sigmoid", "sqrtsoftplus", "sparsemixer"
        (softmax; the model then weighs each selected expert against its near rivals only),
        "given" (by the module itself), or "unknown" (no scoring explains what the model used;
        softmax).
    n_shared : int or None
        Number of experts that every token uses beside the selected ones, where it is known.
    mask : Tensor of bool of shape (n_rows, n_tokens) or None
        Real tokens; None if all are, or if the tokens of the site are not those of the input.

    Examples
    --------
    >>> import torch
    >>> from sk_arcal.feature_extraction import Routes
    >>> Routes(torch.tensor([[[0.2, 0.8]]]), scoring="given")
    Routes(1 rows, 1 tokens, 2 routes, scoring='given')
    """

    weights: "Tensor"
    logits: "Tensor | None" = None
    selected: "Tensor | None" = None
    selected_weights: "Tensor | None" = None
    scoring: str = "softmax"
    n_shared: int | None = None
    mask: "Tensor | None" = None

    def __repr__(self) -> str:
        rows, tokens, routes = self.weights.shape
        return f"Routes({rows} rows, {tokens} tokens, {routes} routes, scoring={self.scoring!r})"


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """What a rule took from one call of a module: tensors as they came, in any layout.

    Attributes
    ----------
    logits, weights, selected, selected_weights : Tensor or None
        See :class:`Routes`; at least one of the first two.
    scoring : str
        See :class:`Routes`; empty if it has to be found from the numbers.
    suffix : str
        Tells sites apart that share a module.
    """

    logits: "Tensor | None" = None
    weights: "Tensor | None" = None
    selected: "Tensor | None" = None
    selected_weights: "Tensor | None" = None
    scoring: str = ""
    suffix: str = ""
