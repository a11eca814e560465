"""Every configuration composes and is built, and every legal combination trains two steps."""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

import experiments
from experiments.assemble import assemble, training_data
from experiments.pairs import pair
from ppvae import VAE, UserError, check_pair, fit, from_pyro_svi, log_marginal
from ppvae.datasets import ImageDataset
from ppvae.models import UNKNOWN
from ppvae.objectives import Supervised
from ppvae.svi import Plateau

CONF = Path(experiments.__file__).parent / "conf"
TINY = ["data.size=24", "data.image_size=32", "latents=3", "trainer.compile=false", "trainer.progress=false"]
CHOICES = [(path.parent.name, path.stem) for path in sorted(CONF.glob("*/*.yaml"))]
TOGETHER = ("experiment", "prior", "guide", "likelihood", "objective", "clusters", "annealing")
APART = [(group, choice) for group, choice in CHOICES if group not in TOGETHER]
EXPERIMENTS = [choice for group, choice in CHOICES if group == "experiment"]
PRIORS, GUIDES, LIKELIHOODS, OBJECTIVES = (
    [choice for group, choice in CHOICES if group == wanted] for wanted in ("prior", "guide", "likelihood", "objective")
)
MAPS = {"categorical": 768, "logistic": 6, "logistic_mixture": 100, "autoregressive": 32}  # for three channels
MAPS |= {"zero_inflated_poisson": 6, "zero_inflated_negative_binomial": 6}
LABEL_GUIDE = GUIDES.pop(GUIDES.index("semi_supervised"))
TWO_VIEW_GUIDE, CLUSTER_PRIOR = GUIDES.pop(GUIDES.index("two_view")), PRIORS.pop(PRIORS.index("cluster"))
MAP_PRIOR, MAP_GUIDE = PRIORS.pop(PRIORS.index("autoregressive_map")), GUIDES.pop(GUIDES.index("bottom_up"))
DEEP_PRIOR = PRIORS.pop(PRIORS.index("hierarchy"))
DEEP_GUIDES = [GUIDES.pop(GUIDES.index(name)) for name in ("hierarchy", "ladder")]
DEEP = [f"prior={DEEP_PRIOR}", "network=hierarchy", "network.hierarchy='4x4:1 8x8:1'", "network.channels=8"]
TWO_LEVELS = [f"prior={MAP_PRIOR}", f"guide={MAP_GUIDE}", "network=two_levels"]
CLUSTERS = [choice for group, choice in CHOICES if group == "clusters"]
FACTORISED = {
    "normal",
    "normal_gamma",
    "student_t",
    "ard",
    "ard_conjugate",
    "horseshoe",
    "spike_and_slab",
}  # priors whose latents are independent
INDEPENDENT = {
    "mean_field",
    "normal_gamma",
    "student_t",
    "ard",
    "spike_and_slab",
}  # guides whose latents are, given the image
OWN_PAIRS = ("normal_gamma", "ard", "spike_and_slab")  # prior and guide that draw a site beside z
COUNTS = {"poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial"}
BINARY = {"bernoulli", "autoregressive", *COUNTS}  # likelihoods that of pixels take binary ones alone
KINDS = ("binary", "8-bit", "real")  # of pixels
REAL = {"normal", "normal_learned", "normal_optimal", "real", "student_t"}  # likelihoods of real pixels


def legal_pair(prior: str, guide: str) -> bool:
    """Some draw a precision or a gate beside z; a VampPrior scores any z, which an IAF does not."""
    precise = all((prior == name) == (guide == name) for name in OWN_PAIRS)
    return precise and (prior, guide) != ("vamp", "iaf")


def legal_objective(objective: str, prior: str, guide: str) -> bool:
    """Free bits of each latent need a KL of each; total correlation a density of each latent, of z alone; a bound of
    each image no site that all share."""
    if objective == "free_bits":
        return prior in FACTORISED and guide in INDEPENDENT
    if objective == "importance_weighted":
        return guide != "ard"
    return objective != "total_correlation" or (guide in INDEPENDENT and guide not in OWN_PAIRS)


