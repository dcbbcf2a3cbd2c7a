"""The weights on the data: what filter pictures show."""

from pathlib import Path
from typing import Any

import numpy as np

import checkpoints
from pretrain import Stack
from pretrain.network import Network


def first_layer_weight(model: Any) -> np.ndarray:
    """(n_hidden, n_visible): the first layer's weights of a stack, a network or a fitted estimator."""
    inner = getattr(model, "network_", None) or getattr(model, "stack_", None) or model
    if isinstance(inner, Stack):
        return inner.layers[0].weight.numpy(force=True)
    assert isinstance(inner, Network)
    return inner.hidden[0].linear.weight.numpy(force=True)


def image_shape(file: str | Path) -> tuple[int, ...] | None:
    """Shape of the images that a model was trained on, from the provenance of its file; None if it was none."""
    data = (checkpoints.describe(file).get("provenance") or {}).get("data") or {}
    shape = data.get("image_shape")
    return None if shape is None else tuple(shape)
