"""Reconstructions of rows and their errors: of a layer, a stack, a deep autoencoder or a deep belief net."""

from typing import Any

import numpy as np
import torch

from pretrain.dbn import DBN
from pretrain.rbm import RBM
from pretrain.stack import Stack, map_rows


def reconstruct(module: Any, x: torch.Tensor) -> torch.Tensor:
    """decode(encode(x)) of scaled rows: (batch, n_visible) -> (batch, n_visible).

    A deep belief net goes up to the top of its memory and down again (`DBN.reconstruct`).
    Layers on replicated softmax units decode to shares of words; they are multiplied by the words of each row.
    """
    if isinstance(module, DBN):
        return module.reconstruct(x)
    rebuilt = module.decode(module.encode(x))
    lowest = module.layers[0] if isinstance(module, Stack) else module
    totals = lowest.visible_units.row_totals(x) if isinstance(lowest, RBM) else None
    return rebuilt if totals is None else rebuilt * totals


def reconstruction_errors(module: Any, X: Any) -> np.ndarray:
    """Squared errors of scaled rows, summed over features: (n_samples, n_visible) -> (n_samples,); see `map_rows`."""
    return map_rows(module, _squared_errors, X, 1)[:, 0].numpy(force=True)


def _squared_errors(module: Any, x: torch.Tensor) -> torch.Tensor:
    return (reconstruct(module, x) - x).square().sum(dim=1, keepdim=True)  # (batch, 1)
