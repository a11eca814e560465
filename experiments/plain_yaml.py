"""YAML that anybody may have written: small, flat enough, without aliases, and of plain values alone."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader  # what OmegaConf itself takes for a number, so that both read one value

from ppvae import UserError
from ppvae.errors import one_line
from ppvae.ordinary import open_ordinary

__all__ = ["read_plain_yaml"]

MOST_BYTES = 2**17  # a configuration of ours has 4 000
DEEPEST = 24


def read_plain_yaml(path: Path, *, empty: bool = False) -> tuple[dict[str, Any], str]:
    """The mapping that a file holds, and its text.

    Errors: :class:`~ppvae.UserError`, one line that names the file, for one that is not there, is no ordinary file,
    is longer than 128 KiB or no UTF-8, or holds anything but a mapping of plain values: no alias, which may repeat
    another part of the file without end, no tag, nothing nested more than 24 deep. ``empty``: whether it may be so.
    """
    try:
        with open_ordinary(path, MOST_BYTES) as file:
            text = file.read(MOST_BYTES).decode("utf-8-sig")
        found = yaml.load(text, Loader=_Plain)
        if found is None and empty:
            found = {}
        if not isinstance(found, dict):
            raise ValueError(f"it holds {'nothing' if found is None else type(found).__name__}, expected a mapping")
    except Exception as error:  # a text that nobody meant to write raises anything
        raise UserError(f"{str(path)!r} cannot be read as a configuration ({one_line(error)})") from None
    return found, text


class _Plain(get_yaml_loader()):  # type: ignore[misc]  # OmegaConf makes the class when asked
    """Composes what the text says and nothing that it refers to."""

    deep = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise ValueError(f"line {event.start_mark.line + 1} has an anchor or alias; write the value itself")
        if event.tag is not None:
            raise ValueError(f"line {event.start_mark.line + 1} has the tag {event.tag!r}; write a plain value")
        if self.deep >= DEEPEST:
            raise ValueError(f"line {event.start_mark.line + 1} is nested more than {DEEPEST} deep")
        self.deep += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.deep -= 1
