"""The columns of training rows, whatever holds the rows: range, mean, and whether units can stand for them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy import sparse

from pretrain.batches import as_dense_tensor
from pretrain.column_groups import group_names
from pretrain.exceptions import DataError
from pretrain.scaling import Scaling
from pretrain.units import Units

CHUNK_ENTRIES = 2**22  # of dense rows at a time: sparse data may have many columns


def column_range(X: Any, *, missing: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each column, float64 of shape (n_features,) each.

    Parameters
    ----------
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_features)
    missing : bool
        Whether NaN stands for a missing value; a column must have at least one that is not.

    Raises
    ------
    DataError
        If there are no rows, or values that are infinite, or NaN where none may be missing.
    """
    if X.shape[0] == 0:
        raise DataError("X has no rows; pretraining needs at least one.")
    if sparse.issparse(X):
        columns = X.tocsc()
        ends = (columns.nanmin, columns.nanmax) if missing else (columns.min, columns.max)
        bounds = [end(axis=0).toarray().ravel() for end in ends]
    else:
        values = X.numpy(force=True) if isinstance(X, torch.Tensor) else np.asarray(X)
        smaller, larger = (np.fmin, np.fmax) if missing else (np.minimum, np.maximum)
        bounds = [smaller.reduce(values, axis=0), larger.reduce(values, axis=0)]
    low, high = (np.asarray(bound, dtype=np.float64) for bound in bounds)
    unusable = ~(np.isfinite(low) & np.isfinite(high))
    if unusable.any():
        column = int(np.flatnonzero(unusable)[0])
        if missing:
            problem = "no known value" if np.isnan(low[column]) else "infinite values"
            raise DataError(f"X holds {problem} in column {column}. Drop the column, or the rows that are infinite.")
        problem = "values that are NaN or infinite"
        raise DataError(
            f"X holds {problem} in column {column}. Fill or drop them, or let an RBM draw missing values with "
            "missing='gibbs'."
        )
    return low, high


def column_mean(X: Any) -> np.ndarray:
    """Mean of each column, float64 of shape (n_features,); NaN counts as missing in dense rows."""
    if sparse.issparse(X):
        return np.asarray(X.astype(np.float64).mean(axis=0)).ravel()
    total: Any = 0.0
    known: Any = 0
    for rows in row_chunks(X):
        total = total + torch.nansum(rows, dim=0, dtype=torch.float64)
        known = known + (~torch.isnan(rows)).sum(dim=0)
    return (total / known).numpy(force=True)


def require_rows(units: Units, X: Any, scaling: Scaling | None = None) -> None:
    """Raise DataError unless the rows are such as visible units can stand for: counts, one-hot columns.

    Parameters
    ----------
    units : Units
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_units)
    scaling : Scaling or None
        Of rows that are raw; None for scaled ones.
    """
    if not {"softmax", "replicated_softmax"} & set(group_names(units.name)):
        return  # all other types take any value, some with a DataRangeWarning
    for rows in row_chunks(X if scaling is None else scaling.apply(X)):
        problem = units.row_problem(rows)
        if problem:
            raise DataError(f"X does not fit visible_units={units.name!r}: {problem}.")


def row_chunks(X: Any) -> Iterator[torch.Tensor]:
    """The rows of X as dense float32 tensors, 16 MB at a time."""
    X = X.tocsr() if sparse.issparse(X) else X
    n_rows = max(1, CHUNK_ENTRIES // X.shape[1])
    for start in range(0, X.shape[0], n_rows):
        yield as_dense_tensor(X[start : start + n_rows])
