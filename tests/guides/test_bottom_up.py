"""Two levels, as a pair: bounds that agree, KLs of each map, independence over levels, what does not fit together."""

from types import SimpleNamespace

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from guides import BottomUpNormal, MeanFieldNormal
from ppvae import VAE, UserError, check_pair, fit, from_pyro_svi, log_marginal
from ppvae.interventions import ablate, reconstruct, traverse
from ppvae.likelihoods import AutoregressiveLikelihood, BernoulliLikelihood
from ppvae.networks import MapDecoder, MapEncoder, MLPDecoder, MLPEncoder
from ppvae.objectives import Annealed, BetaELBO, Capacity, FreeBits, ImportanceWeighted, SoftFreeBits
from ppvae.pair.terms import mean_field, pair_traces, trace
from ppvae.priors import AutoregressiveMapPrior, NormalPrior
from ppvae.svi.capture import capture

SHAPE, LATENTS, MAPS, IMAGES = (1, 7, 6), 3, 2, 5
OBJECTIVES = [
    BetaELBO(estimator="mean_field"),
    BetaELBO(beta=2.0, estimator="trace"),
    *(FreeBits(group=group) for group in ("latent", "map", "site")),
    FreeBits(group="map", nats={"z_2": 0.1, "z_1": 0.3}, estimator="trace"),
    Capacity(steps=1),
    Annealed(objective=FreeBits(group="map"), steps=1),
    SoftFreeBits(nats=2.0),
    ImportanceWeighted(samples=3),
    ImportanceWeighted(samples=3, doubly_reparameterised=True),
]
CAPTURED = (OBJECTIVES[3], OBJECTIVES[-2])
LONG = (OBJECTIVES[1], OBJECTIVES[2], OBJECTIVES[4], OBJECTIVES[-1])  # whose groups and draws others have


def make_pair(likelihood: str = "bernoulli", spread: float = 1.5) -> SimpleNamespace:
    """The pair, far from q = p, its images, and one module that holds every parameter."""
    torch.manual_seed(0)
    decoder = MapDecoder(MAPS, SHAPE, [4], maps=1 if likelihood == "bernoulli" else 3)
    sizes = {"layers": 3, "channels": 4, "context": 3}
    likelihoods = {"bernoulli": BernoulliLikelihood, "autoregressive": AutoregressiveLikelihood}
    options = sizes if likelihood == "autoregressive" else {}
    model = VAE(
        AutoregressiveMapPrior(LATENTS, decoder.map_shape, hidden=[4], **sizes),
        likelihoods[likelihood](decoder, **options),
    )
    guide = BottomUpNormal(MapEncoder(SHAPE, [4], [5]), LATENTS, MAPS)
    both = nn.ModuleList([model, guide])
    for parameter in both.parameters():
        parameter.data *= spread
    images = (torch.rand(IMAGES, *SHAPE) < 0.5).float()
    return SimpleNamespace(model=model, guide=guide, images=images, both=both)


@pytest.fixture
def pair() -> SimpleNamespace:
    return make_pair()


def test_the_bound_is_that_of_pyros_traces(pair):
    """One draw: log p(x, z) − log q(z | x) of whole traces, as Pyro's own ELBO sums it; of one seed."""
    pair.both.double()
    images = pair.images.double()
    torch.manual_seed(3)
    ours = BetaELBO(estimator="trace")(pair.model, pair.guide, images) * IMAGES
    torch.manual_seed(3)
    drawn = poutine.trace(pair.guide).get_trace(images)
    scored = poutine.trace(poutine.replay(pair.model, drawn)).get_trace(images)
    torch.testing.assert_close(ours, drawn.log_prob_sum() - scored.log_prob_sum())
    torch.manual_seed(3)
    assert Trace_ELBO().loss(pair.model, pair.guide, images) == pytest.approx(ours.item(), rel=1e-9)


def draws_of(pair: SimpleNamespace, draws: int):
    with torch.no_grad(), pyro.plate("draws", draws, dim=-2):
        return pair_traces(pair.model, pair.guide, pair.images[:2])


def test_the_kl_given_the_draw_is_unbiased_map_by_map_and_quieter(pair):
    """Σ_i KL(q_i ‖ p(· | z_<i, z_2)) has the mean of log q − log p of each map: paired differences of 4 000 draws, 4
    standard errors; and a deviation less than half of it."""
    drawn, scored = draws_of(pair, 4000)
    q, p = drawn.nodes["z_1"]["fn"].base_dist, scored.nodes["z_1"]["fn"].given(drawn.nodes["z_1"]["value"]).base_dist
    z = drawn.nodes["z_1"]["value"]
    sampled = (q.log_prob(z) - p.log_prob(z)).sum((-2, -1))
    closed = torch.distributions.kl_divergence(q, p).sum((-2, -1))  # (draws, image, map)
    difference = sampled - closed
    assert (difference.mean(0).abs() < 4 * difference.std(0) / 4000**0.5).all()
    assert (closed.std(0) < 0.5 * sampled.std(0)).all()
    assert (difference.std(0) / 4000**0.5 < 0.1 * closed.mean(0)).all()  # draws enough to see a tenth
    whole = drawn.nodes["z_1"]["fn"].log_prob(z) - scored.nodes["z_1"]["fn"].log_prob(z)
    torch.testing.assert_close(sampled.sum(-1), whole, rtol=1e-4, atol=1e-3)


