"""q(cluster | x) relaxed, enumerated and optimal, on a linear pair whose log p(x) is that of a mixture of normals."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

from guides import EnumeratedClusters, OptimalClusters, RelaxedClusters, TwoViewGuide
from ppvae import BetaELBO, TwoViewVAE, UserError, check_pair, fit, from_pyro_svi, log_marginal
from ppvae.distributions import Membership
from ppvae.priors import ClusterPrior, MixturePrior, NormalPrior

SHAPE, PIXELS, CLUSTERS, NOISE = (1, 2, 3), 6, 3, 0.3
GLOBAL, LOCAL = 2, 1
KINDS = ("relaxed", "enumerated", "optimal")
NO_BOUND = "no bound of log p"


class Pixels(nn.Module):
    """An encoder that returns its images, flattened."""

    features = PIXELS

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(-3)


class Linear(nn.Module):
    """x | z ~ N(Wz, NOISE²)."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.loadings = nn.Parameter(torch.randn(PIXELS, latents))

    def forward(self, z: torch.Tensor) -> dist.TorchDistribution:
        return dist.Normal((z @ self.loadings.T).unflatten(-1, SHAPE), NOISE).to_event(3)


def relaxed(*args: Any, **options: Any) -> RelaxedClusters:
    with pytest.warns(UserWarning, match=NO_BOUND):
        return RelaxedClusters(*args, **options)


def make_model() -> TwoViewVAE:
    priors = ClusterPrior(GLOBAL, CLUSTERS, site="z_global"), NormalPrior(LOCAL, site="z_local")
    return TwoViewVAE(*priors, Linear(GLOBAL + LOCAL), None, None).double()


def make_guide(clusters: nn.Module) -> TwoViewGuide:
    return TwoViewGuide(Pixels(), Pixels(), GLOBAL, LOCAL, None, clusters).double()


def make_pair(kind: str, seed: int = 0, **options: Any) -> tuple[TwoViewVAE, TwoViewGuide]:
    """Equal seeds give equal models and, but for the clusters, equal guides."""
    torch.manual_seed(seed)
    model = make_model()
    if kind == "optimal":
        clusters = OptimalClusters(model.prior_global, **options)
    else:
        clusters = (relaxed if kind == "relaxed" else EnumeratedClusters)(PIXELS, CLUSTERS, **options)
    torch.manual_seed(seed + 1)
    return model, make_guide(clusters)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, *SHAPE, dtype=torch.float64)


def evidence(model: TwoViewVAE, images: torch.Tensor) -> torch.Tensor:
    """log Σ_k p(y = k) N(x; W_g m_k, W_g S_k W_gᵀ + W_l W_lᵀ + NOISE² I), (image,)."""
    prior, loadings = model.prior_global, model.likelihood.loadings
    spread = torch.cat([(2 * prior.log_scale).exp(), torch.ones(len(prior.loc), LOCAL).double()], 1)
    covariance = loadings @ spread.diag_embed() @ loadings.T + NOISE**2 * torch.eye(PIXELS).double()
    parts = MultivariateNormal(prior.loc @ loadings[:, :GLOBAL].T, covariance).log_prob(images.flatten(1)[:, None])
    return (parts.logsumexp(-1) - math.log(len(prior.loc))).detach()


def normals(guide: TwoViewGuide, images: torch.Tensor) -> list[dist.TorchDistribution]:
    """q(z_global | x) and q(z_local | x)."""
    parts = [head(images.flatten(1)).chunk(2, -1) for head in (guide.head_global, guide.head_local)]
    return [dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1) for loc, log_variance in parts]


def cluster_kls(model: TwoViewVAE, guide: TwoViewGuide, images: torch.Tensor) -> torch.Tensor:
    """KL(q(z_global | x) ‖ p(z_global | k)), (image, component), by full covariances."""
    q, prior = normals(guide, images)[0], model.prior_global
    full = MultivariateNormal(q.mean, q.variance.diag_embed())
    components = [
        MultivariateNormal(loc, (2 * log).exp().diag()) for loc, log in zip(prior.loc, prior.log_scale, strict=True)
    ]
    return torch.stack([kl_divergence(full, component) for component in components], -1)


