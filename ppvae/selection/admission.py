"""Latents are let in one after another, for several that come in together share what one could tell."""

from dataclasses import dataclass

import numpy as np

from ppvae.selection.ports import Ports

__all__ = ["Admission", "admitted"]

IN = 0.1  # nats of KL above which a latent says something
DOWN = 0.1  # of its location and its columns is left to a latent that has to wait


def admitted(kl: np.ndarray, epochs_per_level: int, places: int) -> set[int]:
    """The latents that are let in after epochs with such KLs (epoch, latent): at each level at most ``places`` of those
    above 0.1 nats that were not, the largest first; one that falls below that is out again.
    """
    into: set[int] = set()
    free = places
    for epoch, row in enumerate(kl):
        free = places if epoch % epochs_per_level == 0 else free
        into = {latent for latent in into if row[latent] > IN}
        waiting = [int(latent) for latent in np.argsort(-row, kind="stable") if row[latent] > IN and latent not in into]
        into |= set(waiting[:free])
        free -= len(waiting[:free])
    return into


@dataclass(frozen=True)
class Admission:
    """Turns down the latents that have to wait, after each epoch; what was let in is read off the history, so that a
    run that is resumed goes on as it would have."""

    ports: Ports
    epochs_per_level: int
    places: int

    def __call__(self, kl: np.ndarray) -> None:
        """KLs of all epochs so far, (epoch, latent)."""
        into = admitted(kl, self.epochs_per_level, self.places)
        for latent in np.flatnonzero(kl[-1] > IN):
            if latent not in into:
                self.ports.turn_down(int(latent), DOWN)
