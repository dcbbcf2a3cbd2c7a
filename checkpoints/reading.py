"""HDF5 files to trees, trusting nothing in the file.

Only what the format uses is read: groups reached by hard links, plain numeric and fixed-length text datasets stored
in the file itself, no filter but the checksum. Links to elsewhere, external storage, virtual datasets and other
types are refused before HDF5 acts on them, and no more memory is asked for than the file has bytes and the machine
has memory: a file with holes may have more bytes than any disk.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5p, h5s, h5t, h5z

from checkpoints import format as spec
from checkpoints.tree import Group
from pretrain.exceptions import CheckpointError

Pieces = Iterator[memoryview]
_LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}
_CHECKSUM_BYTES = 4
_PIECE = 2**20  # bytes that are read and seen together: they stay in the processor's cache
_MEMORY_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
# What h5py and HDF5 raise on damaged structures.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)


def read_tree(
    path: Path,
    check_header: Callable[[dict[str, Any]], None],
    see_dataset: Callable[[str, np.ndarray, Pieces], object] = lambda path, array, pieces: deque(pieces, 0),
) -> Group:
    """Read a whole file.

    Parameters
    ----------
    path : Path
    check_header : callable
        Sees the root's attributes before anything else is read.
    see_dataset : callable
        Sees each dataset: its path, the array, and the array's bytes, piece by piece, which are read as it takes
        them; it must take all. Several datasets are read at a time, in threads.
    """
    if not os.path.isfile(path):
        what = "it is no regular file" if os.path.exists(path) else "there is no such file"
        raise CheckpointError(f"{'it is a folder' if os.path.isdir(path) else what}. Check the path.")
    with _naming_damage("the file"):
        if not h5py.is_hdf5(path):
            raise CheckpointError("it is not an HDF5 file (or its beginning is lost); a checkpoint is one.")
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fclose_degree(h5f.CLOSE_STRONG)
        access.set_file_locking(False, True)  # a checkpoint is replaced, never changed: nothing to wait for
        file = h5f.open(bytes(path), h5f.ACC_RDONLY, fapl=access)
        try:
            root = h5g.open(file, b"/")
            check_header(_TreeReader(root, os.path.getsize(path)).attributes(root, "/"))
            reader = _TreeReader(root, os.path.getsize(path))
            tree = reader.group(root, "")
            reader.fill(file.get_vfd_handle(), see_dataset)
            return tree
        finally:
            file.close()


class _TreeReader:
    """Walks one file, keeping count of the bytes that are claimed and of the objects already met.

    Datasets that lie in the file as they are in memory get no content before `fill`.
    """

    def __init__(self, root: Any, file_bytes: int) -> None:
        self.file_bytes = file_bytes
        self.claimed_bytes = 0
        self.places: list[tuple[str, np.ndarray, int | None]] = []  # with offsets; without one, it has been read
        self.seen: set[int] = {h5o.get_info(root).addr}

    def group(self, handle: Any, path: str) -> Group:
        """The group with everything below it."""
        if path.count("/") > spec.MAX_DEPTH:
            raise CheckpointError(f"{path} lies more than {spec.MAX_DEPTH} groups deep, which no checkpoint does.")
        tree = Group(self.attributes(handle, path or "/"))
        names: list[bytes] = []
        handle.links.iterate(names.append)
        for name in names:
            where = f"{path}/{_text(name, path or '/')}"
            with _naming_damage(where):
                self._member(handle, name, where, tree)
        return tree

    def fill(self, file: int, see_dataset: Callable[[str, np.ndarray, Pieces], object]) -> None:
        """Read the content of all datasets, the largest first, from the file with this descriptor."""

        def see(where: str, array: np.ndarray, offset: int | None) -> None:
            with _naming_damage(where):
                see_dataset(where, array, _pieces(file, array, offset))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            places = sorted(self.places, key=lambda place: -place[1].nbytes)
            for done in [pool.submit(see, *place) for place in places]:
                done.result()

    def attributes(self, handle: Any, path: str) -> dict[str, Any]:
        """The attributes of a group."""
        values: dict[str, Any] = {}
        for index in range(h5a.get_num_attrs(handle)):
            attribute = h5a.open(handle, index=index)
            name = _text(attribute.name, path)
            where = f"The attribute {name!r} of {path}"
            dtype = _numpy_dtype(attribute.get_type(), where)
            legal = dtype.kind == "S" or dtype.str == "<i8"
            if not legal or _shape(attribute.get_space(), where) != () or dtype.itemsize > 2**16:
                raise CheckpointError(
                    f"{where} must be one int64 or one text; got {dtype} of shape {attribute.shape}."
                )
            self._claim(dtype.itemsize, f"{where} claims {dtype.itemsize} bytes")
            array = np.empty((), dtype)
            attribute.read(array, attribute.get_type())
            values[name] = int(array[()]) if dtype.kind == "i" else _text(bytes(array[()]), path)
        return values

    def _claim(self, n_bytes: int, what: str) -> None:
        self.claimed_bytes += n_bytes
        if self.claimed_bytes > self.file_bytes:
            raise CheckpointError(f"{what}, more than the file of {self.file_bytes} bytes has.")
        if self.claimed_bytes > _MEMORY_BYTES:
            raise CheckpointError(f"{what}, more than this machine's memory of {_MEMORY_BYTES} bytes.")

    def _member(self, parent: Any, name: bytes, where: str, tree: Group) -> None:
        link = parent.links.get_info(name)
        if link.type != h5l.TYPE_HARD:
            what = _LINKS.get(link.type, "a link of an unknown sort")
            raise CheckpointError(f"{where} is {what}; a checkpoint holds everything itself. Do not trust this file.")
        info = h5o.get_info(parent, name)
        if info.addr in self.seen:
            raise CheckpointError(f"{where} is a second name of another object; in a checkpoint each has one.")
        self.seen.add(info.addr)
        key = name.decode()
        if info.type == h5o.TYPE_GROUP:
            tree.groups[key] = self.group(h5g.open(parent, name), where)
        elif info.type == h5o.TYPE_DATASET:
            tree.datasets[key] = self._dataset(h5d.open(parent, name), where)
        else:
            raise CheckpointError(f"{where} is neither a group nor a dataset; remove it.")

    def _dataset(self, handle: Any, where: str) -> np.ndarray:
        _require_plain_storage(handle, where)
        if h5a.get_num_attrs(handle):
            raise CheckpointError(f"{where} has attributes; in a checkpoint only groups have.")
        dtype = _numpy_dtype(handle.get_type(), where)
        shape = _shape(handle.get_space(), where)
        n_bytes = dtype.itemsize
        for length in shape:
            n_bytes *= length  # Python's integers do not overflow
        self._claim(n_bytes, f"{where} claims {n_bytes} bytes in shape {shape}")
        if n_bytes:
            self._require_stored(handle, where, n_bytes, dtype)
        array = np.empty(shape, dtype)
        offset = handle.get_offset() if handle.get_create_plist().get_layout() == h5d.CONTIGUOUS else None
        if n_bytes and offset is None:
            handle.read(h5s.ALL, h5s.ALL, array, handle.get_type())
        self.places.append((where, array, offset))
        return array

    def _require_stored(self, handle: Any, where: str, n_bytes: int, dtype: np.dtype) -> None:
        properties = handle.get_create_plist()
        wanted, stored = n_bytes, handle.get_storage_size()
        if properties.get_layout() == h5d.CHUNKED:
            chunk_bytes = dtype.itemsize
            for length in properties.get_chunk():
                chunk_bytes *= length
            n_chunks = handle.get_num_chunks()
            wanted = n_chunks * (chunk_bytes + _CHECKSUM_BYTES * properties.get_nfilters())
            stored = stored if n_chunks * chunk_bytes >= n_bytes else 0
        if stored != wanted or stored > self.file_bytes:
            raise CheckpointError(
                f"{where} should take {wanted} bytes in the file, but {stored} are there; the file is damaged."
            )


def _pieces(file: int, array: np.ndarray, offset: int | None) -> Pieces:
    """The bytes of an array, in order; with an offset, they come from there."""
    left = memoryview(array.reshape(-1).view(np.uint8).data)
    while left:
        piece = left[:_PIECE]
        if offset is not None:
            n_read = os.preadv(file, [piece], offset)
            if not n_read:
                raise OSError("the file ends before it does")
            piece, offset = piece[:n_read], offset + n_read
        yield piece
        left = left[len(piece) :]


@contextmanager
def _naming_damage(where: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(f"{where} cannot be read: {error}. The file is damaged or cut short.") from error


def _require_plain_storage(handle: Any, where: str) -> None:
    properties = handle.get_create_plist()
    if properties.get_layout() not in (h5d.CONTIGUOUS, h5d.CHUNKED):
        raise CheckpointError(f"{where} is a virtual or compact dataset; a checkpoint holds plain ones only.")
    if properties.get_external_count():
        raise CheckpointError(f"{where} is stored in another file; a checkpoint holds everything itself.")
    filters = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
    if filters not in ([], [h5z.FILTER_FLETCHER32]):
        raise CheckpointError(
            f"{where} is compressed or filtered (HDF5 filters {filters}); only Fletcher-32 is legal."
        )


def _shape(space: Any, where: str) -> tuple[int, ...]:
    if space.get_simple_extent_type() == h5s.NULL:
        raise CheckpointError(f"{where} is a null dataset; it must have a shape.")
    return space.get_simple_extent_dims()


def _numpy_dtype(stored: Any, where: str) -> np.dtype:
    if isinstance(stored, h5t.TypeStringID) and not stored.is_variable_str():
        return np.dtype(f"S{stored.get_size()}")
    for name in spec.NUMERIC_DTYPES:
        if stored == h5t.py_create(np.dtype(name)):
            return np.dtype(name)
    raise CheckpointError(
        f"{where} is of a type that no checkpoint has; legal are little-endian integers and floats, and "
        "fixed-length text."
    )


def _text(encoded: bytes, path: str) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} holds a name or text that is not UTF-8: {encoded!r:.100}.") from error
