"""What one pass measures, term by term: the right KL for the programs' order, and scales and masks of one program."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from ppvae import BetaELBO
from ppvae.distributions import GRepGamma
from ppvae.pair.terms import Terms

ZERO = torch.zeros((), dtype=torch.float64)
SLOPE, SHIFT, FIRST, SECOND = 0.8, 0.5, 0.6, 0.7


def chained_model(images: torch.Tensor) -> None:
    """p(a) = N(0, 1), p(b | a) = N(a, 1), and an image that says nothing."""
    with pyro.plate("image", len(images), dim=-1):
        a = pyro.sample("a", dist.Normal(ZERO, 1.0))
        pyro.sample("b", dist.Normal(a, 1.0))
        pyro.sample("x", dist.Normal(ZERO, 1.0).expand((1, 1, 1)).to_event(3), obs=images)


def guide_from_b(images: torch.Tensor) -> None:
    """q(b) q(a | b): the model's other order."""
    with pyro.plate("image", len(images), dim=-1):
        b = pyro.sample("b", dist.Normal(ZERO + SHIFT, FIRST))
        pyro.sample("a", dist.Normal(SLOPE * b, SECOND))


def guide_from_a(images: torch.Tensor) -> None:
    """q(a) q(b | a): the model's order."""
    with pyro.plate("image", len(images), dim=-1):
        a = pyro.sample("a", dist.Normal(ZERO + SHIFT, FIRST))
        pyro.sample("b", dist.Normal(SLOPE * a, SECOND))


def joint_kl(first: str) -> float:
    """Of the guide's bivariate normal over (first, other) from the model's, in closed form."""
    loc = torch.tensor([SHIFT, SLOPE * SHIFT]).double()
    covariance = FIRST**2 * torch.tensor([[1, SLOPE], [SLOPE, SLOPE**2 + SECOND**2 / FIRST**2]]).double()
    prior = torch.tensor([[1.0, 1.0], [1.0, 2.0]]).double()  # of (a, b)
    if first == "b":
        prior = prior.flip(0).flip(1)
    q, p = dist.MultivariateNormal(loc, covariance), dist.MultivariateNormal(torch.zeros(2).double(), prior)
    return float(torch.distributions.kl_divergence(q, p))


@pytest.mark.parametrize(("guide", "first"), [(guide_from_b, "b"), (guide_from_a, "a")], ids=["swapped", "in order"])
def test_the_rate_is_the_joint_kl_whatever_the_order_of_sites(guide, first, within_errors):
    """Site by site in closed form, given the other's draw, would be another number where the orders differ."""
    images = torch.zeros(20_000, 1, 1, 1).double()
    terms = BetaELBO().measure(chained_model, guide, (images,))
    within_errors(terms.rate, joint_kl(first), resolution=0.1)


# Scales and masks of one program alone

IMAGES = torch.tensor([0.3, -1.0, 2.0, 0.7]).double()[:, None, None, None]
MASK = torch.tensor([True, False, True, True])


def gamma_model(images: torch.Tensor) -> None:
    with pyro.plate("image", len(images), dim=-1):
        z = pyro.sample("z", dist.Gamma(ZERO + 2.0, 1.5).expand((2,)).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None], 1.0).to_event(3), obs=images)


def gamma_guide_of(family: type) -> Callable[[torch.Tensor], None]:
    def guide(images: torch.Tensor) -> None:
        shape = 1.0 + images.flatten(1).square() + torch.tensor([0.0, 0.5]).double()
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("z", family(shape, 0.8).to_event(1))

    return guide


HANDLERS = {
    "plain": (lambda program: program, torch.ones(4).double()),
    "scaled": (lambda program: poutine.scale(program, scale=3.0), 3 * torch.ones(4).double()),
    "masked": (lambda program: poutine.mask(program, mask=MASK), MASK.double()),
    "both": (lambda program: poutine.mask(poutine.scale(program, scale=3.0), mask=MASK), 3 * MASK.double()),
}


def measured(estimator: str, model: Callable, guide: Callable) -> tuple[Terms, poutine.Trace, torch.Tensor]:
    """Terms of one seed, the plain guide's trace of it, and log p(x | z) there."""
    torch.manual_seed(3)
    terms = BetaELBO(estimator=estimator).measure(model, guide, (IMAGES,))
    torch.manual_seed(3)
    drawn = poutine.trace(guide).get_trace(IMAGES)
    z = drawn.nodes["z"]["value"]
    return terms, drawn, dist.Normal(z.sum(-1), 1.0).log_prob(IMAGES.flatten())


