"""What an objective changes from step to step, where the graph reads it."""

import torch

from ppvae.objectives import Objective

__all__ = ["Numbers"]


class Numbers:
    """The objective's numbers of a step as a tensor on the device, made anew only when they change."""

    def __init__(self, objective: Objective, device: torch.device) -> None:
        self.objective = objective
        self.device = device
        self.values: tuple[float, ...] | None = None

    def __call__(self, step: int) -> torch.Tensor:
        values = self.objective.numbers(step)
        if values != self.values:
            self.values = values
            self.tensor = torch.tensor(values, device=self.device)
        return self.tensor
