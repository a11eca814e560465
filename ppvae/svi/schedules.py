"""From which step on nothing changes by a schedule: before it no epoch is judged."""

from torch import nn

from ppvae.objectives import Objective

__all__ = ["settled"]


def settled(objective: Objective, *modules: nn.Module, warmup: int = 0) -> int:
    """The step from which the objective's numbers, what the modules delay or anneal, and the rate's warm-up are over.

    A module says so by an attribute ``settles``, a number of training steps, as the priors' and guides' do.
    """
    parts = [part for module in modules for part in module.modules()]
    return max(objective.settles, warmup, *(getattr(part, "settles", 0) for part in parts), 0)
