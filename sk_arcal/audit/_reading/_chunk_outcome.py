"""What happened in the rows of a chunk, by the rule that the first rows of the stream set.

A whole table decides from all of its labels what its event is. A chunk must not: it may lack a
class. So the branch taken for the first rows, in :mod:`sk_arcal.audit._reading._outcome`, is
written down and followed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import FloatArray
from sk_arcal.audit._reading._cells import as_events, refuse, unknown_label
from sk_arcal.audit._reading._outcome import BINARY, states_correctness
from sk_arcal.audit._reading._roles import Roles
from sk_arcal.audit._reading._rows import coded_texts
from sk_arcal.audit._reading._source import Source

TOP, FLAG, EQUAL, CLASS = "top", "flag", "equal", "class"


@dataclass(frozen=True, slots=True)
class OutcomeRule:
    """How the event of a row is found.

    Attributes
    ----------
    kind : {"top", "flag", "equal", "class"}
        The largest score is that of the label; the column is 1; two columns are equal; the
        label is one class.
    column : str
        Label or correctness.
    other : str
        Column of predictions for "equal", name of the class for "class".
    classes : tuple of str
        Labels by the column of scores they stand for, for "top".
    named : bool
        Whether these are names from the file; else positions.
    """

    kind: str
    column: str
    other: str = ""
    classes: tuple[str, ...] = ()
    named: bool = False

    @classmethod
    def of(cls, head: Source, roles: Roles, n_classes: int) -> "OutcomeRule":
        """Write down what was decided for the first rows, which were read without an error."""
        label, correct = roles.label, roles.correct
        if label is not None and n_classes > 1:
            return cls._of_top(head, roles, label, n_classes)
        if label is None or (correct is not None and roles.scores.kind == "confidence"):
            return cls(FLAG, correct or "")
        if roles.scores.kind == "confidence":
            said = roles.predicted
            if said is None or states_correctness(head, label, said):
                return cls(FLAG, label)
            return cls(EQUAL, label, said)
        positive = roles.scores.classes[0] if roles.scores.classes else None
        texts = coded_texts(head[label], label, head.where(label)).names.tolist()
        if positive is None or (positive not in texts and set(texts) <= BINARY):
            return cls(FLAG, label)
        return cls(CLASS, label, positive)

    @classmethod
    def _of_top(cls, head: Source, roles: Roles, label: str, n_classes: int) -> "OutcomeRule":
        names = roles.scores.classes
        positions = tuple(str(code) for code in range(n_classes))
        texts = coded_texts(head[label], label, head.where(label)).names
        if names is None or not set(texts.tolist()) & set(names):
            return cls(TOP, label, classes=positions, named=names is not None)
        return cls(TOP, label, classes=names, named=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it reads."""
        return (self.column, self.other) if self.kind == EQUAL else (self.column,)

    def read(
        self, source: Source, top: NDArray[np.intp] | None
    ) -> tuple[FloatArray, NDArray[np.intp] | None]:
        """Return event and, where class scores are known, the position of the true class."""
        values, locate = source[self.column], source.where(self.column)
        if self.kind == FLAG:
            return as_events(values, self.column, locate), None
        own = coded_texts(values, self.column, locate)
        if self.kind == CLASS:
            return (own.names == self.other).astype(np.float64)[own.codes], None
        if self.kind == EQUAL:
            said = coded_texts(source[self.other], self.other, source.where(self.other))
            return (own.names[own.codes] == said.names[said.codes]).astype(np.float64), None
        labels = self._positions(own.names)[own.codes]
        refuse(labels < 0, values, self.column, locate, self._expected())
        return (labels == top).astype(np.float64), labels

    def _positions(self, names: NDArray[np.str_]) -> NDArray[np.intp]:
        place = {name: position for position, name in enumerate(self.classes)}
        return np.array([place.get(name, -1) for name in names.tolist()], dtype=np.intp)

    def _expected(self) -> Any:
        return (
            f"{unknown_label(self.classes, self.named)}. The first rows of a stream decide which "
            "classes there are; if some are missing there, name all score columns with `confidence`"
        )
