r"""Maps of class scores that deviate from one temperature, linear in their parameters.

With the log probabilities u of one row (K classes) at the plain temperature, the softened log
probabilities :math:`f = \log(e^u + s)` and standardised routing r (J columns) the calibrated
scores are

.. math:: \eta_k = \Big(1 + \alpha_0 + \sum_j \alpha_j r_j\Big) u_k + v_k f_k
                   + \sum_{l \ne k} M_{kl} f_l + b_k + \sum_j c_{kj} r_j,

with v, b and c in the structure "vector", these and M in "matrix", neither in "temperature". All
parameters zero is the plain temperature. Softening bounds f by :math:`\log s` and
:math:`\log (1 + s)`: classes that are out of the question all look alike, and no coefficient is
set by how far out they are.

Source: E. Berta, D. Holzmueller, M. I. Jordan and F. Bach, "Structured Matrix Scaling for
Multi-Class Calibration", arXiv:2511.03685, 2025, for ridge-penalised deviations from a fitted
temperature, with f = u. The softening and the terms in r are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from sk_arcal._validation import FloatArray, check_number, check_option

STRUCTURES = ("temperature", "vector", "matrix")
# Large enough that classes which are out of the question look alike, small beside those that are
# not. Settled by cross-validation within the fit halves of real predictions.
_SOFTENING = 0.1


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows that a map is applied to.

    Attributes
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Log probabilities u at the plain temperature.
    features : ndarray of shape (n_samples, n_classes)
        Softened log probabilities f.
    routing : ndarray of shape (n_samples, n_routing)
        Standardised routing columns.
    """

    scores: FloatArray
    features: FloatArray
    routing: FloatArray

    @classmethod
    def at_temperature(
        cls, logits: FloatArray, temperature: float, routing: FloatArray
    ) -> "ScoredRows":
        """Return rows from class logits, or from the log-odds of one event, as two classes."""
        if logits.ndim == 1:
            logits = np.column_stack([np.zeros(len(logits)), logits])
        scores = log_softmax(logits / temperature, axis=1)
        return cls(scores, np.log(np.exp(scores) + _SOFTENING), routing)

    def take(self, rows: NDArray[np.bool_]) -> "ScoredRows":
        """Return the chosen rows."""
        return ScoredRows(self.scores[rows], self.features[rows], self.routing[rows])

    def without_routing(self) -> "ScoredRows":
        """Return the rows with no routing columns."""
        return ScoredRows(self.scores, self.features, self.routing[:, :0])


@dataclass(frozen=True, slots=True)
class Strengths:
    r"""How strongly each kind of parameter is held at zero.

    At strength 1 and n rows the penalties in nats per row are :math:`K v_k^2 / n`,
    :math:`K b_k^2 / n` and :math:`K (K - 1) M_{kl}^2 / n`, those of the source: all columns of M
    together may then contribute what v may. Routing gets :math:`2 \alpha_j^2 / n` and
    :math:`K c_{kj}^2 / n`; :math:`\alpha_0` is free.
    """

    scale: float = 1.0
    bias: float = 1.0
    cross: float = 1.0
    routing: float = 1.0


def check_strengths(penalty: object) -> Strengths | None:
    """Return strengths from the parameter `penalty`: one number or one a kind; None for "cv"."""
    names = [field.name for field in fields(Strengths)]
    if isinstance(penalty, str):
        check_option("penalty", penalty, ("cv",))
        return None
    if not isinstance(penalty, Mapping):
        return Strengths(
            **dict.fromkeys(names, check_number("penalty", penalty, low=0.0, strict=True))
        )
    unknown = sorted(str(name) for name in penalty if name not in names)
    if unknown:
        raise ValueError(f"`penalty` has no kinds {unknown}; the kinds are {names}.")
    checked = {
        name: check_number(f"penalty[{name!r}]", value, low=0.0, strict=True)
        for name, value in penalty.items()
    }
    return Strengths(**checked)


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """The parameters of one structure: how they lie in a vector, and the linear map they make.

    The vector holds the slopes (1 + J), then a line of coefficients per class: v_k in "vector" or
    row k of M with v_k on its diagonal in "matrix", b_k and c_k.

    Parameters
    ----------
    structure : {"temperature", "vector", "matrix"}
        Which deviations from one temperature there are.
    n_classes : int
        K.
    n_routing : int
        J.
    """

    structure: str
    n_classes: int
    n_routing: int

    @property
    def n_slopes(self) -> int:
        """Length of the slopes, 1 + J."""
        return 1 + self.n_routing

    @property
    def n_scales(self) -> int:
        """Features that a class draws on: none, its own, or those of all K."""
        return {"temperature": 0, "vector": 1, "matrix": self.n_classes}[self.structure]

    @property
    def n_coefficients(self) -> int:
        """Length of the line of a class."""
        return self.n_scales + self.n_slopes if self.n_scales else 0

    @property
    def n_parameters(self) -> int:
        """Length of the whole vector."""
        return self.n_slopes + self.n_classes * self.n_coefficients

    def split(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the slopes (1 + J,) and the coefficients (K, n_coefficients)."""
        slopes, rest = np.split(parameters, [self.n_slopes])
        return slopes, rest.reshape(self.n_classes, self.n_coefficients)

    def change(self, parameters: FloatArray, rows: ScoredRows) -> FloatArray:
        """Return what the parameters add to the scores, shape (n_samples, n_classes)."""
        slopes, coefficients = self.split(parameters)
        change = rows.scores * (slopes[0] + rows.routing @ slopes[1:])[:, None]
        if self.n_scales:
            scales, offsets = np.split(coefficients, [self.n_scales], axis=1)
            own = self.n_scales == 1
            change += rows.features * scales[:, 0] if own else rows.features @ scales.T
            change += offsets[:, 0] + rows.routing @ offsets[:, 1:].T
        return change

    def losses(self, parameters: FloatArray, rows: ScoredRows, y: NDArray[np.intp]) -> FloatArray:
        """Return the log loss of every row, nats."""
        scores = rows.scores + self.change(parameters, rows)
        return logsumexp(scores, axis=1) - scores[np.arange(len(y)), y]

    def pull_back(self, residual: FloatArray, rows: ScoredRows) -> FloatArray:
        """Return the transpose of `change` at a matrix of the shape of the scores."""
        along = np.einsum("ik,ik->i", residual, rows.scores)
        slopes = np.r_[along.sum(), along @ rows.routing]
        if not self.n_scales:
            return slopes
        if self.n_scales == 1:
            scales = np.einsum("ik,ik->k", residual, rows.features)[:, None]
        else:
            scales = residual.T @ rows.features
        lines = np.hstack([scales, residual.sum(axis=0)[:, None], residual.T @ rows.routing])
        return np.concatenate([slopes, lines.ravel()])

    def penalties(self, strengths: Strengths, total: float) -> FloatArray:
        """Return one ridge penalty per parameter, for half its square, at `total` rows."""
        unit = 2 * self.n_classes / total
        slopes = np.full(self.n_slopes, 4 / total * strengths.routing)
        slopes[0] = 0.0
        lines = np.full((self.n_classes, self.n_coefficients), unit * strengths.routing)
        lines[:, self.n_scales : self.n_scales + 1] = unit * strengths.bias
        lines[:, : self.n_scales] = unit * (self.n_classes - 1) * strengths.cross
        diagonal = np.arange(self.n_classes if self.n_scales else 0)
        lines[diagonal, diagonal % self.n_scales if self.n_scales else diagonal] = (
            unit * strengths.scale
        )
        return np.concatenate([slopes, lines.ravel()])
