"""One batch through the network: what its layers hold, as records."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sk_arcal._validation import FloatArray
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._extraction._batches import Batch
from sk_arcal.feature_extraction._extraction._forward import Forward
from sk_arcal.feature_extraction._extraction._outputs import options_within, scores_at_last_token
from sk_arcal.feature_extraction._extraction._rows import Rows
from sk_arcal.feature_extraction._lens._layout import UNKNOWN, LayerLayout
from sk_arcal.feature_extraction._lens._lens import Lens
from sk_arcal.feature_extraction._lens._reading import (
    BlockReader,
    Reader,
    Reading,
    lens_reader,
    probe_ids,
    reader_of,
)
from sk_arcal.feature_extraction._lens._readout import describe_readout
from sk_arcal.feature_extraction._lens._settings import LayerSettings
from sk_arcal.feature_extraction._lens._states import States
from sk_arcal.feature_extraction._readers._evaluating import evaluating
from sk_arcal.feature_extraction._warning import ExtractionWarning

# Rounding to bfloat16 changes less of a state, padding that is read more.
_MOST_OF_PADDING = 0.1


class LayerForward(Forward):
    """Forwards rows and returns records of their layers.

    Parameters
    ----------
    backbone : Backbone
        The network.
    settings : LayerSettings
        How to forward, and what to keep.
    """

    settings: LayerSettings

    def __init__(self, backbone: Backbone, settings: LayerSettings) -> None:
        super().__init__(backbone, settings)
        self._reader: Reader | None = None
        self._padding_compared = False

    def _records(self, rows: Rows) -> tuple[Any, FloatArray]:
        batch = self.caller.batch(rows, self.settings)
        with (
            self.backbone.exclusive(self.module),
            evaluating(self.module),
            torch.inference_mode(),
        ):
            if self._reader is None:
                self._reader = self._open(rows)
            self._compare_padding(self._reader, rows)
            return self._as_layers(self._read(self._reader, batch), batch)

    def _open(self, rows: Rows) -> Reader:
        def first_row() -> tuple[tuple, dict[str, Any]]:
            batch = self.caller.batch(rows.take(slice(0, 1)), self.settings)
            return batch.args, batch.kwargs

        wanted = self.settings
        reader = reader_of(self.module, wanted.readout, wanted.layers, first_row, self._ids())
        takes_one_token = wanted.readout == "lens" and isinstance(reader, BlockReader)
        if takes_one_token and wanted.token_reduction == "mean":
            raise ValueError(
                "token='mean' has no lens: the mean of states is no state that the network's "
                "head ever reads. Use token='last', or readout='hidden'."
            )
        return reader

    def _ids(self) -> Tensor | None:
        if "input_ids" not in self.caller.accepted:
            return None
        return probe_ids(self.module, self.caller.device)

    def _read(self, reader: Reader, batch: Batch) -> Reading:
        kwargs = dict(batch.kwargs)
        if reader.lens is not None and "logits_to_keep" in self.caller.accepted:
            # The lens computes the scores; those of the network would be thrown away.
            kwargs["logits_to_keep"] = 1
        states = States(batch.mask, self.settings.token_reduction)
        with self._precision():
            return reader.read(
                self.settings.layers,
                lambda: self.module(*batch.args, **kwargs),
                batch.args,
                states,
            )

    def _compare_padding(self, reader: Reader, rows: Rows) -> None:
        """Warn, once, if the state of a row changes with the padding beside it."""
        lengths = rows.lengths()
        if self._padding_compared or lengths.min() == lengths.max():
            return
        self._padding_compared = True
        short, long = int(lengths.argmin()), int(lengths.argmax())
        alone, beside = (
            self._read(reader, self.caller.batch(rows.take(np.array(which)), self.settings))
            for which in ([short], [short, long])
        )
        state, padded = alone.states[-1][0].float(), beside.states[-1][0].float()
        gap = float((state - padded).abs().max() / state.abs().max())
        if gap > _MOST_OF_PADDING:
            warnings.warn(
                f"What the layers of a row hold depends on the padding beside it, by {gap:.0%} at "
                "the last of them: the network does not leave padding out. batch_size=1, or the "
                "other `padding_side`, makes a row its own.",
                ExtractionWarning,
                stacklevel=2,
            )

    def _as_layers(self, reading: Reading, batch: Batch) -> tuple[LayerLayout, FloatArray]:
        wanted = self.settings
        assert self._reader is not None
        lens = self._reader.lens if wanted.readout == "lens" else None
        if lens is None:
            values = reading.states
            predicted = _predicted(scores_at_last_token(reading.output, batch), wanted.option_ids)
        else:
            values = list(self._logits(lens, reading.states).unbind(dim=1))
            assert reading.last is not None
            predicted = _argmax(self._logits(lens, [reading.last])[:, 0])
        if predicted is None:
            predicted = torch.full((batch.n_rows,), UNKNOWN)
        dtype = torch.float64 if self.caller.dtype == torch.float64 else torch.float32
        columns = [part.to(self.caller.device, dtype) for part in (*values, predicted[:, None])]
        layout = LayerLayout(
            wanted.readout,
            tuple(reading.names),
            tuple(part.shape[1] for part in values),
            str(dtype).removeprefix("torch."),
        )
        return layout, torch.cat(columns, dim=1).cpu().numpy()

    def _logits(self, lens: Lens, states: list[Tensor]) -> Tensor:
        stacked = torch.stack([state.to(self.caller.dtype) for state in states], dim=1)
        return lens.logits(stacked, self.settings.option_ids)

    def describe(self) -> dict[str, Any]:
        """Return the readout as plain arrays."""
        with (
            self.backbone.exclusive(self.module),
            evaluating(self.module),
            torch.inference_mode(),
        ):
            lens = lens_reader(self.module, self._ids()).lens
            assert lens is not None
            return describe_readout(lens, self.settings.option_ids)


def _predicted(scores: Tensor | None, option_ids: tuple[int, ...]) -> Tensor | None:
    if scores is None:
        return None
    return _argmax(scores[:, options_within(option_ids, scores.shape[1])] if option_ids else scores)


def _argmax(scores: Tensor) -> Tensor:
    # A single score is a log-odds.
    return scores.argmax(dim=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).long()
