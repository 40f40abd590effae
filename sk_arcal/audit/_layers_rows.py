"""A table with layers, as the diagnostics of depth see it."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading import PredictionTable
from sk_arcal.diagnostics import layer_features

PREFIX = "depth: "
# Values that lie closer together differ by rounding.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class LayerRows:
    """All rows of a table with layers.

    Attributes
    ----------
    y : ndarray of int of shape (n_samples,)
        True class; of an event 0 or 1.
    log_proba : ndarray of shape (n_samples, n_layers, n_classes)
        Class log-probabilities.
    names : tuple of str
        The layers.
    rows : ndarray of int of shape (n_evaluated,)
        Rows to evaluate.
    groups : ndarray of shape (n_samples,) or None
        Rows that depend on each other.
    taken : frozenset of str
        Names of other features.
    """

    y: NDArray[np.intp]
    log_proba: FloatArray
    names: tuple[str, ...]
    rows: NDArray[np.intp]
    groups: NDArray[Any] | None
    taken: frozenset[str]

    @classmethod
    def of(cls, table: PredictionTable) -> "LayerRows":
        """Return the rows of a table.

        Raises
        ------
        ValueError
            If the table has no layers.
        """
        if table.layer_scores is None or table.layer_labels is None:
            raise ValueError(
                "`layers=True` needs the layers of a network, and the table has none: it lacks "
                "`layer__<l>__logit__<class>`, or was read without `layers=True`; from arrays give "
                "`layer_scores` to `PredictionTable.from_arrays`."
            )
        rows = np.arange(len(table.event))
        if table.evaluate is not None:
            rows = np.flatnonzero(table.evaluate)
        return cls(
            table.layer_labels,
            table.layer_scores,
            table.layer_names,
            rows,
            table.groups,
            frozenset(table.routing),
        )

    @property
    def layers(self) -> tuple[str, ...] | tuple[int, ...]:
        """Names of the layers, as numbers where all are such."""
        if all(name.isdecimal() for name in self.names):
            numbers = tuple(int(name) for name in self.names)
            return numbers if len(set(numbers)) == len(numbers) else self.names
        return self.names

    @cached_property
    def _columns(self) -> dict[str, FloatArray]:
        found = layer_features(self.log_proba, score_kind="logit")
        return {self._free_name(name): column for name, column in found.items()}

    def _free_name(self, name: str) -> str:
        words = PREFIX + name
        while words in self.taken:
            words += " (built in)"
        return words

    @property
    def features(self) -> dict[str, FloatArray]:
        """Features of depth that differ between the rows to evaluate."""
        return {
            name: column
            for name, column in self._columns.items()
            if np.ptp(column[self.rows]) > _SAME
        }

    @property
    def constant(self) -> tuple[str, ...]:
        """Names of the other features of depth."""
        return tuple(name for name in self._columns if name not in self.features)

    def with_features(self, table: PredictionTable) -> PredictionTable:
        """Return the table with the features of depth among its routing features."""
        return replace(table, routing={**table.routing, **self.features})

    def measured(self) -> tuple[NDArray[np.intp], FloatArray, NDArray[np.intp]]:
        """Return outcome, scores and labels as `layerwise_calibration` reads them."""
        labels = np.arange(self.log_proba.shape[2])
        return self.y[self.rows], self.log_proba[self.rows], labels
