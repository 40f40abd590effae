"""From the `bandwidth` parameter to one bandwidth per axis."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real

import numpy as np

from sk_arcal._smoothing import scott_bandwidth
from sk_arcal._validation import FloatArray, as_generator, check_number
from sk_arcal.calibration._kernel._bandwidth_search import BandwidthSearch, Selection
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut
from sk_arcal.calibration._kernel._residual_kernel import log_loss


def check_bandwidth(bandwidth: object, n_axes: int) -> FloatArray | str:
    """Return "loo", "scott", or one positive number (inf allowed) for every axis.

    Parameters
    ----------
    bandwidth : str, float or sequence of float
        As the user gave it.
    n_axes : int
        One for the confidence plus the number of routing columns.

    Returns
    -------
    bandwidth : str or ndarray of shape (n_axes,)
        Checked.

    Raises
    ------
    ValueError
        If a word is unknown, a number is not positive, or the length is wrong.
    TypeError
        If it is none of these kinds.
    """
    expected = "`bandwidth` must be 'loo', 'scott', a number, or a sequence of numbers"
    if isinstance(bandwidth, str):
        if bandwidth not in {"loo", "scott"}:
            raise ValueError(f"{expected}; got {bandwidth!r}.")
        return bandwidth
    if isinstance(bandwidth, Real):
        return np.full(n_axes, _check_positive("bandwidth", bandwidth))
    if not isinstance(bandwidth, (Sequence, np.ndarray)) or np.ndim(bandwidth) != 1:
        raise TypeError(f"{expected}; got {bandwidth!r}.")
    if len(bandwidth) != n_axes:
        raise ValueError(
            f"`bandwidth` has {len(bandwidth)} entries but there are {n_axes} axes: the confidence "
            f"first, then {n_axes - 1} routing column(s). Write np.inf for an axis to ignore."
        )
    return np.array([_check_positive(f"bandwidth[{i}]", h) for i, h in enumerate(bandwidth)])


def _check_positive(name: str, value: object) -> float:
    number = check_number(name, value, low=0.0)
    if number == 0:
        raise ValueError(f"`{name}` must be positive; got 0. An axis is ignored with np.inf.")
    return number


def select_setting(
    problem: LeaveOneOut,
    alternatives: dict[str, FloatArray],
    bandwidth: FloatArray | str,
    *,
    scale: float,
    n_standard_errors: float,
    max_samples: int,
    random_state: object,
) -> Selection:
    """Find the bandwidths that `bandwidth` stands for, and the shrinkage.

    The search runs on at most `max_samples` rows; bandwidths found there are scaled to all rows.

    Parameters
    ----------
    problem : LeaveOneOut
        All rows.
    alternatives : dict of str to ndarray of shape (n_samples,)
        Event probabilities without a kernel, simplest first.
    bandwidth : str or ndarray of shape (n_axes,)
        As checked; unless "loo", only the shrinkage is searched.
    scale : float
        Multiplies all bandwidths.
    n_standard_errors : float
        How much better than a simpler arm the choice has to be.
    max_samples : int
        Largest number of rows searched on, drawn without replacement.
    random_state : object
        Draws them.

    Returns
    -------
    selection : Selection
        The choice.
    """
    total = problem.sample_weight.sum()
    if isinstance(bandwidth, str) and bandwidth == "scott":
        bandwidth = scott_bandwidth(problem.axes, problem.sample_weight)
    if len(problem.y) > max_samples:
        rng = as_generator(random_state)
        rows = np.sort(rng.choice(len(problem.y), max_samples, replace=False))
        problem = problem.subset(rows)
        alternatives = {word: prob[rows] for word, prob in alternatives.items()}
    off = np.full(problem.axes.shape[1], np.inf)
    fixed_arms = {
        word: problem.trial(off, np.inf, float(word != "identity"), log_loss(prob, problem.y))
        for word, prob in alternatives.items()
    }
    search = BandwidthSearch(problem, fixed_arms, n_standard_errors)
    if not isinstance(bandwidth, str):
        return search.run_at(scale * bandwidth)
    found = search.run()
    growth = total / problem.sample_weight.sum()
    scale *= growth ** (-1 / (np.isfinite(found.bandwidth).sum() + 4))
    return replace(found, bandwidth=found.bandwidth * scale)