def once_each(firsts: list[str], seconds: list[str], of: Callable[[str, str], bool] = lambda *_: True) -> list[Any]:
    """All pairs that are ``of`` a kind; those are long of which both stand in others."""
    pairs = [pair for pair in itertools.product(firsts, seconds) if of(*pair)]
    pairs.sort(key=lambda pair: (firsts.index(pair[0]) - seconds.index(pair[1])) % len(firsts))  # diagonals
    seen: tuple[set[str], set[str]] = set(), set()
    found = []
    for first, second in pairs:
        marks = [pytest.mark.long] if first in seen[0] and second in seen[1] else []
        found.append(pytest.param(first, second, marks=marks))
        seen[0].add(first)
        seen[1].add(second)
    return found


def composed(*overrides: str) -> DictConfig:
    return hydra.compose("config", [*TINY, *overrides])


@pytest.fixture
def dsprites_file(tmp_path) -> Path:
    """A small file of dSprites' format."""
    classes = np.array(list(itertools.product(*map(range, (1, 3, 2, 2, 2, 2)))), dtype=np.int64)
    images = np.random.default_rng(0).integers(0, 2, (len(classes), 64, 64), dtype=np.uint8)
    path = tmp_path / "dsprites.npz"
    np.savez_compressed(path, imgs=images, latents_classes=classes, latents_values=classes.astype(np.float64))
    return path


def test_every_group_has_choices():
    groups = {group for group, _ in CHOICES}
    assert groups == {path.name for path in CONF.iterdir() if path.is_dir()} - {"__pycache__"}
    assert groups >= {"data", "network", "prior", "likelihood", "guide", "objective", "trainer", "experiment"}


@pytest.mark.parametrize(("group", "choice"), APART, ids=["=".join(pair) for pair in APART])
def test_every_choice_composes_and_is_built(group, choice, dsprites_file):
    """Experiments, and the parts of a pair and its objective, are built together below."""
    if (group, choice) == ("data", "dsprites"):
        configuration = hydra.compose("config", [f"{group}={choice}", f"data.path={dsprites_file}"])
    elif group == "data":
        configuration = hydra.compose("config", [f"{group}={choice}"])
    else:
        configuration = composed(f"{group}={choice}")
    shape = [3, 1, 32] if choice == "conv_rows" else [3, 32, 32]
    configuration.image_shape, configuration.maps = shape, MAPS.get(choice, 3)
    if group == "trainer":
        stopping = configuration.trainer.stopping
        assert stopping is None or isinstance(instantiate(stopping), Plateau)
    elif group == "network":
        for part in ("encoder", "decoder"):
            assert isinstance(instantiate(configuration.network[part], _convert_="all"), torch.nn.Module)
    elif group in ("auxiliary", "condition", "labels", "launcher", "model"):
        return  # built together below
    elif group != "data" or choice in ("sprites", "dsprites"):  # others need their files
        assert instantiate(configuration[group], _convert_="all") is not None


