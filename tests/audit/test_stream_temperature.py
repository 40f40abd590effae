"""The temperature of a stream against the scaler on all rows."""

import numpy as np
import pytest

from sk_arcal import TemperatureScaler
from sk_arcal.audit._reading._rows import UnderstoodRows
from sk_arcal.audit._streaming._temperature import StreamedHeat


def events(n, seed=0, *, digits=None, heat=1.6):
    """Rows with one confidence, rounded if asked for."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(1, 2, n)
    confidence = 1 / (1 + np.exp(-odds))
    confidence = confidence if digits is None else confidence.round(digits)
    event = (rng.random(n) < 1 / (1 + np.exp(-odds / heat))).astype(float)
    return UnderstoodRows(event, confidence, np.arange(n))


def classes(n, k, seed=0):
    """Rows with scores of several classes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, k))
    labels = (logits / 2 + rng.gumbel(size=(n, k))).argmax(axis=1)
    return UnderstoodRows(labels * 1.0, np.full(n, 0.5), np.arange(n), logits, labels)


def streamed(rows, n_chunks=5):
    heat = StreamedHeat(rows.take(np.arange(len(rows) // 4)))
    for part in np.array_split(np.arange(len(rows)), n_chunks):
        heat.add(rows.take(part))
    return heat


# Rounded confidences reach 0 and 1, and the scaler that is compared with says so.
@pytest.mark.filterwarnings("ignore:.*exactly 0 or 1")
@pytest.mark.parametrize("digits", [None, 3, 2])
def test_event_has_the_temperature_of_all_rows(digits):
    rows = events(4000, digits=digits)
    scaler = TemperatureScaler(confidence_kind="probability")
    scaler.fit(rows.confidence[:, None], rows.event)
    found = streamed(rows).temperature()
    assert np.log(found) == pytest.approx(np.log(scaler.temperature_), abs=1e-6)


def test_classes_have_the_temperature_of_all_rows():
    rows = classes(2000, 4)
    scaler = TemperatureScaler(confidence_kind="logit").fit(rows.logits, rows.labels)
    found = streamed(rows).temperature()
    assert np.log(found) == pytest.approx(np.log(scaler.temperature_), abs=1e-6)


def test_two_classes_are_one_event():
    rows = classes(2000, 2)
    top = rows.logits.argmax(axis=1)
    confidence = 1 / (1 + np.exp(-np.abs(rows.logits[:, 1] - rows.logits[:, 0])))
    rows = UnderstoodRows(
        (top == rows.labels) * 1.0, confidence, rows.place, rows.logits, rows.labels
    )
    scaler = TemperatureScaler(confidence_kind="logit", confidence_columns=[0, 1])
    scaler.fit(rows.logits, rows.labels)
    assert np.log(streamed(rows).temperature()) == pytest.approx(
        np.log(scaler.temperature_), abs=1e-6
    )


@pytest.mark.parametrize("rows", [events(3000, digits=2), classes(900, 3)])
def test_shards_merge(rows):
    # In this order the ends of the confidence are in one shard only.
    rows = rows.take(np.argsort(np.abs(rows.confidence - 0.5), kind="stable"))
    whole = streamed(rows)
    one, two = whole.empty(), whole.empty()
    one.add(rows.take(np.arange(500)))
    two.add(rows.take(np.arange(500, len(rows))))
    one.merge(two)
    assert np.log(one.temperature()) == pytest.approx(np.log(whole.temperature()), abs=1e-12)


def test_temperature_far_from_that_of_the_first_rows_is_not_known():
    heat = StreamedHeat(events(2000, heat=1.0))
    heat.add(events(20_000, seed=1, heat=6.0))
    assert np.isnan(heat.temperature())


def test_first_rows_may_all_be_certain():
    heat = StreamedHeat(UnderstoodRows(np.ones(5), np.ones(5), np.arange(5)))
    rows = events(3000, heat=1.2)
    heat.add(rows)
    scaler = TemperatureScaler(confidence_kind="probability")
    scaler.fit(rows.confidence[:, None], rows.event)
    assert np.log(heat.temperature()) == pytest.approx(np.log(scaler.temperature_), abs=1e-6)
