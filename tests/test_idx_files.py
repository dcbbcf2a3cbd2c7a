"""Folders of IDX files: read as written, and every way to get one wrong is named."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_sources import CODES, TEST, TRAIN, X, Y, idx_bytes, refuse, write_idx

from pipelines.data import load_dataset
from pipelines.data_files import read_idx


def test_idx_folder(tmp_path: Path) -> None:
    dataset = load_dataset(str(write_idx(tmp_path, X=X, y=Y, X_test=X[:2], y_test=Y[:2])))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6))
    np.testing.assert_array_equal(dataset.y, Y)
    np.testing.assert_array_equal(dataset.X_test, X[:2].reshape(2, 6))
    np.testing.assert_array_equal(dataset.y_test, Y[:2])
    assert (dataset.X.dtype, dataset.image_shape, dataset.value_range) == (np.uint8, (2, 3), (0, 255))


@pytest.mark.parametrize("name", [TRAIN + ".gz", "train-images.idx3-ubyte", "train-images.idx3-ubyte.gz"])
def test_idx_names(tmp_path: Path, name: str) -> None:
    content = idx_bytes(X)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    dataset = load_dataset(str(tmp_path))
    np.testing.assert_array_equal(dataset.X, X.reshape(5, 6))
    assert dataset.y is None


def test_unpacked_idx_goes_before_its_gz(tmp_path: Path) -> None:
    (tmp_path / (TRAIN + ".gz")).write_bytes(gzip.compress(idx_bytes(X[:1])))
    assert len(load_dataset(str(write_idx(tmp_path, X=X))).X) == 5


def test_two_names_of_one_idx_file(tmp_path: Path) -> None:
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx_bytes(X))
    refuse(write_idx(tmp_path, X=X), "train-images-idx3-ubyte and train-images.idx3-ubyte", "keep one")


@pytest.mark.parametrize("dtype", CODES)
def test_idx_types_and_byte_order(tmp_path: Path, dtype: str) -> None:
    array = np.array([[1, 2, 3], [100, 50, 7]], dtype=dtype) * (-1 if dtype != "u1" else 1)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    read = read_idx(tmp_path / "a")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file"),
        (b"\x89PNG\r\n\x1a\n", "expected the magic number 00 00, a type code"),
        (b"\x00\x00\x0a\x03" + bytes(12), "found 00 00 0a 03"),
        (b"\x00\x00\x08\x00", "number of dimensions (1 to 8), found 00 00 08 00"),
        (b"\x00\x00\x08\x03\x00\x00", "truncated: expected 12 bytes of sizes, found 2"),
        (idx_bytes(X)[:-1], "truncated: expected 30 bytes for shape (5, 2, 3), found 29"),
        (idx_bytes(X) + b"\x00", "too long: expected 30 bytes for shape (5, 2, 3), found more"),
        (b"\x00\x00\x0e\x03" + b"\xff" * 12, "truncated: expected"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_idx(tmp_path: Path, content: bytes, message: str, packed: bool) -> None:
    name = TRAIN + ".gz" if packed else TRAIN
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    refuse(tmp_path, name, message)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:20] + b"\x55\x55" + b[22:], lambda b: b[4:]])
def test_damaged_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / (TRAIN + ".gz")).write_bytes(damage(gzip.compress(idx_bytes(X))))
    refuse(tmp_path, TRAIN + ".gz", "damaged, expected a whole gzip file")


def test_idx_files_that_do_not_fit(tmp_path: Path) -> None:
    turned = X.transpose(0, 2, 1)
    refuse(write_idx(tmp_path / "a", X=X, X_test=turned), TEST, "shape (3, 2), expected (2, 3) as in " + TRAIN)
    refuse(write_idx(tmp_path / "b", X=X, y=Y[:4]), "y has 4 labels for 5 rows")
    refuse(write_idx(tmp_path / "c", X_test=X), f"holds {TEST} but no train-images")
    refuse(write_idx(tmp_path / "d", X=X, y=Y, y_test=Y), "test labels need X_test too")
    refuse(write_idx(tmp_path / "e", X=X[:0]), "X has shape (0, 2, 3)", "at least 1 of each")
