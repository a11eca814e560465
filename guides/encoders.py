"""What a guide asks of its encoder."""

from torch import nn

from ppvae.errors import UserError

__all__ = ["feature_count"]


def feature_count(encoder: nn.Module) -> int:
    """Width of the encoder's output, its attribute ``features``; UserError where it has none."""
    features = getattr(encoder, "features", None)
    if not isinstance(features, int):
        raise UserError(f"encoder {type(encoder).__name__} has no integer `features`; set it to its output's width")
    return features
