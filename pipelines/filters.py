"""The weights on the data: what filter pictures show."""

from pathlib import Path
from typing import Any

import numpy as np

import checkpoints
from pipelines.evaluation import network_or_stack
from pretrain import Stack


def first_layer_weight(model: Any) -> np.ndarray:
    """(n_hidden, n_visible): the first layer's weights of a stack, a network or a fitted estimator."""
    module = network_or_stack(model)
    first = module.layers[0].weight if isinstance(module, Stack) else module.hidden[0].linear.weight
    return first.numpy(force=True)


def image_shape(file: str | Path) -> tuple[int, ...] | None:
    """Shape of the images that a model was trained on, from the provenance of its file; None if it was none."""
    data = (checkpoints.describe(file).get("provenance") or {}).get("data") or {}
    shape = data.get("image_shape")
    return None if shape is None else tuple(shape)
