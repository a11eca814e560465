"""The autoregressive flow and the prior on it: density, inverse, Jacobian, parallel scoring, what it can learn."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from pyro import poutine
from torch import nn

from ppvae import UserError
from ppvae.distributions import AutoregressiveFlow
from ppvae.priors import AutoregressiveFlowPrior
from ppvae.svi.capture import capture

GATES = (None, 1.5)


def make_flow(latents: int = 4, flows: int = 2, gate_bias: float | None = None, std: float = 0.5, **options: int):
    """A flow far from the identity, in double precision."""
    flow = AutoregressiveFlow(latents, flows, [latents + 3, latents + 2], gate_bias=gate_bias, **options).double()
    for parameter in flow.parameters():
        nn.init.normal_(parameter, std=std)
    return flow


def forward(flow: AutoregressiveFlow, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
    for transform in flow.transforms(context):
        z = transform(z)
    return z


def site(prior: nn.Module, count: int) -> dict:
    with pyro.plate("image", count, dim=-1):
        return poutine.trace(prior).get_trace().nodes["z"]


@pytest.mark.parametrize("gate_bias", GATES)
def test_each_step_is_triangular_in_its_own_order(gate_bias):
    """∂f_t/∂z: lower triangular at odd steps, upper at even ones, with the scales on the diagonal."""
    flow, z = make_flow(flows=3, gate_bias=gate_bias), torch.randn(4, dtype=torch.float64)
    for step, transform in enumerate(flow.transforms()):
        jacobian = torch.autograd.functional.jacobian(transform, z)
        outside = jacobian.triu(1) if step % 2 == 0 else jacobian.tril(-1)
        inside = jacobian.tril(-1) if step % 2 == 0 else jacobian.triu(1)
        assert not outside.any()
        assert int((inside != 0).sum()) == 6
        assert (jacobian.diagonal() > 0).all()
        assert gate_bias is None or (jacobian.diagonal() < 1).all()


@pytest.mark.parametrize("gate_bias", GATES)
@pytest.mark.parametrize("context", [0, 3])
def test_log_determinant_and_inverse(context, gate_bias):
    """Against autograd, for both directions; the inverse without any cached value, in double precision."""
    flow = make_flow(gate_bias=gate_bias, context=context)
    z, given = torch.randn(4, dtype=torch.float64), torch.randn(context, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: forward(flow, z, given), z)
    value, log_determinant = z, 0.0
    for transform in flow.transforms(given):
        moved = transform(value)
        log_determinant, value = log_determinant + transform.log_abs_det_jacobian(value, moved), moved
    torch.testing.assert_close(log_determinant, jacobian.slogdet().logabsdet, rtol=0, atol=1e-10)
    back = value.clone()  # a tensor that no cache knows
    for transform in reversed(flow.transforms(given)):
        back = transform.inv(back)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-10)


@pytest.mark.parametrize("gate_bias", GATES)
def test_linear_networks_give_every_triangular_matrix(gate_bias):
    """The connections from input to output alone: f(z) = Dz + Bz, B strictly lower."""
    flow, z = make_flow(3, 1, gate_bias), torch.randn(5, 3, dtype=torch.float64)
    network, below = flow.steps[0], torch.randn(3, 3, dtype=torch.float64).tril(-1)
    with torch.no_grad():
        for parameter in (network.last.weight, network.first.weight[-6:], network.first.bias[-6:]):
            parameter.zero_()
        network.first.weight[-6:-3] = below
    gate = 1.0 if gate_bias is None else torch.tensor(gate_bias).double().sigmoid()
    matrix = gate * torch.eye(3, dtype=torch.float64) + (1 if gate_bias is None else 1 - gate) * below
    torch.testing.assert_close(forward(flow, z), z @ matrix.T)


@pytest.mark.parametrize("gate_bias", GATES)
def test_density_integrates_to_one(gate_bias):
    """In two dimensions, by the trapezoidal rule; the square holds all but 1e-4 of the draws."""
    prior = AutoregressiveFlowPrior(2, flow=make_flow(2, 2, gate_bias, std=0.3)).double()
    with torch.no_grad():
        assert site(prior, 20_000)["value"].abs().max() < 25
        axis = torch.linspace(-30, 30, 801, dtype=torch.float64)
        z = torch.cartesian_prod(axis, axis)
        log_prob = site(prior, len(z))["fn"].log_prob(z)
    plain = dist.Normal(torch.zeros_like(z), 1.0).to_event(1).log_prob(z)
    assert (log_prob - plain).abs().max() > 1
    mass = log_prob.exp().sum() * (axis[1] - axis[0]) ** 2
    assert mass.item() == pytest.approx(1, abs=2e-3)


def test_density_is_that_of_the_whitened_z():
    """log N(f(z); 0, I) + log |det ∂f/∂z|, the Jacobian by autograd."""
    flow = make_flow()
    prior = AutoregressiveFlowPrior(4, flow=flow).double()
    for z in torch.randn(3, 4, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda z: forward(flow, z), z)
        normal = dist.Normal(torch.zeros_like(z), 1.0).to_event(1).log_prob(forward(flow, z))
        expected = normal + jacobian.slogdet().logabsdet
        torch.testing.assert_close(site(prior, 1)["fn"].log_prob(z[None])[0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_whitened_back_to_noise(dtype, within_errors):
    prior = AutoregressiveFlowPrior(4, flow=make_flow(std=0.3)).to(dtype)
    with torch.no_grad():
        z = site(prior, 20_000)["value"]
        noise = forward(prior.flow, z)
    assert z.dtype == noise.dtype == dtype
    products = noise[:, :, None] * noise[:, None]
    within_errors(noise.square(), torch.ones(4), resolution=0.1)
    assert ((products.mean(0) - torch.eye(4)).abs() < 5 * products.std(0) / len(z) ** 0.5).all()
    assert (z.T.corrcoef() - torch.eye(4)).abs().max() > 0.1


def test_scoring_is_one_pass_and_drawing_one_for_each_latent():
    prior, calls = AutoregressiveFlowPrior(4, flow=make_flow(flows=3)).double(), []
    for step in prior.flow.steps:
        step.register_forward_hook(lambda *_: calls.append(1))
    drawn = site(prior, 5)
    assert len(calls) == 3 * 4
    calls.clear()
    with torch.no_grad():
        values = drawn["fn"].log_prob(drawn["value"])  # its own draw: nothing to compute but what is cached
        fresh = site(prior, 5)["fn"]
        calls.clear()
        torch.testing.assert_close(fresh.log_prob(drawn["value"].clone()), values)
    assert len(calls) == 3


@pytest.mark.parametrize("flows", [1, 2, 4])
def test_training_begins_near_the_standard_normal(flows):
    """Within 0.1 nats a step, where 15 latents of up to three standard deviations have about 50."""
    prior, z = AutoregressiveFlowPrior(15, flows), 3 * torch.randn(50, 15).clamp(-1, 1)
    plain = dist.Normal(torch.zeros(15), 1.0).to_event(1).log_prob(z)
    assert (site(prior, 50)["fn"].log_prob(z) - plain).abs().max() < 0.1 * flows


def test_it_learns_a_covariance():
    """Trained on N(0, Σ) it reaches the entropy ½ log |2πeΣ|, the least cross-entropy there is.

    Expectations are sums over 12² Gauss-Hermite nodes, exact for polynomials of degree 23; every parameter trains.
    """
    covariance = torch.tensor([[1.5, 0.9], [0.9, 0.8]], dtype=torch.float64)
    nodes, weights = (torch.from_numpy(array) for array in hermegauss(12))
    noise = torch.tensor(list(itertools.product(nodes, nodes)), dtype=torch.float64)
    weights = torch.tensor([float(a * b) for a, b in itertools.product(weights, weights)]).double()
    weights, z = weights / weights.sum(), noise @ torch.linalg.cholesky(covariance).T
    prior = AutoregressiveFlowPrior(2, 1, [3]).double()
    optimiser = torch.optim.LBFGS(prior.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def cross_entropy() -> torch.Tensor:
        return -(weights * site(prior, len(z))["fn"].log_prob(z)).sum()

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = cross_entropy()
        loss.backward()
        return loss

    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), covariance)
    start = cross_entropy().item()
    optimiser.step(closure)
    assert start > exact.entropy().item() + 0.5
    assert cross_entropy().item() == pytest.approx(exact.entropy().item(), abs=1e-4)
    likely = z[exact.log_prob(z) > -6]
    torch.testing.assert_close(
        site(prior, len(likely))["fn"].log_prob(likely), exact.log_prob(likely), rtol=0, atol=0.05
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"latents": 1}, "latents=1.*at least 2"),
        ({"flows": 0}, "flows=0.*expected"),
        ({"hidden": [8, 3]}, r"hidden=\[8, 3\].*at least as many units as latents, 4"),
        ({"hidden": []}, r"hidden=\[\].*expected"),
        ({"flow": AutoregressiveFlow(3, 1, [4])}, "flow is of 3 latents, the prior of 4"),
        ({"flow": AutoregressiveFlow(4, 1, [4], context=2)}, "context of 2.*context=0"),
    ],
)
def test_mistakes_are_named_in_one_line(options, match):
    with pytest.raises(UserError, match=match) as error:
        AutoregressiveFlowPrior(**{"latents": 4, **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "match"), [({"gate_bias": 0.0}, "gate_bias=0.0.*above"), ({"context": -1}, "context=-1.*expected")]
)
def test_a_flow_wants_numbers_in_range(options, match):
    with pytest.raises(UserError, match=match):
        AutoregressiveFlow(4, **options)


def test_a_delayed_flow_is_the_identity_until_its_time():
    """N(0, I) exactly, and no gradient, for two training passes; evaluation does not count; then the flow itself."""
    flow = make_flow()
    prior = AutoregressiveFlowPrior(4, flow=flow, delay=2).double()
    z = torch.randn(3, 4, dtype=torch.float64)
    normal = dist.Normal(torch.zeros(4, dtype=torch.float64), 1.0).to_event(1).log_prob(z)

    def score() -> torch.Tensor:
        return site(prior, 3)["fn"].log_prob(z)

    for _ in range(3):
        prior.eval()
        torch.testing.assert_close(score(), normal, rtol=0, atol=0)
    prior.train()
    for _ in range(2):
        scored = score()
        torch.testing.assert_close(scored, normal, rtol=0, atol=0)
        assert not any(g.any() for g in torch.autograd.grad(scored.sum(), list(flow.parameters())))
    expected = site(AutoregressiveFlowPrior(4, flow=flow).double(), 3)["fn"].log_prob(z)
    torch.testing.assert_close(score(), expected)
    assert (expected - normal).abs().max() > 0.1
    torch.testing.assert_close(prior.eval() and score(), expected)
    assert site(prior, 3)["value"].shape == (3, 4)


def test_a_captured_step_counts_the_passes():
    prior = AutoregressiveFlowPrior(4, flow=make_flow(), delay=2).double()
    z = torch.randn(3, 4, dtype=torch.float64)

    def score(z: torch.Tensor) -> torch.Tensor:
        return site(poutine.condition(prior, {"z": z}), 3)["fn"].log_prob(z).sum()

    graph = capture(score, z, preserve=prior)
    assert prior.passes == 0
    values = [float(graph(z).detach()) for _ in range(4)]
    assert values[0] == values[1] != values[2] == values[3]
    assert prior.passes == 4


def test_a_gated_flow_cannot_be_delayed():
    with pytest.raises(UserError, match=r"delay=3.*gate"):
        AutoregressiveFlowPrior(4, flow=make_flow(gate_bias=1.5), delay=3)
