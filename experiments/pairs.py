"""From a composed configuration to a model and its guide: the group ``model`` says how its parts make them.

A part's ``???`` is what other parts of the pair give: the guide of a prior that shares it, the encoders of two views.
"""

import inspect
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from guides.encoders import feature_count
from ppvae import UserError
from ppvae.errors import check_whole, one_line
from ppvae.networks import ConditionalEncoder
from ppvae.priors import ClusterPrior

from .own_names import importable, named

__all__ = ["built", "conditional", "one_view", "pair", "semi_supervised", "two_views"]

type Pair = tuple[nn.Module, nn.Module]  # model and guide


def pair(configuration: DictConfig) -> Pair:
    """Model and guide, as the group ``model`` composes them."""
    return built(configuration.model, _convert_="none")  # groups as they are, to be built part by part


def built(group: DictConfig, kind: type = object, /, **more: Any) -> Any:
    """What a group describes, a ``kind``, with arguments that the configuration cannot know.

    Errors: :class:`~ppvae.UserError` for a ``_target_`` that is no class of that kind and no function that gives one,
    and as a part raises it, not wrapped in Hydra's.
    """
    _check_target(group, kind)
    try:
        thing = instantiate(group, **{"_convert_": "all", "_target_": importable(group._target_), **more})
    except InstantiationException as error:
        cause: BaseException | None = error
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        raise
    if not isinstance(thing, kind | partial):
        raise UserError(
            f"{group._get_full_key('_target_')}={group._target_} gave a {type(thing).__name__}, no {kind.__name__}"
        )
    return thing


def _check_target(group: Any, kind: type = object) -> None:
    """Of the group and those in it: nothing is called that is no class or function made for it."""
    if not isinstance(group, DictConfig) or group._is_none():
        raise UserError(f"{group!r} where a group of the configuration is expected, a mapping with its _target_")
    where = group._get_full_key("_target_")
    name = group.get("_target_")
    of = "a class or function" if kind is object else f"a kind of {kind.__name__}, or of a function that gives one"
    expected = f"expected the name of {of}: package.module.name"
    try:
        target = named(name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"{where}={name}: {one_line(error)}; {expected}{_where_found(name)}") from None
    if not (issubclass(target, kind) if inspect.isclass(target) else inspect.isfunction(target)):
        raise UserError(f"{where}={name}: {expected}")
    for key in group:
        part = None if OmegaConf.is_missing(group, key) else group[key]
        if isinstance(part, DictConfig) and "_target_" in part:
            _check_target(part)


def _where_found(name: Any) -> str:
    """What to do about a module that lies in the folder where the command was given, and is not looked for there."""
    root = str(name).partition(".")[0]
    lies = root.isidentifier() and find_spec(root) is None and (Path(f"{root}.py").is_file() or Path(root).is_dir())
    return "; PYTHONPATH=. finds modules of this folder" if lies else ""


def one_view(
    program: DictConfig, prior: DictConfig, likelihood: DictConfig, guide: DictConfig, clusters: DictConfig | None
) -> Pair:
    """One code of an image: p(z) p(x | z) and q(z | x)."""
    _check_one_view(clusters)
    if "classifier" in _open(guide):
        raise UserError("guide=semi_supervised names a label; give labels=some, or another guide")
    if _open(guide) not in ([], ["prior"]):
        raise UserError(
            "guide=two_view encodes two codes; give auxiliary=shuffle, grey, blur or none, or another guide"
        )
    _check_hierarchy(prior, likelihood, guide)
    first = None if _open(prior) else built(prior, nn.Module)
    decoding = built(likelihood, nn.Module)
    if _open(guide) and first is None:
        walks, drawn = (group._target_.rpartition(".")[2] for group in (guide, prior))
        raise UserError(
            f"{walks} needs its prior, {drawn} its guide, first; give the guide's own, prior=hierarchy or prior=ard, "
            "or another guide"
        )
    encoding = _given(guide, prior=first)
    drawing = _given(prior, guide=encoding, map_shape=_map_shape(prior, decoding, encoding)) if first is None else first
    return built(program, nn.Module, prior=drawing, likelihood=decoding), encoding


def conditional(
    program: DictConfig,
    prior: DictConfig,
    likelihood: DictConfig,
    guide: DictConfig,
    condition: DictConfig,
    clusters: DictConfig | None,
) -> Pair:
    """One code of an image given something else: p(z) p(x | z, y) and q(z | x, y), which read y with one network."""
    _check_one_view(clusters)
    for kind, group, others in (("prior", prior, "normal"), ("guide", guide, "mean_field")):
        if _open(group):
            name = group._target_.rpartition(".")[2]
            raise UserError(f"{kind} {name} needs a pair of images alone; with condition= give another, as {others}")
    drawing, reading = built(prior, nn.Module), built(condition, nn.Module)
    decoding = _decoding(likelihood, drawing.latents + reading.features)
    encoder = ConditionalEncoder(built(guide.encoder, nn.Module), reading)
    encoding = built(cast(DictConfig, OmegaConf.merge(guide, {"encoder": "???"})), nn.Module, encoder=encoder)
    return built(program, nn.Module, prior=drawing, likelihood=decoding, condition=reading), encoding


def semi_supervised(
    program: DictConfig,
    prior: DictConfig,
    likelihood: DictConfig,
    guide: DictConfig,
    classifier: DictConfig,
    levels: int,
    clusters: DictConfig | None,
) -> Pair:
    """One code and a label of some images: p(y) p(z) p(x | z, y) and q(y | x) q(z | x, y)."""
    _check_one_view(clusters)
    if "classifier" not in _open(guide):
        raise UserError(f"guide {guide._target_} names no label; with labels=some give guide=semi_supervised")
    if _open(prior):
        name = prior._target_.rpartition(".")[2]
        raise UserError(f"prior {name} needs a pair of images alone; with labels=some give another, as normal")
    drawing = built(prior, nn.Module)
    decoding = _decoding(likelihood, drawing.latents + levels)
    encoding = _given(guide, classifier=built(classifier, nn.Module), levels=levels)
    return built(program, nn.Module, prior=drawing, likelihood=decoding, levels=levels), encoding


