"""A checkpoint's content in memory: groups, attributes and arrays, between the objects and the file.

Codecs turn objects into trees and back; `store` and `reading` move trees to and from HDF5. Nothing here knows
HDF5, and nothing here knows networks.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator
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
    """SHA-256 of what a tree holds, taken by threads of their own while the caller does something else.

    A context manager; what has not begun when it is left never does.

    Parameters
    ----------
    n_threads : int or None
        Default: as many as there are processors.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(n_threads or os.cpu_count())  # hashing lets other threads run
        self._begun: dict[str, Future[str]] = {}

    def __enter__(self) -> "BackgroundDigests":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, path: str, array: np.ndarray) -> None:
        """Begin with a dataset, which may not change from now on."""
        self._begun[path] = self._pool.submit(_hash, path, array)

    def of(self, root: Group) -> dict[str, str]:
        """The digest in hexadecimal of every group and dataset by its path; FORMAT.md has the recipe.

        What the digests themselves stand in is left out: the dataset `digests`, and the root's attribute `digest`.
        """
        nodes = _digested(root)
        arrays = {path: node for path, node in nodes.items() if not isinstance(node, Group)}
        for path in sorted(arrays.keys() - self._begun.keys(), key=lambda path: -arrays[path].nbytes):
            self.begin(path, arrays[path])
        return {
            path: self._begun[path].result() if path in arrays else _hash(path, node) for path, node in nodes.items()
        }


def no_digests(root: Group) -> dict[str, str]:
    """What `BackgroundDigests.of` returns, with zeros in it."""
    return dict.fromkeys(_digested(root), "0" * 64)


def _digested(root: Group) -> dict[str, "Group | np.ndarray"]:
    return dict(sorted((item for item in root.walk() if item[0] != f"/{spec.DIGESTS}"), key=lambda i: i[0].encode()))


def digest_of_table(table: np.ndarray) -> str:
    """The root attribute `digest` for the dataset `digests`."""
    return f"sha256:{hashlib.sha256(table.tobytes()).hexdigest()}"


def digest_of_version_1(root: Group) -> str:
    """SHA-256 over everything in the tree but the root's `digest` attribute."""
    total = hashlib.sha256()
    for path, node in sorted(root.walk(), key=lambda item: item[0].encode()):
        _feed_node(total, path, node)
    return f"sha256:{total.hexdigest()}"


def _hash(path: str, node: Group | np.ndarray) -> str:
    total = hashlib.sha256()
    _feed_node(total, path, node)
    return total.hexdigest()


def _feed_node(total: Any, path: str, node: Group | np.ndarray) -> None:
    _feed(total, path)
    if isinstance(node, Group):
        _feed(total, "group")
        for name in sorted(node.attributes, key=str.encode):
            if (path, name) != ("/", spec.DIGEST):
                value = node.attributes[name]
                _feed(total, name, "integer" if isinstance(value, int) else "text", str(value))
    else:
        _feed(total, "dataset", node.dtype.str, ",".join(map(str, node.shape)))
        total.update(node.nbytes.to_bytes(8, "little"))
        total.update(np.ascontiguousarray(node).reshape(-1).view(np.uint8).data)


def _feed(total: Any, *texts: str) -> None:
    # The length in front keeps "ab", "c" apart from "a", "bc".
    for text in texts:
        encoded = text.encode()
        total.update(len(encoded).to_bytes(8, "little") + encoded)
