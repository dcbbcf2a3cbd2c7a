"""The file that a tree becomes: every array at its place, and HDF5's own parts around them."""

import io
from pathlib import Path

import h5py
import numpy as np
import torch

import checkpoints
from checkpoints.codecs import encode_root, seal
from checkpoints.file_layout import FileLayout, _Metadata
from pretrain.rbm import RBM
from pretrain.stack import Stack


def test_what_hdf5_reads_again_is_what_it_wrote() -> None:
    kept, whole, rng = _Metadata(), io.BytesIO(), np.random.default_rng(0)
    for _ in range(50):
        offset, data = int(rng.integers(200)), rng.bytes(int(rng.integers(1, 40)))
        for file in (kept, whole):
            file.seek(offset)
            file.write(data)
        assert kept.seek(0, io.SEEK_END) == len(whole.getvalue())
        found = bytearray(300)
        kept.seek(7)
        kept.readinto(found)
        assert bytes(found) == whole.getvalue()[7:].ljust(300, b"\0")


def test_arrays_lie_apart_from_each_other_and_from_the_rest() -> None:
    root = encode_root(Stack([RBM(7, 5), RBM(5, 3)]), [{"epoch": 1, "note": "a"}], {"seed": 1})
    layout = FileLayout(root)
    seal(root)
    size, rest = layout.completed(root)
    owner = np.zeros(size, int)
    for number, (offset, part) in enumerate([*layout.arrays, rest[-1]], start=1):
        assert not owner[offset : offset + part.nbytes].any()
        owner[offset : offset + part.nbytes] = number
    for offset, piece in rest[:-1]:
        assert not owner[offset : offset + len(piece)].any()
    n_datasets = sum(isinstance(node, np.ndarray) for _, node in root.walk())
    assert len(np.unique(owner)) == n_datasets + 1


def test_thousands_of_arrays_and_rows_out_of_order_come_back(tmp_path: Path) -> None:
    # More headers than HDF5 keeps in memory, an array without numbers, and one that is not contiguous.
    tensors = {f"t{k}": torch.full((k % 5,), float(k)) for k in range(3000)}
    state = {**tensors, "turned": torch.arange(6.0).reshape(2, 3).T}
    checkpoints.save(checkpoints.RunState(state), tmp_path / "run.h5")
    loaded = checkpoints.load(tmp_path / "run.h5").state
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    stack = Stack([RBM(7, 5)])
    stack.layers[0].weight.data = torch.arange(35.0).reshape(7, 5).T
    checkpoints.save(stack, tmp_path / "turned.h5")
    with h5py.File(tmp_path / "turned.h5") as file:
        np.testing.assert_array_equal(file["stack/layers/00/weight"], stack.layers[0].weight.detach())
