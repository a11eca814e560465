"""Which cluster: log π at the corners, enumeration, plates, draws, and the KL of a relaxed draw as published."""

import pyro
import pytest
import torch
from pyro import poutine
from torch.distributions import Categorical, kl_divergence

from ppvae.distributions import Membership, RelaxedMembership

LOGITS = torch.tensor([[0.4, -1.3, 1.1, 0.0], [2.0, 0.1, -0.7, -0.2], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
PRIOR = torch.tensor([0.1, -0.4, 0.9, 0.3], dtype=torch.float64)
CLUSTERS = LOGITS.shape[-1]
CORNERS = torch.eye(CLUSTERS, dtype=torch.float64)
TEMPERATURE = torch.tensor(0.4, dtype=torch.float64)


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    return logits - logits.exp().sum(-1, keepdim=True).log()


def categorical_kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Σ_k q_k (log q_k − log p_k), nats."""
    log_q, log_p = log_softmax(first), log_softmax(second)
    return (log_q.exp() * (log_q - log_p)).sum(-1)


def test_a_corner_has_its_clusters_log_probability():
    """Whether it was built from logits, which need no normalising, or from probabilities."""
    for membership in (Membership(logits=LOGITS + 3), Membership(probs=LOGITS.exp())):
        found = membership.log_prob(CORNERS[:, None])
        torch.testing.assert_close(found, log_softmax(LOGITS).T)


def test_inside_the_simplex_it_interpolates():
    """log p(y) = Σ_k y_k log π_k, which a one-hot categorical would refuse."""
    y = torch.distributions.Dirichlet(torch.ones(CLUSTERS, dtype=torch.float64)).sample((3,))
    torch.testing.assert_close(Membership(logits=LOGITS).log_prob(y), (y * log_softmax(LOGITS)).sum(-1))
    with pytest.raises(ValueError, match="within the support"):
        Membership(logits=LOGITS, validate_args=True).log_prob(y + 0.1)


def test_enumeration_gives_every_corner_once():
    membership = Membership(logits=LOGITS)
    values = membership.enumerate_support()
    assert values.shape == (CLUSTERS, 3, CLUSTERS)
    assert torch.equal(values, CORNERS[:, None].expand_as(values))
    assert torch.equal(membership.enumerate_support(expand=False), CORNERS[:, None])
    torch.testing.assert_close(membership.log_prob(values).exp().sum(0), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize(
    "make", [lambda: Membership(logits=LOGITS), lambda: RelaxedMembership(TEMPERATURE, logits=LOGITS)]
)
def test_expanded_it_is_the_same_distribution(make):
    """Under Pyro's plates, which expand, as well: class, density and the published KL stay."""
    one = make()
    y = one.sample()
    with pyro.plate("draws", 2, dim=-2), pyro.plate("image", 3, dim=-1):
        site = poutine.trace(lambda: pyro.sample("cluster", make())).get_trace().nodes["cluster"]
    assert site["value"].shape == (2, 3, CLUSTERS)
    for expanded in (one.expand((2, 3)), one.expand((5, 2, 3)), site["fn"]):
        assert type(expanded) is type(one)
        assert expanded.batch_shape[-2:] == (2, 3)
        torch.testing.assert_close(expanded.log_prob(y), one.log_prob(y).expand(expanded.batch_shape))
        kl = kl_divergence(expanded, Membership(logits=PRIOR))
        torch.testing.assert_close(kl, categorical_kl(LOGITS, PRIOR).expand(expanded.batch_shape))


@pytest.mark.parametrize("temperature", [0.05, 0.4, 5.0])
def test_the_published_kl_is_that_of_the_categorical(temperature):
    """At any temperature, with its gradient, and the same as between two memberships."""
    logits = LOGITS.clone().requires_grad_()
    relaxed = RelaxedMembership(torch.tensor(temperature).double(), logits=logits)
    expected = categorical_kl(logits, PRIOR)
    for found in (
        kl_divergence(relaxed, Membership(logits=PRIOR)),
        kl_divergence(Membership(logits=logits), Membership(logits=PRIOR)),
        kl_divergence(Categorical(logits=logits), Categorical(logits=PRIOR)),
    ):
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(
            *(torch.autograd.grad(kl.sum(), logits, retain_graph=True)[0] for kl in (found, expected))
        )
    assert expected.min() > 0.05


def test_draws_are_corners_as_often_as_they_are_probable(within_errors):
    draws = Membership(logits=LOGITS).sample((40_000,))
    assert ((draws == 0) | (draws == 1)).all()
    assert (draws.sum(-1) == 1).all()
    within_errors(draws, log_softmax(LOGITS).exp(), resolution=0.05)


@pytest.mark.parametrize("temperature", [0.1, 0.4, 5.0])
def test_a_relaxed_draws_largest_entry_is_the_categoricals(temperature, within_errors):
    """The Gumbel-max trick: the index of the largest entry has probabilities π at every temperature."""
    draws = RelaxedMembership(torch.tensor(temperature).double(), logits=LOGITS).rsample((40_000,))
    assert (draws >= 0).all()
    torch.testing.assert_close(draws.sum(-1), torch.ones(40_000, 3, dtype=torch.float64))
    within_errors(CORNERS[draws.argmax(-1)], log_softmax(LOGITS).exp(), resolution=0.05)


def test_a_relaxed_draw_nears_a_corner_as_the_temperature_falls():
    """The mean distance 1 − max_k y_k, falls in proportion to τ (measured: 0.41 τ at all three)."""
    distances = []
    for temperature in (0.4, 0.1, 0.025):
        torch.manual_seed(1)
        draws = RelaxedMembership(torch.tensor(temperature).double(), logits=LOGITS).sample((20_000,))
        distances.append(float(1 - draws.max(-1).values.mean()))
        assert 0.36 * temperature < distances[-1] < 0.46 * temperature


def test_a_relaxed_draw_follows_its_logits():
    """The path's derivative of y_k by logit_j is y_k (δ_jk − y_j) / τ."""
    logits = LOGITS[0].clone().requires_grad_()
    y = RelaxedMembership(TEMPERATURE, logits=logits).rsample()
    jacobian = torch.stack([torch.autograd.grad(entry, logits, retain_graph=True)[0] for entry in y])
    torch.testing.assert_close(jacobian, (y.diag() - torch.outer(y, y)).detach() / TEMPERATURE)


@pytest.mark.parametrize("temperature", [0.4, 0.05, 0.01])
def test_draws_in_single_precision_are_on_the_simplex_as_validation_asks(temperature):
    """To 1e-6, torch's own tolerance: before the division by their sum half of these batches failed at τ = 0.05."""
    logits = torch.randn(2000, 30)
    relaxed = RelaxedMembership(torch.tensor(temperature), logits=logits, validate_args=True)
    assert relaxed.support.check(relaxed.rsample()).all()
