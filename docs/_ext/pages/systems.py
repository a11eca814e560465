"""One small pair of each system of the papers."""

import torch

from guides import (
    BottomUpNormal,
    HierarchyGuide,
    InverseAutoregressiveGuide,
    MeanFieldNormal,
    NormalGammaGuide,
    OptimalClusters,
    SemiSupervisedNormal,
    TwoViewGuide,
)
from pages.sites import Pair
from ppvae import VAE, SemiSupervisedVAE, TwoViewVAE
from ppvae.likelihoods import (
    AutoregressiveLikelihood,
    BernoulliLikelihood,
    DiscretisedLogisticLikelihood,
    LogisticMixtureLikelihood,
    NormalLikelihood,
)
from ppvae.models import PatchShuffle
from ppvae.networks import (
    BottomUp,
    HierarchyDecoder,
    MapDecoder,
    MapEncoder,
    MLPDecoder,
    MLPEncoder,
    PatchDecoder,
    PatchEncoder,
    TopDown,
)
from ppvae.priors import (
    AutoregressiveFlowPrior,
    AutoregressiveMapPrior,
    ClusterPrior,
    HierarchyPrior,
    NormalGammaPrior,
    NormalPrior,
)

__all__ = ["SYSTEMS"]

GREY, COLOUR, IMAGES = (1, 8, 8), (3, 8, 8), 4
OF_AN_IMAGE = {"z": "z", "x": "x"}


def _images(shape: tuple[int, int, int]) -> torch.Tensor:
    return torch.zeros(IMAGES, *shape)


def ngvae() -> Pair:
    """Normal-Gamma prior and guide, a normal likelihood of fixed σ."""
    model = VAE(NormalGammaPrior(3), NormalLikelihood(MLPDecoder(3, COLOUR, (8,)), scale=0.02))
    guide = NormalGammaGuide(MLPEncoder(COLOUR, (8,)), latents=3)
    return Pair(model, guide, (_images(COLOUR),), OF_AN_IMAGE | {"precision": "λ", "p": "p"})


def beta_vae() -> Pair:
    """Standard normal prior, diagonal normal guide."""
    model = VAE(NormalPrior(3), BernoulliLikelihood(MLPDecoder(3, GREY, (8,))))
    return Pair(model, MeanFieldNormal(MLPEncoder(GREY, (8,)), 3), (_images(GREY),), OF_AN_IMAGE)


def pixelvae() -> Pair:
    """A decoder that sees all the pixels before each."""
    likelihood = AutoregressiveLikelihood(
        MLPDecoder(3, GREY, (8,), maps=4), "bernoulli", layers=3, channels=4, context=4
    )
    return Pair(
        VAE(NormalPrior(3), likelihood), MeanFieldNormal(MLPEncoder(GREY, (8,)), 3), (_images(GREY),), OF_AN_IMAGE
    )


def pixelvae_two_levels() -> Pair:
    """Feature maps between the image and a vector, each place given those before it."""
    prior = AutoregressiveMapPrior(3, (2, 4, 4), hidden=(4,), layers=3, channels=4, context=4)
    model = VAE(prior, BernoulliLikelihood(MapDecoder(2, GREY, (4,))))
    symbols = {"z_2": "z₂", "z_1": "z₁", "x": "x"}
    return Pair(model, BottomUpNormal(MapEncoder(GREY, (4,), (8,)), 3, 2), (_images(GREY),), symbols)


def vlae() -> Pair:
    """A flow as prior, a decoder that sees a window."""
    likelihood = AutoregressiveLikelihood(
        MLPDecoder(3, GREY, (8,), maps=4), "bernoulli", window=(2, 5), layers=2, channels=4, context=4
    )
    guide = MeanFieldNormal(MLPEncoder(GREY, (8,)), 3)
    return Pair(VAE(AutoregressiveFlowPrior(3), likelihood), guide, (_images(GREY),), OF_AN_IMAGE)


def iaf() -> Pair:
    """The same flow on the guide's side."""
    model = VAE(NormalPrior(3), BernoulliLikelihood(MLPDecoder(3, GREY, (8,))))
    return Pair(model, InverseAutoregressiveGuide(MLPEncoder(GREY, (8,)), 3), (_images(GREY),), OF_AN_IMAGE)


def two_views() -> Pair:
    """An image and a view of it, with clusters of the global code."""
    shuffle, prior = PatchShuffle(2), ClusterPrior(3, clusters=5, site="z_global")
    model = TwoViewVAE(
        prior,
        NormalPrior(2, site="z_local"),
        DiscretisedLogisticLikelihood(MLPDecoder(5, COLOUR, (8,), maps=6)),
        DiscretisedLogisticLikelihood(PatchDecoder(2, COLOUR, patch=2, maps=6)),
        shuffle,
    )
    encoders = MLPEncoder(COLOUR, (8,)), PatchEncoder(COLOUR, patch=2)
    guide = TwoViewGuide(*encoders, 3, 2, shuffle, OptimalClusters(prior))
    symbols = {"z_global": "z_g", "z_local": "z_l", "cluster": "y", "x": "x", "x_shuffled": "x̂", "view": "x̂ = g(x)"}
    return Pair(model, guide, (_images(COLOUR),), symbols | {"cluster_probability": "q(y given x)"})


def nvae() -> Pair:
    """Three groups of maps, from the top down."""
    line = "2x2:1 4x4:2"
    prior = HierarchyPrior(TopDown(line, latents=2, channels=4))
    model = VAE(prior, LogisticMixtureLikelihood(HierarchyDecoder(line, COLOUR, maps=100, channels=4)))
    guide = HierarchyGuide(BottomUp(line, COLOUR, channels=4), prior)
    return Pair(model, guide, (_images(COLOUR),), {"z_1": "z₁", "z_2": "z₂", "z_3": "z₃", "x": "x"})


def semi_supervised() -> Pair:
    """A label, known of some images."""
    model = SemiSupervisedVAE(NormalPrior(3), BernoulliLikelihood(MLPDecoder(3 + 5, GREY, (8,))), levels=5)
    guide = SemiSupervisedNormal(MLPEncoder(GREY, (8,)), MLPEncoder(GREY, (8,)), levels=5, latents=3)
    symbols = OF_AN_IMAGE | {"y": "y", "y_probability": "q(y given x)", "label_log_probability": "log q(label given x)"}
    labels = torch.tensor([0, 3, -1, -1])
    return Pair(model, guide, (_images(GREY), labels), symbols | {"label_known": ""})


SYSTEMS = {
    build.__name__: build
    for build in (ngvae, beta_vae, pixelvae, pixelvae_two_levels, vlae, iaf, two_views, nvae, semi_supervised)
}
"""Each system's small pair, by its name."""
