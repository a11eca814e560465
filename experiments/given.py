"""What a user's own configuration says, against which files are held."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

__all__ = ["Given", "entries"]


@dataclass(frozen=True)
class Given:
    """What a user's own configuration says: its values, each with its key, and the names that `allow` begins."""

    entries: Collection[tuple[str, str]] = frozenset()
    allowed: tuple[str, ...] = ()

    @classmethod
    def by(cls, configuration: DictConfig) -> "Given":
        """The configuration's own, composed from our folder and a command line."""
        content: Any = OmegaConf.to_container(configuration, resolve=False)
        allowed = content.get("allow") or ()
        return cls(frozenset(entries(content)), (allowed,) if isinstance(allowed, str) else tuple(map(str, allowed)))

    @property
    def strings(self) -> frozenset[str]:
        return frozenset(value for _, value in self.entries)

    def allows(self, key: str, name: str) -> bool:
        """Whether the user names it as such a thing, a `_target_` or a job, or allows what it begins with."""
        return (key, name) in self.entries or any(f"{name}.".startswith(f"{prefix}.") for prefix in self.allowed)


def entries(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string with the last part of its key; of an override in a list, as a study gives its models, both parts."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from entries(value, str(name).rpartition(".")[2])
    elif isinstance(node, list):
        for value in node:
            yield from entries(value, key)
            if isinstance(value, str) and "=" in value:
                name, _, given = value.partition("=")
                yield name.lstrip("+~").rpartition(".")[2], given
    elif isinstance(node, str):
        yield key, node
