"""Temperature scaling of rows that come block by block, and of shards on several machines."""

import copy
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sk_arcal.calibration._streamed import StreamedCalibrator
from sk_arcal.calibration._temper_passes import Rows
from sk_arcal.calibration._temperature_sums import TemperatureSums
from sk_arcal.calibration._tempering import check_temperature_bounds, warn_at_bound
from sk_arcal.calibration._warning import CalibrationWarning


class StreamedTemperature(StreamedCalibrator):
    """What makes one temperature learn from a stream; the subclass has `bounds`."""

    bounds: Any
    _stream: TemperatureSums

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Learn from one more block of rows, without those before.

        The first block decides the columns, the scale of the confidences and the range of
        temperatures that is watched, about a factor of 1.8 to each side of its own temperature.
        The temperature is that of all rows so far. If it leaves the range, a warning says so.
        `fit` ends a stream; the next call begins another, without the rows of `fit`.

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
            call, or a value cannot be used as in `fit`.
        TypeError
            If a parameter or X has the wrong kind.

        See Also
        --------
        new_shard : Start a stream elsewhere, to be merged.

        Notes
        -----
        Loss and derivatives are kept at five temperatures, a constant amount of memory, and the
        gradient between two of them is interpolated.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_arcal import TemperatureScaler
        >>> rng = np.random.default_rng(0)
        >>> scaler = TemperatureScaler(confidence_kind="logit")
        >>> for _ in range(20):
        ...     log_odds = rng.normal(size=1000)
        ...     y = rng.random(1000) < 1 / (1 + np.exp(-log_odds))
        ...     scaler = scaler.partial_fit(3 * log_odds[:, None], y, classes=[False, True])
        >>> round(scaler.temperature_), scaler.n_samples_seen_
        (3, 20000)
        """
        is_first = not hasattr(self, "_stream")
        bounds = check_temperature_bounds(self.bounds)
        logits, _, codes, weight = self._read_block(X, y, sample_weight, classes, is_first=is_first)
        # In doubles, whatever the size of a block: blocks cut differently give the same sums.
        rows = Rows.of(logits, codes, weight, may_be_single=False)
        empty = TemperatureSums.around(rows, bounds) if is_first else self._stream
        self._stream = empty.plus_rows(rows)
        self._read_stream(bounds)
        return self

    def new_shard(self) -> Self:
        """Return a scaler for other rows of the same stream, to be merged into this one.

        Returns
        -------
        shard : object
            Has the parameters, columns, scale and range of temperatures of this one, and no
            rows. Until it sees some it predicts as this one does.

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
        shard.n_samples_seen_ = 0
        return shard

    def merge(self, other: Self) -> Self:
        """Add what another scaler of the same stream has seen.

        Parameters
        ----------
        other : TemperatureScaler
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
            If `other` is no scaler.

        See Also
        --------
        new_shard : Start such a scaler.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_arcal import TemperatureScaler
        >>> rng = np.random.default_rng(0)
        >>> log_odds = rng.normal(size=(4000, 1))
        >>> y = rng.random(4000) < 1 / (1 + np.exp(-log_odds[:, 0]))
        >>> scaler = TemperatureScaler(confidence_kind="logit")
        >>> scaler = scaler.partial_fit(log_odds[:2000], y[:2000], classes=[False, True])
        >>> shard = scaler.new_shard().partial_fit(log_odds[2000:], y[2000:])
        >>> scaler.merge(shard).n_samples_seen_
        4000
        """
        if not isinstance(other, StreamedTemperature):
            raise TypeError(f"`other` must be a TemperatureScaler; got {type(other).__name__}.")
        mine, theirs = self._checked_stream(), other._checked_stream()
        if not np.array_equal(self.classes_, other.classes_) or self._scale != other._scale:
            raise ValueError(
                "The two scalers read their columns differently (classes or scale). Start every "
                "shard with new_shard() of the same scaler."
            )
        self._stream = mine.plus(theirs)
        self._read_stream(check_temperature_bounds(self.bounds))
        return self

    def _forget_stream(self) -> None:
        for name in ("_stream", "n_samples_seen_"):
            if hasattr(self, name):
                delattr(self, name)

    def _read_stream(self, bounds: tuple[float, float]) -> None:
        """Set what is learned from the sums; warnings blame the caller of the caller."""
        self.n_samples_seen_ = self._stream.n_samples
        if not self._stream.weight:
            return
        fit = self._stream.minimum(bounds)
        warn_at_bound(fit)
        if not fit.converged:
            high, low = 1 / self._stream.nodes[[0, -1]]
            warnings.warn(
                f"The temperature of the {self.n_samples_seen_} rows so far lies beyond "
                f"{fit.temperature:.3g}, the end of the range {low:.3g} to {high:.3g} that the "
                "first block set, so it is not known. Pass all rows to `fit`, or start the "
                "stream with a larger block of mixed rows.",
                CalibrationWarning,
                stacklevel=3,
            )
        self.temperature_, self.loss_, self.n_iter_ = fit.temperature, fit.loss, fit.n_iter
