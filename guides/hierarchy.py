"""Guides of a deep hierarchy, on the model's own way down."""

import abc

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.nn.functional import elu, logsigmoid

from ppvae.distributions import RasterFlow
from ppvae.errors import UserError, check_whole
from ppvae.networks.hierarchy import BottomUp
from ppvae.networks.hierarchy.top_down import on_maps, small_head
from ppvae.pair.program import Program
from ppvae.priors import HierarchyPrior
from ppvae.priors.hierarchy import group_dims

__all__ = ["HierarchyGuide", "LadderGuide"]

type Raw = tuple[torch.Tensor, torch.Tensor]


class _OnTheWayDown(Program, abc.ABC):
    """Walks the prior's way down and draws each group from :meth:`posterior`."""

    def __init__(self, bottom_up: BottomUp, prior: HierarchyPrior) -> None:
        super().__init__()
        if not hasattr(prior, "top_down"):
            raise UserError(
                f"{type(self).__name__} walks down the groups of its prior, {type(prior).__name__} has none: "
                "give prior=hierarchy network=hierarchy, or another guide"
            )
        up, down = getattr(bottom_up, "group_shapes", None), prior.top_down.group_shapes
        if up != down:
            raise UserError(
                f"the way up has groups of shapes {up}, the way down of {down}: give both the same hierarchy, channels "
                "and widening"
            )
        self.bottom_up, self.prior = bottom_up, prior

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.bottom_up(images)
        with pyro.plate("image", images.shape[-4], dim=-1):
            return self.prior.top_down.walk(lambda group, *down: self._drawn(group, seen[group], *down))

    def _drawn(self, group: int, seen: torch.Tensor, features: torch.Tensor, raw: Raw) -> torch.Tensor:
        fn = self.posterior(group, seen, features, raw)
        return pyro.sample(f"z_{group + 1}", fn, infer={"event_dims": group_dims(group + 1)})

    @abc.abstractmethod
    def posterior(self, group: int, seen: torch.Tensor, features: torch.Tensor, raw: Raw) -> dist.TorchDistribution:
        """q(z_l | z_<l, x) from what the image says, the features on the way down and the prior's raw numbers.

        Shapes: seen and features (..., *``group_shapes[group]``); event shape (latents, rows, columns).
        """


class HierarchyGuide(_OnTheWayDown):
    """q(z_1 | x) Π_l q(z_l | z_1 … z_l−1, x), each a normal relative to the prior's: N(μ + Δμ, (σ·Δσ)²).

    μ and σ are those of p(z_l | z_<l), from the way down of ``prior``, which model and guide share; Δμ and Δσ are read
    off the image's features at that group, by ``bottom_up``, and those on the way down. Their heads start near zero,
    so that q ≈ p at first. With ``flows`` so many pairs of steps of a :class:`~ppvae.distributions.RasterFlow` follow
    in each group, whose KL is then sampled as a whole.

    Shapes: images (image, C, H, W); sites ``z_1`` … ``z_L``, (image, latent_l, row_l, column_l) each.
    Errors: :class:`~ppvae.errors.UserError` for a prior without groups, two ways of unlike groups, or
    negative flows.
    Source: Vahdat and Kautz 2020 (NVAE), Sec. 3.2, Eq. 2.
    """

    def __init__(self, bottom_up: BottomUp, prior: HierarchyPrior, *, flows: int = 0) -> None:
        super().__init__(bottom_up, prior)
        check_whole("flows", flows, 0)
        shapes, latents = prior.top_down.group_shapes, prior.top_down.latents
        self.joining = nn.ModuleList(nn.Conv2d(width, width, 1) for width, *_ in shapes)
        self.heads = nn.ModuleList(small_head(width, 2 * latents, 3) for width, *_ in shapes)
        self.steps = nn.ModuleList(RasterFlow((latents, *places), width, flows) for width, *places in shapes if flows)

    def posterior(self, group: int, seen: torch.Tensor, features: torch.Tensor, raw: Raw) -> dist.TorchDistribution:
        joined = seen + on_maps(self.joining[group], features)
        residual = on_maps(lambda x: self.heads[group](elu(x)), joined).chunk(2, -3)
        normal = self.prior.normals.posterior(raw, residual).to_event(3)
        if not len(self.steps):
            return normal
        return dist.TransformedDistribution(normal, self.steps[group].transforms(joined))


class LadderGuide(_OnTheWayDown):
    """The ladder VAE's: q(z_l | z_<l, x) ∝ p(z_l | z_<l) · N(z_l; μ̂(x), σ̂(x)²), precisions added.

    What the image says, μ̂ and σ̂, does not see the way down: σ_q⁻² = σ⁻² + σ̂⁻² and μ_q = σ_q² (μ σ⁻² + μ̂ σ̂⁻²), so
    that the posterior is never wider than the prior. Arguments, sites, shapes and errors as of :class:`HierarchyGuide`.
    Source: Sønderby et al. 2016, "Ladder variational autoencoders", Eqs. 10 to 12.
    """

    def __init__(self, bottom_up: BottomUp, prior: HierarchyPrior) -> None:
        super().__init__(bottom_up, prior)
        latents = prior.top_down.latents
        self.heads = nn.ModuleList(small_head(width, 2 * latents, 3) for width, *_ in prior.top_down.group_shapes)

    def posterior(self, group: int, seen: torch.Tensor, features: torch.Tensor, raw: Raw) -> dist.TorchDistribution:
        del features
        normals, said = self.prior.normals, on_maps(lambda x: self.heads[group](elu(x)), seen).chunk(2, -3)
        p, further = normals.prior(raw), 2 * (normals.log_scale(said[1]) - normals.log_scale(raw[1]))
        share, narrowing = (-further).sigmoid(), (0.5 * logsigmoid(further)).exp()  # finite, whatever the scales
        return dist.Normal(p.loc + share * (normals.prior(said).loc - p.loc), p.scale * narrowing).to_event(3)
