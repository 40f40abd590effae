r"""The worst weights in a chi-square ball, without sorting all losses.

The weights are :math:`w = c\,(\ell - \tau)_+`, and with
:math:`M_k = \sum_i \pi_i (\ell_i - \tau)_+^k`

.. math:: \psi(\tau) = M_2 / M_1^2 = 1 + \rho .

On a fixed active set :math:`\{\ell_i > \tau\}` this is quadratic in :math:`\tau`, so that one pass
over the losses is a step of Newton's iteration. The passes form a cascade: every 64th loss is
solved by sorting, which says in which *window* the threshold of every 8th loss lies, and so on to
all. A pass sums over the losses above the window and gathers those inside; prefix sums over these
few, sorted, give the threshold exactly. If it falls outside, the window moves there.

Sources: H. Namkoong and J. Duchi, "Variance-based Regularization with Convex Objectives", JMLR 2019
(the ball and the prefix sums); the windows are ours.
"""

from dataclasses import dataclass

import numpy as np

from sk_arcal._validation import FloatArray

# Losses closer than this share of their spread are tied.
_TIE = 1e-13
_BLOCK = 16_384
# Fewer losses are sorted.
_FEWEST = 32_768
_STRIDES = (64, 8, 1)
_MOST_PASSES = 8
# Below this margin of the active mass over 1 / (1 + radius) the sums lose too many digits.
_MARGIN = 1e-4
# Half the width of a window, in standard deviations of the losses, where nothing else is known.
_WIDTH = 0.02


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where weights begin, and mass and first two moments of what lies above."""

    tau: float
    mass: float
    first: float
    second: float

    @property
    def value(self) -> float:
        """The worst case."""
        return self.tau + self.second / self.first

    def answer(self, losses: FloatArray, mass: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """Return the weights, and their products with the base masses."""
        weights, slope = np.empty(len(losses)), np.empty(len(losses))
        for begin in range(0, len(losses), _BLOCK):
            rows = slice(begin, begin + _BLOCK)
            w, s = weights[rows], slope[rows]
            np.subtract(losses[rows], self.tau, out=w)
            # twice the positive part, see `_pass`
            np.add(np.abs(w, out=s), w, out=w)
            w *= 0.5 / self.first
            np.multiply(w, 1 / len(losses) if mass is None else mass[rows], out=s)
        return weights, slope


def on_maximum(losses: FloatArray, base: FloatArray, is_enough: float) -> FloatArray | None:
    """All weight on the largest losses, if their mass is at least `is_enough`."""
    spread = losses.max() - losses.min()
    top = losses >= losses.max() - _TIE * spread
    mass = base[top].sum()
    return np.where(top, 1 / mass, 0.0) if mass >= is_enough else None


def sorted_weights(losses: FloatArray, base: FloatArray, radius: float) -> FloatArray:
    """Return the weights by sorting, for base masses of sum one."""
    at_top = on_maximum(losses, base, 1 / (1 + radius))
    if at_top is not None:
        return at_top
    # Measured from the top in units of the spread, the sums below keep their digits.
    below = (losses.max() - losses) / (losses.max() - losses.min())
    order = np.argsort(below)
    count = _n_active(below[order], base[order], radius, np.zeros(3))
    active = order[:count]
    excess = np.maximum(_depth(below[active], base[active], radius) - below, 0.0)
    return excess / (base @ excess)


def _n_active(below: FloatArray, mass: FloatArray, radius: float, head: FloatArray) -> int:
    """Count the sorted rows above the threshold; `head` has the sums of rows before them."""
    total, first, second = (head[k] + np.cumsum(mass * below**k) for k in range(3))
    # psi at the loss of each row, over the rows above it; the solution lies above every row whose
    # psi is no larger than 1 + radius.
    squares = total * below**2 - 2 * below * first + second
    linear = total * below - first
    is_active = squares > (1 + radius) * linear**2
    # Of the first rows psi is 0 / 0; they are active, and so is what the ball needs as mass.
    is_active |= (linear <= 0) | (total * (1 + radius) <= 1)
    count = len(is_active) if is_active.all() else int(is_active.argmin())
    # The mass must exceed 1 / (1 + radius), which the last comparison cannot tell at equality.
    return count + bool(count and count < len(total) and total[count - 1] * (1 + radius) <= 1)


def _depth(below: FloatArray, mass: FloatArray, radius: float) -> float:
    """Depth below the top at which the weights of the active rows reach zero."""
    total = mass.sum()
    mean = mass @ below / total
    variance = mass @ (below - mean) ** 2 / total
    return float(mean + np.sqrt(variance / (total * (1 + radius) - 1)))


def find_threshold(
    losses: FloatArray, mass: FloatArray | None, radius: float, start: float | None = None
) -> Threshold | None:
    """Find the threshold by windows.

    Parameters
    ----------
    losses : ndarray of shape (n,)
        Losses.
    mass : ndarray of shape (n,) or None
        Base masses of sum one; None if all are equal.
    radius : float
        Of the ball, positive.
    start : float, default=None
        A threshold that is nearly right; None begins with a sample.

    Returns
    -------
    threshold : Threshold or None
        None where sorting is as fast or more exact.
    """
    if len(losses) < _FEWEST:
        return None
    few = losses[:: _STRIDES[0]].copy()
    spread = float(few.std())
    if few.mean() - spread / np.sqrt(radius) <= few.min():
        found = _all_active(losses, mass, radius)
        if found is not None:
            return found
    width = _WIDTH * spread
    if start is not None:
        return _search(losses, mass, radius, (start - width, start + width), spread)
    window = _sample_window(few, radius, width)
    for stride in _STRIDES[1:]:
        part = losses if stride == 1 else losses[::stride].copy()
        part_mass = mass if mass is None or stride == 1 else _shares(mass[::stride])
        found = _search(part, part_mass, radius, window, spread)
        if found is None:
            return None
        half = (window[1] - window[0]) / 4
        window = found.tau - half, found.tau + half
    return found


def _all_active(losses: FloatArray, mass: FloatArray | None, radius: float) -> Threshold | None:
    """Return the threshold of a small ball, if it lies below all losses."""
    mean = float(losses.mean() if mass is None else mass @ losses)
    squares = (losses - mean) ** 2
    variance = float(squares.mean() if mass is None else mass @ squares)
    apart = np.sqrt(variance / radius)
    if mean - apart > losses.min():
        return None
    return Threshold(float(mean - apart), 1.0, float(apart), float(variance + apart**2))


def _shares(mass: FloatArray) -> FloatArray:
    return mass / mass.sum()


def _sample_window(sample: FloatArray, radius: float, width: float) -> tuple[float, float]:
    """Return an interval that is likely to hold the threshold, from some of the losses."""
    ranked = np.sort(sample)[::-1]
    share = np.full(len(ranked), 1 / len(ranked))
    count = _n_active(ranked[0] - ranked, share, radius, np.zeros(3))
    reach = int(4 * np.sqrt(len(ranked)))
    high, low = ranked[max(count - reach, 0)], ranked[min(count + reach, len(ranked) - 1)]
    return float(low - width / 4), float(high + width / 4)


def _search(
    losses: FloatArray,
    mass: FloatArray | None,
    radius: float,
    window: tuple[float, float],
    spread: float,
) -> Threshold | None:
    """Move the window until the threshold lies inside."""
    low, high = window
    for _ in range(_MOST_PASSES):
        head, inside, inside_mass = _pass(losses, mass, low, high)
        found = _solve(head, inside, inside_mass, radius, high)
        width = high - low
        if found is None:
            # too little lies above the window
            low, high = low - 8 * width, low
        elif low <= found.tau <= high:
            return found if _is_accurate(found, radius, spread) else None
        else:
            # a Newton step; its error is of second order, so the window may stay as wide
            low, high = found.tau - width / 2, found.tau + width / 2
    return None


def _is_accurate(found: Threshold, radius: float, spread: float) -> bool:
    """Whether enough lies above, and far enough, for the sums to have kept their digits."""
    return found.mass * (1 + radius) - 1 > _MARGIN and found.first > _MARGIN * spread * found.mass


def _pass(
    losses: FloatArray, mass: FloatArray | None, low: float, high: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sums of (loss - high)^k above the window, and losses and masses in (low, high]."""
    head, gathered, masses = np.zeros(3), [], []
    above, from_low = np.empty(_BLOCK, bool), np.empty(_BLOCK, bool)
    surplus, twice, halves = np.empty(_BLOCK), np.empty(_BLOCK), np.full(_BLOCK, 0.5)
    for begin in range(0, len(losses), _BLOCK):
        block = losses[begin : begin + _BLOCK]
        n = len(block)
        over, e, double = np.greater(block, high, out=above[:n]), surplus[:n], twice[:n]
        np.subtract(block, high, out=e)
        # the sum of a number and its magnitude is exact, and cheaper than a maximum
        np.add(np.abs(e, out=double), e, out=double)
        inside = np.flatnonzero(np.greater(block, low, out=from_low[:n]) ^ over)
        gathered.append(block[inside])
        if mass is None:
            head += np.count_nonzero(over), double @ halves[:n], double @ double / 4
            continue
        own = mass[begin : begin + n]
        weighted = np.multiply(double, own, out=e)
        head += own @ over, weighted @ halves[:n], weighted @ double / 4
        masses.append(own[inside])
    found, share = np.concatenate(gathered), 1 / len(losses)
    if mass is None:
        return head * share, found, np.full(len(found), share)
    return head, found, np.concatenate(masses)


def _solve(
    head: FloatArray, inside: FloatArray, mass: FloatArray, radius: float, high: float
) -> Threshold | None:
    """Return the threshold if no loss below the window were active; None if it lies far above."""
    order = np.argsort(inside)[::-1]
    below, mass = high - inside[order], mass[order]
    sums = head * (1, -1, 1)
    count = _n_active(below, mass, radius, sums) if len(below) else 0
    below, mass = below[:count], mass[:count]
    inner = np.array([mass.sum(), mass @ below, (mass * below) @ below])
    total, first, second = sums + inner
    margin = total * (1 + radius) - 1
    if margin <= 0:
        return None
    mean = first / total
    apart = np.sqrt(max(second / total - mean**2, 0.0) / margin)
    variance = margin * apart**2
    return Threshold(
        float(high - mean - apart),
        float(total),
        float(total * apart),
        float(total * (variance + apart**2)),
    )
