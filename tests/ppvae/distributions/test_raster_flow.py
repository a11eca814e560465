"""A flow that moves locations alone: triangular in raster order, then in the mirrored one, and undone exactly."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import Normal

from ppvae.distributions import RasterFlow
from ppvae.errors import UserError

SHAPE = (2, 3, 4)


def flow(pairs: int = 1) -> tuple[RasterFlow, torch.Tensor]:
    torch.manual_seed(0)
    made = RasterFlow(SHAPE, 3, pairs, channels=4).double()
    for head in made.heads:
        nn.init.normal_(head.weight, std=0.5)
    return made, torch.randn(5, 3, *SHAPE[1:], dtype=torch.double)


def test_it_starts_at_the_identity():
    z = torch.randn(5, *SHAPE)
    for step in RasterFlow(SHAPE, 3).transforms(torch.randn(5, 3, *SHAPE[1:])):
        z_after = step(z)
        assert torch.equal(z_after, z)


def test_each_step_is_triangular_and_keeps_volume():
    """In raster order first, mirrored next; all maps of a place together; ones on the diagonal."""
    made, context = flow()
    for step, mirrored in zip(made.transforms(context[:1]), (False, True), strict=True):
        jacobian = torch.autograd.functional.jacobian(step, torch.randn(1, *SHAPE, dtype=torch.double))
        places = jacobian.reshape(2, 12, 2, 12).transpose(1, 2).abs().sum((0, 1))  # (to place, from place)
        later = torch.tril(places, -1) if mirrored else torch.triu(places, 1)
        assert (later == 0).all()
        earlier = torch.triu(places, 1) if mirrored else torch.tril(places, -1)
        assert (earlier > 0).any()
        square = jacobian.reshape(24, 24)
        torch.testing.assert_close(square.det().abs(), torch.ones((), dtype=torch.double))
        assert torch.equal(square.diagonal(), torch.ones(24, dtype=torch.double))


@pytest.mark.parametrize("pairs", [1, 2])
def test_the_way_back_is_exact_and_so_is_the_density(pairs):
    made, context = flow(pairs)
    base = dist.Normal(torch.zeros(5, *SHAPE, dtype=torch.double), 1.0).to_event(3)
    fn = dist.TransformedDistribution(base, made.transforms(context))
    z = fn.rsample()
    own = fn.log_prob(z)
    found = z.clone()  # another tensor: the remembered draw does not help
    again = dist.TransformedDistribution(base, made.transforms(context))
    torch.testing.assert_close(again.log_prob(found), own, rtol=1e-10, atol=1e-10)
    for step in reversed(made.transforms(context)):
        found = step.inv(found)
    torch.testing.assert_close(Normal(0.0, 1.0).log_prob(found).flatten(1).sum(1), own)


def test_draws_before_images_share_the_context():
    made, context = flow()
    z = torch.randn(3, 5, *SHAPE, dtype=torch.double)
    (first, _), alone = made.transforms(context), made.transforms(context)[0]
    torch.testing.assert_close(first(z)[1], alone(z[1]))


def test_wrong_sizes():
    with pytest.raises(UserError, match="pairs"):
        RasterFlow(SHAPE, 3, 0)
    with pytest.raises(UserError, match="map_shape"):
        RasterFlow((3, 4), 3)
