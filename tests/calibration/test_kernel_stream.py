"""`partial_fit` of the kernel: all rows with the settings of the first block, however they come."""

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit, softmax

from sk_arcal.calibration import (
    CalibrationWarning,
    NWConditionalCalibrator,
    TemperatureScaler,
    calibrator_from_dict,
)

FIRST = 2000
# The search takes half a second, and most of what follows does not depend on it.
SEARCH = {"bandwidth": "loo", "shrinkage": "loo"}


def event_rows(n=8000, seed=0):
    rng = np.random.default_rng(seed)
    log_odds, routing = rng.normal(1, 1.5, n), rng.random(n)
    y = (rng.random(n) < expit(log_odds / 2 + np.where(routing < 0.5, -0.7, 0.7))).astype(int)
    return np.column_stack([log_odds, routing]), y, rng.integers(0, 3, n).astype(float)


def class_rows(n=8000, seed=0):
    rng = np.random.default_rng(seed)
    logits, routing = 2 * rng.normal(size=(n, 4)), rng.random(n)
    truth = softmax(logits * (0.2 + routing[:, None]), axis=1)
    y = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=3)
    return np.column_stack([logits, routing]), y, rng.integers(0, 3, n).astype(float)


def kernel(**settings):
    known = {"bandwidth": 0.3, "shrinkage": 3.0, "confidence_kind": "logit"}
    return NWConditionalCalibrator(**known | settings)


def stream(estimator, data, sizes, **settings):
    for part in np.split(np.arange(len(data[1])), np.cumsum(sizes)[:-1]):
        X, y, weight = (array[part] for array in data)
        estimator.partial_fit(X, y, sample_weight=weight, **settings)
    return estimator


def first_block(data, **settings):
    X, y, weight = (array[:FIRST] for array in data)
    return kernel(**settings).partial_fit(X, y, weight, classes=np.unique(data[1]))


# --- what it equals -----------------------------------------------------------------------------


SETTINGS = [
    SEARCH,
    {"anchor": "identity", "routing_axis": "standardized", "confidence_axis": "probability"},
    {"anchor": "none", "bandwidth": "scott", "shrinkage": 0.0},
    {"bandwidth": [0.5, np.inf], "confidence_axis": "rank"},
    {"bandwidth": [np.inf, 0.05], "anchor": "none", "min_mass": 0.0},
    {"bandwidth": np.inf, "shrinkage": 3.0},
]


def positions(calibrator, X, first, first_weight):
    """Scales of the first block, written out."""
    confidence, routing = expit(X[:, 0] / calibrator.temperature_), X[:, 1]
    start = expit(first[:, 0] / calibrator.temperature_)

    def rank(column, values):
        order = np.argsort(values)
        middle = (first_weight[order].cumsum() - first_weight[order] / 2) / first_weight.sum()
        return np.interp(column, values[order], middle)

    scales = {
        "logit": lambda: logit(np.clip(confidence, 1e-4, 1 - 1e-4)),
        "probability": lambda: confidence,
        "rank": lambda: rank(confidence, start),
    }
    if calibrator.routing_axis == "rank":
        place = rank(routing, first[:, 1])
    else:
        mean = np.average(first[:, 1], weights=first_weight)
        deviation = np.sqrt(np.average((first[:, 1] - mean) ** 2, weights=first_weight))
        place = (routing - mean) / deviation
    return np.column_stack([scales[calibrator.confidence_axis](), place]), confidence


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_stream_is_the_kernel_of_all_rows_with_the_settings_of_the_first_block(settings):
    X, y, weight = event_rows()
    weight += 1
    streamed = stream(kernel(**settings), (X, y, weight), [FIRST, 3000, 3000], classes=[0, 1])
    axes, confidence = positions(streamed, X, X[:FIRST], weight[:FIRST])
    query = np.arange(0, len(X), 40)
    distance = (axes[query][:, None] - axes[None]) / streamed.bandwidth_
    sums = weight * np.exp(-0.5 * (distance**2).sum(axis=2))
    anchor = confidence
    if streamed.anchor == "none":
        anchor = np.full(len(y), np.average(y[:FIRST], weights=weight[:FIRST]))
    mass, anchored = sums.sum(axis=1), streamed.anchor != "none"
    expected = anchor[query] + sums @ (y - anchor) / (mass + streamed.shrinkage_)
    edge = np.minimum(0.5 / (mass + 1), np.minimum(anchor, 1 - anchor)[query]) if anchored else 0
    expected = np.clip(expected, edge, 1 - edge)
    # Where neighbours are few, the confidence or a kernel on it alone takes over.
    query, mass, expected = (a[mass >= 20] for a in (query, mass, expected))
    assert len(query) > 150
    np.testing.assert_allclose(streamed.kernel_mass(X[query]), mass, rtol=2e-4)
    np.testing.assert_allclose(streamed.predict_proba(X[query])[:, 1], expected, atol=1e-4)
    assert (streamed.n_samples_seen_, streamed.n_outside_) == (len(X), 0)


