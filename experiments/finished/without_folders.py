"""What an export says of how the run was made, without the folders in which its data lay."""

import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["configuration_without_folders", "record_without_folders"]

TOLD = ("command", "seed", "commit", "torch", "pyro-ppl", "python", "start")  # of a run's record
FILES = ("path", "root", "table", "digits")  # of a data set: their last part says which it was
LEFT_OUT = ("cache", "resume", "rerun")  # where something was kept, which nobody else has


def configuration_without_folders(node: Any, key: str = "") -> Any:
    """The content of a ``config.yaml`` with the last part alone of files and folders, by key or by how they begin."""
    match node:
        case dict():
            return {name: configuration_without_folders(value, str(name)) for name, value in node.items()}
        case list():
            return [configuration_without_folders(value, key) for value in node]
        case str() if key in LEFT_OUT:
            return None
        case str() if key in FILES or node.startswith(("/", "\\", "~", "./", "../")) or node[1:3] in (":\\", ":/"):
            return _last(node)
    return node


def record_without_folders(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a run's record; of every path in its command the last part alone."""
    told = {name: record[name] for name in TOLD if name in record}
    if "command" in told:
        told["command"] = shlex.join(map(_word, shlex.split(str(told["command"]))))
    return told


def _word(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals:
        return _last(word)
    if value[:1] + value[-1:] == "[]":
        return f"{key}=[{','.join(map(_last, value[1:-1].split(',')))}]"
    return f"{key}={_last(value)}"


def _last(path: str) -> str:
    """Of a path; what is none is left as it is."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] if {"/", "\\"} & set(path) else path
