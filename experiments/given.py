"""What a user's own configuration says, against which files are held."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

__all__ = ["Given"]


@dataclass(frozen=True)
class Given:
    """What a user's own configuration says: every string of it, and the names that `allow` begins."""

    strings: Collection[str] = frozenset()
    allowed: tuple[str, ...] = ()

    @classmethod
    def by(cls, configuration: DictConfig) -> "Given":
        """The configuration's own, composed from our folder and a command line."""
        content = OmegaConf.to_container(configuration, resolve=False)
        allowed = content.get("allow") or ()
        return cls(frozenset(_strings(content)), (allowed,) if isinstance(allowed, str) else tuple(map(str, allowed)))

    def __contains__(self, name: str) -> bool:
        return name in self.strings or any(f"{name}.".startswith(f"{prefix}.") for prefix in self.allowed)


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)
            if isinstance(value, str) and "=" in value:
                yield value.partition("=")[2]  # of an override, as a study gives its models
    elif isinstance(node, str):
        yield node
