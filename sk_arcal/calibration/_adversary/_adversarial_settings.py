"""Parameters of the adversarial calibrator, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sk_arcal._validation import check_integer, check_number, check_option
from sk_arcal.calibration._adversary._adversaries import ADVERSARIES, Adversary

# An excess is a hundredth of a nat where a loss is one; 2 is the published tilt of losses.
_ETA = {"routing": 50.0, "rows": 2.0}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the adversary is and how long to iterate.

    Attributes
    ----------
    adversary : Adversary
        Kind and strength.
    view : str
        "rows" or "routing".
    n_cells : int
        Largest number of cells per half.
    max_iter : int
        Iterations of one fit.
    warm_up : bool
        Whether to start at the solution without an adversary.
    """

    adversary: Adversary
    view: str
    n_cells: int
    max_iter: int
    warm_up: bool


def read_settings(parameters: Mapping[str, Any]) -> Settings:
    """Check the parameters of the adversary and of the fit.

    Parameters
    ----------
    parameters : dict
        Those of :class:`AdversarialReweightCalibrator`.

    Returns
    -------
    settings : Settings
        In the form the fit uses.

    Raises
    ------
    ValueError
        If a number is out of range or a word unknown.
    TypeError
        If a parameter has the wrong kind.
    """
    name = check_option("adversary", parameters["adversary"], ADVERSARIES)
    view = check_option("view", parameters["view"], _ETA)
    eta = _ETA[view] if parameters["eta"] is None else parameters["eta"]
    alpha = check_number("alpha", parameters["alpha"], high=1.0)
    if alpha <= 0:
        raise ValueError(f"`alpha` is a share of the rows, in (0, 1]; got {alpha}.")
    for parameter in ("min_regret", "min_disagreement", "n_standard_errors"):
        check_number(parameter, parameters[parameter], low=0.0)
    for parameter in ("n_knots", "n_cells", "n_folds"):
        check_integer(parameter, parameters[parameter], low=2)
    if isinstance(parameters["ridge"], str):
        check_option("ridge", parameters["ridge"], ("cv",))
    else:
        check_number("ridge", parameters["ridge"], low=0.0)
    strength = Adversary(
        name,
        eta=check_number("eta", eta, low=0.0),
        alpha=alpha,
        radius=check_number("radius", parameters["radius"], low=0.0),
    )
    max_iter = check_integer("max_iter", parameters["max_iter"], low=1)
    return Settings(strength, view, parameters["n_cells"], max_iter, bool(parameters["warm_up"]))
