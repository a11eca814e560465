"""The β-TCVAE's decomposition: its identity, and each part against Gaussians whose parts are known."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from ppvae import VAE, BetaELBO, Program, TotalCorrelation, UserError, check_pair
from ppvae.likelihoods import NormalLikelihood
from ppvae.networks import MLPDecoder
from ppvae.priors import NormalPrior

PARTS = ("mutual_information", "total_correlation", "marginal_kl")


class Coded(Program):
    """q(z | xᵢ) = N(codeᵢ, s²): the image holds its code."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        codes = images.flatten(1)
        with pyro.plate("image", len(images), dim=-1):
            return pyro.sample("z", dist.Normal(codes, self.scale).to_event(1))


def test_the_parts_add_up_to_the_kl(build):
    pair = build("normal")
    results = []
    for objective in (TotalCorrelation(beta=1.0), BetaELBO(estimator="trace")):
        torch.manual_seed(3)
        loss = objective(pair.model, pair.guide, pair.images)
        parameters = [*pair.model.parameters(), *pair.guide.parameters()]
        results.append((loss, torch.autograd.grad(loss, parameters)))
    torch.testing.assert_close(results[0][0], results[1][0])
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_each_part_has_its_own_weight(build):
    pair = build("normal")
    torch.manual_seed(3)
    terms = TotalCorrelation().measure(pair.model, pair.guide, pair.images)
    parts = {name: terms.recorded[name][1].mean() for name in PARTS}
    loss = TotalCorrelation(alpha=2.0, beta=5.0, gamma=0.5).loss(terms)
    torch.testing.assert_close(
        loss, terms.distortion.mean() + sum(w * parts[name] for w, name in zip((2.0, 5.0, 0.5), PARTS, strict=True))
    )


def gaussian_parts(images: int, batches: int, batch: int) -> torch.Tensor:
    """Means of the three parts for codes of covariance ((1, .8), (.8, 1)) − s²: the aggregate is that Gaussian."""
    scale, covariance = 0.3, torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    codes = torch.distributions.MultivariateNormal(torch.zeros(2), covariance - scale**2 * torch.eye(2))
    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, (1, 1, 2), (4,))))
    objective, means = TotalCorrelation(images=images), []
    for _ in range(batches):
        pictures = codes.sample((batch,)).reshape(batch, 1, 1, 2)
        with torch.no_grad():
            terms = objective.measure(model, Coded(scale), pictures)
        means.append(torch.stack([terms.recorded[name][1].mean() for name in PARTS]))
    return torch.stack(means).mean(0)


DETERMINANT = torch.tensor(1 - 0.64)
GAUSSIAN = torch.stack([0.5 * (DETERMINANT / 0.3**4).log(), -0.5 * DETERMINANT.log(), torch.tensor(0.0)])
"""I = ½ log(|Σ| / s⁴), TC = −½ log|Σ| at unit variances, marginals of the prior: zero."""


def test_parts_of_a_gaussian_are_its_own():
    """The estimate of log q(z) from 2 000 images is off by about 1 / (2·effective images) ≈ 0.01; the mean over
    4 × 2 000 draws has a standard error below 0.012."""
    torch.manual_seed(0)
    torch.testing.assert_close(gaussian_parts(2000, 4, 2000), GAUSSIAN, rtol=0, atol=0.05)


def test_a_batch_stands_for_the_rest_of_its_data_set():
    """A batch of 500 out of 2 000: the same parts but for the coarser estimate, about four times the error."""
    torch.manual_seed(0)
    torch.testing.assert_close(gaussian_parts(2000, 20, 500), GAUSSIAN, rtol=0, atol=0.1)


@pytest.mark.parametrize(("batch", "images"), [(5, 5), (5, 40), (2, 3), (1, 9)])
def test_parts_of_a_batch_by_hand(batch, images):
    """q(zᵢ) ≈ q(zᵢ | xᵢ)/N + (N − 1)/N · mean over the others of q(zᵢ | xⱼ), and likewise latent by latent."""
    pictures = torch.randn(batch, 1, 1, 2).double()
    guide = Coded(0.5).double()
    model = VAE(NormalPrior(2), NormalLikelihood(MLPDecoder(2, (1, 1, 2), (4,)))).double()
    torch.manual_seed(3)
    terms = TotalCorrelation(images=images).measure(model, guide, (pictures,))
    torch.manual_seed(3)
    z = poutine.trace(guide).get_trace(pictures).nodes["z"]["value"].detach()
    density = dist.Normal(pictures.flatten(1), 0.5).log_prob(z[:, None]).exp()  # (i, j, latent)

    def aggregated(each: torch.Tensor) -> torch.Tensor:
        own = each.diagonal()
        if batch == 1:
            return own / images
        others = (each.sum(1) - own) / (batch - 1)
        return own / images + (images - 1) / images * others

    joint = aggregated(density.prod(-1)).log()
    marginals = sum(aggregated(density[..., k]).log() for k in range(2))
    own = density.prod(-1).diagonal().log()
    prior = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    expected = dict(zip(PARTS, (own - joint, joint - marginals, marginals - prior), strict=True))
    for name, part in expected.items():
        torch.testing.assert_close(terms.recorded[name][1].detach(), part, msg=name)


def test_fit_tells_it_the_number_of_images():
    assert TotalCorrelation().bound_to(60_000, None, None).images == 60_000
    assert TotalCorrelation(images=5).bound_to(60_000, None, None).images == 5


def test_guides_without_independent_latents_are_refused(build):
    pair = build("normal-gamma implicit")
    with pytest.raises(UserError, match=r"one latent site.*'precision', 'z'.*student_t") as error:
        check_pair(pair.model, pair.guide, pair.images, TotalCorrelation())
    assert "\n" not in str(error.value)
    check_pair(build("normal").model, build("normal").guide, pair.images, TotalCorrelation())


@pytest.mark.parametrize(("options", "match"), [({"beta": -1}, "beta=-1"), ({"images": 0}, "images=0")])
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match):
        TotalCorrelation(**options)


def test_scales_weigh_every_part(build):
    """As of Pyro's poutine.scale, here two for both programs: all weights 1 are −2·ELBO."""
    pair = build("normal")
    model, guide = (poutine.scale(program, scale=2.0) for program in (pair.model, pair.guide))
    values = []
    for objective in (TotalCorrelation(beta=1.0), BetaELBO(estimator="trace")):
        torch.manual_seed(3)
        values.append(objective(model, guide, pair.images))
    torch.testing.assert_close(*values)
