"""Interventions on a linear model of several sites, vectors and maps, where every answer is a closed form.

x = A z + B w + C m + K c with z and w vectors, m two feature maps of 2 × 3, c a discrete shade.
"""

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import Program, UserError, from_pyro_svi, read_posterior
from ppvae.diagnostics import informative_latents
from ppvae.interventions import ablate, latent_grid, reconstruct, relevance, traverse

SHAPE, IMAGES, SCALE = (1, 4, 4), 7, 0.5
SHADES = torch.tensor([-1.0, 0.0, 2.0])
GENERATOR = torch.Generator().manual_seed(0)
SITES = {"z": ((3,), ["latent"]), "w": ((2,), ["style"]), "m": ((2, 2, 3), ["map", "row_m", "column_m"])}
DECODERS = {name: torch.randn(int(np.prod(shape)), 16, generator=GENERATOR) for name, (shape, _) in SITES.items()}
ENCODERS = {name: torch.randn(16, matrix.shape[0], generator=GENERATOR) / 4 for name, matrix in DECODERS.items()}


def mean_image(values: dict[str, torch.Tensor]) -> torch.Tensor:
    """The decoder: linear in each site."""
    found = sum(values[name].flatten(-len(shape)) @ DECODERS[name] for name, (shape, _) in SITES.items())
    return (found + SHADES[values["shade"]][..., None]).unflatten(-1, SHAPE)


class Model(Program):
    """The sites' priors are standard, the shade's uniform; ``likelihood`` makes a distribution of the mean image."""

    def __init__(self, likelihood=lambda mean: dist.Normal(mean, SCALE).to_event(3)):
        super().__init__()
        self.likelihood = likelihood

    def forward(self, images=None, *, size=1):
        with pyro.plate("image", size if images is None else images.shape[-4], dim=-1):
            values = {"shade": pyro.sample("shade", dist.Categorical(torch.ones(3)))}
            for name, (shape, dims) in SITES.items():
                prior = dist.Normal(torch.zeros(shape), 1.0).to_event(len(shape))
                values[name] = pyro.sample(name, prior, infer={"event_dims": dims})
            infer = {"event_dims": ["channel", "row", "column"]}
            return pyro.sample("x", self.likelihood(mean_image(values)), obs=images, infer=infer)


class Guide(Program):
    """q: each site reads the image linearly; the shade is surest of whether the first pixel is bright."""

    def forward(self, images):
        flat = images.flatten(-3)
        with pyro.plate("image", images.shape[-4], dim=-1):
            pyro.sample("shade", dist.Categorical(logits=torch.stack([flat[..., 0], -flat[..., 0], flat[..., 1]], -1)))
            for name, (shape, dims) in SITES.items():
                loc = (flat @ ENCODERS[name]).unflatten(-1, shape)
                pyro.sample(name, dist.Normal(loc, 0.3).to_event(len(shape)), infer={"event_dims": dims})


def drawn(images: int = IMAGES) -> torch.Tensor:
    return torch.randn(images, *SHAPE, generator=torch.Generator().manual_seed(1))


