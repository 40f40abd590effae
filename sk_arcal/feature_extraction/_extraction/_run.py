"""Rows through the cache: what is there is read, what is missing is forwarded once and kept."""

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray, import_optional
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._extraction._record import Extraction, RecordLayout
from sk_arcal.feature_extraction._extraction._rows import Rows
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings
from sk_arcal.feature_extraction._extraction._worker import in_worker_process

if TYPE_CHECKING:
    from sk_arcal.feature_extraction._extraction._forward import Forward

# Rows looked up, sorted by length and forwarded together; bounds the memory for records.
_WINDOW = 4096


class Table(Protocol):
    """Where records are kept: a table of the row cache, or one that keeps nothing."""

    layout: Any

    def read(self, keys: NDArray[np.uint8]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return records, and which of the keys were there."""

    def write(self, keys: NDArray[np.uint8], values: FloatArray) -> None:
        """Keep records."""

    def compact(self) -> None:
        """Put what was written into fewer files."""


class ForgetfulTable:
    """Stands in for the cache where there is none; keeps no rows."""

    layout: Any = None

    def read(self, keys: NDArray[np.uint8]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Return that nothing is there."""
        return np.empty((len(keys), 0)), np.zeros(len(keys), dtype=bool)

    def write(self, keys: NDArray[np.uint8], values: FloatArray) -> None:
        """Forget."""

    def compact(self) -> None:
        """Do nothing."""


class RecordSource:
    """Records of rows: read from a table, and forwarded where it lacks them.

    Parameters
    ----------
    backbone : Backbone
        The module; not loaded as long as nothing is missing.
    settings : ExtractionSettings
        How to forward, and what to keep.
    table : RowTable or ForgetfulTable
        Records made with these settings.
    batch_size : int
        Most rows forwarded at once.
    may_forward : bool
        Whether rows that are missing may be forwarded.
    progress : callable
        Called with the number of rows whenever some are done.
    """

    def __init__(
        self,
        backbone: Backbone,
        settings: ExtractionSettings,
        table: Table,
        *,
        batch_size: int,
        may_forward: bool,
        progress: Callable[[int], object],
    ) -> None:
        self.backbone, self.settings, self.table = backbone, settings, table
        self.batch_size, self.may_forward, self.progress = batch_size, may_forward, progress
        self._layout: RecordLayout | None = None

    @property
    def layout(self) -> RecordLayout | None:
        """What the records mean; None as long as nothing was forwarded."""
        if self._layout is None and (known := self.table.layout) is not None:
            self._layout = self._restored(known)
        return self._layout

    def windows(self, rows: Rows) -> Iterator[tuple[slice, Extraction]]:
        """Yield slices of the rows in order, and what the network says about each."""
        start = 0
        while start < len(rows):
            window = slice(start, min(start + self._window(), len(rows)))
            records = self._records(rows.take(window), start)
            layout = self.layout
            assert layout is not None
            yield window, layout.extraction(records)
            start = window.stop
        self.table.compact()

    def _records(self, rows: Rows, start: int) -> FloatArray:
        keys = rows.digests()
        values, found = self.table.read(keys)
        self.progress(int(found.sum()))
        if found.all():
            return values
        missing = np.flatnonzero(~found)
        if not self.may_forward:
            self._refuse(len(missing), len(rows))
        # Equal rows are forwarded once.
        distinct, first, inverse = np.unique(
            keys[missing], axis=0, return_index=True, return_inverse=True
        )
        # With an axis numpy 2.0 keeps it in the inverse.
        inverse = inverse.ravel()
        made = self._forwarded(rows, missing[first], distinct, start)
        self.progress(len(missing) - len(distinct))
        if not found.any():
            return made[inverse]
        values[missing] = made[inverse]
        return values

    def _forwarded(
        self, rows: Rows, which: NDArray[np.intp], keys: NDArray[np.uint8], start: int
    ) -> FloatArray:
        """Return the records of some of the rows, all distinct, saved batch by batch."""
        pending = _forwarding_order(rows.lengths()[which], self.batch_size)
        records: FloatArray | None = None
        while pending.size:
            batch, pending = pending[: self.batch_size], pending[self.batch_size :]
            # Another process may have forwarded them meanwhile.
            values, found = self.table.read(keys[batch])
            if found.any():
                records = _put(records, batch[found], values[found], len(which))
            left = batch[~found]
            for part, layout, made in self._forward(rows.take(which[left]), self.batch_size):
                self._keep(layout, keys[left[part]], made, start)
                records = _put(records, left[part], made, len(which))
            self.progress(len(batch))
        assert records is not None
        return records

    def _keep(
        self, layout: RecordLayout, keys: NDArray[np.uint8], records: FloatArray, start: int
    ) -> None:
        known = self.layout
        if known is None:
            self.table.layout = layout.to_dict()
        elif known != layout:
            raise ValueError(
                f"The backbone's outputs changed between batches: {known} before, {layout} now. "
                "The number of scores, sites and routes must not depend on the rows."
            )
        bad = layout.non_finite_rows(records)
        if bad.size:
            raise ValueError(
                f"The backbone gives scores or routing weights that are not finite for "
                f"{bad.size} of {len(records)} rows of a batch (from row {start} of X on). Check "
                "the inputs, or the precision `dtype`."
            )
        self.table.write(keys, records)

    def _window(self) -> int:
        """Return the rows of the next window."""
        return _WINDOW

    def _restored(self, known: dict[str, Any]) -> Any:
        """Return the layout that a table knows."""
        return RecordLayout.from_dict(known)

    @cached_property
    def _forward(self) -> "Forward":
        return self._make_forward()

    def _make_forward(self) -> "Forward":
        import_optional("torch", extra="torch", caller="RoutingFeatureExtractor")
        from sk_arcal.feature_extraction._extraction._forward import Forward

        return Forward(self.backbone, self.settings)

    def _refuse(self, n_missing: int, n_rows: int) -> None:
        raise RuntimeError(
            f"{n_missing} of {n_rows} rows are not in the cache, and this worker process may not "
            "forward them: every worker would open the device and load the weights anew. Call "
            "prefill(X) on the extractor before the search, or set on_miss='compute'."
        )


def _forwarding_order(lengths: NDArray[np.intp], batch_size: int) -> NDArray[np.intp]:
    """Return the rows in the order in which they are forwarded, those of like length together.

    Long ones first: if memory does not suffice, it shows at once. Workers that start on the same
    rows at the same time take the batches in different orders, so that each finds most of the
    others' work done.
    """
    order = np.argsort(-lengths, kind="stable")
    if not in_worker_process():
        return order
    batches = np.split(order, range(batch_size, len(order), batch_size))
    shuffled = np.random.default_rng(os.getpid()).permutation(len(batches))
    return np.concatenate([batches[batch] for batch in shuffled])


def _put(
    records: FloatArray | None, rows: NDArray[np.intp], values: FloatArray, n_rows: int
) -> FloatArray:
    if records is None:
        records = np.empty((n_rows, values.shape[1]), dtype=values.dtype)
    records[rows] = values
    return records
