"""Arrays by name in .npz and .h5: read as written, and every way to get one wrong is named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from data_sources import X, Y, refuse, write_h5, write_npz

from pipelines.data import load_dataset

WRITERS = pytest.mark.parametrize(("write", "name"), [(write_npz, "a.npz"), (write_h5, "a.h5"), (write_h5, "a.hdf5")])
Write = Callable[..., Path]


@WRITERS
def test_arrays_by_name(tmp_path: Path, write: Write, name: str) -> None:
    path = write(tmp_path / name, x_train=X, y_train=Y, x_test=X[:3], y_test=Y[:3, None], other=np.zeros(2))
    dataset = load_dataset(str(path))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6))
    np.testing.assert_array_equal(dataset.X_test, X[:3].reshape(3, 6))
    np.testing.assert_array_equal(dataset.y_test, Y[:3])
    assert (dataset.image_shape, dataset.value_range) == ((2, 3), (0, 255))


@WRITERS
@pytest.mark.parametrize("names", [("X", "y"), ("x", "Y"), ("data", "target"), ("X_train", "labels")])
def test_names_of_arrays(tmp_path: Path, write: Write, name: str, names: tuple[str, str]) -> None:
    dataset = load_dataset(str(write(tmp_path / name, **{names[0]: X / 7, names[1]: Y})))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6) / 7)
    np.testing.assert_array_equal(dataset.y, Y)
    assert dataset.value_range is None


@WRITERS
def test_text_labels(tmp_path: Path, write: Write, name: str) -> None:
    texts = ["owl", "bee", "bee", "ö", "owl"]
    y: Any = np.array(texts) if write is write_npz else texts
    labels = load_dataset(str(write(tmp_path / name, X=X, y=y))).y
    assert labels is not None
    assert labels.tolist() == texts
    assert labels.dtype.kind == "U"
    encoded = [text.encode() for text in texts]
    labels = load_dataset(str(write(tmp_path / name, X=X, y=np.array(encoded)))).y
    assert labels is not None
    assert labels.tolist() == texts


@WRITERS
def test_missing_and_doubled_names(tmp_path: Path, write: Write, name: str) -> None:
    refuse(write(tmp_path / name, images=X, y=Y), name, "no array of samples", "the file holds images, y")
    refuse(write(tmp_path / name, X=X, data=X), "X and data both stand for X", "keep one")


@WRITERS
def test_file_of_another_kind(tmp_path: Path, write: Write, name: str) -> None:
    (tmp_path / name).write_bytes(b"not an archive of any kind")
    refuse(tmp_path / name, name)
    path = write(tmp_path / name, X=np.random.default_rng(0).random((50, 40)))
    path.write_bytes(path.read_bytes()[:9000])
    refuse(path, name)


def test_npz_with_objects(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", X=X, y=np.array([{}, 1, 2, 3, 4], dtype=object))
    refuse(path, "array 'y' cannot be read", "Object arrays", "the file holds X, y")


def test_npz_with_a_flipped_byte(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", X=X)
    content = bytearray(path.read_bytes())
    content[content.index(X.tobytes()) + 9] ^= 0xFF
    path.write_bytes(content)
    refuse(path, "array 'X' cannot be read", "CRC")


def test_hdf5_checkpoint_is_not_data(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", X=X)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "pretrain"
    refuse(path, "is a checkpoint", "not data")


def link_soft(file: h5py.File, folder: Path) -> None:
    file["elsewhere"] = X
    file["X"] = h5py.SoftLink("/elsewhere")


def link_outside(file: h5py.File, folder: Path) -> None:
    file["X"] = h5py.ExternalLink(str(write_h5(folder / "other.h5", X=X)), "X")


def store_outside(file: h5py.File, folder: Path) -> None:
    (folder / "raw").write_bytes(X.tobytes())
    file.create_dataset("X", X.shape, X.dtype, external=[(str(folder / "raw"), 0, X.nbytes)])


def make_virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout(X.shape, X.dtype)
    layout[:] = h5py.VirtualSource(str(write_h5(folder / "other.h5", X=X)), "X", X.shape)
    file.create_virtual_dataset("X", layout)


def make_group(file: h5py.File, folder: Path) -> None:
    file.create_group("X")


@pytest.mark.parametrize("fill", [link_soft, link_outside, store_outside, make_virtual, make_group])
def test_hdf5_with_values_elsewhere(tmp_path: Path, fill: Callable[[h5py.File, Path], None]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        fill(file, tmp_path)
    refuse(tmp_path / "a.h5", "'X' must be a dataset with its values in this file")
