"""A source of batches: arrays, tensors, memory maps and sparse matrices, seen alike by the training loop."""

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

from pretrain.exceptions import DataError


class Batch(NamedTuple):
    """Rows of one step: `X` (batch, n_features) float32 on the run's device, `y` (batch, ...), `weight` (batch,)."""

    X: torch.Tensor
    y: torch.Tensor | None = None
    weight: torch.Tensor | None = None


class BatchSource:
    """Shuffled batches of the rows of `X` (and `y`), gathered into one buffer that is used again.

    Dense data stay as they are in memory (any float or integer type, read-only or memory-mapped) and are turned
    into float32 a batch at a time; on a GPU they are moved there once. Sparse rows are made dense a batch at a
    time; on a GPU they come by way of pinned memory, so that the host need not wait for it. Neither `X` nor `y` is
    ever written to.

    Parameters
    ----------
    X : ndarray, Tensor or scipy sparse matrix of shape (n_samples, n_features)
    y : Tensor of shape (n_samples, ...) or None
    sample_weight : array of shape (n_samples,) or None
        What each row counts; only their ratios matter, the batches get weights of mean 1.
    strata : Tensor of shape (n_samples,) or None
        A whole number a row, such as its class: every batch then holds each number in its share of all rows.
    batch_size : int
        The last batch of an epoch holds the rows that remain.
    generator : torch.Generator
        On the CPU; draws the order of the rows, anew for every epoch.
    device : torch.device

    Raises
    ------
    DataError
        If `X` is not two-dimensional, has no rows, or differs from `y` in length, or if weights are negative, not
        finite, all zero or not one a row.
    """

    def __init__(
        self,
        X: Any,
        y: torch.Tensor | None = None,
        *,
        sample_weight: Any = None,
        strata: torch.Tensor | None = None,
        batch_size: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        if len(X.shape) != 2 or X.shape[0] == 0:
            raise DataError(f"X must have shape (n_samples, n_features) with rows; got {tuple(X.shape)}.")
        if y is not None and y.shape[0] != X.shape[0]:
            raise DataError(f"X has {X.shape[0]} rows but y has {y.shape[0]}; they must match.")
        self.n_samples, self.n_features = X.shape
        self.batch_size = min(batch_size, self.n_samples)
        self.generator = generator
        self.device = device
        self._rows = _rows_on_device(X, device)
        self._y = None if y is None else y.to(device)
        self._weight = None if sample_weight is None else mean_one_weight(sample_weight, X.shape[0]).to(device)
        self._strata = None if strata is None else strata.cpu().unique(return_inverse=True)[1]
        self._buffer = torch.empty(self.batch_size, self.n_features, device=device)
        self._order = torch.empty(0, dtype=torch.int64)

    @property
    def n_batches(self) -> int:
        """Batches an epoch, the short last one included."""
        return -(-self.n_samples // self.batch_size)

    def shuffle(self) -> None:
        """Draw the order of the rows for the next epoch."""
        order = torch.randperm(self.n_samples, generator=self.generator)
        order = order if self._strata is None else self._spread(order, self._strata)
        self._order = self._staged(order).to(self._place, non_blocking=True)

    def _spread(self, order: torch.Tensor, strata: torch.Tensor) -> torch.Tensor:
        """The rows in an order in which those of each stratum lie at equal distances."""
        sizes = torch.bincount(strata)
        grouped = order[torch.argsort(strata[order], stable=True)]
        own = strata[grouped]
        place = torch.arange(len(order)) - (sizes.cumsum(dim=0) - sizes)[own]  # within the stratum
        offset = torch.rand(len(sizes), dtype=torch.float64, generator=self.generator)
        return grouped[torch.argsort((place + offset[own]) / sizes[own])]

    @property
    def on_device(self) -> bool:
        """Whether the rows are where the run computes, so that no batch passes through the host."""
        return isinstance(self._rows, torch.Tensor)

    @property
    def _place(self) -> torch.device:
        return self.device if self.on_device else torch.device("cpu")  # of the order: where the rows are

    def batch(self, index: int) -> Batch:
        """Batch `index` of the current order. Its `X` is valid until the next call."""
        return self.gather(self.rows(index))

    def rows(self, index: int) -> torch.Tensor:
        """Which rows batch `index` of the current order has, (batch,) int64; they are where X is."""
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]

    def gather(self, rows: torch.Tensor) -> Batch:
        """The batch of these rows. Its `X` is valid until the next call."""
        X = self._gather(rows)
        if not self.on_device and not (self._y is None and self._weight is None):
            rows = self._staged(rows).to(self.device, non_blocking=True)
        y = None if self._y is None else self._y[rows]
        return Batch(X, y, None if self._weight is None else self._weight[rows])

    def _gather(self, rows: torch.Tensor) -> torch.Tensor:
        out = self._buffer[: len(rows)]
        if isinstance(self._rows, torch.Tensor):
            if self._rows.dtype == torch.float32:
                return torch.index_select(self._rows, 0, rows, out=out)
            return out.copy_(self._rows[rows])
        return out.copy_(self._staged(as_dense_tensor(self._rows[rows.numpy()])), non_blocking=True)

    def _staged(self, values: torch.Tensor) -> torch.Tensor:
        return values.pin_memory() if self.device.type == "cuda" else values  # from where a copy waits for nothing

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What continues the stream of batches exactly: the generator's state and the current order."""
        return {"generator": self.generator.get_state(), "order": self._order}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
        self._order = state["order"].to(self._place)


def mean_one_weight(sample_weight: Any, n_samples: int) -> torch.Tensor:
    """Weights of rows, (n_samples,), scaled to mean 1; DataError unless they are such."""
    values = sample_weight.numpy(force=True) if isinstance(sample_weight, torch.Tensor) else sample_weight
    weight = torch.from_numpy(np.array(values, dtype=np.float64))  # a copy: it may be read-only, or run backwards
    if weight.shape != (n_samples,):
        raise DataError(f"sample_weight must have one entry a row, ({n_samples},); got {tuple(weight.shape)}.")
    if not bool(torch.isfinite(weight).all()) or bool((weight < 0).any()) or not bool((weight > 0).any()):
        raise DataError("sample_weight must be finite, 0 or more, and above 0 for at least one row.")
    return (weight / weight.mean()).float()


def weighted_mean(rows: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Mean of rows, (batch, n) -> (n,), each counted by its weight; the plain mean where no row has any."""
    if weight is None:
        return rows.float().mean(dim=0)
    total = weight.sum()
    shares = torch.where(total > 0, weight / total, 1 / len(rows))  # to ask for the total would stop a GPU
    return shares @ rows.float()


def mean_square(difference: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Squares, (batch, n), summed over columns, mean over rows, each counted by its weight: 0-d, float32."""
    if weight is None:
        return torch.linalg.vector_norm(difference, dtype=torch.float32).square() / len(difference)
    return difference.float().square().sum(dim=1) @ weight / len(difference)


def as_dense_tensor(rows: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor of rows that may be an array, a tensor or a sparse matrix; shares memory if it can."""
    if isinstance(rows, torch.Tensor):
        return rows.to(dtype)
    if sparse.issparse(rows):
        rows = rows.toarray()
    known = rows.dtype in (np.float16, np.float32, np.float64) and rows.dtype.isnative
    rows = np.asarray(rows) if known else rows.astype(np.float32)
    return torch.from_numpy(np.array(rows, copy=_needs_copy(rows))).to(dtype)


def _needs_copy(rows: np.ndarray) -> bool | None:
    # torch refuses negative strides and warns about read-only memory; a copy settles both.
    return True if not rows.flags.writeable or any(s < 0 for s in rows.strides) else None


def _rows_on_device(X: Any, device: torch.device) -> Any:
    if isinstance(X, torch.Tensor):
        return X.detach().to(device)
    if sparse.issparse(X):
        return X.tocsr()
    if device.type != "cpu":
        return as_dense_tensor(X).to(device)
    shareable = X.dtype in (np.float32, np.float64) and X.dtype.isnative and _needs_copy(X) is None
    return torch.from_numpy(X) if shareable else X
