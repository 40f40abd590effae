"""From the `bandwidth` parameter to one bandwidth per axis."""

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real

import numpy as np

from sk_arcal._smoothing import MOST_CELL_AXES, scott_bandwidth, takes_grid
from sk_arcal._validation import FloatArray, as_generator, check_number
from sk_arcal.calibration._kernel._bandwidth_search import BandwidthSearch, Selection
from sk_arcal.calibration._kernel._cell_rows import CellRows
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

    With one routing column at most, rows are counted in cells, so that all of them are searched
    on. With more, the search runs on at most `max_samples` rows, and bandwidths found there are
    scaled to all rows.

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
    if not isinstance(bandwidth, str):
        bandwidth = scale * bandwidth
    problem, losses = _searched(problem, alternatives, bandwidth, max_samples, random_state)
    off = np.full(problem.axes.shape[1], np.inf)
    fixed_arms = {
        word: problem.trial(off, np.inf, float(word != "identity"), loss)
        for word, loss in losses.items()
    }
    search = BandwidthSearch(problem, fixed_arms, n_standard_errors)
    if not isinstance(bandwidth, str):
        return search.run_at(bandwidth)
    found = search.run()
    growth = total / problem.sample_weight.sum()
    scale *= growth ** (-1 / (np.isfinite(found.bandwidth).sum() + 4))
    return replace(found, bandwidth=found.bandwidth * scale)


def _searched(
    problem: LeaveOneOut,
    alternatives: dict[str, FloatArray],
    bandwidth: FloatArray | str,
    max_samples: int,
    random_state: object,
) -> tuple[LeaveOneOut, dict[str, FloatArray]]:
    """Return the rows to search on, and the log losses of the alternatives there.

    All rows where that takes linear time: counted in cells for a search over bandwidths, one by
    one at a bandwidth that is given. Otherwise some of them.
    """
    losses = {word: log_loss(prob, problem.y) for word, prob in alternatives.items()}
    if len(problem.y) <= max_samples:
        return problem, losses
    if isinstance(bandwidth, str):
        if problem.algorithm != "exact" and problem.axes.shape[1] <= MOST_CELL_AXES:
            counted = CellRows.of(problem)
            return counted, {word: counted.means(loss) for word, loss in losses.items()}
    elif takes_grid(problem.algorithm, problem.axes, bandwidth):
        return problem, losses
    rows = as_generator(random_state).choice(len(problem.y), max_samples, replace=False)
    rows.sort()
    return problem.subset(rows), {word: loss[rows] for word, loss in losses.items()}
