"""Small data files in each form, and how a source must be refused."""

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipelines.data import load_dataset
from pretrain.exceptions import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
TRAIN, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
X = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3) * 8  # (n_samples, height, width)
Y = np.array([3, 1, 1, 3, 2], dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_idx(folder: Path, **arrays: np.ndarray) -> Path:
    names = {"X": TRAIN, "y": LABELS, "X_test": TEST, "y_test": TEST_LABELS}
    folder.mkdir(exist_ok=True)
    for role, array in arrays.items():
        (folder / names[role]).write_bytes(idx_bytes(array))
    return folder


def write_npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def write_h5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def write_csv(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def refuse(source: object, *parts: str, target: str | None = None) -> None:
    """Assert that loading fails with a message that holds every part, on at most two lines."""
    with pytest.raises(DataError) as caught:
        load_dataset(str(source), target=target)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert message.count("\n") <= 1
