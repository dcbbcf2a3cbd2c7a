"""Settings of the layers of a deep belief net, checked."""

from collections.abc import Sequence
from typing import Any

from pretrain._validation import one_per_layer
from pretrain.dbn import require_data_units
from pretrain.exceptions import SettingsError
from pretrain.rbm_settings import RBMSettings


def dbn_layer_settings(settings: RBMSettings | Sequence[RBMSettings], n_layers: int) -> list[RBMSettings]:
    """One a layer, from one for all or a list; SettingsError for layers that a deep belief net cannot have."""
    layers: list[RBMSettings] = one_per_layer("the DBN", "settings", settings, n_layers)
    for k, layer in enumerate(layers):
        _require_legal(layer, k)
    return layers


def _require_legal(settings: Any, k: int) -> None:
    if not isinstance(settings, RBMSettings):
        raise SettingsError(f"The layers of a DBN are RBMs; settings of layer {k} are {type(settings).__name__}.")
    if k == 0:
        require_data_units(settings.visible_units)
    if settings.missing != "error":
        raise SettingsError("A DBN does not draw missing values; fill them, and leave missing at 'error'.")
    if settings.hidden_units != "bernoulli":
        raise SettingsError(
            f"The hidden units of a DBN are bernoulli units; layer {k} has {settings.hidden_units!r}."
        )