def models_of(experiment: str) -> dict[str, list[str]]:
    """An experiment's models: the words of each."""
    return dict(OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml").get("models", {"alone": []}))


def models() -> Iterator[Any]:
    """Every model of every experiment; long are all but the first and the last of each."""
    for experiment in EXPERIMENTS:
        names = list(models_of(experiment))
        for name in names:
            marks = [] if name in (names[0], names[-1]) else [pytest.mark.long]
            yield pytest.param(experiment, name, marks=marks, id=f"{experiment}-{name}")


@pytest.mark.parametrize(("experiment", "name"), list(models()))
def test_every_model_of_every_experiment_is_built(experiment, name, monkeypatch):
    """On other data where the experiment's own are not at hand."""
    words = [*TINY, f"experiment={experiment}", *models_of(experiment)[name]]
    own = [word for word in words if not word.startswith(("data", "latents"))]
    composition = hydra.compose("config", [*own, "data=sprites", "latents=2"])
    assert callable(get_method(composition.job))
    if "hierarchy" in composition.network:
        composition.network.hierarchy = "4x4:1 8x8:1"
    monkeypatch.setattr("experiments.assemble._check_held_out", lambda _: None)
    sprites = OmegaConf.load(CONF / "data" / "sprites.yaml")
    composition.data, composition.validation = OmegaConf.merge(sprites, {"size": 24, "image_size": 32}), None
    if "condition" in composition and composition.condition is not None:
        composition.condition.input = "shape"  # sprites have no label
    if composition.get("labels") is not None:
        composition.labels.update({"factor": "shape", "known": 3, "images": 0})
    model = assemble(composition).model
    prior = getattr(model, "prior", getattr(model, "prior_global", None))
    assert getattr(prior, "top_down", prior).latents == 2, name


def test_the_default_is_the_papers_ngvae():
    configuration = hydra.compose("config")
    assert configuration.latents == 15
    assert (configuration.prior.shape, configuration.prior["rate"]) == (8.25, 3.62)
    assert configuration.guide.informative == [3.65, 0.24]
    assert configuration.guide.uninformative == [902.0, 810.9]
    assert (configuration.trainer.batch_size, configuration.trainer.learning_rate) == (64, 1e-3)


@cache
def sprites_drawn() -> torch.Tensor:
    """The 24 sprites of :data:`TINY` and the seed 0."""
    return training_data(composed())[0].images[:]


def images_of(kind: str) -> ImageDataset:
    """24 sprites as they are, or as zeros and ones."""
    pixels = sprites_drawn()
    return ImageDataset(pixels.round() if kind == "binary" else pixels)


def trained_two_steps(data: ImageDataset, *overrides: str) -> None:
    parts = assemble(composed(*overrides))
    before = {name: value.clone() for name, value in parts.guide.state_dict().items()}
    settings = {"epochs": 1, "batch_size": 12, "compile": False, "progress": False, "accelerator": "cpu"}
    history = fit(parts.model, parts.guide, data, parts.objective, recipe=parts.recipe, **settings)
    for name in ("loss", "elbo", "rate", "distortion"):
        assert np.isfinite(history[name]).all()
    np.testing.assert_allclose(history.elbo, -history.rate - history.distortion, rtol=1e-6)
    still = [name for name, value in parts.guide.named_parameters() if torch.equal(before[name], value)]
    assert not still


@pytest.mark.parametrize(
    "experiment", ["pixelvae_mnist", "pixelvae_two_levels", "vlae_mnist", "lossy_window", "lossy_colour"]
)
def test_autoregressive_decoders_of_experiments_train_two_steps(experiment):
    """Their first and last models, on images of the kind that they are for."""
    models = dict(hydra.compose("config", [f"experiment={experiment}"]).models)
    small = ["data=sprites", "held_out.images=0", "likelihood.layers=5", "likelihood.channels=4"]
    for own in (next(iter(models.values())), models.popitem()[1]):
        kind = "8-bit" if experiment == "lossy_colour" else "binary"
        trained_two_steps(images_of(kind), f"experiment={experiment}", *small, *own)


def overrides_of(prior: str, guide: str, likelihood: str, objective: str) -> list[str]:
    small = {"vamp": ["prior.components=3"], "mixture": ["prior.components=3"]}
    flow = {"autoregressive_flow": ["prior.hidden=[8]"]}
    return [
        "network=mlp",
        "network.encoder.hidden=[16]",
        "network.decoder.hidden=[16]",
        f"prior={prior}",
        f"guide={guide}",
        f"likelihood={likelihood}",
        f"objective={objective}",
        *small.get(prior, []),
        *flow.get(prior, []),
        *(["guide.hidden=[8]"] if guide == "iaf" else []),
        *(["objective.nats=0"] if (guide, objective) == ("ard", "free_bits") else []),  # else the precisions are free
        *(["annealing=linear", "annealing.steps=4"] if objective != "soft_free_bits" else []),
    ]


def swaps() -> Iterator[Any]:
    """Every legal pair with every objective; those are long whose prior and guide, and whose objective, others have.

    What is left has each prior with each guide, and each objective, trained and refused.
    """
    pairs = [pair for pair in itertools.product(PRIORS, GUIDES) if legal_pair(*pair)]
    seen: set[tuple] = set()
    for shift, (prior, guide) in itertools.product(range(len(OBJECTIVES)), pairs):  # a Latin square at a time
        objective = OBJECTIVES[(PRIORS.index(prior) + GUIDES.index(guide) + shift) % len(OBJECTIVES)]
        trains = legal_objective(objective, prior, guide)
        parts = {(prior, guide), (objective, trains)}
        yield pytest.param(prior, guide, objective, marks=[pytest.mark.long] if parts <= seen else [])
        seen |= parts


@pytest.mark.parametrize(("prior", "guide", "objective"), list(swaps()))
def test_every_prior_and_guide_trains_by_every_objective(prior, guide, objective):
    """Legal combinations train two steps, annealed; the others are refused in one line that says what to do."""
    overrides = overrides_of(prior, guide, "normal", objective)
    if legal_objective(objective, prior, guide):
        trained_two_steps(images_of("8-bit"), *overrides)
        return
    parts = assemble(composed(*overrides))
    with pytest.raises(UserError, match=r"[:;] use ") as caught:
        fit(parts.model, parts.guide, images_of("8-bit"), parts.objective, epochs=1, progress=False, compile=False)
    assert "\n" not in str(caught.value)


def trained_but_by_total_correlation(objective: str, *overrides: str) -> None:
    """Two steps of several codes; the total correlation, which is of one, is refused."""
    if objective != "total_correlation":
        trained_two_steps(images_of("8-bit"), *overrides)
        return
    parts = assemble(composed(*overrides))
    with pytest.raises(UserError, match="one latent site"):
        fit(parts.model, parts.guide, images_of("8-bit"), parts.objective, epochs=1, progress=False, compile=False)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_levels_train_by_every_objective(objective):
    """But the total correlation, which is of one code; free bits of each map, annealed."""
    small = ["network.encoder.channels=[4,4]", "network.encoder.top=[4]", "network.decoder.channels=[4,4]"]
    small += ["prior.hidden=[4]", "prior.channels=4", "prior.context=4"]
    maps = ["objective.group=map", "objective.nats={z_1: 0.0, z_2: 0.0}"] if objective == "free_bits" else []
    overrides = [*TWO_LEVELS, *small, "likelihood=normal", f"objective={objective}", *maps]
    trained_but_by_total_correlation(objective, *overrides)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_two_levels_have_a_decoder_for_every_likelihood(likelihood):
    """The maps' shape is the decoder's, whatever the image."""
    parts = assemble(composed(*TWO_LEVELS, f"likelihood={likelihood}", "network.latent_maps=2"))
    assert parts.model.prior.map_shape == parts.model.likelihood.decoder.map_shape == parts.guide.map_shape == (2, 8, 8)
    assert parts.model.likelihood(torch.zeros(2, 2, 8, 8)).event_shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([f"prior={MAP_PRIOR}", "guide=mean_field", "network=mlp"], "takes vectors: give network=two_levels guide="),
        ([f"prior={MAP_PRIOR}", f"guide={MAP_GUIDE}", "network=mlp"], "gives features alone.* network=two_levels"),
        ([f"prior={MAP_PRIOR}", "guide=mean_field", "network=two_levels"], "not in the guide .* guide=bottom_up does"),
        (["prior=normal", f"guide={MAP_GUIDE}", "network=two_levels"], "draws vectors, MapDecoder takes maps"),
        (["prior=normal", "guide=mean_field", "network=two_levels"], "maps are of prior=autoregressive_map with"),
        ([*TWO_LEVELS, "network.encoder.channels=[8]"], "give both networks as many channels"),
        ([*TWO_LEVELS, "guide.maps=3"], r"the guide gives maps \(3, 8, 8\), the decoder takes \(4, 8, 8\)"),
        ([*TWO_LEVELS, "prior.window=[2,2]"], "an odd width of 1 to 8 columns"),
        ([*TWO_LEVELS, "prior.map_shape=[4,5,5]"], r"draws maps \(4, 5, 5\), MapDecoder takes maps \(4, 8, 8\)"),
        ([*TWO_LEVELS, "auxiliary=shuffle"], "BottomUpNormal encodes one code"),
        ([*TWO_LEVELS, "condition=grey"], "AutoregressiveMapPrior needs a pair of images alone"),
        (
            ["prior=normal", "guide=two_view", "network=two_levels", "auxiliary=blur"],
            "MapDecoder takes no vector of latents.*network=conv",
        ),
    ],
)
def test_levels_that_do_not_fit_end_in_one_line(overrides, line):
    def checked() -> None:
        parts = assemble(composed(*overrides))
        check_pair(parts.model, parts.guide, parts.data.subset(slice(4)))

    with pytest.raises(UserError, match=line) as caught:
        checked()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("guide", "objective"), [*zip(itertools.cycle(DEEP_GUIDES), OBJECTIVES, strict=False)])