def bound(model: TwoViewVAE, guide: TwoViewGuide, images: torch.Tensor) -> torch.Tensor:
    """The ELBO of each image, exactly, in evaluation mode: E_q[log p(x | z)] of the linear pair has a closed form."""
    loc, variance = (torch.cat([getattr(q, m) for q in normals(guide, images)], -1) for m in ("mean", "variance"))
    loadings = model.likelihood.loadings
    squares = (images.flatten(1) - loc @ loadings.T).square() + variance @ loadings.square().T
    distortion = (0.5 * squares / NOISE**2 + math.log(NOISE) + 0.5 * math.log(2 * math.pi)).sum(-1)
    guide.eval()
    rate = BetaELBO().measure(model, guide, images).rate
    guide.train()
    return -(distortion + rate).detach()


def cost(model: TwoViewVAE, guide: TwoViewGuide, images: torch.Tensor, **weights: float) -> torch.Tensor:
    """What the objective takes the mean of, for each image on one fixed draw of z."""
    parts = []
    for image in images.split(1):
        torch.manual_seed(7)
        parts.append(BetaELBO(**weights)(model, guide, image))
    return torch.stack(parts)


def with_clusters(guide: TwoViewGuide, clusters: nn.Module) -> TwoViewGuide:
    """The same q(z | x) with another q(cluster | x)."""
    other = make_guide(clusters)
    other.head_global, other.head_local = guide.head_global, guide.head_local
    return other


def constant(logits: torch.Tensor) -> EnumeratedClusters:
    """q(cluster) with these logits, whatever the image."""
    clusters = EnumeratedClusters(PIXELS, CLUSTERS).double()
    with torch.no_grad():
        clusters.logits.weight.zero_()
        clusters.logits.bias.copy_(logits)
    return clusters


@pytest.mark.parametrize("weight", [1.0, 4.0, 0.3])
def test_the_optimums_part_of_the_bound_is_a_logsumexp(images, weight):
    """β E_q[KL_k] + KL(q(y) ‖ p(y)) = −log Σ_k p(y = k) exp(−β KL_k) of each image, and q(y) ∝ p(y) exp(−β KL_k)."""
    model, guide = make_pair("optimal", weight=weight)
    terms = BetaELBO(beta=weight).measure(model, guide, images)
    exponents = -weight * cluster_kls(model, guide, images) - math.log(CLUSTERS)
    found = terms.rates["cluster"][1] + weight * terms.rates["z_global"][1].sum(-1)
    torch.testing.assert_close(found, -exponents.logsumexp(-1))
    torch.testing.assert_close(terms.recorded["cluster_probability"][1], exponents.softmax(-1))


@pytest.mark.parametrize("weight", [1.0, 4.0, 0.3])
def test_no_other_clusters_beat_the_optimum(images, weight):
    """At the same draw of z: random logits lose Σ q (log q − log q*), the optimum's own logits lose nothing."""
    model, guide = make_pair("optimal", weight=weight)
    best = cost(model, guide, images, beta=weight)
    optimum = (-weight * cluster_kls(model, guide, images)).log_softmax(-1)
    for scale in (0.1, 1.0, 5.0):
        logits = scale * torch.randn(CLUSTERS, dtype=torch.float64)
        log_q = logits.log_softmax(-1)
        lost = cost(model, with_clusters(guide, constant(logits)), images, beta=weight) - best
        assert (lost > 0).all()
        torch.testing.assert_close(lost, (log_q.exp() * (log_q - optimum)).sum(-1))
    for image, own, value in zip(images.split(1), optimum, best, strict=True):
        same = with_clusters(guide, constant(own))
        torch.testing.assert_close(cost(model, same, image, beta=weight)[0], value)


class Held(nn.Module):
    """The optimum of ``clusters`` with no gradient through it."""

    def __init__(self, clusters: OptimalClusters) -> None:
        super().__init__()
        self.clusters = clusters

    def forward(self, features: torch.Tensor, q_global: dist.TorchDistribution) -> torch.Tensor:
        del features
        logits = self.clusters.prior.logits - self.clusters.weight * self.clusters.prior.rates(q_global)
        infer = {"event_dims": ["component"], "enumerate": "parallel"}
        return pyro.sample("cluster", Membership(logits=logits.detach()), infer=infer)


