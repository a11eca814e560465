"""Where single latents pass through a pair: the linear heads that make them, the linear layers that take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ppvae.pair.program import Data, inputs_of
from ppvae.pair.untouched import device_of, evaluating

__all__ = ["Ports", "heads_of", "layers_taking"]

FIRST = 1.0  # length of the decoder's columns of the first latent that is let in


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
    """By which single latents are shut off and let in again, in place.

    ``head``: the linear layer that makes the latents' locations; ``takers``: the decoder's layers that take z.
    """

    model: nn.Module
    guide: nn.Module
    head: nn.Linear
    takers: list[nn.Linear]

    @classmethod
    def of(cls, model: nn.Module, guide: nn.Module) -> "Ports | None":
        """Those of a pair whose guide has a head ``loc`` and whose decoder takes z by linear layers; None of others."""
        likelihood, latents = (
            getattr(model, "likelihood", None),
            getattr(getattr(model, "prior", None), "latents", None),
        )
        decoder = getattr(likelihood, "decoder", None)
        if latents is None or getattr(decoder, "latents", None) != latents:
            return None
        named = [part for name, part in guide.named_modules() if name.rpartition(".")[2] == "loc"]
        heads = [head for head in heads_of(guide, latents) if head in named and head.bias is not None]
        takers = layers_taking(decoder, latents)
        return cls(model, guide, heads[0], takers) if len(heads) == 1 and takers else None

    @torch.no_grad()
    def shut(self, latent: int) -> None:
        """Nothing of the image into this latent, nothing of it into the picture."""
        self.head.weight[latent] = 0
        self.head.bias[latent] = 0
        for layer in self.takers:
            layer.weight[:, latent] = 0

    def open(self, latent: int, into: Sequence[int], images: Data, seed: int) -> None:
        """Start a latent as something new: its means a random combination of the encoder's features, less what the
        latents ``into`` tell of it by least squares, of variance one over ``images``; its columns of the decoder down
        the gradient of these images' distortion, as long as the columns of ``into`` are on average.
        """
        device = self.head.weight.device
        given = tuple(values.to(device) for values in inputs_of(images))
        with evaluating(self.model, self.guide, device=device, seed=seed):
            features = self._features(given)
            weight = self.head.weight.data
            row = torch.randn(weight.shape[1], device=device, dtype=weight.dtype) / features.std(0).clamp_min(1e-6)
            centred = features - features.mean(0)
            if into:
                known = centred @ weight[list(into)].T
                row = row - weight[list(into)].T @ torch.linalg.lstsq(known, (centred @ row)[:, None]).solution[:, 0]
            row = row / (centred @ row).std().clamp_min(1e-6)
            weight[latent], self.head.bias.data[latent] = row, -(features.mean(0) @ row)
            for layer, slope in zip(self.takers, self._slopes(features, given, latent), strict=True):
                columns = layer.weight.data[:, list(into)].norm(dim=0)
                length = columns.mean() if len(columns) else torch.tensor(FIRST, device=device)
                layer.weight.data[:, latent] = -length * slope / slope.norm().clamp_min(1e-30)

    def _features(self, given: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """What goes into the head, (image, features)."""
        seen: list[torch.Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.guide(*given)
        finally:
            hook.remove()
        return seen[0].detach()

    def _slopes(self, features: torch.Tensor, given: tuple[torch.Tensor, ...], latent: int) -> list[torch.Tensor]:
        """The distortion's gradient by the latent's columns, at the means of all latents."""
        weights = [layer.weight for layer in self.takers]
        with torch.enable_grad():
            z = (features @ self.head.weight.T + self.head.bias).detach()
            found = self.model.likelihood(z).log_prob(given[0]).sum()
            return [-slope[:, latent] for slope in torch.autograd.grad(found, weights)]
