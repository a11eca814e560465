"""What a configuration's ``${…}`` may do: name another value, as often as the whole stays small."""

import re
from collections.abc import Collection
from typing import Any

__all__ = ["check_references"]

MOST = 10**6  # characters, once every reference is replaced by what it names; a configuration of ours has 10⁴
CHAIN = 100  # parts and references between a value and the last thing it refers to

NAME = r"[^\W\d]\w*(?:\.\w+)*"
PLAIN = re.compile(r"\$\{\s*(\.*)([\w.\-/\[\]]*)\s*\}")
SELECTED = re.compile(rf"\$\{{\s*oc\.select\s*:\s*({NAME})\s*(?=[,}}])")
EITHER = re.compile(r"\$\{\s*or\s*:")
STRUCTURE = re.compile(r"(?<!\$)[{\[]")

type Path = tuple[str, ...]


def check_references(content: dict[str, Any], given: Collection[str] = ()) -> None:
    """ValueError for a value that reads more than this configuration, or that grows past bounds.

    ``${a.b}``, ``${.b}``, ``${or:…}`` and ``${oc.select:…}`` are what our own configurations have; ``${oc.env:…}``
    and the like would let a file read the environment of whoever loads it. Those among ``given`` are let through.
    """
    _Sizes(content, given).of(())


class _Sizes:
    """How long each part of a configuration is, references replaced."""

    def __init__(self, content: dict[str, Any], given: Collection[str]) -> None:
        self.content, self.given = _keyed(content), given
        self.known: dict[Path, int] = {}
        self.open: set[Path] = set()

    def of(self, path: Path) -> int:
        if path in self.open:
            raise ValueError(f"{'.'.join(path)} refers to itself")
        if len(self.open) > CHAIN:
            raise ValueError(f"{'.'.join(path)} is more than {CHAIN} references away")
        if path not in self.known:
            self.open.add(path)
            self.known[path] = self._counted(path, self._at(path))
            self.open.remove(path)
            if self.known[path] > MOST:
                raise ValueError(f"{'.'.join(path) or 'it'} grows to more than {MOST} characters by its references")
        return self.known[path]

    def _counted(self, path: Path, value: Any) -> int:
        if isinstance(value, dict):
            return 1 + sum(len(key) + self.of((*path, key)) for key in value)
        return 1 + (len(value) + self._referred(path, value) if isinstance(value, str) else 0)

    def _referred(self, path: Path, text: str) -> int:
        """Size of all that a string refers to."""
        size, start = 0, text.find("${")
        while start >= 0:
            if plain := PLAIN.match(text, start):
                size += self.of(self._followed(self._target(path, *plain.groups())))
            elif selected := SELECTED.match(text, start):
                size += self.of(self._followed(self._target(path, "", selected.group(1))))
            elif not EITHER.match(text, start) and text not in self.given:
                raise ValueError(f"{'.'.join(path)}={text!r} reads more than the configuration; write the value itself")
            if not plain and STRUCTURE.search(text, start) and text not in self.given:
                raise ValueError(f"{'.'.join(path)}={text!r} makes a structure; write it out")
            start = text.find("${", start + 2)
        return size

    def _target(self, path: Path, dots: str, name: str) -> Path:
        base = path[: max(0, len(path) - len(dots))] if dots else ()
        return (*base, *(part for part in re.split(r"[.\[\]]", name) if part))

    def _followed(self, path: Path) -> Path:
        """Where references on the way to a path lead; OmegaConf itself tells of what is not there."""
        for _ in range(CHAIN):
            for length in range(1, len(path)):
                value = self._at(path[:length])
                if isinstance(value, str) and "${" in value:
                    further = PLAIN.fullmatch(value)
                    if further is None:
                        raise ValueError(f"{'.'.join(path)} is a part of {value!r}; write the value itself")
                    path = (*self._target(path[:length], *further.groups()), *path[length:])
                    break
            else:
                return path
        raise ValueError(f"{'.'.join(path)} refers to itself")

    def _at(self, path: Path) -> Any:
        value: Any = self.content
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value


def _keyed(value: Any) -> Any:
    """With strings for keys, lists' positions too."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return value
    keyed = {str(key): _keyed(child) for key, child in value.items()}
    if len(keyed) < len(value):
        raise ValueError(f"of the keys {', '.join(map(str, list(value)[:8]))} two are the same")
    return keyed