def test_hierarchies_train_by_every_objective(guide, objective):
    """But the total correlation, which is of one code; free bits of each map, annealed and penalised."""
    nats = ["objective.group=map", "objective.nats=0.0"] if objective == "free_bits" else []
    words = ["likelihood=normal", f"objective={objective}", "annealing=linear", "annealing.steps=4", "penalty=nvae"]
    overrides = [*DEEP, f"guide={guide}", *words, *nats]
    trained_but_by_total_correlation(objective, *overrides)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_hierarchies_have_a_decoder_for_every_likelihood(likelihood):
    parts = assemble(composed(*DEEP, "guide=hierarchy", f"likelihood={likelihood}"))
    assert parts.model.prior.map_shape == (8, 8, 8)
    assert parts.model.likelihood(torch.zeros(2, 8, 8, 8)).event_shape == (3, 32, 32)


@pytest.mark.parametrize(
    "experiment",
    [
        "ladder_mnist",
        "nvae_celeba64",
        *(pytest.param(n, marks=pytest.mark.long) for n in ("nvae_mnist", "nvae_cifar10")),
    ],
)
def test_hierarchies_of_experiments_train_two_steps(experiment):
    """At small size their first model; as published they compose, and are built without memory."""
    first = next(iter(hydra.compose("config", [f"experiment={experiment}"]).get("models", {"alone": []}).values()))
    kind = "binary" if "mnist" in experiment else "8-bit"
    small = ["data=sprites", "held_out.images=0", "network.channels=4", "network.hierarchy='4x4:1 8x8:1'"]
    trained_two_steps(images_of(kind), f"experiment={experiment}", *small, *first)
    paper = hydra.compose("config", [f"experiment={experiment}", "size=paper"])
    paper.image_shape, paper.maps = ([1, 28, 28], 1) if "mnist" in experiment else ([3, 64, 64], 100)
    with torch.device("meta"):
        model, guide = pair(paper)
    sizes = {"nvae_mnist": 15, "ladder_mnist": 5, "nvae_cifar10": 30, "nvae_celeba64": 35}
    assert len(model.prior.top_down.groups) == sizes[experiment]
    assert guide.prior is model.prior


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["prior=hierarchy", "guide=mean_field", "network=mlp"], "give network=hierarchy guide=hierarchy, or guide="),
        (["prior=normal", "guide=hierarchy", "network=hierarchy"], "NormalPrior has none: give prior=hierarchy"),
        (["prior=vamp", "guide=ladder", "network=hierarchy"], "LadderGuide needs its prior, VampPrior its guide"),
        (["prior=hierarchy", "guide=mean_field", "network=hierarchy"], "MeanFieldNormal reads a vector of features, "),
        (["prior=normal", "guide=iaf", "network=hierarchy"], "give prior=hierarchy guide=hierarchy, or guide=ladder"),
        ([*DEEP, "guide=hierarchy", "network.hierarchy='4x4:1 6x6:1'"], "6x6 after 4x4 is no multiple"),
        ([*DEEP, "guide=hierarchy", "network.cell=nave"], "expected one of nvae, residual, vdvae"),
        ([*DEEP, "guide=hierarchy", "network.decoder.channels=4"], "draws maps .8, 8, 8., HierarchyDecoder takes maps"),
        ([*DEEP, "guide=hierarchy", "guide.flows=-1"], "flows=-1"),
        ([*DEEP, "guide=hierarchy", "prior.scales=log"], "expected one of exp, softplus"),
        ([*DEEP, "guide=hierarchy", "auxiliary=shuffle"], "HierarchyPrior names its site itself"),
        (["prior=normal", "guide=two_view", "network=hierarchy", "auxiliary=blur"], "HierarchyDecoder takes no vector"),
        ([*DEEP, "guide=hierarchy", "condition=grey"], "HierarchyGuide needs a pair of images alone"),
    ],
)
def test_hierarchies_that_do_not_fit_end_in_one_line(overrides, line):
    with pytest.raises(UserError, match=line) as caught:
        assemble(composed(*overrides))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:RelaxedClusters trains on an objective that is no bound:UserWarning")
