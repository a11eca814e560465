"""What failed is put down to one cause, and the advice is for the parts in use."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from torch import nn

from experiments.causes import causes, summed_up
from guides import FullCovarianceNormal, InverseAutoregressiveGuide, MeanFieldNormal
from ppvae.likelihoods import NormalLikelihood
from ppvae.models import VAE
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.objectives import BetaELBO, FreeBits
from ppvae.priors import NormalPrior, StudentTPrior

SHAPE = (1, 2, 2)


def parts(
    scale: float = 1.0, guide=MeanFieldNormal, prior=NormalPrior, objective=None, mode="fixed"
) -> SimpleNamespace:
    likelihood = NormalLikelihood(MLPDecoder(3, SHAPE), scale=scale, scale_mode=mode)
    made = guide(MLPEncoder(SHAPE), 3)
    return SimpleNamespace(model=VAE(prior(3), likelihood), guide=made, objective=objective or BetaELBO())


def evaluation(error: float = 0.0) -> SimpleNamespace:
    """Four grey images redrawn so far off."""
    images = xr.DataArray(np.full((4, *SHAPE), 0.5), {"image": range(4)}, ("image", "channel", "row", "column"), "x")
    tree = xr.DataTree.from_dict({"observed_data": images.to_dataset()})
    return SimpleNamespace(tree=tree, reconstructions=(images + error).assign_attrs(shown="mean"))


def diagnosed(*failed: str, **others: str) -> xr.Dataset:
    verdicts = dict.fromkeys(failed, "fail") | others
    return xr.Dataset({"verdict": ("test", list(verdicts.values()))}, coords={"test": list(verdicts)})


@pytest.mark.parametrize(("error", "caused"), [(0.03, False), (0.06, True)])
def test_a_scale_far_below_the_error_is_the_one_cause(error, caused):
    """σ = 0.02: three times below an error of 0.06, which is what β = 9 would make of it."""
    found = causes(parts(0.02), evaluation(error), diagnosed("tightness", "aggregate", bias="pass"))
    assert ([one.name for one in found] == ["a scale σ too small"]) == caused
    if caused:
        assert found[0].tests == ("tightness", "aggregate")
        assert "σ = 0.02 of a pixel is 3.0 times below the error that remains, 0.06" in found[0].said
        assert "β = 9.0," in found[0].advice
        assert found[0].advice.startswith("Learn σ (likelihood.scale_mode=learned)")


def test_a_scale_that_is_learned_is_not_to_be_learned():
    (found,) = causes(parts(0.02, mode="learned"), evaluation(0.06), diagnosed("width"))
    assert found.advice.startswith("Weight the rate by β")


def test_a_scale_too_small_is_no_cause_of_a_code_that_is_not_used():
    found = causes(parts(0.02), evaluation(0.06), diagnosed("active latents", "width"))
    assert [(one.name, one.tests) for one in found] == [
        ("the code", ("active latents",)),
        ("a scale σ too small", ("width",)),
    ]


def test_tests_that_fail_together_have_one_cause():
    failed = ("tightness", "width", "aggregate", "prior predictive", "posterior predictive")
    assert {one.name: one.tests for one in causes(parts(), evaluation(), diagnosed(*failed))} == {
        "the guide": ("tightness", "width"),
        "the prior": ("aggregate", "prior predictive"),
        "the likelihood": ("posterior predictive",),
    }
    draws = causes(parts(), evaluation(), diagnosed("prior predictive", "posterior predictive"))
    assert [one.name for one in draws] == ["the likelihood"]


@pytest.mark.parametrize(
    ("changed", "test", "named", "silent"),
    [
        ({"guide": MeanFieldNormal}, "width", "guide=full_covariance or guide=iaf", "IAF"),
        ({"guide": FullCovarianceNormal}, "width", "guide=iaf", "full_covariance"),
        ({"guide": InverseAutoregressiveGuide}, "width", "widen the encoder", "guide="),
        ({"prior": NormalPrior}, "aggregate", "prior=vamp", "objective.beta"),
        ({"prior": StudentTPrior}, "aggregate", "objective.beta", "prior="),
        ({"objective": FreeBits()}, "information", "annealing=linear", "free_bits"),
        ({}, "information", "objective=free_bits", "likelihood.dropout"),
        ({"mode": "learned"}, "posterior predictive", "likelihood=autoregressive", "scale_mode"),
    ],
)
def test_no_part_is_advised_that_is_in_use(changed, test, named, silent):
    (found,) = causes(parts(**changed), evaluation(), diagnosed(test))
    assert named in found.advice
    assert silent not in found.advice


def test_a_model_of_other_parts_has_its_guide_as_a_cause():
    other = SimpleNamespace(model=nn.Identity(), guide=nn.Identity(), objective=BetaELBO())
    assert causes(other, evaluation(), diagnosed("bias"))[0].sentence().startswith("The guide: Identity is not")


def test_failures_are_counted_in_a_sentence():
    assert summed_up(diagnosed("width", bias="pass", information="not run")) == (
        "Of 2 tests of the guide and the model 1 failed"
    )
    assert summed_up(diagnosed(width="warn")) == ""
