"""A routing profile as the user gave it: named columns, constant ones left out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal.diagnostics._conditional._routing_input import RoutingValues, read_routing


@dataclass(frozen=True)
class Profile:
    """Checked columns of a profile.

    Attributes
    ----------
    columns : dict of str to RoutingValues
        Columns with two distinct values or more, in the order given.
    notes : tuple of str
        What was left out.
    """

    columns: dict[str, RoutingValues]
    notes: tuple[str, ...]

    def taken(self, rows: NDArray[np.intp]) -> "Profile":
        """Return the same profile with rows in another order."""
        columns = {
            name: replace(values, numbers=values.numbers[rows], codes=_at(values.codes, rows))
            for name, values in self.columns.items()
        }
        return replace(self, columns=columns)


def _at(codes: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    return codes[rows] if codes.size else codes


def read_profile(profile: Any, n_samples: int) -> Profile:
    """Check every column; drop those with one value."""
    read = {
        name: read_routing(column, f"profile[{name!r}]", "auto", n_samples)
        for name, column in _named_columns(profile).items()
    }
    varying = {name: values for name, values in read.items() if np.ptp(values.numbers) > 0}
    constant = [name for name in read if name not in varying]
    note = f"Left out, with one value in all rows: {', '.join(constant)}."
    return Profile(varying, (note,) if constant else ())


def _named_columns(profile: Any) -> dict[str, Any]:
    """Split a mapping, a frame or an array into columns; those of an array are numbered."""
    if isinstance(profile, Mapping) or hasattr(profile, "columns"):
        names = list(profile if isinstance(profile, Mapping) else profile.columns)
        columns = [profile[name] for name in names]
    else:
        array = np.asarray(profile)
        if array.ndim not in {1, 2}:
            raise ValueError(
                "`profile` must have shape (n_samples, n_columns), or be a frame or a mapping; "
                f"got shape {array.shape}."
            )
        columns = [array] if array.ndim == 1 else list(array.T)
        names = [f"routing_{k}" for k in range(len(columns))]
    texts = [str(name) for name in names]
    if not texts:
        raise ValueError("`profile` has no columns; at least one is needed.")
    repeated = sorted({text for text in texts if texts.count(text) > 1})
    if repeated:
        raise ValueError(f"Names of the columns of `profile` must differ; repeated: {repeated}.")
    return dict(zip(texts, columns, strict=True))