@pytest.mark.parametrize(("clusters", "objective"), once_each(["none", *CLUSTERS], OBJECTIVES))
def test_two_views_train_by_every_objective(clusters, objective):
    """With and without clusters; the total correlation, which is of one code, is refused."""
    prior, more = ("normal", []) if clusters == "none" else (CLUSTER_PRIOR, [f"clusters={clusters}"])
    views = ["auxiliary=shuffle", "auxiliary.latents_local=2", "held_out.images=0", *more]
    overrides = [*overrides_of(prior, TWO_VIEW_GUIDE, "normal", objective), *views]
    trained_but_by_total_correlation(objective, *overrides)


SOME_LABELS = ["labels=some", "labels.factor=shape", "labels.known=6", "labels.images=0", "held_out.images=0"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_labels_known_for_some_go_with_every_objective(objective):
    """But the total correlation, which is of one code; the classifier's term is there whatever weighs the bound."""
    overrides = [*overrides_of("normal", LABEL_GUIDE, "normal", objective), *SOME_LABELS]
    parts = assemble(composed(*overrides))
    assert isinstance(parts.objective, Supervised)
    known = (parts.data.inputs["known_shape"] != UNKNOWN).sum()
    assert (int(known), parts.validation.inputs["known_shape"].unique().tolist()) == (6, [UNKNOWN])
    if objective == "total_correlation":
        with pytest.raises(UserError, match="one latent site"):
            fit(parts.model, parts.guide, parts.data, parts.objective, epochs=1, progress=False, compile=False)
        return
    trained_two_steps(parts.data, *overrides)


@pytest.mark.parametrize("prior", [prior for prior in PRIORS if prior not in OWN_PAIRS])
def test_labels_known_for_some_go_with_every_prior_of_one_code(prior):
    """A VampPrior, which draws by its guide, is refused in one line."""
    overrides = [*overrides_of(prior, LABEL_GUIDE, "normal", "beta"), *SOME_LABELS]
    if prior == "vamp":
        with pytest.raises(UserError, match="with labels=some give another, as normal"):
            assemble(composed(*overrides))
        return
    trained_two_steps(assemble(composed(*overrides)).data, *overrides)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([f"guide={LABEL_GUIDE}"], "guide=semi_supervised names a label; give labels=some, or another guide"),
        (["guide=mean_field", *SOME_LABELS], "MeanFieldNormal names no label; with labels=some give guide="),
        ([f"guide={LABEL_GUIDE}", *SOME_LABELS, "labels.factor=label"], "labels.factor=label: expected a factor"),
        ([f"guide={LABEL_GUIDE}", *SOME_LABELS, "labels.images=9"], "labels.images=9 of the validation's 2; give"),
        ([f"guide={LABEL_GUIDE}", *SOME_LABELS, "validation=null", "labels.images=9"], "validation=0.1, or images=0"),
        ([f"guide={LABEL_GUIDE}", *SOME_LABELS, "condition=label"], "condition and labels each choose the model; give"),
        ([f"guide={LABEL_GUIDE}", *SOME_LABELS, "auxiliary=blur"], "auxiliary and labels each choose the model; give"),
    ],
)
def test_words_of_labels_that_do_not_fit_end_in_one_line(overrides, line):
    with pytest.raises(UserError, match=line) as caught:
        assemble(composed("prior=normal", *overrides))
    assert "\n" not in str(caught.value)


