"""Arrays of labels: whole numbers, floats, booleans and text, with the numpy type that they come back in.

The group of an array has the attribute `numpy_dtype` and one dataset, `values`. Booleans are stored as 0 and 1 in
uint8, text as fixed-length UTF-8.
"""

import re

import numpy as np

from checkpoints import format as spec
from checkpoints.requirements import require_attribute, require_keys, require_kind
from checkpoints.texts import decode_texts, encode_texts
from checkpoints.tree import Group, new_object
from pretrain.exceptions import CheckpointError

KIND, VERSION = "array", 1
VALUES, NUMPY_DTYPE = "values", "numpy_dtype"
_TEXT_DTYPE = re.compile(r"<U(0|[1-9][0-9]{0,8})\Z")


def encode_labels(values: np.ndarray, owner: str) -> Group:
    """The group of an array of numbers, booleans or text; CheckpointError, naming `owner`, for other types."""
    values = np.asarray(values)
    dtype = values.dtype.newbyteorder("<").str
    if dtype in spec.NUMERIC_DTYPES:
        stored = values.astype(dtype)
    elif dtype == "|b1":
        stored = values.astype("|u1")
    elif dtype == "|O" or _TEXT_DTYPE.match(dtype):
        # At least as many bytes as the type has characters: then a reader may trust the width in `numpy_dtype`.
        width = values.dtype.itemsize // 4 if dtype != "|O" else 1
        stored = encode_texts(values.ravel().tolist(), owner, width=width).reshape(values.shape)
    else:
        raise CheckpointError(
            f"{owner} has the numpy type {values.dtype}, which a checkpoint cannot hold; use integers, float32, "
            "float64, booleans or text."
        )
    group = new_object(KIND, VERSION, datasets={VALUES: stored})
    group.attributes[NUMPY_DTYPE] = dtype
    return group


def check_labels(group: Group, path: str) -> np.ndarray:
    """The stored values, whose type must fit `numpy_dtype`."""
    require_kind(group, path, {KIND: VERSION})
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION, NUMPY_DTYPE), datasets=(VALUES,))
    dtype = require_attribute(group, path, NUMPY_DTYPE, str)
    stored = group.datasets[VALUES]
    text = _TEXT_DTYPE.match(dtype)
    if text or dtype == "|O":
        legal = stored.dtype.kind == "S" and (not text or int(text[1]) <= stored.dtype.itemsize)
    elif dtype == "|b1":
        legal = stored.dtype.str == "|u1" and bool((stored <= 1).all())
    else:
        legal = dtype in spec.NUMERIC_DTYPES and stored.dtype.str == dtype
    if not legal:
        raise CheckpointError(
            f"{path}/{VALUES} is of type {stored.dtype.str!r}, which does not fit numpy_dtype {dtype!r}."
        )
    if stored.dtype.kind == "S":
        decode_texts(stored, f"{path}/{VALUES}")
    return stored


def build_labels(group: Group, path: str) -> np.ndarray:
    """The array of a checked group, in its own numpy type."""
    stored, dtype = check_labels(group, path), str(group.attributes[NUMPY_DTYPE])
    if stored.dtype.kind == "S":
        texts = decode_texts(stored, path)
        return np.array(texts, dtype=dtype).reshape(stored.shape)
    return stored.astype(dtype)
