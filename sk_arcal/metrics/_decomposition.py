"""CORP: a proper score split into miscalibration and refinement by isotonic regression."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, check_option
from sk_arcal.metrics._binning import bin_sums
from sk_arcal.metrics._inputs import event_inputs
from sk_arcal.metrics._results import as_frame, short_repr

# Log loss keeps this distance from 0 and 1, as scikit-learn's log_loss does.
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, repr=False)
class ScoreDecomposition:
    """A mean score and its parts.

    Returned by :func:`score_decomposition`. ``score = miscalibration + refinement`` and
    ``refinement = uncertainty - discrimination``; all are in the unit of the score, nats for
    the log score.

    Parameters
    ----------
    score : float
        Mean score of the predictions; smaller is better.
    miscalibration : float
        What the best non-decreasing recalibration would take off the score; at least 0.
    refinement : float
        Score after that recalibration.
    discrimination : float
        What the ranking of the rows is worth: `uncertainty` less `refinement`; at least 0.
    uncertainty : float
        Score of predicting the overall event rate for every row.

    See Also
    --------
    score_decomposition : Computes it.

    Examples
    --------
    >>> from sk_arcal.metrics import score_decomposition
    >>> score_decomposition([0, 1, 1], [0.2, 0.6, 0.8]).refinement
    0.0
    """

    score: float
    miscalibration: float
    refinement: float
    discrimination: float
    uncertainty: float

    def to_frame(self) -> Any:
        """Return the parts as a pandas DataFrame of one row.

        Returns
        -------
        frame : pandas.DataFrame
            One column per part.

        Raises
        ------
        ImportError
            If pandas is not installed.

        Examples
        --------
        >>> from sk_arcal.metrics import score_decomposition
        >>> score_decomposition([0, 1], [0.2, 0.6]).to_frame().shape
        (1, 5)
        """
        columns = {name: [value] for name, value in vars(self).items()}
        return as_frame(columns, "ScoreDecomposition.to_frame")

    def __repr__(self) -> str:
        return short_repr("ScoreDecomposition", **vars(self))


def score_decomposition(
    y_true: ArrayLike,
    y_prob: ArrayLike,
    *,
    score: str = "brier",
    sample_weight: ArrayLike | None = None,
) -> ScoreDecomposition:
    r"""Split the Brier score or the log loss into miscalibration and refinement.

    The CORP decomposition: predictions are recalibrated by isotonic regression, which needs no
    bins and no bandwidth. Miscalibration is what recalibration gains; it is positive by
    construction and has an upward bias like every calibration error.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Observed events, 0 or 1.
    y_prob : array-like of shape (n_samples,)
        Predicted probability of the event, in [0, 1].
    score : {"brier", "log"}, default="brier"
        Squared error of the event's probability, in [0, 1]; or log loss in nats. For the log
        loss probabilities are kept 2.2e-16 away from 0 and 1, as scikit-learn does, so that
        one confident error costs 36 nats and not infinity.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows; None means one each. A row of weight zero counts
        as absent.

    Returns
    -------
    decomposition : ScoreDecomposition
        The mean score and its parts.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length, a weight is
        negative, or `score` is not one of the two words.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    squared_calibration_error : Miscalibration of the Brier score from bins, without bias.

    Notes
    -----
    With S the mean score, :math:`\hat x` the isotonic regression of events on probabilities,
    rows of equal probability pooled first, and :math:`\bar y` the event rate,

    .. math:: \mathrm{MCB} = S(p) - S(\hat x), \quad \mathrm{DSC} = S(\bar y) - S(\hat x),
        \quad \mathrm{UNC} = S(\bar y), \\
        S(p) = \mathrm{MCB} - \mathrm{DSC} + \mathrm{UNC} .

    Refinement is :math:`S(\hat x)`. Blocks recalibrated to 0 or 1 hold no errors and add
    nothing to it, under the log score too. Time is that of a sort.

    References
    ----------
    .. [1] T. Dimitriadis, T. Gneiting and A. I. Jordan. "Stable reliability diagrams for
       probabilistic classifiers". PNAS 118, 2021. Equation 2.

    Examples
    --------
    >>> from sk_arcal.metrics import score_decomposition
    >>> parts = score_decomposition([0, 1, 0, 1], [0.2, 0.3, 0.8, 0.9])
    >>> round(parts.score, 6), round(parts.miscalibration, 6), round(parts.refinement, 6)
    (0.295, 0.17, 0.125)
    """
    check_option("score", score, ("brier", "log"))
    events, probability, weight = event_inputs(y_true, y_prob, sample_weight)
    value, atom = np.unique(probability, return_inverse=True)
    mass = bin_sums(atom, weight)
    rate = bin_sums(atom, weight * events) / mass
    recalibrated = np.clip(scipy.optimize.isotonic_regression(rate, weights=mass).x, 0, 1)
    overall = np.average(rate, weights=mass)
    mean_score = _mean_brier if score == "brier" else _mean_log
    if score == "log":
        value = np.clip(value, _EPS, 1 - _EPS)
    total = mean_score(value, rate, mass)
    refinement = mean_score(recalibrated, rate, mass)
    uncertainty = mean_score(np.full_like(rate, overall), rate, mass)
    return ScoreDecomposition(
        score=total,
        miscalibration=total - refinement,
        refinement=refinement,
        discrimination=uncertainty - refinement,
        uncertainty=uncertainty,
    )


def _mean_brier(prediction: FloatArray, rate: FloatArray, mass: FloatArray) -> float:
    squares = rate * (1 - prediction) ** 2 + (1 - rate) * prediction**2
    return float(np.average(squares, weights=mass))


def _mean_log(prediction: FloatArray, rate: FloatArray, mass: FloatArray) -> float:
    nats = -scipy.special.xlogy(rate, prediction) - scipy.special.xlog1py(1 - rate, -prediction)
    return float(np.average(nats, weights=mass))
