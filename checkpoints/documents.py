"""JSON documents inside a checkpoint: strict in both directions.

JSON has no tuples and no infinities, and parameters of estimators have both. `tag` writes them as objects with one
key, `{"tuple": [...]}` and `{"float": "inf"}`; `untag` reads them back.
"""

import json
import math
from typing import Any

import numpy as np

from checkpoints.texts import decode_texts, encode_texts
from pretrain.exceptions import CheckpointError

_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def write_document(value: Any, owner: str) -> str:
    """JSON text in ASCII, keys in the order given. CheckpointError, naming `owner`, where JSON cannot hold it."""
    try:
        text = json.dumps(value, allow_nan=False)
        if json.loads(text) != _with_lists(value):
            raise ValueError("a key of a mapping is not text")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{owner} cannot be written as JSON ({error}). Use text, finite numbers, True, False, None, and "
            "lists and dicts of them."
        ) from error
    return text


def read_document(text: str, where: str) -> Any:
    """Parse JSON text; duplicate keys, NaN and whatever else is no JSON raise CheckpointError naming `where`."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not legal JSON ({error}); the file is damaged.") from error


def document_array(value: Any, owner: str) -> np.ndarray:
    """A JSON document as a dataset, one text of shape (): attributes end at 64 KiB, datasets do not."""
    return encode_texts([write_document(value, owner)], owner).reshape(())


def read_document_array(stored: np.ndarray, where: str) -> dict[str, Any]:
    """The JSON object in a dataset."""
    if stored.dtype.kind != "S" or stored.shape != ():
        raise CheckpointError(f"{where} must be one text; got {stored.dtype} of shape {stored.shape}.")
    document = read_document(decode_texts(stored, where)[0], where)
    if not isinstance(document, dict):
        raise CheckpointError(f"{where} must be a JSON object; got {type(document).__name__}.")
    return document


def tag(value: Any, owner: str) -> Any:
    """A number, text, bool, None, or lists, tuples and dicts of them, in the shape that JSON can hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        items = [tag(item, owner) for item in value]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):  # as pairs: JSON's keys are texts alone
        return {"dict": [[tag(key, owner), tag(item, owner)] for key, item in value.items()]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(
        f"{owner} must be a number, text, True, False, None, or a list, tuple or dict of those to be saved; "
        f"got {type(value).__name__}: {value!r:.100}."
    )


def untag(value: Any, where: str) -> Any:
    """The inverse of `tag`."""
    if isinstance(value, list):
        return [untag(item, where) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["tuple"] and isinstance(value["tuple"], list):
        return tuple(untag(item, where) for item in value["tuple"])
    if list(value) == ["dict"] and _are_pairs(value["dict"]):
        return {untag(key, where): untag(item, where) for key, item in value["dict"]}
    if list(value) == ["float"] and str(value["float"]) in _NON_FINITE:
        return _NON_FINITE[str(value["float"])]
    raise CheckpointError(
        f"{where} holds the JSON object {value!r:.100}; the only legal ones are {{'tuple': [...]}}, "
        "{{'dict': [[key, value], ...]}} and "
        "{'float': 'inf' | '-inf' | 'nan'}."
    )


def _are_pairs(value: Any) -> bool:
    """Whether these are lists of a key, which is a number, text, bool or None, and a value."""
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and not isinstance(pair[0], list | dict) for pair in value
    )


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError(f"a key appears twice among {', '.join(keys)}")
    return dict(pairs)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
