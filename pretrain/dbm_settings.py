"""Settings of the joint training of a deep Boltzmann machine."""

import dataclasses

from pretrain._validation import require_flag, require_number
from pretrain.training_settings import TrainingSettings, require_training

# The rate falls to nothing: the chains that stand for the model must keep up with its weights [1].
DBM_TRAINING = TrainingSettings(
    learning_rate=0.01, momentum=0.9, initial_momentum=0.5, schedule="linear", weight_decay=2e-4
)


@dataclasses.dataclass(frozen=True)
class DBMSettings:
    """Training of all layers of a deep Boltzmann machine together, after greedy pretraining.

    Parameters
    ----------
    n_mean_field_steps : int
        Updates of all hidden layers for each batch, at most.
    mean_field_tol : float
        No more updates after one in which the means of no layer have changed by more, on average; 0 takes all.
    n_gibbs_steps : int
        Gibbs steps of the persistent chains an update.
    n_chains : int
        Persistent chains, which stand for the model.
    binarize : bool
        Whether the data are probabilities from which 0/1 states are drawn anew every time a row is seen.
    centered : bool
        Whether gradients are centred by running means of the states [2]_, see `VariationalLearning`.
    training : TrainingSettings
        The loop.

    References
    ----------
    .. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS, section 2.2.
    .. [2] Melchior, J., Fischer, A. & Wiskott, L. (2016). How to center deep Boltzmann machines. JMLR 17.
    """

    n_mean_field_steps: int = 10
    mean_field_tol: float = 1e-3
    n_gibbs_steps: int = 5
    n_chains: int = 100
    binarize: bool = False
    centered: bool = True
    training: TrainingSettings = DBM_TRAINING

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for name in ("n_mean_field_steps", "n_gibbs_steps", "n_chains"):
            require_number(owner, name, getattr(self, name), at_least=1, integer=True)
        require_number(owner, "mean_field_tol", self.mean_field_tol, at_least=0)
        for name in ("binarize", "centered"):
            require_flag(owner, name, getattr(self, name))
        require_training(owner, self.training)
