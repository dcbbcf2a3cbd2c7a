"""Every setting of a run, as frozen dataclasses nested as the run is nested.

`to_dict` and `settings_from_dict` carry them unchanged between the command line, recipes (TOML), checkpoints
(JSON) and reports. An unknown key is an error, never ignored.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import numpy as np

from pretrain._validation import require_choice, require_flag, require_number, require_sequence
from pretrain.autoencoder_settings import RECONSTRUCTION_LOSSES, AutoencoderSettings
from pretrain.exceptions import SettingsError
from pretrain.rbm_settings import RBMSettings
from pretrain.supervised_settings import SupervisedSettings
from pretrain.training_settings import TrainingSettings, require_training

FINETUNE_TRAINING = TrainingSettings(optimizer="adam", learning_rate=1e-3, schedule="cosine")

S = TypeVar("S")


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """Supervised training of a network, pretrained or not.

    Parameters
    ----------
    head_epochs : int or "auto"
        Epochs in which only the output layer moves, before the epochs of `training` move everything: an output layer
        that is still random would spoil pretrained layers below it (Kumar et al. 2022, ICLR). "auto" is what makes
        1,000 steps, at most as many as there are epochs.
    layer_learning_rates : tuple of float or None
        One factor for each layer, the output layer last, that multiplies the learning rate. None: all 1.
    frozen_layers : tuple of int
        Layers (0 is the first) that keep their weights.
    training : TrainingSettings
        The loop.
    reconstruction_loss : {"auto", "cross_entropy", "squared_error"}
        Of an autoencoder. "auto": cross-entropy for sigmoid outputs, else squared error; "squared_error" is of the
        outputs, after their activation; "cross_entropy" is for sigmoid outputs.
    shift : int
        Largest shift of images in pixels, see `pretrain.augmentation.ImageShift`. 0: rows as they are.
    flip : bool
        Whether half of the images are mirrored, left to right.
    crop : int
        Zeros around images, out of which their size is cut, see `pretrain.augmentation.ImageCrop`. 0: none.
    rotation : float
        Largest angle in degrees by which images are turned. 0: none.
    noise : float
        Standard deviation of Gaussian noise on the scaled rows. 0: none.
    pseudo_labels : float
        Of a classifier: weight of the pseudo-labels of rows without a label, see `pretrain.pseudo_labels`. 0: none.
    """

    head_epochs: int | Literal["auto"] = 0
    layer_learning_rates: tuple[float, ...] | None = None
    frozen_layers: tuple[int, ...] = ()
    training: TrainingSettings = FINETUNE_TRAINING
    reconstruction_loss: str = "auto"
    shift: int = 0
    flip: bool = False
    crop: int = 0
    rotation: float = 0.0
    noise: float = 0.0
    pseudo_labels: float = 0.0

    def __post_init__(self) -> None:
        owner = type(self).__name__
        if self.head_epochs != "auto":
            require_number(owner, "head_epochs", self.head_epochs, at_least=0, integer=True)
        if self.layer_learning_rates is not None:
            require_sequence(owner, "layer_learning_rates", self.layer_learning_rates)
            for factor in self.layer_learning_rates:
                require_number(owner, "layer_learning_rates", factor, at_least=0)
        require_choice(owner, "reconstruction_loss", self.reconstruction_loss, RECONSTRUCTION_LOSSES)
        require_number(owner, "shift", self.shift, at_least=0, integer=True)
        require_flag(owner, "flip", self.flip)
        require_number(owner, "crop", self.crop, at_least=0, integer=True)
        require_number(owner, "rotation", self.rotation, at_least=0, at_most=180)
        for name in ("noise", "pseudo_labels"):
            require_number(owner, name, getattr(self, name), at_least=0)
        require_sequence(owner, "frozen_layers", self.frozen_layers)
        for layer in self.frozen_layers:
            require_number(owner, "frozen_layers", layer, at_least=0, integer=True)
        require_training(owner, self.training)


LayerSettings = RBMSettings | AutoencoderSettings | SupervisedSettings
LAYER_SETTINGS: dict[str, type[LayerSettings]] = {
    s.kind: s for s in (RBMSettings, AutoencoderSettings, SupervisedSettings)
}
DECODING_KINDS = (RBMSettings.kind, AutoencoderSettings.kind)  # what autoencoders are made of


def encoder_settings(first: LayerSettings, n_layers: int) -> list[LayerSettings]:
    """Settings of an encoder whose code is linear: `first`, and the same above it but for the units on the data."""
    if isinstance(first, RBMSettings):
        layers = [first, *[dataclasses.replace(first, visible_units="bernoulli")] * (n_layers - 1)]
        return [*layers[:-1], dataclasses.replace(layers[-1], hidden_units="gaussian")]
    return [*[first] * (n_layers - 1), dataclasses.replace(first, activation="identity")]


def to_dict(settings: Any) -> dict[str, Any]:
    """The settings as nested dicts, lists, strings and numbers, ready for JSON."""
    plain = {
        field.name: to_dict(value) if dataclasses.is_dataclass(value) else _plain(value)
        for field in dataclasses.fields(settings)
        for value in [getattr(settings, field.name)]
    }
    kind = getattr(settings, "kind", None)
    return {"kind": kind, **plain} if kind else plain


def settings_from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
    """Build `cls` from a mapping; unknown keys raise SettingsError.

    Missing keys keep the defaults of `cls`, inside `training` too: an autoencoder whose `training` names the
    epochs alone is still trained by Adam.
    """
    given = dict(values)
    if "kind" in given and getattr(cls, "kind", None) == given["kind"]:
        del given["kind"]
    defaults = _defaults(cls, given)
    for key, value in given.items():
        if key == "training" and isinstance(value, Mapping):
            _defaults(TrainingSettings, value)
            given[key] = dataclasses.replace(defaults[key], **value)
        elif isinstance(value, list):
            given[key] = tuple(value)
    return cls(**given)


def _defaults(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults of `cls` by name; SettingsError where `given` holds another name."""
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    for key in given:
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise SettingsError(f"{cls.__name__} has no setting {key!r}.{hint} Its settings: {', '.join(defaults)}.")
    return defaults


def layer_settings_from_dict(values: Mapping[str, Any]) -> LayerSettings:
    """Build the settings of one layer from a mapping whose "kind" says which."""
    require_choice("a layer", "kind", values.get("kind"), LAYER_SETTINGS)
    return settings_from_dict(LAYER_SETTINGS[values["kind"]], values)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
