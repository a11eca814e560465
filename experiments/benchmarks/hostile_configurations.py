"""Configurations that would run a program, read the environment, grow without end or hold up whoever reads them."""

import os
from collections.abc import Callable
from pathlib import Path

from omegaconf import OmegaConf

from ..configuration_files import GROUPS, load_configuration
from ..configuration_folders import check_configuration_folders
from .hostile_nodes import NODES

__all__ = ["CONFIGURATIONS", "FOLDERS", "load_folder", "load_run"]

SOUND = "".join(f"{group}: {{}}\n" for group in GROUPS)
LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 30))
GROWING = "".join(f"k{k}: '${{k{k + 1}}}${{k{k + 1}}}'\n" for k in range(60)) + "k60: ha\n"


def _text(text: str | bytes) -> Callable[[Path], object]:
    content = text if isinstance(text, bytes) else (SOUND + text).encode()
    return lambda path: (path / "config.yaml").write_bytes(content)


def _node(make: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda path: make(path / "config.yaml")


CONFIGURATIONS: dict[str, Callable[[Path], object]] = {
    **{f"it is {name}": _node(make) for name, make in NODES.items()},
    "empty": _text(b""),
    "random bytes": _text(os.urandom(4096)),
    "no UTF-8": _text(SOUND.encode() + b"name: caf\xe9\n"),
    "a list": _text(b"- 1\n- 2\n"),
    "no group of a run": _text(b"seed: 0\n"),
    "aliases, 9^29 values": _text(LAUGHS),
    "10^5 brackets": _text("x: " + "[" * 100_000),
    "a number of 10^5 digits": _text("x: " + "9" * 100_000),
    "a Python object": _text("x: !!python/object/apply:os.system [touch owned]\n"),
    "_target_: os.system": _text("x: {_target_: os.system, command: touch owned}\n"),
    "_target_: builtins.eval": _text("x: {_target_: builtins.eval, _args_: ['1']}\n"),
    "_target_ through our module": _text("x: {_target_: ppvae.files.os.system, command: touch owned}\n"),
    "_target_ through torch": _text("x: {_target_: torch.hub.load, repo_or_dir: x}\n"),
    "_target_ by reference": _text("x: {_target_: '${y}'}\ny: os.system\n"),
    "job: os.system": _text("job: os.system\n"),
    "an override in a list": _text("models: {a: ['guide._target_=os.system']}\n"),
    "the environment": _text("name: ${oc.env:HOME}\n"),
    "the environment, nested": _text("name: ${or:${oc.env:HOME},x}\n"),
    "a structure computed": _text("x: '${oc.decode:\"{_target_: os.system}\"}'\n"),
    "references, 2^60 values": _text(GROWING),
    "a reference to itself": _text("x: {y: '${x}'}\n"),
}


def _file(name: str, text: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# @package _global_\n{text}")

    return make


def _circle(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).symlink_to(folder)
    _file("data/x.yaml", "guide: {_target_: os.system}\n")(folder)


FOLDERS: dict[str, Callable[[Path], object]] = {
    "a callback of Hydra's": _file("experiment/x.yaml", "hydra: {callbacks: {x: {_target_: os.system}}}\n"),
    "a launcher of Hydra's": _file("hydra/launcher/x.yaml", "_target_: os.system\n"),
    "an output folder": _file("experiment/x.yaml", "name: ../../x\n"),
    "whom to trust": _file("experiment/x.yaml", "allow: [os]\nguide: {_target_: os.system}\n"),
    "a file elsewhere": _file("experiment/x.yaml", "defaults: [../../x]\n"),
    "links in a circle": _circle,
}


def load_run(folder: Path) -> object:
    """As a run that is resumed, shown or repeated."""
    return load_configuration(folder / "config.yaml", OmegaConf.create({"allow": []}))


def load_folder(folder: Path) -> None:
    """As `--config-dir`."""
    check_configuration_folders(["--config-dir", str(folder)])
