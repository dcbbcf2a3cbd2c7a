"""Settings of the up-down algorithm."""

import dataclasses

from pretrain._validation import require_flag, require_number, require_sequence
from pretrain.exceptions import SettingsError
from pretrain.training_settings import TrainingSettings, require_training

UP_DOWN_TRAINING = TrainingSettings(learning_rate=0.01, momentum=0.9, weight_decay=2e-4)


@dataclasses.dataclass(frozen=True)
class UpDownSettings:
    """Training of all layers of a deep belief net together, after greedy pretraining.

    Parameters
    ----------
    n_gibbs_steps : tuple of int
        Full Gibbs steps of the memory: each number holds for an equal part of the epochs. Hinton, Osindero & Teh
        (2006) took 3, 6 and 10.
    binarize : bool
        Whether the data are probabilities from which 0/1 states are drawn anew every time a row is seen; fantasies of
        the data are then states too, and means otherwise.
    training : TrainingSettings
        The loop.
    """

    n_gibbs_steps: tuple[int, ...] = (3, 6, 10)
    binarize: bool = False
    training: TrainingSettings = UP_DOWN_TRAINING

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_sequence(owner, "n_gibbs_steps", self.n_gibbs_steps)
        if len(self.n_gibbs_steps) == 0:
            raise SettingsError(f"n_gibbs_steps of {owner} must have at least one number; got none.")
        for steps in self.n_gibbs_steps:
            require_number(owner, "n_gibbs_steps", steps, at_least=1, integer=True)
        require_flag(owner, "binarize", self.binarize)
        require_training(owner, self.training)

    def gibbs_steps_at(self, epoch: int, n_epochs: int) -> int:
        """Gibbs steps of `epoch` (from 0) of `n_epochs`."""
        return int(self.n_gibbs_steps[epoch * len(self.n_gibbs_steps) // max(n_epochs, 1)])
