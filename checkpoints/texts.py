"""Texts as arrays of fixed-length UTF-8, filled up with null characters: numpy's "S".

Variable-length text would be friendlier to read, but its bytes lie outside the dataset, where neither the dataset's
checksum nor a check of its declared size reaches them.
"""

from collections.abc import Sequence

import numpy as np

from pretrain.exceptions import CheckpointError

_PADDING = "\0"  # numpy and HDF5 both drop it from the end of fixed-length text


def encode_texts(texts: Sequence[object], owner: str, *, width: int = 1) -> np.ndarray:
    """Texts as an array of fixed-length UTF-8, at least `width` bytes each: -> "S" (n_texts,)."""
    encoded = []
    for text in texts:
        if not isinstance(text, str) or text.endswith(_PADDING):
            raise CheckpointError(f"{owner} must hold text that does not end in a null character; got {text!r:.100}.")
        try:
            encoded.append(text.encode())
        except UnicodeEncodeError as error:
            raise CheckpointError(f"{owner} holds text that is not legal Unicode: {text!r:.100}.") from error
    width = max(width, 1, *map(len, encoded)) if encoded else max(width, 1)
    return np.array(encoded, dtype=f"S{width}")


def decode_texts(stored: np.ndarray, where: str) -> list[str]:
    """The texts of an "S" array of any shape, in C order."""
    try:
        return [value.decode() for value in stored.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{where} holds bytes that are not UTF-8 ({error}).") from error
