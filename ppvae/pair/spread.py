"""Sites that all images share, counted once over a data set of which each step sees a batch."""

from typing import Any

from pyro.poutine.messenger import Messenger

from ppvae.errors import check_whole

__all__ = ["spread"]


def spread(batch: int, images: int) -> Messenger:
    """Inside, what is sampled outside the plate of images weighs batch / images: once over a data set of ``images``.

    :func:`~ppvae.fit` does so itself. In a script of Pyro's own it stands around the step, which else takes the batch
    for the data set: ``with spread(len(batch), len(images)): svi.step(batch)``.
    """
    check_whole("batch", batch, 1)
    check_whole("images", images, 1)
    return _Spread(batch / images)


class _Spread(Messenger):
    """Puts the sites that no plate at dim −1 holds under a scale."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self.part = part

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if self.part != 1 and not any(frame.vectorized and frame.dim == -1 for frame in msg["cond_indep_stack"]):
            msg["scale"] = msg["scale"] * self.part
