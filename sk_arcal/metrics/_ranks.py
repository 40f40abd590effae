"""Groups of equal size by rank, such as the tertiles of a routing feature."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import check_integer, check_vector


def rank_groups(values: ArrayLike, n_groups: int = 3) -> NDArray[np.intp]:
    """Cut values by rank into groups of equal size.

    Three groups are the tertiles of the worst-tertile ECE. Sizes differ by at most one even
    under ties, which are cut in the order of the rows.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        One number per row, such as a routing feature.
    n_groups : int, default=3
        Number of groups, at least 1 and at most the number of rows.

    Returns
    -------
    codes : ndarray of shape (n_samples,)
        Group of every row, from 0 (smallest values) to ``n_groups - 1``.

    Raises
    ------
    ValueError
        If `values` is empty, not finite or not one-dimensional, or there are fewer rows than
        groups.
    TypeError
        If `values` does not hold numbers or `n_groups` is not an integer.

    See Also
    --------
    group_calibration_error : Takes the codes as `groups`.

    Examples
    --------
    >>> from sk_arcal.metrics import rank_groups
    >>> rank_groups([0.3, 0.1, 0.9, 0.5, 0.7, 0.2, 0.2])
    array([1, 0, 2, 1, 2, 0, 0])
    """
    numbers = check_vector(values, "values")
    n_groups = check_integer("n_groups", n_groups, low=1)
    if n_groups > len(numbers):
        raise ValueError(
            f"`n_groups`={n_groups} groups cannot be cut from {len(numbers)} rows; "
            "lower `n_groups`."
        )
    codes = np.empty(len(numbers), dtype=np.intp)
    codes[np.argsort(numbers, kind="stable")] = np.arange(len(numbers)) * n_groups // len(numbers)
    return codes
