"""A tree as an HDF5 file in which every array has its place and none is written yet.

HDF5 writes groups, attributes and headers, which are small, to memory; the arrays go from where they are straight to
their places in the file, which is completed with their digests. HDF5 never writes to the
disk itself: a disk that is full leaves the library fit to crash later on.
"""

import io
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5p, h5s, h5t

from checkpoints import format as spec
from checkpoints.tree import Group
from pretrain.exceptions import CheckpointError


class FileLayout:
    """The file that a tree becomes.

    Parameters
    ----------
    root : Group
        With digests of the right length, whatever they say.

    Attributes
    ----------
    arrays : list of (int, ndarray)
        Every dataset but the digests, each with its offset in bytes from the beginning of the file.
    """

    def __init__(self, root: Group) -> None:
        self.arrays: list[tuple[int, np.ndarray]] = []
        self._metadata = _Metadata()
        self._file = h5py.File(self._metadata, "w", libver=spec.LIBRARY_VERSION)
        self._digests = 0
        try:
            self._place_group(self._file, root, "")
        except BaseException:
            self._file.close()
            raise

    def completed(self, root: Group) -> tuple[int, list[tuple[int, Any]]]:
        """The size of the file, and what it holds besides the arrays, by offset, with the tree's digests of now."""
        value = str(root.attributes[spec.DIGEST]).encode()
        h5a.open(self._file.id, spec.DIGEST.encode()).write(np.array(value, h5py.string_dtype("utf-8", len(value))))
        self.close()
        return self._metadata.size, [*self._metadata.pieces, (self._digests, root.datasets[spec.DIGESTS])]

    def close(self) -> None:
        """Let go of the HDF5 library."""
        self._file.close()

    def _place_group(self, parent: h5py.Group, group: Group, path: str) -> None:
        for name, value in group.attributes.items():
            _write_attribute(parent, name, value, path or "/")
        for name, array in group.datasets.items():
            offset = _place_array(parent, name, array)
            if (path, name) == ("", spec.DIGESTS):
                self._digests = offset
            elif array.nbytes:
                self.arrays.append((offset, array))
        for name, child in group.groups.items():
            self._place_group(parent.create_group(name), child, f"{path}/{name}")


class _Metadata(io.RawIOBase):
    """A file in memory, as h5py takes one, of which only what was written is kept: the places of arrays are holes."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.size = self._position = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def write(self, data: Any) -> int:
        self.pieces.append((self._position, bytes(data)))
        self._position += len(data)
        self.size = max(self.size, self._position)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        view, start = memoryview(buffer).cast("B"), self._position
        view[:] = bytes(len(view))
        for offset, piece in self.pieces:  # the later ones over the earlier ones
            first, last = max(offset, start), min(offset + len(piece), start + len(view))
            if first < last:
                view[first - start : last - start] = piece[first - offset : last - offset]
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size


def _write_attribute(parent: h5py.Group, name: str, value: str | int, path: str) -> None:
    if isinstance(value, int):
        parent.attrs.create(name, value, dtype="<i8")
        return
    encoded = value.encode()
    if len(encoded) > spec.MAX_ATTRIBUTE_BYTES:
        raise CheckpointError(
            f"The attribute {name!r} of {path} would take {len(encoded)} bytes; HDF5 holds at most "
            f"{spec.MAX_ATTRIBUTE_BYTES} in one. Shorten the settings of the object."
        )
    text = h5py.string_dtype("utf-8", max(1, len(encoded)))
    parent.attrs.create(name, np.array(encoded, dtype=text))


def _place_array(parent: h5py.Group, name: str, array: np.ndarray) -> int:
    text = array.dtype.kind == "S"
    stored = h5t.py_create(h5py.string_dtype("utf-8", array.dtype.itemsize) if text else array.dtype, logical=True)
    space = h5s.create_simple(array.shape) if array.shape else h5s.create(h5s.SCALAR)
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5d.FILL_TIME_NEVER)
    dataset = h5d.create(parent.id, name.encode(), stored, space, dcpl=properties)
    return dataset.get_offset() or 0  # None for an array without bytes
