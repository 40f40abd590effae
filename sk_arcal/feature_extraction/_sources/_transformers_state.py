"""What models of transformers keep outside their state: hooks they install, and a registry.

The library records router logits and hidden states by hooks of its own. It installs them on the
first call that asks for outputs, marks the model, and finds what to record in a registry that the
constructor fills. A model that comes out of a pickle has no hooks and was not constructed here.
"""

import sys
from typing import Any

#: Attributes that say hooks are installed; they must not survive where the hooks do not.
MARKS_OF_HOOKS = frozenset({"_output_capturing_hooks_installed"})

# Where the registry is, in newer and older releases.
_HOMES = ("transformers.utils.output_capturing", "transformers.utils.generic")
_REGISTRY = "_CAN_RECORD_REGISTRY"


def register_outputs(module: Any) -> None:
    """Tell transformers what its models in a module can record, as their constructors would have.

    Parameters
    ----------
    module : Module
        Any; without models of transformers nothing is done.
    """
    registries = [getattr(sys.modules.get(home), _REGISTRY, None) for home in _HOMES]
    for part in module.modules():
        recorded = getattr(type(part), "_can_record_outputs", None)
        for registry in registries:
            if recorded is not None and isinstance(registry, dict):
                # Newer releases take the model as key and turn it into the same text.
                dict.__setitem__(registry, str(type(part)), recorded)