@pytest.mark.parametrize("data", [event_rows(), class_rows()], ids=["event", "classes"])
@pytest.mark.parametrize("settings", SETTINGS[:3], ids=str)
def test_blocks_and_rows_cut_anyhow_give_the_same_probabilities(data, settings):
    classes, rest = np.unique(data[1]), 8000 - FIRST
    once, twice, often = (
        stream(kernel(**settings), data, sizes, classes=classes)
        for sizes in ([FIRST, rest], [FIRST, 1, rest - 1], [FIRST] + [rest // 20] * 20)
    )
    for other in (twice, often):
        for method in ("predict_proba", "kernel_mass"):
            expected, found = (getattr(e, method)(data[0]) for e in (once, other))
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("anchor", ["identity", "none"])
def test_stream_equals_fit_where_scales_do_not_depend_on_rows(anchor):
    X, y, weight = event_rows()
    order = np.r_[X[:, 0].argmin(), X[:, 0].argmax()]
    order = np.r_[order, np.setdiff1d(np.arange(len(X)), order)]
    data = X[order], y[order], weight[order] + 1
    settings = {"bandwidth": 0.1, "shrinkage": 0.0, "confidence_axis": "probability"}
    settings |= {"anchor": anchor, "routing_columns": [], "min_mass": 0.0}
    streamed = stream(kernel(**settings), data, [FIRST] * 4, classes=[0, 1])
    whole = kernel(**settings, algorithm="binned").fit(*data[:2], sample_weight=data[2])
    # The event rate of the first block is the anchor; without shrinkage it cancels.
    np.testing.assert_allclose(streamed.predict_proba(X), whole.predict_proba(X), atol=1e-10)
    np.testing.assert_allclose(streamed.kernel_mass(X), whole.kernel_mass(X), rtol=1e-10)


@pytest.mark.parametrize("settings", [SEARCH, {"algorithm": "binned"}, {"anchor": "none"}], ids=str)
def test_one_block_is_fit(settings):
    X, y, weight = event_rows()
    streamed = kernel(**settings).partial_fit(X, y, weight, classes=[0, 1])
    whole = kernel(**settings).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(streamed.bandwidth_, whole.bandwidth_)
    for name in ("selected_", "shrinkage_", "temperature_", "n_fallback_", "n_clipped_"):
        assert getattr(streamed, name) == getattr(whole, name)
    np.testing.assert_allclose(streamed.predict_proba(X), whole.predict_proba(X), atol=1e-12)


def test_a_small_first_block_takes_the_grid_too():
    data = event_rows(600)
    X, y, weight = data
    streamed = stream(kernel(bandwidth=[0.6, 0.2]), data, [200] * 3, classes=[0, 1])
    exact = kernel(bandwidth=[0.6, 0.2]).fit(X[:200], y[:200], sample_weight=weight[:200])
    first = first_block((X[:200], y[:200], weight[:200]), bandwidth=[0.6, 0.2])
    np.testing.assert_allclose(first.predict_proba(X), exact.predict_proba(X), atol=1e-4)
    assert streamed.kernel_mass(X).mean() > 2 * first.kernel_mass(X).mean()


# --- shards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [event_rows(), class_rows()], ids=["event", "classes"])
@pytest.mark.parametrize("settings", [{}, {"anchor": "none"}], ids=str)
def test_shards_merge_to_the_stream_in_any_order(data, settings):
    X, y, weight = data
    expected = stream(kernel(**settings), data, [FIRST] * 4, classes=np.unique(y))
    first = first_block(data, **settings)
    shards = [
        first.new_shard().partial_fit(*(array[start : start + FIRST] for array in data))
        for start in (FIRST, 2 * FIRST, 3 * FIRST)
    ]
    for shard in shards[::-1]:
        first.merge(pickle.loads(pickle.dumps(shard)))
    np.testing.assert_allclose(first.predict_proba(X), expected.predict_proba(X), atol=1e-12)
    np.testing.assert_allclose(first.kernel_mass(X), expected.kernel_mass(X), rtol=1e-12)
    assert first.n_samples_seen_ == expected.n_samples_seen_ == np.count_nonzero(weight)


def test_a_shard_predicts_by_its_own_rows_once_it_has_some():
    X, y, weight = data = event_rows()
    first = first_block(data)
    before = first.predict_proba(X)
    shard = first.new_shard()
    assert (shard.n_samples_seen_, shard.n_outside_) == (0, 0)
    np.testing.assert_array_equal(shard.predict_proba(X), before)
    np.testing.assert_array_equal(first.merge(shard).predict_proba(X), before)
    shard.partial_fit(X[FIRST:], y[FIRST:], weight[FIRST:])
    assert shard.kernel_mass(X).mean() > 2 * first.kernel_mass(X).mean()
    np.testing.assert_array_equal(first.predict_proba(X), before)


def test_only_streams_of_one_kind_merge():
    X, y, weight = data = event_rows()
    first = first_block(data)
    with pytest.raises(ValueError, match="has seen no stream; call `partial_fit` first"):
        first.merge(kernel().fit(X, y))
    with pytest.raises(ValueError, match="has seen no stream"):
        kernel().new_shard()
    with pytest.raises(TypeError, match="`other` must be an NWConditionalCalibrator; got Temper"):
        first.merge(TemperatureScaler())
    elsewhere = kernel().partial_fit(X[FIRST:], y[FIRST:], classes=[0, 1])
    for other in (elsewhere, first_block(data, bandwidth=0.4), first_block(data, min_mass=7.0)):
        with pytest.raises(ValueError, match=r"what their first blocks decided.*new_shard"):
            first.merge(other)
    assert first.n_samples_seen_ == np.count_nonzero(weight[:FIRST])


def test_ranks_of_another_first_block_do_not_merge():
    X, y, _ = event_rows()
    settings = {"bandwidth": [np.inf, 0.1], "shrinkage": 1.0, "anchor": "identity"}
    first, other = (kernel(**settings).partial_fit(rows, y, classes=[0, 1]) for rows in (X, X**3))
    assert first._stream.is_like(other._stream)
    with pytest.raises(ValueError, match="what their first blocks decided"):
        first.merge(other)


def test_grids_of_different_range_do_not_merge():
    X, y, _ = event_rows()
    settings = {"anchor": "identity", "bandwidth": 0.1, "shrinkage": 1.0, "routing_columns": []}
    settings["confidence_axis"] = "probability"
    wide = np.concatenate([X, [[-30.0, 0.5]]])
    first = kernel(**settings).partial_fit(X, y, classes=[0, 1])
    other = kernel(**settings).partial_fit(wide, np.append(y, 1), classes=[0, 1])
    with pytest.raises(ValueError, match="what their first blocks decided"):
        first.merge(other)


# --- what the first block decides ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "word", "factor"),
    [(SEARCH, "identity", 1), (SEARCH, "temperature", 3), (SEARCH | {"anchor": "none"}, "mean", 0)],
)
def test_no_use_for_a_kernel_stays(settings, word, factor):
    X = event_rows()[0]
    y = (np.random.default_rng(1).random(len(X)) < expit(X[:, 0] * (factor > 0))).astype(int)
    X[:, 0] *= max(factor, 1)
    first = first_block((X, y, np.ones(len(X))), **settings)
    assert first.selected_ == word
    before = first.predict_proba(X)
    first.partial_fit(X[FIRST:], y[FIRST:])
    np.testing.assert_array_equal(first.predict_proba(X), before)
    np.testing.assert_allclose(first.kernel_mass(X), len(X))
    assert first.n_samples_seen_ == len(X)


def test_rows_beyond_the_grid_are_counted_and_reported():
    X, y, _ = event_rows()
    settings = {"bandwidth": [0.5, 0.1], "routing_axis": "standardized"}
    streamed = kernel(**settings).partial_fit(X, y, classes=[0, 1])
    before = streamed.kernel_mass(X)
    far = X.copy()
    far[:, 1] += 1e3
    streamed.partial_fit(far[:80], y[:80])
    assert (streamed.n_outside_, streamed.n_samples_seen_) == (80, 8080)
    with pytest.warns(
        CalibrationWarning, match="160 of the 8160 rows .* beyond the grid"
    ) as caught:
        streamed.partial_fit(far[:80], y[:80])
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(streamed.kernel_mass(X), before)
    assert (streamed.kernel_mass(far) == 0).all()
    np.testing.assert_allclose(
        streamed.predict_proba(far)[:, 1], expit(far[:, 0] / streamed.temperature_)
    )
    shard = streamed.new_shard().partial_fit(np.r_[X, X, far[:60]], np.r_[y, y, y[:60]])
    assert (shard.n_outside_, streamed.merge(shard).n_outside_) == (60, 220)


def test_ranks_have_no_beyond():
    X, y, _ = event_rows()
    streamed = kernel(bandwidth=[0.1, 0.1], confidence_axis="rank")
    streamed.partial_fit(X, y, classes=[0, 1])
    far = X.copy()
    far[:, 1] += 1e3
    far[:, 0] *= 1e3
    assert streamed.partial_fit(far, y).n_outside_ == 0
    highest = X.max(axis=0)[None]
    assert streamed.kernel_mass(highest) > 4000


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"algorithm": "exact"}, r"algorithm='exact' rules out. Set algorithm='auto'"),
        ({"bandwidth": [1e-7, 0.1]}, r"2 axes with the bandwidths \[1e-07, 0.1\].*`bandwidth_sc"),
        ({"bandwidth": 0.5, "n_columns": 5}, "kernel on 6 axes .* fewer `routing_columns`"),
    ],
    ids=str,
)
def test_kernels_without_a_grid_are_refused(settings, words):
    X, y, _ = event_rows(500)
    n_columns = settings.pop("n_columns", 1)
    X = np.column_stack([X[:, :1], np.random.default_rng(0).random((500, n_columns))])
    with pytest.raises(ValueError, match=words):
        kernel(**settings).partial_fit(X, y, classes=[0, 1])


