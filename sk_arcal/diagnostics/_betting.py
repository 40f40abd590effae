"""A test that may be looked at after every row: bet on the outcome with what routing says.

A gambler starts with a wealth of 1. Before each outcome y is seen, he stakes theta w f~(u) on it,
with everything fitted on earlier rows (`PastRows`), and his wealth is multiplied by

    1 + theta w f~(u) (y - g^(c)).

If routing says nothing beyond confidence this is a fair game, and by Ville's inequality the
chance that wealth ever reaches 1 / alpha is at most alpha: p = 1 / (largest wealth so far), at any
time and after any number of looks (G. Shafer, "Testing by betting", Journal of the Royal
Statistical Society A 184, 2021; I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random
variables by betting", the same B 86, 2024). The wealth is split evenly at the start over directions
f, both signs and four sizes of theta, which is a fair game as well and needs no tuning. A stake
that could lose more than 90 % is reduced to that.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from sk_arcal._validation import (
    check_events,
    check_integer,
    check_length,
    check_probabilities,
    check_vector,
)
from sk_arcal.diagnostics._conditional._past_rows import PastRows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_SIZES = (0.025, 0.06, 0.14, 0.32)
_THETA = np.array([*_SIZES, *(-size for size in _SIZES)])
_LARGEST_LOSS = 0.9
_N_ORDERED = 3
_FIRST_BET = 100
_SHORTEST_WAIT, _LONGEST_WAIT = 25, 500


class BettingTest:
    """Test a stream of rows, at any time, whether routing says more than confidence.

    Parameters
    ----------
    levels : sequence, default=()
        Values of the routing to bet on one by one, such as the ids of experts. Rows with other
        values are no part of those bets.
    ordered : bool, default=True
        Whether the order of the routing counts. False for names, which need `levels`.
    window : int, default=4096
        Number of latest rows that bets are made with, at least 200. Memory is bounded by it.

    Attributes
    ----------
    n_samples : int
        Rows seen.
    wealth : float
        Present wealth; starts at 1.
    pvalue : float
        One over the largest wealth so far, at most 1.

    Raises
    ------
    ValueError
        If levels repeat, there is nothing to bet on, or `window` is below 200.
    TypeError
        If `window` is not an integer.

    See Also
    --------
    conditional_calibration_test : The test for a table of fixed size, with more power.

    Notes
    -----
    The order of the rows is the order of arrival, and counts. The first 100 rows are looked at and
    not bet on. The past is fitted anew after 25 rows, later after a tenth of the rows seen and
    at the latest after 500, so that one block of many rows gives what many single rows give.

    The game is fair up to a product of two errors, that of the event rate and that of the mean
    stake at one confidence, both learned from the window. New rows renew these errors, and they
    cancel; what does not is a bend of both inside one bin of confidence, the more so the longer
    the stream.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import BettingTest
    >>> rng = np.random.default_rng(0)
    >>> confidence, routing = rng.uniform(0.5, 1, 3000), rng.normal(size=3000)
    >>> right = rng.random(3000) < confidence - 0.1 + 0.08 * np.sign(routing)
    >>> test = BettingTest()
    >>> for rows in np.array_split(np.arange(3000), 30):
    ...     test = test.update(right[rows], confidence[rows], routing[rows])
    ...     if test.pvalue <= 0.01:
    ...         break
    >>> test.n_samples < 3000
    True
    """

    def __init__(
        self, *, levels: Sequence[object] = (), ordered: bool = True, window: int = 4096
    ) -> None:
        self._levels = {level: k for k, level in enumerate(levels)}
        if len(self._levels) < len(levels):
            raise ValueError(f"`levels` must differ from one another; got {list(levels)!r}.")
        if not ordered and not self._levels:
            raise ValueError("`ordered=False` leaves nothing to bet on; name the `levels`.")
        self._ordered = ordered
        self._window = np.empty((check_integer("window", window, low=200), 4))
        n_directions = len(self._levels) + _N_ORDERED * ordered
        self._log_wealth = np.zeros((n_directions, len(_THETA)))
        self._log_largest = 0.0
        self._past: PastRows | None = None
        self._next_fit = _FIRST_BET
        self.n_samples = 0

    def update(
        self,
        y_true: ArrayLike,
        y_prob: ArrayLike,
        routing: ArrayLike,
        *,
        together: bool = False,
    ) -> "BettingTest":
        """Bet on new rows in their order, then learn from them.

        Parameters
        ----------
        y_true : array-like of shape (n_new,)
            Events, 0 or 1.
        y_prob : array-like of shape (n_new,)
            Confidence, in [0, 1].
        routing : array-like of shape (n_new,)
            Routing feature; numbers if `ordered`.
        together : bool, default=False
            Whether these rows depend on one another (crops of an image, tokens of a text). They
            then are one bet, and have to come in one call.

        Returns
        -------
        self : BettingTest
            The same object.

        Raises
        ------
        ValueError
            If lengths differ, a value is NaN or out of range.
        TypeError
            If arrays hold the wrong kind of value.
        """
        rows = self._read(y_true, y_prob, routing)
        start = 0
        while start < len(rows):
            stop = len(rows) if together else min(len(rows), start + self._rows_to_fit)
            self._bet(rows[start:stop], together)
            self._remember(rows[start:stop])
            start = stop
        return self

    @property
    def wealth(self) -> float:
        """Present wealth; starts at 1."""
        return float(np.exp(self._log_wealth).mean())

    @property
    def pvalue(self) -> float:
        """One over the largest wealth so far, at most 1."""
        return float(np.exp(-self._log_largest))

    @property
    def _rows_to_fit(self) -> int:
        return self._next_fit - self.n_samples

    def _read(self, y_true: ArrayLike, y_prob: ArrayLike, routing: ArrayLike) -> FloatArray:
        """Return columns confidence, event, routing, level."""
        events = check_events(y_true)
        confidence = check_probabilities(y_prob, n_samples=len(events))
        values = np.asarray(routing)
        check_length("routing", values, len(events))
        numbers = check_vector(values, "routing") if self._ordered else np.zeros(len(events))
        level = [self._levels.get(value, -1) for value in values.ravel().tolist()]
        return np.column_stack([confidence, events, numbers, level])

    def _bet(self, rows: FloatArray, together: bool) -> None:
        """Multiply the wealth of every bet by what it wins or loses, row by row."""
        if self._past is None:
            return
        confidence, events, routing, level = rows.T
        rate = self._past.rate(confidence)
        stakes = self._past.stakes(confidence, routing, level.astype(np.intp))
        worst = np.abs(stakes) * np.maximum(rate, 1 - rate)[:, None]
        won = stakes * (events - rate)[:, None]
        if together:
            won, worst = won.sum(axis=0, keepdims=True), worst.sum(axis=0, keepdims=True)
        theta = _THETA * np.minimum(1, _LARGEST_LOSS / np.maximum(self._risk(worst), 1e-12))
        path = self._log_wealth + np.cumsum(np.log1p(theta * won[:, :, None]), axis=0)
        self._log_wealth = path[-1]
        mean = logsumexp(path, axis=(1, 2)) - np.log(self._log_wealth.size)
        self._log_largest = max(self._log_largest, float(mean.max()))

    @staticmethod
    def _risk(worst: FloatArray) -> FloatArray:
        return np.abs(_THETA) * worst[:, :, None]

    def _remember(self, rows: FloatArray) -> None:
        """Put rows into the window, over the oldest ones, and fit the past anew when it is time."""
        size = len(self._window)
        kept = rows[-size:]
        places = (self.n_samples + len(rows) - len(kept) + np.arange(len(kept))) % size
        self._window[places] = kept
        self.n_samples += len(rows)
        if self.n_samples >= self._next_fit:
            confidence, events, routing, level = self._window[: self.n_samples].T
            self._past = PastRows(
                confidence,
                events,
                routing,
                level.astype(np.intp),
                n_levels=len(self._levels),
                ordered=self._ordered,
            )
            wait = max(_SHORTEST_WAIT, min(self.n_samples // 10, _LONGEST_WAIT))
            self._next_fit = self.n_samples + wait
