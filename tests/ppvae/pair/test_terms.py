"""Terms by site: each KL under its site's name, what counts as a latent, and sites that all images share."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from ppvae import BetaELBO, FreeBits, ImportanceWeighted, Program, UserError, check_pair, from_pyro_svi
from ppvae.svi.history import FEW, measured

SCALES = {"z_1": 0.5, "z_2": 0.25}


def two_sites(sizes: dict[str, tuple[int, ...]], *, dim: str | None = None, dims: dict | None = None):
    """Two independent sites under one dim name, or under their own; x ≈ sum of all latents."""
    names = dims or {site: [dim] * len(shape) for site, shape in sizes.items()}

    def model(images):
        with pyro.plate("image", len(images), dim=-1):
            total = 0.0
            for site, shape in sizes.items():
                prior = dist.Normal(torch.zeros(shape), 1.0).to_event(len(shape))
                total = total + pyro.sample(site, prior, infer={"event_dims": names[site]}).flatten(1).sum(1)
            loc = total[:, None, None, None].expand(images.shape)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(3), obs=images)

    def guide(images):
        with pyro.plate("image", len(images), dim=-1):
            for site, shape in sizes.items():
                loc = images.mean((1, 2, 3)).reshape(-1, *[1] * len(shape)).expand(-1, *shape)
                q = dist.Normal(loc, SCALES[site]).to_event(len(shape))
                pyro.sample(site, q, infer={"event_dims": names[site]})

    return model, guide


def kl(images: torch.Tensor, site: str) -> torch.Tensor:
    """KL of one latent of the site, (image,)."""
    return kl_divergence(dist.Normal(images.mean((1, 2, 3)), SCALES[site]), dist.Normal(0.0, 1.0))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 1, 2, 3)


def test_two_sites_of_one_dim_keep_their_kls(images):
    """Torch's KLs, site by site; pixels are those of the observed site; M counts both."""
    terms = BetaELBO().measure(*two_sites({"z_1": (4,), "z_2": (4,)}, dim="latent"), images)
    assert (terms.pixels, terms.latents) == (6, 8)
    for site in SCALES:
        dims, rate = terms.rates[site]
        assert dims == ("latent",)
        torch.testing.assert_close(rate, kl(images, site)[:, None].expand(-1, 4))
    torch.testing.assert_close(terms.rate, 4 * (kl(images, "z_1") + kl(images, "z_2")))


def test_sites_of_unlike_sizes_under_one_dim_are_measured_apart_and_refused_as_a_pair(images):
    model, guide = two_sites({"z_1": (2,), "z_2": (5,)}, dim="latent")
    terms = BetaELBO().measure(model, guide, images)
    assert terms.latents == 7
    assert {site: rate.shape[1] for site, (_, rate) in terms.rates.items()} == {"z_1": 2, "z_2": 5}
    with pytest.raises(UserError, match="'latent' has 2 entries at site 'z_1' and 5 at site 'z_2'"):
        check_pair(model, guide, images)


def test_beta_norm_weighs_by_all_latents(images):
    model, guide = two_sites({"z_1": (2,), "z_2": (6,)}, dims={"z_1": ["top"], "z_2": ["low"]})
    torch.manual_seed(1)
    normalised = BetaELBO(beta_norm=3.0)(model, guide, images)
    torch.manual_seed(1)
    torch.testing.assert_close(normalised, BetaELBO(beta=3.0 * 6 / 8)(model, guide, images))


@pytest.mark.parametrize(("group", "groups"), [("latent", 12), ("map", 4), ("site", 2)])
def test_free_bits_of_two_sites_have_a_budget_each(images, group, groups):
    """Where every group is below λ the penalty is λ a group: 2 sites of 2 maps each, of 5 latents and of 1."""
    sizes = {"z_1": (2, 5), "z_2": (2, 1)}
    dims = {site: [f"map_{site}", f"row_{site}"] for site in sizes}
    model, guide = two_sites(sizes, dims=dims)
    terms = BetaELBO().measure(model, guide, images * 0)
    scaled = {site: (dims, rate * 1e-3) for site, (dims, rate) in terms.rates.items()}
    free = FreeBits(nats=0.3, group=group).loss(type(terms)(terms.distortion, scaled, None, {}, 6, 12))
    assert float(free - terms.distortion.mean()) == pytest.approx(groups * 0.3, rel=1e-5)


def test_free_bits_take_a_budget_for_each_site(images):
    """z_1 below its budget costs the budget, z_2 above its own costs its KL."""
    model, guide = two_sites({"z_1": (4,), "z_2": (4,)}, dim="latent")
    kls = {site: 4 * float(kl(images, site).mean()) for site in SCALES}
    nats = {"z_1": kls["z_1"] + 1.0, "z_2": kls["z_2"] - 1.0}
    terms = BetaELBO().measure(model, guide, images)
    penalty = FreeBits(nats=nats, group="site").loss(terms) - terms.distortion.mean()
    assert float(penalty) == pytest.approx(kls["z_1"] + 1.0 + kls["z_2"], rel=1e-5)
    check_pair(model, guide, images, FreeBits(nats=nats, group="site"))
    with pytest.raises(UserError, match="nats are given for z_1; expected one number for each of the sites z_1, z_2"):
        check_pair(model, guide, images, FreeBits(nats={"z_1": 1.0}, group="site"))


