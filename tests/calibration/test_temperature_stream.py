"""`partial_fit`: what a stream and its shards learn is what `fit` learns from all rows."""

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, softmax

from sk_arcal.calibration import CalibrationWarning, TemperatureScaler, calibrator_from_dict


def rows(n_classes, n=8000, temperature=2.5, seed=0):
    rng = np.random.default_rng(seed)
    if n_classes == 1:
        logits = rng.normal(0, 2, (n, 1))
        y = (rng.random(n) < expit(logits[:, 0])).astype(int)
    else:
        logits = rng.normal(0, 2, (n, n_classes))
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    X = np.column_stack([temperature * logits, rng.random(n)])
    return X, y, rng.integers(0, 3, n).astype(float)


def scaler(n_classes, **settings):
    columns = list(range(n_classes))
    return TemperatureScaler(confidence_kind="logit", confidence_columns=columns, **settings)


def stream(estimator, data, sizes, **settings):
    for part in np.split(np.arange(len(data[1])), np.cumsum(sizes)[:-1]):
        X, y, weight = (array[part] for array in data)
        estimator.partial_fit(X, y, sample_weight=weight, **settings)
    return estimator


@pytest.mark.parametrize("n_classes", [1, 2, 3, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stream_equals_fit_on_all_rows(n_classes, dtype):
    X, y, weight = rows(n_classes)
    X = X.astype(dtype)
    classes = range(max(n_classes, 2))
    whole = scaler(n_classes, classes=classes).fit(X, y, sample_weight=weight)
    sizes = [1000, 7, 2993, 4000]
    streamed = stream(scaler(n_classes), (X, y, weight), sizes, classes=classes)
    assert abs(np.log(streamed.temperature_ / whole.temperature_)) < 1e-6
    np.testing.assert_allclose(streamed.loss_, whole.loss_, rtol=1e-8)
    np.testing.assert_allclose(streamed.predict_proba(X), whole.predict_proba(X), atol=1e-6)
    assert streamed.n_samples_seen_ == np.count_nonzero(weight)


@pytest.mark.parametrize("n_classes", [1, 5])
def test_shards_merge_to_the_stream_in_any_order(n_classes):
    X, y, weight = data = rows(n_classes)
    classes = range(max(n_classes, 2))
    expected = stream(scaler(n_classes), data, [2000] * 4, classes=classes).temperature_
    first = scaler(n_classes).partial_fit(X[:2000], y[:2000], weight[:2000], classes=classes)
    shards = [
        first.new_shard().partial_fit(X[a : a + 2000], y[a : a + 2000], weight[a : a + 2000])
        for a in (2000, 4000, 6000)
    ]
    for shard in shards[::-1]:
        first.merge(pickle.loads(pickle.dumps(shard)))
    np.testing.assert_allclose(first.temperature_, expected, rtol=1e-12)


def test_an_empty_shard_changes_nothing():
    X, y, weight = rows(5)
    first = scaler(5).partial_fit(X, y, weight, classes=range(5))
    before = first.temperature_
    shard = first.new_shard()
    assert (shard.temperature_, shard.n_samples_seen_) == (before, 0)
    assert first.merge(shard).temperature_ == before


def test_blocks_of_any_size_give_the_same_temperature():
    data = rows(5)
    first, rest = [1000], len(data[1]) - 1000
    few, many = (
        stream(scaler(5), data, first + [rest // k] * k, classes=range(5)) for k in (1, 100)
    )
    np.testing.assert_allclose(few.temperature_, many.temperature_, rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 12.0])
def test_a_misleading_first_block_warns(temperature):
    X, y, weight = rows(5, 500)
    streamed = scaler(5).partial_fit(X, y, weight, classes=range(5))
    X, y, weight = rows(5, temperature=temperature, seed=1)
    with pytest.warns(CalibrationWarning, match=r"so it is not known. Pass all rows") as caught:
        streamed.partial_fit(X, y, weight)
    assert caught[0].filename == __file__


# The first block alone is separated, which warns; what follows is the subject.
@pytest.mark.filterwarnings("ignore:.*lower bound:sk_arcal.calibration.CalibrationWarning")
def test_a_separated_first_block_is_forgotten_where_it_can_be():
    X, y, _ = rows(5, temperature=1.2)
    right = X[:, :5].argmax(axis=1) == y
    order = np.concatenate([np.flatnonzero(right)[:100], np.flatnonzero(~right)])
    order = np.concatenate([order, np.flatnonzero(right)[100:]])
    data = X[order], y[order], np.ones(len(y))
    streamed = scaler(5).partial_fit(*(a[:100] for a in data), classes=range(5))
    assert streamed.temperature_ == 1e-3
    streamed.partial_fit(*(a[100:] for a in data))
    whole = scaler(5).fit(*data)
    assert abs(np.log(streamed.temperature_ / whole.temperature_)) < 1e-6


def test_classes_are_needed_in_the_first_call():
    X, y, _ = rows(3)
    with pytest.raises(ValueError, match=r"first call of `partial_fit` needs .*`classes=\[...\]`"):
        scaler(3).partial_fit(X, y)
    scaler(3, classes=[0, 1, 2]).partial_fit(X[:50], y[:50]).partial_fit(X[50:], y[50:])


def test_a_block_may_lack_classes_but_not_hold_others():
    X, y, _ = rows(4)
    names = np.array(["a", "b", "c", "d"])
    only = np.flatnonzero(y != 2)
    streamed = scaler(4).partial_fit(X[only], names[y[only]], classes=names[::-1])
    np.testing.assert_array_equal(streamed.classes_, names)
    with pytest.raises(ValueError, match="'e', which is none of the classes"):
        streamed.partial_fit(X[:2], ["a", "e"])
    alone = np.flatnonzero(y == 2)
    streamed.partial_fit(X[alone], names[y[alone]])
    whole = scaler(4).fit(X, names[y])
    assert abs(np.log(streamed.temperature_ / whole.temperature_)) < 1e-6


def test_columns_are_those_of_the_first_call():
    X, y, _ = rows(3)
    streamed = scaler(3).partial_fit(X, y, classes=range(3))
    with pytest.raises(ValueError, match="features"):
        streamed.partial_fit(X[:, :3], y)
    frame = pd.DataFrame(X, columns=["logit__c", "logit__a", "logit__b", "routing__r"])
    named = TemperatureScaler().partial_fit(frame, np.array(list("cab"))[y], classes=list("abc"))
    assert named.temperature_ == streamed.temperature_
    with pytest.raises(ValueError, match="feature names"):
        named.partial_fit(frame[frame.columns[::-1]], np.array(list("cab"))[y])


def test_scale_is_that_of_the_first_call():
    X, y, _ = rows(3)
    streamed = TemperatureScaler().partial_fit(softmax(X[:, :3], axis=1), y, classes=range(3))
    assert streamed.confidence_kind_ == "probability"
    with pytest.raises(ValueError, match="are probabilities here"):
        streamed.partial_fit(X[:, :3], y)


def test_fit_ends_a_stream():
    X, y, _ = rows(3)
    streamed = scaler(3).partial_fit(X[:500], y[:500], classes=range(3))
    assert vars(streamed.fit(X, y)).keys() == vars(scaler(3).fit(X, y)).keys()
    streamed.partial_fit(X[:500], y[:500])
    assert streamed.n_samples_seen_ == 500


def test_a_saved_stream_goes_on():
    X, y, _ = rows(3)
    streamed = scaler(3).partial_fit(X[:500], y[:500], classes=range(3))
    copies = (
        pickle.loads(pickle.dumps(streamed)),
        calibrator_from_dict(json.loads(json.dumps(streamed.to_dict()))),
    )
    streamed.partial_fit(X[500:], y[500:])
    for copy in copies:
        assert copy.partial_fit(X[500:], y[500:]).temperature_ == streamed.temperature_


def test_only_streams_of_one_kind_merge():
    X, y, _ = rows(3)
    streamed = scaler(3).partial_fit(X, y, classes=range(3))
    with pytest.raises(ValueError, match="has seen no stream; call `partial_fit` first"):
        streamed.merge(scaler(3).fit(X, y))
    with pytest.raises(ValueError, match="has seen no stream"):
        scaler(3).new_shard()
    with pytest.raises(TypeError, match="`other` must be a TemperatureScaler; got int"):
        streamed.merge(3)
    other = TemperatureScaler().partial_fit(softmax(X[:, :3], axis=1), y, classes=range(3))
    with pytest.raises(ValueError, match=r"read their columns differently.*new_shard"):
        streamed.merge(other)
    apart = scaler(3).partial_fit(X[:300], y[:300], classes=range(3))
    with pytest.raises(ValueError, match="different temperatures"):
        streamed.merge(apart)


def test_a_representative_stream_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream(scaler(4), rows(4), [1000] * 8, classes=range(4))
