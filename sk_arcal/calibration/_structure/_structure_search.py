r"""Choice of structure and penalties by cross-validated log loss.

Arms of growing ambition are compared: one temperature, vector, matrix, and then routing on top of
what was chosen.

- *Folds.* Rows that agree in everything are one row of summed weight. They are sorted by what is
  known of them and dealt to the folds by a fixed shuffle, so that neither the order of the rows
  nor their repetition matters. Folds must not be stratified by class: then the classes were as
  frequent in every fold as outside, and a bias fitted to noise would look like a gain.
- *Penalties.* Strengths are powers of four around those of `Strengths`. Each is walked up or down
  while the loss falls, one after the other: scale and bias for the vector structure, cross and
  these again for the matrix, routing last.
- *Standard-error rule.* The structure with the lowest loss is taken only if it beats the plain
  temperature by more than `n_standard_errors` standard errors of the paired difference, times
  :math:`\sqrt{1 + 2 \log m}` for the best of m structures: the best of m useless ones gains about
  that much more than one. Routing has to beat in the same way what was chosen without it, with m
  columns.

Source: L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees",
Wadsworth, 1984, section 3.4.3, for the rule.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._structure._penalised_loss import PenalisedLoss
from sk_arcal.calibration._structure._score_map import ScoredRows, ScoreMap, Strengths

_STEP = 4.0
_SMALLEST, _LARGEST = 4.0**-5, 4.0**3
_ROUNDS = 3
# Which rows share a fold is arbitrary, but has to be the same in every fit.
_SHUFFLE = 0
# A fall of the mean loss below this, in nats, is not worth a step.
_TOLERANCE = 1e-5
# Half its square is what an out-of-fold fit may leave, in nats.
_GRADIENT_TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True)
class Trial:
    """A structure, its penalties, and the out-of-fold losses they reach.

    Attributes
    ----------
    structure : str
        "temperature", "vector" or "matrix".
    uses_routing : bool
        Whether there are routing terms.
    strengths : Strengths
        Of the penalties.
    losses : ndarray of shape (n_samples,)
        Out-of-fold log loss of each row, nats.
    loss : float
        Their weighted mean.
    """

    structure: str
    uses_routing: bool
    strengths: Strengths
    losses: FloatArray
    loss: float


class CrossValidation:
    """Out-of-fold losses of any structure on one data set.

    Parameters
    ----------
    rows : ScoredRows
        Distinct rows, in an order that says nothing about y.
    y : ndarray of int of shape (n_samples,)
        Class codes.
    sample_weight : ndarray of shape (n_samples,)
        Repetitions.
    n_folds : int
        Number of folds.
    max_iter : int
        Largest number of solver iterations per fit.
    """

    def __init__(
        self,
        rows: ScoredRows,
        y: NDArray[np.intp],
        sample_weight: FloatArray,
        *,
        n_folds: int,
        max_iter: int,
    ) -> None:
        self._rows, self._y, self._weight = rows, y, sample_weight
        self._fold = np.random.default_rng(_SHUFFLE).permutation(len(y)) % n_folds
        self._n_folds, self._max_iter = n_folds, max_iter
        self._map: ScoreMap | None = None
        self._memory: list[_FoldMemory] = []
        self._trials: dict[tuple[str, bool, Strengths], Trial] = {}

    def trial(self, structure: str, strengths: Strengths, *, uses_routing: bool = False) -> Trial:
        """Return the trial of one setting; each is fitted once."""
        key = structure, uses_routing, strengths
        if key not in self._trials:
            losses = self._losses(structure, uses_routing, strengths)
            loss = float(self._weight @ losses / self._weight.sum())
            self._trials[key] = Trial(structure, uses_routing, strengths, losses, loss)
        return self._trials[key]

    def standard_error(self, first: Trial, second: Trial) -> float:
        """Return the standard error of the mean paired difference of two trials' losses."""
        difference = first.losses - second.losses - (first.loss - second.loss)
        return float(np.sqrt(self._weight @ difference**2) / self._weight.sum())

    def table(self) -> dict[str, NDArray[Any]]:
        """Return all trials as columns; see `StructuredScaler.search_`."""
        trials = list(self._trials.values())
        columns = {
            "structure": [trial.structure for trial in trials],
            "uses_routing": [trial.uses_routing for trial in trials],
            "penalty": [list(asdict(trial.strengths).values()) for trial in trials],
            "loss": [trial.loss for trial in trials],
            "standard_error": [self.standard_error(trial, trials[0]) for trial in trials],
        }
        return {name: np.array(column) for name, column in columns.items()}

    def _losses(self, structure: str, uses_routing: bool, strengths: Strengths) -> FloatArray:
        all_rows = self._rows if uses_routing else self._rows.without_routing()
        score_map = ScoreMap(structure, all_rows.scores.shape[1], all_rows.routing.shape[1])
        # Structures are searched one after the other, and the blocks of one take the most memory.
        if self._map != score_map:
            start = np.zeros(score_map.n_parameters)
            self._map, self._memory = score_map, [_FoldMemory(start)] * self._n_folds
        losses = np.empty(len(self._y))
        for fold, memory in enumerate(self._memory):
            kept, left_out = self._fold != fold, self._fold == fold
            objective = PenalisedLoss(
                score_map, all_rows.take(kept), self._y[kept], self._weight[kept], memory.blocks
            )
            parameters, _, _ = objective.minimise(
                score_map.penalties(strengths, objective.total),
                memory.start,
                tolerance=_GRADIENT_TOLERANCE,
                max_iter=self._max_iter,
            )
            # Neighbouring penalties have neighbouring solutions.
            self._memory[fold] = _FoldMemory(parameters, objective.blocks)
            losses[left_out] = score_map.losses(
                parameters, all_rows.take(left_out), self._y[left_out]
            )
        return losses


