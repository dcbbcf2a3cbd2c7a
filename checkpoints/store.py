"""Trees to HDF5 files, completely or not at all."""

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints.file_layout import FileLayout
from checkpoints.output_lock import output_lock
from checkpoints.tree import Group
from pretrain.exceptions import CheckpointError

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "files may not be that large here (a quota, or ulimit -f)",
    errno.EROFS: "the file system is read-only",
}


def write_tree(root: Group, path: Path, seal: Callable[[Group], None], *, overwrite: bool) -> None:
    """Write a tree to `path`; where that fails, an older file there stays as it was.

    The file appears under its name when it is complete and on the disk: it is written beside its place, synced and
    renamed. What a killed process has left beside it is removed. The same tree gives the same bytes at any time.

    Parameters
    ----------
    root : Group
        With digests of the right length.
    path : Path
    seal : callable
        Checks the tree and puts the digests into it, while the arrays are on their way from memory to the disk.
        Where it raises, no file appears.
    overwrite : bool

    Raises
    ------
    CheckpointError
        If the folder is missing or not writable, the path is a folder, the disk is full, another process is writing
        the file, or there is a file and `overwrite` is False.
    """
    layout = FileLayout(root)
    with closing(layout), _new_file(path, overwrite=overwrite) as file, ThreadPoolExecutor(1) as disk:
        _write(file, layout.arrays)
        synced = disk.submit(os.fsync, file)  # the processors have nothing to do with it
        seal(root)
        synced.result()
        size, rest = layout.completed(root)
        os.ftruncate(file, size)
        _write(file, rest)


def replace_file(path: Path, content: bytes | memoryview, *, overwrite: bool) -> None:
    """Write a file as `write_tree` does, whatever is in it."""
    with _new_file(path, overwrite=overwrite) as file:
        _write(file, [(0, content)])


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
def _new_file(path: Path, *, overwrite: bool) -> Iterator[int]:
    """A file to write, by its descriptor, that gets its name when the block is done."""
    with output_lock(path):
        require_free(path, overwrite=overwrite)
        _remove_leftovers(path)
        with _replacing(path) as temporary:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                yield file
                os.fsync(file)
            finally:
                os.close(file)
        with suppress(OSError):  # the rename is done; some file systems cannot sync a folder
            _sync(path.parent)


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


def _write(file: int, parts: Sequence[tuple[int, Any]]) -> None:
    """Write parts at their offsets."""
    for offset, part in parts:
        content = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data if isinstance(part, np.ndarray) else part
        left = memoryview(content)
        while left:
            n_written = os.pwrite(file, left, offset)
            left, offset = left[n_written:], offset + n_written


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
