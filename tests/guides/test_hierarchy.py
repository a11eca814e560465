"""Deep hierarchies as pairs: one pass of the shared network a step, exact evidence, ELBOs that agree."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from guides import HierarchyGuide, LadderGuide, MeanFieldNormal
from ppvae import VAE, BetaELBO, UserError, check_pair
from ppvae.likelihoods import BernoulliLikelihood
from ppvae.networks import BottomUp, HierarchyDecoder, TopDown
from ppvae.pair.terms import mean_field, trace
from ppvae.priors import HierarchyPrior, NormalPrior
from ppvae.svi.step import Step

SHAPE = (1, 8, 8)
LINE = "2x2:1 4x4:2"


def pair(guide: type = HierarchyGuide, line: str = LINE, **options: Any) -> tuple[VAE, Any]:
    torch.manual_seed(0)
    options = {"channels": 8, **options}
    prior = HierarchyPrior(TopDown(line, latents=2, **options))
    model = VAE(prior, BernoulliLikelihood(HierarchyDecoder(line, SHAPE, **options)))
    return model, guide(BottomUp(line, SHAPE, **options), prior)


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)).round()


def with_flows(bottom_up: BottomUp, prior: HierarchyPrior) -> HierarchyGuide:
    return HierarchyGuide(bottom_up, prior, flows=1)


@pytest.mark.parametrize(
    ("guide", "cell"),
    [(HierarchyGuide, "nvae"), (LadderGuide, "residual"), (HierarchyGuide, "vdvae"), (with_flows, "vdvae")],
)
def test_a_captured_step_has_each_convolution_and_norm_once(guide, cell):
    model, encoder = pair(guide, line="2x2:1 4x4:1", cell=cell)
    step = Step(model, encoder, BetaELBO())
    step.prepare(images(), torch.tensor(()), execution="captured")
    assert step.execution == "captured"
    called = [str(node.target) for node in step.run.graph.nodes if node.op == "call_function"]
    modules = list(nn.ModuleList([model, encoder]).modules())
    for kind, name in ((nn.Conv2d, "aten.conv"), (nn.BatchNorm2d, "aten.batch_norm")):
        assert sum(name in target for target in called) == sum(isinstance(module, kind) for module in modules)


def test_sites_go_from_the_top_and_have_dims_of_their_own():
    model, guide = pair()
    check_pair(model, guide, images())
    check_pair(*pair(with_flows), images())
    sites = poutine.trace(guide).get_trace(images()).nodes
    names = [name for name, site in sites.items() if site["type"] == "sample" and name != "image"]
    assert names == ["z_1", "z_2", "z_3"]
    assert sites["z_2"]["infer"]["event_dims"] == ["latent_2", "row_2", "column_2"]
    assert sites["z_1"]["value"].shape == (6, 2, 2, 2)
    assert sites["z_3"]["value"].shape == (6, 2, 4, 4)


@pytest.mark.parametrize("guide", [HierarchyGuide, LadderGuide])
def test_the_elbo_is_pyros(guide):
    model, encoder = pair(guide)
    for module in (model, encoder):
        module.double().eval()
    x, found = images().double(), []
    for estimator, reference in (("trace", Trace_ELBO()), ("mean_field", TraceMeanField_ELBO())):
        torch.manual_seed(3)
        ours = BetaELBO(estimator=estimator)(model, encoder, x)
        torch.manual_seed(3)
        found.append((ours.item(), reference.loss(model, encoder, x) / len(x)))
    for ours, theirs in found:
        assert ours == pytest.approx(theirs, rel=1e-12)


def test_one_group_of_linear_layers_is_the_plain_vae():
    """z_1 of one place and no cells: the same decoder and heads as a plain VAE's, the same numbers."""
    prior = HierarchyPrior(TopDown("1x1:1", channels=4, latents=3, cells=0))
    taking = prior.top_down.taking[0]

    class Out(nn.Module):
        map_shape = (4, 1, 1)

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 16)

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return self.linear(features.flatten(-3)).unflatten(-1, (1, 4, 4))

    class Plain(nn.Module):
        latents = 3

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            constant = prior.top_down.constant.flatten().expand(*z.shape[:-1], -1)
            return out(
                nn.functional.linear(torch.cat([constant, z], -1), taking.weight[..., 0, 0], taking.bias)[
                    ..., None, None
                ]
            )

    class Up(nn.Module):
        group_shapes = ((4, 1, 1),)

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [self.linear(x.flatten(-3))[..., None, None]]

    torch.manual_seed(0)
    out, up = Out(), Up()
    deep = HierarchyGuide(up, prior)
    nn.init.normal_(deep.heads[0].weight)

    class Encoder(nn.Module):
        features = 4

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.elu(up(x)[0] + deep.joining[0](prior.top_down.constant[None])).flatten(1)

    flat = MeanFieldNormal(Encoder(), 3)
    loc, log_scale = deep.heads[0].weight[..., 1, 1].chunk(2)  # a place alone sees the kernel's middle
    with torch.no_grad():
        flat.loc.weight.copy_(loc)
        flat.log_variance.weight.copy_(2 * log_scale)
        for head in (flat.loc, flat.log_variance):
            head.bias.zero_()
    models = VAE(prior, BernoulliLikelihood(out)), VAE(NormalPrior(3), BernoulliLikelihood(Plain()))
    x, losses = torch.rand(5, 1, 4, 4).round(), []
    for model, guide in zip(models, (deep, flat), strict=True):
        torch.manual_seed(1)
        losses.append(BetaELBO()(model, guide, x).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # float32


class Linear(nn.Module):
    """z_1 ~ N(0, I), z_2 | z_1 ~ N(A z_1 + a, I), and the features are z_2: a way down from outside the package."""

    latents, group_shapes, map_shape = 2, ((2, 1, 1),) * 2, (2, 1, 1)

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrix, self.offset = (torch.randn(*shape, generator=generator).double() for shape in ((2, 2), (2,)))

    def walk(self, draw: Any) -> torch.Tensor:
        zeros = torch.zeros(2, 1, 1, dtype=torch.double)
        z_1 = draw(0, zeros, (zeros, zeros))
        loc = (z_1.flatten(-3) @ self.matrix.T + self.offset)[..., None, None]
        return draw(1, z_1, (loc, torch.zeros_like(loc)))


def test_the_exact_posterior_of_a_linear_gaussian_hierarchy_has_the_evidence():
    """x = W z_2 + w + 0.5 ε. With q(z_1 | x) and q(z_2 | z_1, x) in closed form −ELBO is −log p(x), draw by draw."""
    down, noise = Linear(), 0.5
    weight, bias = (torch.randn(*s, generator=torch.Generator().manual_seed(5)).double() for s in ((4, 2), (4,)))

    class Pixels(nn.Module):
        def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
            return dist.Normal((z.flatten(-3) @ weight.T + bias).unflatten(-1, (1, 2, 2)), noise).to_event(3)

    class Up(nn.Module):
        group_shapes = ((2, 1, 1),) * 2

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x, x]

    class Exact(HierarchyGuide):
        def posterior(self, group: int, seen: torch.Tensor, features: torch.Tensor, raw: Any) -> Any:
            """Of z given what is above and y = W z + w + noise; z_1 sees y through z_2."""
            y = seen.flatten(-3) - bias
            del features
            if group == 0:
                map_of_z, rest = weight @ down.matrix, weight @ weight.T + noise**2 * torch.eye(4)
                loc, y = torch.zeros(2).double(), y - weight @ down.offset
            else:
                map_of_z, rest, loc = weight, noise**2 * torch.eye(4).double(), raw[0].flatten(-3)
            precision = torch.eye(2) + map_of_z.T @ torch.linalg.solve(rest, map_of_z)
            moved = torch.linalg.solve(rest, (y - loc @ map_of_z.T).mT).mT @ map_of_z
            loc = loc + torch.linalg.solve(precision, moved.mT).mT
            flat = dist.MultivariateNormal(loc, torch.linalg.inv(precision))
            return dist.TransformedDistribution(flat, [dist.transforms.ReshapeTransform((2,), (2, 1, 1))])

    prior = HierarchyPrior(down)
    guide = Exact(Up(), prior)
    model = VAE(prior, Pixels())
    x = torch.randn(5, 1, 2, 2, dtype=torch.double)
    hidden = torch.eye(2) + down.matrix @ down.matrix.T
    evidence = dist.MultivariateNormal(
        bias + weight @ down.offset, weight @ hidden @ weight.T + noise**2 * torch.eye(4)
    ).log_prob(x.flatten(1))
    terms = trace(model, guide, x)
    torch.testing.assert_close(-(terms.distortion + terms.rate), evidence, rtol=1e-9, atol=1e-9)


