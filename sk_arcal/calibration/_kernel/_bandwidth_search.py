r"""Search of bandwidths and shrinkage by leave-one-out log loss.

The search compares arms of growing ambition: leave the confidence alone, one temperature, a
kernel on the confidence, a kernel on the confidence and one routing column, on two, and so on.
Every axis may be off (infinite bandwidth), so the arms are nested.

- *Grid.* Bandwidths are :math:`2^{-3}, \dots, 2^3` times :math:`\sigma_d n^{-1/6}` or infinite,
  each with every number of pseudo-counts.
- *One routing column* is searched over the whole grid of both bandwidths: an effect that changes
  sign with the confidence is invisible while the confidence is off.
- *Several columns.* From two starts, the best single column and all columns at medium width, the
  best moves along single axes are taken together as long as the loss falls. Then columns are
  switched off one by one, so that every number of columns has its best setting. No step depends
  on the order of the columns.
- *Standard-error rule.* The first arm within `n_standard_errors` of the lowest loss wins, by
  the standard error of the paired difference. Where routing has the lowest loss the slack is
  :math:`\sqrt{1 + 2 \log m}` times wider: the best of m useless columns gains about that much
  more than one. Inside an arm the least complex setting within half a slack is taken: a
  leave-one-out minimum is shallow, and its rough side costs more than its smooth one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._smoothing import axis_deviation
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut, SearchLog, Trial

SHRINKAGES = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
# From wide to narrow by exact halves: the engine gets each kernel from the one before.
_MULTIPLES = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125)
# A kernel with too few neighbours at more rows than this is no candidate.
_LARGEST_THIN_SHARE = 0.1
_LARGEST_ROUNDS = 25
# A difference of mean log losses below this, in nats, is rounding.
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Selection:
    """The setting that was chosen.

    Attributes
    ----------
    word : str
        The arm: "identity", "temperature", "mean", "confidence" or "routing".
    bandwidth : ndarray of shape (n_axes,)
        Infinite where an axis is off.
    shrinkage : float
        Pseudo-counts.
    table : dict of str to ndarray
        Every setting tried; see `SearchLog.table`.
    """

    word: str
    bandwidth: FloatArray
    shrinkage: float
    table: dict[str, NDArray[Any]]


class BandwidthSearch:
    """Search bandwidths and shrinkage by leave-one-out log loss.

    Parameters
    ----------
    problem : LeaveOneOut
        The data.
    fixed_arms : dict of str to Trial
        The arms without a kernel, simplest first.
    n_standard_errors : float
        How much better than a simpler arm the choice has to be.
    """

    def __init__(
        self, problem: LeaveOneOut, fixed_arms: dict[str, Trial], n_standard_errors: float
    ) -> None:
        self._problem = problem
        self._fixed = fixed_arms
        self._n_errors = n_standard_errors
        self._log = SearchLog(problem, next(iter(fixed_arms.values())))
        for word, trial in fixed_arms.items():
            self._log.add(trial, word)
        self._steps = _candidate_steps(problem)
        # Descents come back to the same bandwidths again and again.
        self._sums: dict[bytes, tuple[FloatArray, FloatArray]] = {}
        # Both by the number of routing axes in use.
        self._best: dict[int, Trial] = {}
        self._smoothest: dict[int, Trial] = {}

    def run(self) -> Selection:
        """Search all arms and choose one."""
        active = [d for d in range(1, len(self._steps)) if len(self._steps[d]) > 1]
        self._n_columns = len(active)
        self._search_grid([0])
        for axis in active:
            self._search_grid([0, axis])
        if len(active) > 1:
            self._search_jointly(active)
        word, trial = self._choose()
        return Selection(word, trial.bandwidth, trial.shrinkage, self._log.table())

    def run_at(self, bandwidth: FloatArray) -> Selection:
        """Choose the shrinkage only."""
        trials = self._problem.trials(bandwidth[None, :])
        for trial in trials:
            self._log.add(trial)
        best = min(trials, key=lambda trial: trial.loss)
        word = "routing" if best.n_routing else "confidence"
        return Selection(word, bandwidth, best.shrinkage, self._log.table())

    # -- candidates ----------------------------------------------------------------------------

    def _try(self, bandwidths: Sequence[FloatArray]) -> list[Trial]:
        """Try kernels; note the best one for each number of routing axes.

        Bandwidths that leave too many rows without enough kernel mass are skipped: their loss is
        the anchor's wherever it matters.
        """
        kernels = [bandwidth for bandwidth in bandwidths if np.isfinite(bandwidth).any()]
        if not kernels:
            return []
        can_try = self._problem.can_try(np.array(kernels))
        kernels = [bandwidth for bandwidth, can in zip(kernels, can_try, strict=True) if can]
        new = {h.tobytes(): h for h in kernels if h.tobytes() not in self._sums}
        if new:
            found = self._problem.sums(np.array(list(new.values())))
            self._sums.update(zip(new, found, strict=True))
        trials: list[Trial] = []
        for bandwidth in kernels:
            tried = self._trials_of(bandwidth)
            if new.pop(bandwidth.tobytes(), None) is not None:
                for trial in tried:
                    self._log.add(trial)
            trials += tried
        for trial in trials:
            best = self._best.get(trial.n_routing)
            if best is None or trial.loss < best.loss - _TOLERANCE:
                self._best[trial.n_routing] = trial
                self._smoothest.pop(trial.n_routing, None)
        return trials

    def _trials_of(self, bandwidth: FloatArray) -> list[Trial]:
        sums, mass = self._sums[bandwidth.tobytes()]
        if self._problem.thin_share(mass) > _LARGEST_THIN_SHARE:
            return []
        return self._problem.shrunk(bandwidth, sums, mass)

    def _search_grid(self, axes: list[int]) -> None:
        """Try all combinations of bandwidths on the given axes, the others off."""
        grid = np.full((1, len(self._steps)), np.inf)
        for axis in axes:
            grid = np.concatenate([_with(grid, axis, step) for step in self._steps[axis]])
        count = len(axes) - 1
        trials = [trial for trial in self._try(list(grid)) if trial.n_routing == count]
        if trials and count not in self._smoothest:
            self._smoothest[count] = self._least_complex(trials)

    def _search_jointly(self, active: list[int]) -> None:
        medium = sorted(self._try(self._all_axes_alike(active)), key=lambda trial: trial.loss)
        starts = medium[:1] + ([self._best[1]] if 1 in self._best else [])
        for start in starts:
            self._descend(start, {0, *active})
        for count in range(len(active), 1, -1):
            if count in self._best:
                self._switch_one_off(self._best[count])
        while missing := self._best.keys() - self._smoothest.keys():
            count = max(missing)
            around = self._moves(self._best[count], _in_use(self._best[count]))
            trials = [trial for trial in self._try(around) if trial.n_routing == count]
            self._smoothest[count] = self._least_complex(trials)

    def _all_axes_alike(self, active: list[int]) -> list[FloatArray]:
        """Return all axes on at 8, 4, 2 and 1 times the reference."""
        axes = [axis for axis in (0, *active) if len(self._steps[axis]) > 1]
        alike = np.full((4, len(self._steps)), np.inf)
        for axis in axes:
            alike[:, axis] = self._steps[axis][1:5]
        return list(alike)

    def _descend(self, state: Trial, axes: set[int]) -> None:
        """Take the best moves along single axes together, until none lowers the loss."""
        for _ in range(_LARGEST_ROUNDS):
            trials = self._try(self._moves(state, axes))
            better = [trial for trial in trials if trial.loss < state.loss - _TOLERANCE]
            if not better:
                break
            better.sort(key=lambda trial: trial.loss)
            together = self._try(_combined(state, better))
            state = min([better[0], *together], key=lambda trial: trial.loss)
        if state is self._best.get(state.n_routing):
            alike = [trial for trial in trials if trial.n_routing == state.n_routing]
            self._smoothest[state.n_routing] = self._least_complex([state, *alike])

    def _switch_one_off(self, state: Trial) -> None:
        """Switch off the routing axis that is missed least, and search the others again."""
        used = [axis for axis in sorted(_in_use(state)) if axis > 0]
        trials = self._try([_with(state.bandwidth, axis, np.inf) for axis in used])
        if trials:
            least_missed = min(trials, key=lambda trial: trial.loss)
            self._descend(least_missed, _in_use(least_missed) | {0})

    def _moves(self, state: Trial, axes: set[int]) -> list[FloatArray]:
        """Return the state's bandwidth and those off, or up to four times away, on one axis."""
        moves = [state.bandwidth]
        for axis in sorted(axes):
            steps = self._steps[axis]
            position = int(np.flatnonzero(steps == state.bandwidth[axis])[0])
            reach = np.arange(max(1, position - 2), min(len(steps), position + 3))
            others = {0, *reach.tolist()} - {position}
            moves += [_with(state.bandwidth, axis, steps[other]) for other in sorted(others)]
        return moves

    # -- choice --------------------------------------------------------------------------------

    def _choose(self) -> tuple[str, Trial]:
        arms = self._arms()
        lowest = min((trial for _, trial in arms), key=lambda trial: trial.loss)
        n_errors = self._n_errors
        if lowest.n_routing:
            n_errors *= np.sqrt(1 + 2 * np.log(self._n_columns))
        word, trial = next(arm for arm in arms if self._is_near(arm[1], lowest, n_errors))
        return word, trial if word in self._fixed else self._smoothest[trial.n_routing]

    def _arms(self) -> list[tuple[str, Trial]]:
        """Return the best trial of every arm, simplest first.

        One temperature and a kernel on the confidence are both classical calibration; the lower
        loss stands for them. What the rule guards is leaving the confidence alone, and doing
        without routing.
        """
        alone = [(word, trial) for word, trial in self._fixed.items() if word == "identity"]
        classical = [(word, trial) for word, trial in self._fixed.items() if word != "identity"]
        if 0 in self._best:
            classical.append(("confidence", self._best[0]))
        classical = sorted(classical, key=lambda arm: arm[1].loss)[:1]
        routing = [("routing", self._best[count]) for count in sorted(self._best) if count > 0]
        return alone + classical + routing

    def _least_complex(self, trials: list[Trial]) -> Trial:
        lowest = min(trials, key=lambda trial: trial.loss)
        near = [trial for trial in trials if self._is_near(trial, lowest, self._n_errors / 2)]
        return min(near, key=lambda trial: trial.complexity)

    def _is_near(self, trial: Trial, lowest: Trial, n_errors: float) -> bool:
        slack = n_errors * self._problem.standard_error(trial, lowest)
        return trial.loss <= lowest.loss + slack + _TOLERANCE


def _candidate_steps(problem: LeaveOneOut) -> list[FloatArray]:
    """Return the bandwidths to try on each axis: off, then from wide to narrow."""
    deviation = axis_deviation(problem.axes, problem.sample_weight)
    reference = deviation * problem.sample_weight.sum() ** (-1 / 6)
    return [
        np.array([np.inf, *(multiple * h for multiple in _MULTIPLES)])
        if h > 0
        else np.array([np.inf])
        for h in reference
    ]


def _with(bandwidth: FloatArray, axis: int, step: float) -> FloatArray:
    changed = bandwidth.copy()
    changed[..., axis] = step
    return changed


def _combined(state: Trial, better: list[Trial]) -> list[FloatArray]:
    """Add up the best move of each axis, best axis first: two of them, three, and so on."""
    combined = [state.bandwidth]
    moved: set[int] = set()
    for trial in better:
        new = set(np.flatnonzero(trial.bandwidth != state.bandwidth).tolist()) - moved
        for axis in new:
            combined.append(_with(combined[-1], axis, trial.bandwidth[axis]))
        moved |= new
    return combined[2:]


def _in_use(trial: Trial) -> set[int]:
    return set(np.flatnonzero(np.isfinite(trial.bandwidth)).tolist())
