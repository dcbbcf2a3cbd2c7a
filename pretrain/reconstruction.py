"""Reconstructions of rows and their errors: of a layer, a stack or a deep autoencoder."""

from typing import Any

import numpy as np
import torch

from pretrain.rbm import RBM
from pretrain.stack import Stack, map_rows


def reconstruct(module: Any, x: torch.Tensor) -> torch.Tensor:
    """decode(encode(x)) of scaled rows: (batch, n_visible) -> (batch, n_visible).

    Layers on replicated softmax units decode to shares of words; they are multiplied by the words of each row.
    """
    rebuilt = module.decode(module.encode(x))
    lowest = module.layers[0] if isinstance(module, Stack) else module
    totals = lowest.visible_units.row_totals(x) if isinstance(lowest, RBM) else None
    return rebuilt if totals is None else rebuilt * totals


def reconstruction_errors(module: Any, X: Any) -> np.ndarray:
    """Squared errors of scaled rows, summed over features: (n_samples, n_visible) -> (n_samples,); see `map_rows`."""
    return map_rows(module, _squared_errors, X, 1)[:, 0].numpy(force=True)


def _squared_errors(module: Any, x: torch.Tensor) -> torch.Tensor:
    return (reconstruct(module, x) - x).square().sum(dim=1, keepdim=True)  # (batch, 1)
