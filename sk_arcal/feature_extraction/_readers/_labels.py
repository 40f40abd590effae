"""Short names for sites, unique within a network and the same in every process."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, takewhile


@dataclass(frozen=True)
class _Place:
    """A path, cut at its first number: `before` the blocks, number of the block, `within` it."""

    before: tuple[str, ...]
    layer: int | None
    within: tuple[str, ...]

    @classmethod
    def of(cls, path: str) -> "_Place":
        words = tuple(path.split("."))
        at = next((i for i, word in enumerate(words) if word.isdecimal()), None)
        if at is None:
            return cls((), None, words)
        return cls(words[:at], int(words[at]), words[at + 1 :])


def label_sites(kinds: Sequence[str], paths: Sequence[str]) -> list[tuple[str, int | None]]:
    """Name sites by their kind, the number of their block, and what else tells them apart.

    Parameters
    ----------
    kinds, paths : sequence of str
        Kind of each site, and where it lies. Paths are different.

    Returns
    -------
    named : list of (str, int or None)
        Label, and number of the block: "router_l03" if that is enough for all sites of the kind,
        else with what differs before the blocks ("router_l03_decoder"), within them
        ("depth_l03_mlp_input"), or both. Outside the blocks the last word ("depth_final_input").
    """
    places = [_Place.of(path) for path in paths]
    labels = [""] * len(places)
    for kind in dict.fromkeys(kinds):
        mine = [i for i, own in enumerate(kinds) if own == kind]
        in_blocks = [i for i in mine if places[i].layer is not None]
        outside = [i for i in mine if places[i].layer is None]
        for i, words in zip(in_blocks, _in_blocks([places[i] for i in in_blocks]), strict=True):
            labels[i] = _joined(kind, f"l{places[i].layer:02d}", *words)
        for i, words in zip(outside, _outside([places[i] for i in outside]), strict=True):
            labels[i] = kind if words == (kind,) else _joined(kind, *words)
    return [(label, place.layer) for label, place in zip(_made_unique(labels), places, strict=True)]


def _in_blocks(places: list[_Place]) -> list[tuple[str, ...]]:
    """Return the fewest words that tell the sites of equal layers apart."""
    within = _what_differs([place.within for place in places])
    before = _what_differs([place.before for place in places])
    nothing: list[tuple[str, ...]] = [()] * len(places)
    both = [(*b, *w) for b, w in zip(before, within, strict=True)]
    for words in (nothing, before, within):
        if len({(place.layer, *own) for place, own in zip(places, words, strict=True)}) == len(
            places
        ):
            return words
    return both


def _outside(places: list[_Place]) -> list[tuple[str, ...]]:
    last = [place.within[-1:] for place in places]
    return last if len(set(last)) == len(last) else [place.within for place in places]


def _what_differs(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Drop the words that all paths begin or end with."""
    if len(set(paths)) < 2:
        return [()] * len(paths)
    start = _n_common(paths)
    paths = [path[start:] for path in paths]
    end = _n_common([path[::-1] for path in paths])
    return [path[: len(path) - end] for path in paths]


def _n_common(paths: list[tuple[str, ...]]) -> int:
    """Return how many words all paths begin with."""
    steps = zip(*paths, strict=False)
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, steps))


def _joined(*words: str) -> str:
    return "_".join(word for word in words if word)


def _made_unique(labels: list[str]) -> list[str]:
    """Add a number to labels that still repeat; "a.b" and "a_b" make the same one."""
    unique: list[str] = []
    for label in labels:
        names = (label if n == 1 else f"{label}_{n}" for n in count(1))
        unique.append(next(name for name in names if name not in unique))
    return unique