@pytest.mark.parametrize(("weight", "beta", "same"), [(1.0, 1.0, True), (4.0, 4.0, True), (1.0, 4.0, False)])
def test_the_gradient_through_the_optimum_is_that_with_it_held(images, weight, beta, same):
    """The envelope theorem, of every parameter, where ``weight`` is the objective's β and only there."""
    model, guide = make_pair("optimal", weight=weight)
    parameters = {
        **{f"model.{name}": value for name, value in model.named_parameters()},
        **{name: value for name, value in guide.named_parameters() if name.startswith("head")},
    }
    gradients = []
    for clusters in (guide.clusters, Held(guide.clusters)):
        loss = cost(model, with_clusters(guide, clusters), images, beta=beta).mean()
        gradients.append(torch.autograd.grad(loss, list(parameters.values())))
    differences = {
        name: float((one - other).abs().max() / other.abs().max())
        for name, one, other in zip(parameters, *gradients, strict=True)
    }
    assert all(gradient.any() for gradient in gradients[0])
    if same:
        assert max(differences.values()) < 1e-10, differences
    else:
        assert differences["model.prior_global.loc"] > 1e-2


def test_the_relaxed_objective_nears_the_enumerated_as_the_temperature_falls(images, within_errors):
    """Σ_k q_k KL_k less the mean KL of z over Gumbel draws: measured 0.66, 0.22, 0.08, 0.02 nats of 1.4 at τ = 1, 0.3,
    0.1, 0.03, so in proportion to τ; five standard errors are 0.01. At τ = 0.002 nothing beyond them is left.

    The cluster's own KL is the same at every temperature.
    """
    model, guide = make_pair("enumerated")
    images = images[:1]
    terms = BetaELBO().measure(model, guide, images)
    exact = terms.rates["z_global"][1].sum(-1).detach()[0]
    many, gaps = images.expand(40_000, *SHAPE), []
    for temperature in (1.0, 0.3, 0.1, 0.03, 0.002):
        clusters = relaxed(PIXELS, CLUSTERS, temperature).double()
        clusters.logits = guide.clusters.logits
        with torch.no_grad():
            found = BetaELBO().measure(model, with_clusters(guide, clusters), many)
        torch.testing.assert_close(found.rates["cluster"][1], terms.rates["cluster"][1].expand(40_000))
        draws = found.rates["z_global"][1].sum(-1)
        gaps.append(float(exact - draws.mean()))
    errors = 5 * float(draws.std()) / len(draws) ** 0.5
    assert all(first > second + errors for first, second in pairwise(gaps[:-1])), gaps
    within_errors(draws, exact, resolution=0.02)


def far_apart(kind: str) -> tuple[TwoViewVAE, TwoViewGuide]:
    """Two narrow clusters at ±8 in the first code, and a guide that puts every image halfway, sure of its place."""
    model, guide = make_pair(kind)
    with torch.no_grad():
        model.prior_global.loc.copy_(torch.tensor([[8.0, 0.0], [-8.0, 0.0], [8.0, 0.0]]))
        model.prior_global.log_scale.fill_(0.0)
        model.likelihood.loadings.copy_(torch.eye(PIXELS)[:, : GLOBAL + LOCAL])
        for head, latents in ((guide.head_global, GLOBAL), (guide.head_local, LOCAL)):
            head.weight.zero_()
            head.bias.copy_(torch.tensor([0.0] * latents + [math.log(NOISE**2)] * latents))
        if kind != "optimal":
            guide.clusters.logits.weight.zero_()
            guide.clusters.logits.bias.copy_(torch.tensor([0.0, 0.0, -9.0]))
    return model, guide


