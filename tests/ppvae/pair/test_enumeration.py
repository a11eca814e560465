"""Discrete sites of the guide, summed out: against sums written by hand, closed forms and Pyro's own enumeration."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import nn
from torch.distributions import kl_divergence

from guides import EnumeratedClusters, RelaxedClusters, TwoViewGuide
from ppvae import BetaELBO, TwoViewVAE, UserError
from ppvae.priors import ClusterPrior, NormalPrior

SHAPE, PIXELS, CLUSTERS, NOISE = (1, 2, 3), 6, 4, 0.5


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


class Pair:
    """Linear two-view pair with enumerated clusters, and its parameters by name."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        priors = ClusterPrior(2, CLUSTERS, site="z_global"), NormalPrior(1, site="z_local")
        self.model = TwoViewVAE(*priors, Linear(3), None, None).to(dtype)
        clusters = EnumeratedClusters(PIXELS, CLUSTERS)
        self.guide = TwoViewGuide(Pixels(), Pixels(), 2, 1, None, clusters).to(dtype)
        both = nn.ModuleDict({"model": self.model, "guide": self.guide})
        self.parameters = dict(both.named_parameters())

    def normals(self, images: torch.Tensor) -> list[dist.TorchDistribution]:
        """q(z_global | x) and q(z_local | x)."""
        parts = [head(images.flatten(1)).chunk(2, -1) for head in (self.guide.head_global, self.guide.head_local)]
        return [dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1) for loc, log_variance in parts]

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """−log p(x | z) at one draw, then KL of the cluster, Σ_k q_k KL_k of z_global, KL of z_local; (image,) each."""
        prior, (whole, local) = self.model.prior_global, self.normals(images)
        log_q = self.guide.clusters.logits(images.flatten(1)).log_softmax(-1)
        z = torch.cat([whole.rsample(), local.rsample()], -1)
        mean = (z @ self.model.likelihood.loadings.T).unflatten(-1, SHAPE)
        distortion = -dist.Normal(mean, NOISE).log_prob(images).flatten(1).sum(1)
        given = [dist.Normal(prior.loc[k], prior.log_scale[k].exp()).to_event(1) for k in range(CLUSTERS)]
        rates = torch.stack([kl_divergence(whole, component) for component in given], -1)
        normal = dist.Normal(local.mean.new_zeros(1), local.mean.new_ones(1)).to_event(1)
        cluster = (log_q.exp() * (log_q + math.log(CLUSTERS))).sum(-1)
        return distortion, cluster, (log_q.exp() * rates).sum(-1), kl_divergence(local, normal)

    def expected_distortion(self, images: torch.Tensor) -> torch.Tensor:
        """E_q[−log p(x | z)] = ½ Σ [(x − Wμ)² + W² σ²] / NOISE² + const, (image,)."""
        loc, variance = (torch.cat([getattr(q, name) for q in self.normals(images)], -1) for name in MOMENTS)
        loadings = self.model.likelihood.loadings
        squares = (images.flatten(1) - loc @ loadings.T).square() + variance @ loadings.square().T
        return (0.5 * squares / NOISE**2 + math.log(NOISE) + 0.5 * math.log(2 * math.pi)).sum(-1)


MOMENTS = ("mean", "variance")


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, *SHAPE, dtype=torch.float64)


@pytest.mark.parametrize("beta", [1.0, 3.0, 0.0])
@pytest.mark.parametrize("discrete", [1.0, 0.5, 0.0])
def test_the_objective_is_the_sum_by_hand(pair, images, beta, discrete):
    """Value and every gradient, at the same draw of z: β weighs the normals' KLs, ``discrete`` the cluster's."""
    torch.manual_seed(3)
    loss = BetaELBO(beta=beta, discrete=discrete)(pair.model, pair.guide, images)
    torch.manual_seed(3)
    distortion, cluster, whole, local = pair.parts(images)
    by_hand = (distortion + discrete * cluster + beta * (whole + local)).mean()
    torch.testing.assert_close(loss, by_hand)
    found, expected = (
        torch.autograd.grad(value, list(pair.parameters.values()), allow_unused=True, materialize_grads=True)
        for value in (loss, by_hand)
    )
    for name, one, other in zip(pair.parameters, found, expected, strict=True):
        torch.testing.assert_close(one, other, msg=name)
    if beta and discrete:
        assert all(gradient.any() for gradient in found)