def test_histories_name_each_kl_by_its_site(images):
    terms = BetaELBO().measure(*two_sites({"z_1": (4,), "z_2": (4,)}, dim="latent"), images)
    values, layout = measured(terms.distortion.mean(), terms)
    assert [(name, dims) for name, dims, _ in layout[3:]] == [("kl_z_1", ("latent",)), ("kl_z_2", ("latent",))]
    torch.testing.assert_close(values[3:7], terms.rates["z_1"][1].mean(0))


@pytest.mark.parametrize(("maps", "kept"), [(3, ("map",)), (FEW, ())])
def test_a_history_of_many_latents_keeps_a_number_a_map_or_a_site(images, maps, kept):
    """Past 10⁴ numbers a step: of each map where these are few enough, else of each site; sums are the site's KL."""
    model, guide = two_sites(
        {"z_1": (maps, FEW // 2)[: 2 if maps == 3 else 1], "z_2": (2,)},
        dims={
            "z_1": ["map", "row"][: 2 if maps == 3 else 1],
            "z_2": ["low"],
        },
    )
    terms = BetaELBO().measure(model, guide, images)
    values, layout = measured(terms.distortion.mean(), terms)
    sizes = [math.prod(shape) for *_, shape in layout]
    parts = dict(zip((name for name, *_ in layout), values.split(sizes), strict=True))
    assert {name: dims for name, dims, _ in layout}["kl_z_1"] == kept
    torch.testing.assert_close(parts["kl_z_1"].sum(), terms.rates["z_1"][1].flatten(1).sum(1).mean(), rtol=1e-4, atol=0)
    assert sum(sizes) <= FEW


class Shared(Program):
    """x_n ~ N(θ, 1), θ ~ N(0, 1) one for all images."""

    def forward(self, images):
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        with pyro.plate("image", len(images), dim=-1):
            pyro.sample("x", dist.Normal(theta.expand(images.shape), 1.0).to_event(3), obs=images)


class SharedGuide(Program):
    def __init__(self, kind=dist.Normal):
        super().__init__()
        self.kind = kind

    def forward(self, images):
        del images
        pyro.sample("theta", self.kind(3.0, 1.0))


def test_a_site_that_all_images_share_is_counted_once(images):
    """KL(N(3, 1) ‖ N(0, 1)) = 4.5 nats, a fifth of it for each of five images."""
    terms = BetaELBO().measure(Shared(), SharedGuide(), images)
    torch.testing.assert_close(terms.rate, torch.full((5,), 4.5 / 5))
    torch.testing.assert_close(
        BetaELBO(estimator="mean_field").measure(Shared(), SharedGuide(), images).rate, terms.rate
    )


def test_a_shared_site_without_a_pathwise_gradient_is_refused(images):
    with pytest.raises(UserError, match="'theta' is one for all images and is not reparameterised"):
        BetaELBO().measure(Shared(), SharedGuide(dist.testing.fakes.NonreparameterizedNormal), images)


def test_no_bound_of_each_image_has_a_shared_site(images):
    with pytest.raises(UserError, match="'theta' is one for all images"):
        check_pair(Shared(), SharedGuide(), images, ImportanceWeighted(samples=3))


def test_bernoulli_codes_have_their_kl_under_a_plate_of_draws(images):
    """Torch's KL of two Bernoullis does not broadcast: p without the dims of the draws is expanded first."""

    def model(images):
        with pyro.plate("image", len(images), dim=-1):
            z = pyro.sample("z", dist.Bernoulli(torch.tensor([0.3, 0.6])).to_event(1), infer={"event_dims": ["bit"]})
            loc = z.sum(-1)[..., None, None, None].expand(*z.shape[:-1], *images.shape[1:])
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(3), obs=images)

    def guide(images):
        with pyro.plate("image", len(images), dim=-1):
            p = images.flatten(1)[:, :2]
            pyro.sample("z", dist.Bernoulli(p).to_event(1), infer={"event_dims": ["bit"]})

    found = from_pyro_svi(model, guide, images, 3)["sample_stats"]["kl"]
    expected = kl_divergence(dist.Bernoulli(images.flatten(1)[:, :2]), dist.Bernoulli(torch.tensor([[0.3, 0.6]] * 5)))
    torch.testing.assert_close(torch.from_numpy(found.values), expected)
    torch.testing.assert_close(BetaELBO(estimator="mean_field").measure(model, guide, images).rate, expected.sum(-1))