def test_closed_rates_are_those_of_the_draws_on_average():
    """Group by group, in expectation; 800 draws of one image, five standard errors."""
    model, guide = pair(cell="vdvae")
    for module in (model, guide):
        module.double().eval()
    with torch.no_grad():
        for head in guide.heads:
            nn.init.normal_(head.weight, std=0.05)
        x = images(1).double().expand(800, -1, -1, -1)
        torch.manual_seed(0)
        closed, sampled = mean_field(model, guide, x), trace(model, guide, x)
    for name in ("z_1", "z_2", "z_3"):
        apart = (closed.rates[name][1] - sampled.rates[name][1]).flatten(1).sum(1)
        assert apart.mean().abs() < 5 * apart.std() / 800**0.5
        assert closed.rates[name][1].shape == (800, *sampled.rates[name][1].shape[1:])


def test_a_ladder_multiplies_the_prior_by_what_the_image_says():
    model, guide = pair(LadderGuide)
    raw = tuple(torch.randn(3, 2, 4, 4) for _ in range(2))
    seen = torch.randn(3, 8, 4, 4)
    nn.init.normal_(guide.heads[1].weight, std=0.2)
    q, p = guide.posterior(1, seen, None, raw).base_dist, model.prior.normals.prior(raw)
    said = model.prior.normals.prior(guide.heads[1](nn.functional.elu(seen)).chunk(2, 1))
    z = torch.randn(7, 3, 2, 4, 4)
    apart = q.log_prob(z) - p.log_prob(z) - said.log_prob(z)
    torch.testing.assert_close(apart, apart[:1].expand_as(apart), rtol=1e-4, atol=1e-4)
    assert (q.scale < p.scale).all()
    guide.heads[1].bias.data[2:] = 200.0  # an image that says nothing: its precision is no number of float32
    q = guide.posterior(1, seen, None, raw).base_dist
    (q.loc.sum() + q.scale.sum()).backward()
    torch.testing.assert_close((q.loc, q.scale), (p.loc, p.scale))
    assert guide.heads[1].weight.grad.isfinite().all()


