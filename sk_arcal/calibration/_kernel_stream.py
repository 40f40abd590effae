"""Kernel regression of rows that come block by block, and of shards on several machines."""

import copy
import warnings
from abc import abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal._validation import FloatArray
from sk_arcal.calibration._kernel._anchor import event, top_confidence
from sk_arcal.calibration._kernel._fitted_kernel import FittedKernel, count_on_fit
from sk_arcal.calibration._kernel._kernel_axes import KernelAxes
from sk_arcal.calibration._kernel._kernel_sums import KernelSums
from sk_arcal.calibration._kernel._leave_one_out import LeaveOneOut
from sk_arcal.calibration._streamed import StreamedCalibrator
from sk_arcal.calibration._warning import CalibrationWarning

# From this share on, rows without weight are worth a warning.
_LARGEST_SHARE_OUTSIDE = 0.01
# Rows that are worked on together, unless the grid has more nodes: small arrays stay in the cache.
_BLOCK_ROWS = 1 << 15


class StreamedKernel(StreamedCalibrator):
    """What makes the kernel learn from a stream; the subclass finds axes and bandwidths."""

    algorithm: Any
    _stream: KernelSums
    _kernel: FittedKernel
    temperature_: float
    bandwidth_: FloatArray
    shrinkage_: float

    @abstractmethod
    def _learn_setting(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> tuple[KernelAxes, LeaveOneOut]:
        """Set temperature, bandwidths and shrinkage; return the axes and the rows on them."""

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Learn from one more block of rows, without those before.

        The first block is treated as by `fit`. It decides the columns, the scale of the
        confidences, the temperature of the anchor, the axes (ranks or deviations), bandwidths and
        shrinkage, and the grid on which rows are summed up; `selected_`, `search_`, `n_fallback_`
        and `n_clipped_` speak of it. Later blocks add to the sums and change nothing else. Where
        the first block finds no use for a kernel (`selected_` is "identity", "temperature" or
        "mean"), that stays: later blocks are counted, and no prediction changes. The first block
        should thus be a random sample of all rows, and as large as can be held. `fit` ends a
        stream; the next call begins another, without the rows of `fit`.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Confidence columns and routing columns.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Numbers of repetitions.
        classes : array-like of shape (n_classes,), default=None
            All labels that y may hold in any block. Needed in the first call, unless the
            parameter `classes` names them or `fit` has seen them.

        Returns
        -------
        self : object
            Calibrated on all rows so far.

        Raises
        ------
        ValueError
            If the first call does not know the classes, columns differ from those of the first
            call, a value cannot be used as in `fit`, ``algorithm="exact"``, or the kernel of the
            first block has too many axes or too fine a bandwidth for a grid.
        TypeError
            If a parameter or X has the wrong kind.

        See Also
        --------
        new_shard : Start a stream elsewhere, to be merged.

        Notes
        -----
        The result is the kernel of all rows with the settings of the first block, however later
        rows are cut into blocks. Rows beyond the grid, which reaches 8 bandwidths beyond the
        first block, carry no weight and are counted in `n_outside_`; from one in a hundred on, a
        warning says so. Ranks end at 0 and 1, so that on rank axes no row lies beyond.

        Every call goes through the whole grid: make blocks of some ten thousand rows or more.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_arcal import NWConditionalCalibrator
        >>> rng = np.random.default_rng(0)
        >>> calibrator = NWConditionalCalibrator()
        >>> for _ in range(5):
        ...     confidence, routing = rng.beta(6, 2, size=2000), rng.random(2000)
        ...     truth = np.clip(confidence + np.where(routing < 0.5, -0.1, 0.1), 0, 1)
        ...     X, y = np.column_stack([confidence, routing]), rng.random(2000) < truth
        ...     calibrator = calibrator.partial_fit(X, y, classes=[False, True])
        >>> calibrator.selected_, calibrator.n_samples_seen_
        ('routing', 10000)
        """
        is_first = not hasattr(self, "_stream")
        block = self._read_block(X, y, sample_weight, classes, is_first=is_first)
        if is_first:
            self._start_stream(*block)
        size = max(_BLOCK_ROWS, self._stream.sums.grid.size)
        for start in range(0, len(block[0]), size):
            self._add_rows(*(array[start : start + size] for array in block))
        self._read_stream()
        return self

    def new_shard(self) -> Self:
        """Return a calibrator for other rows of the same stream, to be merged into this one.

        Returns
        -------
        shard : object
            Has all that the first block decided, and no rows. Until it sees some it predicts as
            this one does.

        Raises
        ------
        ValueError
            If `partial_fit` has not been called.

        See Also
        --------
        merge : Add up what shards have seen.
        """
        shard = copy.deepcopy(self)
        shard._stream = self._checked_stream().empty()
        shard._read_stream()
        return shard

    def merge(self, other: Self) -> Self:
        """Add what another calibrator of the same stream has seen.

        Parameters
        ----------
        other : NWConditionalCalibrator
            From `new_shard`, with rows of its own. It stays as it is.

        Returns
        -------
        self : object
            Calibrated on the rows of both.

        Raises
        ------
        ValueError
            If one of the two is no stream, or they do not belong to the same.
        TypeError
            If `other` is no kernel calibrator.

        See Also
        --------
        new_shard : Start such a calibrator.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_arcal import NWConditionalCalibrator
        >>> rng = np.random.default_rng(0)
        >>> X = np.column_stack([rng.normal(size=4000), rng.random(4000)])
        >>> y = rng.random(4000) < 1 / (1 + np.exp(-X.sum(axis=1)))
        >>> calibrator = NWConditionalCalibrator(confidence_kind="logit")
        >>> calibrator = calibrator.partial_fit(X[:2000], y[:2000], classes=[False, True])
        >>> shard = calibrator.new_shard().partial_fit(X[2000:], y[2000:])
        >>> calibrator.merge(shard).n_samples_seen_
        4000
        """
        if not isinstance(other, StreamedKernel):
            raise TypeError(
                f"`other` must be an NWConditionalCalibrator; got {type(other).__name__}."
            )
        mine, theirs = self._checked_stream(), other._checked_stream()
        if not (self._reads_like(other) and mine.is_like(theirs)):
            raise ValueError(
                "The two calibrators differ in what their first blocks decided (classes, scale, "
                "temperature, axes, bandwidths or grid), so their sums do not add up. Start every "
                "shard with new_shard() of the same calibrator."
            )
        self._stream = mine.plus(theirs)
        self._read_stream()
        return self

    def _start_stream(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        """Learn from the first block all that the sums depend on."""
        if self.algorithm == "exact":
            raise ValueError(
                "`partial_fit` sums rows up on a grid, which algorithm='exact' rules out. Set "
                "algorithm='auto', or pass all rows to `fit`."
            )
        axes, rows = self._learn_setting(logits, routing, y, sample_weight)
        setting = self.bandwidth_, self.shrinkage_
        kernel = FittedKernel.without_rows(axes, rows, *setting)
        self._stream, self._kernel = KernelSums.around(kernel, rows.axes), kernel
        self.n_fallback_, self.n_clipped_ = count_on_fit(rows, *setting, logits[0].size)

    def _add_rows(
        self, logits: FloatArray, routing: FloatArray, y: FloatArray, sample_weight: FloatArray
    ) -> None:
        kernel, confidence = self._kernel, top_confidence(logits / self.temperature_)
        anchor = confidence if kernel.rows.anchored else kernel.rows.anchor[0]
        positions = kernel.axes.positions(confidence, routing)
        self._stream = self._stream.plus_rows(positions, event(logits, y) - anchor, sample_weight)

    def _reads_like(self, other: "StreamedKernel") -> bool:
        return (
            np.array_equal(self.classes_, other.classes_)
            and self._scale == other._scale
            and self.temperature_ == other.temperature_
            and self._kernel.is_like(other._kernel)
        )

    def _forget_stream(self) -> None:
        for name in ("_stream", "n_samples_seen_", "n_outside_"):
            if hasattr(self, name):
                delattr(self, name)

    def _read_stream(self) -> None:
        """Set what is learned from the sums; warnings blame the caller of the caller."""
        n_seen, n_outside = self._stream.n_samples, self._stream.n_outside
        self.n_samples_seen_, self.n_outside_ = n_seen, n_outside
        if not n_seen:
            return
        self._kernel = self._stream.kernel(self._kernel)
        if n_outside > _LARGEST_SHARE_OUTSIDE * n_seen:
            warnings.warn(
                f"{n_outside} of the {n_seen} rows so far lie beyond the grid of the first block "
                "and carry no weight. Start the stream with a larger block of mixed rows, or "
                "compare by rank: confidence_axis='rank', routing_axis='rank'.",
                CalibrationWarning,
                stacklevel=3,
            )
