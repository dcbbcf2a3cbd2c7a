"""Whether training has changed the weights of a layer: against their initial values, or against pure noise."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from pretrain.exceptions import DataRangeWarning, PretrainError
from pretrain.random_streams import RandomStreams
from pretrain.settings import LayerSettings, layer_settings_from_dict
from pretrain.stack import LAYER_KINDS

FEWEST_UNITS = 20  # on either side of a weight matrix, below which the noise edge is blurred


@torch.no_grad()
def weight_change(weight: torch.Tensor, initial: torch.Tensor | None) -> float | None:
    """Norm of `weight - initial` by the norm of `initial`, (n_hidden, n_visible) each; None without an initial."""
    if initial is None or initial.shape != weight.shape or not initial.any():
        return None
    initial = initial.to(weight.device)
    return float((weight - initial).norm() / initial.norm())


@torch.no_grad()
def weight_structure(weight: torch.Tensor) -> float | None:
    """Largest singular value by that of independent noise of the same root mean square, s (sqrt(n) + sqrt(m)).

    None where the weights are zero, or so few that the edge of noise is blurred.
    """
    rms = float(weight.double().square().mean().sqrt())
    if min(weight.shape) < FEWEST_UNITS or rms == 0:
        return None
    edge = rms * sum(math.sqrt(n) for n in weight.shape)
    return float(torch.linalg.matrix_norm(weight.double(), ord=2)) / edge


def initial_weight(record: Mapping[str, Any], stack: Any, k: int) -> torch.Tensor | None:
    """The weights that layer k (from 0) began with, drawn again from the seed and the settings in a file.

    None where the file does not say. Another torch may draw other numbers; the distance is then that of unrelated
    weights, which nothing is made of.
    """
    try:
        settings = layer_settings_from_dict(record["settings"]["layers"][k])
        return initial_layer(stack, k, settings, record["seed"]).weight.detach()
    except (PretrainError, KeyError, IndexError, TypeError, AttributeError):
        return None  # a provenance may hold anything


def initial_layer(stack: Any, k: int, settings: LayerSettings, seed: int) -> Any:
    """Layer k (from 0) of a stack as it was before its training, drawn again from the seed and its settings."""
    layer = stack.layers[k]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataRangeWarning)  # about data that are not given here
        return LAYER_KINDS[settings.kind].from_settings(
            layer.n_visible,
            layer.n_hidden,
            settings,
            below=None if k == 0 else stack.layers[k - 1].activation,
            generator=RandomStreams(seed).generator("init", layer=k),
        )
