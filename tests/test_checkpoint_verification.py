"""`verify` in a process of its own: what it says, and that nothing which a file does to that process reaches ours."""

import json
from pathlib import Path

import h5py
import pytest
import torch
from click.testing import CliRunner

import checkpoints
from checkpoints import child_process
from pipelines.cli import main
from pretrain.baselines import scratch_network
from pretrain.exceptions import CheckpointError, FormatVersionError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    network = scratch_network("relu", 7, (5, 3), 2, generator=torch.Generator().manual_seed(3))
    checkpoints.save(network, tmp_path / "net.h5")
    return tmp_path / "net.h5"


def test_the_command_says_intact_or_names_the_place(path: Path) -> None:
    done = CliRunner().invoke(main, ["verify", str(path), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output) == {"path": str(path), **checkpoints.verify(path)}
    with h5py.File(path, "r+") as file:
        file["network/head/bias"][1] = 3
    with pytest.raises(CheckpointError, match="/network/head/bias does not have the digest") as caught:
        checkpoints.verify(path)
    done = CliRunner().invoke(main, ["verify", str(path)])
    assert (done.exit_code, done.output) == (2, f"Error: {caught.value}\n")


def test_a_child_raises_what_this_process_would(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path.parent / "checkpoints").mkdir()  # a stray folder of the package's name
    monkeypatch.chdir(path.parent)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 9
    with pytest.raises(FormatVersionError, match="in version 9"):
        checkpoints.verify(path.name, isolated=True)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -SEGV $$", r"ended the process that did so \(SIGSEGV\). Do not trust this file"),
        ("sleep 60", "took more than 0 s. Do not trust this file"),
        ("echo no such module >&2; exit 1", "could not be verified: no such module"),
    ],
)
def test_a_crash_and_a_hang_are_errors(
    path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    interpreter = path.with_name("python")
    interpreter.write_text(f"#!/bin/sh\n{script}\n")
    interpreter.chmod(0o700)
    monkeypatch.setattr(child_process.sys, "executable", str(interpreter))
    monkeypatch.setattr(child_process, "_START_SECONDS", 0.4)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.verify(path, isolated=True)
