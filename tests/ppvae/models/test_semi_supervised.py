"""The semi-supervised pair: its bound by hand and by plain Pyro, what its labels teach, and what it makes of data."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, config_enumerate
from torch.nn.functional import cross_entropy, one_hot

from guides import SemiSupervisedNormal
from ppvae import BetaELBO, SemiSupervisedVAE, Supervised, UserError, check_pair, fit, from_pyro_svi
from ppvae.likelihoods import NormalLikelihood
from ppvae.models import UNKNOWN
from ppvae.networks import MLPDecoder, MLPEncoder
from ppvae.pair.terms import pair_traces
from ppvae.priors import NormalPrior

SHAPE, LEVELS, LATENTS = (1, 3, 3), 3, 2
LABELS = torch.tensor([2, UNKNOWN, 0, UNKNOWN, 1])


def make_pair(seed: int = 0, scale: float = 0.5) -> tuple[SemiSupervisedVAE, SemiSupervisedNormal]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        likelihood = NormalLikelihood(MLPDecoder(LATENTS + LEVELS, SHAPE, hidden=[8]), scale=scale)
        encoder, classifier = MLPEncoder(SHAPE, hidden=[8]), MLPEncoder(SHAPE, hidden=[8])
        model = SemiSupervisedVAE(NormalPrior(LATENTS), likelihood, LEVELS)
        return model, SemiSupervisedNormal(encoder, classifier, LEVELS, LATENTS)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(len(LABELS), *SHAPE, generator=torch.Generator().manual_seed(1))


def classified(guide: SemiSupervisedNormal, images: torch.Tensor) -> torch.Tensor:
    return guide.logits(guide.classifier(images)).log_softmax(-1)


def test_the_bound_is_the_one_summed_out_by_hand(images):
    """Each image under each label, at the draws of z that the objective made: where a label is known its term alone and
    log 3 of p(y), elsewhere all of them by q(y | x) and the KL of y. In float64."""
    model, guide = (part.double() for part in make_pair())
    images, objective = images.double(), BetaELBO(estimator="trace")
    torch.manual_seed(4)
    terms = objective.measure(model, guide, (images, LABELS))
    torch.manual_seed(4)
    drawn, _ = pair_traces(model, guide, (images, LABELS), enumerated=True)
    z, log_q_y = drawn.nodes["z"]["value"].squeeze(1), classified(guide, images)
    found = torch.zeros(len(images), LEVELS, dtype=torch.float64)
    for level in range(LEVELS):
        y = one_hot(torch.full((len(images),), level), LEVELS).double()
        q = guide._normal(guide.encoder(images), y)
        p = dist.Normal(0.0, 1.0).expand(z[level].shape).to_event(1)
        found[:, level] = q.log_prob(z[level]) - p.log_prob(z[level]) - model.decode(z[level], y).log_prob(images)
    unlabelled = (log_q_y.exp() * (found + log_q_y + math.log(LEVELS))).sum(-1)
    labelled = found.gather(1, LABELS.clamp(min=0)[:, None])[:, 0] + math.log(LEVELS)
    expected = torch.where(LABELS == UNKNOWN, unlabelled, labelled)
    torch.testing.assert_close(terms.distortion + terms.rate, expected, rtol=1e-10, atol=1e-10)


def test_the_bound_is_that_of_plain_pyro_scripts(images):
    """Kingma's two bounds as any Pyro user writes them: y observed for some, TraceEnum_ELBO for the others. Within five
    standard errors of 40 means of ten draws."""
    model, guide = make_pair()
    images, every = images.repeat(10, 1, 1, 1), LABELS.repeat(10)
    known, uniform = every != UNKNOWN, dist.OneHotCategorical(logits=torch.zeros(LEVELS))

    def observed_model(images, labels):
        with pyro.plate("image", len(images), dim=-1):
            y = pyro.sample(
                "y", dist.OneHotCategorical(logits=torch.zeros(LEVELS)), obs=one_hot(labels, LEVELS).float()
            )
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1))
            pyro.sample("x", model.decode(z, y), obs=images)

    def observed_guide(images, labels):
        with pyro.plate("image", len(images), dim=-1):
            y = one_hot(labels, LEVELS).float()
            pyro.sample("z", guide._normal(guide.encoder(images), y))

    def free_model(images):
        with pyro.plate("image", len(images), dim=-1):
            y = pyro.sample("y", uniform)
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1))
            pyro.sample("x", model.decode(z, y), obs=images)

    @config_enumerate
    def free_guide(images):
        with pyro.plate("image", len(images), dim=-1):
            y = pyro.sample("y", dist.OneHotCategorical(logits=classified(guide, images)))
            pyro.sample("z", guide._normal(guide.encoder(images), y))

    elbo, objective = TraceEnum_ELBO(max_plate_nesting=1), BetaELBO(estimator="trace")
    with torch.no_grad():
        torch.manual_seed(0)
        plain = torch.tensor(
            [
                Trace_ELBO().loss(observed_model, observed_guide, images[known], every[known])
                + elbo.loss(free_model, free_guide, images[~known])
                for _ in range(40)
            ]
        )
        ours = torch.stack([len(images) * objective(model, guide, images, every) for _ in range(40)])
    error = (plain.var() / 40 + ours.var() / 40).sqrt()
    assert abs(plain.mean() - ours.mean()) < 5 * error


def test_the_classifier_learns_of_labels_by_the_supervised_term_alone(images):
    """The bound of labelled images says nothing to it; the term is torch's cross-entropy."""
    model, guide = make_pair()
    known = LABELS != UNKNOWN
    BetaELBO()(model, guide, images[known], LABELS[known]).backward()
    assert all(p.grad is None or float(p.grad.abs().max()) == 0 for p in guide.classifier.parameters())
    objective = Supervised(objective=BetaELBO(), weight=2.0)
    torch.manual_seed(0)
    bound = BetaELBO()(model, guide, images, LABELS)
    torch.manual_seed(0)
    whole = objective(model, guide, images, LABELS)
    expected = 2.0 * cross_entropy(classified(guide, images)[known], LABELS[known])
    torch.testing.assert_close(whole - bound, expected, rtol=1e-4, atol=1e-5)
    whole.backward()
    assert all(bool(p.grad.isfinite().all()) for p in guide.parameters())
    assert float(guide.logits.weight.grad.abs().max()) > 0


