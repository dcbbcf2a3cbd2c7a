"""The history of training: flat records as columns, and back without loss.

Column `key` is the dataset `columns/key`, one entry a record; `cells/key` says of each entry what it is (missing,
None, a whole number, ...), because the keys of records differ and a column may mix types.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from checkpoints import format as spec
from checkpoints.requirements import (
    require_attribute,
    require_config,
    require_keys,
    require_kind,
    require_names,
)
from checkpoints.texts import decode_texts, encode_texts
from checkpoints.tree import Group, new_object
from pretrain.exceptions import CheckpointError

KIND, VERSION = "history", 1
COLUMNS, CELLS = "columns", "cells"
MISSING, NONE, INTEGER, FLOAT, TEXT, BOOLEAN = range(6)
_CODES = {type(None): NONE, int: INTEGER, float: FLOAT, str: TEXT, bool: BOOLEAN}
_EXACT_IN_FLOAT64 = 2**53


def encode_history(records: Sequence[Mapping[str, Any]]) -> Group:
    """The group of a list of flat records."""
    if not all(isinstance(record, Mapping) for record in records):
        raise CheckpointError("The history must be a list of flat records (dicts).")
    if len(records) > spec.MAX_RECORDS:
        raise CheckpointError(f"A history holds at most {spec.MAX_RECORDS} records; got {len(records)}.")
    keys = list(dict.fromkeys(key for record in records for key in record))
    require_names(keys, "the history's records")
    columns, cells = Group(), Group()
    for key in keys:
        codes = [_code(key, record[key]) if key in record else MISSING for record in records]
        values = [record[key] if code > NONE else None for record, code in zip(records, codes, strict=True)]
        columns.datasets[key] = _column(key, values, set(codes) - {MISSING, NONE})
        cells.datasets[key] = np.array(codes, dtype="|u1")
    group = new_object(KIND, VERSION, {"keys": keys}, groups={COLUMNS: columns, CELLS: cells})
    group.attributes[spec.COUNT] = len(records)
    return group


def check_history(group: Group, path: str) -> None:
    """Raise unless the group is a legal history."""
    require_kind(group, path, {KIND: VERSION})
    attributes = (spec.KIND, spec.KIND_VERSION, spec.CONFIG, spec.COUNT)
    require_keys(group, path, attributes=attributes, groups=(COLUMNS, CELLS))
    keys = require_config(group, path, {"keys": (list,)})["keys"]
    require_names(keys, path)
    require_keys(group.groups[COLUMNS], f"{path}/{COLUMNS}", datasets=keys)
    require_keys(group.groups[CELLS], f"{path}/{CELLS}", datasets=keys)
    count = require_attribute(group, path, spec.COUNT, int)
    if not 0 <= count <= spec.MAX_RECORDS:
        raise CheckpointError(f"{path} must have from 0 to {spec.MAX_RECORDS} records; its count says {count}.")
    for key in keys:
        column, codes = group.groups[COLUMNS].datasets[key], group.groups[CELLS].datasets[key]
        if (column.dtype.str not in ("<i8", "<f8") and column.dtype.kind != "S") or codes.dtype.str != "|u1":
            raise CheckpointError(
                f"{path}/{COLUMNS}/{key} must be int64, float64 or text with uint8 cells; got {column.dtype} "
                f"with {codes.dtype}."
            )
        if column.shape != (count,) or codes.shape != (count,):
            raise CheckpointError(
                f"{path}/{COLUMNS}/{key} and its cells must have shape ({count},), one entry a record; got "
                f"{column.shape} and {codes.shape}."
            )
    build_history(group, path)


def build_history(group: Group, path: str) -> list[dict[str, Any]]:
    """The records of a checked group, equal to those that were saved."""
    records: list[dict[str, Any]] = [{} for _ in range(int(group.attributes[spec.COUNT]))]
    for key in require_config(group, path, {"keys": (list,)})["keys"]:
        column, codes = group.groups[COLUMNS].datasets[key], group.groups[CELLS].datasets[key]
        where = f"{path}/{COLUMNS}/{key}"
        values = decode_texts(column, where) if column.dtype.kind == "S" else column.tolist()
        for row, (record, value, code) in enumerate(zip(records, values, codes.tolist(), strict=True)):
            if code != MISSING:
                record[key] = _value(value, code, f"{where}[{row}]")
    return records


def _code(key: str, value: Any) -> int:
    value = value.item() if isinstance(value, np.generic) else value
    if type(value) not in _CODES:
        raise CheckpointError(
            f"{key!r} in a record of the history must be a number, text, True, False or None; "
            f"got {type(value).__name__}: {value!r:.100}."
        )
    return _CODES[type(value)]


def _column(key: str, values: list[Any], sorts: set[int]) -> np.ndarray:
    largest = max((abs(int(v)) for v in values if isinstance(v, int | np.integer)), default=0)
    if sorts and sorts <= {INTEGER, BOOLEAN} and largest < 2**63:
        return np.array([0 if v is None else int(v) for v in values], dtype="<i8")
    if sorts <= {INTEGER, BOOLEAN, FLOAT} and largest <= _EXACT_IN_FLOAT64:
        return np.array([np.nan if v is None else float(v) for v in values], dtype="<f8")
    texts = ["" if v is None else str(v) for v in values]  # str of a float is the shortest that reads back
    return encode_texts(texts, f"{key!r} in the history")


def _value(value: Any, code: int, where: str) -> Any:
    try:
        if code == NONE:
            return None
        if code == BOOLEAN:
            return {"True": True, "False": False, 1: True, 0: False}[value]
        if code == TEXT and not isinstance(value, str):
            raise ValueError("a number is no text")
        read = {INTEGER: int, FLOAT: float, TEXT: str}[code](value)
        if code == INTEGER and isinstance(value, float) and read != value:
            raise ValueError("it is not whole")
        return read
    except (ValueError, KeyError, OverflowError) as error:
        raise CheckpointError(f"{where} is {value!r:.50}, which its cell code {code} does not allow.") from error
