"""Every public class prints what it was built with: each argument, in one line where it has no parts, no address."""

import copy
import importlib
import inspect
import pickle
import pkgutil
import re
from functools import cache
from typing import Any

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import guides
import ppvae
from guides import MeanFieldNormal, TwoViewGuide
from ppvae import (
    datasets,
    distributions,
    interventions,
    likelihoods,
    metrics,
    models,
    networks,
    objectives,
    priors,
    selection,
    svi,
)
from ppvae.priors import ClusterPrior, NormalPrior

SHAPE, LATENTS = (3, 16, 16), 4
LINE = "2x2:1 4x4:2"
ABSTRACT = {"Condition", "Images", "Objective", "PixelArray", "Program", "StoppingRule"}
SUMMED_UP = {"Compose", "ImageDataset"}  # in words of their own, below
RELAXED = "ignore:RelaxedClusters trains on an objective that is no bound:UserWarning"


def drawn(positions: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(positions), *SHAPE, dtype=torch.uint8)


class Held(datasets.PixelArray):
    """Two images that are on no disk."""

    path, shape, dtype, chunk = "held", (2, *SHAPE), np.dtype(np.float32), 1

    def read(self, rows: np.ndarray) -> np.ndarray:
        return np.full((len(rows), *SHAPE), 0.5, dtype=np.float32)


