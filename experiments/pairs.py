"""From a composed configuration to a model and its guide: of one view, or of two."""

import inspect
import pkgutil
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ppvae import VAE, TwoViewVAE, UserError
from ppvae.errors import check_whole
from ppvae.priors import ClusterPrior, NormalPrior

__all__ = ["built", "pair"]


def pair(configuration: DictConfig) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Model and guide: with an auxiliary task those of two views."""
    return _one_view(configuration) if configuration.get("auxiliary") is None else _two_views(configuration)


def built(group: DictConfig, **more: Any) -> Any:
    """What a group describes, with arguments that the configuration cannot know."""
    return instantiate(group, _convert_="all", **more)


def _one_view(configuration: DictConfig) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A prior that shares the guide's encoder is configured with ``_partial_: true`` and gets ``guide=``."""
    if configuration.get("clusters") is not None:
        raise UserError(
            f"clusters={configuration.clusters._target_}: clusters are of two views; give auxiliary=shuffle"
        )
    if _takes(configuration.guide, "encoder_global"):
        raise UserError(
            "guide=two_view encodes two codes; give auxiliary=shuffle, grey, blur or none, or another guide"
        )
    prior, likelihood, guide = (built(configuration[name]) for name in ("prior", "likelihood", "guide"))
    return VAE(prior(guide=guide) if not isinstance(prior, torch.nn.Module) else prior, likelihood), guide


def _two_views(configuration: DictConfig) -> tuple[TwoViewVAE, torch.nn.Module]:
    """Networks come of the same groups, read with other numbers of latents."""
    if _takes(configuration.guide, "encoder_global") is False:
        name = configuration.guide._target_
        raise UserError(f"guide {name} encodes one code, an auxiliary task needs two; give guide=two_view")
    latents, local = configuration.latents, configuration.auxiliary.latents_local
    check_whole("auxiliary.latents_local", local, 1)
    priors = _global_prior(configuration), NormalPrior(local, site="z_local")
    transformation = built(configuration.auxiliary).get("transformation")
    likelihood = built(_with_latents(configuration, latents + local).likelihood)
    shuffled = None if transformation is None else built(_with_latents(configuration, local).likelihood)
    model = TwoViewVAE(*priors, likelihood, shuffled, transformation)
    encoders = [built(configuration.network.encoder) for _ in range(2)]
    guide = built(
        configuration.guide,
        encoder_global=encoders[0],
        encoder_local=encoders[1],
        latents_global=latents,
        latents_local=local,
        transformation=transformation,
        clusters=_clusters(configuration, model.prior_global, encoders[0]),
    )
    return model, guide


def _global_prior(configuration: DictConfig) -> torch.nn.Module:
    if _takes(configuration.prior, "site") is False:
        name = configuration.prior._target_.rpartition(".")[2]
        raise UserError(f"{name} names its site itself; with two codes give prior=normal or prior=cluster")
    return built(configuration.prior, site="z_global")


def _clusters(configuration: DictConfig, prior: torch.nn.Module, encoder: torch.nn.Module) -> torch.nn.Module | None:
    """q(cluster | x), which takes the encoder's features or the prior."""
    group = configuration.get("clusters")
    if (group is None) == isinstance(prior, ClusterPrior):
        kinds = "optimal, enumerated or relaxed"
        raise UserError(f"prior=cluster and clusters={kinds} go together; one of them is given alone")
    if group is None:
        return None
    known = {"features": getattr(encoder, "features", None), "prior": prior}
    return built(group, **{name: value for name, value in known.items() if _takes(group, name)})


def _takes(group: DictConfig, argument: str) -> bool | None:
    """Whether a group's class takes an argument; None where there is no such class, as building it will say."""
    try:
        return argument in inspect.signature(pkgutil.resolve_name(group._target_)).parameters
    except (ImportError, AttributeError, ValueError):
        return None


def _with_latents(configuration: DictConfig, latents: int) -> DictConfig:
    return OmegaConf.merge(configuration, {"latents": latents})
