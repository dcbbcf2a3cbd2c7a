"""Every setting of a run, as frozen dataclasses nested as the run is nested.

`to_dict` and `settings_from_dict` carry them unchanged between the command line, recipes (TOML), checkpoints
(JSON) and reports. An unknown key is an error, never ignored.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np

from pretrain._validation import require_choice, require_flag, require_number, require_sequence
from pretrain.activations import ACTIVATIONS
from pretrain.exceptions import SettingsError
from pretrain.units import UNIT_TYPES

OPTIMIZERS = ("sgd", "adagrad", "rmsprop", "adam", "adamw", "lbfgs")
SCHEDULES = ("constant", "step", "exponential", "inverse_time", "cosine")
PRECISIONS = ("auto", "float32", "bfloat16")
CORRUPTIONS = ("none", "masking", "gaussian")
RECONSTRUCTION_LOSSES = ("auto", "cross_entropy", "squared_error")

S = TypeVar("S")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How one run of the training loop goes, whatever it trains.

    Parameters
    ----------
    epochs : int or "auto"
        Passes over the training rows. "auto": 10 in pretraining and 20 in supervised training, more on data sets
        so small that these were few steps (`pretrain.budget`).
    batch_size : int or "auto"
        Rows a step; the last batch of an epoch may be shorter and is averaged over its own rows. "auto": a
        fiftieth of the rows, between 10 and 100.
    optimizer : {"sgd", "adagrad", "rmsprop", "adam", "adamw", "lbfgs"}
        torch's optimisers. "lbfgs" runs up to 20 iterations with a strong-Wolfe line search on each batch.
    learning_rate : float
        Initial step size.
    momentum : float
        Momentum of "sgd" and "rmsprop"; the first decay rate of "adam" and "adamw" is torch's 0.9.
    nesterov : bool
        Nesterov's momentum for "sgd".
    initial_momentum, initial_momentum_epochs : float or None, int
        The papers' ramp: this momentum for the first epochs (0.5 for 5 in Hinton & Salakhutdinov 2006).
    schedule : {"constant", "step", "exponential", "inverse_time", "cosine"}
        How the learning rate falls, in units of epochs: times `decay` every `decay_epochs`; times `decay` an
        epoch; divided by (1 + decay * epoch); to zero along half a cosine.
    decay, decay_epochs : float, int
        See `schedule`.
    weight_decay, l1 : float
        L2 and L1 penalties on weights, never on biases: `l1 * sum|w| + weight_decay / 2 * sum w^2` is added to
        the objective (for "adamw" the decay is decoupled).
    max_norm : float or None
        Largest Euclidean norm of the weights into one unit, enforced after every step.
    early_stopping : bool
        Stop when the validation metric has not improved by `tol` for `n_iter_no_change` epochs, and give back
        the weights of the best epoch.
    n_iter_no_change, tol : int, float
        See `early_stopping`.
    precision : {"auto", "float32", "bfloat16"}
        Arithmetic of the matrix products. Master weights are float32 always; "auto" takes bfloat16 where the
        processor has instructions for it and the network is large enough to gain.
    """

    epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    initial_momentum: float | None = None
    initial_momentum_epochs: int = 5
    schedule: str = "constant"
    decay: float = 0.9
    decay_epochs: int = 10
    weight_decay: float = 0.0
    l1: float = 0.0
    max_norm: float | None = None
    early_stopping: bool = False
    n_iter_no_change: int = 10
    tol: float = 0.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_choice(owner, "optimizer", self.optimizer, OPTIMIZERS)
        require_choice(owner, "schedule", self.schedule, SCHEDULES)
        require_choice(owner, "precision", self.precision, PRECISIONS)
        for name in ("initial_momentum_epochs", "decay_epochs", "n_iter_no_change"):
            require_number(owner, name, getattr(self, name), at_least=1, integer=True)
        for name, fewest in (("epochs", 0), ("batch_size", 1)):
            if getattr(self, name) != "auto":
                require_number(owner, name, getattr(self, name), at_least=fewest, integer=True)
        for name in ("nesterov", "early_stopping"):
            require_flag(owner, name, getattr(self, name))
        require_number(owner, "learning_rate", self.learning_rate, above=0)
        require_number(owner, "decay", self.decay, above=0)
        for name in ("weight_decay", "l1", "tol"):
            require_number(owner, name, getattr(self, name), at_least=0)
        require_number(owner, "momentum", self.momentum, at_least=0, below=1)
        if self.initial_momentum is not None:
            require_number(owner, "initial_momentum", self.initial_momentum, at_least=0, below=1)
        if self.max_norm is not None:
            require_number(owner, "max_norm", self.max_norm, above=0)
        if self.optimizer == "rmsprop" and self.momentum > 0 and self.initial_momentum == 0:
            raise SettingsError(
                f"initial_momentum of {owner} must be > 0 with optimizer 'rmsprop', whose momentum cannot begin "
                "later; got 0."
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise SettingsError(
                f"nesterov of {owner} needs optimizer 'sgd' with momentum > 0; got optimizer "
                f"{self.optimizer!r} with momentum {self.momentum:g}."
            )


@dataclasses.dataclass(frozen=True)
class RBMSettings:
    """One restricted Boltzmann machine and its training by contrastive divergence.

    The defaults are those of Hinton & Salakhutdinov (2006): CD-1, rate 0.1, momentum 0.5 for 5 epochs and 0.9
    after them, weight decay 2e-4, initial weights N(0, 0.1^2).

    Parameters
    ----------
    visible_units, hidden_units : {"bernoulli", "gaussian"}
        Unit types. In a stack only the first layer's `visible_units` counts: above it the visible units are
        what the layer below has as hidden units.
    n_gibbs_steps : int
        The k of CD-k.
    weight_scale : float
        Standard deviation of the initial weights.
    training : TrainingSettings
        The loop.
    """

    kind: ClassVar[str] = "rbm"
    visible_units: str = "bernoulli"
    hidden_units: str = "bernoulli"
    n_gibbs_steps: int = 1
    weight_scale: float = 0.1
    training: TrainingSettings = TrainingSettings(initial_momentum=0.5, weight_decay=2e-4)

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_choice(owner, "visible_units", self.visible_units, UNIT_TYPES)
        require_choice(owner, "hidden_units", self.hidden_units, UNIT_TYPES)
        require_number(owner, "n_gibbs_steps", self.n_gibbs_steps, at_least=1, integer=True)
        require_number(owner, "weight_scale", self.weight_scale, at_least=0)
        _require_training(owner, self.training)


@dataclasses.dataclass(frozen=True)
class AutoencoderSettings:
    """One denoising autoencoder and its training by backpropagation.

    Parameters
    ----------
    corruption : {"none", "masking", "gaussian"}
        Noise on the input, drawn anew for every batch; the loss compares with the clean input.
    corruption_level : float
        Share of inputs set to zero ("masking", in [0, 1)) or standard deviation of the noise ("gaussian").
    tied : bool
        The decoder's weights are the encoder's, transposed.
    activation : str
        Of the hidden units, a name in `pretrain.activations.ACTIVATIONS`.
    reconstruction_loss : {"auto", "cross_entropy", "squared_error"}
        "auto" takes cross-entropy with sigmoid outputs where the input lies in [0, 1], else squared error with
        linear outputs.
    training : TrainingSettings
        The loop.
    """

    kind: ClassVar[str] = "autoencoder"
    corruption: str = "masking"
    corruption_level: float = 0.25
    tied: bool = True
    activation: str = "sigmoid"
    reconstruction_loss: str = "auto"
    training: TrainingSettings = TrainingSettings(optimizer="adam", learning_rate=1e-3)

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_choice(owner, "corruption", self.corruption, CORRUPTIONS)
        require_choice(owner, "activation", self.activation, ACTIVATIONS)
        require_choice(owner, "reconstruction_loss", self.reconstruction_loss, RECONSTRUCTION_LOSSES)
        require_flag(owner, "tied", self.tied)
        _require_training(owner, self.training)
        below = 1 if self.corruption == "masking" else None
        require_number(owner, "corruption_level", self.corruption_level, at_least=0, below=below)


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """Supervised training of a network, pretrained or not.

    Parameters
    ----------
    head_epochs : int
        Epochs in which only the output layer moves, before the epochs of `training` move everything.
    layer_learning_rates : tuple of float or None
        One factor for each layer, the output layer last, that multiplies the learning rate. None: all 1.
    frozen_layers : tuple of int
        Layers (0 is the first) that keep their weights.
    training : TrainingSettings
        The loop.
    """

    head_epochs: int = 0
    layer_learning_rates: tuple[float, ...] | None = None
    frozen_layers: tuple[int, ...] = ()
    training: TrainingSettings = TrainingSettings(optimizer="adam", learning_rate=1e-3, schedule="cosine")

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_number(owner, "head_epochs", self.head_epochs, at_least=0, integer=True)
        if self.layer_learning_rates is not None:
            require_sequence(owner, "layer_learning_rates", self.layer_learning_rates)
            for factor in self.layer_learning_rates:
                require_number(owner, "layer_learning_rates", factor, at_least=0)
        require_sequence(owner, "frozen_layers", self.frozen_layers)
        for layer in self.frozen_layers:
            require_number(owner, "frozen_layers", layer, at_least=0, integer=True)
        _require_training(owner, self.training)


LayerSettings = RBMSettings | AutoencoderSettings
LAYER_SETTINGS: dict[str, type[LayerSettings]] = {s.kind: s for s in (RBMSettings, AutoencoderSettings)}


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


def _require_training(owner: str, training: Any) -> None:
    if not isinstance(training, TrainingSettings):
        raise SettingsError(f"training of {owner} must be TrainingSettings; got {training!r}.")
