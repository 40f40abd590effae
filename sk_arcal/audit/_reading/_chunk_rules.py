"""How every chunk of a stream is read: as the first rows were."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._columns import ROUTING_PREFIX
from sk_arcal.audit._reading._assemble import assemble, roles_by_name
from sk_arcal.audit._reading._cells import as_numbers, is_number_column
from sk_arcal.audit._reading._chunk_outcome import OutcomeRule
from sk_arcal.audit._reading._model_scores import ModelScores, read_scores
from sk_arcal.audit._reading._roles import Parts, Roles
from sk_arcal.audit._reading._rows import Coded, UnderstoodRows, coded_texts
from sk_arcal.audit._reading._selectors import quoted
from sk_arcal.audit._reading._source import Source
from sk_arcal.audit._reading._split import parts_of


@dataclass(frozen=True, eq=False)
class ChunkRules:
    """Roles, classes and kinds of columns that hold for a whole stream.

    Attributes
    ----------
    roles : Roles
        Which column plays which role.
    split : str or None
        The column that splits the rows.
    outcome : OutcomeRule
        How the event is found.
    n_classes : int
        Columns of scores; 1 for a single confidence.
    classes : tuple of str or None
        Names of the classes.
    texts : tuple of str
        Routing columns, and others, whose cells are texts.
    zero : float or None
        What a class probability of 0 is read as.
    mapping : dict of str to str
        What is read from where.
    """

    roles: Roles
    split: str | None
    outcome: OutcomeRule
    n_classes: int
    classes: tuple[str, ...] | None
    texts: tuple[str, ...]
    zero: float | None
    mapping: dict[str, str]

    @classmethod
    def of(cls, head: Source, **selectors: Any) -> "ChunkRules":
        """Decide from the first rows, which have to pass every check of a table.

        Parameters
        ----------
        head : Source
            The first rows.
        **selectors : str or sequence of str or None
            As in :func:`read_predictions`.
        """
        split, choose = roles_by_name(list(head.columns), **selectors)
        seen: list[tuple[Source, Roles]] = []

        def remember(rows: Source, parts: Parts) -> Roles:
            seen.append((rows, choose(rows, parts)))
            return seen[0][1]

        fields = assemble(head, split=split, choose=remember, checks=False)
        rows, roles = seen[0]
        model = read_scores(rows, roles.scores)
        read = {split, *roles.routing, roles.label, roles.predicted, roles.correct, roles.group}
        kinds = {name for name in read if name and not is_number_column(rows[name])}
        kinds |= {n for n in roles.routing if fields["routing"][_short(n)].dtype.kind == "U"}
        numbers = {n for n in roles.routing if fields["routing"][_short(n)].dtype.kind == "f"}
        return cls(
            roles=roles,
            split=split,
            outcome=OutcomeRule.of(rows, roles, model.n_classes),
            n_classes=model.n_classes,
            classes=fields["classes"],
            texts=tuple(sorted(kinds - numbers)),
            zero=_zero(model) if roles.scores.kind == "probability" else None,
            mapping=dict(fields["mapping"]),
        )

    @property
    def columns(self) -> list[str]:
        """Columns that have to be read."""
        roles = self.roles
        used = [*self.outcome.columns, *roles.scores.names, *roles.routing, roles.group, self.split]
        return list(dict.fromkeys(name for name in used if name))

    def read(self, source: Source, first: int = 0) -> UnderstoodRows:
        """Return the rows of a chunk that take part; raise at the first that cannot be used.

        Parameters
        ----------
        source : Source
            The chunk.
        first : int, default=0
            How many rows were read before it.
        """
        missing = [name for name in self.columns if name not in source.columns]
        if missing:
            raise ValueError(
                f"{quoted(missing)} not among the columns of {source.where('')(0)} and those after "
                "it; all parts of a stream need the columns of the first."
            )
        place = first + np.arange(source.n_rows)
        evaluate = None
        if self.split is not None:
            kept, evaluate = self._part(source)
            source, place, evaluate = source.take(kept), place[kept], evaluate[kept]
        if not source.n_rows:
            return self._nothing()
        model = self._scores(source)
        event, labels = self.outcome.read(source, model.top)
        return UnderstoodRows(
            event,
            model.confidence,
            place,
            None if labels is None else model.logits,
            labels,
            {_short(name): self._routing(source, name) for name in self.roles.routing},
            self._groups(source),
            evaluate,
        )

    def _nothing(self) -> UnderstoodRows:
        nothing = np.empty(0)
        return UnderstoodRows(nothing, nothing, np.empty(0, dtype=np.intp))

    def _part(self, source: Source) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        name = self.split or ""
        coded = coded_texts(source[name], name, source.where(name))
        fits, evaluated = (part[coded.codes] for part in parts_of(coded.names.tolist()))
        return np.flatnonzero(fits | evaluated), evaluated

    def _scores(self, source: Source) -> ModelScores:
        model = read_scores(source, self.roles.scores, zero=self.zero)
        if model.n_classes != self.n_classes:
            name = self.roles.scores.names[0]
            raise ValueError(
                f"`{name}` holds {model.n_classes} scores from {source.where(name)(0)} on and "
                f"{self.n_classes} before."
            )
        return model

    def _routing(self, source: Source, name: str) -> NDArray[Any] | Coded:
        if name in self.texts:
            return coded_texts(source[name], name, source.where(name))
        return as_numbers(source[name], name, source.where(name))

    def _groups(self, source: Source) -> NDArray[Any] | None:
        name = self.roles.group
        if name is None:
            return None
        if name in self.texts:
            coded = coded_texts(source[name], name, source.where(name))
            return coded.names[coded.codes]
        as_numbers(source[name], name, source.where(name))
        return source[name]


def _short(name: str) -> str:
    return name.removeprefix(ROUTING_PREFIX)


def _zero(model: ModelScores) -> float | None:
    """Return what the first rows read a class probability of 0 as, or would have."""
    if model.logits is None:
        return None
    smallest = float(np.exp(model.logits.min()))
    # The one remark there is says that zeros were found and replaced.
    return smallest if model.notes else smallest / 2