@cache
def arguments() -> dict[type, dict[str, Any]]:
    """What each public class is built with here."""
    torch.manual_seed(0)
    encoder, decoder = networks.MLPEncoder(SHAPE, (8,)), networks.MLPDecoder(LATENTS, SHAPE, (8,))
    maps = {"likelihood": likelihoods.NormalLikelihood(decoder), "transformation": models.PatchShuffle(2)}
    local, label = NormalPrior(2, site="z_local"), networks.LabelCondition(5)
    clustered = ClusterPrior(2, clusters=3, site="z_global")
    numbers, positive = torch.zeros(2, LATENTS), torch.ones(2, LATENTS)
    pixels = torch.full((2, *SHAPE), 0.5)
    rows = dist.Normal(numbers, positive).to_event(1)
    head = {"encoder": encoder, "latents": LATENTS}
    ngvae = {**head, "informative": (3.5, 0.25), "uninformative": (900.0, 800.0), "slope": 29.0}
    ngvae |= {"endpoint_exact": True, "initial_probability": 0.4}
    two = {"prior_global": NormalPrior(2, site="z_global"), "prior_local": local, **maps}
    two_guide = {"encoder_global": encoder, "encoder_local": encoder, "latents_global": 2, "latents_local": 2}
    small, wide = networks.MLPDecoder(2, SHAPE, (8,)), networks.MLPDecoder(LATENTS + 5, SHAPE, (8,))
    six, categorical = (networks.MLPDecoder(LATENTS, SHAPE, (8,), maps=count) for count in (6, 768))
    mixture = networks.MLPDecoder(LATENTS, SHAPE, (8,), maps=20)
    sizes = {"channels": 4, "cells": 0, "cell": "vdvae", "widening": 1}
    deep = {"bottom_up": networks.BottomUp(LINE, SHAPE, **sizes)}
    deep["prior"] = priors.HierarchyPrior(networks.TopDown(LINE, latents=2, **sizes))
    scaling, row = datasets.Scaling(np.zeros(2), np.ones(2)), (2, 1, 16)
    return {
        models.VAE: {"prior": NormalPrior(LATENTS), "likelihood": maps["likelihood"]},
        models.TwoViewVAE: {**two, "shuffled_likelihood": likelihoods.NormalLikelihood(small)},
        models.ConditionalVAE: {
            "prior": NormalPrior(LATENTS),
            "likelihood": likelihoods.NormalLikelihood(wide),
            "condition": label,
        },
        models.SemiSupervisedVAE: {
            "prior": NormalPrior(LATENTS),
            "likelihood": likelihoods.NormalLikelihood(wide),
            "levels": 5,
        },
        models.Blur: {"sigma": 1.5},
        models.Compose: {"transformations": [models.Quantise(16), drawn]},
        models.GreyScale: {},
        models.PatchShuffle: {"patch": 8},
        models.Quantise: {"levels": 32},
        guides.ARDGuide: {**head, "prior": priors.ARDPrior(LATENTS)},
        guides.BottomUpNormal: {"encoder": networks.MapEncoder(SHAPE, [8], [8]), "latents": LATENTS, "maps": 2},
        guides.EnumeratedClusters: {"features": 8, "clusters": 3},
        guides.FullCovarianceNormal: head,
        guides.HierarchyGuide: {**deep, "flows": 1},
        guides.LadderGuide: deep,
        guides.InverseAutoregressiveGuide: {**head, "flows": 3, "hidden": [9], "context": 5, "gate_bias": 1.5},
        guides.MeanFieldNormal: head,
        guides.MixtureOfEncoders: {**head, "components": 3},
        guides.NormalGammaGuide: {**ngvae, "estimator": "g-rep"},
        guides.OptimalClusters: {"prior": clustered, "weight": 7.0},
        guides.RelaxedClusters: {"features": 8, "clusters": 3, "temperature": 0.7, "final": 0.2, "steps": 10},
        guides.SemiSupervisedNormal: {**head, "classifier": networks.MLPEncoder(SHAPE, (8,)), "levels": 5},
        guides.SpikeAndSlabGuide: {**head, "temperature": 0.7, "per_image": True, "initial_probability": 0.4},
        guides.StudentTGuide: ngvae,
        guides.TwoViewGuide: {**two_guide, "transformation": maps["transformation"], "clusters": None},
        datasets.Conversion: {"binarise": "static", "threshold": 0.25},
        datasets.DecodedImages: {"files": ["a.png", "b.png"], "decode": drawn, "image_shape": SHAPE, "binary": True},
        datasets.ImageDataset: {"images": pixels, "name": "mine", "binarise": "static", "threshold": 0.25},
        datasets.RenderedImages: {"render": drawn, "positions": torch.arange(7), "image_shape": SHAPE},
        datasets.Rows: {
            "values": np.zeros((4, 2)),
            "columns": np.array(["a", "b"]),
            "kind": "counts",
            "scaling": scaling,
        },
        datasets.Scaling: {"center": np.zeros(2), "scale": np.ones(2), "mode": "none"},
        datasets.StoredImages: {"pixels": pixels.to(torch.uint8), "binary": False},
        datasets.StreamedImages: {"array": Held(), "rows": torch.arange(2), "real": True},
        distributions.AutoregressiveFlow: {"latents": LATENTS, "flows": 3, "hidden": (9,), "gate_bias": 1.5},
        distributions.AutoregressiveImage: {
            "network": networks.GatedPixels(SHAPE, 2, layers=4),
            "output": distributions.pixel_output("normal", 32, 3),
            "context": torch.zeros(2, 2, 16, 16),
            "dropout": 0.25,
        },
        distributions.BatchScaleNormal: {"loc": pixels, "log_scale": torch.tensor(-1.5), "event_dim": 3},
        distributions.DiscretisedLogistic: {"loc": pixels, "log_scale": torch.zeros_like(pixels)},
        distributions.DiscretisedLogisticMixture: {
            "logits": torch.zeros(2, 5, 16, 16),
            "locs": torch.zeros(2, 5, 3, 16, 16),
            "log_scales": torch.zeros(2, 5, 3, 16, 16),
            "couplings": torch.zeros(2, 5, 3, 16, 16),
        },
        distributions.Gate: {"logits": numbers},
        distributions.GRepGamma: {"concentration": positive, "rate": positive},
        distributions.IsotropicNormal: {"loc": pixels, "scale": torch.tensor(0.25), "event_dim": 3},
        distributions.Membership: {"logits": numbers},
        distributions.PartlyObserved: {"base_dist": dist.Normal(pixels, 0.25), "event_dim": 3},
        distributions.PixelCategorical: {"logits": torch.zeros(2, *SHAPE, 256)},
        distributions.PrecisionNormal: {"loc": numbers, "precision": positive, "mean_precision": positive},
        distributions.RasterFlow: {"map_shape": (2, 4, 4), "context": 6, "pairs": 2, "channels": 5},
        distributions.ResidualNormals: {"scales": "exp", "clamp": 4.5},
        distributions.RelaxedGate: {"temperature": torch.tensor(0.7), "logits": numbers},
        distributions.RelaxedMembership: {"temperature": torch.tensor(0.7), "logits": numbers},
        distributions.ScaleMixture: {"logits": numbers, "scales": positive},
        distributions.SurrogateBernoulli: {"logits": numbers},
        distributions.UniformMixture: {"components": rows},
        distributions.VectorMixture: {"logits": torch.zeros(2), "components": rows},
        distributions.ZeroInflatedNegativeBinomial: {
            "total_count": positive,
            "logits": numbers,
            "gate_logits": numbers,
        },
        distributions.ZeroInflatedPoisson: {"rate": positive, "gate_logits": numbers},
        distributions.View: {"transformation": maps["transformation"], "images": pixels},
        likelihoods.AutoregressiveLikelihood: {
            **{"decoder": six, "output": "categorical", "context": 6, "window": (2, 3), "layers": 2, "channels": 8},
            **{"grey": True, "tied": True, "dropout": 0.25},
        },
        likelihoods.BernoulliLikelihood: {"decoder": decoder, "surrogate": True, "missing": True},
        likelihoods.CategoricalLikelihood: {"decoder": categorical},
        likelihoods.CountLikelihood: {"decoder": decoder, "counts": "poisson"},
        likelihoods.DiscretisedLogisticLikelihood: {"decoder": six},
        likelihoods.LogisticMixtureLikelihood: {"decoder": mixture, "components": 2},
        likelihoods.NormalLikelihood: {"decoder": decoder, "scale": 0.25, "scale_mode": "learned"},
        likelihoods.RealLikelihood: {
            **{"decoder": six, "tails": "student_t", "noise": "entry", "scale": 0.5, "least": 0.25, "degrees": 3.0}
        },
        metrics.BetaVAEPreset: {"pairs": 3, "train": 5, "evaluate": 7},
        metrics.BinnedPreset: {"bins": 3, "images": 5},
        metrics.FactorVAEPreset: {"group": 3, "train": 5, "evaluate": 7, "least_spread": 0.125},
        metrics.SplitPreset: {"train": 5, "evaluate": 7},
        networks.BottomUp: {"hierarchy": LINE, "image_shape": SHAPE, **sizes, "top": "dct"},
        networks.HierarchyDecoder: {"hierarchy": LINE, "image_shape": SHAPE, **sizes, "maps": 6},
        networks.TopDown: {"hierarchy": LINE, "latents": 3, **sizes},
        networks.ConditionalEncoder: {"encoder": encoder, "condition": label},
        networks.ConvDecoder: {"latents": 3, "image_shape": SHAPE, "channels": [8, 8], "slope": 0.25, "maps": 6},
        networks.ConvEncoder: {"image_shape": SHAPE, "channels": [8, 8], "slope": 0.25},
        networks.GatedPixels: {
            **{"image_shape": SHAPE, "context": 6, "window": (2, 3), "layers": 2},
            **{"channels": 8, "grey": True, "tied": True},
        },
        networks.ImageCondition: {"encoder": encoder},
        networks.LabelCondition: {"levels": 6},
        networks.MapDecoder: {"latent_maps": 2, "image_shape": SHAPE, "channels": [8, 8], "slope": 0.25, "maps": 6},
        networks.MapEncoder: {"image_shape": SHAPE, "channels": [8], "top": [8, 8], "slope": 0.25},
        networks.MLPDecoder: {"latents": 3, "image_shape": SHAPE, "hidden": [9], "activation": "tanh", "maps": 6},
        networks.MLPEncoder: {"image_shape": SHAPE, "hidden": [9], "activation": "tanh"},
        networks.PatchDecoder: {"latents": 3, "image_shape": SHAPE, "patch": 4, "hidden": [9], "maps": 6},
        networks.PixelAttention: {
            **{"image_shape": SHAPE, "context": 6, "layers": 2, "channels": 8, "heads": 2, "grey": True, "tied": True},
        },
        networks.PatchEncoder: {"image_shape": SHAPE, "patch": 4, "hidden": [9, 8]},
        networks.RowConvDecoder: {"latents": 3, "image_shape": row, "channels": [9, 8], "width": 3, "maps": 6},
        networks.RowConvEncoder: {"image_shape": row, "channels": [9, 8], "width": 3, "slope": 0.25},
        networks.RowEncoder: {"image_shape": row, "network": networks.RowConvEncoder, "kind": "counts"},
        objectives.Annealed: {"objective": objectives.BetaELBO(beta=3.0), "schedule": "cosine", "steps": 7},
        objectives.Balanced: {"estimator": "mean_field"},
        objectives.Descending: {"objective": objectives.BetaELBO(beta=3.0), "start": 9.0, "stop": 0.5, "levels": 7},
        objectives.BetaELBO: {"beta": 3.0, "discrete": 0.25, "estimator": "trace"},
        objectives.Capacity: {"gamma": 9.0, "start": 0.5, "stop": 5.0, "steps": 7},
        objectives.FreeBits: {"nats": 0.125, "group": "site"},
        objectives.GECO: {"error": 0.25, "start": 0.125, "rate": 0.5, "smoothing": 0.75, "largest": 500.0},
        objectives.ImportanceWeighted: {"samples": 7, "doubly_reparameterised": True},
        objectives.Supervised: {"objective": objectives.BetaELBO(beta=3.0), "weight": 0.25},
        objectives.Penalised: {"objective": objectives.BetaELBO(beta=3.0), "spectral": 0.25, "batch_norm": 0.5},
        objectives.SoftFreeBits: {"nats": 5.0, "slack": 0.25},
        objectives.TotalCorrelation: {"alpha": 2.0, "beta": 3.0, "gamma": 4.0},
        priors.AutoregressiveFlowPrior: {"latents": LATENTS, "flows": 3, "hidden": [9], "delay": 7},
        priors.AutoregressiveMapPrior: {
            **{"latents": LATENTS, "map_shape": (2, 4, 4), "hidden": [8], "window": (2, 3), "layers": 2},
            **{"channels": 8, "context": 6, "tied": True},
        },
        priors.ARDPrior: {"latents": LATENTS, "shape": 7.5, "rate": 3.25},
        priors.ConjugateARDPrior: {
            **{"latents": LATENTS, "shape": 7.5, "rate": 3.25, "window": 500.0, "site": "z_global"},
        },
        priors.ClusterPrior: {"latents": LATENTS, "clusters": 7, "spread": 0.25, "site": "z_global"},
        priors.HierarchyPrior: {"top_down": deep["prior"].top_down, "scales": "softplus"},
        priors.HorseshoePrior: {
            **{"latents": LATENTS, "scale": 0.5, "components": 7, "low": 0.25, "high": 4.0, "site": "z_global"},
        },
        priors.MixturePrior: {"latents": LATENTS, "components": 7, "spread": 0.25},
        priors.NormalGammaPrior: {"latents": LATENTS, "shape": 7.5, "rate": 3.25},
        priors.NormalPrior: {"latents": LATENTS, "site": "z_local"},
        priors.SpikeAndSlabPrior: {"latents": LATENTS, "probability": 0.25},
        priors.StudentTPrior: {"latents": LATENTS, "shape": 7.5, "rate": 3.25},
        priors.VampPrior: {
            **{"latents": LATENTS, "image_shape": SHAPE, "components": 7, "initial": "grey"},
            "guide": MeanFieldNormal(encoder, LATENTS),
        },
        interventions.Tempered: {"temperature": 0.75, "sites": ("z_2", "z_3"), "images": "x"},
        selection.NormalGammaPath: {"prior": (7.5, 3.25), "informative": (3.5, 0.25), "uninformative": (900.0, 800.0)},
        svi.Plateau: {"window": 7, "tolerance": 0.25, "floor": 0.5},
        svi.Patience: {"window": 3, "least": 0.5, "drops": 1},
        svi.Recipe: {"optimizer": "adamax", "warmup": 7, "average": 0.75},
    }


