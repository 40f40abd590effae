"""Saving a calibrator: plain state for pickle and skops, and a dictionary for JSON."""

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metadata_routing import MetadataRequest

from sk_arcal import __version__
from sk_arcal._columns import ColumnRoles, columns
from sk_arcal.calibration._saving._json_values import decode, encode
from sk_arcal.calibration._saving._plain_state import from_plain, register_helper, to_plain
from sk_arcal.calibration._saving._seal import check_seal, seal
from sk_arcal.calibration._scale import ConfidenceScale

_VERSION = "_sk_arcal_version"
# What `BaseCalibrator.fit` learns, whatever the method.
_SHARED_STATE = {
    "classes_": np.ndarray,
    "column_roles_": ColumnRoles,
    "confidence_kind_": str,
    "n_features_in_": int,
    "_order": np.ndarray,
    "_scale": ConfidenceScale,
}

for _helper in (ColumnRoles, columns, ConfidenceScale):
    register_helper(_helper)


class PlainState(BaseEstimator):
    """Pickles without naming the small classes inside."""

    def __getstate__(self) -> dict[str, Any]:
        return {**to_plain(super().__getstate__()), _VERSION: __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        written = state.get(_VERSION, __version__)
        if written != __version__:
            warnings.warn(
                f"This {type(self).__name__} was saved by sk-arcal {written} and is loaded by "
                f"{__version__}; a pickle promises nothing across versions. Check its predictions, "
                "or save it by to_dict(), whose schema is versioned.",
                UserWarning,
                stacklevel=2,
            )
        plain = {name: value for name, value in state.items() if name != _VERSION}
        super().__setstate__(from_plain(plain))


class PersistentCalibrator(PlainState):
    """Saves itself as a dictionary, too."""

    def to_dict(self) -> dict[str, Any]:
        """Return the calibrator as a dictionary that JSON can hold.

        Returns
        -------
        saved : dict
            "format", "schema_version", "sk_arcal_version", "class", "parameters", "state" (empty
            before `fit`) and "sha256", the checksum of the rest. Infinite numbers are text,
            arrays are ``{"array": nested lists, "dtype": ..., "shape": ...}``. Metadata requests
            are not saved.

        Raises
        ------
        ValueError
            If a parameter cannot be written as JSON, such as a function that selects columns.

        See Also
        --------
        sk_arcal.calibration.calibrator_from_dict : Reads it back.

        Notes
        -----
        Floats are written so that they read back as the same double, and predictions after a
        round trip through ``json.dumps`` are the same to the last bit. A kernel that sums term
        by term keeps its calibration rows, and so does its file; others keep a grid.

        Examples
        --------
        >>> import json
        >>> from sk_arcal.calibration import TemperatureScaler
        >>> scaler = TemperatureScaler().fit([[-2.0], [1.0], [3.0], [1.0]], [0, 0, 1, 1])
        >>> text = json.dumps(scaler.to_dict())
        >>> copy = TemperatureScaler.from_dict(json.loads(text))
        >>> copy.temperature_ == scaler.temperature_
        True
        """
        parameters = self.get_params(deep=False)
        state = {
            name: value
            for name, value in vars(self).items()
            if name not in parameters and not isinstance(value, MetadataRequest)
        }
        return seal(
            type(self).__name__,
            parameters=_encoded(parameters, "parameter"),
            state=_encoded(state, "attribute"),
        )

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Self:
        """Restore a calibrator of this class from :meth:`to_dict`.

        Parameters
        ----------
        saved : dict
            From `to_dict`, also after a trip through JSON.

        Returns
        -------
        calibrator : object
            Predicts the same to the last bit; unfitted if it was when saved.

        Raises
        ------
        ValueError
            If it is not such a dictionary, holds another class, was written by a newer schema,
            was changed since, or its state does not fit together.
        TypeError
            If `saved` is no dictionary.

        See Also
        --------
        sk_arcal.calibration.calibrator_from_dict : Takes the class from the dictionary.
        """
        check_seal(saved)
        if saved["class"] != cls.__name__:
            raise ValueError(
                f"The dictionary holds a {saved['class']}, not a {cls.__name__}. Use "
                f"{saved['class']}.from_dict, or calibrator_from_dict for any class."
            )
        calibrator = cls(**_checked_parameters(cls, from_plain(decode(saved["parameters"]))))
        state = from_plain(decode(saved["state"]))
        if state:
            _check_state(calibrator, state)
            for name, value in state.items():
                setattr(calibrator, name, value)
            calibrator._try_one_row()
        return calibrator

    def _any_row(self) -> np.ndarray:
        """Return a row that any state accepts, shape (1, n_features)."""
        # As probabilities these sum to one, and as logits they are as good as any.
        return np.full((1, self.n_features_in_), 1 / len(self.classes_))

    def _try_one_row(self) -> None:
        """Predict one row, so that a part of the wrong shape is found on loading."""
        name, n_classes = type(self).__name__, len(self.classes_)
        try:
            logits = self._calibrated_logits(*self._split(self._any_row()))
        except Exception as error:
            raise ValueError(f"The saved state of {name} does not predict: {error}") from error
        if logits.shape != ((1,) if n_classes == 2 else (1, n_classes)):
            raise ValueError(
                f"The saved state of {name} predicts scores of shape {logits.shape} for one row "
                f"and {n_classes} classes."
            )


def calibrator_from_dict(saved: Mapping[str, Any]) -> Any:
    """Restore a calibrator of any class from what its ``to_dict`` returned.

    The dictionary holds data only. Nothing in it is run, and the class is looked up among those
    of this package by its name.

    Parameters
    ----------
    saved : dict
        From ``to_dict``, also after a trip through JSON.

    Returns
    -------
    calibrator : object
        Predicts the same to the last bit.

    Raises
    ------
    ValueError
        If it is not such a dictionary, names a class that this version does not have, was
        written by a newer schema, was changed since, or its state does not fit together.
    TypeError
        If `saved` is no dictionary.

    Notes
    -----
    The checksum detects damage, not malice: it is no signature.

    Examples
    --------
    >>> import json
    >>> from sk_arcal.calibration import TemperatureScaler, calibrator_from_dict
    >>> scaler = TemperatureScaler().fit([[-2.0], [1.0], [3.0], [1.0]], [0, 0, 1, 1])
    >>> calibrator_from_dict(json.loads(json.dumps(scaler.to_dict())))
    TemperatureScaler()
    """
    check_seal(saved)
    known = {cls.__name__: cls for cls in _descendants(PersistentCalibrator)}
    if saved["class"] not in known:
        raise ValueError(
            f"The dictionary holds a {saved['class']!r}, a class that sk-arcal {__version__} does "
            f"not have; it was written by {saved['sk_arcal_version']}."
        )
    return known[saved["class"]].from_dict(saved)


def _descendants(cls: type) -> list[Any]:
    children: list[Any] = cls.__subclasses__()
    return [*children, *(found for child in children for found in _descendants(child))]


def _encoded(values: dict[str, Any], what: str) -> dict[str, Any]:
    return {name: encode(to_plain(value), f"The {what} `{name}`") for name, value in values.items()}


def _checked_parameters(cls: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(parameters.keys() - cls().get_params(deep=False).keys())
    if unknown:
        raise ValueError(f"{cls.__name__} has no parameters {unknown}, which the dictionary names.")
    return parameters


def _check_state(calibrator: Any, state: dict[str, Any]) -> None:
    name = type(calibrator).__name__
    reserved = [
        key
        for key in state
        if key.startswith("__") or hasattr(calibrator, key) or "_" not in (key[:1], key[-1:])
    ]
    if reserved:
        raise ValueError(f"The saved state names {reserved}, which are not learned by {name}.")
    for key, kind in _SHARED_STATE.items():
        if not isinstance(state.get(key), kind):
            got = type(state[key]).__name__ if key in state else "nothing"
            raise ValueError(
                f"The saved state of {name} needs `{key}` of type {kind.__name__}; got {got}."
            )
    roles, n_features = state["column_roles_"], state["n_features_in_"]
    positions = np.r_[roles.confidence, roles.routing]
    names = state.get("feature_names_in_", np.empty(n_features))
    fits = (
        sorted(state["_order"]) == list(range(len(state["classes_"])))
        and ((positions >= 0) & (positions < n_features)).all()
        and len(names) == n_features
    )
    if not fits:
        raise ValueError(
            f"The saved state of {name} contradicts itself: classes, column positions and number "
            "of features do not belong to one fit."
        )
