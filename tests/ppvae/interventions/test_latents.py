"""Interventions on a linear model, where every answer is a closed form."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import VAE, Program, UserError, from_pyro_svi
from ppvae.interventions import ablate, latent_grid, reconstruct, relevance, traverse
from ppvae.priors import AutoregressiveFlowPrior, ConjugateARDPrior, NormalGammaPrior, NormalPrior

SHAPE, LATENTS, IMAGES, SCALE = (2, 3, 4), 4, 40, 0.5
UNUSED = 2


class Linear(nn.Module):
    """Normal images whose mean is linear in z; latent 2 is not used."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(LATENTS, math.prod(SHAPE), generator=generator))
        self.b = nn.Parameter(torch.randn(math.prod(SHAPE), generator=generator))
        with torch.no_grad():
            self.w[UNUSED] = 0

    def mean(self, z):
        return (z @ self.w + self.b).unflatten(-1, SHAPE)

    def forward(self, z):
        mean = self.mean(z)
        return dist.Normal(mean, torch.tensor(SCALE).expand_as(mean)).to_event(3)


class Pixels(Program):
    """q(z | x): each latent reads one pixel, with a standard deviation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor([0.1, 0.4, 0.9, 0.2]).log())
        self.gain = nn.Parameter(torch.tensor([1.0, 2.0, 0.1, 0.5]))

    def forward(self, images):
        with pyro.plate("image", images.shape[-4], dim=-1):
            q = dist.Normal(self.gain * images.flatten(-3)[..., :LATENTS], self.log_scale.exp()).to_event(1)
            return pyro.sample("z", q, infer={"event_dims": ["latent"]})


@pytest.fixture
def model() -> VAE:
    return VAE(NormalPrior(LATENTS), Linear())


@pytest.fixture
def tree(model):
    images = torch.randn(IMAGES, *SHAPE, generator=torch.Generator().manual_seed(1))
    return from_pyro_svi(model, Pixels(), images, 3)


def codes(tree) -> torch.Tensor:
    return torch.from_numpy(tree["sample_stats"]["z_mean"].values)


def test_a_reconstruction_is_the_decoders_mean(model, tree):
    pixels = reconstruct(model, tree)
    assert pixels.dims == ("image", "channel", "row", "column")
    with torch.no_grad():
        expected = model.likelihood.mean(codes(tree))
    np.testing.assert_allclose(pixels, expected, rtol=1e-5, atol=1e-5)
    few = tree.isel(image=[3, 30])
    np.testing.assert_allclose(reconstruct(model, few), pixels[[3, 30]], rtol=1e-5, atol=1e-5)
    assert reconstruct(model, few)["image"].values.tolist() == [3, 30]


def test_an_unused_latent_ablates_to_zero(model, tree):
    ablation = ablate(model, tree)
    assert ablation["worsening"].dims == ablation["relative"].dims == ("latent",)
    assert float(ablation["worsening"][UNUSED]) == pytest.approx(0, abs=1e-6)
    assert float(ablation["relative"][UNUSED]) == pytest.approx(0, abs=1e-9)


def test_a_used_latent_ablates_to_its_closed_form(model, tree):
    """Moving z_k by d changes the mean by d·w_k: the squared error rises by d²|w_k|² − 2 d (x − mean)·w_k."""
    ablation = ablate(model, tree)
    z, x = codes(tree).double(), torch.from_numpy(tree["observed_data"]["x"].values).flatten(1).double()
    w, b = model.likelihood.w.detach().double(), model.likelihood.b.detach().double()
    residual = x - (z @ w + b)
    error = residual.square().sum(1).mean()
    shift = z.mean(0) - z
    rises = torch.stack(
        [(shift[:, k] ** 2 * w[k].square().sum() - 2 * shift[:, k] * (residual @ w[k])).mean() for k in range(LATENTS)]
    )
    np.testing.assert_allclose(ablation["worsening"], rises / (2 * SCALE**2), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ablation["relative"], rises / error, rtol=1e-4, atol=1e-6)
    constant = math.prod(SHAPE) * (math.log(SCALE) + 0.5 * math.log(2 * math.pi))
    assert ablation.attrs["squared_error"] == pytest.approx(float(error), rel=1e-5)
    assert ablation.attrs["distortion"] == pytest.approx(float(error) / (2 * SCALE**2) + constant, rel=1e-5)
    assert ablation.attrs["images"] == IMAGES
    assert "nats" in ablation["worsening"].attrs["units"]


def test_the_relevance_of_a_linear_decoder_is_its_weights_and_the_codes_variance(model, tree):
    worth = relevance(model, tree)
    w = model.likelihood.w.detach().double()
    np.testing.assert_allclose(worth["jacobian"], w.square().sum(1), rtol=1e-5, atol=1e-12)
    stats = tree["sample_stats"]
    codes = (stats["z_mean"].astype(float).var("image") + stats["z_variance"].mean("image")).values
    np.testing.assert_allclose(worth["variance"], codes, rtol=1e-5)
    np.testing.assert_allclose(worth["relevance"], worth["jacobian"] * worth["variance"])
    assert worth["relevance"][UNUSED] == 0
    assert worth.attrs == {"site": "z", "images": IMAGES, "variance_of": "codes"}


def test_the_relevance_is_under_a_priors_own_variances(tree):
    """And the same in whatever units the decoder and the prior count a latent."""
    prior = ConjugateARDPrior(LATENTS)
    prior.codes.fill_(100.0)
    prior.squares.copy_(torch.tensor([25.0, 100.0, 400.0, 900.0]))
    model = VAE(prior, Linear())
    worth = relevance(model, tree)
    assert worth.attrs["variance_of"] == "prior"
    expected = (1 + torch.tensor([25.0, 100.0, 400.0, 900.0]) / 2) / 51
    np.testing.assert_allclose(worth["variance"], expected, rtol=1e-6)
    with torch.no_grad():
        model.likelihood.w.mul_(torch.tensor([0.1, 10.0, 1.0, 3.0])[:, None])
        prior.squares.copy_(2 * (51 * expected / torch.tensor([0.1, 10.0, 1.0, 3.0]) ** 2 - 1))
    np.testing.assert_allclose(relevance(model, tree)["relevance"], worth["relevance"], rtol=1e-4)


def test_a_curved_decoders_slope_is_its_derivative(tree):
    """By finite differences in float64 of a sigmoid of the linear mean."""

    class Curved(Linear):
        def forward(self, z):
            mean = self.mean(z).sigmoid()
            return dist.Normal(mean, torch.tensor(SCALE).expand_as(mean)).to_event(3)

    curved = VAE(NormalPrior(LATENTS), Curved())
    found = relevance(curved, tree)["jacobian"]
    z, likelihood = codes(tree).double(), Curved().double()
    for latent in range(LATENTS):
        step = torch.zeros(LATENTS, dtype=torch.float64)
        step[latent] = 1e-5
        with torch.no_grad():
            slope = (likelihood.mean(z + step).sigmoid() - likelihood.mean(z - step).sigmoid()) / 2e-5
        expected = slope.square().flatten(1).sum(1).mean()
        assert float(found[latent]) == pytest.approx(float(expected), rel=1e-4, abs=1e-9)


def test_a_traversal_moves_one_latent_over_its_quantiles(model, tree):
    traversal = traverse(model, tree, image=5, steps=7)
    assert traversal.dims == ("latent", "step", "channel", "row", "column")
    assert traversal.shape == (LATENTS, 7, *SHAPE)
    kl = tree["sample_stats"]["kl"].mean("image").values
    order = traversal["latent"].values
    assert sorted(order) == list(range(LATENTS))
    assert (np.diff(traversal["kl"]) <= 0).all()
    np.testing.assert_allclose(traversal["kl"], kl[order], rtol=1e-6)
    z = codes(tree)
    low, high = np.quantile(z.numpy(), [0.01, 0.99], axis=0)
    for row, latent in enumerate(order):
        values = traversal["value"][row].values
        np.testing.assert_allclose(values, np.linspace(low[latent], high[latent], 7), rtol=1e-5, atol=1e-6)
        moved = z[5].repeat(7, 1)
        moved[:, latent] = torch.from_numpy(values)
        with torch.no_grad():
            expected = model.likelihood.mean(moved)
        np.testing.assert_allclose(traversal[row], expected, rtol=1e-4, atol=1e-5)
    unused = traversal.sel(latent=UNUSED)
    np.testing.assert_allclose(unused, np.broadcast_to(unused[:1], unused.shape), rtol=1e-6)


@pytest.mark.parametrize("image", [-1, IMAGES, 1000])
def test_an_image_that_is_not_there_ends_in_one_line(model, tree, image):
    with pytest.raises(UserError, match=str(image)) as caught:
        traverse(model, tree, image=image)
    assert "\n" not in str(caught.value)


def test_no_steps_end_in_one_line(model, tree):
    with pytest.raises(UserError, match="steps") as caught:
        traverse(model, tree, steps=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("intervention", [ablate, relevance, traverse])
def test_a_site_that_is_not_there_ends_in_one_line(model, tree, intervention):
    with pytest.raises(UserError, match="'w'") as caught:
        intervention(model, tree, site="w")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("intervention", [reconstruct, ablate, relevance, traverse])
def test_interventions_change_nothing(model, tree, intervention):
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copy = tree.copy(deep=True)
    torch.manual_seed(3)
    state, settings = torch.get_rng_state(), pyro.settings.get()
    first = intervention(model, tree)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(4)
    second = intervention(model, tree)
    assert first.identical(second)
    assert pyro.settings.get() == settings
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not pyro.get_param_store().keys()
    for name, group in copy.children.items():
        assert group.to_dataset().identical(tree[name].to_dataset())


def test_latents_without_a_kl_of_their_own_are_sorted_by_their_codes(model, tree):
    """Gains 1, 2, 0.1, 0.5 of pixels with variance one."""
    joint = tree.copy(deep=True)
    joint["sample_stats"] = tree["sample_stats"].to_dataset().assign(kl=tree["sample_stats"]["kl"].sum("latent"))
    traversal = traverse(model, joint, steps=3)
    assert traversal["latent"].values.tolist() == [1, 0, 3, 2]
    assert "kl" not in traversal.coords
    whole = traverse(model, tree, steps=3).sel(latent=traversal["latent"])
    np.testing.assert_array_equal(traversal, whole)


# The plane of two latents


class Plane(Linear):
    """:class:`Linear` in two latents."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(self.w.detach()[[0, 1]])


