"""One batch through the module: what it says and how it routes, as records."""

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any

import torch

from sk_arcal._routing import RouteSite
from sk_arcal._validation import FloatArray
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._extraction._batches import Batch, Caller
from sk_arcal.feature_extraction._extraction._outputs import kept_scores
from sk_arcal.feature_extraction._extraction._record import RecordLayout
from sk_arcal.feature_extraction._extraction._rows import Rows
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings
from sk_arcal.feature_extraction._readers._evaluating import evaluating
from sk_arcal.feature_extraction._readers._finding import find_sites
from sk_arcal.feature_extraction._readers._pooling import PooledRoutes, pool
from sk_arcal.feature_extraction._readers._recording import recording
from sk_arcal.feature_extraction._readers._routes import Routes

# Rows that fitted in memory, per module, device and precision: the next call starts there.
_ROWS_THAT_FIT: dict[tuple[str, str, str | None], int] = {}


class Forward:
    """Forwards rows and returns their records.

    Parameters
    ----------
    backbone : Backbone
        The module.
    settings : ExtractionSettings
        How to forward, and what to keep.
    """

    def __init__(self, backbone: Backbone, settings: ExtractionSettings) -> None:
        self.backbone, self.settings = backbone, settings
        self.module = backbone.load(settings.device)
        floats = [p for p in self.module.parameters() if p.is_floating_point()]
        self.caller = Caller(
            frozenset(signature(self.module.forward).parameters),
            floats[0].device if floats else torch.device(settings.device or backbone.device),
            floats[0].dtype if floats else torch.get_default_dtype(),
        )
        self._routes_somewhere = bool(find_sites(self.module))
        self._memory_key = (backbone.digest, str(self.caller.device), settings.dtype)

    def __call__(self, rows: Rows, batch_size: int) -> Iterator[tuple[slice, RecordLayout, Any]]:
        """Forward rows in order, in batches that fit.

        Parameters
        ----------
        rows : ArrayRows or TokenRows
            Rows.
        batch_size : int
            Most rows at once; fewer where memory did not suffice before.

        Yields
        ------
        done : slice
            Which rows.
        layout : RecordLayout
            What the entries of the records mean.
        records : ndarray of shape (n_rows_done, width)
            Their records.
        """
        start = 0
        while start < len(rows):
            size = min(batch_size, _ROWS_THAT_FIT.get(self._memory_key, batch_size))
            part = slice(start, min(start + size, len(rows)))
            try:
                layout, records = self._records(rows.take(part))
            except (RuntimeError, MemoryError) as error:
                if part.stop - part.start == 1 or not _is_out_of_memory(error):
                    raise
                _ROWS_THAT_FIT[self._memory_key] = (part.stop - part.start) // 2
                # The error keeps the frames that hold the tensors alive until here.
                error.__traceback__ = None
                self._free_memory()
                continue
            yield part, layout, records
            start = part.stop

    def _records(self, rows: Rows) -> tuple[RecordLayout, FloatArray]:
        batch = self.caller.batch(rows, self.settings)
        with (
            self.backbone.exclusive(self.module),
            evaluating(self.module),
            torch.inference_mode(),
        ):
            output, pooled = self._recorded(batch)
            scores = kept_scores(output, batch, self.settings)
            return self._as_records(scores, pooled)

    def _recorded(self, batch: Batch) -> tuple[Any, list[tuple[RouteSite, PooledRoutes]]]:
        """Return the module's output and what every site did, tokens reduced."""
        if not self._routes_somewhere:
            with self._precision():
                return self.module(*batch.args, **batch.kwargs), []
        reduction = self.settings.token_reduction

        def each(routes: Routes) -> PooledRoutes:
            return pool(routes, batch.mask, reduction)

        with recording(self.module, batch.n_rows, batch.mask, each=each) as recorder:
            with self._precision():
                output = self.module(*batch.args, **batch.kwargs)
            return output, recorder.sites()

    def _precision(self) -> AbstractContextManager[Any]:
        if self.settings.dtype is None:
            return nullcontext()
        return torch.autocast(self.caller.device.type, getattr(torch, self.settings.dtype))

    def _as_records(
        self, scores: torch.Tensor, pooled: list[tuple[RouteSite, PooledRoutes]]
    ) -> tuple[RecordLayout, FloatArray]:
        routers = [routes for site, routes in pooled if site.kind == "router"]
        parts = [
            scores,
            *(routes.weights for _, routes in pooled),
            *(routes.statistics for _, routes in pooled),
            *(_known_load(routes) for routes in routers),
        ]
        dtype = torch.float64 if self.caller.dtype == torch.float64 else torch.float32
        columns = [part.to(self.caller.device, dtype) for part in parts]
        layout = RecordLayout(
            self.settings.outputs,
            scores.shape[1],
            tuple(site for site, _ in pooled),
            str(dtype).removeprefix("torch."),
        )
        return layout, torch.cat(columns, dim=1).cpu().numpy()

    def _free_memory(self) -> None:
        gc.collect()
        if self.caller.device.type == "cuda":
            torch.cuda.empty_cache()


def _known_load(routes: PooledRoutes) -> torch.Tensor:
    return torch.full_like(routes.weights, torch.nan) if routes.load is None else routes.load


def _is_out_of_memory(error: Exception) -> bool:
    """Whether torch ran out of memory; its CPU allocator says so by text alone."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return "out of memory" in text or "can't allocate memory" in text