def takes(likelihood: str, kind: str) -> bool:
    """Whether the likelihood is a density of such pixels."""
    return likelihood in REAL or kind == "binary" or (kind == "8-bit" and likelihood not in BINARY)


def kinds() -> Iterator[Any]:
    """Every likelihood with every kind of pixels; long are all but the last that it takes and the first that it does
    not."""
    for likelihood in LIKELIHOODS:
        taken = [kind for kind in KINDS if takes(likelihood, kind)]
        refused = [kind for kind in KINDS if not takes(likelihood, kind)]
        for kind in KINDS:
            marks = [] if kind in (*taken[-1:], *refused[:1]) else [pytest.mark.long]
            yield pytest.param(likelihood, kind, marks=marks)


@pytest.mark.parametrize(("likelihood", "kind"), list(kinds()))
def test_every_likelihood_takes_the_kinds_of_pixels_it_is_a_density_of(likelihood, kind):
    data = images_of(kind)
    if kind == "real":
        data = ImageDataset(data.images[:], dequantise="uniform")
    assert data.kind == kind
    overrides = overrides_of("normal", "mean_field", likelihood, "beta")
    if takes(likelihood, kind):
        trained_two_steps(data, *overrides)
        return
    parts = assemble(composed(*overrides))
    with pytest.raises(UserError, match=f"density of .*these are {kind}") as caught:
        fit(parts.model, parts.guide, data, parts.objective, epochs=1, progress=False, compile=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("network", "likelihood"), once_each(["conv", "mlp"], LIKELIHOODS))
