"""Are these images, and inputs beside them, that the networks and the likelihood take?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ppvae.datasets import ImageDataset, Rows
from ppvae.errors import UserError
from ppvae.pair.program import Data, inputs_of

__all__ = ["check_data", "check_given", "check_images", "check_kind"]


def check_images(images: torch.Tensor, *parts: Any) -> None:
    """Raise a one-line :class:`~ppvae.errors.UserError` for images that the networks in ``parts`` cannot take.

    Shapes: images (image, C, H, W), at least one, finite, of the networks' ``image_shape`` and floating type.
    """
    if not isinstance(images, torch.Tensor):
        raise UserError(f"images are a {type(images).__name__}; expected a torch tensor (image, channel, row, column)")
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise UserError(f"images have shape {shape}; expected (image, channel, row, column)")
    if shape[0] == 0:
        raise UserError("there are no images; expected at least one")
    for expected in sorted({m.image_shape for part in parts for m in _networks(part)}):
        if shape[1:] != expected:
            raise UserError(f"images have shape {shape[1:]}; the pair's networks were built for {expected}")
    for dtype in {parameter.dtype for part in parts for parameter in _parameters(part)[:1]}:
        if images.dtype != dtype:
            raise UserError(f"images are {images.dtype}, the pair's parameters {dtype}; convert the images")
    if not torch.isfinite(images).all():
        _check_missing(images, *parts)
    _check_range(images, *parts)


def _check_missing(images: torch.Tensor, *parts: Any) -> None:
    """UserError for infinite pixels, and for NaN unless each of the programs says that it leaves missing ones out."""
    bad = int((~torch.isfinite(images.flatten(1)).all(1)).sum())
    named = f"{bad} of {len(images)} images hold NaN or infinite pixels"
    if images.isinf().any() or not any(isinstance(part, nn.Module) for part in parts):
        raise UserError(f"{named}; remove or repair them")
    for part in parts:
        if not any(getattr(module, "partly_observed", False) for module in _modules(part)):
            raise UserError(
                f"{named}, which {type(part).__name__} cannot leave out; remove or repair them, or give a likelihood "
                "that leaves them out and a RowEncoder (likelihood=real network=rows)"
            )


def _check_range(images: torch.Tensor, *parts: Any) -> None:
    """UserError for pixels further than half a range from all means that the likelihood can give: noise about an image
    stays within, images of another range do not."""
    for low, high in {m.mean_range for part in parts for m in _modules(part) if hasattr(m, "mean_range")}:
        least, most = images.min().item(), images.max().item()
        if least < low - (high - low) / 2 or most > high + (high - low) / 2:
            raise UserError(
                f"pixels are in [{least:.4g}, {most:.4g}], the likelihood's means in [{low:g}, {high:g}]; scale the "
                "images to that range, or choose another likelihood"
            )


def check_data(data: Data | ImageDataset, *parts: Any, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """What programs are called with, checked: the images as :func:`check_images` does, and as many of each other input.

    ``data``: images (image, C, H, W), a tuple of them and further inputs (image, ...), or a data set with its inputs,
    whose conversion draws by ``seed``.
    Errors: one-line :class:`~ppvae.errors.UserError`.
    """
    if isinstance(data, ImageDataset):
        for part in parts:
            check_kind(part, data)
    inputs = data.arguments(seed=seed) if isinstance(data, ImageDataset) else inputs_of(data)
    if not inputs:
        raise UserError("data is an empty tuple; expected images, then what else the programs take")
    check_images(inputs[0], *parts)
    check_given(inputs[1:], len(inputs[0]))
    return inputs


def check_given(given: Sequence[Any], images: int) -> None:
    """UserError unless each input beside the images is a tensor with a finite row for each of them."""
    for place, values in enumerate(given, start=2):
        if not isinstance(values, torch.Tensor):
            raise UserError(f"input {place} is a {type(values).__name__}; expected a torch tensor (image, ...)")
        if values.dim() == 0 or len(values) != images:
            raise UserError(
                f"input {place} has shape {tuple(values.shape)}, there are {images} images; give one row an image"
            )
        if not torch.isfinite(values).all():
            raise UserError(f"input {place} holds NaN or infinite values; remove or repair them")


def check_kind(model: Any, data: ImageDataset) -> None:
    """UserError where the model's likelihood is no density of the data's kind: binary, 8-bit or real pixels.

    A likelihood says of which kinds it is one (``kinds``), or that it is a ``surrogate``, which marks its numbers.
    """
    likelihood = getattr(model, "likelihood", None)
    kinds = getattr(likelihood, "kinds", None)
    if kinds is None or data.kind in kinds or getattr(likelihood, "surrogate", False):
        return
    remedy = "choose a likelihood of these"
    if isinstance(data.images, Rows):
        remedy += ", RealLikelihood, CountLikelihood or BernoulliLikelihood (likelihood=real, negative_binomial, …)"
    elif "binary" in kinds:
        remedy = "binarise them (binarise='dynamic') or choose another likelihood"
    if hasattr(likelihood, "otherwise") and not isinstance(data.images, Rows):
        remedy += f", or {likelihood.otherwise}"
    raise UserError(
        f"{type(likelihood).__name__} is a density of {' or '.join(sorted(kinds))} pixels, no other; "
        f"these are {data.kind} ({data.description}): {remedy}"
    )


def _parameters(part: Any) -> list[nn.Parameter]:
    return list(part.parameters()) if isinstance(part, nn.Module) else []


def _networks(part: Any) -> list[nn.Module]:
    """Those that see the images themselves, and not another input or a code: ``of_images`` says so where not."""
    modules = _modules(part)
    aside = {inner for m in modules if not getattr(m, "of_images", True) for inner in m.modules()}
    return [m for m in modules if hasattr(m, "image_shape") and m not in aside]


def _modules(part: Any) -> list[nn.Module]:
    return list(part.modules()) if isinstance(part, nn.Module) else []
