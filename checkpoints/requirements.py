"""What a tree must be: one sentence for every violation, naming the place inside the file.

The order is that of trust: which members a group has, then their settings, then shapes, types and finiteness of
datasets. Nothing is allocated or built from a size before a dataset of that size has been seen.
"""

import dataclasses
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from checkpoints import format as spec
from checkpoints.documents import read_document
from checkpoints.tree import Group
from pretrain.exceptions import CheckpointError, PretrainError

_PIECE = 2**17  # numbers that are looked at together: with what is said of them they stay in the processor's cache
_TYPE_NAMES = {str: "text", int: "an integer"}


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """What a dataset must be: its shape and dtype.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        As numpy writes it, "<f4" for float32.
    trainable : bool
        Whether its numbers count as parameters of the model.
    n_unused : int
        How many of them stand for nothing, and do not count.
    """

    shape: tuple[int, ...]
    dtype: str = "<f4"
    trainable: bool = True
    n_unused: int = 0

    @property
    def n_parameters(self) -> int:
        """How many parameters of the model the dataset holds."""
        return math.prod(self.shape) - self.n_unused if self.trainable else 0


def require_keys(
    group: Group,
    path: str,
    *,
    attributes: Collection[str] = (),
    datasets: Collection[str] = (),
    groups: Collection[str] = (),
    optional_datasets: Collection[str] = (),
    optional_groups: Collection[str] = (),
) -> None:
    """Raise unless the group holds exactly the named members, the optional ones or not."""
    members: tuple[tuple[str, Collection[str], Collection[str], Collection[str]], ...] = (
        ("attribute", group.attributes, attributes, ()),
        ("dataset", group.datasets, datasets, optional_datasets),
        ("group", group.groups, groups, optional_groups),
    )
    for sort, present, wanted, optional in members:
        for name in wanted:
            if name not in present:
                found = ", ".join(sorted(present)) or "none"
                raise CheckpointError(f"{path} lacks the {sort} {name!r}; its {sort}s: {found}.")
        for name in present:
            if name not in wanted and name not in optional:
                legal = ", ".join([*wanted, *optional]) or "none"
                raise CheckpointError(f"{path} has an unexpected {sort} {name!r}; expected {sort}s: {legal}.")


def require_attribute(group: Group, path: str, name: str, wanted: type) -> Any:
    """The attribute, which must be there and be text (`str`) or an integer (`int`)."""
    if name not in group.attributes:
        raise CheckpointError(f"{path} lacks the attribute {name!r}.")
    value = group.attributes[name]
    if not isinstance(value, wanted):
        raise CheckpointError(f"The attribute {name!r} of {path} must be {_TYPE_NAMES[wanted]}; got {value!r}.")
    return value


def require_kind(group: Group, path: str, kinds: Mapping[str, int]) -> str:
    """The `kind` of an object's group, one of `kinds` and in a version that is at most the one given there."""
    kind = require_attribute(group, path, spec.KIND, str)
    if kind not in kinds:
        raise CheckpointError(f"{path} is of kind {kind!r}; expected one of: {', '.join(kinds)}.")
    version = require_attribute(group, path, spec.KIND_VERSION, int)
    if not 1 <= version <= kinds[kind]:
        raise CheckpointError(
            f"{path} is a {kind} in version {version}; this program reads versions 1 to {kinds[kind]}. "
            "Update pretrain, or save the model again."
        )
    return kind


def require_config(
    group: Group,
    path: str,
    fields: Mapping[str, tuple[type, ...]],
    optional: Mapping[str, tuple[type, ...]] | None = None,
) -> dict[str, Any]:
    """The settings of an object: a JSON object with exactly these keys, the optional ones or not, of these types."""
    types_of = {**fields, **(optional or {})}
    where = f"the attribute {spec.CONFIG!r} of {path}"
    config = read_document(require_attribute(group, path, spec.CONFIG, str), where)
    if not isinstance(config, dict) or not set(fields) <= set(config) <= set(types_of):
        found = ", ".join(config) if isinstance(config, dict) else type(config).__name__
        maybe = f", and maybe {', '.join(optional)}" if optional else ""
        raise CheckpointError(f"{where} must be a JSON object with the keys {', '.join(fields)}{maybe}; got {found}.")
    for key in config:
        if type(config[key]) not in types_of[key]:
            legal = " or ".join(t.__name__ for t in types_of[key])
            raise CheckpointError(f"{key!r} in {where} must be of type {legal}; got {config[key]!r:.100}.")
    return config


def require_array(group: Group, path: str, name: str, wanted: ArraySpec) -> np.ndarray:
    """A dataset of the group, which must have the given shape and dtype and hold finite numbers only."""
    array, where = group.datasets[name], f"{path}/{name}"
    if array.shape != wanted.shape:
        raise CheckpointError(f"{where} must have shape {wanted.shape}; got {array.shape}.")
    if array.dtype.str != wanted.dtype:
        raise CheckpointError(f"{where} must be of type {np.dtype(wanted.dtype)}; got {array.dtype}.")
    if array.dtype.kind == "f":
        flat = array.reshape(-1)
        pieces = (flat[start : start + _PIECE] for start in range(0, array.size, _PIECE))
        n_bad = sum(piece.size - int(np.count_nonzero(np.isfinite(piece))) for piece in pieces)
        if n_bad:
            raise CheckpointError(
                f"{where} must hold finite numbers; {n_bad} of {array.size} are infinite or not a number."
            )
    return array


def require_names(names: Collection[str], owner: str) -> None:
    """Raise unless every name can be the name of a dataset."""
    for name in names:
        if not isinstance(name, str) or not re.match(spec.LEGAL_NAME, name):
            raise CheckpointError(
                f"A name of {owner} must be made of ASCII letters, digits, '_', '-' and '.' (no leading '.' or "
                f"'-', 200 characters at most); got {name!r:.250}."
            )


@contextmanager
def blaming(path: str) -> Iterator[None]:
    """Turn what the library says about settings or state into a CheckpointError that names the place."""
    try:
        yield
    except CheckpointError:
        raise
    except (PretrainError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