@dataclass(frozen=True, slots=True)
class _FoldMemory:
    """What the next fit on the rows of a fold begins with."""

    start: FloatArray
    blocks: tuple[FloatArray, FloatArray] | None = None


def search_structure(
    cross_validation: CrossValidation,
    structures: Sequence[str],
    strengths: Strengths | None,
    *,
    n_routing: int,
    n_standard_errors: float,
) -> Trial:
    """Return the chosen structure and penalties.

    Parameters
    ----------
    cross_validation : CrossValidation
        The data.
    structures : sequence of str
        Those allowed, simplest first; without "temperature" the guard towards it is off.
    strengths : Strengths or None
        Given penalties; None searches them.
    n_routing : int
        Number of routing columns.
    n_standard_errors : float
        What a more ambitious arm has to gain.

    Returns
    -------
    trial : Trial
        The choice.
    """
    search = _Search(cross_validation, strengths)
    arms = search.arms(structures)
    chosen = min(arms, key=lambda trial: trial.loss)
    if arms[0].structure == "temperature" and len(arms) > 1:
        n_errors = n_standard_errors * _best_of(len(arms) - 1)
        chosen = _guarded(cross_validation, arms[0], chosen, n_errors)
    if not n_routing:
        return chosen
    routed = min(search.arms_with_routing(chosen, arms), key=lambda trial: trial.loss)
    return _guarded(cross_validation, chosen, routed, n_standard_errors * _best_of(n_routing))


def _best_of(count: int) -> float:
    return float(np.sqrt(1 + 2 * np.log(count)))


def _guarded(
    cross_validation: CrossValidation, simple: Trial, ambitious: Trial, n_errors: float
) -> Trial:
    slack = n_errors * cross_validation.standard_error(simple, ambitious)
    return simple if simple.loss <= ambitious.loss + slack else ambitious


class _Search:
    """Walks along penalties, if these are free."""

    def __init__(self, cross_validation: CrossValidation, strengths: Strengths | None) -> None:
        self._validation, self._given = cross_validation, strengths

    def arms(self, structures: Sequence[str]) -> list[Trial]:
        """Return the best trial of every structure without routing."""
        arms: list[Trial] = []
        start = self._given or Strengths()
        for structure in structures:
            trial = self._validation.trial(structure, start)
            if structure != "temperature":
                names = ("cross", "scale", "bias") if structure == "matrix" else ("scale", "bias")
                trial = self._walk(trial, names)
                start = trial.strengths
            arms.append(trial)
        return arms

    def arms_with_routing(self, chosen: Trial, arms: list[Trial]) -> list[Trial]:
        """Return the best trials with routing: of the chosen structure, and of the next one.

        Only from "vector" on may routing say that a class, or an event, is more frequent.
        """
        starts = [chosen]
        if chosen.structure == "temperature" and len(arms) > 1:
            starts.append(arms[1])
        validation = self._validation
        return [
            self._walk(
                validation.trial(start.structure, start.strengths, uses_routing=True), ("routing",)
            )
            for start in starts
        ]

    def _walk(self, trial: Trial, names: Sequence[str]) -> Trial:
        """Change one strength after the other while the loss falls."""
        if self._given is not None:
            return trial
        for _ in range(_ROUNDS):
            before = trial
            for name in names:
                stronger = self._along(trial, name, _STEP)
                trial = self._along(trial, name, 1 / _STEP) if stronger is trial else stronger
            if trial is before or len(names) == 1:
                break
        return trial

    def _along(self, trial: Trial, name: str, factor: float) -> Trial:
        while True:
            strength = getattr(trial.strengths, name) * factor
            if not _SMALLEST <= strength <= _LARGEST:
                return trial
            changed = replace(trial.strengths, **{name: strength})
            step = self._validation.trial(trial.structure, changed, uses_routing=trial.uses_routing)
            if step.loss >= trial.loss - _TOLERANCE:
                return trial
            trial = step