PRIORS = {
    "normal": lambda: NormalPrior(2),
    "normal-gamma": lambda: NormalGammaPrior(2),
    "flow": lambda: AutoregressiveFlowPrior(2, hidden=(4,)),
}


@pytest.mark.parametrize("prior", PRIORS)
def test_the_plane_is_the_decoders_mean_at_each_pair(prior):
    """Linear in both: the step to the right is w_0 times its length, the step up w_1 times its own."""
    model = VAE(PRIORS[prior](), Plane())
    values = [-1.5, 0.0, 0.5, 3.0]
    grid = latent_grid(model, values)
    assert grid.dims == ("z1", "z0", "channel", "row", "column")
    assert grid.shape == (4, 4, *SHAPE)
    assert grid["z0"].values.tolist() == grid["z1"].values.tolist() == values
    with torch.no_grad():
        for across in values:
            for up in values:
                expected = model.likelihood.mean(torch.tensor([across, up]))
                np.testing.assert_allclose(grid.sel(z0=across, z1=up), expected, rtol=1e-5, atol=1e-5)
    w = model.likelihood.w.detach().unflatten(-1, SHAPE)
    np.testing.assert_allclose(grid.diff("z0").isel(z0=0, z1=2), 1.5 * w[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grid.diff("z1").isel(z1=2, z0=1), 2.5 * w[1], rtol=1e-4, atol=1e-5)


def test_the_planes_own_values_are_steps_of_equal_probability():
    values = latent_grid(VAE(NormalPrior(2), Plane()))["z1"].values
    assert len(values) == 15
    below = torch.special.ndtr(torch.tensor(values, dtype=torch.float64))
    np.testing.assert_allclose(below, np.linspace(0.025, 0.975, 15), atol=1e-6)  # float32 values


def test_the_plane_of_any_program_that_has_the_site():
    def model(images=None, *, size=1):
        with pyro.plate("image", size if images is None else len(images), dim=-1):
            w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            mean = w.sum(-1)[..., None, None, None].expand(*w.shape[:-1], 1, 2, 2)
            return pyro.sample("x", dist.Normal(mean, 1.0).to_event(3), obs=images)

    grid = latent_grid(model, [1.0, 10.0], site="w")
    np.testing.assert_allclose(grid[:, :, 0, 0, 0], [[2, 11], [11, 20]])


@pytest.mark.parametrize(
    ("latents", "options", "match"),
    [
        (2, {"site": "w"}, "site='w': expected one of z$"),
        (3, {}, r"site 'z' has event shape \(3,\).* two latents"),
        (1, {}, r"site 'z' has event shape \(1,\)"),
        (2, {"values": []}, "values is empty"),
    ],
)
def test_what_is_no_plane_ends_in_one_line(latents, options, match):
    likelihood = Linear()
    likelihood.w = nn.Parameter(likelihood.w.detach()[:latents])
    with pytest.raises(UserError, match=match) as caught:
        latent_grid(VAE(NormalPrior(latents), likelihood), **options)
    assert "\n" not in str(caught.value)


def test_the_plane_changes_nothing():
    model = VAE(NormalPrior(2), Plane()).train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = latent_grid(model, [0.0, 1.0])
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(4)
    assert latent_grid(model, [0.0, 1.0]).identical(first)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
