"""What all images of a model share."""

from typing import Any

import torch

__all__ = ["shared_of"]


def shared_of(prior: Any) -> tuple[torch.Tensor, ...]:
    """What a prior draws once for all images, by its method ``shared``, where it has one: run outside of their plate.

    Inside the plate the prior is called with it.
    """
    return prior.shared() if hasattr(prior, "shared") else ()
