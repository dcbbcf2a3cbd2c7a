"""Class indices of rows as training takes them, with -1 for rows without a label: made of labels, and checked."""

from typing import Any

import numpy as np

from pretrain.exceptions import DataError

UNLABELLED = -1
SIGNED_CLASSES = (-1, 1)  # a common way to write two classes; one class and unlabelled rows could not be learned


def labelled_rows(y: np.ndarray) -> np.ndarray:
    """Which rows have a label, (n_samples,) bool: integer -1 is none, unless the labels are exactly -1 and 1."""
    if y.dtype.kind != "i" or np.array_equal(np.unique(y), SIGNED_CLASSES):
        return np.ones(len(y), dtype=bool)
    return y != UNLABELLED


def fill_missing_labels(y: Any) -> tuple[Any, np.ndarray | None]:
    """Labels with another in the place of each that is None or NaN, and which were there, (n_samples,) bool.

    Only arrays of objects, and lists that become one or texts, are looked at: elsewhere NaN is a mistake. Anything
    without a missing label is returned as it is, with None; but nullable integers and booleans of pandas, which
    scikit-learn would make floats, and -1 among them a class, become what they are.
    """
    nullable = _is_nullable(y)
    if nullable:
        y = np.fromiter(y, dtype=object, count=len(y))
    values = np.asarray(y) if hasattr(y, "dtype") or isinstance(y, list | tuple) else y
    if not hasattr(values, "dtype") or values.ndim != 1 or values.dtype.kind not in "OU":
        return y, None
    if values.dtype.kind == "U":  # as which numpy writes NaN among texts
        if hasattr(y, "dtype"):
            return y, None
        values = np.array(y, dtype=object)
    known = np.array([not _is_missing(label) for label in values], dtype=bool)
    if known.all():
        return (np.array(values.tolist()) if nullable else y), None
    labels = values[known]
    filled = np.full(len(values), labels[0] if len(labels) else UNLABELLED, dtype=object)
    filled[known] = labels
    # Numbers among objects are no classes to scikit-learn.
    texts = len(labels) > 0 and all(isinstance(label, str) for label in labels)
    return filled if texts else np.array(filled.tolist()), known


def _is_nullable(y: Any) -> bool:
    dtype = getattr(y, "dtype", None)
    return getattr(dtype, "kind", "") in tuple("biu") and not isinstance(dtype, np.dtype)


def _is_missing(label: Any) -> bool:
    if label is None:
        return True
    equal = label == label
    return not isinstance(equal, bool | np.bool_) or not equal  # pandas' NA has no truth value


def encode_labels(y: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class indices, int64 (n_samples,), -1 for rows that are not `labelled`; and the classes, sorted.

    Raises
    ------
    DataError
        If no row is labelled.
    """
    if not labelled.any():
        raise DataError(
            "Every row is unlabelled (y == -1). Give labels of some rows; a model without labels takes no y."
        )
    classes, found = np.unique(y[labelled], return_inverse=True)
    indices = np.full(len(y), UNLABELLED, dtype=np.int64)
    indices[labelled] = found
    return indices, classes


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


def validation_indices(X: Any, y: np.ndarray, n_features: int, n_classes: int) -> np.ndarray:
    """Class indices of rows whose error is measured, int64 (n_rows,).

    Raises
    ------
    DataError
        If there are no classes, or unless X has shape (n_rows, n_features) with rows, and `y` a class for each.
    """
    if n_classes == 0:
        raise DataError("Validation rows are for the error of the labels, and the net has none. Leave them out.")
    if len(X.shape) != 2 or X.shape[1] != n_features or X.shape[0] == 0:
        raise DataError(f"Validation rows must have {n_features} features each; got shape {tuple(X.shape)}.")
    indices = class_indices(y, X.shape[0], n_classes)
    if (indices < 0).any():
        raise DataError("Every validation row must have a label, and some are -1. Leave those out.")
    return indices