def public_classes() -> set[type]:
    rooms = [module.name for module in pkgutil.iter_modules(ppvae.__path__, "ppvae.") if module.ispkg]
    modules = [importlib.import_module(name) for name in ("ppvae", "guides", *rooms)]
    things = [getattr(module, name) for module in modules for name in module.__all__]
    return {thing for thing in things if inspect.isclass(thing) and not issubclass(thing, Exception)}


CLASSES = sorted(public_classes(), key=lambda one: one.__name__)
CONCRETE = [one for one in CLASSES if one.__name__ not in ABSTRACT]


def expected(value: Any) -> str:
    """A pattern for one argument's value."""
    if isinstance(value, torch.Tensor) and value.numel() > 1:
        return r"(Tensor\(|torch\.Size\(\[)" + ", ".join(map(str, value.shape))
    if isinstance(value, np.ndarray):
        return rf"ndarray\({', '.join(map(str, value.shape))}"
    if isinstance(value, nn.Module | torch.distributions.Distribution):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return r"\(" + ", ".join(map(expected, value)) + r",?\)"
    if isinstance(value, torch.Tensor | float):
        return rf"{re.escape(f'{float(value):g}')}(\.0)?\b"
    return re.escape(getattr(value, "__name__", None) or repr(value))


def built(kind: type) -> Any:
    return kind(**arguments()[kind])


