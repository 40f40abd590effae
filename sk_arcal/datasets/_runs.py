"""Several runs of one model on one test set, of which it is known what routing says in each."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from sk_arcal._validation import (
    FloatArray,
    as_generator,
    check_integer,
    check_number,
    check_option,
)
from sk_arcal.datasets._effects import EFFECTS, bounded
from sk_arcal.datasets._law import smooth_confidence


def make_routing_runs(
    n_samples: int = 2000,
    n_runs: int = 5,
    *,
    effect: str = "none",
    strength: float = 0.05,
    shared: float = 0.6,
    n_affected: int | None = None,
    correlation: float = 0.0,
    random_state: object = None,
) -> Any:
    """Simulate several runs (trained networks, seeds) that are tested on the same items.

    Runs see the same items, and an item that is hard for one is hard for the others: results of
    the runs are not independent, and a test that takes them for so rejects too often.

    Parameters
    ----------
    n_samples : int, default=2000
        Number of independent items of the test set, at least 1.
    n_runs : int, default=5
        Number of runs, at least 1.
    effect : {"none", "step", "linear", "u_shape", "crossing", "one_bin", "tail"}, default="none"
        Effect of the routing in the affected runs, as in :func:`make_routing_data`.
    strength : float, default=0.05
        Largest change of the probability, in [0, 1].
    shared : float, default=0.6
        What the runs share, in [0, 1]: the correlation between two runs of the normal score of
        the confidence, of the routing at equal confidence, and of the latent normal that decides
        the outcome. 0: runs are independent; 1: they are copies of one another.
    n_affected : int, default=None
        Number of runs with the effect, from 0 to `n_runs`: the first ones. None means all.
    correlation : float, default=0.0
        Correlation of the routing with the normal score of the confidence, in (-1, 1).
    random_state : int, RandomState, Generator or None, default=None
        Source of all draws.

    Returns
    -------
    data : sklearn.utils.Bunch
        `y`, `confidence`, `routing`, `probability` and `calibrated`, each (n_runs, n_samples)
        with the same item in a column, `affected` (n_runs,) of bool, and `description`.

    Raises
    ------
    ValueError
        If a number is out of range or `effect` is unknown.
    TypeError
        If a number is of the wrong kind.

    See Also
    --------
    make_routing_data : One run, with more options; what the arrays mean.
    sk_arcal.diagnostics.conditional_calibration_runs : The test for such runs.

    Notes
    -----
    Within each run the rows follow :func:`make_routing_data` with an overconfidence of 0.4. With
    s = `shared`, every normal of run r and item i is sqrt(s) common_i + sqrt(1 - s) own_ri: the
    score, the routing noise, and a latent d; y = 1 where Phi(d) < `probability`.

    Examples
    --------
    >>> from sk_arcal.datasets import make_routing_runs
    >>> data = make_routing_runs(500, 3, effect="linear", n_affected=1, random_state=0)
    >>> data.y.shape, data.affected.tolist()
    ((3, 500), [True, False, False])
    """
    from sklearn.utils import Bunch

    n = check_integer("n_samples", n_samples, low=1)
    n_runs = check_integer("n_runs", n_runs, low=1)
    shape = EFFECTS[check_option("effect", effect, EFFECTS)]
    strength = check_number("strength", strength, low=0, high=1)
    shared = check_number("shared", shared, low=0, high=1)
    correlation = check_number("correlation", correlation, low=-1, high=1, strict=True)
    affected = np.arange(n_runs) < _checked_affected(n_affected, n_runs)
    # A child, so that no draw is one of `default_rng(random_state)`, which users have at hand.
    (rng,) = as_generator(random_state).spawn(1)
    score, noise, latent = _shared_normals(n, n_runs, shared, rng)
    confidence = smooth_confidence(score, 0.4)
    calibrated = confidence.event_rate("temperature", 0.4)
    size = bounded(strength, calibrated) * shape.place(ndtr(score)) * affected[:, None]
    probability = calibrated + size * shape.shape(2 * ndtr(noise) - 1)
    return Bunch(
        y=(ndtr(latent) < probability).astype(np.int64),
        confidence=confidence.value,
        routing=correlation * score + np.sqrt(1 - correlation**2) * noise,
        probability=probability,
        calibrated=calibrated,
        affected=affected,
        description=(
            f"{n_runs} simulated runs on {n} items, {int(affected.sum())} of them with effect "
            f"{effect!r} of strength {strength:g}."
        ),
    )


def _checked_affected(n_affected: int | None, n_runs: int) -> int:
    if n_affected is None:
        return n_runs
    n_affected = check_integer("n_affected", n_affected, low=0)
    if n_affected > n_runs:
        raise ValueError(f"`n_affected` is {n_affected}, of only {n_runs} runs.")
    return n_affected


def _shared_normals(n: int, n_runs: int, shared: float, rng: np.random.Generator) -> FloatArray:
    """Return score, routing noise and latent outcome, shape (3, n_runs, n)."""
    common, own = rng.standard_normal((3, 1, n)), rng.standard_normal((3, n_runs, n))
    return np.sqrt(shared) * common + np.sqrt(1 - shared) * own