@pytest.mark.parametrize("kind", KINDS)
def test_the_relaxed_objective_is_no_bound_and_the_others_are(kind):
    """An image halfway between two clusters: −loss of the relaxed guide exceeds log p(x), by 5 nats and more.

    The mean is over 2 000 draws, whose standard error is below 0.5 nats. In evaluation mode the same guide bounds it.
    """
    model, guide = far_apart(kind)
    image = torch.zeros(1, *SHAPE, dtype=torch.float64)
    exact = float(evidence(model, image))
    with torch.no_grad():
        terms = BetaELBO().measure(model, guide, image.expand(2_000, *SHAPE))
    values = -(terms.distortion + terms.rate)
    assert values.std() / len(values) ** 0.5 < 0.5
    assert bool(values.mean() > exact + 5) == (kind == "relaxed")
    assert bool(values.mean() < exact) == (kind != "relaxed")
    assert float(bound(model, guide, image)) < exact


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_every_guide_bounds_the_evidence(kind, seed):
    """In evaluation mode, exactly; the optimum at least as closely as any other with the same q(z | x)."""
    model, guide = make_pair(kind, seed)
    images = torch.randn(40, *SHAPE, dtype=torch.float64)
    found = bound(model, guide, images)
    assert (found < evidence(model, images)).all()
    best = bound(model, with_clusters(guide, OptimalClusters(model.prior_global)), images)
    assert (best >= found - 1e-9).all()


@pytest.mark.parametrize("kind", KINDS)
def test_many_draws_meet_the_evidence(kind):
    """Within five standard errors, 1/√(effective samples) nats each; clusters are drawn there, by every guide."""
    model, guide = make_pair(kind)
    with torch.no_grad():
        for head, latents in ((guide.head_global, GLOBAL), (guide.head_local, LOCAL)):
            head.bias[latents:].fill_(-1.0)
        images = poutine.trace(model).get_trace(size=4).nodes["x"]["value"] / 3
    found = log_marginal(model, guide, images, 40_000, batch_size=160_000)
    wanted = evidence(model, images)
    effective = torch.from_numpy(found["effective_samples"].values)
    assert (effective > 100).any(), "too few draws to tell"
    error = (torch.from_numpy(found["log_marginal"].values) - wanted).abs()
    assert (error < 5 / effective.sqrt())[effective > 100].all()
    assert (torch.from_numpy(found["elbo"].values) < wanted).all()


def train(model: nn.Module, guide: nn.Module, images: torch.Tensor, steps: int = 120) -> None:
    """The guide alone, by Adam, its rate a tenth in the second half."""
    adam = torch.optim.Adam([*guide.parameters()], lr=0.15, fused=True)
    with pyro.validation_enabled(False):
        for step in range(steps):
            adam.param_groups[0]["lr"] = 0.15 if step < steps / 2 else 0.015
            adam.zero_grad()
            BetaELBO()(model, guide, images).backward()
            adam.step()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_no_trained_guide_beats_the_optimal_one(seed):
    """Under one fixed model, from one start, by exact bounds, to the 0.1 nats that 120 noisy steps may leave.

    Measured over eight seeds the optimal guide lost 0.003 nats at most and won up to 11, where the others' clusters
    stop in a local optimum. The enumerated and the relaxed guide have no order: each led by 0.3 nats and more in some.
    """
    reached = {}
    for kind in KINDS:
        model, guide = make_pair(kind, seed)
        with torch.no_grad():
            model.prior_global.loc.mul_(3)
            model.prior_global.log_scale.fill_(math.log(0.3))
            images = poutine.trace(model).get_trace(size=64).nodes["x"]["value"]
        start = float(bound(model, guide, images).mean())
        train(model.requires_grad_(False), guide, images)
        reached[kind] = float(bound(model, guide, images).mean())
        assert start + 10 < reached[kind] < float(evidence(model, images).mean())
    assert reached["optimal"] > max(reached.values()) - 0.1, reached


def test_evaluated_the_relaxed_guide_is_the_enumerated_one(images):
    """One-hot draws, the same q(cluster | x), the same bound at the same draw of z; no step of its temperature."""
    model, guide = make_pair("relaxed", final=0.1, steps=3)
    other = with_clusters(guide, EnumeratedClusters(PIXELS, CLUSTERS))
    other.clusters.logits = guide.clusters.logits
    guide.eval()
    torch.testing.assert_close(cost(model, guide, images), cost(model, other, images), rtol=0, atol=0)
    traces = [poutine.trace(one).get_trace(images).nodes["cluster"] for one in (guide, other)]
    torch.testing.assert_close(*(node["fn"].logits for node in traces), rtol=0, atol=0)
    for node in traces:
        assert ((node["value"] == 0) | (node["value"] == 1)).all()
        assert (node["value"].sum(-1) == 1).all()
    assert guide.clusters.step == 0
    guide.train()
    drawn = poutine.trace(guide).get_trace(images).nodes["cluster"]["value"]
    assert ((drawn > 0) & (drawn < 1)).any()
    assert guide.clusters.step == 1