def test_no_public_class_is_left_out():
    assert set(arguments()) == set(CONCRETE)


@pytest.mark.filterwarnings(RELAXED)
@pytest.mark.parametrize("kind", CONCRETE, ids=lambda kind: kind.__name__)
def test_a_class_prints_what_it_was_built_with(kind):
    thing = built(kind)
    text = repr(thing)
    assert text.startswith(kind.__name__ + "(")
    assert "0x" not in text
    if not isinstance(thing, nn.Module) or not list(thing.children()):
        assert "\n" not in text
    if kind.__name__ in SUMMED_UP:
        return
    for name, value in arguments()[kind].items():
        mark = rf"\({name}\): " if isinstance(value, nn.Module) and f"({name})" in text else rf"\b{name}(=|: )"
        assert re.search(mark + expected(value), text), (name, text)


@pytest.mark.filterwarnings(RELAXED)
@pytest.mark.parametrize("kind", [one for one in CONCRETE if not issubclass(one, torch.distributions.Distribution)])
def test_defaults_are_printed_too(kind):
    if kind.__name__ not in SUMMED_UP and "__init__" in vars(kind):
        text = repr(built(kind))
        printed = set(re.findall(r"\b(\w+)=", text)) | set(re.findall(r"\((\w+)\): ", text))
        assert set(inspect.signature(kind.__init__).parameters) - {"self"} <= printed


