"""A cluster of two processes gives the numbers of one process, and partitions those of one pass."""

import os
import pickle
from dataclasses import fields
from functools import partial
from operator import methodcaller

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from sk_arcal import RoutingCalibratedClassifierCV
from sk_arcal.audit import routing_audit
from sk_arcal.calibration import NWConditionalCalibrator, TemperatureScaler
from sk_arcal.datasets import make_routing_data, make_routing_runs
from sk_arcal.diagnostics import (
    conditional_calibration_runs,
    routing_permutation_test,
    routing_profile_test,
)
from sk_arcal.metrics import (
    CalibrationHistogram,
    bootstrap_interval,
    expected_calibration_error,
    noise_floor,
)

dask = pytest.importorskip("dask", reason="dask is not installed")
distributed = pytest.importorskip("distributed", reason="distributed is not installed")

N_PARTITIONS = 8


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two worker processes, started once."""
    cluster = distributed.LocalCluster(
        host="127.0.0.1",
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        memory_limit=0,
        local_directory=str(tmp_path_factory.mktemp("workers")),
    )
    # Workers compute with one thread, and sums of another number of threads round differently.
    with threadpool_limits(1), cluster, distributed.Client(cluster) as client:
        yield client


def on_cluster(function, *args, **settings):
    with joblib.parallel_config(backend="dask"):
        return function(*args, n_jobs=2, **settings)


# --- joblib's loops -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def step():
    return make_routing_data(600, effect="step", random_state=0)


def test_the_backend_sends_work_to_other_processes(client):
    with joblib.parallel_config(backend="dask"):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(os.getpid)() for _ in range(8))
    workers = set(client.run(os.getpid).values())
    assert os.getpid() not in workers
    assert set(found) <= workers


def test_permutation_test(client, step):
    test = partial(routing_permutation_test, step.y, step.confidence, step.routing[:, 0])
    one, many = (run(test, n_resamples=99, random_state=0) for run in (here, on_cluster))
    assert vars_of(one) == vars_of(many)


def test_profile_test(client, step):
    test = partial(routing_profile_test, step.y, step.confidence, step.routing)
    one, many = (run(test, n_resamples=99, random_state=0) for run in (here, on_cluster))
    pd.testing.assert_frame_equal(one.to_frame(), many.to_frame(), check_exact=True)


def test_runs(client):
    runs = make_routing_runs(300, 3, effect="step", random_state=0)
    test = partial(conditional_calibration_runs, runs.y, runs.confidence, runs.routing)
    one, many = (run(test, n_resamples=99, random_state=0) for run in (here, on_cluster))
    pd.testing.assert_frame_equal(one.to_frame(), many.to_frame(), check_exact=True)


def test_floor_and_bootstrap(client, step):
    metric = expected_calibration_error
    floor = partial(noise_floor, step.confidence, n_resamples=40, random_state=0)
    one, many = here(floor), on_cluster(floor)
    np.testing.assert_array_equal(one.values, many.values)
    bootstrap = partial(bootstrap_interval, metric, step.y, step.confidence, n_resamples=40)
    one, many = (run(bootstrap, random_state=0) for run in (here, on_cluster))
    np.testing.assert_array_equal(one.values, many.values)


def test_cross_fitted_classifier(client):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] + rng.normal(size=300) > 0).astype(int)
    model = RoutingCalibratedClassifierCV(LogisticRegression(), cv=3)
    one = clone(model).fit(X, y)
    with joblib.parallel_config(backend="dask"):
        many = model.set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(one.predict_proba(X), many.predict_proba(X))


def test_audit(client, step):
    audit = partial(routing_audit, step.y, confidence=step.confidence, n_shuffles=5)
    settings = {"routing": {"planted": step.routing[:, 0]}, "n_resamples": 49, "random_state": 0}
    one, many = (run(audit, **settings).to_dict() for run in (here, on_cluster))
    del one["provenance"], many["provenance"]
    assert one == many


def vars_of(result):
    return {field.name: getattr(result, field.name) for field in fields(result)}


def here(function, **settings):
    return function(n_jobs=1, **settings)


# --- sums over partitions -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def partitions(tmp_path_factory):
    """A table in eight files, and the whole."""
    data = make_routing_data(8 * 1500, effect="step", random_state=1)
    table = pd.DataFrame({"proba__1": data.confidence, "routing__r": data.routing[:, 0]})
    table["event"] = data.y
    folder = tmp_path_factory.mktemp("table")
    for k, part in enumerate(np.split(np.arange(len(table)), N_PARTITIONS)):
        table.iloc[part].to_parquet(folder / f"part-{k}.parquet")
    return sorted(map(str, folder.glob("*.parquet"))), table


def histogram_of(path):
    part = pd.read_parquet(path)
    return CalibrationHistogram().update(part["event"], part["proba__1"])


def shard_of(path, empty):
    part = pd.read_parquet(path)
    return empty.new_shard().partial_fit(part.drop(columns="event"), part["event"])


def merged(first, second):
    return first.merge(second)


def tree(client, states):
    """Add states up in pairs, so that no process ever holds more than two."""
    while len(states) > 1:
        pairs = zip(states[::2], states[1::2], strict=False)
        odd = states[len(states) - len(states) % 2 :]
        states = [client.submit(merged, *pair, pure=False) for pair in pairs] + odd
    return states[0].result()


def test_histograms_of_partitions(client, partitions):
    paths, table = partitions
    found = tree(client, client.map(histogram_of, paths, pure=False))
    whole = CalibrationHistogram().update(table["event"], table["proba__1"])
    assert found.n_samples == whole.n_samples == len(table)
    for read in ("expected_calibration_error", "maximum_calibration_error"):
        value, expected = (methodcaller(read)(state) for state in (found, whole))
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("calibrator", [TemperatureScaler(), NWConditionalCalibrator()], ids=str)
def test_shards_of_partitions(client, partitions, calibrator):
    paths, table = partitions
    X, y, n_first = table.drop(columns="event"), table["event"], len(table) // N_PARTITIONS
    first = clone(calibrator).partial_fit(X[:n_first], y[:n_first], classes=[0, 1])
    shards = client.map(shard_of, paths[1:], empty=first.new_shard(), pure=False)
    found = clone_of(first).merge(tree(client, shards))
    expected = first.partial_fit(X[n_first:], y[n_first:])
    assert found.n_samples_seen_ == expected.n_samples_seen_ == len(table)
    assert found.temperature_ == pytest.approx(expected.temperature_, rel=1e-12)
    difference = found.predict_proba(X) - expected.predict_proba(X)
    assert np.abs(difference).max() < 1e-12


def test_delayed_partitions(client, partitions):
    paths, table = partitions
    states = [dask.delayed(histogram_of)(path) for path in paths]
    while len(states) > 1:
        states = [dask.delayed(merged)(*states[k : k + 2]) for k in range(0, len(states), 2)]
    whole = CalibrationHistogram().update(table["event"], table["proba__1"])
    found = states[0].compute(scheduler=client).expected_calibration_error()
    assert found == pytest.approx(whole.expected_calibration_error(), abs=1e-12)


def clone_of(estimator):
    return pickle.loads(pickle.dumps(estimator))
