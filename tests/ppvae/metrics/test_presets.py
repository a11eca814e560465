"""The numbers behind every score are the published ones: no test of a score would notice all of them."""

from dataclasses import asdict

import pytest

from ppvae.metrics import BETA_VAE_PRESETS, BINNED_PRESETS, DCI_TREES, FACTOR_VAE_PRESETS, SPLIT_PRESETS
from ppvae.metrics.presets import LOGISTIC
from ppvae.metrics.sap import CLASSIFIER

PUBLISHED = {
    "beta_vae": (BETA_VAE_PRESETS, {"pairs": 64, "train": 10_000, "evaluate": 5_000}),
    "factor_vae": (FACTOR_VAE_PRESETS, {"group": 64, "train": 10_000, "evaluate": 5_000, "least_spread": 0.05}),
    "binned": (BINNED_PRESETS, {"bins": 20, "images": 10_000}),
    "split": (SPLIT_PRESETS, {"train": 10_000, "evaluate": 5_000}),
}
QUICK = {"train": 1_000, "evaluate": 1_000, "images": 2_000}


@pytest.mark.parametrize("name", PUBLISHED)
def test_protocols_are_locatellos_and_quick_ones_have_fewer_points_alone(name):
    presets, published = PUBLISHED[name]
    assert asdict(presets["locatello"]) == published
    assert asdict(presets["quick"]) == {key: QUICK.get(key, value) for key, value in published.items()}


def test_classifiers_are_locatellos():
    """scikit-learn's defaults of then; SAP's support vector machine has C = 0.01 and balanced classes."""
    assert (LOGISTIC["C"], LOGISTIC["fit_intercept"], LOGISTIC["class_weight"]) == (1.0, True, None)
    assert (CLASSIFIER["C"], CLASSIFIER["class_weight"], CLASSIFIER["loss"]) == (0.01, "balanced", "squared_hinge")
    boosting = DCI_TREES["locatello"].settings
    assert (boosting["n_estimators"], boosting["learning_rate"], boosting["max_depth"]) == (100, 0.1, 3)