def test_a_label_that_is_certain_counts_among_the_labelled(images):
    """log q = 0 to the last bit is not taken for a label that is not known: the mean stays one over three."""
    model, guide = make_pair()
    with torch.no_grad():
        guide.logits.weight.zero_()
        guide.logits.bias.copy_(torch.tensor([0.0, -200.0, -3.0]))
    torch.manual_seed(0)
    bound = BetaELBO()(model, guide, images, LABELS)
    torch.manual_seed(0)
    whole = Supervised(objective=BetaELBO(), weight=1.0)(model, guide, images, LABELS)
    known = LABELS != UNKNOWN
    torch.testing.assert_close(whole - bound, cross_entropy(classified(guide, images)[known], LABELS[known]))


def test_no_labels_at_all_are_no_term(images):
    model, guide = make_pair()
    torch.manual_seed(0)
    bound = BetaELBO()(model, guide, images, torch.full_like(LABELS, UNKNOWN))
    torch.manual_seed(0)
    whole = Supervised(objective=BetaELBO())(model, guide, images, torch.full_like(LABELS, UNKNOWN))
    torch.testing.assert_close(whole, bound)


def blots(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright row of a brightness of its own, the label, on a background of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % LEVELS
    images = 0.3 * torch.rand(count, 1, 1, 1, generator=generator) + 0.1 * torch.rand(
        count, *SHAPE, generator=generator
    )
    rows = one_hot(labels, LEVELS)[:, None, :, None] * (0.3 + 0.3 * torch.rand(count, 1, 1, 1, generator=generator))
    return images + rows, labels


def test_a_few_labels_name_what_the_images_group():
    """Five labels a class and 285 images without: all new images were named rightly, of three seeds."""
    images, labels = blots(300, seed=0)
    told = torch.where(torch.arange(300) < 15, labels, UNKNOWN)
    model, guide = make_pair(scale=0.1)
    objective = Supervised(objective=BetaELBO(), weight=20.0)
    settings = {"learning_rate": 0.01, "progress": False, "accelerator": "cpu", "execution": "captured"}
    fit(model, guide, (images, told), objective, epochs=40, batch_size=60, **settings)
    new, truth = blots(300, seed=1)
    assert float((classified(guide, new).argmax(-1) == truth).float().mean()) > 0.95


def test_posteriors_and_draws(images):
    """Labelled images have their label in every draw; the pair is checked as any other and draws images."""
    model, guide = make_pair()
    check_pair(model, guide, (images, LABELS), Supervised(objective=BetaELBO()))
    tree = from_pyro_svi(model, guide, (images, LABELS), 4)
    y = tree["posterior"]["y"][0]
    assert y.shape == (4, len(LABELS), LEVELS)
    known = (LABELS != UNKNOWN).numpy()
    assert (y.values.argmax(-1)[:, known] == LABELS.numpy()[known]).all()
    assert model(size=7).shape == (7, *SHAPE)


def test_mistakes_are_named_in_one_line(images):
    model, guide = make_pair()
    with pytest.raises(UserError, match=r"labels are torch.float32; expected whole numbers from 0, or -1"):
        BetaELBO()(model, guide, images, LABELS.float())
    with pytest.raises(
        UserError, match="Supervised wants a guide that records 'label_log_probability' and 'label_known'"
    ):
        Supervised(objective=BetaELBO())(model, guide, images)
    with pytest.raises(UserError, match=r"2 latents and there are 4 levels but the decoder takes 5; give it 6"):
        SemiSupervisedVAE(NormalPrior(2), model.likelihood, 4)
    with pytest.raises(UserError, match="weight=-1"):
        Supervised(objective=BetaELBO(), weight=-1)
