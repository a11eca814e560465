"""A pair with fewer latents that says the same about the ones it keeps."""

import copy
from collections.abc import Sequence

import torch
import xarray as xr
from torch import nn

from ppvae.datasets import ImageDataset
from ppvae.diagnostics.contents import chosen_code, event_dims_of
from ppvae.errors import UserError
from ppvae.interventions.held import latents_of
from ppvae.pair.program import Data
from ppvae.pair.untouched import device_of, evaluating
from ppvae.posterior import from_pyro_svi

__all__ = ["keep_latents"]

TOLERANCE = 1e-4  # of float32 networks, relative to the largest number compared


def keep_latents(
    model: nn.Module, guide: nn.Module, kept: Sequence[int], data: ImageDataset | Data
) -> tuple[nn.Module, nn.Module]:
    """Copies of model and guide with the latents ``kept`` alone, in their order; the others are cut out.

    The decoder's linear layers that take z lose the columns of the others, whose means over ``data`` go into their
    biases, so that the smaller pair draws what the whole one does with the others at their means; the guide's linear
    heads lose their rows, the prior its entries. Nothing else changes; what is left is ready to train on.

    The pair is a :class:`~ppvae.VAE` with one vector of latents, independent under the prior, and a guide whose heads
    are linear layers of as many outputs as there are latents, as MeanFieldNormal's, NormalGammaGuide's and
    StudentTGuide's are. What was cut is compared with the whole pair.
    Errors: :class:`~ppvae.errors.UserError` for numbers that are no latents of the pair, and a pair that cannot be cut.
    """
    tree = from_pyro_svi(model, guide, data, 1)
    site = chosen_code(tree, None)
    means = tree["sample_stats"][f"{site}_mean"]
    if len(event_dims_of(tree, site)) != 1:
        raise UserError(f"site {site!r} is no vector of latents but has dims {event_dims_of(tree, site)}; none is cut")
    index = _checked(kept, means.shape[-1])
    fill = torch.as_tensor(means.mean("image").values, dtype=torch.get_default_dtype())
    smaller, encoder = copy.deepcopy((model, guide))
    with evaluating(smaller, encoder):
        _cut_decoder(smaller.likelihood.decoder, index, fill.to(device_of(model)))
        _cut_prior(smaller.prior, index, len(fill))
        _cut_heads(encoder, index, len(fill))
    _compare(smaller, encoder, data, tree, site, index)
    return smaller, encoder


def _checked(kept: Sequence[int], latents: int) -> torch.Tensor:
    numbers = [int(number) for number in kept]
    if not numbers or len(set(numbers)) < len(numbers) or not all(0 <= number < latents for number in numbers):
        raise UserError(f"kept={numbers}: expected different numbers from 0 to {latents - 1}, at least one")
    return torch.tensor(numbers)


def _cut_decoder(decoder: nn.Module, kept: torch.Tensor, fill: torch.Tensor) -> None:
    """Its linear layers that take z, found by running it."""
    taking, z = _layers_taking(decoder, len(fill)), torch.randn(2, len(kept), device=fill.device)
    whole = decoder(_filled(z, kept, fill))
    for layer in taking:
        _cut_columns(layer, kept, fill)
    _resized(decoder, len(kept))
    try:
        same = bool(taking) and _close(decoder(z), whole)
    except RuntimeError:  # a layer that takes z in another way still wants all of it
        same = False
    if not same:
        name = type(decoder).__name__
        raise UserError(f"{name} takes z otherwise than by linear layers alone, so that no latent can be cut out of it")


def _heads_of(guide: nn.Module, latents: int) -> list[nn.Linear]:
    """The guide's linear layers of one output a latent, outside of its encoder."""
    inside = {part for name, child in guide.named_modules() if name.endswith("encoder") for part in child.modules()}
    linear = (part for part in guide.modules() if isinstance(part, nn.Linear) and part not in inside)
    return [layer for layer in linear if layer.out_features == latents]


def _layers_taking(decoder: nn.Module, latents: int) -> list[nn.Linear]:
    """The decoder's linear layers that take the whole code as it is, found by running it."""
    taking = []
    with evaluating(decoder, seed=0):
        z = torch.randn(2, latents, device=device_of(decoder))

        def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if inputs[0].shape == z.shape and torch.equal(inputs[0], z):
                taking.append(layer)

        hooks = [part.register_forward_pre_hook(note) for part in decoder.modules() if isinstance(part, nn.Linear)]
        try:
            decoder(z)
        finally:
            for hook in hooks:
                hook.remove()
    return taking


def _filled(z: torch.Tensor, kept: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    return fill.expand(len(z), -1).index_copy(1, kept.to(z.device), z)


def _cut_columns(layer: nn.Linear, kept: torch.Tensor, fill: torch.Tensor) -> None:
    weight, others = layer.weight.data, torch.ones(len(fill), dtype=torch.bool)
    others[kept] = False
    constant = weight[:, others] @ fill[others]
    layer.weight = nn.Parameter(weight[:, kept].clone())
    layer.in_features = len(kept)
    layer.bias = nn.Parameter(constant if layer.bias is None else layer.bias.data + constant)


def _cut_heads(guide: nn.Module, kept: torch.Tensor, latents: int) -> None:
    """The rows of all linear layers of so many outputs outside of the encoder."""
    for layer in _heads_of(guide, latents):
        layer.weight = nn.Parameter(layer.weight.data[kept].clone())
        layer.bias = None if layer.bias is None else nn.Parameter(layer.bias.data[kept].clone())
        layer.out_features = len(kept)
    _resized(guide, len(kept))


def _cut_prior(prior: nn.Module, kept: torch.Tensor, latents: int) -> None:
    """The entries of all its vectors of latents."""
    for name, values in [*prior.named_parameters(), *prior.named_buffers()]:
        if values.dim() and values.shape != (latents,):
            kind = type(prior).__name__
            raise UserError(f"{kind} has {name} of shape {tuple(values.shape)}, no number a latent; it cannot be cut")
        if values.dim():
            owner, _, own = name.rpartition(".")
            cut = values.detach()[kept].clone()
            setattr(prior.get_submodule(owner), own, nn.Parameter(cut) if isinstance(values, nn.Parameter) else cut)
    _resized(prior, len(kept))


def _resized(part: nn.Module, latents: int) -> None:
    """What a part says of how many latents it has."""
    if hasattr(part, "latents"):
        part.latents = latents
    noted = getattr(part, "_built_with", {})
    if "latents" in noted:
        object.__setattr__(part, "_built_with", {**noted, "latents": str(latents)})


def _compare(
    model: nn.Module, guide: nn.Module, data: ImageDataset | Data, whole: xr.DataTree, site: str, kept: torch.Tensor
) -> None:
    """UserError where the smaller guide gives its latents other moments than the whole one, or none."""
    try:
        smaller, same = from_pyro_svi(model, guide, data, 1)["sample_stats"], True
    except UserError:
        smaller, same = None, False
    alone = len(latents_of(whole)) == 1  # else the variance is given a draw of another site, such as the precision
    for moment in (("mean", "variance") if alone else ("mean",)) if same else ():
        expected = whole["sample_stats"][f"{site}_{moment}"].values[:, kept.numpy()]
        same &= _close(torch.as_tensor(smaller[f"{site}_{moment}"].values), torch.as_tensor(expected))
    if not same:
        raise UserError("the guide makes its latents otherwise than by linear heads of one output each; none is cut")


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    largest = float(expected.abs().max())
    return found.shape == expected.shape and bool((found - expected).abs().max() <= TOLERANCE * max(largest, 1e-12))
