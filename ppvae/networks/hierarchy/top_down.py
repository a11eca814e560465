"""The way down: one network that the prior walks, and the guide too."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import elu, interpolate

from ppvae.described import Described
from ppvae.errors import check_whole
from ppvae.networks.hierarchy.cells import cells_of, stacked
from ppvae.networks.hierarchy.scales import Scale, read_hierarchy, widths_of

__all__ = ["Draw", "Growing", "TopDown", "on_maps", "small_head"]

type Draw = Callable[[int, torch.Tensor, tuple[torch.Tensor, torch.Tensor]], torch.Tensor]
"""(group, features before it, the prior's raw location and scale) → latents of the group."""

START = 0.01  # standard deviation of a head's weights: scales multiply from group to group


def on_maps(network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """A network of (n, C, H, W) on (..., C, H, W)."""
    found = network(x.reshape(-1, *x.shape[-3:]))
    return found.reshape(*x.shape[:-3], *found.shape[-3:])


def small_head(features: int, maps: int, kernel: int = 1) -> nn.Conv2d:
    """A convolution whose output starts near zero."""
    head = nn.Conv2d(features, maps, kernel, padding=kernel // 2)
    nn.init.normal_(head.weight, std=START)
    nn.init.zeros_(head.bias)
    return head


class Growing(nn.Module):
    """To maps ``factor`` times as large, of other channels: a 1 × 1 convolution, then each place repeated."""

    def __init__(self, entering: int, leaving: int, factor: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(entering, leaving, 1)
        self.factor = float(factor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return interpolate(self.convolution(x), scale_factor=self.factor)


class TopDown(Described, nn.Module):
    """From a learnt constant down through the groups of a hierarchy, z_1 … z_L, to the features of the last.

    ``hierarchy``: as :func:`read_hierarchy` takes it. At the finest scale ``channels`` features, ``widening`` times as
    many for each halving above it; each group has ``latents`` maps and, but for the first, ``cells`` cells before it;
    as many follow the last. ``cell``: nvae, residual or vdvae.

    ``walk(draw)`` asks ``draw(group, features, raw)`` for the latents of each group, with unbounded numbers for the
    location and scale of p(z_l | z_<l); those of the first group are zeros, which stand for N(0, I). A prior and a
    guide that walk it get the same numbers for the same latents, so that a captured step has every layer of it once.

    ``group_shapes``: (channels, rows, columns) of the features of each group.
    Shapes: latents of group l (..., ``latents``, rows, columns) with any leading dims, those of the first group;
    features (..., *``map_shape``).
    Errors: :class:`~ppvae.errors.UserError` for a wrong hierarchy, an unknown cell, or sizes out of range.
    Source: Vahdat and Kautz 2020 (NVAE), Fig. 2 (b) and Sec. 3.1.
    """

    def __init__(
        self,
        hierarchy: str,
        *,
        channels: int = 32,
        latents: int = 8,
        cells: int = 1,
        cell: str = "nvae",
        widening: int = 2,
    ) -> None:
        super().__init__()
        check_whole("latents", latents, 1)
        make, _ = cells_of(cell)
        self.scales = read_hierarchy(hierarchy)
        self.widths = widths_of(self.scales, channels, widening)
        self.latents = latents
        self.groups: list[Scale] = [scale for scale in self.scales for _ in range(scale.groups)]
        widths = [width for width, scale in zip(self.widths, self.scales, strict=True) for _ in range(scale.groups)]
        self.group_shapes = tuple((width, *scale[:2]) for width, scale in zip(widths, self.groups, strict=True))
        top = self.groups[0]
        self.map_shape = self.group_shapes[-1]
        self.constant = nn.Parameter(torch.randn(widths[0], top.rows, top.columns))
        self.growing, self.entering, self.heads = nn.ModuleDict(), nn.ModuleList(), nn.ModuleList()
        for group in range(1, len(widths)):
            factor = self.groups[group].rows // self.groups[group - 1].rows
            if factor > 1:
                self.growing[str(group)] = Growing(widths[group - 1], widths[group], factor)
            self.entering.append(stacked(make, widths[group], cells))
            self.heads.append(small_head(widths[group], 2 * latents))
        self.taking = nn.ModuleList(nn.Conv2d(width + latents, width, 1) for width in widths)
        self.leaving = stacked(make, widths[-1], cells)

    def walk(self, draw: Draw) -> torch.Tensor:
        """Features after the last group, all of whose latents ``draw`` gives."""
        features = self.constant
        for group in range(len(self.groups)):
            if group:
                features = on_maps(lambda x, group=group: self.enter(group, x), features)
            z = draw(group, features, self.raw_prior(group, features))
            features = on_maps(self.taking[group], torch.cat([features.expand(*z.shape[:-3], -1, -1, -1), z], -3))
        return on_maps(self.leaving, features)

    def enter(self, group: int, features: torch.Tensor) -> torch.Tensor:
        """Features of the group before → those that this group's latents are drawn given, (n, C, H, W)."""
        if str(group) in self.growing:
            features = self.growing[str(group)](features)
        return self.entering[group - 1](features)

    def raw_prior(self, group: int, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw location and scale of p(z_l | z_<l), (..., latents, rows, columns) each; zeros for the first group."""
        if group == 0:
            zeros = features.new_zeros(self.latents, *features.shape[-2:])
            return zeros, zeros
        head = self.heads[group - 1]
        return on_maps(lambda x: head(elu(x)), features).chunk(2, -3)
