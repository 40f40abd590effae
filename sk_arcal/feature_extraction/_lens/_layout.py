"""What a network holds at its layers, as a result and as one flat record a row.

``[values of every layer | prediction]``
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray

# Stands in a record where the network predicts nothing that is known.
UNKNOWN = -1


@dataclass(frozen=True, eq=False, repr=False)
class LayerReadout:
    """What a network says or holds at every layer.

    Returned by :meth:`LayerExtractor.extract`; see :class:`LayerExtractor`.

    Attributes
    ----------
    scores : ndarray of shape (n_samples, n_layers, n_scores) or None
        Logits of the lens; None for ``readout="hidden"``.
    hidden : ndarray of shape (n_samples, n_layers, width) or None
        States; None for ``readout="lens"``. Layers with fewer numbers than the widest have zeros
        at their end.
    layers : tuple of str
        "0" for the input of the first block up to "L" for the output of the last, or the paths of
        modules.
    prediction : ndarray of int of shape (n_samples,) or None
        Position of the most probable class, option or token by the network's own output; None if
        it gives no logits.
    widths : tuple of int
        Numbers of each layer.
    """

    scores: FloatArray | None
    hidden: FloatArray | None
    layers: tuple[str, ...]
    prediction: NDArray[np.intp] | None
    widths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        kind = "hidden" if self.scores is None else "scores"
        return (
            f"LayerReadout({kind} of shape {self.values.shape}, layers {self.layers[0]!r} to "
            f"{self.layers[-1]!r})"
        )

    @property
    def values(self) -> FloatArray:
        """The scores, or else the states.

        Returns
        -------
        values : ndarray of shape (n_samples, n_layers, width)
            Whichever there is.
        """
        values = self.hidden if self.scores is None else self.scores
        assert values is not None
        return values

    @classmethod
    def concatenate(cls, parts: "Sequence[LayerReadout]") -> "LayerReadout":
        """Join readouts of the same network, in order.

        Parameters
        ----------
        parts : sequence of LayerReadout
            At least one.

        Returns
        -------
        readout : LayerReadout
            Of all their rows.
        """
        values = np.concatenate([part.values for part in parts])
        known = [part.prediction for part in parts if part.prediction is not None]
        return _readout(
            values,
            is_lens=parts[0].scores is not None,
            layers=parts[0].layers,
            prediction=np.concatenate(known) if len(known) == len(parts) else None,
            widths=parts[0].widths,
        )


def _readout(
    values: FloatArray,
    *,
    is_lens: bool,
    layers: tuple[str, ...],
    prediction: NDArray[np.intp] | None,
    widths: tuple[int, ...],
) -> LayerReadout:
    scores, hidden = (values, None) if is_lens else (None, values)
    return LayerReadout(scores, hidden, layers, prediction, widths)


@dataclass(frozen=True)
class LayerLayout:
    """What the entries of a record mean.

    Attributes
    ----------
    readout : {"lens", "hidden"}
        Logits or states.
    layers : tuple of str
        In the order of the record.
    widths : tuple of int
        Numbers of each.
    dtype : {"float32", "float64"}
        Of the record.
    """

    readout: str
    layers: tuple[str, ...]
    widths: tuple[int, ...]
    dtype: str = "float32"

    @property
    def width(self) -> int:
        """Number of entries."""
        return sum(self.widths) + 1

    def extraction(self, records: FloatArray) -> LayerReadout:
        """Return what records of shape (n_samples, width) say."""
        *parts, predicted = np.split(records, np.cumsum(self.widths), axis=1)
        prediction = predicted[:, 0].astype(np.intp)
        return _readout(
            _stacked(parts, max(self.widths)),
            is_lens=self.readout == "lens",
            layers=self.layers,
            prediction=None if (prediction == UNKNOWN).any() else prediction,
            widths=self.widths,
        )

    def non_finite_rows(self, records: FloatArray) -> NDArray[np.intp]:
        """Return the rows that hold something that is not finite."""
        return np.flatnonzero(~np.isfinite(records).all(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Return the layout as plain data."""
        return asdict(self) | {"layers": list(self.layers), "widths": list(self.widths)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "LayerLayout":
        """Return the layout that plain data describe."""
        return cls(
            document["readout"],
            tuple(document["layers"]),
            tuple(document["widths"]),
            document["dtype"],
        )


def _stacked(parts: Sequence[FloatArray], width: int) -> FloatArray:
    """Return one array of all layers, zeros where a layer has fewer numbers."""
    stacked = np.zeros((len(parts[0]), len(parts), width), dtype=parts[0].dtype)
    for layer, part in enumerate(parts):
        stacked[:, layer, : part.shape[1]] = part
    return stacked
