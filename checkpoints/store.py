"""Trees to HDF5 files, completely or not at all."""

import errno
import io
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np

from checkpoints import format as spec
from checkpoints.output_lock import output_lock
from checkpoints.tree import Group
from pretrain.exceptions import CheckpointError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "files may not be that large here (a quota, or ulimit -f)",
    errno.EROFS: "the file system is read-only",
}


def write_tree(root: Group, path: Path, *, overwrite: bool) -> None:
    """Write a tree to `path`; where that fails, an older file there stays as it was.

    The file appears under its name when it is complete and on the disk: it is written beside its place, synced and
    renamed. What a killed process has left beside it is removed. The same tree gives the same bytes at any time.

    Raises
    ------
    CheckpointError
        If the folder is missing or not writable, the path is a folder, the disk is full, another process is writing
        the file, or there is a file and `overwrite` is False.
    """
    replace_file(path, _hdf5_image(root), overwrite=overwrite)


def replace_file(path: Path, content: bytes | memoryview, *, overwrite: bool) -> None:
    """Write a file as `write_tree` does, whatever is in it."""
    with output_lock(path):
        require_free(path, overwrite=overwrite)
        _remove_leftovers(path)
        with _replacing(path) as temporary, open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # the rename is done; some file systems cannot sync a folder
            _sync(path.parent)


def require_free(path: Path, *, overwrite: bool) -> None:
    """Raise unless a checkpoint may be written to `path`."""
    if os.path.isdir(path):
        raise CheckpointError(f"Cannot save to {path}: it is a folder. Give the name of a file in it.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise CheckpointError(f"Cannot save to {path}: it is a device or a pipe. Give the name of a file.")
    if not os.path.isdir(path.parent):
        raise CheckpointError(f"Cannot save to {path}: there is no folder {path.parent}. Create it first.")
    if os.path.lexists(path) and not overwrite:
        raise CheckpointError(
            f"Cannot save to {path}: the file exists. Choose another name, or pass overwrite=True (--overwrite) to "
            "replace it."
        )


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of processes that were killed; the lock says that no other process is writing."""
    leftover = re.compile(rf"\.{re.escape(path.name)}\.([0-9]+)\.[0-9a-f]{{8}}\.tmp")
    for name in os.listdir(path.parent):
        found = leftover.fullmatch(name)
        if found and int(found[1]) != os.getpid():  # another thread of this process may be saving as well
            with suppress(OSError):
                path.with_name(name).unlink()


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            reason = _REASONS.get(error.errno or 0, error.strerror)
            raise CheckpointError(
                f"Cannot save to {path}: {reason}. An older file there, if any, is untouched."
            ) from error
        raise


def _hdf5_image(root: Group) -> memoryview:
    """The bytes of the file. HDF5 writes to memory: a disk that is full leaves the library fit to crash later on."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=spec.LIBRARY_VERSION) as file:
        _write_group(file, root, "")
    return buffer.getbuffer()


def _write_group(parent: h5py.Group, group: Group, path: str) -> None:
    for name, value in group.attributes.items():
        _write_attribute(parent, name, value, path or "/")
    for name, array in group.datasets.items():
        _write_dataset(parent, name, array)
    for name, child in group.groups.items():
        _write_group(parent.create_group(name), child, f"{path}/{name}")


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


def _write_dataset(parent: h5py.Group, name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "S":
        array = array.astype(h5py.string_dtype("utf-8", array.dtype.itemsize))
    parent.create_dataset(name, data=array)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
