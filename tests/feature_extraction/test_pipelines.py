"""Whole pipelines in a grid search: networks of every kind, in one process and in several."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_arcal import (
    Backbone,
    NWConditionalCalibrator,
    RoutingFeatureExtractor,
    TemperatureScaler,
    routing_audit,
)
from sk_arcal.models import VisionTransformerClassifier
from tests.feature_extraction.counting import Counting, rows_in

ROOT = Path(__file__).parents[2]


def searched(extractor, X, y, grid, calibrator=None, n_jobs=None):
    """Return a fitted search over a pipeline of extractor and calibrator."""
    calibrator = NWConditionalCalibrator(bandwidth="scott") if calibrator is None else calibrator
    pipeline = Pipeline([("extractor", extractor), ("calibrator", calibrator)])
    return GridSearchCV(pipeline, grid, cv=3, n_jobs=n_jobs, error_score="raise").fit(X, y)


# --- a trained network with attention residuals ------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=False)


@pytest.fixture(scope="module")
def trained(digits):
    model = VisionTransformerClassifier(
        patch_size=2, width=16, depth=2, residual="full", max_epochs=4, random_state=0
    )
    return model.fit(digits.images[:900], digits.target[:900])


def test_search_around_a_trained_network(trained, digits):
    X, y = digits.images[900:], digits.target[900:]
    extractor = RoutingFeatureExtractor(Backbone(trained.module_))
    grid = {
        "extractor__summaries": ["auto", ["mean_max_weight", "mean_embedding_weight"]],
        "calibrator__bandwidth_scale": [1.0, 2.0],
    }
    search = searched(extractor, X, y, grid)
    accuracy = trained.score(X, y)
    assert search.best_score_ == pytest.approx(accuracy, abs=0.02)
    logits = search.best_estimator_["extractor"].extract(X).scores
    np.testing.assert_allclose(logits, trained.decision_function(X), atol=1e-5)


def test_weights_in_the_profile_are_those_the_network_returns(trained, digits):
    X = digits.images[900:930]
    profile = RoutingFeatureExtractor(trained.module_).extract(X).profile
    own = trained.routing_weights(X)
    assert [site.path for site in profile.sites] == list(own)
    assert {site.kind for site in profile.sites} == {"depth"}
    for site, weights in zip(profile.sites, own.values(), strict=True):
        np.testing.assert_allclose(profile.site_weights(site.label), weights, atol=1e-6)


def test_columns_go_straight_into_the_audit(trained, digits):
    X, y = digits.images[900:], digits.target[900:]
    extractor = RoutingFeatureExtractor(trained.module_).set_output(transform="pandas")
    columns = extractor.fit_transform(X)
    audit = routing_audit(
        y,
        logits=columns.filter(like="logit__").to_numpy(),
        routing=columns.filter(like="routing__"),
        n_resamples=99,
        random_state=0,
    )
    assert set(columns.filter(like="routing__")) <= set(audit.features)


# --- real architectures ------------------------------------------------------------------------

FAMILIES = {
    "mixtral": ("MixtralForCausalLM", {}),
    "olmoe": ("OlmoeForCausalLM", {}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", {"num_key_value_heads": 4}),
    "gpt_oss": ("GptOssForCausalLM", {}),
    "inkling2": (
        "Inkling2ForCausalLM",
        {"layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"]},
    ),
}


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    return [rng.integers(3, 64, size=n) for n in rng.integers(2, 9, size=48)]


@pytest.mark.parametrize("family", FAMILIES)
def test_search_around_a_language_model(family, prompts):
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    from tests.feature_extraction.tiny_models import tiny

    name, sizes = FAMILIES[family]
    model = tiny(family, name, **sizes)
    counted = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: counted.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    extractor = RoutingFeatureExtractor(
        Backbone(model), outputs="options", option_tokens=[3, 4, 5], batch_size=16
    )
    y = extractor.extract(prompts).prediction
    y[::3] = np.arange(16) % 3
    grid = {"extractor__summaries": ["auto", ["mean_max_weight"]]}
    search = searched(extractor, prompts, y, grid, calibrator=TemperatureScaler())
    hook.remove()
    assert sum(counted) == len(prompts)
    assert search.predict_proba(prompts).shape == (48, 3)
    kinds = {site.kind for site in search.best_estimator_["extractor"].sites_}
    assert kinds == ({"router", "depth"} if family == "inkling2" else {"router"})


# --- several processes -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    return X, X[:, :3].argmax(axis=1)


C = {"calibrator__C": [0.01, 0.1, 1.0, 10.0]}


@pytest.mark.parametrize(("n_jobs", "most"), [(1, 600), (2, 1000)])
def test_grid_forwards_each_row_once_and_a_second_process_none(n_jobs, most, table, tmp_path):
    # Named, because joblib's workers outlive a test and keep the environment of an earlier one.
    log, cache = tmp_path / "rows.log", str(tmp_path / "cache")
    extractor = RoutingFeatureExtractor(Backbone(Counting(log)), batch_size=32, cache=cache)
    search = searched(extractor, *table, C, LogisticRegression(), n_jobs)
    assert 600 <= rows_in(log) <= most
    before = rows_in(log)
    scores = in_a_new_process(
        f"""
        from sklearn.linear_model import LogisticRegression
        from tests.feature_extraction.test_pipelines import C, searched
        X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
        backbone = Backbone(Counting({str(log)!r}))
        extractor = RoutingFeatureExtractor(backbone, batch_size=32, cache={cache!r})
        y = X[:, :3].argmax(axis=1)
        print(searched(extractor, X, y, C, LogisticRegression(), {n_jobs}).best_score_)
        """
    )
    assert rows_in(log) == before
    assert float(scores) == search.best_score_


def test_a_killed_extraction_goes_on_where_it_was(table, tmp_path):
    log, order = tmp_path / "rows.log", tmp_path / "rows.log.dies_at"
    order.write_text("200")
    code = (
        "import numpy as np\n"
        "from sk_arcal import Backbone, RoutingFeatureExtractor\n"
        "from tests.feature_extraction.counting import Counting\n"
        "X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)\n"
        f"module = Counting({str(log)!r})\n"
        "RoutingFeatureExtractor(Backbone(module), batch_size=32).fit(X)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=240, check=False)
    assert done.returncode == -signal.SIGKILL
    assert rows_in(log) == 224
    order.unlink()
    extractor = RoutingFeatureExtractor(Backbone(Counting(log)), batch_size=32)
    columns = extractor.fit_transform(table[0])
    # Only the batch in flight was lost.
    assert rows_in(log) == 600 + 32
    whole = RoutingFeatureExtractor(Backbone(Counting()), cache=False).fit_transform(table[0])
    np.testing.assert_allclose(columns, whole, atol=1e-6)


def test_workers_take_batches_in_different_orders_and_all_of_them(monkeypatch):
    from sk_arcal.feature_extraction._extraction import _run

    lengths = np.repeat([3, 9, 5], 20)
    alone = _run._forwarding_order(lengths, 8)
    assert (np.diff(lengths[alone]) <= 0).all()
    monkeypatch.setattr(_run, "in_worker_process", lambda: True)
    orders = []
    for pid in (100, 101, 102):
        monkeypatch.setattr(_run.os, "getpid", lambda pid=pid: pid)
        order = _run._forwarding_order(lengths, 8)
        np.testing.assert_array_equal(np.sort(order), np.arange(60))
        orders.append(order[:8].tolist())
    assert orders[0] != orders[1] != orders[2]


def test_worker_on_a_gpu_refuses_and_says_what_to_do(table, tmp_path, monkeypatch):
    from sk_arcal.feature_extraction._extraction import _parameters

    monkeypatch.setattr(_parameters, "in_worker_process", lambda: True)
    assert _parameters.may_forward("auto", "cpu")
    assert not _parameters.may_forward("auto", "cuda:1")
    assert _parameters.may_forward("compute", "cuda")
    assert not _parameters.may_forward("raise", "cpu")
    monkeypatch.setattr(_parameters, "in_worker_process", lambda: False)
    assert _parameters.may_forward("auto", "cuda:1")


def test_worker_processes_know_that_they_are(tmp_path):
    from joblib import Parallel, delayed

    from sk_arcal.feature_extraction._extraction._worker import in_worker_process

    assert not in_worker_process()
    assert Parallel(n_jobs=2)(delayed(in_worker_process)() for _ in range(2)) == [True, True]


def test_ranks_share_the_rows_and_fill_one_cache(table, tmp_path):
    pytest.importorskip("accelerate", reason="the extra hf is not installed")
    log = tmp_path / "rows.log"
    script = tmp_path / "prefill.py"
    script.write_text(
        "import numpy as np\n"
        "from sk_arcal import Backbone, RoutingFeatureExtractor\n"
        "from tests.feature_extraction.counting import Counting\n"
        "X = np.random.default_rng(0).normal(size=(601, 4)).astype(np.float32)\n"
        f"extractor = RoutingFeatureExtractor(Backbone(Counting({str(log)!r})), batch_size=32)\n"
        "extractor.prefill(X, progress=False)\n"
        "extractor.set_params(on_miss='raise').fit(X)\n",
        encoding="utf-8",
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run_in_checkout([*launcher, str(script)])
    assert rows_in(log) == 601
    assert sorted(set(log.read_text().split())) == ["12", "13", "32"]


def in_a_new_process(code):
    """Return what Python code prints in a process of its own."""
    from textwrap import dedent

    head = (
        "import numpy as np\n"
        "from sk_arcal import Backbone, RoutingFeatureExtractor\n"
        "from tests.feature_extraction.counting import Counting\n"
    )
    return run_in_checkout([sys.executable, "-c", head + dedent(code)])


def run_in_checkout(command):
    """Run a command with the checkout on the path, and this test's cache."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