def test_every_likelihood_has_its_decoder_in_every_network(network, likelihood):
    narrow = ["network.encoder.hidden=[16]", "network.decoder.hidden=[16]"] if network == "mlp" else []
    parts = assemble(composed(f"network={network}", f"likelihood={likelihood}", *narrow))
    assert parts.model.likelihood(torch.zeros(2, 3)).event_shape == (3, 32, 32)


@pytest.mark.parametrize(("prior", "guide"), once_each(PRIORS, GUIDES, lambda *pair: not legal_pair(*pair)))
def test_illegal_pairs_end_in_one_line(prior, guide):
    def trained() -> None:
        parts = assemble(composed(*overrides_of(prior, guide, "normal", "beta")))
        fit(parts.model, parts.guide, parts.data, parts.objective, epochs=1, progress=False, compile=False)

    line = r"precision|'gate' is in|latent by latent|posterior|its prior"
    with pytest.raises((UserError, InstantiationException), match=line) as caught:
        trained()
    error = caught.value if isinstance(caught.value, UserError) else caught.value.__cause__
    assert isinstance(error, UserError)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["prior=cluster", "guide=mean_field"], "'cluster' is in the model but not in the guide"),
        (["prior=normal", "guide=two_view"], "guide=two_view encodes two codes; give auxiliary="),
        (["prior=normal", "guide=mean_field", "auxiliary=blur"], "MeanFieldNormal encodes one code"),
        (["prior=vamp", "guide=two_view", "auxiliary=blur"], "VampPrior names its site itself"),
        (["prior=normal", "guide=mean_field", "clusters=optimal"], "clusters are of two views"),
        (["prior=normal", "guide=two_view", "auxiliary=none", "auxiliary.latents_local=0"], "latents_local=0"),
    ],
)
def test_parts_of_another_number_of_views_end_in_one_line(overrides, line):
    def trained() -> None:
        parts = assemble(composed("network=mlp", *overrides))
        fit(parts.model, parts.guide, parts.data, parts.objective, epochs=1, progress=False, compile=False)

    with pytest.raises(UserError, match=line):
        trained()


@pytest.mark.parametrize("annealing", [choice for group, choice in CHOICES if group == "annealing"])
def test_annealing_wraps_the_objective(annealing):
    objective = assemble(composed("network=mlp", "objective=capacity", f"annealing={annealing}")).objective
    assert (objective.schedule, type(objective.objective).__name__) == (annealing, "Capacity")
    assert objective.numbers(10**6)[0] == 1.0


