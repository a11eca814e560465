"""What has levels and is chosen, not moved: a label, a cluster, or the image that a conditional pair is given."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..finished import FinishedRun

__all__ = ["Choice"]


@dataclass(frozen=True, eq=False)
class Choice:
    """``options`` (level, *event dims): the values; ``names``: how they are called; ``own`` (image,): the level of each
    image, −1 where it has none of them; ``title``: what is chosen."""

    title: str
    options: Tensor
    names: tuple[str, ...]
    own: tuple[int, ...]

    @classmethod
    def of_site(
        cls, site: str, distribution: Distribution, values: Tensor, names: Sequence[str] = ()
    ) -> "Choice | None":
        """Of a discrete site whose values (image, *event dims) can be listed; None where they are too many to."""
        try:
            options = distribution.enumerate_support(expand=False)
        except NotImplementedError:  # of many entries, each on or off
            return None
        options = options.reshape(len(options), *distribution.event_shape)
        names = names if len(names) == len(options) else list(map(str, range(len(options))))
        return cls(site, options, tuple(names), _levels(values, options))

    @classmethod
    def of_given(cls, run: FinishedRun, given: Tensor, count: int) -> "Choice":
        """Of a conditional pair's condition: its levels, or what the first ``count`` images are given."""
        condition = run.configuration.condition
        if condition.get("transformation") is not None:
            names = tuple(f"of image {image}" for image in range(count))
            return cls(f"given {condition.input}", given[:count], names, tuple(range(count)))
        options = torch.arange(int(condition.levels))
        names = tuple(map(str, run.level_names)) or tuple(map(str, options.tolist()))
        return cls(f"given {condition.input}", options, names, _levels(given, options))

    def other(self, value: Tensor) -> Tensor:
        """A level that is not this one: (1, *event dims)."""
        first, second = self.options[:1], self.options[-1:]
        return second if torch.equal(first.to(value.dtype), value) else first


def _levels(values: Tensor, options: Tensor) -> tuple[int, ...]:
    """Which of the options each value is."""
    same = (values[:, None].to(options.dtype) == options).reshape(len(values), len(options), -1).all(-1)
    return tuple(torch.where(same.any(1), same.int().argmax(1), -1).tolist())
