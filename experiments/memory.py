"""Does it fit? What a configuration would take of the memory, said before any of it is taken."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig
from torch import nn
from torch.overrides import TorchFunctionMode

from ppvae.errors import UserError
from ppvae.memory import available_memory

__all__ = ["check_data_size", "check_draws", "check_model_size", "model_size"]

COPIES = 5  # of each parameter: itself, its gradient, Adam's two moments, and what the rehearsal trains
SMALL = 2**16  # numbers of a tensor that is simply made
FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.arange, torch.linspace}
FACTORIES |= {torch.rand, torch.randn, torch.randint, torch.randperm, torch.tril_indices, torch.triu_indices}


def check_data_size(data: DictConfig, images: int = 0) -> None:
    """UserError where the images that are asked for do not fit into memory; ``images`` beside those of training."""
    size, sides = data.get("size") or 0, data.get("image_size") or 1
    rows, columns = sides if isinstance(sides, ListConfig) and len(sides) == 2 else (sides, sides)
    if not all(isinstance(number, int) for number in (size, rows, columns)):
        return  # the data set says what is wrong
    _check(
        f"data.size={size} images of {rows} × {columns} pixels" if rows * columns > 1 else f"data.size={size} images",
        3 * rows * columns * (size + images),
        "fewer or smaller images",
    )


def check_draws(configuration: DictConfig, image_shape: Sequence[int], images: int, model: nn.Module) -> None:
    """UserError where the draws that are asked for would not fit into memory: of vectors, maps or images."""
    posterior, diagnosis, pixels = configuration.posterior, configuration.diagnosis, prod(image_shape)
    drawn = min(posterior.images, images) * posterior.draws
    codes = getattr(getattr(model, "prior", None), "code_size", configuration.latents)
    if posterior.get("sites") is None:  # else what is drawn is not all kept
        _check(f"posterior.draws={posterior.draws}", 4 * drawn * codes, "fewer draws or images, or posterior.sites=[]")
    looked_at = min(diagnosis.images, images)
    _check(f"diagnosis.draws={diagnosis.draws}", 4 * looked_at * diagnosis.draws * pixels, "fewer draws or images")
    if diagnosis.images:
        _check(f"diagnosis.simulations={diagnosis.simulations}", 4 * diagnosis.simulations * pixels, "fewer of them")
    samples = configuration.objective.get("samples") or 1
    batch = min(configuration.trainer.batch_size, images)
    _check(f"objective.samples={samples} of each of {batch} images", 4 * samples * batch * pixels, "fewer samples")


def check_model_size(build: Callable[[], tuple[nn.Module, nn.Module]], accelerator: str) -> None:
    """UserError where the pair that ``build`` makes has more parameters than fit into memory; it is not made."""
    parameters, exact = model_size(build)
    if not exact:
        _check(f"a pair of more than {parameters:.3g} numbers", 4 * parameters, "a smaller network or fewer latents")
        return
    free, where = available_memory(), "memory"
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        free, where = min(free, torch.cuda.mem_get_info()[0]), "GPU memory"
    _check(
        f"a pair of {parameters:.4g} parameters, each with its gradient and Adam's moments,",
        4 * COPIES * parameters,
        "network=conv, fewer hidden units or latents, or smaller images",
        free,
        where,
    )


def model_size(build: Callable[[], tuple[nn.Module, nn.Module]]) -> tuple[int, bool]:
    """Parameters of the pair that ``build`` makes, shared ones once; False where they are only a lower bound.

    Its large tensors have shapes alone; where a constructor reads one, what was asked for until then is counted.
    """
    least = 0
    for small in (SMALL, 0):  # a constructor may read small tensors, or hold small ones against large ones
        with _ShapesAlone(small) as shapes, torch.random.fork_rng(devices=[]):
            try:
                pair = build()
            except UserError:
                raise
            except Exception:  # or a mistake that building it for good will show
                least = max(least, shapes.numbers)
                continue
        own = {id(parameter): parameter.numel() for program in pair for parameter in _parameters(program)}
        return sum(own.values()), True
    return least, False


def _parameters(program: Any) -> list[nn.Parameter]:
    return list(program.parameters()) if isinstance(program, nn.Module) else []


class _ShapesAlone(TorchFunctionMode):
    """Makes large tensors on the meta device, and counts their entries."""

    def __init__(self, small: int) -> None:
        super().__init__()
        self.small, self.numbers = small, 0

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if function not in FACTORIES or given.get("device") is not None:
            return function(*args, **given)
        shape = function(*args, **{name: given[name] for name in given.keys() - {"generator", "device"}}, device="meta")
        if shape.numel() <= self.small:
            return function(*args, **given)
        self.numbers += shape.numel()
        return shape


def _check(what: str, needed: float, instead: str, free: int | None = None, where: str = "memory") -> None:
    free = available_memory() if free is None else free
    if needed > free:
        raise UserError(f"{what} takes {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB of {where} are free; give {instead}")