@pytest.mark.parametrize("estimator", ["auto", "mean_field", "trace"])
def test_terms_are_those_of_one_image_each(pair, images, estimator):
    """Enumeration leaves no dim behind, whatever the estimator; ``trace`` samples z's part alone."""
    torch.manual_seed(3)
    terms = BetaELBO(estimator=estimator).measure(pair.model, pair.guide, images)
    torch.manual_seed(3)
    distortion, cluster, whole, local = pair.parts(images)
    assert {name: (dims, tuple(rate.shape)) for name, (dims, rate) in terms.rates.items()} == {
        "cluster": ((), (5,)),
        "z_global": (("latent_global",), (5, 2)),
        "z_local": (("latent_local",), (5, 1)),
    }
    assert (terms.discrete, terms.pixels, terms.latents, terms.score) == ({"cluster"}, PIXELS, 3, None)
    torch.testing.assert_close(terms.distortion, distortion)
    torch.testing.assert_close(terms.rates["cluster"][1], cluster)
    torch.testing.assert_close(terms.discrete_rate, cluster)
    if estimator != "trace":
        torch.testing.assert_close(terms.rates["z_global"][1].sum(-1), whole)
        torch.testing.assert_close(terms.rates["z_local"][1].sum(-1), local)
        torch.testing.assert_close(terms.rate, cluster + whole + local)


def test_pyros_enumeration_has_the_same_mean(within_errors):
    """Its TraceEnum_ELBO samples the KL of z; its mean over draws and ours meet the closed form, 5 standard errors
    being at most 2 % of it. In float32: Pyro's masked sites are, and it contracts no two types."""
    pair, images = Pair(torch.float32), torch.randn(1, *SHAPE)
    _, *rates = pair.parts(images)
    exact = float((pair.expected_distortion(images) + sum(rates)).detach())
    many = images.expand(2000, *SHAPE)
    with torch.no_grad():
        pyros = [TraceEnum_ELBO(max_plate_nesting=1).loss(pair.model, pair.guide, many) / 2000 for _ in range(40)]
        ours = [float(BetaELBO()(pair.model, pair.guide, many)) for _ in range(40)]
        sampled = [float(BetaELBO(estimator="trace")(pair.model, pair.guide, many)) for _ in range(40)]
    for losses in (pyros, ours, sampled):
        within_errors(torch.tensor(losses).double(), exact, resolution=0.02)


def test_pyros_enumeration_has_the_same_gradient(within_errors):
    """Of the cluster's logits: Pyro's mean over draws within 5 standard errors of the sum by hand, ours equal to it."""
    pair, images = Pair(torch.float32), torch.randn(1, *SHAPE)
    many, bias = images.expand(5000, *SHAPE), pair.guide.clusters.logits.bias
    _, *rates = pair.parts(images)
    (exact,) = torch.autograd.grad(sum(rates).sum(), bias)
    found = []
    for _ in range(40):
        loss = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(pair.model, pair.guide, many) / 5000
        found.append(torch.autograd.grad(loss, bias)[0])
    within_errors(torch.stack(found), exact, resolution=0.15)
    (ours,) = torch.autograd.grad(BetaELBO()(pair.model, pair.guide, images), bias)
    torch.testing.assert_close(ours, exact)


