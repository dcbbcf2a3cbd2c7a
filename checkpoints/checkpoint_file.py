"""Saving, loading and looking into checkpoint files."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import format as spec
from checkpoints.child_process import verify_in_child
from checkpoints.codecs import (
    build_provenance,
    build_root,
    check_digest,
    check_header,
    check_root,
    encode_root,
    seal,
)
from checkpoints.history import build_history
from checkpoints.label_arrays import build_labels
from checkpoints.network_codec import CLASSES, TARGET_SCALING, read_architecture
from checkpoints.reading import read_tree
from checkpoints.scaling_codec import scaling_kind
from checkpoints.stack_codec import SCALING
from checkpoints.store import require_free, write_tree
from checkpoints.tree import Group, crc32_of_dataset
from pretrain.exceptions import CheckpointError

PathLike = str | os.PathLike[str]


def save(
    obj: Any,
    path: PathLike,
    *,
    overwrite: bool = False,
    history: Sequence[Mapping[str, Any]] = (),
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Save a model to an HDF5 file, completely or not at all.

    Parameters
    ----------
    obj : Stack, Network, DBN, DBM, fitted estimator of `pretrain.estimators`, or RunState
    path : str or path
    overwrite : bool
        Replace a file that is there; without it that is an error.
    history : list of dict
        Flat records of numbers, text, bools and None. Of an estimator: default is its own history.
    provenance : dict or None
        Where the model comes from, whatever JSON can hold: the command, the data's hash, the split, the seed,
        package versions. Nothing is added to it; the file has no clock and no machine in it otherwise, so the
        same object gives the same bytes.

    Raises
    ------
    CheckpointError
        If the object cannot be saved (of an unknown type, not fitted, weights that are not finite or not float32,
        a parameter that is a live object), or the file cannot be written. An older file is untouched then.
    """
    target = Path(path)
    require_free(target, overwrite=overwrite)
    naming = _naming(f"Cannot save to {target}")
    root = naming(encode_root)(obj, history, provenance)
    write_tree(root, target, naming(seal), overwrite=overwrite)


def load(path: PathLike) -> Any:
    """Load what `save` has written, on the CPU.

    Returns
    -------
    Stack, Network (in evaluation mode), DBN, DBM, fitted estimator, or RunState (what a run goes on from)

    Raises
    ------
    FormatVersionError
        If the file is in a newer version of the format.
    CheckpointError
        If it is not a checkpoint, or damaged, or not legal in any detail; the message names the place in the file.
    """
    with _naming(f"Cannot load {Path(path)}"):
        root, _ = _read_checked(path)
        return build_root(root)


def describe(path: PathLike) -> dict[str, Any]:
    """What a checkpoint holds but for the weights, ready for JSON; the file is checked as by `verify`.

    Returns
    -------
    dict
        path, file_size (bytes), format_version, created_by, created_at (of the provenance), kind, class and params
        (of an estimator), model ("stack", "network", "dbn", "dbm"; "training" of a run's state), config (of a
        network: the architecture; of others: the layers' settings), layers, n_parameters, scaling, target_scaling,
        classes, provenance, n_history_records, resumable, digest. What a kind of object does not have is None.
    """
    with _naming(f"Cannot describe {Path(path)}"):
        root, summary = _read_checked(path)
        model, layers = summary["model"], summary["layers"]
        estimator = summary["estimator"] or {"class": None, "params": None}
        provenance = build_provenance(root)
        return {
            "path": str(path),
            "file_size": Path(path).stat().st_size,
            "format_version": root.attributes["format_version"],
            "created_by": root.attributes["created_by"],
            "created_at": (provenance or {}).get("created_at"),
            "kind": summary["kind"],
            **estimator,
            "model": model,
            **_describe_model(root.groups[model], f"/{model}", layers),
            "n_parameters": sum(layer["n_parameters"] for layer in layers),
            "provenance": provenance,
            "n_history_records": root.groups[spec.HISTORY].attributes[spec.COUNT],
            "resumable": spec.TRAINING in root.groups,
            "digest": root.attributes[spec.DIGEST],
        }


def verify(path: PathLike, *, isolated: bool = False) -> dict[str, Any]:
    """Check everything that `load` checks, building nothing.

    Parameters
    ----------
    path : str or path
    isolated : bool
        Read the file in a process of its own, which takes a few seconds to start: for files of unknown origin, which
        might crash the HDF5 library or keep it busy for ever.

    Returns
    -------
    dict
        intact (always True), kind, format_version, n_groups, n_datasets, n_bytes (of the datasets), digest.

    Raises
    ------
    CheckpointError
        As `load`, naming the first place that is wrong.
    """
    if isolated:
        return verify_in_child(Path(path))
    with _naming(f"{Path(path)} is not intact"):
        root, summary = _read_checked(path)
        nodes = [node for _, node in root.walk()]
        arrays = [node for node in nodes if not isinstance(node, Group)]
        return {
            "intact": True,
            "kind": summary["kind"],
            "format_version": root.attributes["format_version"],
            "n_groups": len(nodes) - len(arrays),
            "n_datasets": len(arrays),
            "n_bytes": sum(array.nbytes for array in arrays),
            "digest": root.attributes[spec.DIGEST],
        }


def read_history(path: PathLike) -> list[dict[str, Any]]:
    """The records of training that were saved with the model, equal to what was given to `save`."""
    with _naming(f"Cannot read the history of {Path(path)}"):
        root, _ = _read_checked(path)
        return build_history(root.groups[spec.HISTORY], f"/{spec.HISTORY}")


def _read_checked(path: PathLike) -> tuple[Group, dict[str, Any]]:
    digests: dict[str, str] = {}

    def see_dataset(place: str, array: np.ndarray, pieces: Iterator[memoryview]) -> None:
        digests[place] = crc32_of_dataset(place, array, pieces)

    root = read_tree(Path(path), check_header, see_dataset)
    summary = check_root(root)
    check_digest(root, digests)
    return root, summary


def _describe_model(group: Group, path: str, layers: list[dict[str, Any]]) -> dict[str, Any]:
    classes = group.groups.get(CLASSES)
    scalings = {
        name: None if name not in group.groups else scaling_kind(group.groups[name], f"{path}/{name}")
        for name in (SCALING, TARGET_SCALING)
    }
    config = {"layers": layers}
    if path == f"/{spec.NETWORK}":
        config = dataclasses.asdict(read_architecture(group, path))
    return {
        "config": config,
        "layers": layers,
        **scalings,
        "classes": None if classes is None else build_labels(classes, f"{path}/{CLASSES}").tolist(),
    }


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Put the file, which the checks below do not know, in front of what they say."""
    try:
        yield
    except CheckpointError as error:
        raise type(error)(f"{what}: {error}") from error
    except RecursionError as error:
        raise CheckpointError(f"{what}: lists or groups are nested too deeply, or contain themselves.") from error