@pytest.mark.parametrize("on_guide", HANDLERS)
@pytest.mark.parametrize("on_model", HANDLERS)
@pytest.mark.parametrize("family", [dist.Gamma, GRepGamma], ids=["implicit", "g-rep"])
def test_each_programs_scale_and_mask_weigh_its_own_densities(on_model, on_guide, family):
    """As in Pyro's ``Trace_ELBO``: w_q log q − w_p log p, w_p log p(x | z); a score is that of the draw, weighed by the
    cost alone, which has these weights in it."""
    (of_model, w_p), (of_guide, w_q) = HANDLERS[on_model], HANDLERS[on_guide]
    guide = of_guide(gamma_guide_of(family))
    terms, drawn, log_x = measured("trace", of_model(gamma_model), guide)
    q, z = drawn.nodes["z"]["fn"].base_dist, drawn.nodes["z"]["value"]
    prior = dist.Gamma(ZERO + 2.0, 1.5)
    torch.testing.assert_close(terms.distortion, -w_p * log_x)
    rate = w_q[:, None] * q.log_prob(z) - w_p[:, None] * prior.log_prob(z)
    torch.testing.assert_close(terms.rates["z"][1], rate)
    torch.testing.assert_close(terms.rate, rate.sum(-1))
    if family is dist.Gamma:
        assert terms.score is None
    else:
        torch.testing.assert_close(terms.score, q.score_parts(z).score_function.sum(-1))


def test_pixels_are_those_of_all_observed_sites():
    def two_observed(images: torch.Tensor) -> None:
        gamma_model(images)
        with pyro.plate("more", len(images), dim=-1):
            pyro.sample("y", dist.Normal(torch.zeros(5).double(), 2.0).to_event(1), obs=images.flatten(1).expand(-1, 5))

    terms = BetaELBO().measure(two_observed, gamma_guide_of(dist.Gamma), (IMAGES,))
    assert (terms.pixels, terms.latents) == (1 + 5, 2)


def guide_of_two(images: torch.Tensor) -> None:
    """An auxiliary site and two draws whose gradients need scores."""
    with pyro.plate("image", len(images), dim=-1):
        u = pyro.sample("u", GRepGamma(ZERO + 1.3, 0.9), infer={"is_auxiliary": True})
        pyro.sample("z", GRepGamma(1.0 + u[..., None] * torch.tensor([0.5, 2.0]).double(), 0.8).to_event(1))


@pytest.mark.parametrize("estimator", ["trace", "auto"])
def test_an_auxiliary_site_costs_its_log_density_and_every_score_counts(estimator):
    """As in Pyro's ``Trace_ELBO``, log q(u) is paid for and no latent of the model's; scores add up over the sites."""
    torch.manual_seed(3)
    terms = BetaELBO(estimator=estimator).measure(gamma_model, guide_of_two, (IMAGES,))
    torch.manual_seed(3)
    drawn = poutine.trace(guide_of_two).get_trace(IMAGES)
    u, z = drawn.nodes["u"], drawn.nodes["z"]
    torch.testing.assert_close(terms.rates["u"][1], u["fn"].log_prob(u["value"]))
    scores = u["fn"].score_parts(u["value"]).score_function, z["fn"].score_parts(z["value"]).score_function
    torch.testing.assert_close(terms.score, sum(scores))
    assert (scores[0].abs() > 1e-3).any()
    assert terms.latents == 2
    if estimator == "trace":
        torch.manual_seed(3)
        loss = pyro.infer.Trace_ELBO().loss(gamma_model, guide_of_two, IMAGES)
        assert float((terms.distortion + terms.rate).sum()) == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("name", HANDLERS)
def test_a_closed_form_is_weighed_as_the_guide_is(name):
    """As in Pyro's ``TraceMeanField_ELBO``; the distortion stays the model's."""
    handler, weight = HANDLERS[name]
    terms, drawn, log_x = measured("mean_field", gamma_model, handler(gamma_guide_of(dist.Gamma)))
    kl = torch.distributions.kl_divergence(drawn.nodes["z"]["fn"].base_dist, dist.Gamma(ZERO + 2.0, 1.5))
    torch.testing.assert_close(terms.rates["z"][1], weight[:, None] * kl)
    torch.testing.assert_close(terms.distortion, -log_x)
