"""Everything an audit keeps of a stream: sums over all rows and a sample of them."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from sk_arcal._validation import as_generator, check_integer
from sk_arcal.audit._reading import PredictionTable
from sk_arcal.audit._reading._chunk_rules import ChunkRules
from sk_arcal.audit._reading._chunks import rows_from
from sk_arcal.audit._reading._source import Source, source_from_frame
from sk_arcal.audit._streaming._part import PartSums
from sk_arcal.audit._streaming._sample import RowSample
from sk_arcal.audit._streaming._table import sampled_table

_FIT, _EVALUATE = 0, 1


class StreamedTables:
    """Collect predictions chunk by chunk for one audit of all of them.

    Rows are counted, by confidence, routing and outcome, and a uniform sample of them is kept.
    What is read of the counts is that of all rows; the sample goes to :func:`routing_audit`.
    Objects pickle, and those of shards merge. :func:`stream_audit` uses one for files.

    Parameters
    ----------
    head : DataFrame or dict of arrays
        The first rows, a few ten thousand or more. They set the roles of the columns, the
        classes, the cells that rows are counted in and the range of temperatures, and should be
        like the rest. They are not counted: pass them to `update`, too.
    target, confidence, routing, group, split : str or sequence of str, default=None
        Columns, as in :func:`read_predictions`.
    max_rows : int, default=200000
        Rows of the sample, at least 30.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the sample and of the noise floor.

    Attributes
    ----------
    n_rows : int
        Rows seen so far.
    columns : list of str
        Columns that are read.
    text_columns : tuple of str
        Those among them whose cells are texts.

    See Also
    --------
    stream_audit : The same for files, in one call.

    Notes
    -----
    Cells are cut at quantiles of `head`, so shards add up only if they come from one object, by
    `new_shard`. The sample is the `max_rows` rows with the smallest of random keys, which depend
    on the seed, the number of the shard and the place of the row in the shard alone.

    Examples
    --------
    >>> from sk_arcal.audit import StreamedTables, routing_audit
    >>> from sk_arcal.datasets import make_routing_data
    >>> data = make_routing_data(3000, effect="step", strength=0.2, random_state=0)
    >>> columns = {"correct": data.y, "confidence": data.confidence,
    ...            "routing__depth": data.routing[:, 0]}
    >>> chunks = [{name: values[k : k + 1000] for name, values in columns.items()}
    ...           for k in (0, 1000, 2000)]
    >>> tables = StreamedTables(chunks[0], max_rows=500, random_state=0)
    >>> shards = [tables.new_shard(k).update(chunk) for k, chunk in enumerate(chunks)]
    >>> for shard in shards:
    ...     tables = tables.merge(shard)
    >>> tables
    StreamedTables(n_rows=3000, max_rows=500, routing=['depth'])
    >>> audit = routing_audit(tables.table(), n_resamples=99, n_shuffles=2, random_state=0)
    >>> audit.n, audit.stream.n_rows, audit.stream.gaps["depth"].gap_low > 0
    (500, 3000, True)
    """

    def __init__(
        self,
        head: Any,
        *,
        target: str | None = None,
        confidence: str | Sequence[str] | None = None,
        routing: str | Sequence[str] | None = None,
        group: str | None = None,
        split: str | None = None,
        max_rows: int = 200_000,
        random_state: object = None,
    ) -> None:
        size = check_integer("max_rows", max_rows, low=30)
        source = head if isinstance(head, Source) else source_from_frame(head)
        selectors = {
            "target": target,
            "confidence": confidence,
            "routing": routing,
            "group": group,
            "split": split,
        }
        self._rules = ChunkRules.of(source, **selectors)
        # A grandchild: the audit draws from the children of the same seed.
        rng = as_generator(random_state).spawn(1)[0].spawn(1)[0]
        self._seed = int(rng.integers(2**63))
        empty = PartSums(self._rules.read(source))
        self._parts = [empty, empty.empty()]
        self._sample = RowSample(size, self._seed, 0)
        # Rows of every shard, by its number.
        self._read = {0: 0}
        self._is_merged = False

    @property
    def n_rows(self) -> int:
        """Rows seen so far."""
        return sum(self._read.values())

    @property
    def columns(self) -> list[str]:
        """Columns that are read."""
        return self._rules.columns

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Those among them whose cells are texts."""
        return self._rules.texts

    def __repr__(self) -> str:
        return (
            f"StreamedTables(n_rows={self.n_rows}, max_rows={self._sample.size}, "
            f"routing={list(self._parts[0].features)})"
        )

    def update(self, frame: Any) -> Self:
        """Add the rows that come next.

        Parameters
        ----------
        frame : DataFrame or dict of arrays
            With the columns of `head`; others are passed over.

        Returns
        -------
        self : StreamedTables
            With the rows added; unchanged if they are refused.

        Raises
        ------
        ValueError
            If a column is not there, a value is missing, infinite or out of range, or a label is
            none of the classes; the row is named, counted from the first of the shard. Or if
            shards have been merged into the object.
        TypeError
            If `frame` is not a table.
        """
        if self._is_merged:
            raise ValueError(
                "Rows of shards have been merged into this object; add others to a new_shard()."
            )
        source = frame if isinstance(frame, Source) else source_from_frame(frame)
        first = self._read[self._sample.shard]
        if not isinstance(frame, Source):
            source = replace(source, locate=rows_from(first))
        if not source.n_rows:
            return self
        rows = self._rules.read(source, first)
        self._sample.add(rows, source.n_rows, first)
        if rows.evaluate is None:
            self._parts[_EVALUATE].add(rows)
        elif len(rows):
            self._parts[_FIT].add(rows.part(~rows.evaluate))
            self._parts[_EVALUATE].add(rows.part(rows.evaluate))
        self._read[self._sample.shard] += source.n_rows
        return self

    def new_shard(self, number: int) -> "StreamedTables":
        """Return an object without rows for other rows of the same stream.

        Parameters
        ----------
        number : int
            Different for each shard, at least 0. The object itself has the number 0 until rows
            have been added to it only by merging.

        Returns
        -------
        shard : StreamedTables
            To be updated, anywhere, and merged.

        Raises
        ------
        ValueError
            If `number` is negative.
        TypeError
            If `number` is not an integer.
        """
        number = check_integer("number", number, low=0)
        shard = copy.copy(self)
        shard._parts = [part.empty() for part in self._parts]
        shard._sample = RowSample(self._sample.size, self._seed, number)
        shard._read = {number: 0}
        shard._is_merged = False
        return shard

    def merge(self, other: Self) -> Self:
        """Add the rows of a shard.

        Parameters
        ----------
        other : StreamedTables
            From `new_shard` of the same object; it is not changed.

        Returns
        -------
        self : StreamedTables
            With its rows added.

        Raises
        ------
        ValueError
            If the two were not made from one object, or hold rows of a shard of one number.
        TypeError
            If `other` is something else.
        """
        if not isinstance(other, StreamedTables):
            raise TypeError(f"`other` must be a StreamedTables; got {type(other).__name__}.")
        if not self._fits(other):
            raise ValueError(
                "The two were started from different first rows or seeds, so they do not add up. "
                "Start every shard with new_shard() of one object."
            )
        twice = [k for k, n in other._read.items() if n and self._read.get(k)]
        if twice:
            raise ValueError(
                f"Both hold rows of a shard with the number {twice[0]}; give every shard a number "
                "of its own, and merge it once."
            )
        for mine, theirs in zip(self._parts, other._parts, strict=True):
            mine.merge(theirs)
        self._sample.merge(other._sample)
        self._read |= {k: n for k, n in other._read.items() if n}
        self._is_merged = True
        return self

    def _fits(self, other: Self) -> bool:
        mine, theirs = self._parts[0], other._parts[0]
        return (
            self._seed == other._seed
            and self._sample.size == other._sample.size
            and self._rules.columns == other._rules.columns
            and np.array_equal(mine.cells.edges, theirs.cells.edges)
        )

    def table(self) -> PredictionTable:
        """Return the sample as a table for :func:`routing_audit`.

        Returns
        -------
        table : PredictionTable
            Its attribute `stream` holds the figures of all rows, which the audit shows.

        Raises
        ------
        ValueError
            If fewer than two rows take part.
        """
        fit, evaluate = self._parts
        if self.n_rows < 2 or fit.histogram.n_samples + evaluate.histogram.n_samples < 2:
            raise ValueError("Fewer than two rows to audit; add some with `update`.")
        return sampled_table(
            self._rules, fit, evaluate, self._sample.rows(), n_read=self.n_rows, seed=self._seed
        )
