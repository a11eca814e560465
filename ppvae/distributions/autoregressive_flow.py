"""The autoregressive map that the flow prior and the inverse autoregressive guide are built on."""

from collections.abc import Callable, Sequence

import torch
from pyro.distributions.transforms import AffineAutoregressive
from torch import nn

from ppvae.described import Described
from ppvae.errors import UserError, check_positive, check_whole
from ppvae.networks.images import check_widths
from ppvae.networks.masked import MaskedNetwork

__all__ = ["AutoregressiveFlow"]


class AutoregressiveFlow(Described, nn.Module):
    """f = f_F ∘ … ∘ f_1 on real vectors, one parallel pass forwards and n sequential ones back.

    f_t(z) = exp(s_t) ⊙ z + m_t, or with a gate σ_t ⊙ z + (1 − σ_t) ⊙ m_t, σ_t = sigmoid(s_t + ``gate_bias``), where
    (m_t, s_t) of latent i is a masked network of the latents before i and of the context. The order is reversed from
    step to step. Connections from input to output keep every linear map in the family; the map starts near the
    identity, or with gates near sigmoid(gate_bias)^flows · z.

    :meth:`transforms` gives Pyro's transforms afresh, so that no cached value outlives its draw.

    Shapes: z (..., ``latents``), context (..., ``context``), of equal batch shapes or broadcast to z's.
    Errors: :class:`~ppvae.errors.UserError` for fewer than two latents or hidden layers narrower than them.
    Source: Kingma et al. 2016, Sec. 4; Germain et al. 2015 for the masks.
    """

    def __init__(
        self,
        latents: int,
        flows: int = 2,
        hidden: Sequence[int] = (320,),
        *,
        context: int = 0,
        gate_bias: float | None = None,
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 2)
        check_whole("flows", flows, 1)
        check_whole("context", context, 0)
        if gate_bias is not None:
            check_positive("gate_bias", gate_bias)
        widths = check_widths("hidden", hidden)
        if min(widths) < latents:
            raise UserError(f"hidden={list(widths)}: every layer needs at least as many units as latents, {latents}")
        self.latents = latents
        self.context = context
        self.gated = gate_bias is not None
        self.options = {} if gate_bias is None else {"stable": True, "sigmoid_bias": float(gate_bias)}
        networks = (MaskedNetwork(latents, context, widths, reverse=bool(step % 2)) for step in range(flows))
        self.steps = nn.ModuleList(networks)

    def transforms(
        self, context: torch.Tensor | None = None, strength: torch.Tensor | None = None
    ) -> list[AffineAutoregressive]:
        """f_1, …, f_F given the context; each caches its last draw, which is therefore scored in parallel.

        ``strength`` () multiplies all m_t and s_t: at zero a map without a gate is the identity.
        """
        return [AffineAutoregressive(_given(network, context, strength), **self.options) for network in self.steps]


def _given(network: MaskedNetwork, context: torch.Tensor | None, strength: torch.Tensor | None) -> Callable:
    """The network at a context, its outputs multiplied; it keeps its order, which the inverse follows."""

    def outputs(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = network(x, context)
        return found if strength is None else tuple(strength * output for output in found)

    outputs.permutation = network.permutation
    return outputs
