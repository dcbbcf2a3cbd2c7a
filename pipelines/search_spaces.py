"""The settings of an arm that tuning may change, and the values that it may give them.

Every space is declared around the arm's own settings, which are always in it. What makes an arm what its name says
(its units, norms, dropout, noise) is not in it. Settings of pretraining have few values each, so that many trials
share one pretrained stack.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from pipelines.arms import Arm
from pretrain.settings import AutoencoderSettings, RBMSettings, TrainingSettings
from pretrain.training_settings import LINE_SEARCHES

WEIGHT_DECAYS = (0.0, 1e-5, 1e-4, 1e-3)
RATE_FACTOR = 10.0  # the learning rate of fine-tuning lies within this factor of the arm's own
PRETRAINING_RATE_FACTORS = (1 / 3, 1.0, 3.0)
RBM_RATES, RBM_WEIGHT_DECAYS = (0.01, 0.03, 0.1), (0.0, 2e-4, 1e-3)
CORRUPTION_LEVELS = (0.1, 0.25, 0.4)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class LogRange:
    """A positive number, its logarithm even between two bounds."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """The number at a share of the way, in [0, 1], from the lower to the upper bound."""
        return self.low * math.exp(share * math.log(self.high / self.low))


Space = dict[str, Choice | LogRange]


def search_space(arm: Arm) -> Space:
    """What tuning may change of an arm: names that begin with "pretraining." or "finetuning." to their values."""
    space: Space = {}
    layer, training = arm.layer, arm.finetune.training
    if isinstance(layer, RBMSettings):
        space["pretraining.learning_rate"] = Choice(_around(layer.training.learning_rate, RBM_RATES))
        space["pretraining.weight_decay"] = Choice(_around(layer.training.weight_decay, RBM_WEIGHT_DECAYS))
    elif layer is not None and layer.training.optimizer not in LINE_SEARCHES:
        rate = float(layer.training.learning_rate)
        space["pretraining.learning_rate"] = Choice(tuple(rate * factor for factor in PRETRAINING_RATE_FACTORS))
    if isinstance(layer, AutoencoderSettings) and layer.corruption != "none":
        space["pretraining.corruption_level"] = Choice(_around(layer.corruption_level, CORRUPTION_LEVELS))
    if training.optimizer not in LINE_SEARCHES:
        rate = float(training.learning_rate)
        space["finetuning.learning_rate"] = LogRange(rate / RATE_FACTOR, rate * RATE_FACTOR)
    if training.optimizer != "rprop":  # which has none
        space["finetuning.weight_decay"] = Choice(_around(training.weight_decay, WEIGHT_DECAYS))
    return space


def own_settings(arm: Arm) -> dict[str, Any]:
    """The arm's values of what is in its space."""
    return {name: getattr(_owner(arm, name), name.split(".")[1]) for name in search_space(arm)}


def with_settings(arm: Arm, chosen: Mapping[str, Any]) -> Arm:
    """The arm with values from its space."""
    for name, value in chosen.items():
        stage, field = name.split(".")
        part = arm.layer if stage == "pretraining" else arm.finetune
        assert part is not None
        owner = _owner(arm, name)
        changed = dataclasses.replace(owner, **{field: value})
        new: Any = dataclasses.replace(part, training=changed) if isinstance(owner, TrainingSettings) else changed
        if stage == "pretraining":
            arm = dataclasses.replace(arm, layer=new)
        else:
            arm = dataclasses.replace(arm, finetune=new)
    return arm


def describe_space(arm: Arm) -> dict[str, str]:
    """The space in words, for a report."""
    return {
        name: ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in one.values)
        if isinstance(one, Choice)
        else f"{one.low:g} to {one.high:g}, log-uniform"
        for name, one in search_space(arm).items()
    }


def _owner(arm: Arm, name: str) -> Any:
    """The settings that have the field of a name."""
    stage, field = name.split(".")
    part = arm.layer if stage == "pretraining" else arm.finetune
    assert part is not None
    return part.training if hasattr(part.training, field) else part


def _around(own: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, with the arm's own before them where it is none of them."""
    return values if own in values else (own, *values)
