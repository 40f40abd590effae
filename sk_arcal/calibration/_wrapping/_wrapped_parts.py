"""What the cross-fitted wrapper wraps: defaults, kinds, and the arguments each part is given."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn import get_config
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import InputTags, assert_all_finite, get_tags
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, has_fit_parameter

from sk_arcal.calibration._nadaraya_watson import NWConditionalCalibrator
from sk_arcal.calibration._temperature import TemperatureScaler

# What X may be only if all that read it take it.
_TOLERANCES = (
    *("one_d_array", "two_d_array", "three_d_array", "sparse"),
    *("categorical", "string", "dict", "allow_nan"),
)

Parts = dict[str, Any]


def routing_is_enabled() -> bool:
    """Tell whether scikit-learn routes metadata by request."""
    return bool(get_config()["enable_metadata_routing"])


def resolve_parts(estimator: Any, routing_transformer: Any, calibrator: Any) -> Parts:
    """Return the parts by parameter name, with defaults in place.

    Parameters
    ----------
    estimator, routing_transformer, calibrator : object
        Parameters of :class:`~sk_arcal.calibration.RoutingCalibratedClassifierCV`.

    Returns
    -------
    parts : dict of str to object
        "estimator", "routing_transformer" (may be None) and "calibrator".

    Raises
    ------
    TypeError
        If one of them is no estimator of its kind.
    """
    if isinstance(routing_transformer, str) and routing_transformer == "passthrough":
        routing_transformer = FunctionTransformer(feature_names_out="one-to-one")
    if estimator is None:
        estimator = _asking_for_weights(LogisticRegression())
    if calibrator is None:
        default = TemperatureScaler if routing_transformer is None else NWConditionalCalibrator
        calibrator = _asking_for_weights(default())
    parts = {
        "estimator": estimator,
        "routing_transformer": routing_transformer,
        "calibrator": calibrator,
    }
    _check_kinds(parts)
    return parts


def _asking_for_weights(part: Any) -> Any:
    return part.set_fit_request(sample_weight=True) if routing_is_enabled() else part


def _check_kinds(parts: Parts) -> None:
    needed = {"estimator": "fit", "routing_transformer": "transform", "calibrator": "predict_proba"}
    for name, method in needed.items():
        part = parts[name]
        if isinstance(part, type) or not (part is None or hasattr(part, method)):
            also = ', or "passthrough"' if name == "routing_transformer" else ""
            raise TypeError(f"`{name}` must be an estimator with `{method}`{also}; got {part!r}.")


def combined_inputs(tags: InputTags, parts: Parts) -> None:
    """Set what X may be: what both the classifier and the routing transformer take.

    Parameters
    ----------
    tags : InputTags
        Changed in place.
    parts : dict
        From `resolve_parts`.
    """
    readers = [
        get_tags(parts[name]).input_tags
        for name in ("estimator", "routing_transformer")
        if parts[name] is not None
    ]
    for name in _TOLERANCES:
        setattr(tags, name, all(getattr(reader, name) for reader in readers))
    tags.positive_only = any(reader.positive_only for reader in readers)
    tags.pairwise = readers[0].pairwise


def read_labels(y: ArrayLike) -> NDArray[Any]:
    """Return class labels of shape (n_samples,), or raise if they are none."""
    labels = column_or_1d(y, warn=True)
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels


def all_classes(estimator: Any, labels: NDArray[Any]) -> NDArray[Any]:
    """Return the sorted classes: of the labels, or of a frozen classifier, which may know more.

    Parameters
    ----------
    estimator : object
        The classifier.
    labels : ndarray of shape (n_samples,)
        Labels of the rows that count.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        At least two.

    Raises
    ------
    ValueError
        If there is one class only, or a frozen classifier does not know a label.
    """
    classes = np.unique(labels)
    if isinstance(estimator, FrozenEstimator):
        check_is_fitted(estimator)
        known = np.sort(np.asarray(estimator.classes_))
        unknown = sorted(set(classes.tolist()) - set(known.tolist()))
        if unknown:
            raise ValueError(
                f"y holds {unknown}, but the frozen classifier knows the classes {known.tolist()}."
            )
        classes = known
    if len(classes) < 2:
        raise ValueError(
            f"y holds only one class, {classes.tolist()}; at least two are needed to calibrate."
        )
    return classes


def fit_arguments(
    wrapper: Any, parts: Parts, own: dict[str, Any], params: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return what each part's `fit` and the splitter's `split` are called with.

    Parameters
    ----------
    wrapper : object
        Says who requests what.
    parts : dict
        From `resolve_parts`.
    own : dict
        "sample_weight" and "groups"; None where not given.
    params : dict
        Further arguments of the wrapper's `fit`.

    Returns
    -------
    arguments : dict of str to dict
        By part.
    splitting : dict
        For the splitter.
    """
    given = {name: value for name, value in own.items() if value is not None}
    if routing_is_enabled():
        routed = process_routing(wrapper, "fit", **given, **params)
        arguments = {name: dict(routed[name].fit) for name in parts if parts[name] is not None}
        return arguments, dict(routed["splitter"].split)
    splitting = {"groups": given.pop("groups")} if "groups" in given else {}
    arguments = {name: _supported(part, given) for name, part in parts.items()}
    if given and not arguments["estimator"] and not isinstance(parts["estimator"], FrozenEstimator):
        warnings.warn(
            f"`fit` of {type(parts['estimator']).__name__} takes no sample_weight, so the weights "
            "are used for the calibration only. If it is a pipeline, metadata routing brings them "
            "to its steps.",
            UserWarning,
            stacklevel=3,
        )
    arguments["estimator"] = {**arguments["estimator"], **params}
    return arguments, splitting


def _supported(part: Any, given: dict[str, Any]) -> dict[str, Any]:
    if part is None:
        return {}
    return {name: value for name, value in given.items() if has_fit_parameter(part, name)}
