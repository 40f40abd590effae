"""The one form in which an audit takes data: outcome, confidence, class scores, routing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._columns import ROUTING_PREFIX
from sk_arcal._validation import FloatArray, import_optional
from sk_arcal.audit._reading._arrays import assemble_arrays
from sk_arcal.audit._reading._assemble import assemble_by_name
from sk_arcal.audit._reading._cells import counted
from sk_arcal.audit._reading._part_columns import columns_of_experts, columns_of_layers
from sk_arcal.audit._reading._source import class_names, routing_columns, source_from_frame
from sk_arcal.audit._stream_records import StreamedRows


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predictions, outcomes and routing features, checked and ready to audit.

    Build it with :meth:`from_arrays`, :meth:`from_frame` or :func:`read_predictions`, which check
    every value and say in `mapping` what they read from where.

    Attributes
    ----------
    event : ndarray of shape (n_samples,)
        1.0 where the prediction was right, or the binary event happened; else 0.0.
    confidence : ndarray of shape (n_samples,)
        The model's probability of that event, in [0, 1].
    logits : ndarray of shape (n_samples, n_classes) or None
        Class scores, defined up to a constant per row; log-probabilities where probabilities
        were given. Only with `labels`.
    labels : ndarray of int of shape (n_samples,) or None
        Position of the true class among `classes`.
    classes : tuple of str or None
        Names of the classes, one per column of `logits`.
    routing : dict of str to ndarray of shape (n_samples,)
        Routing features: float64 for numbers, text for categories.
    groups : ndarray of shape (n_samples,) or None
        Rows that share a value depend on each other.
    evaluate : ndarray of bool of shape (n_samples,) or None
        True: evaluate here. False: fit the calibrator here. None: no split was given.
    gates : ndarray of shape (n_samples, n_experts) or None
        Weights of the experts of a mixture; rows sum to one.
    experts : ndarray of shape (n_samples, n_experts, n_classes) or None
        Class log-probabilities of every expert, in the order of `classes`; where those are not
        known, of "not the event" and "the event".
    expert_names : tuple of str
        Names of the experts.
    layer_scores : ndarray of shape (n_samples, n_layers, n_classes) or None
        Class log-probabilities of every layer of a network; of an event, "not the event" first.
    layer_names : tuple of str
        Names of the layers, the network's own output last.
    layer_classes : tuple of str
        Classes of the layers; of an event the class that it is, or none.
    layer_labels : ndarray of int of shape (n_samples,) or None
        Position of the true class in `layer_scores`.
    mapping : dict of str to str
        What was read from where.
    notes : tuple of str
        Remarks on the data, one sentence each.
    source : str or None
        Name of the file, without its folder.
    digest : str or None
        SHA-256 of the file.
    stream : StreamedRows or None
        Figures of all rows where these are a sample of them; see :class:`StreamedTables`.

    See Also
    --------
    read_predictions : Build it from a file.
    routing_audit : What to do with it.

    Examples
    --------
    >>> from sk_arcal.audit import PredictionTable
    >>> table = PredictionTable.from_arrays(
    ...     [0, 1, 1], logits=[[2.0, 0.0], [0.5, 1.0], [3.0, 1.0]], routing={"load": [3, 1, 2]}
    ... )
    >>> table
    PredictionTable(n_samples=3, n_classes=2, routing=['load'])
    >>> table.event
    array([1., 1., 0.])
    >>> table.confidence.round(2)
    array([0.88, 0.62, 0.88])
    """

    event: FloatArray
    confidence: FloatArray
    logits: NDArray[Any] | None = None
    labels: NDArray[np.intp] | None = None
    classes: tuple[str, ...] | None = None
    routing: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    groups: NDArray[Any] | None = None
    evaluate: NDArray[np.bool_] | None = None
    gates: FloatArray | None = None
    experts: FloatArray | None = None
    expert_names: tuple[str, ...] = ()
    layer_scores: FloatArray | None = None
    layer_names: tuple[str, ...] = ()
    layer_classes: tuple[str, ...] = ()
    layer_labels: NDArray[np.intp] | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: str | None = None
    digest: str | None = None
    stream: StreamedRows | None = None

    @classmethod
    def from_arrays(
        cls,
        y_true: ArrayLike,
        *,
        logits: ArrayLike | None = None,
        proba: ArrayLike | None = None,
        confidence: ArrayLike | None = None,
        y_pred: ArrayLike | None = None,
        routing: Any = None,
        routing_names: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
        split: ArrayLike | None = None,
        classes: Sequence[Any] | None = None,
        experts: ArrayLike | None = None,
        gates: ArrayLike | None = None,
        layer_scores: Any = None,
        layer_names: Sequence[Any] | None = None,
    ) -> "PredictionTable":
        """Build a table from arrays.

        Exactly one of `logits`, `proba` and `confidence` is given, or none of them beside `experts`
        and `gates`, whose mixture, or beside `layer_scores`, whose last layer then gives the
        scores. With at least two score
        columns the event is that the class with the largest score is the true one, and the
        confidence is its probability. With one, `logits` and `proba` speak about the second of
        two classes, and `confidence` about the prediction being right.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels: names in `classes`, or integers that count the score columns from 0.
            With `confidence` alone: 1 where the prediction was right, else 0.
        logits : array-like of shape (n_samples, n_classes) or (n_samples,), default=None
            Class scores, or the log-odds of the second class.
        proba : array-like of shape (n_samples, n_classes) or (n_samples,), default=None
            Class probabilities that sum to one, or the probability of the second class.
        confidence : array-like of shape (n_samples,), default=None
            Probability that the prediction is right, in [0, 1].
        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels. With `confidence`, the event is then `y_pred == y_true`.
        routing : array-like of shape (n_samples, n_routing), dict or DataFrame, default=None
            Routing features; numbers, or texts for categories.
        routing_names : sequence of str, default=None
            Names of the columns of a `routing` array; "routing_0" and so on if None.
        groups : array-like of shape (n_samples,), default=None
            Rows that share a value depend on each other.
        split : array-like of shape (n_samples,), default=None
            0: fit the calibrator here; 1: evaluate here; rows with other values are left out.
        classes : sequence, default=None
            Class of every score column.
        experts : array-like of shape (n_samples, n_experts, n_classes) or (n_samples, n_experts), \
                default=None
            Class scores of every expert of a mixture, or its score of the event: probabilities,
            or logits.
        gates : array-like of shape (n_samples, n_experts), default=None
            Weights of the experts, or their logits; needed with `experts`.
        layer_scores : array-like of shape (n_samples, n_layers, n_classes) or (n_samples, \
                n_layers), mapping, sequence or LayerReadout, default=None
            Class scores of every layer of a network, or its score of the event: logits, or
            probabilities. As :func:`~sk_arcal.diagnostics.layerwise_calibration` takes them.
        layer_names : sequence, default=None
            Names of the layers.

        Returns
        -------
        table : PredictionTable
            The checked table.

        Raises
        ------
        ValueError
            If not exactly one kind of score is given, lengths differ, a value is missing,
            infinite, out of range or not a known label, or fewer than two rows are left.
        TypeError
            If scores are not numbers.
        """
        fields = assemble_arrays(
            {"logits": logits, "proba": proba, "confidence": confidence},
            {"y_true": y_true, "y_pred": y_pred, "groups": groups, "split": split},
            features=routing_columns(routing, routing_names),
            classes=None if classes is None else class_names(classes),
            mixture={"experts": experts, "gates": gates},
            depth={"scores": layer_scores, "names": layer_names},
        )
        return cls(**fields)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        target: str | None = None,
        confidence: str | Sequence[str] | None = None,
        routing: str | Sequence[str] | None = None,
        group: str | None = None,
        split: str | None = None,
        experts: bool = False,
        layers: bool = False,
    ) -> "PredictionTable":
        """Build a table from a DataFrame, by selectors or by the usual names.

        Parameters
        ----------
        frame : DataFrame or dict of arrays
            A pandas or polars table, or named arrays.
        target : str, default=None
            Column of true labels or of 0/1 correctness; `y`, `label`, `target`, `correct` and
            the like are found without it.
        confidence : str or sequence of str, default=None
            Columns, by name or glob, of the confidence or of one score per class;
            `logit__<class>`, `proba__<class>`, `confidence` and the like are found without it.
        routing : str or sequence of str, default=None
            Routing features, by name or glob; `routing__<name>` are found without it.
        group : str, default=None
            Column of rows that belong together; `group` is found without it.
        split : str, default=None
            Column with 0 (fit the calibrator) and 1 (evaluate); `split` is found without it.
        experts : bool, default=False
            Whether the columns `expert__<m>__<class>` (`expert__<m>` for an event) and `gate__<m>`
            are read. Without columns of a confidence the mixture is the confidence.
        layers : bool, default=False
            Whether the columns `layer__<l>__logit__<class>` are read. Without columns of a
            confidence the last layer is the confidence.

        Returns
        -------
        table : PredictionTable
            The checked table.

        Raises
        ------
        ValueError
            If a selector matches nothing, no outcome or scores are found, or a value is missing,
            infinite, out of range or not a known label, or `experts` or `layers` find none.
        TypeError
            If `frame` is not a table.

        Examples
        --------
        >>> import pandas as pd
        >>> from sk_arcal.audit import PredictionTable
        >>> frame = pd.DataFrame(
        ...     {"label": ["cat", "dog"], "proba__cat": [0.9, 0.3], "proba__dog": [0.1, 0.7],
        ...      "routing__entropy": [0.2, 1.1]}
        ... )
        >>> PredictionTable.from_frame(frame).mapping["routing"]
        'entropy'
        """
        fields = assemble_by_name(
            source_from_frame(frame),
            target=target,
            confidence=confidence,
            routing=routing,
            group=group,
            split=split,
            experts=experts,
            layers=layers,
        )
        return cls(**fields)

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.event)

    @property
    def n_classes(self) -> int:
        """Number of classes; 2 where only one confidence is known."""
        return 2 if self.logits is None else self.logits.shape[1]

    def describe(self, *, notes: bool = True) -> str:
        """Say what was read from where and what is peculiar about it.

        Parameters
        ----------
        notes : bool, default=True
            Whether to add the remarks on the data.

        Returns
        -------
        text : str
            One line per role, one per remark.
        """
        width = max((len(role) for role in self.mapping), default=0)
        lines = [f"{self.source or 'table'}: {counted(self.n_samples, 'row')}"]
        if self.stream is not None:
            lines[0] += f", a uniform sample of {self.stream.n_used}"
        lines += [f"  {role:<{width}}  {words}" for role, words in self.mapping.items()]
        lines += [f"  note: {note}" for note in self.notes if notes]
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return the table with the column names that :meth:`from_frame` understands.

        Returns
        -------
        frame : pandas.DataFrame
            `y` and `logit__<class>`, or `correct` and `confidence`; `routing__<name>`; `group`,
            `split`, `expert__<m>__<class>` (`expert__<m>`), `gate__<m>` and
            `layer__<l>__logit__<class>` where they are known.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        pandas = import_optional("pandas", extra="report", caller="PredictionTable.to_frame")
        columns: dict[str, Any] = {}
        if self.logits is None or self.labels is None or self.classes is None:
            columns |= {"correct": self.event.astype(np.int64), "confidence": self.confidence}
        else:
            columns["y"] = np.array(self.classes)[self.labels]
            scores = zip(self.classes, self.logits.T, strict=True)
            columns |= {f"logit__{name}": score for name, score in scores}
        columns |= {f"{ROUTING_PREFIX}{name}": values for name, values in self.routing.items()}
        columns |= {} if self.groups is None else {"group": self.groups}
        columns |= {} if self.evaluate is None else {"split": self.evaluate.astype(np.int64)}
        if self.experts is not None and self.gates is not None:
            columns |= columns_of_experts(self.experts, self.gates, self.expert_names, self.classes)
        if self.layer_scores is not None:
            columns |= columns_of_layers(self.layer_scores, self.layer_names, self.layer_classes)
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        kind = "" if self.logits is None else f", n_classes={self.n_classes}"
        kind += f", n_experts={len(self.expert_names)}" if self.expert_names else ""
        kind += f", n_layers={len(self.layer_names)}" if self.layer_names else ""
        return f"PredictionTable(n_samples={self.n_samples}{kind}, routing={list(self.routing)})"
