"""The extractor of layers: what is in it, that nothing is forwarded twice, and how it behaves."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sk_arcal.calibration import LinearReadout
from sk_arcal.feature_extraction import Backbone, LayerExtractor, LayerReadout
from sk_arcal.feature_extraction._lens import _source
from sk_arcal.models import TabularTransformer, VisionTransformer
from tests.feature_extraction.backbones import run_python
from tests.feature_extraction.counting import rows_in

N_ROWS = 30
RESIDUALS = ("none", "block", "full")


class Logged(TabularTransformer):
    """Notes the rows that it is given."""

    def __init__(self, log="", n_classes=3, **kwargs):
        torch.manual_seed(0)
        super().__init__(4, n_classes, width=8, depth=2, n_heads=2, **kwargs)
        self.log = str(log)
        stir(self)

    def embed(self, x):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{len(x)}\n")
        return super().embed(x)


@torch.no_grad()
def stir(module):
    """Draw what starts at zero or one, so that reads and norms say something."""
    for name, values in module.named_parameters():
        if name.endswith(("query", "key_gain")) or name.startswith(("norm", "head")):
            values.add_(torch.randn_like(values))


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(N_ROWS, 4)).astype(np.float32)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "rows.log"


@pytest.fixture
def extractor(log):
    # The first row is forwarded twice more, to check the lens against the network.
    return LayerExtractor(Backbone(Logged(log)), batch_size=8)


def logits_of(module, X):
    with torch.inference_mode():
        return module.eval()(torch.as_tensor(X)).numpy()


# --- our own networks --------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("residual", RESIDUALS)
def test_last_layer_is_the_network(residual, pooling, X):
    module = Logged(residual=residual, pooling=pooling, n_blocks=2)
    readout = LayerExtractor(module, cache=False).extract(X)
    assert readout.scores.shape == (N_ROWS, 3, 3)
    assert readout.layers == ("0", "1", "2")
    np.testing.assert_allclose(readout.scores[:, -1], logits_of(module, X), atol=1e-5)
    np.testing.assert_array_equal(readout.prediction, logits_of(module, X).argmax(axis=1))
    assert np.abs(readout.scores[:, 0] - readout.scores[:, 1]).max() > 0.1


@pytest.mark.parametrize("residual", RESIDUALS)
def test_images(residual):
    torch.manual_seed(0)
    module = VisionTransformer(
        (8, 8, 3), 5, width=8, depth=2, n_heads=2, residual=residual, n_blocks=2
    )
    stir(module)
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    readout = LayerExtractor(module, cache=False).extract(images)
    np.testing.assert_allclose(readout.scores[:, -1], logits_of(module, images), atol=1e-5)


@pytest.mark.parametrize(("pooling", "norm"), [("cls", "layer"), ("mean", "none")])
def test_readout_as_arrays_gives_the_lens(pooling, norm, X):
    extractor = LayerExtractor(Logged(pooling=pooling), cache=False)
    scores = extractor.extract(X).scores
    states = extractor.set_params(readout="hidden").extract(X).hidden
    readout = extractor.linear_readout()
    assert readout["norm"] == norm
    if norm == "layer":
        centred = states - states.mean(axis=2, keepdims=True)
        deviation = np.sqrt(centred.var(axis=2, keepdims=True) + readout["eps"])
        states = centred / deviation * readout["norm_weight"] + readout["norm_bias"]
    np.testing.assert_allclose(states @ readout["weight"].T + readout["bias"], scores, atol=1e-4)
    assert (readout["scale"], readout["softcap"]) == (1.0, None)


def test_readout_of_the_calibration_package_takes_it(X):
    for pooling in ("cls", "mean"):
        extractor = LayerExtractor(Logged(pooling=pooling), cache=False)
        readout = LinearReadout.from_dict(extractor.linear_readout())
        states = clone(extractor).set_params(readout="hidden").extract(X).hidden
        np.testing.assert_allclose(readout.logits(states), extractor.extract(X).scores, atol=1e-4)


def test_layers_may_be_chosen(extractor, X):
    whole = extractor.extract(X)
    some = clone(extractor).set_params(layers=[2, -3]).extract(X)
    assert some.layers == ("2", "0")
    np.testing.assert_allclose(some.scores, whole.scores[:, [2, 0]], atol=1e-6)
    first = clone(extractor).set_params(layers=[0]).extract(X)
    np.testing.assert_array_equal(first.prediction, whole.prediction)


class Own(nn.Module):
    """Has the two methods, right or wrong."""

    def __init__(self, shift=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.head, self.shift = nn.Linear(4, 2), shift

    def read_layers(self, x):
        states = [x]
        for layer in self.maps:
            states.append(torch.tanh(layer(states[-1])))
        return torch.stack(states, dim=1)

    def layer_readout(self):
        return None, self.head

    def forward(self, x):
        return self.head(self.read_layers(x)[:, -1]) + self.shift


def test_any_network_may_say_what_its_layers_hold(X):
    readout = LayerExtractor(Own(), cache=False).extract(X)
    np.testing.assert_allclose(readout.scores[:, -1], logits_of(Own(), X), atol=1e-6)
    with pytest.raises(ValueError, match="do not belong to its `forward`"):
        LayerExtractor(Own(shift=0.5), cache=False).extract(X)


# --- states of any network ---------------------------------------------------------------------


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.second = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 5, 3)
        self.head, self.unused = nn.Linear(5, 2), nn.Linear(2, 2)

    def forward(self, x):
        maps = torch.relu(self.second(torch.relu(self.stem(x))))
        return self.head(maps.mean(dim=(2, 3)))


def test_outputs_of_modules_by_path():
    module, images = Convolutions(), torch.randn(4, 1, 8, 8)
    extractor = LayerExtractor(
        module, readout="hidden", layers=["stem", "second", "head"], cache=False
    )
    readout = extractor.extract(images)
    with torch.inference_mode():
        stem = module.stem(images)
        second = module.second(torch.relu(stem))
        logits = module(images).numpy()
    assert readout.widths == (3, 5, 2)
    assert readout.scores is None
    np.testing.assert_allclose(readout.hidden[:, 0, :3], stem.mean(dim=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(readout.hidden[:, 1], second.mean(dim=(2, 3)), atol=1e-6)
    np.testing.assert_allclose(readout.hidden[:, 2, :2], logits, atol=1e-6)
    assert not readout.hidden[:, 0, 3:].any()
    np.testing.assert_array_equal(readout.prediction, logits.argmax(axis=1))
    names = extractor.fit(images).get_feature_names_out()
    assert len(names) == 10
    assert names[[0, 3, 9]].tolist() == [
        "layer__stem__hidden__0",
        "layer__second__hidden__0",
        "layer__head__hidden__1",
    ]


@pytest.mark.parametrize("token", ["last", "mean", "cls"])
def test_tokens_of_modules_are_reduced(token):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    module = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    rows = torch.randn(3, 5, 8)
    by_path = LayerExtractor(module, readout="hidden", layers=["0"], token=token, cache=False)
    by_number = clone(by_path).set_params(layers=[1])
    with torch.inference_mode():
        tokens = module.eval()(rows)
    expected = {"last": tokens[:, -1], "mean": tokens.mean(dim=1), "cls": tokens[:, 0]}[token]
    for extractor in (by_path, by_number):
        np.testing.assert_allclose(extractor.extract(rows).hidden[:, 0], expected, atol=1e-5)


# --- nothing is forwarded twice ----------------------------------------------------------------

PROBES = 2


def test_rows_are_forwarded_once(extractor, log, X):
    extractor.fit(X)
    assert rows_in(log) == N_ROWS + PROBES
    extractor.transform(X[::-1])
    clone(extractor).set_params(batch_size=3, classes=["a", "b", "c"]).fit(X[10:])
    list(clone(extractor).extract_chunks(X))
    assert rows_in(log) == N_ROWS + PROBES


@pytest.mark.parametrize(
    "setting",
    [{"readout": "hidden"}, {"layers": [1]}, {"token": "mean"}, {"dtype": "bfloat16"}],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_that_change_a_record_are_not_mixed_up(extractor, log, setting, X):
    extractor.fit(X)
    n_before = rows_in(log)
    clone(extractor).set_params(**setting).fit(X)
    assert rows_in(log) >= n_before + N_ROWS


def test_another_process_forwards_none(extractor, X, tmp_path):
    scores = extractor.extract(X).scores
    path = tmp_path / "extractor.pkl"
    path.write_bytes(pickle.dumps((extractor.set_params(on_miss="raise"), X)))
    code = (
        "import pickle, sys; extractor, X = pickle.load(open(sys.argv[1], 'rb'));"
        "print(extractor.extract(X).scores.sum())"
    )
    assert float(run_python(code, path)) == pytest.approx(float(scores.sum()), rel=1e-5)


def test_rows_that_are_missing_may_be_refused_and_prefilled(extractor, X):
    strict = clone(extractor).set_params(on_miss="raise")
    with pytest.raises(RuntimeError, match="8 of 8 rows"):
        strict.extract(X)
    extractor.prefill(X, progress=False)
    assert len(strict.extract(X)) == N_ROWS
    with pytest.raises(ValueError, match="nothing to prefill"):
        LayerExtractor(Own(), cache=False).prefill(X)


def test_chunks_are_bounded_and_make_the_whole(extractor, X, monkeypatch):
    whole = extractor.extract(X)
    monkeypatch.setattr(_source, "_WINDOW_BYTES", 1)
    chunks = list(extractor.extract_chunks(X))
    assert [rows.stop - rows.start for rows, _ in chunks] == [8, 8, 8, 6]
    joined = LayerReadout.concatenate([part for _, part in chunks])
    np.testing.assert_array_equal(joined.scores, whole.scores)
    np.testing.assert_array_equal(joined.prediction, whole.prediction)


# --- as a transformer --------------------------------------------------------------------------


def test_columns(extractor, X):
    columns = extractor.fit_transform(X)
    np.testing.assert_array_equal(columns, extractor.extract(X).scores.reshape(N_ROWS, -1))
    assert extractor.get_feature_names_out()[[0, 8]].tolist() == [
        "layer__0__logit__0",
        "layer__2__logit__2",
    ]
    assert extractor.layers_ == ("0", "1", "2")
    assert extractor.n_features_in_ == 4


def test_two_classes_share_a_column_of_log_odds(X):
    extractor = LayerExtractor(Logged(n_classes=2), classes=["no", "yes"], cache=False)
    columns = extractor.fit_transform(X)
    scores = extractor.extract(X).scores
    np.testing.assert_allclose(columns, scores[..., 1] - scores[..., 0], atol=1e-6)
    assert extractor.get_feature_names_out()[0] == "layer__0__logit__yes"


def test_frames_in_and_out(extractor, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    out = extractor.set_output(transform="pandas").fit_transform(frame)
    assert list(out.columns) == extractor.get_feature_names_out().tolist()
    assert extractor.feature_names_in_.tolist() == list("abcd")


def test_grid_search_over_layers(extractor, log, X):
    y = np.arange(N_ROWS) % 3
    pipeline = make_pipeline(extractor, LogisticRegression(max_iter=1000))
    grid = {"layerextractor__layers": [[0], [2]], "logisticregression__C": [0.1, 1.0]}
    GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    n_forwarded = rows_in(log)
    GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    assert rows_in(log) == n_forwarded


def test_module_is_shared_by_clones(X):
    module = Own()
    assert clone(LayerExtractor(module)).backbone is module
    with pytest.raises(NotFittedError):
        LayerExtractor(module).transform(X)


def for_checks():
    net = Backbone.from_factory("tests.feature_extraction.test_layer_extractor:narrow_or_wide")
    return LayerExtractor(net, readout="hidden", layers=["cut"], cache=False)


class Cut(nn.Module):
    """Takes tables of any width."""

    def __init__(self):
        super().__init__()
        self.cut = nn.Identity()

    def forward(self, x):
        return self.cut(nn.functional.pad(x.flatten(1), (0, 4))[:, :4])


def narrow_or_wide():
    return Cut()


@parametrize_with_checks([for_checks()])
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"readout": "logits"}, ValueError, "`readout` must be one of"),
        ({"outputs": "confidence"}, ValueError, "`outputs` must be one of"),
        ({"token": "first"}, ValueError, "`token` must be one of"),
        ({"layers": "some"}, ValueError, "`layers` must be one of"),
        ({"layers": []}, ValueError, "at least one layer"),
        ({"layers": [0, 3]}, ValueError, "to 2, the output of the last; got .0, 3."),
        ({"layers": [2, -1]}, ValueError, "different numbers"),
        ({"layers": [0.5]}, TypeError, "`layers` must be an integer"),
        ({"layers": ["norm"]}, ValueError, "paths of modules, which have no lens"),
        ({"layers": ["x"], "readout": "hidden"}, ValueError, "names 'x', which Logged does not"),
        ({"layers": ["norm", "norm"], "readout": "hidden"}, ValueError, "names a module twice"),
        ({"classes": ["a", "b"]}, ValueError, "`classes` must name 3 different"),
        ({"option_tokens": [1, 2]}, ValueError, "`outputs` is not 'options'"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"backbone": None}, ValueError, "`backbone` is missing"),
        ({"backbone": 3}, TypeError, "`backbone` must be a Backbone"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_parameters_that_cannot_be_used(extractor, setting, error, message, X):
    with pytest.raises(error, match=message):
        extractor.set_params(**setting).fit(X)


def test_module_that_is_not_called_or_called_twice():
    images = torch.randn(2, 1, 8, 8)
    extractor = LayerExtractor(Convolutions(), readout="hidden", layers=["unused"], cache=False)
    with pytest.raises(ValueError, match="'unused', which a forward pass does not call"):
        extractor.extract(images)
    shared = nn.Linear(3, 3)
    twice = LayerExtractor(
        nn.Sequential(shared, nn.Sequential(shared)), readout="hidden", layers=["0"], cache=False
    )
    with pytest.raises(ValueError, match="'0' is called several times"):
        twice.extract(torch.randn(2, 3))


def test_options_of_a_language_model():
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    from tests.feature_extraction.tiny_models import tiny

    model = tiny("qwen3", "Qwen3ForCausalLM")
    rows = [[5, 6, 7], [8, 9], [4]]
    whole = LayerExtractor(model, cache=False).extract(rows).scores
    extractor = LayerExtractor(model, outputs="options", option_tokens=[7, 3], cache=False)
    readout = extractor.extract(rows)
    np.testing.assert_allclose(readout.scores, whole[:, :, [7, 3]], atol=1e-6)
    np.testing.assert_array_equal(readout.prediction, whole[:, -1][:, [7, 3]].argmax(axis=1))
    np.testing.assert_array_equal(
        extractor.linear_readout()["weight"], model.lm_head.weight[[7, 3]].detach().numpy()
    )
    assert extractor.fit(rows).get_feature_names_out()[0] == "layer__0__logit__3"
    hidden = clone(extractor).set_params(readout="hidden").extract(rows)
    np.testing.assert_array_equal(hidden.prediction, readout.prediction)
