r"""What a network does to its logits after the head, found by putting states in front of the head.

Most do nothing. Some multiply them (``logit_scale``, ``logits_scaling``), some bound them,
:math:`c \tanh(s z / c)`. Large states show the bound c, small ones the factor s, and states of
every size between show whether that is all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Largest product of head and state: where a bound shows, and where only a factor does.
_LARGE, _SMALL = 1e4, 1.0
_BETWEEN = (0.1, 10.0, 100.0)
# Of the largest logit; the lens computes the head in single precision where the network rounds.
_TOLERANCES = {torch.float16: 1e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True)
class Scaling:
    """Logits from the output z of the head.

    Attributes
    ----------
    factor : float
        What z is multiplied with.
    softcap : float or None
        Bound c of ``c * tanh(factor * z / c)``; None if there is none.
    n_scores : int
        Entries of z that the network keeps, the first ones.
    """

    factor: float
    softcap: float | None
    n_scores: int

    def __call__(self, raw: Tensor) -> Tensor:
        """Return logits."""
        scaled = raw * self.factor
        return scaled if self.softcap is None else self.softcap * (scaled / self.softcap).tanh()


def find_scaling(state: Tensor, head: Callable[[Tensor], Tensor], put: Callable) -> Scaling:
    """Return what a network does after its head.

    Parameters
    ----------
    state : Tensor of shape (n_rows, n_tokens, d)
        As it enters the head; gives shape and precision.
    head : callable
        The head alone.
    put : callable
        Takes a state and returns the logits at the last token that the network makes of it.

    Returns
    -------
    scaling : Scaling
        Exact for factors and bounds.

    Raises
    ------
    ValueError
        If the network does something else; holds the ratio that was measured.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(state.shape, generator=generator).to(state)
    unit = drawn / head(drawn)[:, -1].float().abs().max()

    def pair(size: float) -> tuple[Tensor, Tensor]:
        given = unit * size
        logits = put(given).float()
        return head(given)[:, -1, : logits.shape[-1]].float(), logits

    softcap = _bound(pair(_LARGE), pair(2 * _LARGE))
    raw, logits = pair(_SMALL)
    linear = logits if softcap is None else softcap * (logits / softcap).atanh()
    factor = float((raw * linear).sum() / raw.square().sum())
    scaling = Scaling(_rounded(factor), softcap, logits.shape[-1])
    for size in _BETWEEN:
        raw, logits = pair(size)
        refuse_difference(
            scaling(raw), logits, state.dtype, "what it does after its head is not known"
        )
    return scaling


def refuse_difference(ours: Tensor, theirs: Tensor, dtype: torch.dtype, reason: str) -> None:
    """Raise if two arrays of logits differ by more than their precision.

    Parameters
    ----------
    ours, theirs : Tensor of the same shape
        Of the lens and of the network.
    dtype : torch.dtype
        Precision in which the network computes.
    reason : str
        What that means.

    Raises
    ------
    ValueError
        If they do; holds the difference and the ratio.
    """
    size = float(theirs.abs().max())
    gap = float((ours - theirs).abs().max())
    if gap <= _TOLERANCES.get(dtype, 1e-4) * max(size, 1e-6):
        return
    ratio = (theirs / ours)[ours.abs() > 0.01 * ours.abs().max()]
    low, middle, high = (float(ratio.quantile(level)) for level in (0.0, 0.5, 1.0))
    raise ValueError(
        "The lens at the last layer must equal the network's own logits, but they differ by up to "
        f"{gap:.3g} of {size:.3g}; the ratio of the network's to the lens's is {middle:.4g} "
        f"(median; {low:.4g} to {high:.4g}): {reason}. Use readout='hidden', and probes instead "
        "of the lens."
    )


def _bound(large: tuple[Tensor, Tensor], larger: tuple[Tensor, Tensor]) -> float | None:
    """Return where logits stop growing while what the head returns still does."""
    raw, logits = (float(b.abs().max() / a.abs().max()) for a, b in zip(large, larger, strict=True))
    return float(large[1].abs().max()) if raw > 1.5 and logits < 1.01 else None


def _rounded(factor: float) -> float:
    """Return one where a factor is one up to rounding, as it nearly always is."""
    return 1.0 if abs(factor - 1) < 1e-5 else factor
