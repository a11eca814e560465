"""What else a network is told of an image: its label, or another image."""

import torch
from torch import nn

from ppvae.described import Described
from ppvae.errors import UserError, check_whole

__all__ = ["Condition", "ConditionalEncoder", "ImageCondition", "LabelCondition"]


class Condition(Described, nn.Module):
    """An input beside the images as ``features`` numbers of each: (image, ...) → (image, ``features``)."""

    features: int
    of_images = False  # its networks see something else, of an ``image_shape`` of its own


class LabelCondition(Condition):
    """The label's indicators: y in 0 … ``levels`` − 1, (image,) whole numbers → (image, levels), a one in each row.

    Errors: :class:`~ppvae.errors.UserError` for labels that are no whole numbers.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        check_whole("levels", levels, 2)
        self.levels = self.features = levels

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        if labels.is_floating_point() or labels.is_complex():
            raise UserError(f"labels are {labels.dtype}; expected whole numbers from 0 to {self.levels - 1}")
        levels = torch.arange(self.levels, device=labels.device)
        return (labels[..., None] == levels).to(torch.get_default_dtype())


class ImageCondition(Condition):
    """Another image, (image, C, H, W), as the features that an encoder of its shape finds in it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.features = encoder.features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.encoder(images)


class ConditionalEncoder(Described, nn.Module):
    """Features of an image and of what is given with it, side by side: for any guide, q(z | x, y).

    Shapes: images (..., C, H, W) and given as the condition takes it → (..., ``features``).
    """

    def __init__(self, encoder: nn.Module, condition: Condition) -> None:
        super().__init__()
        self.encoder, self.condition = encoder, condition
        self.features = encoder.features + condition.features

    def forward(self, images: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        features = self.encoder(images)
        return torch.cat([features, self.condition(given).to(features.dtype)], -1)
