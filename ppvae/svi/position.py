"""Where a run is: its history, what the stopping rule remembers, and the epoch under way."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from ppvae.svi.history import History
from ppvae.svi.stopping import StoppingRule

__all__ = ["Position"]


@dataclass
class Position:
    """All that a step needs of the past but the pair and its optimiser.

    ``taken`` steps of the current epoch are done, in ``seconds``; ``total`` is the sum of what they measured and
    ``losses`` has the loss of each (steps of an epoch,). ``drops`` of the learning rate so far; epochs before
    ``stable_from`` no longer count for the stopping rule; ``finished`` once it ended the run. ``checked``: what the
    last validation found.
    """

    history: History
    losses: torch.Tensor
    stable_from: int = 0
    drops: int = 0
    finished: bool = False
    checked: dict[str, float] = field(default_factory=dict)
    taken: int = 0
    total: Any = 0
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """The epoch under way, the first is 1."""
        return len(self.history) + 1

    def count(self, values: torch.Tensor) -> None:
        """A step measured ``values``, its loss first."""
        self.losses[self.taken] = values[0]
        self.taken += 1

    def new_epoch(self) -> None:
        self.taken, self.total, self.seconds = 0, 0, 0.0
        self.losses.fill_(math.nan)

    def first_broken_step(self) -> int | None:
        """The first step of this epoch whose loss is not finite, counted from 1; looks at the device."""
        broken = (~self.losses[: self.taken].isfinite()).nonzero()
        return int(broken[0]) + 1 if len(broken) else None

    def judged(self, rule: StoppingRule) -> bool:
        """Whether the rule says so of the epochs since its last word."""
        return rule.reached(self.history.rows[rule.watches][self.stable_from :])

    def state(self, total: Any) -> dict[str, Any]:
        """For a checkpoint; ``total``: the mean over processes of theirs."""
        return {
            "history": self.history.state(),
            "stopping": {"drops": self.drops, "stable_from": self.stable_from, "finished": self.finished},
            "progress": {
                "taken": self.taken,
                "total": torch.as_tensor(total).clone(),
                "losses": self.losses[: self.taken].clone(),
                "seconds": self.seconds,
            },
        }

    def restore(self, content: dict[str, Any], rule: StoppingRule | None, units: str) -> None:
        """Take up where :meth:`state` left off; a run that another rule had ended goes on."""
        self.history = History.from_state(content["history"], units)
        stopping, progress = content["stopping"], content.get("progress")
        self.drops, self.finished = stopping["drops"], stopping["finished"]
        self.stable_from = max(self.stable_from, stopping["stable_from"])
        self.finished = self.finished and rule is not None and self.judged(rule)
        if progress and progress["taken"]:
            device = self.losses.device
            self.taken, self.seconds = progress["taken"], progress["seconds"]
            self.total = progress["total"].to(device)
            self.losses[: self.taken] = progress["losses"].to(device)
