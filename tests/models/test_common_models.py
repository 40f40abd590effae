"""scikit-learn's own checks on classifiers of tables, none exempted; on images, what applies."""

import pytest
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from sk_arcal.models import (
    MixtureOfExpertsClassifier,
    TabularTransformerClassifier,
    VisionTransformerClassifier,
)

# Small enough for a thousand fits.
SHORT = {"max_epochs": 15, "learning_rate": 0.02, "random_state": 0}
ESTIMATORS = [
    TabularTransformerClassifier(width=8, depth=1, n_heads=2, **SHORT),
    MixtureOfExpertsClassifier(n_experts=2, body_widths=(16,), router_width=8, **SHORT),
]
# What scikit-learn 1.7 has for a classifier of dense data; later versions have more.
FEWEST_CHECKS = 61


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_the_whole_suite_is_run(estimator):
    assert len(list(estimator_checks_generator(estimator))) >= FEWEST_CHECKS


# The others fit tables.
WITHOUT_A_TABLE = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("check", WITHOUT_A_TABLE)
def test_classifier_of_images_passes_what_needs_no_table(check):
    getattr(estimator_checks, check)(
        "VisionTransformerClassifier", VisionTransformerClassifier(random_state=0)
    )


def test_classifier_of_images_says_what_it_takes():
    tags = get_tags(VisionTransformerClassifier())
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.three_d_array
    assert tags.target_tags.required
    assert get_tags(TabularTransformerClassifier()).input_tags.two_d_array
