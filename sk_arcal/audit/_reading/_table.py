"""The one form in which an audit takes data: outcome, confidence, class scores, routing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_arcal._columns import ROUTING_PREFIX
from sk_arcal._validation import FloatArray, import_optional
from sk_arcal.audit._reading._assemble import assemble, assemble_by_name
from sk_arcal.audit._reading._cells import counted
from sk_arcal.audit._reading._roles import Roles
from sk_arcal.audit._reading._score_columns import Scores
from sk_arcal.audit._reading._source import (
    class_names,
    routing_columns,
    source_from_arrays,
    source_from_frame,
)


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
    mapping : dict of str to str
        What was read from where.
    notes : tuple of str
        Remarks on the data, one sentence each.
    source : str or None
        Name of the file, without its folder.
    digest : str or None
        SHA-256 of the file.

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
    mapping: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: str | None = None
    digest: str | None = None

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
    ) -> "PredictionTable":
        """Build a table from arrays.

        Exactly one of `logits`, `proba` and `confidence` is given. With at least two score
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
        given = {"logits": logits, "proba": proba, "confidence": confidence}
        named = [name for name, values in given.items() if values is not None]
        if len(named) != 1:
            raise ValueError(
                "Exactly one of `logits`, `proba` and `confidence` must be given; "
                f"got {' and '.join(named) or 'none'}."
            )
        features = routing_columns(routing, routing_names)
        rest = {"y_pred": y_pred, "groups": groups, "split": split}
        source = source_from_arrays({"y_true": y_true, **given, **rest, **features})
        if classes is not None:
            source = replace(source, classes=class_names(classes))
        kind = {"logits": "logit", "proba": "probability"}.get(named[0], "confidence")
        roles = Roles(
            Scores(kind, (named[0],)),
            label="y_true",
            predicted=None if y_pred is None else "y_pred",
            routing=tuple(features),
            group=None if groups is None else "groups",
        )
        chosen = None if split is None else "split"
        return cls(**assemble(source, split=chosen, choose=lambda _: roles))

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

        Returns
        -------
        table : PredictionTable
            The checked table.

        Raises
        ------
        ValueError
            If a selector matches nothing, no outcome or scores are found, or a value is missing,
            infinite, out of range or not a known label.
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
        lines += [f"  {role:<{width}}  {words}" for role, words in self.mapping.items()]
        lines += [f"  note: {note}" for note in self.notes if notes]
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """Return the table with the column names that :meth:`from_frame` understands.

        Returns
        -------
        frame : pandas.DataFrame
            `y` and `logit__<class>`, or `correct` and `confidence`; `routing__<name>`; `group`
            and `split` where they are known.

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
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        kind = "" if self.logits is None else f", n_classes={self.n_classes}"
        return f"PredictionTable(n_samples={self.n_samples}{kind}, routing={list(self.routing)})"
