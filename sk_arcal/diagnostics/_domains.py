"""Splits by domain, for training on some and testing on another, and subsets by agreement."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.utils import indexable

from sk_arcal._validation import FloatArray, check_groups, check_integer, check_number, check_vector

IntArray = NDArray[np.intp]


class LeaveOneDomainOut(LeaveOneGroupOut):
    """Hold out one domain after the other, and train on the others or on the earlier ones.

    A splitter for everything of scikit-learn that takes ``cv``; the domains are its `groups`.

    Parameters
    ----------
    domains : sequence, default=None
        Domains to hold out, in this order; the others are trained on only. None holds out every
        domain in sorted order.
    forward : bool, default=False
        Whether to train on earlier domains only, as under drift in time. Domains are ordered as
        in `domains`, whatever it leaves out is earlier than all of them, and the first domain of
        all is never held out.
    min_train_rows : int, default=1
        Fewest rows to train on.

    See Also
    --------
    agreement_subsets : Shifted subsets of one data set.
    share_weights : A shift of the shares of domains by weights.
    sklearn.model_selection.LeaveOneGroupOut : Without order and choice.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.diagnostics import LeaveOneDomainOut
    >>> year = np.array([2020, 2020, 2021, 2021, 2022])
    >>> splitter = LeaveOneDomainOut(forward=True)
    >>> splitter.held_out(year).tolist()
    [2021, 2022]
    >>> [(train.tolist(), test.tolist()) for train, test in splitter.split(year, groups=year)]
    [([0, 1], [2, 3]), ([0, 1, 2, 3], [4])]
    """

    def __init__(
        self,
        domains: Any = None,
        *,
        forward: bool = False,
        min_train_rows: int = 1,
    ) -> None:
        self.domains = domains
        self.forward = forward
        self.min_train_rows = min_train_rows

    def held_out(self, groups: ArrayLike) -> NDArray[Any]:
        """Return the domains that are held out, in the order of the splits.

        Parameters
        ----------
        groups : array-like of shape (n_samples,)
            Domain of every row.

        Returns
        -------
        domains : ndarray of shape (n_splits,)
            Their names.

        Raises
        ------
        ValueError
            If `groups` is missing or holds one domain, `domains` names one that is not there or
            one twice, or a split would train on fewer than `min_train_rows` rows.
        """
        names, splits = self._splits(groups)
        return names[[held for held, _ in splits]]

    def get_n_splits(self, X: Any = None, y: Any = None, groups: ArrayLike | None = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y : object, default=None
            Ignored.
        groups : array-like of shape (n_samples,)
            Domain of every row.

        Returns
        -------
        n_splits : int
            One per domain that is held out.

        Raises
        ------
        ValueError
            As :meth:`held_out`.
        """
        return len(self._splits(groups)[1])

    def split(
        self, X: Any, y: Any = None, groups: ArrayLike | None = None
    ) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield the rows to train on and the rows to test on.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Ignored.
        groups : array-like of shape (n_samples,)
            Domain of every row.

        Yields
        ------
        train : ndarray
            Row numbers of the other domains, or of the earlier ones.
        test : ndarray
            Row numbers of the domain held out.

        Raises
        ------
        ValueError
            As :meth:`held_out`.
        """
        X, y, groups = indexable(X, y, groups)
        names, splits = self._splits(groups)
        codes = _codes(groups)[1]
        for held, trained in splits:
            train = np.zeros(len(names), dtype=bool)
            train[trained] = True
            yield np.flatnonzero(train[codes]), np.flatnonzero(codes == held)

    def _splits(self, groups: ArrayLike | None) -> tuple[NDArray[Any], list[tuple[int, list[int]]]]:
        """Return all domains, and of every split the one held out and those trained on."""
        least = check_integer("min_train_rows", self.min_train_rows, low=1)
        names, codes = _codes(groups)
        chosen = self._chosen(names)
        order = [code for code in range(len(names)) if code not in chosen] + chosen
        splits = []
        for held in chosen:
            place = order.index(held)
            trained = order[:place] if self.forward else [one for one in order if one != held]
            if trained or not self.forward:
                splits.append((held, trained))
        rows = np.bincount(codes)
        for held, trained in splits:
            if rows[trained].sum() < least:
                raise ValueError(
                    f"`min_train_rows` is {least}; holding out the domain {names[held]!s} leaves "
                    f"{rows[trained].sum()} rows to train on. Lower it or restrict `domains`."
                )
        return names, splits

    def _chosen(self, names: NDArray[Any]) -> list[int]:
        if self.domains is None:
            return list(range(len(names)))
        known = names.tolist()
        words = names.dtype.kind == "U"
        wanted = [str(one) if words else one for one in np.asarray(self.domains).tolist()]
        unknown = [one for one in wanted if one not in known]
        if unknown or not wanted or len(set(wanted)) < len(wanted):
            raise ValueError(
                f"`domains` must name domains of `groups`, each once: {known}; got {wanted}."
            )
        return [known.index(one) for one in wanted]


def _codes(groups: Any) -> tuple[NDArray[Any], IntArray]:
    if groups is None:
        raise ValueError("`groups` is missing: it holds the domain of every row.")
    names, codes = check_groups(groups, len(groups))
    if len(names) < 2:
        raise ValueError(
            f"`groups` must hold at least two domains; got {names.tolist()} in {len(codes)} rows."
        )
    return names, codes


def agreement_subsets(
    agreement: ArrayLike, *, hard: float = 0.7, easy: float = 0.9
) -> NDArray[np.str_]:
    """Sort rows into hard, medium and easy by how far their annotators agree.

    Parameters
    ----------
    agreement : array-like of shape (n_samples,) or (n_samples, n_classes)
        Share of the annotators that chose the most frequent answer, in [0, 1]; or how many chose
        every class, of which the largest share is taken.
    hard : float, default=0.7
        Rows below it are hard.
    easy : float, default=0.9
        Rows above it are easy; not below `hard`.

    Returns
    -------
    subsets : ndarray of shape (n_samples,)
        "hard", "medium" or "easy".

    Raises
    ------
    ValueError
        If the shares are not in [0, 1], a count is negative or a row has none, or the limits
        are not in order.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    routing_entropy_by_subset : Whether the router is less certain on the hard rows.
    LeaveOneDomainOut : Shifts from domain to domain.

    Notes
    -----
    The limits and the subsets are those of [1]_ for images with the answers of many people.

    References
    ----------
    .. [1] G. Wong, D. Prinster, S. Saria, R. Chellappa and A. Liu. "Toward calibrated
       mixture-of-experts under distribution shift". ICML 2026.

    Examples
    --------
    >>> from sk_arcal.diagnostics import agreement_subsets
    >>> agreement_subsets([0.5, 0.8, 0.95]).tolist()
    ['hard', 'medium', 'easy']
    >>> agreement_subsets([[5, 4, 1], [0, 0, 10]]).tolist()
    ['hard', 'easy']
    """
    low = check_number("hard", hard, low=0, high=1)
    high = check_number("easy", easy, low=low, high=1)
    share = _largest_share(agreement)
    return np.where(share < low, "hard", np.where(share > high, "easy", "medium"))


def _largest_share(agreement: ArrayLike) -> FloatArray:
    if np.ndim(agreement) != 2 or np.shape(agreement)[1] == 1:
        share = check_vector(agreement, "agreement")
        if (share < 0).any() or (share > 1).any():
            raise ValueError(
                "`agreement` must lie in [0, 1]; pass counts as one column per class. "
                f"Got values from {share.min():g} to {share.max():g}."
            )
        return share
    shape = np.shape(agreement)
    counts = check_vector(np.ravel(agreement), "agreement").reshape(shape)
    total = counts.sum(axis=1)
    if (counts < 0).any() or (total == 0).any():
        row = int(np.flatnonzero((counts < 0).any(axis=1) | (total == 0))[0])
        raise ValueError(
            "`agreement` must hold counts, not negative and not all zero; "
            f"row {row} holds {counts[row].tolist()}."
        )
    return counts.max(axis=1) / total