def test_a_fixed_temperature_stays(images):
    _, guide = make_pair("relaxed")
    for _ in range(5):
        torch.testing.assert_close(guide.clusters.temperature, torch.tensor(0.4).double())
        used = poutine.trace(guide).get_trace(images).nodes["cluster"]["fn"].temperature
        torch.testing.assert_close(used, torch.tensor(0.4).double())


def test_an_annealed_temperature_falls_geometrically_and_stays(images):
    """τ of call s is first · (final / first)^(s / steps), from the first to the final, one step a training call."""
    _, guide = make_pair("relaxed", temperature=2.0, final=0.5, steps=4)
    used = []
    for call in range(7):
        assert guide.clusters.step == call
        with torch.no_grad():
            used.append(float(poutine.trace(guide).get_trace(images).nodes["cluster"]["fn"].temperature))
        guide.eval()(images)
        guide.train()
    np.testing.assert_allclose(used, [2.0, 2**0.5, 1.0, 2**-0.5, 0.5, 0.5, 0.5])
    state = guide.state_dict()
    assert state["clusters.step"] == 7
    _, fresh = make_pair("relaxed", temperature=2.0, final=0.5, steps=4)
    fresh.load_state_dict({**state, "clusters.step": torch.tensor(2.0)})
    assert float(fresh.clusters.temperature) == pytest.approx(1.0)


FIT = {"batch_size": 8, "progress": False, "accelerator": "cpu", "learning_rate": 1e-2}


@pytest.fixture
def data() -> torch.Tensor:
    return torch.randn(24, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("kind", KINDS)
def test_captured_training_is_eager_training(data, kind):
    """The same losses; and the temperature takes one step a training step, three epochs of three here: rehearsals,
    captures and checks do not count."""
    options = {"temperature": 1.0, "final": 0.25, "steps": 18} if kind == "relaxed" else {}
    losses = []
    for execution in ("eager", "captured"):
        model, guide = make_pair(kind, **options)
        history = fit(model, guide, data, epochs=3, execution=execution, **FIT)
        assert history.execution == execution
        losses.append(history["loss"].values)
        if kind == "relaxed":
            assert guide.clusters.step == 9
            assert float(guide.clusters.temperature) == pytest.approx(0.5)
    np.testing.assert_allclose(*losses, rtol=1e-9)
    assert history["kl_cluster"].dims == ("epoch",)
    assert history["cluster_probability"].dims == ("epoch", "component")
    np.testing.assert_allclose(history["cluster_probability"].sum("component"), 1)
    kls = [history["kl_cluster"], history["kl_z_global"].sum("latent_global")]
    np.testing.assert_allclose(sum(kls) + history["kl_z_local"].sum("latent_local"), history["rate"])


@pytest.mark.parametrize("kind", ["relaxed", "optimal"])
def test_a_resumed_training_is_an_uninterrupted_one(data, kind, tmp_path):
    """The temperature goes on from its step; the prior that guide and model share stays one."""
    options = {"temperature": 1.0, "final": 0.25, "steps": 18} if kind == "relaxed" else {}
    whole = make_pair(kind, **options)
    history = fit(*whole, data, epochs=4, compile=False, **FIT)
    fit(*make_pair(kind, **options), data, epochs=2, compile=False, directory=tmp_path, **FIT)
    model, guide = make_pair(kind, **options)
    resumed = fit(model, guide, data, epochs=4, compile=False, directory=tmp_path, resume=True, **FIT)
    np.testing.assert_array_equal(resumed["loss"], history["loss"])
    for one, other in zip((model, guide), whole, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    if kind == "relaxed":
        assert guide.clusters.step == 12
    else:
        assert guide.clusters.prior is model.prior_global


@pytest.mark.parametrize("kind", KINDS)
def test_plain_svi_trains_it(kind):
    """By Pyro's ELBO for it, in float32, which its enumeration needs; the other one works too, and warns."""
    model, guide = (part.float() for part in make_pair(kind))
    images, parameters = torch.randn(5, *SHAPE), [p for part in (model, guide) for p in part.parameters()]
    for loss in (Trace_ELBO(), TraceEnum_ELBO(max_plate_nesting=1)):
        before = [p.detach().clone() for p in parameters]
        quiet = isinstance(loss, TraceEnum_ELBO) != (kind == "relaxed")
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), loss)
        with nullcontext() if quiet else pytest.warns(UserWarning, match="TraceEnum_ELBO"):
            assert math.isfinite(svi.step(images))
        assert not any(map(torch.equal, parameters, before))
    assert not pyro.get_param_store().keys()


