"""The calibration direction: the exact identity, the scale, the methods, scikit-learn."""

import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_X_y

from sk_arcal.calibration import CalibrationDirection, LinearReadout
from sk_arcal.calibration._layers._optimised_shift import ShiftObjective, optimised_shift
from sk_arcal.calibration._layers._row_space import project_out
from sk_arcal.calibration._layers._scale_path import path_row, scale_path
from sk_arcal.calibration._layers._shifted_states import ShiftedStates
from sk_arcal.metrics import top_label_calibration_error

WIDTH, CLASSES = 16, 3


def _readout(norm="rms", seed=0, **other):
    rng = np.random.default_rng(seed)
    gain = None if norm == "none" else rng.normal(1, 0.2, WIDTH)
    weight = 2.5 * rng.normal(size=(CLASSES, WIDTH)) / 2
    return LinearReadout(weight, norm=norm, norm_weight=gain, **other)


def _rows(readout, n=1200, seed=1, temperature=2.5):
    """Over-confident rows, and later states that are longer where the read-out cannot see."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, WIDTH))
    logits = readout.logits(hidden) / temperature
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    later = hidden + 1.5 * rng.normal(1, 0.3, size=(n, WIDTH))
    return hidden, y, later


def _fit(readout=None, rows=None, **parameters):
    readout = _readout() if readout is None else readout
    hidden, y, later = _rows(readout) if rows is None else rows
    direction = CalibrationDirection(**{"random_state": 0} | parameters)
    return direction.fit(hidden, y, readout=readout, reference=later)


# --- the identity ------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_an_unseen_shift_is_a_temperature_of_each_row(norm, dtype, tolerance):
    readout = _readout(norm, eps=1e-3)
    direction = _fit(readout)
    assert direction.scale_ != 0
    hidden = np.random.default_rng(2).normal(size=(400, WIDTH)).astype(dtype)
    shifted = direction.transform(hidden)
    assert shifted.dtype == dtype

    def root(h):
        square = (
            (h.astype(float) ** 2).mean(axis=1) if norm == "rms" else h.astype(float).var(axis=1)
        )
        return np.sqrt(square + 1e-3)[:, None]

    before, after = readout.logits(hidden), readout.logits(shifted)
    centred = [z - z.mean(axis=1, keepdims=True) for z in (before, after)]
    expected = centred[0] * root(hidden) / root(shifted)
    np.testing.assert_allclose(centred[1], expected, atol=tolerance * np.abs(before).max())
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))


def test_with_a_cap_no_prediction_changes_either():
    readout = _readout(softcap=4.0)
    hidden = _rows(readout)[0]
    direction = _fit(readout)
    np.testing.assert_allclose(readout.row_space() @ direction.directions_[0], 0, atol=1e-12)
    before = readout.logits(hidden).argmax(axis=1)
    np.testing.assert_array_equal(direction.predict(hidden), before)


@pytest.mark.parametrize("norm", ["none", "rms", "layer"])
def test_shifted_states_are_the_read_out_of_shifted_rows(norm):
    rng = np.random.default_rng(3)
    bias = None if norm == "none" else rng.normal(size=WIDTH)
    readout = _readout(
        norm, norm_bias=bias, bias=rng.normal(size=CLASSES), scale=0.6, softcap=3.0, eps=0.1
    )
    hidden, shift = rng.normal(1, 1, size=(30, WIDTH)), rng.normal(size=WIDTH)
    along = ShiftedStates(readout, hidden).along(shift)
    for scale in (0.0, -1.3, 5.0):
        np.testing.assert_allclose(along(scale), readout.logits(hidden + scale * shift), rtol=1e-10)


# --- directions --------------------------------------------------------------------------------


def test_correction_is_the_mean_shift_of_the_fitted_half():
    hidden, _y, later = _rows(_readout())
    direction = _fit(null_space=False)
    half = ~direction.calibration_rows_["held_out"]
    assert half.sum() == 600
    mean = (later - hidden)[half].mean(axis=0)
    np.testing.assert_allclose(direction.directions_[0], mean / np.linalg.norm(mean), atol=1e-12)


def test_components_are_the_leading_axes_and_mix_to_the_mean_shift_within_them():
    hidden, _y, later = _rows(_readout())
    direction = _fit(null_space=False, n_components=3)
    half = ~direction.calibration_rows_["held_out"]
    difference = (later - hidden)[half]
    axes = np.linalg.svd(difference, full_matrices=False)[2][:3]
    directions = direction.directions_
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(directions.T @ directions, axes.T @ axes, atol=1e-8)
    mean = axes.T @ axes @ difference.mean(axis=0)
    np.testing.assert_allclose(
        direction.coefficients_ @ directions, mean / np.linalg.norm(mean), atol=1e-8
    )
    assert np.linalg.norm(direction.coefficients_) == pytest.approx(1)


def test_components_from_fewer_rows_than_dimensions():
    readout = _readout()
    hidden, y, later = (array[:20] for array in _rows(readout))
    direction = _fit(readout, (hidden, y, later), null_space=False, n_components=2)
    half = ~direction.calibration_rows_["held_out"]
    axes = np.linalg.svd((later - hidden)[half])[2][:2]
    np.testing.assert_allclose(
        direction.directions_.T @ direction.directions_, axes.T @ axes, atol=1e-8
    )


def test_contrastive_is_right_less_overconfident_wrong():
    readout = _readout()
    hidden, y, _ = _rows(readout)
    direction = _fit(readout, method="contrastive", null_space=False)
    half = ~direction.calibration_rows_["held_out"]
    h, logits = hidden[half], readout.logits(hidden[half])
    right = logits.argmax(axis=1) == y[half]
    confidence = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None]).max(axis=1)
    wrong = ~right & (confidence >= np.median(confidence[~right]))
    contrast = h[right].mean(axis=0) - h[wrong].mean(axis=0)
    cosine = direction.directions_[0] @ contrast / np.linalg.norm(contrast)
    assert cosine == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize(("norm", "cap"), [("none", None), ("rms", 3.0), ("layer", None)])
def test_gradient_of_the_objective_is_that_of_finite_differences(norm, cap, project):
    rng = np.random.default_rng(4)
    bias = None if norm == "none" else rng.normal(size=WIDTH)
    readout = _readout(norm, norm_bias=bias, softcap=cap, scale=1.4, eps=0.05)
    hidden, y, _ = _rows(readout, n=40)
    basis = LinearReadout(rng.normal(size=(5, WIDTH))).row_space() if project else None
    objective = ShiftObjective(
        ShiftedStates(readout, hidden), y, unit=2.0, flip_penalty=0.7, ridge=0.1, basis=basis
    )
    u = rng.normal(size=WIDTH)
    u = u if basis is None else project_out(u, basis)
    numeric = approx_fprime(u, lambda v: objective(v)[0], 1e-7)
    np.testing.assert_allclose(objective(u)[1], numeric, atol=2e-5)


def test_the_flip_penalty_keeps_predictions():
    readout = _readout()
    hidden, y, _ = _rows(readout)
    before = readout.logits(hidden).argmax(axis=1)
    flips = []
    for penalty in (0.0, 1e4):
        objective = ShiftObjective(
            ShiftedStates(readout, hidden),
            np.where(y == 0, 1, y),
            unit=4.0,
            flip_penalty=penalty,
            ridge=1e-3,
            basis=None,
        )
        shift = optimised_shift(objective, WIDTH, 200)[0][0]
        flips.append((readout.logits(hidden + shift).argmax(axis=1) != before).mean())
    assert flips[0] > 0.1 > 10 * flips[1]


def test_optimised_beats_every_scale_of_the_mean_shift_on_its_own_rows():
    readout = _readout()
    hidden, y, _later = _rows(readout)
    best, mean = (_fit(readout, method=method) for method in ("optimised", "correction"))
    half = ~mean.calibration_rows_["held_out"]
    states = ShiftedStates(readout, hidden[half])
    losses = []
    for direction in (best, mean):
        along = states.along(direction.directions_[0])
        scales = np.linspace(-40, 40, 401)
        losses.append(min(path_row(along(scale), y[half])[3] for scale in scales))
    assert losses[0] < losses[1] + 1e-4


# --- the scale ---------------------------------------------------------------------------------


def test_the_path_is_measured_on_the_rows_held_out():
    readout = _readout()
    hidden, y, _ = _rows(readout)
    direction = _fit(readout)
    held_out = direction.calibration_rows_["held_out"]
    proba = direction.predict_proba(hidden[held_out])
    error = top_label_calibration_error(y[held_out], proba, labels=[0, 1, 2])
    assert direction.path_["ece"][direction.chosen_] == pytest.approx(error, abs=1e-9)
    assert direction.path_["scale"][direction.chosen_] == direction.scale_
    assert np.all(np.diff(direction.path_["scale"]) > 0)
    assert {len(column) for column in direction.path_.values()} == {len(direction.path_["scale"])}
    assert direction.path_["log_loss"][direction.chosen_] == direction.path_["log_loss"].min()
    # The unseen shift changes no prediction at any scale.
    assert np.ptp(direction.path_["accuracy"]) == 0


def test_over_confidence_is_corrected_on_new_rows():
    readout = _readout()
    direction = _fit(readout)
    hidden, y, _ = _rows(readout, n=4000, seed=9)
    before, after = (path_row(z, y) for z in (readout.logits(hidden), direction._logits(hidden)))
    assert after[1] < before[1] / 2
    assert after[3] < before[3]
    assert after[4] == before[4]


@pytest.mark.parametrize("criterion", ["ece", "log_loss"])
def test_the_accuracy_guard_refuses_scales_that_win_the_criterion(criterion):
    codes = np.repeat([0, 1], [90, 10])

    def logits(scale):
        # Right in 90 % and too sure at zero; right in 10 %, and saying little, at one.
        return np.tile([30.0 * (1 - scale) - 0.1 * scale, 0.0], (100, 1))

    grid = np.array([0.0, 1.0])
    chosen = {}
    for tolerance in (1.0, 0.8, 0.79, 0.0):
        path, row = scale_path(
            logits, codes, grid, criterion=criterion, tolerance=tolerance, refine=False
        )
        chosen[tolerance] = path["scale"][row]
    np.testing.assert_allclose(path["accuracy"], [0.9, 0.1])
    assert path["log_loss"][1] < path["log_loss"][0]
    free = float(path[criterion][1] < path[criterion][0])
    assert chosen == {1.0: free, 0.8: free, 0.79: 0.0, 0.0: 0.0}
    assert criterion == "ece" or free == 1.0


def test_the_refinement_finds_the_minimum_and_ties_take_the_smallest_scale():
    codes = np.array([0, 1] * 50)
    settings = {"criterion": "log_loss", "tolerance": 0.0, "refine": True}

    def logits(scale):
        return np.where(np.arange(2) == codes[:, None], -((scale - 0.37) ** 2), -1000.0)

    def saturated(scale):
        return np.where(np.arange(2) == codes[:, None], 0.0, min(abs(scale - 0.37) - 2, -1))

    path, row = scale_path(saturated, codes, np.array([-1.0, 0.0, 1.0]), **settings)
    assert path["scale"][row] == pytest.approx(0.37, abs=0.02)
    path, row = scale_path(logits, codes, np.array([-1.0, 0.0, 1.0]), **settings)
    assert path["scale"][row] == 0


def test_the_grid_grows_while_its_end_is_the_best():
    codes = np.zeros(50, dtype=int)
    codes[:10] = 1

    def logits(scale):
        return np.tile([np.log(4) * (1 - abs(np.log(max(scale, 1e-9) / 21.0))), 0.0], (50, 1))

    settings = {"criterion": "log_loss", "tolerance": 1.0}
    grid = np.array([-1.0, 0.0, 1.0])
    path, row = scale_path(logits, codes, grid, refine=True, **settings)
    assert path["scale"][row] == pytest.approx(21, rel=0.05)
    path, row = scale_path(logits, codes, grid, refine=False, **settings)
    np.testing.assert_array_equal(path["scale"], grid)


def test_no_shift_wins_where_nothing_is_wrong():
    direction = _fit(scales=[-3.0, 3.0], rows=_rows(_readout(), temperature=1.0))
    assert direction.scale_ == 0
    assert not direction.shift_.any()
    np.testing.assert_allclose(
        direction.path_["scale"], [-3 * direction.unit_, 0, 3 * direction.unit_]
    )
    hidden = _rows(_readout())[0]
    np.testing.assert_array_equal(direction.transform(hidden), hidden)


# --- scikit-learn ------------------------------------------------------------------------------


def test_named_labels_follow_the_given_order_of_the_read_out():
    readout = _readout()
    hidden, y, later = _rows(readout)
    names = np.array(["wasp", "ant", "bee"])
    direction = _fit(readout, (hidden, names[y], later), classes=names)
    plain = _fit(readout, (hidden, y, later))
    np.testing.assert_array_equal(direction.classes_, ["ant", "bee", "wasp"])
    np.testing.assert_allclose(
        direction.predict_proba(hidden), plain.predict_proba(hidden)[:, [1, 2, 0]]
    )
    np.testing.assert_array_equal(direction.predict(hidden), names[plain.predict(hidden)])


def test_two_classes_have_one_decision():
    weight = np.random.default_rng(5).normal(size=(2, WIDTH))
    readout = LinearReadout(weight, norm="rms")
    hidden, y, later = _rows(readout)
    direction = _fit(readout, (hidden, y, later))
    logits = readout.logits(direction.transform(hidden))
    np.testing.assert_allclose(direction.decision_function(hidden), logits[:, 1] - logits[:, 0])


@pytest.mark.parametrize("keep_rows", [True, False])
def test_a_pickle_predicts_the_same_and_names_no_private_class(keep_rows):
    direction = _fit(keep_rows=keep_rows)
    hidden = _rows(_readout())[0]
    text = pickle.dumps(direction)
    assert b"_linear_readout" not in text
    copy = pickle.loads(text)
    np.testing.assert_array_equal(copy.predict_proba(hidden), direction.predict_proba(hidden))
    assert (copy.calibration_rows_ is not None) == keep_rows


def test_a_step_of_a_pipeline_that_keeps_names():
    pandas = pytest.importorskip("pandas")
    readout = _readout()
    hidden, y, later = _rows(readout)
    frame = pandas.DataFrame(hidden, columns=[f"h{i}" for i in range(WIDTH)])
    step = CalibrationDirection(random_state=0).set_output(transform="pandas")
    pipeline = make_pipeline(step)
    pipeline.fit(
        frame, y, calibrationdirection__readout=readout, calibrationdirection__reference=later
    )
    shifted = pipeline.transform(frame)
    assert list(shifted) == list(frame)
    np.testing.assert_array_equal(shifted.to_numpy(), hidden + step.shift_)
    np.testing.assert_allclose(pipeline.predict_proba(frame), _fit(readout).predict_proba(hidden))


def test_a_dictionary_is_a_read_out_too():
    readout = _readout()
    hidden, y, later = _rows(readout)
    fits = [_fit(r, (hidden, y, later)) for r in (readout, readout.to_dict())]
    np.testing.assert_array_equal(fits[0].shift_, fits[1].shift_)


def test_controls_are_fitted_on_the_same_rows():
    direction = _fit(method="contrastive")
    random, again = (direction.control("random", random_state=7) for _ in range(2))
    np.testing.assert_array_equal(random.shift_, again.shift_)
    assert abs(random.directions_[0] @ direction.directions_[0]) < 0.9
    np.testing.assert_allclose(random.readout_.row_space() @ random.directions_[0], 0, atol=1e-12)
    for name in ("hidden", "held_out"):
        rows = [fit.calibration_rows_[name] for fit in (direction, random)]
        np.testing.assert_array_equal(*rows)
    shuffled = direction.control("shuffled", random_state=7)
    codes = [fit.calibration_rows_["codes"] for fit in (direction, shuffled)]
    assert (codes[0] != codes[1]).any()
    np.testing.assert_array_equal(*(np.bincount(part) for part in codes))
    assert shuffled.directions_[0] @ direction.directions_[0] < 0.99


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"method": "magic"}, "`method` must be one of"),
        ({"criterion": "brier"}, "`criterion` must be one of"),
        ({"method": "optimised", "n_components": 2}, "has one direction"),
        ({"validation_fraction": 1.0}, "`validation_fraction` must lie in"),
        ({"scales": [np.inf]}, "`scales` must be finite"),
        ({"accuracy_tolerance": -0.1}, "`accuracy_tolerance` must lie in"),
    ],
)
def test_parameters_are_checked(parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        _fit(**parameters)


def test_what_cannot_be_fitted_is_said():
    readout = _readout()
    hidden, y, later = _rows(readout, n=50)
    direction = CalibrationDirection()
    with pytest.raises(ValueError, match="`readout` is missing"):
        direction.fit(hidden, y, reference=later)
    with pytest.raises(TypeError, match="`readout` must be a LinearReadout"):
        direction.fit(hidden, y, readout=3, reference=later)
    with pytest.raises(ValueError, match="needs `reference`"):
        direction.fit(hidden, y, readout=readout)
    with pytest.raises(ValueError, match="width 4 and `readout` has width 16"):
        direction.fit(hidden[:, :4], y, readout=readout, reference=later)
    with pytest.raises(ValueError, match="`reference` has width 4 and `hidden` has width 16"):
        direction.fit(hidden, y, readout=readout, reference=later[:, :4])
    with pytest.raises(ValueError, match="No direction is left"):
        direction.fit(hidden, y, readout=readout, reference=hidden)
    with pytest.raises(ValueError, match="without a norm"):
        direction.fit(hidden, y, readout=_readout("none"), reference=later)
    right, contrastive = readout.logits(hidden).argmax(axis=1), CalibrationDirection("contrastive")
    with pytest.raises(ValueError, match="right and wrong rows"):
        contrastive.fit(hidden, right, readout=readout)
    with pytest.raises(ValueError, match="keep_rows=True"):
        _fit(keep_rows=False).control("random")


class SelfReading(CalibrationDirection):
    """Builds a read-out from class means, which the suite of scikit-learn cannot pass."""

    def fit(self, hidden, y):
        try:
            X, labels = check_X_y(hidden, np.asarray(y).ravel(), ensure_min_samples=2)
            X = X.astype(float)
            means = np.stack([X[labels == c].mean(axis=0) for c in np.unique(labels)])
            readout = LinearReadout(means, bias=-(means**2).sum(axis=1) / 2)
            reference = X + X.std(axis=0) + 1
        except (TypeError, ValueError):
            # What has no means is for `fit` to refuse.
            readout = reference = None
        return super().fit(hidden, y, readout=readout, reference=reference)


IMPOSSIBLE = {"check_classifiers_one_label": "a read-out has two classes or more"}


@parametrize_with_checks(
    [SelfReading(null_space=False, random_state=0)],
    expected_failed_checks=lambda estimator: IMPOSSIBLE,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
