"""BatchNorm's running statistics for drawing: those of what the model draws, not of what it was trained on."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import torch
from pyro import validation_enabled
from torch.nn.modules.batchnorm import _BatchNorm

from ppvae.errors import check_whole
from ppvae.interventions.decoding import called_with, drawn_until
from ppvae.pair.program import Data
from ppvae.pair.untouched import device_of, evaluating, modules_of

__all__ = ["reestimate"]


@contextmanager
def reestimate(
    model: Callable,
    *,
    temperature: float = 1.0,
    sites: Collection[str] | None = None,
    like: Data | None = None,
    batches: int = 20,
    size: int = 64,
    seed: int = 0,
) -> Iterator[None]:
    """Inside, the model's BatchNorm layers hold the statistics of its own draws at this temperature.

    ``with reestimate(model, temperature=0.7): draw_images(model, 40, temperature=0.7)``. In training the statistics are
    those of codes that the guide draws; codes from the prior, or colder ones, have others, and images drawn with the
    wrong ones are dull. They are the plain average over ``batches`` of ``size`` draws, each normalised by statistics of
    its own; all other modules run as in evaluation.

    ``sites``, ``like``: as for :func:`~ppvae.interventions.draw_images`. Layers that keep no running statistics are
    left alone, and a model without BatchNorm, or a plain function, whose modules are not seen, is not run at all.
    Afterwards the statistics are as before; parameters, modes, random state and parameter store stay as they were all
    along. A guide that shares the layers meets the new statistics inside, too.
    Errors: :class:`~ppvae.errors.UserError` for numbers out of range, or a latent that has no temperature.
    Source: Vahdat and Kautz 2020, "NVAE", Appendix A (sampling at a temperature).
    """
    check_whole("batches", batches, 1)
    check_whole("size", size, 2)
    norms = [part for owner in modules_of([model]) for part in owner.modules() if _running(part)]
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    try:
        if norms:
            device = device_of(model)
            with _averaging(norms), evaluating(model, device=device, seed=seed), validation_enabled(False):
                for norm in norms:
                    norm.training = True
                for batch in range(batches):
                    data, options = called_with(like, batch * size, size, device)
                    drawn_until(model, "x", {}, *data, temperature=temperature, sites=sites, **options)
        yield
    finally:
        with torch.no_grad():
            for buffer, values in kept:
                buffer.copy_(values)


def _running(part: torch.nn.Module) -> bool:
    return isinstance(part, _BatchNorm) and part.running_mean is not None


@contextmanager
def _averaging(norms: list[_BatchNorm]) -> Iterator[None]:
    """The layers forget their statistics and average all batches alike."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