@pytest.mark.parametrize("kind", KINDS)
def test_exports_hold_the_cluster(images, kind):
    """One-hot draws; their KL of each image by the formula; q(cluster | x); and a guide that stays as it was."""
    model, guide = make_pair(kind)
    check_pair(model, guide, images, BetaELBO())
    tree = from_pyro_svi(model, guide, images, 400)
    clusters = tree["posterior"]["cluster"]
    assert clusters.dims == ("chain", "draw", "image", "component")
    assert np.isin(clusters, (0, 1)).all()
    assert (clusters.sum("component") == 1).all()
    guide.eval()
    recorded = poutine.trace(guide).get_trace(images).nodes["cluster"]["fn"].probs.detach().numpy()
    statistics = tree["sample_stats"]
    assert statistics["cluster_probability"].dims == ("image", "component")
    np.testing.assert_allclose(statistics["cluster_probability"], recorded)
    assert statistics["kl_cluster"].dims == ("image",)
    kl = (recorded * np.log(recorded * CLUSTERS)).sum(-1)
    np.testing.assert_allclose(statistics["kl_cluster"], kl)
    error = np.sqrt(recorded * (1 - recorded) / 400)
    assert (np.abs(clusters.mean(("chain", "draw")) - recorded) < 5 * error + 1e-9).all()
    np.testing.assert_allclose(tree["log_prior"]["cluster"], -math.log(CLUSTERS))
    given = model.prior_global.normal(torch.from_numpy(clusters.values))
    log_prior = given.log_prob(torch.from_numpy(tree["posterior"]["z_global"].values)).detach()
    np.testing.assert_allclose(tree["log_prior"]["z_global"], log_prior)
    if kind == "relaxed":
        assert guide.clusters.step == 0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: RelaxedClusters(4, 3, 0.0), "temperature=0.0: expected a finite number above zero"),
        (lambda: RelaxedClusters(4, 3, -0.4), "temperature=-0.4: expected"),
        (lambda: RelaxedClusters(4, 3, float("nan")), "temperature=nan: expected"),
        (lambda: RelaxedClusters(4, 3, final=0.1), "final=0.1, steps=None: .* takes both"),
        (lambda: RelaxedClusters(4, 3, steps=10), "final=None, steps=10: .* takes both"),
        (lambda: RelaxedClusters(4, 3, final=0.0, steps=10), "final=0.0: expected"),
        (lambda: RelaxedClusters(4, 3, final=0.1, steps=0), "steps=0: expected"),
        (lambda: RelaxedClusters(4, 1), "clusters=1: expected a whole number of at least 2"),
        (lambda: EnumeratedClusters(4, 1), "clusters=1: expected a whole number of at least 2"),
        (lambda: OptimalClusters(MixturePrior(2, 3)), "prior is a MixturePrior; .* ClusterPrior"),
        (lambda: OptimalClusters(ClusterPrior(2, 3), -1.0), "weight=-1.0: expected"),
    ],
)
def test_mistakes_are_named_in_one_line(make: Callable, match: str):
    with pytest.raises(UserError, match=match) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("clusters", "match"),
    [
        (lambda: EnumeratedClusters(PIXELS, 5), r"'cluster' has event shape \(5,\) in the guide but \(3,\) in the"),
        (lambda: relaxed(PIXELS, 5), r"'cluster' has event shape \(5,\) in the guide but \(3,\) in the model"),
        (lambda: OptimalClusters(ClusterPrior(GLOBAL, 5)), r"'cluster' has event shape \(5,\) in the guide but \(3,\)"),
        (lambda: None, "'cluster' is in the model but not in the guide"),
    ],
)
def test_a_guide_of_other_clusters_is_refused_in_one_line(images, clusters, match):
    with pytest.raises(UserError, match=match) as error:
        check_pair(make_model(), make_guide(clusters()), images)
    assert "\n" not in str(error.value)
