"""The transformer: what the columns are, and that nothing is forwarded twice."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from torch import nn

from sk_arcal import (
    Backbone,
    NWConditionalCalibrator,
    RoutingCalibratedClassifierCV,
    RoutingFeatureExtractor,
    TemperatureScaler,
)
from sk_arcal.feature_extraction import ExtractionWarning, register_router, summarize_routing
from sk_arcal.feature_extraction._readers._registry import forget
from tests.feature_extraction.counting import Counting, Gate, rows_in

N_ROWS = 60


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(N_ROWS, 4))


@pytest.fixture
def log(tmp_path):
    return tmp_path / "rows.log"


@pytest.fixture
def module(log):
    return Counting(log)


@pytest.fixture
def extractor(module):
    return RoutingFeatureExtractor(Backbone(module), batch_size=16)


def entropy(weights):
    return -(weights * np.log(weights)).sum(axis=1)


# --- what the columns are ----------------------------------------------------------------------


def test_columns_are_those_of_a_forward_pass_by_hand(extractor, module, X):
    columns = extractor.set_params(summaries=["entropy", "entropy_variance"]).fit_transform(X)
    rows = torch.tensor(X, dtype=torch.float32)
    with torch.inference_mode():
        logits = module.eval()(rows).numpy()
        gates = [gate(rows).numpy().astype(float) for gate in (module.first, module.second)]
    by_site = np.stack([entropy(gate) for gate in gates], axis=1)
    expected = np.column_stack([logits, by_site, by_site.var(axis=1)])
    np.testing.assert_allclose(columns, expected, atol=1e-6)
    assert columns.dtype == np.float64
    assert extractor.get_feature_names_out().tolist() == [
        *("logit__0", "logit__1", "logit__2"),
        "routing__router_first__entropy",
        "routing__router_second__entropy",
        "routing__router__entropy_variance",
    ]


def test_two_classes_share_a_column_of_log_odds(X):
    module = Counting(n_classes=2)
    extractor = RoutingFeatureExtractor(module, summaries=(), classes=["no", "yes"])
    columns = extractor.fit_transform(X)
    with torch.inference_mode():
        logits = module.eval()(torch.tensor(X, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(columns[:, 0], logits[:, 1] - logits[:, 0], atol=1e-6)
    assert extractor.get_feature_names_out().tolist() == ["logit__yes"]


def test_a_single_logit_is_the_log_odds_of_the_second_class(X):
    extractor = RoutingFeatureExtractor(Counting(n_classes=1), summaries=()).fit(X)
    assert extractor.get_feature_names_out().tolist() == ["logit__1"]


def test_confidence_is_one_column(extractor, X):
    columns = extractor.set_params(outputs="confidence", summaries=()).fit_transform(X)
    logits = clone(extractor).set_params(outputs="logits").fit_transform(X)
    top = np.exp(logits.max(axis=1)) / np.exp(logits).sum(axis=1)
    np.testing.assert_allclose(columns[:, 0], np.log(top / (1 - top)), rtol=1e-4)
    assert extractor.get_feature_names_out().tolist() == ["logit__correct"]
    np.testing.assert_array_equal(extractor.extract(X).prediction, logits.argmax(axis=1))


def test_routing_alone(extractor, X):
    extractor.set_params(outputs=None).fit(X)
    assert all(name.startswith("routing__") for name in extractor.get_feature_names_out())
    assert extractor.extract(X).prediction is None


def test_extract_holds_what_the_columns_are_made_of(extractor, X):
    columns = extractor.fit_transform(X)
    extraction = extractor.extract(X)
    np.testing.assert_array_equal(columns[:, :3], extraction.scores)
    np.testing.assert_array_equal(columns[:, 3:], summarize_routing(extraction.profile)[0])
    np.testing.assert_allclose(extraction.profile.site_load(0).sum(axis=1), 1)
    assert extractor.sites_ == extraction.profile.sites


def test_extract_works_before_fit(extractor, X):
    assert len(extractor.extract(X)) == N_ROWS
    with pytest.raises(NotFittedError):
        extractor.transform(X)


@pytest.mark.parametrize("table", ["pandas", "polars"])
def test_named_columns_need_no_parameter_downstream(extractor, table, X):
    y = extractor.extract(X).prediction
    y[::3] = np.arange(20) % 3
    columns = extractor.set_output(transform=table).fit_transform(X)
    assert list(columns.columns) == extractor.get_feature_names_out().tolist()
    scaler = TemperatureScaler().fit(columns, y)
    assert scaler.column_roles_.confidence.tolist() == [0, 1, 2]
    assert scaler.column_roles_.named_kind == "logit"


def test_degenerate_columns_are_named(X):
    module = Counting()
    with torch.no_grad():
        module.second.weight.zero_()
    extractor = RoutingFeatureExtractor(module, summaries=["normalized_entropy"]).fit(X)
    assert extractor.degenerate_features_ == ["routing__router_second__normalized_entropy"]


def test_routing_that_never_changes_is_warned_of(X):
    module = Counting()
    with torch.no_grad():
        module.first.weight.zero_()
        module.second.weight.zero_()
    with pytest.warns(ExtractionWarning, match="the same for all 60 rows"):
        RoutingFeatureExtractor(module).fit(X)


# --- nothing is forwarded twice ----------------------------------------------------------------


def test_rows_are_forwarded_once(extractor, log, X):
    extractor.fit(X)
    assert rows_in(log) == N_ROWS
    extractor.transform(X[::-1])
    clone(extractor).fit_transform(X[10:30])
    clone(extractor).set_params(summaries="weights", token_order="statistics_first").fit(X)
    clone(extractor).set_params(batch_size=3, classes=["a", "b", "c"]).fit(X)
    assert rows_in(log) == N_ROWS
    extractor.transform(np.vstack([X, X + 1]))
    assert rows_in(log) == 2 * N_ROWS


def test_equal_rows_are_forwarded_once(extractor, log, X):
    repeated = np.repeat(X[:5], 4, axis=0)
    columns = extractor.fit_transform(repeated)
    assert rows_in(log) == 5
    np.testing.assert_array_equal(columns, np.repeat(extractor.transform(X[:5]), 4, axis=0))


@pytest.mark.parametrize(
    "setting",
    [
        {"outputs": "confidence"},
        {"token_reduction": "last"},
        {"dtype": "bfloat16"},
        {"preprocess": np.negative},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_that_change_a_record_are_not_mixed_up(extractor, log, setting, X):
    extractor.fit(X)
    clone(extractor).set_params(**setting).fit(X)
    assert rows_in(log) == 2 * N_ROWS


def test_readers_registered_for_the_network_are_not_mixed_up_and_others_do_not_count(
    extractor, log, X
):
    extractor.fit(X)
    register_router("SomebodyElsesGate", lambda module, args, output: {"weights": output})
    try:
        clone(extractor).fit(X)
        assert rows_in(log) == N_ROWS
        register_router(Gate, lambda module, args, output: {"weights": output.flip(-1)})
        flipped = clone(extractor).set_params(summaries="weights").fit_transform(X)
        assert rows_in(log) == 2 * N_ROWS
    finally:
        forget("SomebodyElsesGate")
        forget(Gate)
    weights = clone(extractor).set_params(summaries="weights").fit_transform(X)
    assert rows_in(log) == 2 * N_ROWS
    np.testing.assert_array_equal(flipped[:, 3:7], weights[:, 6:2:-1])


def test_trained_further_the_network_is_another_one(extractor, module, log, X):
    before = extractor.fit_transform(X)
    with torch.no_grad():
        module.head.weight.mul_(2)
    after = extractor.fit_transform(X)
    assert rows_in(log) == 2 * N_ROWS
    assert not np.allclose(before, after)


def test_without_cache_rows_are_forwarded_every_time(extractor, log, own_cache, X):
    extractor.set_params(cache=False).fit_transform(X)
    extractor.transform(X)
    assert rows_in(log) == 2 * N_ROWS
    assert not (own_cache / "rows").exists()


def test_batches_change_rounding_only(extractor, X):
    whole = extractor.set_params(cache=False, batch_size=N_ROWS).fit_transform(X)
    single = extractor.set_params(batch_size=1).fit_transform(X)
    np.testing.assert_allclose(whole, single, atol=1e-5)


def test_rows_in_a_cache_are_the_same_to_the_last_bit(extractor, X):
    np.testing.assert_array_equal(extractor.fit_transform(X), extractor.transform(X))


def test_a_row_does_not_depend_on_its_neighbours(extractor, X):
    columns = extractor.fit_transform(X)
    np.testing.assert_array_equal(extractor.transform(X[7:8]), columns[7:8])


def test_cache_folder_is_a_parameter(extractor, log, tmp_path, own_cache, X):
    extractor.set_params(cache=tmp_path / "mine").fit(X)
    assert (tmp_path / "mine" / "rows").is_dir()
    assert not (own_cache / "rows").exists()
    clone(extractor).set_params(cache=str(tmp_path / "mine")).fit(X)
    assert rows_in(log) == N_ROWS


def test_bounded_cache_stays_bounded_and_correct(extractor, own_cache, X):
    free = extractor.fit_transform(X)
    bounded = clone(extractor).set_params(cache=own_cache / "small", cache_max_bytes=3000)
    np.testing.assert_allclose(bounded.fit_transform(X), free, atol=1e-6)
    np.testing.assert_allclose(bounded.transform(X), free, atol=1e-6)
    shards = list((own_cache / "small").rglob("*.shard"))
    assert sum(shard.stat().st_size for shard in shards) <= 3000


def test_prefill_leaves_nothing_to_forward(extractor, log, capsys, X):
    extractor.prefill(X)
    assert rows_in(log) == N_ROWS
    assert "60/60" in capsys.readouterr().err
    strict = clone(extractor).set_params(on_miss="raise")
    strict.fit(X)
    with pytest.raises(RuntimeError, match=r"1 of 61 rows are not in the cache.*prefill\(X\)"):
        strict.transform(np.vstack([X, X[:1] + 1]))
    with pytest.raises(ValueError, match="nothing to prefill with cache=False"):
        clone(extractor).set_params(cache=False).prefill(X)


# --- the network is left as it was -------------------------------------------------------------


def test_module_is_left_as_it_was(extractor, module, X):
    module.train()
    module.first.eval()
    state = {name: values.clone() for name, values in module.state_dict().items()}
    extractor.fit(X)
    assert [part.training for part in module.modules()] == [
        part is not module.first for part in module.modules()
    ]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(torch.equal(values, state[name]) for name, values in module.state_dict().items())


def test_error_in_the_network_leaves_no_hooks(X):
    module = Counting()
    module.head = nn.Linear(9, 3)
    module.train()
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        RoutingFeatureExtractor(module).fit(X)
    assert not any(part._forward_hooks for part in module.modules())
    assert module.training


def test_clone_shares_a_raw_module(module):
    extractor = RoutingFeatureExtractor(module, summaries="entropy").set_output(transform="pandas")
    twin = clone(extractor)
    assert twin is not extractor
    assert twin.backbone is module
    assert twin.get_params() == extractor.get_params()
    assert isinstance(twin.fit_transform(np.eye(4)), pd.DataFrame)
    assert clone(twin).backbone is module


def test_pickle_of_a_handle_is_small(extractor, X):
    extractor.fit(X)
    expected = extractor.transform(X)
    data = pickle.dumps(extractor)
    assert len(data) < 3000
    assert len(pickle.dumps(clone(extractor))) < 1000
    np.testing.assert_array_equal(pickle.loads(data).transform(X), expected)


# --- memory ------------------------------------------------------------------------------------


class Hungry(Counting):
    """Runs out of memory above five rows."""

    def __init__(self, error, log):
        super().__init__(log)
        self.error = error

    def forward(self, x):
        if len(x) > 5:
            super().forward(x)
            raise {
                "torch": torch.OutOfMemoryError("no memory"),
                "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
                "other": RuntimeError("a fault"),
            }[self.error]
        return super().forward(x)


@pytest.mark.parametrize("error", ["torch", "cpu"])
def test_batch_is_halved_until_it_fits_and_the_size_remembered(error, log, X):
    extractor = RoutingFeatureExtractor(Hungry(error, log), cache=False, batch_size=40)
    columns = extractor.fit_transform(X)
    # 40 and 20 and 10 fail, 5 fits.
    assert rows_in(log) == 40 + 20 + 10 + N_ROWS
    expected = RoutingFeatureExtractor(Counting(), cache=False).fit_transform(X)
    np.testing.assert_allclose(columns, expected, atol=1e-6)
    extractor.transform(X)
    assert rows_in(log) == 70 + 2 * N_ROWS


def test_other_errors_are_raised_at_once(log, X):
    with pytest.raises(RuntimeError, match="a fault"):
        RoutingFeatureExtractor(Hungry("other", log), batch_size=40).fit(X)
    assert rows_in(log) == 40


def test_a_single_row_that_does_not_fit_raises(X):
    class Starving(Counting):
        def forward(self, x):
            raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        RoutingFeatureExtractor(Starving(), cache=False, batch_size=4).fit(X)


# --- inputs ------------------------------------------------------------------------------------


def test_frames_tensors_and_arrays_agree(extractor, X):
    expected = extractor.fit_transform(X)
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = clone(extractor).fit(frame)
    np.testing.assert_array_equal(named.transform(frame), expected)
    assert named.feature_names_in_.tolist() == list("abcd")
    np.testing.assert_array_equal(clone(extractor).fit_transform(torch.tensor(X)), expected)
    with pytest.raises(ValueError, match="feature names"):
        named.transform(frame[list("dcba")])


def test_images_keep_their_axes(extractor):
    images = np.random.default_rng(0).integers(256, size=(6, 2, 2, 3)).astype(np.uint8)
    scaled = clone(extractor).set_params(preprocess=to_unit)
    columns = scaled.fit_transform(images)
    rows = torch.tensor(images.reshape(6, -1) / 255, dtype=torch.float32)
    with torch.inference_mode():
        expected = scaled.backbone.module.eval()(rows).numpy()
    np.testing.assert_allclose(columns[:, :3], expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"shape \(2, 3\), but `fit` saw \(2, 2, 3\)"):
        scaled.transform(images[:, 0])


def to_unit(images):
    return images.astype(np.float32) / 255


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.full((3, 4), np.nan), ValueError, "NaN"),
        (np.empty((0, 4)), ValueError, "0 sample"),
        (np.ones(4), ValueError, "2D array"),
        (["a text"], ValueError, "no tokenizer"),
        ("a text", TypeError, "a single text"),
    ],
)
def test_input_that_cannot_be_used_is_refused(extractor, X, error, message):
    with pytest.raises(error, match=message):
        extractor.fit(X)


def test_kind_of_input_is_that_of_fit(extractor, X):
    extractor.fit(X)
    with pytest.raises(ValueError, match="4 features as input"):
        extractor.transform(np.ones((2, 5)))


class Silent(nn.Module):
    """Routes nowhere."""

    def forward(self, x):
        return x[:, :3]


class Infinite(Counting):
    """Overflows for one row."""

    def forward(self, x):
        return super().forward(x) / (x[:, :1] != 0)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"backbone": None}, ValueError, "`backbone` is missing"),
        ({"backbone": "resnet"}, TypeError, "must be a Backbone or a torch module"),
        ({"backbone": Silent()}, ValueError, "routes nowhere.*register_router"),
        ({"backbone": Infinite()}, ValueError, "not finite for 1 of"),
        ({"outputs": "probabilities"}, ValueError, "`outputs` must be one of"),
        ({"outputs": "options"}, ValueError, "at least two `option_tokens`"),
        ({"option_tokens": [1, 2]}, ValueError, "`outputs` is not 'options'"),
        ({"outputs": "options", "option_tokens": [1, 1]}, ValueError, "must differ"),
        ({"outputs": "options", "option_tokens": ["A", "B"]}, ValueError, "no tokenizer"),
        ({"classes": ["a", "b"]}, ValueError, "`classes` must name 3 different"),
        ({"summaries": "entropies"}, ValueError, "`summaries` must be one of"),
        ({"summaries": "embedding_weight"}, ValueError, "has 2 router sites"),
        ({"token_reduction": "max"}, ValueError, "`token_reduction` must be one of"),
        ({"token_order": "none"}, ValueError, "`token_order` must be one of"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
        ({"batch_size": 2.0}, TypeError, "`batch_size` must be an integer"),
        ({"device": 0}, TypeError, "`device` must be the name"),
        ({"device": "tpu9"}, ValueError, "tpu9"),
        ({"dtype": "int8"}, ValueError, "`dtype` must be one of"),
        ({"padding_side": "top"}, ValueError, "`padding_side` must be one of"),
        ({"max_length": 0}, ValueError, "`max_length` must be at least 1"),
        ({"preprocess": 3}, TypeError, "`preprocess` must be callable"),
        ({"cache": 3}, TypeError, "`cache` must be True, False or a folder"),
        ({"cache_max_bytes": 0}, ValueError, "`cache_max_bytes` must be at least 1"),
        ({"on_miss": "skip"}, ValueError, "`on_miss` must be one of"),
    ],
)
def test_parameter_that_cannot_be_used_is_refused(extractor, parameters, error, message, X):
    X[3, 0] = 0
    with pytest.raises(error, match=message):
        extractor.set_params(**parameters).fit(X)


def test_network_without_routes_still_gives_scores(X):
    columns = RoutingFeatureExtractor(Silent(), summaries=()).fit_transform(X)
    np.testing.assert_allclose(columns, X[:, :3], atol=1e-6)


def test_bad_rows_are_not_kept(X):
    extractor = RoutingFeatureExtractor(Infinite(), batch_size=10)
    X[15, 0] = 0
    with pytest.raises(ValueError, match="not finite"):
        extractor.fit(X)
    X[15, 0] = 1
    assert np.isfinite(extractor.fit_transform(X)).all()


# --- precision ---------------------------------------------------------------------------------


def test_double_precision_stays_double(X):
    module = Counting().double()
    columns = RoutingFeatureExtractor(module, summaries=()).fit_transform(X)
    with torch.inference_mode():
        expected = module.eval()(torch.tensor(X)).numpy()
    np.testing.assert_allclose(columns, expected, rtol=1e-14)


def test_half_precision_is_near(extractor, X):
    full = extractor.fit_transform(X)
    half = clone(extractor).set_params(dtype="bfloat16").fit_transform(X)
    assert 1e-6 < np.abs(half - full).max() < 0.2


# --- in scikit-learn ---------------------------------------------------------------------------


def test_routing_transformer_of_the_cross_fitted_wrapper(X):
    y = X[:, :3].argmax(axis=1)
    router = RoutingFeatureExtractor(Counting(), outputs=None)
    model = RoutingCalibratedClassifierCV(
        LogisticRegression(),
        routing_transformer=router,
        calibrator=NWConditionalCalibrator(bandwidth="scott"),
        cv=3,
    ).fit(X, y)
    names = model.calibrated_classifiers_[0].calibration_columns(X).columns
    assert names[-2:] == list(router.fit(X).get_feature_names_out())
    assert model.predict_proba(X).shape == (N_ROWS, 3)


def test_threads_share_one_network(extractor, log, X):
    from joblib import parallel_config
    from sklearn.pipeline import make_pipeline

    y = X[:, :3].argmax(axis=1)
    pipeline = make_pipeline(extractor, LogisticRegression())
    with parallel_config("threading", n_jobs=2):
        predicted = cross_val_predict(pipeline, X, y, cv=6)
    assert predicted.shape == (N_ROWS,)
    expected = cross_val_predict(pipeline, X, y, cv=6)
    np.testing.assert_array_equal(predicted, expected)


class AnyWidth(Counting):
    """For scikit-learn's checks, whose tables have one to twenty columns."""


@parametrize_with_checks([RoutingFeatureExtractor(Backbone(AnyWidth(n_inputs=2)))])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_the_whole_suite_is_run():
    assert len(list(estimator_checks_generator(RoutingFeatureExtractor(Gate(2, 2))))) >= 45
