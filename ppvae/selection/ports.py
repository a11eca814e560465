"""Where single latents pass through a pair: the linear heads that make them, the linear layers that take them."""

from dataclasses import dataclass

import torch
from torch import nn

from ppvae.pair.untouched import device_of, evaluating

__all__ = ["Ports", "heads_of", "layers_taking"]


def heads_of(guide: nn.Module, latents: int) -> list[nn.Linear]:
    """The guide's linear layers of one output a latent, outside of its encoder."""
    inside = {part for name, child in guide.named_modules() if name.endswith("encoder") for part in child.modules()}
    linear = (part for part in guide.modules() if isinstance(part, nn.Linear) and part not in inside)
    return [layer for layer in linear if layer.out_features == latents]


def layers_taking(decoder: nn.Module, latents: int) -> list[nn.Linear]:
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


@dataclass(frozen=True)
class Ports:
    """By which a single latent is turned down, in place: the heads of its location and, where the guide has one, of its
    log variance; the decoder's layers that take z."""

    heads: list[nn.Linear]
    takers: list[nn.Linear]

    @classmethod
    def of(cls, model: nn.Module, guide: nn.Module) -> "Ports | None":
        """Those of a pair whose guide has a head ``loc`` and whose decoder takes z by linear layers; None of others."""
        latents = getattr(getattr(model, "prior", None), "latents", None)
        decoder = getattr(getattr(model, "likelihood", None), "decoder", None)
        if latents is None or getattr(decoder, "latents", None) != latents:
            return None
        named = {
            name.rpartition(".")[2]: head for name, head in guide.named_modules() if head in heads_of(guide, latents)
        }
        heads = [named[name] for name in ("loc", "log_variance") if name in named]
        takers = layers_taking(decoder, latents)
        return cls(heads, takers) if "loc" in named and takers else None

    @torch.no_grad()
    def turn_down(self, latent: int, factor: float) -> None:
        """So much less of the image into this latent, nearer the prior, and of it into the picture."""
        for head in self.heads:
            head.weight[latent] *= factor
            if head.bias is not None:
                head.bias[latent] *= factor
        for layer in self.takers:
            layer.weight[:, latent] *= factor
