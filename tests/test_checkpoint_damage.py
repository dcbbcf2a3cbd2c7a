"""Damaged and hostile files are refused, and the error names the place inside the file that is wrong."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import checkpoints
from checkpoints import reading
from checkpoints.format import FORMAT_VERSION
from pretrain.baselines import scratch_network
from pretrain.exceptions import CheckpointError, FormatVersionError
from pretrain.network import Network


def make_network() -> Network:
    network = scratch_network("relu-bn", 7, (5, 3), 2, generator=torch.Generator().manual_seed(3)).eval()
    network.classes = np.array(["a", "b"])
    return network


@pytest.fixture
def path(tmp_path: Path) -> Path:
    checkpoints.save(make_network(), tmp_path / "net.h5", history=[{"epoch": 1, "loss": 0.5}], provenance={"seed": 1})
    return tmp_path / "net.h5"


def text(value: str) -> Any:
    return np.array(value.encode(), dtype=h5py.string_dtype("utf-8", len(value.encode())))


def replace(file: h5py.File, name: str, data: Any, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, data=data, **options)


# Files that are no checkpoint


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path, path: Path) -> None:
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("weights = 3\n" * 999)
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:-1000])
    (tmp_path / "stub.h5").write_bytes(path.read_bytes()[:100])
    h5py.File(tmp_path / "other.h5", "w").close()
    cases = {
        "none.h5": "there is no such file",
        ".": "it is a folder",
        "empty.h5": "it is not an HDF5 file",
        "text.h5": "it is not an HDF5 file",
        "cut.h5": "damaged or cut short",
        "stub.h5": "damaged or cut short",
        "other.h5": "The file is HDF5, but no checkpoint",
    }
    for name, message in cases.items():
        for function in (checkpoints.load, checkpoints.describe, checkpoints.verify, checkpoints.read_history):
            with pytest.raises(CheckpointError, match=message) as caught:
                function(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)


def test_a_newer_version_says_which_is_needed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = FORMAT_VERSION + 1
        file.create_group("anything")  # is not looked at: the version comes first
    with pytest.raises(FormatVersionError, match=r"in version 4 .*reads up to version 3. Update pretrain"):
        checkpoints.load(path)


# One change to a legal file, and what the error says of it

CHANGES: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "format": (
        lambda f: f.attrs.create("format", text("pickle")),
        "'format' must be 'pretrain-checkpoint'; got 'pickle'",
    ),
    "version": (lambda f: f.attrs.create("format_version", text("1")), "'format_version' must be an integer from 1"),
    "kind": (lambda f: f.attrs.create("kind", text("forest")), "'kind' must be one of stack, .*got 'forest'"),
    "other kind": (lambda f: f.attrs.create("kind", text("stack")), "/ lacks the group 'stack'"),
    "missing digest": (lambda f: f.attrs.__delitem__("digest"), "/ lacks the attribute 'digest'"),
    "missing dataset": (lambda f: f.__delitem__("network/head/bias"), "/network/head lacks the dataset 'bias'"),
    "missing layer": (lambda f: f.__delitem__("network/layers/01"), "/network/layers must hold as many groups"),
    "missing group": (lambda f: f.__delitem__("network/scaling"), "/network lacks the group 'scaling'"),
    "extra dataset": (
        lambda f: f.create_dataset("network/head/x", data=1),
        "/network/head has an unexpected dataset 'x'",
    ),
    "extra group": (lambda f: f.create_group("evil"), "/ has an unexpected group 'evil'"),
    "extra attribute": (lambda f: f["network"].attrs.create("x", 1), "/network has an unexpected attribute 'x'"),
    "dataset attribute": (lambda f: f["network/head/bias"].attrs.create("x", 1), "/network/head/bias has attributes"),
    "kind of layer": (
        lambda f: f["network/layers/00"].attrs.create("kind", text("conv")),
        "/network/layers/00 is of kind 'conv'; expected one of: dense",
    ),
    "kind version": (
        lambda f: f["network"].attrs.create("kind_version", 3),
        "/network is a network in version 3; this program reads versions 1 to 2",
    ),
    "transposed": (
        lambda f: replace(f, "network/layers/00/weight", np.zeros((7, 5), np.float32)),
        r"/network/layers/00/weight must have shape \(5, 7\); got \(7, 5\)",
    ),
    "float64": (
        lambda f: replace(f, "network/layers/00/weight", np.zeros((5, 7))),
        "/network/layers/00/weight must be of type float32; got float64",
    ),
    "big-endian": (
        lambda f: replace(f, "network/head/bias", np.zeros(2, ">f4")),
        "/network/head/bias is of a type that no checkpoint has",
    ),
    "references": (
        lambda f: replace(f, "network/head/bias", f.ref, dtype=h5py.ref_dtype),
        "/network/head/bias is of a type that no checkpoint has",
    ),
    "long text": (
        lambda f: f["network"].attrs.create("config", "{}"),  # h5py writes text of variable length
        "The attribute 'config' of /network is of a type that no checkpoint has",
    ),
    "nan": (
        lambda f: f["network/layers/01/norm_mean"].write_direct(np.array([0, np.nan, 0], np.float32)),
        "/network/layers/01/norm_mean must hold finite numbers; 1 of 3",
    ),
    "infinite scale": (
        lambda f: f["network/scaling/scale"].write_direct(np.array([np.inf])),
        "/network/scaling/scale must hold finite numbers",
    ),
    "one number changed": (
        lambda f: f["network/head/bias"].write_direct(np.array([0, 1e-30], np.float32)),
        "/network/head/bias does not have the digest",
    ),
    "history changed": (
        lambda f: f["history/columns/loss"].write_direct(np.array([0.4])),
        "/history/columns/loss does not have the digest",
    ),
    "creator changed": (lambda f: f.attrs.create("created_by", text("x")), "/ does not have the digest"),
    "digests changed": (
        lambda f: replace(f, "digests", text(f["digests"][()].decode().replace("/history", "/mystery"))),
        "/digests does not have the digest",
    ),
    "digest changed": (
        lambda f: f.attrs.create("digest", text("sha256:" + "0" * 64)),
        "/digests does not have the digest",
    ),
    "endless history": (
        lambda f: f["history"].attrs.create("count", 10**12),
        "/history must have from 0 to 1000000 records; its count says 1000000000000",
    ),
    "damaged json": (
        lambda f: f["network"].attrs.create("config", text('{"n_features": 7')),
        "the attribute 'config' of /network is not legal JSON",
    ),
    "json keys": (
        lambda f: f["network"].attrs.create("config", text('{"n_features": 7}')),
        "the attribute 'config' of /network must be a JSON object with the keys",
    ),
    "damaged provenance": (lambda f: replace(f, "provenance", text("{")), "/provenance is not legal JSON"),
    "soft link": (
        lambda f: f["network/head"].__setitem__("more", h5py.SoftLink("/etc")),
        "/network/head/more is a soft link",
    ),
    "hard link": (lambda f: f["network"].__setitem__("again", f["/"]), "/network/again is a second name"),
    "compressed": (
        lambda f: replace(f, "network/layers/00/weight", np.zeros((5, 7), np.float32), compression="gzip"),
        "/network/layers/00/weight is compressed or filtered",
    ),
    "deep": (lambda f: f.create_group("training" + "/x" * 20), "groups deep, which no checkpoint does"),
    "named type": (lambda f: f.__setitem__("training", np.dtype("f8")), "/training is neither a group nor a dataset"),
    "terabytes": (
        lambda f: replace(f, "network/layers/00/weight", None, shape=(10**6, 10**6), dtype="<f4", chunks=(64, 64)),
        "/network/layers/00/weight claims 4000000000000 bytes",
    ),
    "claimed in the settings": (
        lambda f: f["network"].attrs.create(
            "config", text(f["network"].attrs["config"].decode().replace("[5, 3]", "[1000000000, 3]"))
        ),
        r"/network/layers/00/weight must have shape \(1000000000, 7\); got \(5, 7\)",
    ),
    "not written": (
        lambda f: replace(f, "network/layers/00/weight", None, shape=(5, 7), dtype="<f4"),
        "/network/layers/00/weight should take 140 bytes in the file, but 0 are there",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_refused_with_the_place(
    path: Path, change: Callable[[h5py.File], Any], message: str
) -> None:
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.load(path)
    assert str(path) in str(caught.value)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.verify(path)


def test_a_file_with_holes_is_no_larger_than_memory(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((10**6, 10**6))
        del file["network/layers/00/weight"]
        group = file["network/layers/00"]
        h5py.h5d.create(group.id, b"weight", h5py.h5t.IEEE_F32LE, space, dcpl=properties)
    assert path.stat().st_size > 4e12
    with pytest.raises(CheckpointError, match=r"weight claims 4000000000000 bytes .*this machine's memory"):
        checkpoints.load(path)


def test_nothing_outside_the_file_is_read(path: Path, tmp_path: Path) -> None:
    zeros = np.zeros((5, 7), np.float32)
    (tmp_path / "raw").write_bytes(zeros.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["weight"] = zeros
    layout = h5py.VirtualLayout((5, 7), "<f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "weight", (5, 7))
    name, sources = (
        "network/layers/00/weight",
        {
            "link": (
                lambda f: f.__setitem__(name, h5py.ExternalLink("other.h5", "weight")),
                "a link to another file",
            ),
            "virtual": (lambda f: f.create_virtual_dataset(name, layout), "a virtual or compact dataset"),
            "external": (
                lambda f: f.create_dataset(name, (5, 7), "<f4", external=[(str(tmp_path / "raw"), 0, 140)]),
                "is stored in another file",
            ),
        },
    )
    original = path.read_bytes()
    for create, message in sources.values():
        path.write_bytes(original)
        with h5py.File(path, "r+") as file:
            del file[name]
            create(file)
            assert file[name].shape == (5, 7)
        with pytest.raises(CheckpointError, match=f"/{name} is .*{message}|/{name} {message}"):
            checkpoints.load(path)


def test_a_flipped_bit_in_a_weight_is_found_where_it_is(path: Path) -> None:
    with h5py.File(path) as file:
        start = file["network/layers/00/weight"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[start + 9] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="/network/layers/00/weight does not have the digest"):
        checkpoints.load(path)


@pytest.mark.parametrize("n_bytes", [1, 64, 100])
def test_what_is_read_piece_by_piece_is_checked_in_all_pieces(
    path: Path, monkeypatch: pytest.MonkeyPatch, n_bytes: int
) -> None:
    monkeypatch.setattr(reading, "_PIECE", 1000)
    preadv = os.preadv  # the system may give less than was asked for
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: preadv(file, [views[0][:n_bytes]], offset))
    expected, content = make_network().state_dict(), path.read_bytes()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in checkpoints.load(path).state_dict().items())
    with h5py.File(path) as file:
        start, length = file["network/layers/00/weight"].id.get_offset(), 5 * 7 * 4
    for place in (0, 63, 64, 101, length - 1):
        path.write_bytes(
            content[: start + place] + bytes([content[start + place] ^ 1]) + content[start + place + 1 :]
        )
        with pytest.raises(CheckpointError, match="/network/layers/00/weight does not have the digest"):
            checkpoints.load(path)


def test_a_file_that_ends_while_it_is_read_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    with pytest.raises(CheckpointError, match=r"/.* cannot be read: the file ends before it does. .*cut short"):
        checkpoints.load(path)


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(path: Path) -> None:
    content, expected, n_refused = path.read_bytes(), make_network().state_dict(), 0
    for position in range(0, len(content), 61):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            loaded = checkpoints.load(path)
        except CheckpointError:
            n_refused += 1
            continue
        assert loaded.classes.tolist() == ["a", "b"]
        assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    assert n_refused > len(content) / 61 / 4
