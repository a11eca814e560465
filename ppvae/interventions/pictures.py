"""What stands for p(x | z) in a picture: its mean, or a draw whose noise all images share."""

from typing import Any, NamedTuple

import torch
from torch.distributions import Distribution
from torch.utils._python_dispatch import TorchDispatchMode

from ppvae.distributions import AutoregressiveImage
from ppvae.distributions.means import mean_of

__all__ = ["Shown", "shown"]


class Shown(NamedTuple):
    """Images (image, C, H, W), and whether they are draws for want of a mean."""

    images: torch.Tensor
    drawn: bool


def shown(distribution: Distribution, *, seed: int = 0) -> Shown:
    """The mean of p(x | z) where there is one, else a draw, with one and the same noise for every image.

    Two draws then differ by what their latents say and by nothing else, and an image's draw is the same whatever
    others are drawn beside it. Batch shape (image,).
    """
    mean = mean_of(distribution)
    return Shown(_drawn(distribution, seed), True) if mean is None else Shown(mean, False)


def _drawn(distribution: Distribution, seed: int) -> torch.Tensor:
    images = distribution.batch_shape[0] if distribution.batch_shape else 1
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        if not isinstance(distribution, AutoregressiveImage):
            with _SharedNoise(images):
                return distribution.sample()
        with _SharedNoise(images):
            noise = distribution.noise()
        return distribution.sample(noise=noise)  # whose networks draw nothing: no operation of theirs need be looked at


class _SharedNoise(TorchDispatchMode):
    """Run each random operation image by image, each time from one state of the generator.

    Whatever a distribution draws by, pixel after pixel included, its images are the leading entries of what it draws.
    """

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if self.images == 1 or torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if not any(map(self._of_all, args)):
            return func(*args, **kwargs)
        generator = kwargs.get("generator") or _generator(args, kwargs)
        state, parts = generator.get_state(), []
        for image in range(self.images):
            generator.set_state(state)
            parts.append(func(*(self._of_one(argument, image) for argument in args), **kwargs))
        return args[0] if func._schema.is_mutable else _joined(parts)

    def _of_all(self, argument: Any) -> bool:
        """Whether an argument, a tensor or the sizes of a new one, has entries of each image in front."""
        sizes = argument.shape if isinstance(argument, torch.Tensor) else argument
        leading = sizes[0] if isinstance(sizes, list | tuple) and len(sizes) else 0
        return leading > 0 and leading % self.images == 0

    def _of_one(self, argument: Any, image: int) -> Any:
        if not self._of_all(argument):
            return argument
        if isinstance(argument, torch.Tensor):
            return argument.chunk(self.images)[image]
        return [argument[0] // self.images, *argument[1:]]


def _joined(parts: list[Any]) -> Any:
    """What an operation gave image by image as it would have given it at once; of what is no tensor the first."""
    first = parts[0]
    if isinstance(first, tuple | list):
        return type(first)(_joined(list(values)) for values in zip(*parts, strict=True))
    return torch.cat(parts) if isinstance(first, torch.Tensor) and first.dim() else first


def _generator(args: tuple, kwargs: dict) -> torch.Generator:
    """The generator that an operation on these arguments takes its random numbers from."""
    devices = [argument.device for argument in args if isinstance(argument, torch.Tensor)]
    device = torch.device(devices[0] if devices else kwargs.get("device") or "cpu")
    if device.type != "cuda":
        return torch.default_generator
    return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
