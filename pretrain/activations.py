"""Activation functions by name: the one table that layers, networks and files refer to."""

from collections.abc import Callable

import torch
from torch.nn import functional

from pretrain.column_groups import parse_groups, require_groups

Activation = Callable[[torch.Tensor], torch.Tensor]


def identity(x: torch.Tensor) -> torch.Tensor:
    """x itself: the activation of linear units."""
    return x


def softmax(x: torch.Tensor) -> torch.Tensor:
    """exp(x) of each column, divided by the sum over the columns."""
    return torch.softmax(x, dim=-1)


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "softplus": functional.softplus,
    "gelu": functional.gelu,
    "identity": identity,
}
# What the units of a layer may be as well: a function of several columns.
LAYER_ACTIVATIONS: dict[str, Activation] = {**ACTIVATIONS, "softmax": softmax}


def require_activation(owner: str, value: object) -> None:
    """Raise SettingsError unless `value` is a name in LAYER_ACTIVATIONS, or names with widths joined by `+`."""
    require_groups(owner, value, LAYER_ACTIVATIONS)


def activation_function(name: str) -> Activation:
    """The function called `name`; for `sigmoid:3+identity:2` each function on its own columns.

    Raises
    ------
    SettingsError
        If there is no such function.
    """
    if name in LAYER_ACTIVATIONS:
        return LAYER_ACTIVATIONS[name]
    require_activation("activation", name)
    return _by_columns(name)


def _by_columns(name: str) -> Activation:
    def apply(x: torch.Tensor) -> torch.Tensor:
        groups = parse_groups("activation", name, x.shape[-1], LAYER_ACTIVATIONS)
        return torch.cat([LAYER_ACTIVATIONS[group.name](x[..., group.columns]) for group in groups], dim=-1)

    return apply
