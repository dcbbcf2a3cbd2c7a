"""Scaling of features, learned on training rows and kept with the model."""

from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from pretrain._validation import require_choice
from pretrain.exceptions import DataError

ROUNDING = 1e-6  # some float32 steps at 1: scaled values may leave [0, 1] by that much


class Scaling:
    """An affine map of each feature, x -> (x - offset) / scale.

    Parameters
    ----------
    kind : {"none", "range", "minmax", "standard"}
        What the numbers mean: nothing is done; division by a declared range (pixels by 255); smallest and
        largest training value to 0 and 1; zero mean and unit variance on the training rows.
    offset, scale : float64 ndarray of shape (n_features,) or (1,)
    """

    KINDS: ClassVar[tuple[str, ...]] = ("none", "range", "minmax", "standard")

    def __init__(self, kind: str, offset: np.ndarray, scale: np.ndarray) -> None:
        require_choice("Scaling", "kind", kind, self.KINDS)
        self.kind = kind
        self.offset = np.asarray(offset, dtype=np.float64)
        self.scale = np.asarray(scale, dtype=np.float64)

    @classmethod
    def none(cls) -> "Scaling":
        """The scaling that leaves the data alone."""
        return cls("none", np.zeros(1), np.ones(1))

    @classmethod
    def fit(cls, kind: str, X: np.ndarray, value_range: tuple[float, float] | None = None) -> "Scaling":
        """Learn the scaling from training rows.

        Parameters
        ----------
        kind : {"none", "range", "minmax", "standard"}
        X : ndarray of shape (n_samples, n_features)
            Training rows only.
        value_range : (float, float) or None
            What the format declares, for "range"; without it "range" leaves the data alone.

        Raises
        ------
        DataError
            For a sparse matrix whose zeros the scaling would move.

        Notes
        -----
        NaN counts as missing: the known values decide. A constant column becomes zero under "minmax" and
        "standard": it is divided by 1.
        """
        require_choice("Scaling", "kind", kind, cls.KINDS)
        if kind == "range" and value_range is not None:
            low, high = value_range
            return cls("range", np.array([low]), np.array([high - low]))
        if sparse.issparse(X) and kind in ("minmax", "standard"):
            return cls._fit_sparse(kind, X)
        if kind == "minmax":
            low, high = (bound.reduce(X, axis=0).astype(np.float64) for bound in (np.fmin, np.fmax))
            return cls(kind, low, _divisor(high - low))
        if kind == "standard" and np.issubdtype(X.dtype, np.floating) and np.isnan(X).any():
            mean, deviation = (np.asarray(f(X, axis=0, dtype=np.float64)) for f in (np.nanmean, np.nanstd))
            return cls(kind, mean, _divisor(deviation))
        if kind == "standard":
            mean = X.mean(axis=0, dtype=np.float64)
            # A chunk at a time: the squares of a large matrix would be a float64 copy of it.
            square = sum(
                ((X[i : i + 4096].astype(np.float64) - mean) ** 2).sum(axis=0) for i in range(0, len(X), 4096)
            )
            constant = X.min(axis=0) == X.max(axis=0)  # by its values: its mean may be rounded away from them
            mean = np.where(constant, X[0].astype(np.float64), mean)
            return cls(kind, mean, np.where(constant, 1.0, _divisor(np.sqrt(square / len(X)))))
        return cls.none()

    @classmethod
    def _fit_sparse(cls, kind: str, X: Any) -> "Scaling":
        low, high = (bound.toarray().ravel().astype(np.float64) for bound in (X.min(axis=0), X.max(axis=0)))
        if kind == "standard" or (low < 0).any():
            raise DataError(
                f"Scaling {kind!r} would move the zeros of this sparse matrix and so make it dense. Scale it "
                "before, or take 'none', or 'minmax' for values of 0 or more."
            )
        return cls(kind, np.zeros(len(high)), _divisor(high))

    def apply(self, X: Any, dtype: type = np.float32) -> Any:
        """Scale rows: (n_samples, n_features) of any real type -> `dtype`; the input is left alone.

        A sparse matrix stays one where the scaling keeps zeros.

        Raises
        ------
        DataError
            If the number of columns differs from that of the training rows.
        """
        if sparse.issparse(X) and not self.offset.any():
            scaled = X if self.kind == "none" else X.multiply(1 / self.scale)
            return scaled.tocsr().astype(dtype)
        X = X.toarray() if sparse.issparse(X) else np.asarray(X)
        if len(self.scale) > 1 and X.shape[1] != len(self.scale):
            raise DataError(f"The scaling was learned on {len(self.scale)} features; got {X.shape[1]}.")
        if self.kind == "none":
            return np.asarray(X, dtype=dtype)
        # In float64 inside: columns far from zero would lose their digits in float32 before the offset is gone.
        scaled = np.empty(X.shape, dtype=dtype)
        np.subtract(X, self.offset, out=scaled, casting="same_kind")
        return np.divide(scaled, self.scale, out=scaled, casting="same_kind")

    def undo(self, X: np.ndarray) -> np.ndarray:
        """The inverse of `apply`; float64 stays float64, all else is float32."""
        return (X * self.scale + self.offset).astype(inference_dtype(X), copy=False)


def in_unit_interval(X: np.ndarray) -> bool:
    """Whether every value lies in [0, 1], up to float32 rounding."""
    return bool(X.size == 0 or (X.min() >= -ROUNDING and X.max() <= 1 + ROUNDING))


def inference_dtype(X: np.ndarray) -> type:
    """float64 rows are answered in float64, all others in float32."""
    return np.float64 if X.dtype == np.float64 else np.float32


def _divisor(spread: np.ndarray) -> np.ndarray:
    # A constant column has no spread, and one below float32's smallest normal number cannot be divided by.
    return np.where(spread > np.finfo(np.float32).tiny, spread, 1.0)