def test_classes_are_needed_in_the_first_call():
    X, y, _ = event_rows()
    with pytest.raises(ValueError, match=r"first call of `partial_fit` needs .*`classes=\[...\]`"):
        kernel().partial_fit(X, y)
    kernel(classes=[0, 1]).partial_fit(X[:500], y[:500]).partial_fit(X[500:], y[500:])


def test_a_block_may_lack_classes_but_not_hold_others():
    X, y, _ = class_rows()
    names, rest = np.array(["a", "b", "c", "d"]), slice(FIRST, None)
    first = kernel().partial_fit(X[:FIRST], names[y[:FIRST]], classes=names[::-1])
    np.testing.assert_array_equal(first.classes_, names)
    with pytest.raises(ValueError, match="'e', which is none of the classes"):
        first.partial_fit(X[:2], ["a", "e"])
    expected = stream(kernel(), (X, y, np.ones(len(y))), [FIRST] * 4, classes=range(4))
    for only in np.flatnonzero(y[rest] == 2), np.flatnonzero(y[rest] != 2):
        first.partial_fit(X[rest][only], names[y[rest][only]])
    np.testing.assert_allclose(first.predict_proba(X), expected.predict_proba(X), atol=1e-10)


def test_columns_and_scale_are_those_of_the_first_call():
    X, y, _ = event_rows()
    streamed = kernel().partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="features"):
        streamed.partial_fit(X[:, :1], y)
    frame = pd.DataFrame(np.c_[X[:, 1], expit(X[:, 0])], columns=["routing__r", "proba__1"])
    settings = {"bandwidth": 0.3, "shrinkage": 3.0}
    named = NWConditionalCalibrator(**settings).partial_fit(frame, y, classes=[0, 1])
    np.testing.assert_allclose(named.predict_proba(frame), streamed.predict_proba(X), atol=1e-6)
    with pytest.raises(ValueError, match="feature names"):
        named.partial_fit(frame[frame.columns[::-1]], y)
    with pytest.raises(ValueError, match="are probabilities here"):
        named.partial_fit(frame * 7, y)


