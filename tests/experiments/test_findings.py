"""What a report says first: latents named by their factors, labels, and the error that remains."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr

from experiments.findings import reconstruction_error, reconstruction_unit, sentences, told_names
from experiments.selecting import Selected
from ppvae.likelihoods import NormalLikelihood
from ppvae.models import VAE
from ppvae.networks import MLPDecoder
from ppvae.priors import NormalPrior


def parts(scale: float) -> SimpleNamespace:
    model = VAE(NormalPrior(3), NormalLikelihood(MLPDecoder(3, (1, 2, 2)), scale=scale))
    return SimpleNamespace(model=model, data=SimpleNamespace(factors=None, inputs={}))


def evaluation(error: float, *, factors: bool = True) -> SimpleNamespace:
    """Four grey images redrawn so far off; of three latents the first two are in, and tell hue and x."""
    images = xr.DataArray(np.full((4, 1, 2, 2), 0.5), {"image": range(4)}, ("image", "channel", "row", "column"), "x")
    latents = xr.Dataset({"by_ablation": ("latent", [True, True, False])}, coords={"latent": [0, 1, 2]})
    tree = {"observed_data": images.to_dataset()}
    if factors:
        told = {"factor": ("latent", ["hue", "x", "y"]), "factor_share": ("latent", [0.5, 0.75, 0.05])}
        latents = latents.assign(told)
        levels = {"hue": [0, 1, 2, 3], "x": [0, 1, 0, 1], "y": [3, 2, 1, 0], "shape": [1, 1, 1, 1]}
        tree["constant_data"] = xr.Dataset({name: ("image", values) for name, values in levels.items()})
    return SimpleNamespace(
        tree=xr.DataTree.from_dict(tree),
        reconstructions=(images + error).assign_attrs(shown="mean"),
        latents={"z": latents},
        counted=3,
        labels=None,
        information=None,
        metrics={"informative_by_ablation": 2, "largest_snr_called_uninformative": float("nan")},
    )


def test_latents_are_counted_and_named_by_what_they_tell():
    """``shape`` has one level and is none to be told; y no latent tells a tenth of."""
    first, second = sentences(parts(0.02), evaluation(0.0), None)
    assert first == "2 of 3 latents are used, by ablation."
    assert second.endswith("entropy: z1 x (0.75), z0 hue (0.50); none tells most of y.")


def test_figures_call_a_latent_by_the_factor_that_it_tells():
    assert told_names(evaluation(0.0).latents["z"], "z") == ["z0 hue", "z1 x", "z2"]
    assert told_names(evaluation(0.0, factors=False).latents["z"], "w") == ["w[0]", "w[1]", "w[2]"]


def test_without_factors_nothing_is_named():
    assert len(sentences(parts(0.02), evaluation(0.0, factors=False), None)) == 1


@pytest.mark.parametrize(("verdict", "said"), [("collapsed", True), ("weak", True), ("used", False)])
def test_a_code_that_is_paid_for_and_not_read_is_said_to_be_so(verdict, said):
    found = evaluation(0.0, factors=False)
    found.information = xr.Dataset({"mutual_information": 0.42, "gain": 0.031}, attrs={"verdict": verdict})
    sentence = f"But the code is {verdict}: it says 0.42 nats about an image, and the decoder gains 0.031 nats by it."
    assert (sentence in sentences(parts(0.02), found, None)) == said


def test_a_selection_comes_first():
    path = xr.Dataset(
        {"by_ablation": (("level", "latent"), [[False] * 4, [True] * 3 + [False], [True] * 3 + [False]])},
        coords={"weight": ("level", [4.0, 2.0, 1.0]), "latent": range(4)},
    )
    said = sentences(parts(0.02), evaluation(0.0), Selected(path, [0, 1, 2]))[0]
    assert said.startswith("The path keeps 3 of 4 latents, from β = 2 to 1")
    assert said.endswith(". 2 of 3 latents are used, by ablation.")


@pytest.mark.parametrize(
    ("scale", "unit"),
    [
        (None, "RMSE of a pixel in [0, 1]"),
        ([2.0, 3.0], "RMSE of an entry in its column's standard deviations"),
        ([1.0, 1.0], "RMSE of an entry in its column's units"),
    ],
)
def test_the_error_is_of_a_pixel_or_of_an_entry_that_is_there(scale, unit):
    found = evaluation(0.25)
    if scale is not None:
        observed = found.tree["observed_data"]["x"].assign_coords(column_scale=("column", scale))
        found.tree["observed_data"] = xr.DataTree(observed.where(observed["image"] > 0).to_dataset())
    assert reconstruction_error(found) == 0.25
    assert reconstruction_unit(found) == unit


def test_labels_known_for_some_are_said_to_be_named():
    """What the pair was told is no factor of its own, and is missed by no latent; the interval is Wilson's, whose ends
    solve (p̂ − p)² = 1.96² p (1 − p) / n."""
    found, told = evaluation(0.0), parts(0.02)
    counts = xr.Dataset({"counts": (("label", "named"), [[6, 1], [0, 1]]), "score": 7 / 8})
    found.labels, told.data.inputs = counts, {"known_hue": torch.tensor([0, -1, -1, 3])}
    told.data.factors = found.tree["constant_data"].to_dataset()
    found.tree["constant_data"] = found.tree["constant_data"].to_dataset().assign(known_hue=("image", [0, -1, -1, 3]))
    _, second, third = sentences(told, found, None)
    said = "Told the label of 2 of 4 training images, the classifier names that of 87.5 % of 8 test images rightly"
    assert second == f"{said} (95 %: 52.9 to 97.8 %)."
    for end in (0.529, 0.978):  # to half a thousandth, which moves either side by up to two in a hundred
        assert (7 / 8 - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / 8, rel=0.04)
    assert third.endswith("; none tells most of y.")
