"""One latent at a time is let in where the others that are out stay shut."""

from dataclasses import dataclass, field

import numpy as np

from ppvae.pair.program import Data
from ppvae.selection.ports import Ports

__all__ = ["Offers"]

IN = 0.1  # nats of KL above which a latent says something
GROWING = 0.01  # above which it is on its way


@dataclass
class Offers:
    """Which latent a level of a path offers; the parameters of a pair say the rest, so that a run can be resumed."""

    ports: Ports
    latents: int
    images: Data
    seed: int
    offered: int | None = None
    grows: bool = False
    into: set[int] = field(default_factory=set)

    def begin(self) -> None:
        """Before the first level: all are shut but the one that it offers."""
        for latent in range(self.latents):
            self.ports.shut(latent)
        self.next(0)

    def settle(self, kl: np.ndarray) -> None:
        """After an epoch of such KLs (latent): what is out is shut, but for what is offered."""
        self.into = {int(latent) for latent in np.flatnonzero(kl > IN)}
        self.grows = self.offered is not None and bool(kl[self.offered] > GROWING)
        for latent in range(self.latents):
            if latent not in self.into and latent != self.offered:
                self.ports.shut(latent)

    def next(self, level: int) -> None:
        """What this level offers: the first latent that is out, with new weights unless it was growing already."""
        out = [latent for latent in range(self.latents) if latent not in self.into]
        if self.offered in out and self.grows:
            return
        self.offered = out[0] if out else None
        if self.offered is not None:
            self.ports.open(self.offered, sorted(self.into), self.images, self.seed + 1000 * level)