def test_the_bound_in_closed_form_is_the_generic_one_in_expectation(pair):
    """Paired draws of both levels: mean-field cost less log q − log p of whole traces, 4 standard errors of 4 000."""
    with torch.no_grad():
        values = []
        for estimator in (mean_field, trace):
            torch.manual_seed(4)
            with pyro.plate("draws", 4000, dim=-2):
                terms = estimator(pair.model, pair.guide, pair.images[:2])
            values.append(terms.distortion + terms.rate)
    difference = values[1] - values[0]
    assert (difference.mean(0).abs() < 4 * difference.std(0) / 4000**0.5).all()
    assert (difference.std(0) > 0).all()
    assert (values[0].std(0) < values[1].std(0)).all()


def test_the_levels_are_independent_given_the_image(pair):
    """q(z_1 | x) is the same whatever z_2 was drawn, and both are read from the image."""
    sites = []
    for shift in (0.0, 5.0):
        given = {"z_2": torch.zeros(IMAGES, LATENTS) + shift}
        sites.append(poutine.trace(poutine.condition(pair.guide, given)).get_trace(pair.images).nodes["z_1"]["fn"])
    assert torch.equal(sites[0].mean, sites[1].mean)
    assert torch.equal(sites[0].variance, sites[1].variance)
    nodes = poutine.trace(pair.guide).get_trace(pair.images).nodes
    assert [name for name in nodes if name.startswith("z_")] == ["z_2", "z_1"]
    above, below = pair.guide.posteriors(pair.images)
    assert torch.equal(nodes["z_2"]["fn"].mean, above.mean)
    assert torch.equal(nodes["z_1"]["fn"].mean, below.mean)
    assert above.event_shape == (LATENTS,)
    assert below.event_shape == pair.guide.map_shape == (MAPS, 4, 3)
    other, _ = pair.guide.posteriors(1 - pair.images)
    assert not torch.isclose(other.mean, above.mean).any()


def test_free_bits_of_maps_are_a_budget_each_map_and_each_latent_above(pair):
    """By hand from the KLs: the mean over images of each map's KL, and of each latent's of z_2, at least λ."""
    torch.manual_seed(5)
    loss = FreeBits(nats=1.0, group="map")(pair.model, pair.guide, pair.images)
    torch.manual_seed(5)
    terms = mean_field(pair.model, pair.guide, pair.images)
    above, below = terms.rates["z_2"][1].mean(0), terms.rates["z_1"][1].sum((-2, -1)).mean(0)
    assert (above.shape, below.shape) == ((LATENTS,), (MAPS,))
    free = above.clamp(min=1).sum() + below.clamp(min=1).sum()
    assert below.max() > 1 > above.min()  # some above λ, some below
    torch.testing.assert_close(loss, terms.distortion.mean() + free)


@pytest.mark.parametrize(
    "objective",
    [pytest.param(one, marks=pytest.mark.long) if one in LONG else one for one in OBJECTIVES],
    ids=str,
)
def test_every_objective_accepts_and_trains_it(objective):
    captured = objective in CAPTURED
    pair = make_pair("autoregressive" if captured else "bernoulli", spread=1.0)
    check_pair(pair.model, pair.guide, pair.images, objective)
    before = {name: value.detach().clone() for name, value in pair.both.named_parameters()}
    settings = {"epochs": 1, "batch_size": IMAGES, "progress": False, "accelerator": "cpu"}
    settings["execution"] = "captured" if captured else "eager"
    history = fit(pair.model, pair.guide, pair.images, objective, **settings)
    assert torch.isfinite(torch.tensor(history["loss"].values)).all()
    assert history["kl_z_1"].dims == ("epoch", "map_1", "row_1", "column_1")
    still = [name for name, value in pair.both.named_parameters() if torch.equal(value, before[name])]
    if not isinstance(objective, FreeBits | Annealed):  # below λ a group has no gradient
        assert not still


def test_captured_is_eager_and_every_parameter_has_a_gradient():
    pair = make_pair("autoregressive")
    pair.both.double()
    images = pair.images.double()

    def loss(images: torch.Tensor) -> torch.Tensor:
        with pyro.plate("draws", 2, dim=-2):
            terms = mean_field(pair.model, pair.guide, images)
        return (terms.distortion + terms.rate).mean()

    names, parameters = zip(*pair.both.named_parameters(), strict=True)
    found = []
    for function in (loss, capture(loss, images, preserve=pair.both)):
        torch.manual_seed(1)
        value = function(images)
        found.append((value, torch.autograd.grad(value, parameters, allow_unused=True)))
    (eager, gradients), (captured, recorded) = found
    torch.testing.assert_close(captured, eager, rtol=1e-12, atol=1e-12)
    for name, gradient, same in zip(names, gradients, recorded, strict=True):
        assert gradient is not None, name
        assert gradient.any(), name
        torch.testing.assert_close(same, gradient, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("loss", [Trace_ELBO, TraceMeanField_ELBO])
def test_plain_svi_trains_it(pair, loss):
    check_pair(pair.model, pair.guide, pair.images, loss())
    before = {name: value.detach().clone() for name, value in pair.both.named_parameters()}
    SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), loss()).step(pair.images)
    assert not [name for name, value in pair.both.named_parameters() if torch.equal(value, before[name])]