def test_warnings_of_the_first_block_blame_the_user():
    X, y, _ = event_rows(500)
    with pytest.warns(CalibrationWarning, match="separates") as caught:
        kernel().partial_fit(X, X[:, 0] > 0, classes=[False, True])
    with pytest.warns(CalibrationWarning, match="exactly 0 or 1") as again:
        NWConditionalCalibrator(bandwidth=0.3).partial_fit(expit(X * 1e3), y, classes=[0, 1])
    assert {warning.filename for warning in [*caught, *again]} == {__file__}


# --- before and after ---------------------------------------------------------------------------


def test_fit_ends_a_stream():
    X, y, _ = data = event_rows()
    streamed = first_block(data)
    assert vars(streamed.fit(X, y)).keys() == vars(kernel().fit(X, y)).keys()
    streamed.partial_fit(X[:500], y[:500])
    assert streamed.n_samples_seen_ == 500


@pytest.mark.parametrize("settings", [{}, {"bandwidth": np.inf}, {"anchor": "none"}], ids=str)
def test_a_saved_stream_goes_on(settings):
    data = event_rows()
    streamed = first_block(data, **settings)
    copies = (
        pickle.loads(pickle.dumps(streamed)),
        calibrator_from_dict(json.loads(json.dumps(streamed.to_dict()))),
    )
    X, y, weight = (array[FIRST:] for array in data)
    expected = streamed.partial_fit(X, y, weight).predict_proba(X)
    for copy in copies:
        np.testing.assert_array_equal(copy.partial_fit(X, y, weight).predict_proba(X), expected)
        assert copy.n_samples_seen_ == streamed.n_samples_seen_


def test_a_representative_stream_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream(kernel(**SEARCH), event_rows(), [FIRST] * 4, classes=[0, 1])


def test_a_kernel_without_confidence_falls_back_to_the_event_rate():
    X, y, _ = event_rows()
    settings = {"anchor": "none", "bandwidth": [np.inf, 0.05], "routing_axis": "standardized"}
    far = np.array([[0.0, 1e6]])
    for algorithm in ("exact", "binned"):
        calibrator = kernel(**settings, shrinkage=0.0, min_mass=0.0, algorithm=algorithm)
        probability = calibrator.fit(X, y).predict_proba(far)[0, 1]
        np.testing.assert_allclose(probability, y.mean(), rtol=1e-9)
