"""Reading a stream block by block: the first block decides what the others are read with."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._validation import FloatArray, check_option
from sk_arcal.calibration._base import BaseCalibrator
from sk_arcal.calibration._classes import align_classes, read_classes
from sk_arcal.calibration._scale import KINDS


class StreamedCalibrator(BaseCalibrator):
    """What calibrators with a `partial_fit` share; `_stream` holds what adds up."""

    _stream: Any

    def _read_block(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        classes: ArrayLike | None,
        *,
        is_first: bool,
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return logits, routing, class codes and weights; called by `partial_fit` itself."""
        check_option("confidence_kind", self.confidence_kind, KINDS)
        known = self._all_classes(classes) if is_first else None
        values, labels, weight = self._validated_block(X, y, sample_weight, reset=is_first)
        if known is not None:
            self._set_roles(X, values, known)
            named = self.column_roles_.named_classes
            stated = read_classes(self.classes)
            _, self.classes_, self._order = align_classes(known, stated, named, self._n_scores())
            self._set_scale(values, stacklevel=6)
        codes = align_classes(labels, self.classes_, None, self._n_scores())[0]
        logits, routing = self._split(values)
        return logits, routing, codes, weight

    def _all_classes(self, argument: ArrayLike | None) -> NDArray[Any]:
        """Return all labels a stream may hold."""
        listed = read_classes(self.classes if argument is None else argument)
        if listed is not None:
            return np.unique(listed)
        if hasattr(self, "classes_"):
            return self.classes_
        raise ValueError(
            "The first call of `partial_fit` needs all labels that may come: `classes=[...]`."
        )

    def _checked_stream(self) -> Any:
        if not hasattr(self, "_stream"):
            raise ValueError(
                f"This {type(self).__name__} has seen no stream; call `partial_fit` first."
            )
        return self._stream