def test_draws_by_the_side_of_images_have_the_density_of_each():
    """The prior scores (draw, image, …) as it scores draw by draw: networks see no more than one leading dim."""
    model, guide = pair()
    model.eval(), guide.eval()
    x = images(3)
    drawn = [poutine.trace(guide).get_trace(x) for _ in range(2)]
    values = {n: torch.stack([t.nodes[n]["value"] for t in drawn]) for n in ("z_1", "z_2", "z_3")}

    def density(given: dict[str, torch.Tensor], plate: bool) -> torch.Tensor:
        conditioned = poutine.condition(model, data=given)
        if plate:
            with pyro.plate("draws", 2, dim=-2):
                trace = poutine.trace(conditioned).get_trace(x)
        else:
            trace = poutine.trace(conditioned).get_trace(x)
        return sum(trace.nodes[n]["fn"].log_prob(trace.nodes[n]["value"]) for n in [*given, "x"])

    each = torch.stack([density({n: v[k] for n, v in values.items()}, False) for k in range(2)])
    torch.testing.assert_close(density(values, True), each, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: HierarchyGuide(BottomUp(LINE, SHAPE), NormalPrior(3)), "NormalPrior has none: give prior=hierarchy"),
        (
            lambda: LadderGuide(BottomUp(LINE, SHAPE, channels=8), HierarchyPrior(TopDown(LINE, channels=16))),
            "the way up has groups of .* give both the same hierarchy",
        ),
        (
            lambda: HierarchyGuide(
                BottomUp("2x2:1 8x8:2", SHAPE, channels=8, widening=1),
                HierarchyPrior(TopDown(LINE, channels=8, widening=1)),
            ),
            "give both the same hierarchy",
        ),
        (
            lambda: HierarchyGuide(BottomUp("4x4:1", SHAPE, channels=8), HierarchyPrior(TopDown(LINE, channels=8))),
            "give both the same hierarchy",
        ),
    ],
)
def test_ways_that_do_not_meet(make, fault):
    with pytest.raises(UserError, match=fault) as caught:
        make()
    assert "\n" not in str(caught.value)
