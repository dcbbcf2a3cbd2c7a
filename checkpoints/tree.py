"""A checkpoint's content in memory: groups, attributes and arrays, between the objects and the file.

Codecs turn objects into trees and back; `store` and `reading` move trees to and from HDF5. Nothing here knows
HDF5, and nothing here knows networks.
"""

import dataclasses
import functools
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from checkpoints import format as spec
from checkpoints.documents import write_document


@dataclasses.dataclass
class Group:
    """One group of the file.

    Parameters
    ----------
    attributes : dict of str to str or int
    datasets : dict of str to ndarray
        Of a dtype in `format.NUMERIC_DTYPES`, or "S": fixed-length UTF-8.
    groups : dict of str to Group
    """

    attributes: dict[str, str | int] = dataclasses.field(default_factory=dict)
    datasets: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    groups: dict[str, "Group"] = dataclasses.field(default_factory=dict)

    def walk(self, path: str = "") -> Iterator[tuple[str, "Group | np.ndarray"]]:
        """Every group and dataset below and including this one, with its path ("/" for the root)."""
        yield path or "/", self
        for name, array in self.datasets.items():
            yield f"{path}/{name}", array
        for name, group in self.groups.items():
            yield from group.walk(f"{path}/{name}")


def new_object(kind: str, version: int, config: Any = None, **parts: Any) -> Group:
    """The group of an object: its kind, the version of that kind, its settings as JSON text."""
    attributes: dict[str, str | int] = {spec.KIND: kind, spec.KIND_VERSION: version}
    if config is not None:
        attributes[spec.CONFIG] = write_document(config, f"the settings of a {kind}")
    return Group(attributes, **parts)


class BackgroundDigests:
    """CRC-32 of what a tree holds, taken by threads of their own while the caller does something else.

    A context manager; what has not begun when it is left never does.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(os.cpu_count())  # zlib lets other threads run
        self._begun: dict[str, Future[str]] = {}

    def __enter__(self) -> "BackgroundDigests":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, root: Group) -> None:
        """Begin with every dataset of a tree, the largest first; they may not change from now on."""
        arrays = [(path, node) for path, node in _digested(root).items() if not isinstance(node, Group)]
        for path, array in sorted(arrays, key=lambda item: -item[1].nbytes):
            self._begun[path] = self._pool.submit(crc32_of_dataset, path, array)

    def of(self, root: Group) -> dict[str, str]:
        """What `digests_of` returns for the tree that they have begun with."""
        return digests_of(root, {path: digest.result() for path, digest in self._begun.items()})


def digests_of(root: Group, of_datasets: Mapping[str, str]) -> dict[str, str]:
    """The digest in hexadecimal of every group and dataset by its path; FORMAT.md has the recipe.

    What the digests themselves stand in is left out: the dataset `digests`, and the root's attribute `digest`.
    """
    return {
        path: _crc32(_fed_by_group(path, node)) if isinstance(node, Group) else of_datasets[path]
        for path, node in _digested(root).items()
    }


def crc32_of_dataset(path: str, array: np.ndarray, pieces: Iterable[memoryview] | None = None) -> str:
    """The digest of a dataset; its bytes are taken from `pieces` where they are on their way only."""
    return _crc32(_fed_by_dataset(path, array, pieces))


def no_digests(root: Group) -> dict[str, str]:
    """What `digests_of` returns, with zeros in it."""
    return dict.fromkeys(_digested(root), "0" * 8)


def digests_of_version_2(root: Group) -> dict[str, str]:
    """SHA-256 where `digests_of` has CRC-32."""
    return {path: _sha256(_fed(path, node)) for path, node in _digested(root).items()}


def digest_of_version_1(root: Group) -> str:
    """SHA-256 over everything in the tree but the root's `digest` attribute."""
    nodes = sorted(root.walk(), key=lambda item: item[0].encode())
    return f"sha256:{_sha256(piece for path, node in nodes for piece in _fed(path, node))}"


def digest_of_table(table: np.ndarray) -> str:
    """The root attribute `digest` for the dataset `digests`."""
    return f"sha256:{_sha256([table.tobytes()])}"


def _digested(root: Group) -> dict[str, "Group | np.ndarray"]:
    return dict(sorted((item for item in root.walk() if item[0] != f"/{spec.DIGESTS}"), key=lambda i: i[0].encode()))


def _crc32(pieces: Iterable[bytes | memoryview]) -> str:
    return f"{functools.reduce(lambda total, piece: zlib.crc32(piece, total), pieces, 0):08x}"


def _sha256(pieces: Iterable[bytes | memoryview]) -> str:
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece)
    return total.hexdigest()


def _fed(path: str, node: Group | np.ndarray) -> Iterator[bytes | memoryview]:
    """The bytes that a digest is taken of."""
    return _fed_by_group(path, node) if isinstance(node, Group) else _fed_by_dataset(path, node)


def _fed_by_group(path: str, group: Group) -> Iterator[bytes]:
    yield _framed(path, "group")
    for name in sorted(group.attributes, key=str.encode):
        if (path, name) != ("/", spec.DIGEST):
            value = group.attributes[name]
            yield _framed(name, "integer" if isinstance(value, int) else "text", str(value))


def _fed_by_dataset(
    path: str, array: np.ndarray, pieces: Iterable[memoryview] | None = None
) -> Iterator[bytes | memoryview]:
    yield _framed(path, "dataset", array.dtype.str, ",".join(map(str, array.shape)))
    yield array.nbytes.to_bytes(8, "little")
    yield from [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data] if pieces is None else pieces


def _framed(*texts: str) -> bytes:
    # The length in front keeps "ab", "c" apart from "a", "bc".
    return b"".join(len(encoded).to_bytes(8, "little") + encoded for encoded in map(str.encode, texts))