def two_views(
    program: DictConfig,
    site: str,
    prior: DictConfig,
    prior_local: DictConfig,
    likelihood: DictConfig,
    transformation: DictConfig | None,
    encoder: DictConfig,
    guide: DictConfig,
    clusters: DictConfig | None,
) -> Pair:
    """Two codes of an image and of its view; without a ``transformation`` of the image alone.

    One likelihood decodes both codes, another of its kind the local one.
    """
    if not _open(guide) or "classifier" in _open(guide):
        raise UserError(f"guide {guide._target_} encodes one code, an auxiliary task needs two; give guide=two_view")
    check_whole("auxiliary.latents_local", prior_local.latents, 1)
    priors: tuple[Any, Any] = _global_prior(prior, site), built(prior_local, nn.Module)
    view = None if transformation is None else built(transformation, nn.Module)
    latents, local = (one.latents for one in priors)
    decoding = _decoding(likelihood, latents + local)
    decoding_view = None if view is None else _decoding(likelihood, local)
    parts = {"prior_global": priors[0], "prior_local": priors[1], "likelihood": decoding, "transformation": view}
    model = built(program, nn.Module, **parts, shuffled_likelihood=decoding_view)
    encoders = {"encoder_global": built(encoder, nn.Module), "encoder_local": built(encoder, nn.Module)}
    widths = {"latents_global": latents, "latents_local": local}
    memberships = _clusters(clusters, priors[0], encoders["encoder_global"])
    return model, _given(guide, **encoders, **widths, transformation=view, clusters=memberships)


def _check_one_view(clusters: DictConfig | None) -> None:
    if clusters is not None:
        raise UserError(f"clusters={clusters._target_}: clusters are of two views; give auxiliary=shuffle")


def _global_prior(group: DictConfig, site: str) -> nn.Module:
    try:
        prior = None if _open(group) else built(group, nn.Module, site=site)
    except InstantiationException as error:
        if "unexpected keyword argument 'site'" not in str(error):
            raise
        prior = None
    if prior is None:
        name = group._target_.rpartition(".")[2]
        raise UserError(f"{name} names its site itself; with two codes give prior=normal or prior=cluster")
    return prior


def _clusters(group: DictConfig | None, prior: nn.Module, encoder: nn.Module) -> nn.Module | None:
    """q(cluster | x), of the encoder's features or of the prior."""
    if (group is None) == isinstance(prior, ClusterPrior):
        kinds = "optimal, enumerated or relaxed"
        raise UserError(f"prior=cluster and clusters={kinds} go together; one of them is given alone")
    return None if group is None else _given(group, features=feature_count(encoder), prior=prior)


def _check_hierarchy(prior: DictConfig, likelihood: DictConfig, guide: DictConfig) -> None:
    """UserError for a prior of groups without the network that draws them, and that network with a guide of vectors."""
    if "top_down" in prior and not _open(prior) and prior.top_down is None:
        name = prior._target_.rpartition(".")[2]
        raise UserError(f"{name} draws groups of feature maps: give network=hierarchy guide=hierarchy, or guide=ladder")
    if "hierarchy" in (likelihood.get("decoder") or {}) and "encoder" in guide:
        name = guide._target_.rpartition(".")[2]
        raise UserError(
            f"{name} reads a vector of features, network=hierarchy gives maps at each group: give prior=hierarchy "
            "guide=hierarchy, or guide=ladder, or another network, as network=conv"
        )


def _map_shape(prior: DictConfig, decoding: nn.Module, encoding: nn.Module) -> tuple[int, int, int] | None:
    """The shape of the feature maps that the decoder takes; UserError where the prior asks for it and there are none,
    or a guide of other maps."""
    decoder = getattr(decoding, "decoder", None)
    decoded = getattr(decoder, "map_shape", None)
    encoded = getattr(encoding, "map_shape", decoded)
    if "map_shape" in _open(prior) and decoded is None:
        name = prior._target_.rpartition(".")[2]
        raise UserError(
            f"{name} draws feature maps, {type(decoder).__name__} takes vectors: "
            "give network=two_levels guide=bottom_up"
        )
    if encoded != decoded:
        raise UserError(
            f"the guide gives maps {encoded}, the decoder takes {decoded}: give both networks as many channels, as "
            "network.encoder.channels=[32,32] network.decoder.channels=[32,32], and leave guide.maps to the network"
        )
    return decoded


def _decoding(likelihood: DictConfig, latents: int) -> nn.Module:
    """The likelihood whose decoder takes so many latents."""
    decoder = likelihood.get("decoder")
    if decoder is not None and {"latent_maps", "hierarchy"} & {*decoder}:
        name = decoder._target_.rpartition(".")[2]
        raise UserError(f"{name} takes no vector of latents, as several codes together are; give network=conv or mlp")
    return built(likelihood, nn.Module, decoder={"latents": latents})


def _open(group: DictConfig) -> list[str]:
    """What a group leaves to the pair."""
    return [str(name) for name in group if OmegaConf.is_missing(group, name)]


def _given(group: DictConfig, **parts: Any) -> Any:
    """What a group describes, its open arguments filled with the pair's parts of those names."""
    return built(group, nn.Module, **{name: parts[name] for name in _open(group)})
