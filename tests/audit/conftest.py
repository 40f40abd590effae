"""Strong effects for few rows, and a parser of pages."""

from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and complains about tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = Counter(), [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [value for _, key, value in self.attributes if key == name]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="session")
def parse_page():
    """Turn HTML into a `Page`."""
    return Page


@pytest.fixture(scope="session")
def strong_effect():
    """Draw (event, confidence, features): the first `n_planted` of them move the event rate."""

    def draw(n, seed, *, n_features=2, n_planted=1, slope=0.9):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.15, 0.85, n)
        features = rng.uniform(size=(n, n_features))
        shift = slope * (features[:, :n_planted] - 0.5).sum(axis=1)
        event = (rng.random(n) < np.clip(confidence + shift, 0, 1)).astype(int)
        return event, confidence, features

    return draw
