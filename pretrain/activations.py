"""Activation functions by name: the one table that layers, networks and files refer to."""

from collections.abc import Callable

import torch
from torch.nn import functional

from pretrain.exceptions import SettingsError


def identity(x: torch.Tensor) -> torch.Tensor:
    """x itself: the activation of linear units."""
    return x


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "softplus": functional.softplus,
    "identity": identity,
}


def activation_function(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The elementwise function called `name`; SettingsError where there is none."""
    if name not in ACTIVATIONS:
        raise SettingsError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {name!r}.")
    return ACTIVATIONS[name]