# What follows are programs of a plate ``image`` with a few states, where log p(x) is a sum of normals.
MEANS = torch.tensor([[-1.0, 0.4, 2.0], [0.7, -0.6, 1.1]])  # of each state of the first site, of the second
CHOICE = torch.tensor([0.2, 0.5, 0.3])
MOVE = torch.tensor([[0.7, 0.1, 0.2], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1]])  # the second state's probabilities, given one
POINTS = torch.tensor([-1.4, 0.2, 0.9, 3.0]).reshape(4, 1, 1, 1)


def log_joint(points: torch.Tensor) -> torch.Tensor:
    """log p(x, first, second), (image, first, second)."""
    means = MEANS[0][:, None] + MEANS[1]
    return CHOICE.log()[:, None] + MOVE.log() + dist.Normal(means, 0.6).log_prob(points.reshape(-1, 1, 1))


def chain(images: torch.Tensor) -> None:
    with pyro.plate("image", len(images), dim=-1):
        first = pyro.sample("first", dist.Categorical(CHOICE))
        second = pyro.sample("second", dist.Categorical(MOVE[first]))
        mean = (MEANS[0][first] + MEANS[1][second])[..., None, None, None]
        pyro.sample("x", dist.Normal(mean, 0.6).to_event(3), obs=images)


class ChainGuide:
    """q(first) q(second | first) for each image, from tables of logits (image, first), (image, first, second)."""

    def __init__(self, first: torch.Tensor, second: torch.Tensor) -> None:
        self.first, self.second = first, second

    def __call__(self, images: torch.Tensor) -> None:
        infer = {"enumerate": "parallel"}
        with pyro.plate("image", len(images), dim=-1) as index:
            first = pyro.sample("first", dist.Categorical(logits=self.first), infer=infer)
            pyro.sample("second", dist.Categorical(logits=self.second[index, first]), infer=infer)


@pytest.mark.parametrize("estimator", ["mean_field", "trace"])
def test_the_exact_posterior_of_two_sites_attains_the_evidence(estimator):
    """Four values of x, nine pairs of states: −loss = log p(x), to the rounding of float32."""
    joint = log_joint(POINTS)
    guide = ChainGuide(joint.logsumexp(-1), joint)
    terms = BetaELBO(estimator=estimator).measure(chain, guide, POINTS)
    torch.testing.assert_close(-(terms.distortion + terms.rate), joint.logsumexp((-2, -1)))


@pytest.mark.parametrize("estimator", ["mean_field", "trace"])
def test_any_other_guide_of_two_sites_loses_its_kl(estimator):
    """log p(x) − ELBO = Σ q (log q − log p(first, second | x)) over the nine pairs."""
    first, second = torch.randn(4, 3), torch.randn(4, 3, 3)
    terms = BetaELBO(estimator=estimator).measure(chain, ChainGuide(first, second), POINTS)
    joint, log_q = log_joint(POINTS), first.log_softmax(-1)[..., None] + second.log_softmax(-1)
    gap = (log_q.exp() * (log_q - joint + joint.logsumexp((-2, -1), keepdim=True))).sum((-2, -1))
    assert gap.min() > 0.1
    torch.testing.assert_close(joint.logsumexp((-2, -1)) + terms.distortion + terms.rate, gap)


LOC, LOG_SCALE = (
    torch.tensor([[-1.0, 0.3], [0.2, 1.5], [2.0, -0.4]]),
    torch.tensor([[0.1, -0.5], [-0.2, 0.3], [0.0, -1.0]]),
)


