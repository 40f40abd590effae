"""The record of a row: what is put in comes out."""

import json

import numpy as np
import pytest

from sk_arcal._routing import RouteSite
from sk_arcal.feature_extraction._extraction._record import Extraction, RecordLayout

SITES = (
    RouteSite("depth_l00", "depth", 2, "blocks.0.read", 0),
    RouteSite("router_l01", "router", 3, "blocks.1.gate", 1),
)


def layout(outputs="logits", n_scores=4):
    return RecordLayout(outputs, n_scores, SITES)


def test_every_entry_has_one_place():
    # 4 scores, 2 + 3 weights, 2 * 4 statistics, 3 loads.
    assert layout().width == 4 + 5 + 8 + 3
    records = np.arange(2 * 20.0).reshape(2, 20)
    extraction = layout().extraction(records)
    np.testing.assert_array_equal(extraction.scores, records[:, :4])
    np.testing.assert_array_equal(extraction.profile.site_weights(0), records[:, 4:6])
    np.testing.assert_array_equal(extraction.profile.site_weights(1), records[:, 6:9])
    np.testing.assert_array_equal(extraction.profile.token_statistics[:, 1], records[:, 13:17])
    np.testing.assert_array_equal(extraction.profile.site_load(1), records[:, 17:])
    np.testing.assert_array_equal(extraction.prediction, [3, 3])


def test_confidence_keeps_the_position_of_the_top_class():
    confidence = layout("confidence", 2)
    records = np.zeros((1, confidence.width))
    records[0, :2] = [1.5, 7]
    extraction = confidence.extraction(records)
    assert extraction.scores.tolist() == [[1.5]]
    assert extraction.prediction.tolist() == [7]


def test_no_outputs_no_prediction():
    none = layout(None, 0)
    assert none.extraction(np.zeros((2, none.width))).prediction is None


def test_single_logit_predicts_by_its_sign():
    single = layout("logits", 1)
    records = np.zeros((2, single.width))
    records[:, 0] = [-1, 1]
    assert single.extraction(records).prediction.tolist() == [0, 1]


@pytest.mark.parametrize("outputs", ["logits", None])
def test_layout_survives_json(outputs):
    original = layout(outputs, 4 if outputs else 0)
    assert RecordLayout.from_dict(json.loads(json.dumps(original.to_dict()))) == original


def test_extractions_are_joined_in_order():
    records = np.random.default_rng(0).random((5, layout().width))
    whole = layout().extraction(records)
    parts = [layout().extraction(records[:2]), layout().extraction(records[2:])]
    joined = Extraction.concatenate(parts)
    assert len(joined) == 5
    np.testing.assert_array_equal(joined.scores, whole.scores)
    np.testing.assert_array_equal(joined.prediction, whole.prediction)
    np.testing.assert_array_equal(joined.profile.weights, whole.profile.weights)
