"""Train: small reference networks that expose their routing, and scikit-learn estimators on them.

The classifiers load without torch and need it in `fit`; the modules are torch's own.
"""

import importlib

# public name -> the leaf it lives in; a leaf with a module loads torch
_CLASSIFIERS = {
    "MixtureOfExpertsClassifier": "_experts_classifier",
    "Snapshot": "_training._settings",
    "TabularTransformerClassifier": "_tabular_classifier",
    "VisionTransformerClassifier": "_vision_classifier",
}
_MODULES = {
    "DepthRead": "_depth_read",
    "DepthStream": "_attention_residual",
    "ExpertRouting": "_mixture_of_experts",
    "MixtureOfExperts": "_mixture_of_experts",
    "ResidualBody": "_residual_body",
    "TabularTransformer": "_tabular_transformer",
    "VisionTransformer": "_vision_transformer",
    "depth_stream": "_attention_residual",
}

__all__ = [
    "DepthRead",
    "DepthStream",
    "ExpertRouting",
    "MixtureOfExperts",
    "MixtureOfExpertsClassifier",
    "ResidualBody",
    "Snapshot",
    "TabularTransformer",
    "TabularTransformerClassifier",
    "VisionTransformer",
    "VisionTransformerClassifier",
    "depth_stream",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        from sk_arcal._validation import import_optional

        import_optional("torch", extra="torch", caller=name)
    if name in _CLASSIFIERS | _MODULES:
        home = (_CLASSIFIERS | _MODULES)[name]
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