def test_summaries_name_what_they_sum_up():
    assert repr(built(models.Compose)) == "Compose([Quantise(levels=16), drawn])"
    data = repr(built(datasets.ImageDataset))
    assert "\n" not in data
    assert all(word in data for word in ("mine", "2 images 3×16×16", "binarised", "0.25"))


def test_a_copy_prints_the_same_and_a_part_set_later_is_printed_once():
    torch.manual_seed(0)
    encoder = networks.MLPEncoder(SHAPE, (8,))
    guide = TwoViewGuide(encoder, encoder, 2, 2, None)
    assert "clusters=None" in repr(guide)
    for again in (copy.deepcopy(guide), pickle.loads(pickle.dumps(guide))):
        assert repr(again) == repr(guide)
    guide.clusters = guides.OptimalClusters(ClusterPrior(2, clusters=3, site="z_global"))
    assert "clusters=None" not in repr(guide)
    assert "(clusters): OptimalClusters(" in repr(guide)


def test_wrong_arguments_are_the_constructors_to_refuse():
    with pytest.raises(TypeError, match=r"NormalPrior\.__init__\(\) got an unexpected keyword argument 'latent'"):
        NormalPrior(latent=3)
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'latents'"):
        NormalPrior()


def test_a_users_program_prints_its_own_arguments():
    class Mine(ppvae.Program):
        def __init__(self, *layers: int, scale: float = 0.5, **more: Any) -> None:
            super().__init__()
            self.sum = sum(layers) * scale, more

    assert repr(Mine(1, 2, depth=3)) == "Mine(scale=0.5)"
