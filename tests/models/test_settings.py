import pytest

from sk_arcal.models._training._settings import ObjectiveSettings
from tests.models.test_loop import settings


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"max_epochs": 0}, ValueError, "`max_epochs` must be at least 1"),
        ({"batch_size": 1.5}, TypeError, "`batch_size` must be an integer"),
        ({"learning_rate": -1.0}, ValueError, "`learning_rate` must lie in"),
        ({"weight_decay": "0"}, TypeError, "`weight_decay` must be a number"),
        ({"warmup_fraction": 1.5}, ValueError, "`warmup_fraction` must lie in"),
        ({"validation_fraction": 0.0}, ValueError, "`validation_fraction` must lie in"),
        ({"n_iter_no_change": 0}, ValueError, "`n_iter_no_change` must be at least 1"),
        ({"snapshot_every": 0}, ValueError, "`snapshot_every` must be at least 1"),
        ({"n_snapshots": None}, TypeError, "`n_snapshots` must be an integer"),
        ({"device": 0}, TypeError, "`device` must be the name of a torch device"),
    ],
)
def test_settings_that_cannot_be_used_are_named(changes, kind, message):
    with pytest.raises(kind, match=message):
        settings(**changes)


def test_extremes_are_allowed():
    settings(learning_rate=0.0, warmup_fraction=1.0, snapshot_every=None)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"label_smoothing": 1.1}, ValueError, "`label_smoothing` must lie in"),
        ({"erm_fraction": -0.1}, ValueError, "`erm_fraction` must lie in"),
        ({"eta": -1.0}, ValueError, "`eta` must"),
        ({"alpha": 0.0}, ValueError, "`alpha`, a share of the rows, must be larger than 0"),
        ({"relevance": "some"}, ValueError, "`relevance` must be one of"),
    ],
)
def test_objectives_that_cannot_be_used_are_named(changes, kind, message):
    with pytest.raises(kind, match=message):
        ObjectiveSettings(**changes)


def test_extremes_of_objectives_are_allowed():
    ObjectiveSettings(label_smoothing=1.0, erm_fraction=1.0, eta=0.0, alpha=1.0)
