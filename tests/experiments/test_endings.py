"""How a command line ends."""

import errno
import os

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from experiments.endings import ended_in_one_line, line_of
from ppvae.errors import Interrupted, UserError


def ended(capsys, error: BaseException) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end, ended_in_one_line():
        raise error
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("latents=0: expected more"), "error: latents=0: expected more\n"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/a"), "error: runs/a cannot be written: permission"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "runs/a"), "error: runs/a: No such file"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "lower trainer.batch_size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed"), "the disk may be full"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_code_2(capsys, error, line):
    code, said = ended(capsys, error)
    assert code == 2
    assert line in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("code", [130, 143])
def test_a_signal_is_one_line_and_its_code(capsys, monkeypatch, code):
    monkeypatch.setattr("experiments.endings.ignore_signals", lambda: None)
    assert ended(capsys, Interrupted("saved step 7", code)) == (code, "saved step 7\n")


def test_a_programs_own_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), ended_in_one_line():
        raise ZeroDivisionError
    assert line_of(KeyError("a")) is None


def test_a_part_that_fails_is_told_by_its_key():
    settings = {"prior": {"_target_": "torch.nn.Linear", "in_features": -1, "out_features": 2}}
    with pytest.raises(InstantiationException) as raised:
        instantiate(settings)
    line = line_of(raised.value)
    assert line.startswith("prior: torch.nn.modules.linear.Linear: RuntimeError: Trying to create tensor with negative")
    with pytest.raises(InstantiationException) as raised:
        instantiate({"prior": {"_target_": "nowhere.Prior"}})
    assert line_of(raised.value).startswith("prior: nowhere.Prior: ImportError: Error loading")


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("PPVAE_TRACEBACK", "1")
    with pytest.raises(UserError), ended_in_one_line():
        raise UserError("wrong")