@pytest.mark.parametrize("weight", [1.0, 2.5])
def test_a_normal_given_the_enumerated_site(weight):
    """q(y | x) q(z | x, y): each state has a draw of its own; distortion and KLs are those of the states, by q_k.

    ``weight`` is a ``poutine.scale`` around both programs: it weighs every term and no probability.
    """
    logits = torch.randn(4, 3)

    def model(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1), pyro.poutine.scale(scale=weight):
            y = pyro.sample("y", dist.Categorical(CHOICE))
            z = pyro.sample("z", dist.Normal(MEANS.T[y], 0.8).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1)[..., None, None, None], 0.6).to_event(3), obs=images)

    def guide(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1), pyro.poutine.scale(scale=weight):
            y = pyro.sample("y", dist.Categorical(logits=logits), infer={"enumerate": "parallel"})
            pyro.sample("z", dist.Normal(LOC[y], LOG_SCALE[y].exp()).to_event(1), infer={"event_dims": ["latent"]})

    torch.manual_seed(2)
    terms = BetaELBO().measure(model, guide, POINTS)
    torch.manual_seed(2)
    q = logits.softmax(-1)
    states = dist.Normal(LOC[:, None].expand(3, 4, 2), LOG_SCALE.exp()[:, None])
    z = states.rsample()  # (state, image, latent)
    log_x = dist.Normal(z.sum(-1), 0.6).log_prob(POINTS.flatten())
    kl = kl_divergence(states, dist.Normal(MEANS.T[:, None], 0.8))
    torch.testing.assert_close(terms.distortion, -weight * (q.T * log_x).sum(0))
    torch.testing.assert_close(terms.rates["z"][1], weight * (q.T[..., None] * kl).sum(0))
    torch.testing.assert_close(terms.rates["y"][1], weight * (q * (q.log() - CHOICE.log())).sum(-1))
    assert terms.latents == 2


def test_under_an_outer_plate_each_draw_has_terms_of_its_own(pair, images):
    """As many draws as clusters, so that a sum over the wrong dim would go unseen in the shapes."""
    torch.manual_seed(1)
    with pyro.plate("draws", CLUSTERS, dim=-2):
        terms = BetaELBO().measure(pair.model, pair.guide, images)
    shape = (CLUSTERS, len(images))
    assert terms.distortion.shape == terms.rate.shape == shape
    one = BetaELBO().measure(pair.model, pair.guide, images)
    torch.testing.assert_close(terms.rate, one.rate.expand(shape))  # closed forms: the same for all draws
    assert len(terms.distortion.unique()) == CLUSTERS * len(images)


def test_a_score_function_given_an_enumerated_site_is_refused():
    def model(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            y = pyro.sample("y", dist.Categorical(CHOICE))
            z = pyro.sample("z", dist.Poisson(1.0 + y))
            pyro.sample("x", dist.Normal(z[..., None, None, None], 0.6).to_event(3), obs=images)

    def guide(images: torch.Tensor) -> None:
        with pyro.plate("image", len(images), dim=-1):
            y = pyro.sample("y", dist.Categorical(CHOICE.expand(len(images), 3)), infer={"enumerate": "parallel"})
            pyro.sample("z", dist.Poisson(torch.tensor([1.0, 2.0, 3.0], requires_grad=True)[y]))

    with pytest.raises(UserError, match="site 'z' is drawn given an enumerated site and is not reparameterised"):
        BetaELBO()(model, guide, POINTS)


@pytest.mark.filterwarnings("ignore:RelaxedClusters trains on an objective that is no bound:UserWarning")
def test_a_relaxed_draw_has_one_rate_whatever_the_estimator(images):
    """A density of a relaxed draw less a probability is no log ratio: the categorical KL stands for both."""
    prior = ClusterPrior(2, CLUSTERS, site="z_global")
    model = TwoViewVAE(prior, NormalPrior(1, site="z_local"), Linear(3), None, None).double()
    guide = TwoViewGuide(Pixels(), Pixels(), 2, 1, None, RelaxedClusters(PIXELS, CLUSTERS)).double()
    found = [BetaELBO(estimator=name).measure(model, guide, images).rates["cluster"][1] for name in ("auto", "trace")]
    log_q = guide.clusters.logits(images.flatten(1)).log_softmax(-1)
    for rate in found:
        torch.testing.assert_close(rate, (log_q.exp() * (log_q + math.log(CLUSTERS))).sum(-1))