def test_its_posterior_is_exported_and_intervened_in():
    pair = make_pair("autoregressive")
    tree = from_pyro_svi(pair.model, pair.guide, pair.images, 3)
    stats = tree["sample_stats"]
    assert stats["kl_z_2"].dims == ("image", "latent_2")
    assert stats["kl_z_1"].dims == ("image", "map_1", "row_1", "column_1")
    assert tree["prior"]["z_1"].sizes == {"chain": 1, "draw": 1024, "map_1": MAPS, "row_1": 4, "column_1": 3}
    assert reconstruct(pair.model, tree).sizes == {"image": IMAGES, "channel": 1, "row": 7, "column": 6}
    assert ablate(pair.model, tree, site="z_1")["worsening"].sizes == {"map_1": MAPS}
    assert traverse(pair.model, tree, site="z_1", steps=3).sizes["latent"] == MAPS
    found = log_marginal(pair.model, pair.guide, pair.images, num_samples=8)
    assert (found["log_marginal"] > found["elbo"]).all()


def test_a_latent_above_is_shown_and_judged_by_the_maps_below():
    """p(x | z_1) alone does not know z_2: its traversal draws z_1 anew, its ablation counts −log p(z_1 | z_2)."""
    pair = make_pair()
    tree = from_pyro_svi(pair.model, pair.guide, pair.images, 3)
    pictures = traverse(pair.model, tree, site="z_2", steps=3)
    assert pictures.attrs["dependent"] == ["z_1"]
    assert (pictures.isel(step=0) != pictures.isel(step=2)).any(["channel", "row", "column"]).all()
    found = ablate(pair.model, tree, site="z_2")
    z_2, z_1 = (torch.tensor(tree["sample_stats"][f"{site}_mean"].values) for site in ("z_2", "z_1"))

    def cost(above: torch.Tensor) -> torch.Tensor:
        nodes = poutine.trace(poutine.condition(pair.model, {"z_2": above, "z_1": z_1})).get_trace(pair.images).nodes
        return -nodes["z_1"]["fn"].log_prob(z_1).mean()

    for latent in range(LATENTS):
        ablated = z_2.clone()
        ablated[:, latent] = z_2[:, latent].mean()
        assert float(found["worsening"][latent]) == pytest.approx((cost(ablated) - cost(z_2)).item(), abs=1e-4)
    assert found.attrs["dependent"] == ["z_1"]
    assert "relative" not in found
    below = ablate(pair.model, tree, site="z_1")
    assert (below.attrs["dependent"], found.attrs["distortion"]) == ([], below.attrs["distortion"])
    assert "relative" in below


def test_what_does_not_fit_together_ends_in_one_line():
    prior = AutoregressiveMapPrior(LATENTS, (MAPS, 4, 3), hidden=[4], layers=3)
    maps, vector = MapDecoder(MAPS, SHAPE, [4]), MLPDecoder(LATENTS, SHAPE, [4])
    images = torch.zeros(2, *SHAPE)
    of_z = MeanFieldNormal(MLPEncoder(SHAPE, [4]), LATENTS)
    wrong = {
        r"draws maps \(2, 4, 3\), MLPDecoder takes vectors": lambda: VAE(prior, BernoulliLikelihood(vector)),
        r"draws vectors, MapDecoder takes maps": lambda: VAE(NormalPrior(LATENTS), BernoulliLikelihood(maps)),
        r"\(2, 4, 3\), MapDecoder takes maps \(3, 4, 3\)": lambda: VAE(
            prior, BernoulliLikelihood(MapDecoder(3, SHAPE, [4]))
        ),
        "MLPEncoder gives features alone.*MapEncoder": lambda: BottomUpNormal(of_z.encoder, LATENTS, MAPS),
        "maps=0": lambda: BottomUpNormal(MapEncoder(SHAPE), LATENTS, 0),
        "is in the model but not in the guide.*guide=bottom_up": lambda: check_pair(
            VAE(prior, BernoulliLikelihood(maps)), of_z, images
        ),
        "images have shape": lambda: check_pair(
            VAE(prior, BernoulliLikelihood(maps)),
            BottomUpNormal(MapEncoder(SHAPE, [4], [5]), LATENTS, MAPS),
            torch.zeros(2, 1, 8, 6),
        ),
        "event shape": lambda: check_pair(
            VAE(prior, BernoulliLikelihood(maps)), BottomUpNormal(MapEncoder(SHAPE, [4], [5]), LATENTS, 3), images
        ),
    }
    for line, attempt in wrong.items():
        with pytest.raises(UserError, match=line) as caught:
            attempt()
        assert "\n" not in str(caught.value)
