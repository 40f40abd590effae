"""Everything that is fixed while an adversarial map is learnt, and one fit of it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sk_arcal._numeric import top_probability
from sk_arcal._validation import FloatArray
from sk_arcal.calibration._adversary._adversarial_fit import OuterFit, OuterProblem
from sk_arcal.calibration._adversary._adversarial_settings import Settings
from sk_arcal.calibration._adversary._adversaries import Adversary
from sk_arcal.calibration._adversary._cell_adversary import RowAdversary, grow_cells
from sk_arcal.calibration._adversary._rank_basis import RankBasis
from sk_arcal.calibration._adversary._relevant_rows import AnchoredAdversary, Responder
from sk_arcal.calibration._adversary._temperature_map import TemperatureMap
from sk_arcal.calibration._mixture._mixture import Mixture, from_scores
from sk_arcal.calibration._tempering import TemperatureFit, fit_temperature


@dataclass(frozen=True, slots=True)
class Training:
    """Sorted, distinct rows, and everything that is fixed while theta is learnt.

    Attributes
    ----------
    map : TemperatureMap
        Its scale is 1 until a plain temperature is known.
    features : ndarray of shape (n_rows, n_features)
        What cells are cut by, as ranks.
    codes : ndarray of shape (n_rows,)
        Class codes.
    weight : ndarray of shape (n_rows,)
        Positive weights.
    relevant : ndarray of bool of shape (n_rows,) or None
        Rows of the filtered objective; None if it is not filtered.
    settings : Settings
        Of the estimator.
    """

    map: TemperatureMap
    features: FloatArray
    codes: FloatArray
    weight: FloatArray
    relevant: NDArray[np.bool_] | None
    settings: Settings

    def take(self, rows: NDArray[np.intp], weight: FloatArray) -> "Training":
        """Return some of the rows, with other weights."""
        part = replace(self.map, mixture=self.map.mixture.take(rows), design=self.map.design[rows])
        relevant = None if self.relevant is None else self.relevant[rows]
        return Training(
            part, self.features[rows], self.codes[rows], weight, relevant, self.settings
        )

    def plain(self) -> TemperatureFit:
        """Fit the plain temperature of the aggregate."""
        scores = self.map.scores(self.map.neutral)
        return fit_temperature(from_scores(scores), self.codes, self.weight)

    def at(self, temperature: float) -> "Training":
        """Return the same with theta relative to a plain temperature."""
        return replace(self, map=replace(self.map, scale=1 / temperature))

    def adversary(self) -> Responder:
        """Build the adversary of these rows at the plain temperature."""
        if self.relevant is None:
            return self._adversary_of(np.arange(len(self.codes)))
        rows = np.flatnonzero(self.relevant)
        inner = self._adversary_of(rows) if len(rows) else None
        return AnchoredAdversary(self.weight, rows, inner)

    def _adversary_of(self, rows: NDArray[np.intp]) -> Responder:
        chosen, weight = self.settings.adversary, self.weight[rows]
        if self.settings.view == "rows" or chosen.name == "none":
            return RowAdversary(chosen, weight)
        scores = self.map.scale * self.map.scores(self.map.neutral)[rows]
        return grow_cells(
            chosen,
            self.features[rows],
            scores,
            self.codes[rows],
            weight,
            self.settings.n_cells,
        )

    def start(self) -> FloatArray:
        """Plain temperature, and experts at the temperatures that suit each alone."""
        theta = self.map.neutral
        if self.map.has_experts:
            for m in range(self.map.mixture.n_experts):
                own = from_scores(self.map.mixture.scores[:, m])
                fit = fit_temperature(own, self.codes, self.weight, bounds=(0.1, 10.0))
                theta[self.map.n_hats + m] = 1 / fit.temperature
        return theta

    def fit(
        self, adversary: Responder, ridge: float, start: FloatArray, *, rough: bool = False
    ) -> OuterFit:
        """Minimise the worst case from `start`; a few digits are enough if `rough`."""
        problem = OuterProblem(self.map, self.codes, adversary, ridge)
        return problem.solve(start, self.settings.max_iter, rough=rough)

    def warmed_up(self, ridge: float) -> FloatArray:
        """Return the solution without an adversary, or the start if none is wanted."""
        if not self.settings.warm_up:
            return self.start()
        return self.fit(RowAdversary(Adversary("none"), self.weight), ridge, self.start()).theta

    def losses(self, theta: FloatArray) -> FloatArray:
        """Return log losses of the rows, nats."""
        return self.map.losses(theta, self.codes).losses


def routing_of(mixture: Mixture, routing: FloatArray) -> FloatArray:
    """Return what the temperature may depend on: routing columns and gates.

    Parameters
    ----------
    mixture : Mixture
        Experts and gates; a single expert has no gate.
    routing : ndarray of shape (n_samples, n_routing)
        Routing columns.

    Returns
    -------
    seen : ndarray of shape (n_samples, n_seen)
        Columns of the basis.
    """
    if mixture.n_experts == 1:
        return routing
    gates = np.exp(mixture.log_gate_weights())
    # Of two gates one tells the other.
    return np.column_stack([routing, gates[:, :1] if mixture.n_experts == 2 else gates])


def cell_features(fitted: TemperatureMap, seen: FloatArray, weight: FloatArray) -> FloatArray:
    """Return ranks of confidence, routing, gates and the experts' own confidences.

    Parameters
    ----------
    fitted : TemperatureMap
        Holds the mixture.
    seen : ndarray of shape (n_samples, n_seen)
        From `routing_of`.
    weight : ndarray of shape (n_samples,)
        Positive weights.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features)
        In [0, 1]; constant columns are left out.
    """
    columns = [_confidence(fitted.scores(fitted.neutral)), *seen.T]
    if fitted.has_experts:
        columns += [_confidence(scores) for scores in fitted.mixture.scores.swapaxes(0, 1)]
    ranked = np.column_stack(columns)
    return RankBasis(2).fit(ranked, weight).ranks(ranked)


def _confidence(scores: FloatArray) -> FloatArray:
    """Log-odds of an event, or the probability of the top class."""
    return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else top_probability(scores)
