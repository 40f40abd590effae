"""Neurons that write much and move no class: they can only set the confidence."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.calibration import LinearReadout
from sk_arcal.calibration._layers._norms import hidden_blocks
from sk_arcal.calibration._layers._row_space import effective_rows
from sk_arcal.diagnostics._unembedding import _chance_share, _states, _unseen
from sk_arcal.metrics._results import as_frame, as_text

_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class EntropyNeurons:
    """Neurons by how much they write for how little they move the classes.

    Returned by :func:`entropy_neurons`. Printing it shows the first ten.

    Attributes
    ----------
    neuron : ndarray of int of shape (n_neurons,)
        Rows of the weights, the most entropy-like first; the other arrays are in this order.
    weight_norm : ndarray of shape (n_neurons,)
        Length of the output weights, less their mean for a layer norm.
    unseen_share : ndarray of shape (n_neurons,)
        Share of that length outside the row space of the read-out, in [0, 1].
    logit_variance : ndarray of shape (n_neurons,)
        Variance over the classes of the effect of the weights, scaled to unit length, on the
        products with the head.
    score : ndarray of shape (n_neurons,)
        ``weight_norm / sqrt(logit_variance)``, by which they are ranked.
    chance_share : float
        Share of weights of random direction.

    See Also
    --------
    entropy_neurons : Computes it.
    """

    neuron: NDArray[np.intp] = field(repr=False)
    weight_norm: FloatArray = field(repr=False)
    unseen_share: FloatArray = field(repr=False)
    logit_variance: FloatArray = field(repr=False)
    score: FloatArray = field(repr=False)
    chance_share: float

    def to_frame(self) -> Any:
        """Return one row per neuron, the most entropy-like first.

        Returns
        -------
        frame : pandas.DataFrame
            `neuron`, `weight_norm`, `unseen_share`, `logit_variance`, `score`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return as_frame(self._columns(), "EntropyNeurons.to_frame")

    def _columns(self, first: int | None = None) -> dict[str, NDArray[Any]]:
        names = ("neuron", "weight_norm", "unseen_share", "logit_variance", "score")
        return {name: getattr(self, name)[:first] for name in names}

    def __repr__(self) -> str:
        return (
            f"EntropyNeurons: {len(self.neuron)} neurons, median unseen share "
            f"{np.median(self.unseen_share):.4g} (by chance {self.chance_share:.4g})\n"
            f"{as_text(self._columns(_SHOWN))}"
        )


def entropy_neurons(
    output_weight: ArrayLike, readout: LinearReadout, *, rank: int | None = None
) -> EntropyNeurons:
    r"""Rank the neurons of a layer by how much they write that no class hears.

    A neuron with long output weights and next to no effect on the logits changes what the final
    norm divides by, and so the entropy of the prediction. The ranking is a matter of
    weights alone: whether a neuron is used so, only its activations say.

    Parameters
    ----------
    output_weight : array-like of shape (n_neurons, d)
        What each neuron adds to the residual stream per unit of activation: the transpose of the
        weight of a last linear layer of torch.
    readout : LinearReadout
        Final norm and head, best with the whole vocabulary: few classes leave nearly all
        directions unseen.
    rank : int, default=None
        Leading directions of the head that count as seen in `unseen_share`; by default all, see
        :meth:`~sk_arcal.calibration.LinearReadout.row_space`. With a whole vocabulary take a little
        less than d: in one model [2]_ counts the last 1 % of the directions as unseen. The
        ranking does not depend on it.

    Returns
    -------
    neurons : EntropyNeurons
        Lengths, shares, variances and scores, ranked.

    Raises
    ------
    ValueError
        If an input is not finite or of the wrong shape.
    TypeError
        If `readout` is no :class:`~sk_arcal.calibration.LinearReadout` or values are not numbers.

    See Also
    --------
    unembedding_profile : The same share for hidden states.

    Notes
    -----
    With v the weights of a neuron, less their mean for a layer norm, and g the gain,

    .. math:: \mathrm{score} = |v| \Big/ \sqrt{\operatorname{Var}_k \big( w_k \cdot g\,v / |v|
        \big)}

    that long weights with a small variance mark these neurons is from [1]_, that they write into
    directions the head hardly sees from [2]_; the score that joins the two is ours. Rows of the
    head are not scaled to unit length. A neuron whose weights are zero has score zero.

    References
    ----------
    .. [1] W. Gurnee, T. Horsley, Z. C. Guo, T. R. Kheirkhah, Q. Sun, W. Hathaway, N. Nanda and D.
       Bertsimas. "Universal Neurons in GPT2 Language Models". TMLR 2024.
    .. [2] A. Stolfo, B. Wu, W. Gurnee, Y. Belinkov, X. Song, M. Sachan and N. Nanda. "Confidence
       Regulation Neurons in Language Models". NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_arcal.calibration import LinearReadout
    >>> from sk_arcal.diagnostics import entropy_neurons
    >>> readout = LinearReadout(np.eye(3, 5), norm="rms")
    >>> neurons = entropy_neurons([[1, 0, 0, 0, 1], [0, 0.1, 0, 3, 0], [0, 0, 2, 0, 0]], readout)
    >>> neurons.neuron
    array([1, 0, 2])
    >>> neurons.unseen_share.round(2)
    array([1.  , 0.82, 0.58])
    """
    weight = _states(output_weight, readout, "output_weight")
    basis = readout.row_space(rank=rank)
    share, length = _unseen(weight, readout, basis)
    variance = _logit_variance(weight, readout)
    unit = np.divide(variance, length**2, out=np.zeros_like(length), where=length > 0)
    score = np.divide(length, np.sqrt(unit), out=np.full_like(length, np.inf), where=unit > 0)
    score[length == 0] = 0
    order = np.argsort(-score, kind="stable")
    return EntropyNeurons(
        neuron=order,
        weight_norm=length[order],
        unseen_share=share[order],
        logit_variance=unit[order],
        score=score[order],
        chance_share=_chance_share(basis, readout),
    )


def _logit_variance(weight: NDArray[Any], readout: LinearReadout) -> FloatArray:
    """Return the variance over classes of the products of each row with the head."""
    total, square = np.zeros(len(weight)), np.zeros(len(weight))
    for classes in hidden_blocks(readout.weight):
        effect = weight @ effective_rows(readout, classes).T
        total += effect.sum(axis=1)
        square += np.einsum("ij,ij->i", effect, effect)
    # The rows of the head are centred, so the mean is rounding unless there is a cap.
    return np.maximum(square / readout.n_classes - (total / readout.n_classes) ** 2, 0)
