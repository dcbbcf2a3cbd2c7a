"""Settings of the layers of a deep belief net or a deep Boltzmann machine, checked."""

from collections.abc import Sequence
from typing import Any

from pretrain._validation import one_per_layer
from pretrain.dbn import require_data_units
from pretrain.exceptions import SettingsError
from pretrain.rbm_settings import RBMSettings


def deep_layer_settings(
    model: str, settings: RBMSettings | Sequence[RBMSettings], n_layers: int
) -> list[RBMSettings]:
    """One a layer, from one for all or a list; SettingsError for layers that the `model`, DBN or DBM, cannot have."""
    layers: list[RBMSettings] = one_per_layer(f"the {model}", "settings", settings, n_layers)
    for k, layer in enumerate(layers):
        _require_legal(model, layer, k)
    return layers


def _require_legal(model: str, settings: Any, k: int) -> None:
    if not isinstance(settings, RBMSettings):
        raise SettingsError(
            f"The layers of a {model} are RBMs; settings of layer {k + 1} are {type(settings).__name__}."
        )
    if k == 0:
        require_data_units(settings.visible_units, model)
    if settings.missing != "error":
        raise SettingsError(f"A {model} does not draw missing values; fill them, and leave missing at 'error'.")
    if settings.hidden_units != "bernoulli":
        raise SettingsError(
            f"The hidden units of a {model} are bernoulli units; layer {k + 1} has {settings.hidden_units!r}."
        )