def means(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Where the guide puts the sites, by hand."""
    flat = images.flatten(1)
    values = {name: (flat @ ENCODERS[name]).unflatten(-1, shape) for name, (shape, _) in SITES.items()}
    return {**values, "shade": torch.stack([flat[:, 0], -flat[:, 0], flat[:, 1]], -1).argmax(-1)}


@pytest.fixture(scope="module")
def tree():
    return from_pyro_svi(Model(), Guide(), drawn(), 3)


def test_a_reconstruction_holds_every_site(tree):
    found = reconstruct(Model(), tree)
    np.testing.assert_allclose(found, mean_image(means(drawn())), rtol=1e-5, atol=1e-5)
    assert found.attrs["shown"] == "mean"


def test_a_draw_of_the_posterior_holds_every_site_too(tree):
    values = {name: torch.from_numpy(np.array(array[0, 2])) for name, array in tree["posterior"].data_vars.items()}
    np.testing.assert_allclose(reconstruct(Model(), tree, draw=2), mean_image(values), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match=r"draw=3: the tree has 3 draws") as caught:
        reconstruct(Model(), tree, draw=3)
    assert "\n" not in str(caught.value)


def test_more_images_than_are_decoded_at_a_time_are_each_their_own():
    images = drawn(1100)
    found = reconstruct(Model(), from_pyro_svi(Model(), Guide(), images, 1))
    np.testing.assert_allclose(found, mean_image(means(images)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("site", SITES)
def test_an_ablated_latent_is_its_mean_and_a_map_is_one_latent(tree, site):
    images, values = (
        drawn().double(),
        {name: v.double() if name != "shade" else v for name, v in means(drawn()).items()},
    )
    decoders = {name: matrix.double() for name, matrix in DECODERS.items()}
    found = ablate(Model(), tree, site=site)
    residual = (images - mean_image_in_double(values)).flatten(1)
    error = residual.square().sum(1).mean()
    for latent in range(SITES[site][0][0]):
        change = torch.zeros_like(values[site])
        change[:, latent] = values[site][:, latent].mean(0) - values[site][:, latent]
        moved = change.flatten(1) @ decoders[site]
        rise = (moved.square() - 2 * moved * residual).sum(1).mean()
        assert float(found["worsening"][latent]) == pytest.approx(float(rise) / (2 * SCALE**2), rel=1e-4, abs=1e-4)
        assert float(found["relative"][latent]) == pytest.approx(float(rise / error), rel=1e-4, abs=1e-5)
    assert found["worsening"].dims == (SITES[site][1][0],)


def mean_image_in_double(values: dict[str, torch.Tensor]) -> torch.Tensor:
    found = sum(values[name].flatten(1) @ DECODERS[name].double() for name in SITES)
    return (found + SHADES.double()[values["shade"]][:, None]).unflatten(-1, SHAPE)


def test_an_ablated_discrete_site_is_its_most_frequent_value(tree):
    found = ablate(Model(), tree, site="shade")
    values, images = means(drawn()), drawn()
    common = values["shade"].mode().values.expand(IMAGES)
    scores = [
        -Model().likelihood(mean_image({**values, "shade": shade})).log_prob(images).mean()
        for shade in (values["shade"], common)
    ]
    assert found["worsening"].dims == ()
    assert float(found["worsening"]) == pytest.approx(float(scores[1] - scores[0]), rel=1e-4)


@pytest.mark.parametrize("site", SITES)
def test_a_traversal_moves_one_latent_of_one_site(tree, site):
    found = traverse(Model(), tree, image=4, steps=3, site=site)
    values = means(drawn())
    shape = SITES[site][0]
    assert found.dims == ("latent", "step", "channel", "row", "column")
    assert sorted(found["latent"].values) == list(range(shape[0]))
    kl = tree["sample_stats"][f"kl_{site}"].mean("image").sum(SITES[site][1][1:])
    np.testing.assert_allclose(found["kl"], np.sort(kl)[::-1], rtol=1e-5)
    low, high = np.quantile(values[site], [0.01, 0.99], axis=0)
    for latent, step in itertools.product(range(shape[0]), range(3)):
        moved = {name: value[4:5].clone() for name, value in values.items()}
        moved[site][0, latent] = torch.from_numpy(low + (high - low) * step / 2)[latent]
        picture = found.sel(latent=latent).isel(step=step)
        np.testing.assert_allclose(picture, mean_image(moved)[0], rtol=1e-4, atol=1e-4)


def test_several_codes_ask_for_one(tree):
    for intervention in (ablate, relevance, traverse):
        with pytest.raises(UserError, match=r"the tree holds the codes z, w, m; give site=") as caught:
            intervention(Model(), tree)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"site='shade': expected one of z, w, m$"):
        traverse(Model(), tree, site="shade")


def test_informative_latents_of_maps_sum_their_kl_and_average_their_variance(tree):
    found = informative_latents(tree, ablate(Model(), tree, site="m"), site="m")
    values = means(drawn())["m"].double()
    kl = 0.5 * (0.3**2 + values**2 - 1 - 2 * np.log(0.3))
    np.testing.assert_allclose(found["kl"], kl.sum((2, 3)).mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["variance"], [0.09, 0.09], rtol=1e-6)
    np.testing.assert_allclose(found["activity"], values.var(0).mean((1, 2)), rtol=1e-5)
    assert {"by_ablation", "by_kl", "by_variance", "active_units"} <= set(found)
    assert all(variable.dims == ("latent",) for variable in found.values())


def test_the_relevance_of_a_vector_is_exact_and_of_a_map_unbiased():
    """‖A_l‖² of each latent, and of a map the sum over its entries, from one direction of signs in each of 2100 images.

    Of six entries, the squared length of a random sum of theirs has at most 1.2 times its mean as deviation.
    """
    many = from_pyro_svi(Model(), Guide(), drawn().repeat(300, 1, 1, 1), 2)
    for site, (shape, (dim, *_)) in SITES.items():
        worth = relevance(Model(), many, site=site)
        squares = DECODERS[site].square().sum(1).reshape(shape).flatten(1).sum(1) if len(shape) > 1 else None
        expected = DECODERS[site].square().sum(1) if squares is None else squares
        tolerance = 1e-5 if squares is None else 5 * 1.2 / 2100**0.5
        np.testing.assert_allclose(worth["jacobian"], expected, rtol=tolerance)
        assert worth["relevance"].dims == (dim,)
    latents = informative_latents(many, relevance=worth, site="m")
    np.testing.assert_allclose(latents["relevance"], worth["relevance"])
    codes = means(drawn())["m"].double().repeat(300, 1, 1, 1)
    variance = 0.3**2 + codes.var(0, correction=0).mean((1, 2))
    np.testing.assert_allclose(worth["variance"], variance, rtol=1e-5)


def test_a_streamed_posterior_is_read_as_one_in_memory(tree, tmp_path):
    streamed = from_pyro_svi(Model(), Guide(), drawn(), 3, store=tmp_path / "posterior.zarr")
    for lazy in (streamed, read_posterior(tmp_path / "posterior.zarr"), streamed.isel(image=slice(0, None))):
        np.testing.assert_allclose(reconstruct(Model(), lazy), reconstruct(Model(), tree), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(traverse(Model(), lazy, site="m"), traverse(Model(), tree, site="m"), atol=1e-5)


# Likelihoods without a mean


class Levels(dist.Normal):
    """A normal that says that it has no mean."""

    @property
    def mean(self):
        raise NotImplementedError


def without_mean(mean: torch.Tensor) -> dist.TorchDistribution:
    return Levels(mean, SCALE).to_event(3)


def categorical(mean: torch.Tensor) -> dist.TorchDistribution:
    """Of three levels, whose mean is NaN: a level is drawn by the pixel's sign and size."""
    return dist.Categorical(logits=torch.stack([-mean, torch.zeros_like(mean), mean], -1)).to_event(3)


def test_what_has_no_mean_is_shown_by_draws_of_one_noise(tree):
    model = Model(without_mean)
    found = reconstruct(model, tree)
    noise = found.values - mean_image(means(drawn())).numpy()
    np.testing.assert_allclose(noise, np.broadcast_to(noise[:1], noise.shape), atol=1e-5)
    assert 0.2 < noise[0].std() < 0.9  # 16 draws of deviation 0.5
    assert found.attrs["shown"] == "draws"
    steps, known = (traverse(one, tree, site="z", steps=3) for one in (model, Model()))
    np.testing.assert_allclose(steps - known, np.broadcast_to(noise[0], steps.shape), atol=1e-5)


def test_an_ablation_without_a_mean_says_what_log_p_says(tree):
    found, known = ablate(Model(without_mean), tree, site="w"), ablate(Model(), tree, site="w")
    np.testing.assert_allclose(found["worsening"], known["worsening"], rtol=1e-6)
    assert "relative" not in found
    with pytest.raises(UserError, match=r"relevance needs a mean of p\(x \| z\), Levels has none; use ablate"):
        relevance(Model(without_mean), tree, site="w")
    latents = informative_latents(tree, found, site="w")
    assert "worsening" in latents
    assert "by_ablation" not in latents


def test_levels_drawn_with_one_noise_move_with_their_latents_alone(tree):
    """Equal latents give equal images, whatever the number of images; others differ."""
    model = Model(categorical)
    found = reconstruct(model, tree)
    assert set(np.unique(found)) <= {0, 1, 2}
    again = reconstruct(model, tree.isel(image=[2, 5]))
    np.testing.assert_array_equal(again, found[[2, 5]])
    still = traverse(model, tree.isel(image=[3, 3, 3]), site="z", steps=2)  # codes that do not vary
    np.testing.assert_array_equal(still, np.broadcast_to(found[3], still.shape))
    assert len(np.unique(found.values.reshape(IMAGES, -1), axis=0)) > 1


def test_a_plane_holds_other_sites_at_their_priors_mean():
    values = [-1.0, 0.5]
    grid = latent_grid(Model(), values, site="w")
    for across, up in itertools.product(values, values):
        held = {name: torch.zeros(shape) for name, (shape, _) in SITES.items()}
        shade = (
            grid.sel(z0=across, z1=up).values
            - mean_image({**held, "w": torch.tensor([across, up]), "shade": torch.tensor(1)}).numpy()
        )
        np.testing.assert_allclose(shade, np.full_like(shade, shade.flat[0]), atol=1e-5)  # one shade for all
        assert np.abs(SHADES.numpy() - shade.flat[0]).min() < 1e-5
    assert latent_grid(Model(), values).identical(grid)  # the only site of two latents


# Inputs beside the images


class Labelled(Program):
    """x = z + label: the label comes with the image."""

    def forward(self, images, labels):
        with pyro.plate("image", len(labels), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1), infer={"event_dims": ["latent"]})
            loc = (z + labels[..., None])[..., None, None].expand(*z.shape[:-1], 1, 1, 1)
            infer = {"event_dims": ["channel", "row", "column"]}
            return pyro.sample("x", dist.Normal(loc, SCALE).to_event(3), obs=images, infer=infer)


class LabelledGuide(Program):
    def forward(self, images, labels):
        with pyro.plate("image", images.shape[-4], dim=-1):
            q = dist.Normal(images.flatten(-3) / 2 - labels[..., None], 0.1).to_event(1)
            return pyro.sample("z", q, infer={"event_dims": ["latent"]})


def test_inputs_beside_the_images_are_given_to_the_decoder():
    """Half of each pixel, as z and the label add up to it; one image moved keeps its own label."""
    x, labels = torch.arange(-2.0, 3.0).reshape(5, 1, 1, 1), torch.tensor([3, 0, 7, 1, 5])
    tree = from_pyro_svi(Labelled(), LabelledGuide(), (x, labels), 2)
    np.testing.assert_allclose(reconstruct(Labelled(), tree), x / 2, atol=1e-6)
    path = traverse(Labelled(), tree, image=2, steps=3)
    np.testing.assert_allclose(path.squeeze() - path["value"][0], 7, atol=1e-6)
    few = tree.isel(image=[4, 1])
    np.testing.assert_allclose(reconstruct(Labelled(), few), x[[4, 1]] / 2, atol=1e-6)
