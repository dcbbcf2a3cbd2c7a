"""Settings of one supervised layer: its units and its loop."""

import dataclasses
from typing import ClassVar

from pretrain._validation import require_choice
from pretrain.activations import ACTIVATIONS
from pretrain.exceptions import SettingsError
from pretrain.training_settings import TrainingSettings, require_training

SUPERVISED_TRAINING = TrainingSettings(optimizer="adam", learning_rate=1e-3)


@dataclasses.dataclass(frozen=True)
class SupervisedSettings:
    """One layer that is pretrained with labels (see `pretrain.supervised_pretraining`).

    Parameters
    ----------
    activation : str
        Of the hidden units, a name in `pretrain.activations.ACTIVATIONS`.
    training : TrainingSettings
        The loop, of the layer and of the output layer that is thrown away. Without early stopping: no labels are
        held out.
    """

    kind: ClassVar[str] = "supervised"
    activation: str = "sigmoid"
    training: TrainingSettings = SUPERVISED_TRAINING

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_choice(owner, "activation", self.activation, ACTIVATIONS)
        require_training(owner, self.training)
        if self.training.early_stopping:
            raise SettingsError(f"early_stopping of {owner} must be False: no labels are held out to stop on.")