def test_a_penalty_wraps_any_objective_and_the_annealing_goes_around():
    words = ["objective=free_bits", "penalty=nvae", "penalty.spectral=0.5", "annealing=linear"]
    parts = assemble(composed("network=small_conv", "prior=normal", "guide=mean_field", *words))
    annealed = parts.objective
    assert [type(one).__name__ for one in (annealed, annealed.objective)] == ["Annealed", "Penalised"]
    assert (annealed.objective.spectral, type(annealed.objective.objective).__name__) == (0.5, "FreeBits")
    trained_two_steps(images_of("8-bit"), "network=small_conv", "prior=normal", "guide=mean_field", *words)
    parts = assemble(composed("network=mlp", "penalty=nvae"))
    with pytest.raises(UserError, match=r"spectral=0\.01: model and guide have no convolution"):
        fit(parts.model, parts.guide, parts.data, parts.objective, epochs=1, progress=False, compile=False)


class OwnVAE(VAE):
    """A user's own model, by its import path."""


def test_the_group_model_says_how_a_pair_is_made(monkeypatch):
    """``auxiliary`` chooses it; its program may be any that takes the same parts."""
    one, two = (["experiment=clusters", "~auxiliary"], []), (["experiment=clusters"], ["auxiliary=none"])
    for words, program in (*((words, "ppvae.VAE") for words in one), *((words, "ppvae.TwoViewVAE") for words in two)):
        assert hydra.compose("config", words).model.program._target_ == program
    monkeypatch.setattr("experiments.pairs.OwnVAE", OwnVAE, raising=False)
    own = "model.program._target_=experiments.pairs.OwnVAE"
    assert type(assemble(composed("network=mlp", own)).model) is OwnVAE


def test_two_codes_have_networks_of_their_own_and_one_transformation():
    views = ["auxiliary=shuffle", "auxiliary.latents_local=2", "prior=normal", f"guide={TWO_VIEW_GUIDE}"]
    parts = assemble(composed("network=mlp", *views))
    model, guide = parts.model, parts.guide
    assert (model.prior_global.site, model.prior_local.site) == ("z_global", "z_local")
    assert model.likelihood.decoder.latents == 3 + 2
    assert model.shuffled_likelihood.decoder.latents == 2
    assert guide.transformation is model.transformation
    own = [dict(part.named_parameters()) for part in (guide.encoder_global, guide.encoder_local)]
    assert own[0].keys() == own[1].keys()
    assert not any(torch.equal(value, own[1][name]) for name, value in own[0].items() if value.any())


def test_a_vamp_prior_shares_the_guides_encoder():
    parts = assemble(composed(*overrides_of("vamp", "mean_field", "normal", "beta")))
    assert parts.model.prior.guide is parts.guide


def test_grey_pixels_are_scored_only_by_the_word_that_marks_them():
    overrides = overrides_of("normal", "mean_field", "bernoulli", "beta")
    parts = assemble(composed(*overrides, "likelihood.surrogate=true"))
    settings = {"epochs": 1, "batch_size": 12, "compile": False, "progress": False, "accelerator": "cpu"}
    history = fit(parts.model, parts.guide, parts.data, parts.objective, **settings)
    assert history.elbo.units == "surrogate nats per image"
    tree = from_pyro_svi(parts.model, parts.guide, parts.data.observed(slice(4)), 2)
    assert tree["sample_stats"]["elbo"].units == "surrogate nats"
    assert log_marginal(parts.model, parts.guide, parts.data.observed(slice(4)), 2).elbo.units == "surrogate nats"


def test_networks_depend_on_the_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = assemble(composed("network=mlp", "seed=5"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(9)
    second, other = (assemble(composed("network=mlp", f"seed={seed}")) for seed in (5, 6))
    for part in ("model", "guide"):
        own, same, different = (dict(getattr(parts, part).named_parameters()) for parts in (first, second, other))
        assert all(torch.equal(own[name], same[name]) for name in own)
        assert any(not torch.equal(own[name], different[name]) for name in own)
    assert torch.equal(first.data.stored(), second.data.stored())


def test_the_stopping_rule_can_be_left_out():
    assert assemble(composed("network=mlp")).recipe.stopping.window == 5
    assert assemble(composed("network=mlp", "trainer.stopping=null")).recipe.stopping is None


@pytest.mark.parametrize("number", ["images", "draws", "ablation_images"])
def test_posterior_numbers_are_checked_before_training(number):
    with pytest.raises(UserError, match=number):
        assemble(composed("network=mlp", f"posterior.{number}=0"))
