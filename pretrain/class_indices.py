"""Class indices of rows as training takes them, checked."""

import numpy as np

from pretrain.exceptions import DataError


def classes_of(y: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray:
    """The labels that class indices stand for, (n_classes,): `classes`, or 0, 1, ..., the largest index.

    Raises
    ------
    DataError
        If no row has a label: every index is negative.
    """
    if not (y >= 0).any():
        raise DataError("No row has a label (y >= 0). Leave y out for a net without labels.")
    return np.arange(int(y.max()) + 1) if classes is None else np.asarray(classes)


def class_indices(y: np.ndarray, n_rows: int, n_classes: int) -> np.ndarray:
    """Class indices as int64, (n_rows,); DataError unless they are one a row, from -1 to `n_classes` - 1."""
    if y.shape != (n_rows,) or y.dtype.kind not in "iu":
        raise DataError(f"y must be class indices, one a row, ({n_rows},); got {y.dtype} of shape {tuple(y.shape)}.")
    if y.min() < -1 or y.max() >= n_classes:
        raise DataError(
            f"Class indices must lie in 0 to {n_classes - 1}, or be -1 for a row without a label; got {y.min()} to "
            f"{y.max()}."
        )
    return y.astype(np.int64)
