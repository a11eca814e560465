"""Latents are let in one after another, for several that come in together share what one could tell."""

from dataclasses import dataclass

import numpy as np

from ppvae.selection.ports import Ports

__all__ = ["Admission", "admitted"]

IN = 0.1  # nats of KL above which a latent says something
DOWN = 0.1  # of its location and its columns is left to a latent that has to wait


def admitted(kl: np.ndarray, epochs_per_level: int, pause: int) -> tuple[set[int], set[int]]:
    """The latents that are let in, and those that wait, after epochs with such KLs (epoch, latent).

    One of those above 0.1 nats is let in, the largest, then none in the ``pause`` levels that follow, for it to take
    all that it can tell; one that falls below is out again.
    """
    into: set[int] = set()
    closed = 0  # the level up to which nobody is let in
    waiting: list[int] = []
    for epoch, row in enumerate(kl):
        level = epoch // epochs_per_level + 1
        into = {latent for latent in into if row[latent] > IN}
        waiting = [int(latent) for latent in np.argsort(-row, kind="stable") if row[latent] > IN and latent not in into]
        if waiting and level > closed:
            into.add(waiting.pop(0))
            closed = level + pause
    return into, set(waiting)


@dataclass(frozen=True)
class Admission:
    """Turns down the latents that have to wait, after each epoch; what was let in is read off the history, so that a
    run that is resumed goes on as it would have."""

    ports: Ports
    epochs_per_level: int
    pause: int

    def __call__(self, kl: np.ndarray) -> tuple[set[int], set[int]]:
        """Who is in and who waits, by the KLs of all epochs so far, (epoch, latent)."""
        into, waiting = admitted(kl, self.epochs_per_level, self.pause)
        for latent in waiting:
            self.ports.turn_down(latent, DOWN)
        return into, waiting
