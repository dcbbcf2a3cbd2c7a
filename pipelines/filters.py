"""The weights on the data, and what the data looked like: what filter pictures and samples show."""

from pathlib import Path
from typing import Any

import numpy as np

import checkpoints
from pipelines.evaluation import module_of
from pretrain import DBN, Stack
from pretrain.exceptions import SettingsError
from pretrain.image_networks import ImageNetwork


def first_layer_weight(model: Any) -> np.ndarray:
    """(n_hidden, n_visible): the first layer's weights of a stack, a network, a DBN or a fitted estimator."""
    module = module_of(model)
    if isinstance(module, ImageNetwork):
        raise SettingsError("The filters of a convolutional network are no images of the data; there is no picture.")
    if isinstance(module, DBN):
        return (module.layers[0].recognition_weight if module.layers else module.memory.weight).numpy(force=True)
    first = module.layers[0].weight if isinstance(module, Stack) else module.hidden[0].linear.weight
    return first.numpy(force=True)


def has_filters(model: Any) -> bool:
    """Whether `first_layer_weight` has an answer: not of a convolutional network."""
    return not isinstance(module_of(model), ImageNetwork)


def image_shape(file: str | Path) -> tuple[int, ...] | None:
    """Shape of the images that a model was trained on, from the provenance of its file; None if it was none."""
    shape = _data(file).get("image_shape")
    return None if shape is None else tuple(shape)


def value_range(file: str | Path) -> tuple[float, float] | None:
    """Range of values that the format of a model's data declares, from the provenance of its file; None if none."""
    declared = _data(file).get("value_range")
    return None if declared is None else (declared[0], declared[1])


def _data(file: str | Path) -> dict[str, Any]:
    return (checkpoints.describe(file).get("provenance") or {}).get("data") or {}
