"""Multicalibration: patch groups of routing at every level of confidence, until none is off."""

from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from sk_arcal._columns import Selector
from sk_arcal._validation import FloatArray, check_integer, check_number, check_option
from sk_arcal.calibration._base import BaseCalibrator
from sk_arcal.calibration._groups._patching import (
    Patch,
    PatchedRows,
    Patching,
    boost,
    largest_gap,
)
from sk_arcal.calibration._groups._round_search import cross_validate
from sk_arcal.calibration._groups._routing_groups import RoutingGroups
from sk_arcal.calibration._lift import LIFTS, lift_top_label
from sk_arcal.calibration._network._mlp_rows import DistinctRows, event_log_odds, orientation
from sk_arcal.calibration._tempering import fit_temperature, warn_at_bound


class MulticalibrationCalibrator(BaseCalibrator):
    r"""Patch the confidence until no group of routing is off at any level of confidence.

    Starts from one temperature. Round after round it finds the cell, a group of rows at a level of
    the current confidence, whose event rate contradicts the prediction most, and shifts the
    log-odds of its rows. Groups are ranges of the routing columns. The number of rounds is chosen
    by cross-validation, with a standard-error rule in favour of the plain temperature.

    Use it where errors of groups cancel on average, so that the confidence looks calibrated until
    the groups' shares shift, and where the repair has to be read line by line (`patches_`). The
    correction is a sum of steps, so two rows on either side of an edge may be corrected
    differently; that of :class:`NWConditionalCalibrator` is smooth. That patches are used is no
    proof that routing matters: now and then a calibrated model is patched. Proof comes from
    :func:`~sk_arcal.diagnostics.conditional_calibration_test`.

    Parameters
    ----------
    confidence_columns : int, str, list, slice, mask or callable, default=None
        Columns of X that hold the confidence: one for the score of an event, or one per class.
        By default columns named ``logit__<class>`` or ``proba__<class>``; without such names the
        first column with two classes, the first K with K > 2.
    routing_columns : int, str, list, slice, mask or callable, default=None
        Routing columns; by default all that are left. Gates and outputs of experts may be among
        them. ``[]`` leaves the group of all rows: a temperature, then boosted histogram binning.
    confidence_kind : {"auto", "logit", "probability"}, default="auto"
        Scale of the confidence columns. "auto" decides once, in `fit`: probabilities if all
        lie in [0, 1] and, with several columns, sum to one.
    classes : array-like of shape (n_classes,), default=None
        The class each confidence column stands for, when y may lack one; for a single column
        ``[no_event, event]``.
    n_groups : int, default=3
        Groups of each routing column, of equal weight. A column of at most ten values, or
        `n_groups` if that is more, is cut between all of them.
    interactions : bool, default=False
        Whether the groups of every two columns are crossed, too.
    n_bins : int, default=5
        Bins of the current confidence, of equal weight; fewer where ties leave no room. Besides
        them a group has a cell of all its rows.
    learning_rate : float, default=0.5
        Share of the way that one patch goes, in (0, 1]. Below 1 overlapping groups share what has
        to be corrected.
    shrinkage : float, default=10.0
        Pseudo-counts :math:`\lambda`: so many rows that agree with the current prediction are
        added to every cell, so that small cells are patched late and little.
    max_iter : int, default=100
        Largest number of rounds.
    n_folds : int, default=5
        Folds of the cross-validation. With fewer rows than folds the temperature is used.
    n_standard_errors : float, default=1.0
        How many standard errors of the paired difference in held-out log loss patches have to
        gain over the temperature alone; with m families of groups (all rows, columns, pairs)
        :math:`\sqrt{1 + 2 \log m}` times as many. 0 takes the lowest loss.
    lift : {"temperature", "proportional", "uniform"}, default="temperature"
        With K > 2 classes the probability of the top class is patched; how the others share the
        rest. "temperature" keeps the order of the classes.

    Attributes
    ----------
    n_rounds_ : int
        Number of patches; 0 is the plain temperature.
    n_iter_ : int
        How often the worst cell of all rows was looked for, once more than it was patched.
    temperature_ : float
        T of the plain temperature.
    patches_ : dict of str to ndarray
        One line per round: "group" (text such as "0.2 <= depth < 0.7"), "low" and "high" (range of
        the confidence in the event before the patch), "shift" (added to the log-odds), "gap"
        (event rate less mean confidence before the patch) and "weight" of the cell.
    groups_ : tuple of str
        All groups looked at.
    cv_losses_ : ndarray of shape (1 + `max_iter`,)
        Mean held-out log loss of the event after 0, 1, ... rounds, nats. The one entry NaN where
        nothing was held out.
    worst_gap_ : ndarray of shape (2,)
        Largest :math:`|q - p|` of a cell of `fit` (see Notes), before the first round and after
        the last, in probability units. In sample, so not 0 for a calibrated model.
    n_clipped_ : int
        Rows of `fit` with a calibrated confidence below 1/K, out of reach for
        ``lift="temperature"``.
    classes_ : ndarray of shape (n_classes,)
        Class labels, sorted.
    column_roles_ : ColumnRoles
        Positions of the confidence and routing columns.
    confidence_kind_ : str
        "logit" or "probability", as decided in `fit`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names, where X had any.

    Raises
    ------
    ValueError
        From `fit`, if the data or a parameter cannot be used.
    TypeError
        From `fit`, if a parameter has the wrong kind.

    See Also
    --------
    NWConditionalCalibrator : Smooth correction by confidence and routing.
    AdversarialReweightCalibrator : A temperature that varies with routing.
    sk_arcal.metrics.group_calibration_error : What is left in every group.

    Notes
    -----
    A cell of W rows with event rate r and mean prediction p is drawn towards
    :math:`q = (W r + \lambda p) / (W + \lambda)`,

    .. math:: z \leftarrow z + \nu \, (\operatorname{logit} q - \operatorname{logit} p),

    which for :math:`\nu \le 1` never leads past q. The worst cell is the one whose log loss would
    gain most if its confidence were constant,
    :math:`W [r \log \frac{q}{p} + (1 - r) \log \frac{1 - q}{1 - p}]`, about half a squared
    z-score. Rounds end early where no cell is off by a tenth of a standard error. Bins are cut
    anew from the current confidence in every round: calibrated has to be what is predicted in the
    end.

    With more than two classes the event is that the top class is right. The temperature is that
    of all rows, in every fold. Where it stops at its lower bound (the confidence separates the
    classes perfectly) there is nothing to patch. Folds are dealt from sorted, distinct rows, so
    the result is deterministic and a weight of 3 is three rows.

    Multicalibrated is a predictor with no gap in any cell [1]_. What data support is less: the
    cross-validation stops where patches begin to follow noise.

    References
    ----------
    .. [1] U. Hebert-Johnson, M. P. Kim, O. Reingold and G. N. Rothblum. "Multicalibration:
       Calibration for the (Computationally-Identifiable) Masses". ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal import MulticalibrationCalibrator
    >>> rng = np.random.default_rng(0)
    >>> confidence, gate = rng.uniform(0.2, 0.8, size=4000), rng.integers(2, size=4000)
    >>> y = rng.random(4000) < confidence + np.where(gate == 1, 0.2, -0.2)
    >>> X = np.column_stack([confidence, gate])
    >>> calibrator = MulticalibrationCalibrator().fit(X, y)
    >>> calibrator.predict_proba([[0.5, 0], [0.5, 1]])[:, 1].round(1)
    array([0.3, 0.7])
    """

    def __init__(
        self,
        *,
        confidence_columns: Selector = None,
        routing_columns: Selector = None,
        confidence_kind: str = "auto",
        classes: ArrayLike | None = None,
        n_groups: int = 3,
        interactions: bool = False,
        n_bins: int = 5,
        learning_rate: float = 0.5,
        shrinkage: float = 10.0,
        max_iter: int = 100,
        n_folds: int = 5,
        n_standard_errors: float = 1.0,
        lift: str = "temperature",
    ) -> None:
        super().__init__(
            confidence_columns=confidence_columns,
            routing_columns=routing_columns,
            confidence_kind=confidence_kind,
            classes=classes,
        )
        self.n_groups = n_groups
        self.interactions = interactions
        self.n_bins = n_bins
        self.learning_rate = learning_rate
        self.shrinkage = shrinkage
        self.max_iter = max_iter
        self.n_folds = n_folds
        self.n_standard_errors = n_standard_errors
        self.lift = lift

    def _fit(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        patching = self._checked_patching()
        plain = fit_temperature(logits, y, sample_weight)
        warn_at_bound(plain)
        self.temperature_ = plain.temperature
        rows = self._patched_rows(logits, routing, y, sample_weight)
        self.n_rounds_, self.cv_losses_ = 0, np.full(1, np.nan)
        if plain.bound != "lower":
            found = cross_validate(rows, patching, self.n_folds)
            self.cv_losses_ = found.losses
            # The best of several families looks good by chance, as in the other searches.
            factor = np.sqrt(1 + 2 * np.log(len(self._groups.families)))
            self.n_rounds_ = found.choose(self.n_standard_errors * factor)
        self._rounds = tuple(islice(boost(rows, patching), self.n_rounds_))
        self.n_rounds_ = len(self._rounds)
        self.n_iter_ = self.n_rounds_ + 1
        after = self._replay(rows.log_odds, rows.codes)
        self.worst_gap_ = np.array(
            [largest_gap(log_odds, rows, patching) for log_odds in (rows.log_odds, after)]
        )
        self.patches_ = _record(self._rounds, self.groups_, self._sign)
        self.n_clipped_ = self._count_clipped(logits, routing)

    def _checked_patching(self) -> Patching:
        check_option("lift", self.lift, LIFTS)
        check_integer("n_groups", self.n_groups, low=2)
        check_integer("n_folds", self.n_folds, low=2)
        check_number("n_standard_errors", self.n_standard_errors, low=0.0)
        if not isinstance(self.interactions, (bool, np.bool_)):
            raise TypeError(f"`interactions` must be True or False; got {self.interactions!r}.")
        rate = check_number("learning_rate", self.learning_rate, high=1.0)
        if rate <= 0:
            raise ValueError(f"`learning_rate` is a share of the way, in (0, 1]; got {rate}.")
        return Patching(
            n_bins=check_integer("n_bins", self.n_bins, low=1),
            learning_rate=rate,
            shrinkage=check_number("shrinkage", self.shrinkage, low=0.0),
            max_iter=check_integer("max_iter", self.max_iter, low=1),
        )

    def _patched_rows(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> PatchedRows:
        event = y if logits.ndim == 1 else (logits.argmax(axis=1) == y).astype(np.float64)
        log_odds = event_log_odds(logits / self.temperature_)
        self._sign = orientation(log_odds, event, sample_weight)
        if self._sign < 0:
            log_odds, event = -log_odds, 1 - event
        rows = DistinctRows.collect(log_odds, routing, event, sample_weight)
        self._groups = RoutingGroups.fit(
            rows.routing,
            rows.varying,
            rows.weight,
            n_groups=self.n_groups,
            interactions=self.interactions,
        )
        self.groups_ = self._groups.names(self._routing_names())
        return PatchedRows(rows.log_odds, self._groups.codes(rows.routing), rows.event, rows.weight)

    def _routing_names(self) -> list[str]:
        names = getattr(self, "feature_names_in_", None)
        positions = self.column_roles_.routing
        return [f"x{place}" if names is None else str(names[place]) for place in positions]

    def _replay(self, log_odds: FloatArray, codes: NDArray[np.intp]) -> FloatArray:
        for patch in self._rounds:
            log_odds = patch.apply(log_odds, codes)
        return log_odds

    def _patched_log_odds(
        self, tempered: FloatArray, routing: FloatArray
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return log-odds of the event after all rounds, and which rows have changed."""
        before = self._sign * event_log_odds(tempered)
        after = self._replay(before, self._groups.codes(routing))
        return self._sign * after, after != before

    def _calibrated_logits(self, logits: FloatArray, routing: FloatArray) -> FloatArray:
        tempered = logits / self.temperature_
        if not self._rounds:
            return tempered
        patched, changed = self._patched_log_odds(tempered, routing)
        if logits.ndim == 1:
            return patched
        lifted, _ = lift_top_label(tempered, expit(patched), self.lift)
        return np.where(changed[:, None], lifted, tempered)

    def _count_clipped(self, logits: FloatArray, routing: FloatArray) -> int:
        if logits.ndim == 1 or not self._rounds:
            return 0
        patched, changed = self._patched_log_odds(logits / self.temperature_, routing)
        return int(np.count_nonzero(changed & (expit(patched) < 1 / logits.shape[1])))


def _record(
    rounds: tuple[Patch, ...], groups: tuple[str, ...], sign: int
) -> dict[str, NDArray[Any]]:
    """Return patches as columns, told of the event whichever outcome was patched."""
    ends = [sorted((sign * patch.low, sign * patch.high)) for patch in rounds]
    low, high = expit(np.array(ends).reshape(-1, 2)).T
    return {
        "group": np.array([groups[patch.group] for patch in rounds], dtype=str),
        "low": low,
        "high": high,
        "shift": sign * np.array([patch.shift for patch in rounds]),
        "gap": sign * np.array([patch.gap for patch in rounds]),
        "weight": np.array([patch.weight for patch in rounds]),
    }
