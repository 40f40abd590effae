"""Configurations in words: who decides there, and what the experts say."""

from collections.abc import Sequence

import numpy as np

from sk_arcal._validation import FloatArray

# Gates that make up this much of the mixture are named, three at most.
_NAMED_SHARE, _MOST_NAMED = 0.9, 3
# An expert that has this much of the gate decides alone.
_ALONE = 0.9
# Experts whose confidences are no further apart agree.
_AGREEMENT = 0.05


def configuration_words(gates: FloatArray, own: FloatArray, names: Sequence[str]) -> str:
    """Describe a configuration.

    Parameters
    ----------
    gates, own : ndarray of shape (n_experts,)
        Mean gates, and mean probabilities of the event by the experts.
    names : sequence of str
        Experts.

    Returns
    -------
    words : str
        Such as "experts 0 and 1 (60:40), divided: 20% and 80%".
    """
    order = np.argsort(-gates, kind="stable")
    needed = int(np.searchsorted(np.cumsum(gates[order]), _NAMED_SHARE - 1e-9)) + 1
    shown = np.sort(order[: min(needed, _MOST_NAMED)])
    who = [names[m] for m in shown]
    if len(shown) == 1 and gates[shown[0]] >= _ALONE:
        return f"expert {who[0]} alone, says {own[shown[0]]:.0%}"
    parts = ":".join(f"{100 * gates[m]:.0f}" for m in shown)
    says = [f"{own[m]:.0%}" for m in shown]
    if np.ptp(own[shown]) <= _AGREEMENT:
        mean = float(np.average(own[shown], weights=gates[shown]))
        return f"experts {enumerate_words(who)} ({parts}), agreed on {mean:.0%}"
    return f"experts {enumerate_words(who)} ({parts}), divided: {enumerate_words(says)}"


def enumerate_words(words: Sequence[str]) -> str:
    """Write words with commas and an "and"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def letter(position: int) -> str:
    """Return A, B, ..., Z, A1, B1, ..."""
    turn, place = divmod(position, 26)
    return chr(ord("A") + place) + (str(turn) if turn else "")
