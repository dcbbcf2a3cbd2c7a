"""Saving is complete or does not happen: what fails raises, leaves the older file and no temporary one."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

import checkpoints
from pretrain.baselines import scratch_network
from pretrain.exceptions import CheckpointError
from pretrain.network import Network
from pretrain.rbm import RBM
from pretrain.stack import Stack


def make_network() -> Network:
    return scratch_network("relu-bn", 7, (5, 3), 2, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoints.save(make_network(), tmp_path / "net.h5")
    return tmp_path / "net.h5"


def test_an_existing_file_needs_overwrite(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"net\.h5: the file exists.*overwrite=True \(--overwrite\)"):
        checkpoints.save(Stack([RBM(3, 2)]), path)
    assert path.read_bytes() == before
    checkpoints.save(Stack([RBM(3, 2)]), str(path), overwrite=True)
    assert checkpoints.describe(path)["kind"] == "stack"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, overwrite: bool) -> None:
    stack = Stack([RBM(3, 2)])
    with pytest.raises(CheckpointError, match="it is a folder"):
        checkpoints.save(stack, tmp_path, overwrite=overwrite)
    with pytest.raises(CheckpointError, match=r"there is no folder .*missing. Create it first"):
        checkpoints.save(stack, tmp_path / "missing" / "m.h5", overwrite=overwrite)
    with pytest.raises(CheckpointError, match="Cannot save to"):
        checkpoints.save(stack, tmp_path / ("x" * 300), overwrite=overwrite)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(28, "No space"), KeyboardInterrupt()]
)
def test_a_failure_leaves_the_old_file_and_no_temporary(
    path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    before = path.read_bytes()
    monkeypatch.setattr(os, function, fail)
    expected = CheckpointError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match=r"denied|disk is full|^$"):
        checkpoints.save(Stack([RBM(3, 2)]), path, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["net.h5"]


@pytest.mark.parametrize("n_before", [0, 1])
def test_arrays_and_the_rest_are_both_synced(path: Path, monkeypatch: pytest.MonkeyPatch, n_before: int) -> None:
    before, left = path.read_bytes(), [n_before]

    def fail_once(_: int) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(CheckpointError, match="Input/output error"):
        checkpoints.save(Stack([RBM(3, 2)]), path, overwrite=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(path: Path, value: float) -> None:
    network, before = make_network(), path.read_bytes()
    network.hidden[1].linear.weight.data[2, 4] = value
    with pytest.raises(CheckpointError, match=r"/network/layers/01/weight must hold finite numbers; 1 of 15"):
        checkpoints.save(network, path, overwrite=True)
    assert path.read_bytes() == before
    with pytest.raises(CheckpointError, match=f"Cannot save to {path.parent}/new.h5: /network/layers/01/weight must"):
        checkpoints.save(network, path.with_name("new.h5"))
    assert os.listdir(path.parent) == ["net.h5"]


def test_what_is_no_model_is_not_saved(tmp_path: Path) -> None:
    for obj in (RBM(3, 2), {}, None, torch.nn.Linear(3, 2)):
        with pytest.raises(
            CheckpointError, match=f"a Network, a DBN, a DBM, a fitted .* or a RunState; got {type(obj).__name__}"
        ):
            checkpoints.save(obj, tmp_path / "m.h5")
    with pytest.raises(CheckpointError, match=r"weight of layer 1 must be float32.*got float64"):
        checkpoints.save(Stack([RBM(3, 2)]).double(), tmp_path / "m.h5")
    assert os.listdir(tmp_path) == []
