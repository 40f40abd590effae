import numpy as np
import pytest
from joblib import parallel_config

from sk_arcal.metrics._resampling import metric_value, resample


def _first_number(rng):
    return rng.random()


def test_values_do_not_depend_on_the_number_of_jobs():
    serial = resample(_first_number, 5, np.random.default_rng(0), None)
    with parallel_config(backend="threading"):
        parallel = resample(_first_number, 5, np.random.default_rng(0), 2)
    np.testing.assert_array_equal(serial, parallel)


def test_resamples_differ():
    assert len(np.unique(resample(_first_number, 20, np.random.default_rng(0), None))) == 20


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int64(2)])
def test_metric_value_takes_any_real_number(value):
    assert metric_value(lambda: value) == float(value)


@pytest.mark.parametrize("value", [None, "0.5", [0.5]])
def test_metric_value_refuses_what_is_not_a_number(value):
    with pytest.raises(TypeError, match="`metric` must return a number"):
        metric_value(lambda: value)


def test_metric_value_refuses_what_is_not_callable():
    with pytest.raises(TypeError, match="`metric` must be callable; got 'ece'"):
        metric_value("ece")
