"""The shift of a given size under which a mean loss is largest."""

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray, check_vector, check_weights
from sk_arcal.diagnostics._shift._ball import Ball


def worst_case_weights(
    losses: ArrayLike,
    *,
    ball: str = "kl",
    radius: float = 1.0,
    alpha: float = 0.2,
    bounds: tuple[float, float] = (0.5, 2.0),
    sample_weight: ArrayLike | None = None,
) -> FloatArray:
    r"""Compute the row weights of a ball that make the mean of the losses largest.

    The maximiser is exact. What it may see is up to the caller: with one loss per row it knows
    every outcome and reads noise, with the mean losses of cells it cannot.

    Parameters
    ----------
    losses : array-like of shape (n_samples,)
        What is to become large, in any unit; of rows or of cells.
    ball : {"kl", "chi2", "cvar", "box"}, default="kl"
        Which weights are allowed.
    radius : float, default=1.0
        Largest divergence, of "kl" (nats) and "chi2"; 0 allows equal weights only.
    alpha : float, default=0.2
        Of "cvar", in (0, 1]: no weight is above 1 / `alpha`, so the mean becomes that of the worst
        share `alpha`.
    bounds : tuple of two floats, default=(0.5, 2.0)
        Of "box": smallest and largest weight, the first at most 1, the second at least 1.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative repetitions of the rows, such as the rows of a cell; None means one each.

    Returns
    -------
    weights : ndarray of shape (n_samples,)
        Non-negative, with mean one under `sample_weight`; zero where `sample_weight` is zero.

    Raises
    ------
    ValueError
        If an input is empty, not finite, out of range or of the wrong length.
    TypeError
        If an input does not hold numbers.

    See Also
    --------
    worst_case_calibration_error : The worst shift of the prevalence of configurations.
    share_weights : A shift that is known.
    sk_arcal.calibration.AdversarialReweightCalibrator : A map that is fitted to the worst case.

    Notes
    -----
    With :math:`\pi` the normalised `sample_weight`,

    .. math:: \max_w \sum_i \pi_i w_i \ell_i \quad \text{over} \quad
        w \ge 0, \; \sum_i \pi_i w_i = 1

    and, by ball, :math:`\sum \pi w \log w \le \rho` ("kl"), :math:`\sum \pi (w - 1)^2 \le \rho`
    ("chi2", [1]_), :math:`w \le 1 / \alpha` ("cvar", [2]_), :math:`a \le w \le b` ("box"). Rows of
    equal loss get equal weights.

    References
    ----------
    .. [1] H. Namkoong and J. Duchi. "Variance-based regularization with convex objectives".
       JMLR 20, 2019.
    .. [2] R. T. Rockafellar and S. Uryasev. "Optimization of conditional value-at-risk".
       Journal of Risk 2, 2000.

    Examples
    --------
    >>> from sk_arcal.diagnostics import worst_case_weights
    >>> worst_case_weights([0.1, 0.4, 0.2, 0.3], ball="cvar", alpha=0.5)
    array([0., 2., 0., 2.])
    >>> worst_case_weights([0.1, 0.4, 0.2], ball="box", bounds=(0.5, 2.0))
    array([0.5, 2. , 0.5])
    """
    allowed = Ball.of(ball, radius, alpha, bounds)
    loss = check_vector(losses, "losses")
    mass = check_weights(sample_weight, len(loss))
    present = mass > 0
    weights = np.zeros(len(loss))
    weights[present] = allowed.weights(loss[present], mass[present])
    return weights
