"""Settings of the one training loop."""

import dataclasses
from typing import Any, Literal

from pretrain._validation import require_choice, require_flag, require_number
from pretrain.exceptions import SettingsError

OPTIMIZERS = (
    "sgd",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "adadelta",
    "adamax",
    "nadam",
    "radam",
    "asgd",
    "rprop",
    "lbfgs",
    "cg",
)
LINE_SEARCHES = ("lbfgs", "cg")  # optimisers that look at a batch more than once
SCHEDULES = ("constant", "step", "exponential", "inverse_time", "linear", "polynomial", "cosine", "one_cycle")
PRECISIONS = ("auto", "float32", "bfloat16")


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
    optimizer : {"sgd", "adagrad", "rmsprop", "adam", "adamw", "adadelta", "adamax", "nadam", "radam", "asgd",\
 "rprop", "lbfgs", "cg"}
        torch's optimisers, with torch's defaults for what has no setting here. "lbfgs" runs up to 20 iterations with
        a strong-Wolfe line search on each batch, "cg" 3 line searches of nonlinear conjugate gradients (SciPy's), as
        the papers of 2006 did on batches of 1,000 rows; neither needs a learning rate to be chosen.
    learning_rate : float or "auto"
        Initial step size. "auto", for RBMs alone, is what their unit types bear: `RBM.default_learning_rate`.
    momentum : float
        Momentum of "sgd" and "rmsprop"; the first decay rate of "adam" and "adamw" is torch's 0.9.
    nesterov : bool
        Nesterov's momentum for "sgd".
    initial_momentum, initial_momentum_epochs : float or None, int
        The papers' ramp: this momentum for the first epochs (0.5 for 5 in Hinton & Salakhutdinov 2006).
    schedule : {"constant", "step", "exponential", "inverse_time", "linear", "polynomial", "cosine", "one_cycle"}
        How the learning rate falls, in units of epochs: times `decay` every `decay_epochs`; times `decay` an
        epoch; divided by (1 + decay * epoch); to zero along a line, a parabola or half a cosine; up from a 25th for
        three tenths of the run and down to next to nothing.
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
    learning_rate: float | Literal["auto"] = 0.1
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
        if self.learning_rate != "auto":
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
        if self.optimizer == "rprop" and self.weight_decay > 0:
            raise SettingsError(
                f"weight_decay of {owner} must be 0 with optimizer 'rprop', which has none; got "
                f"{self.weight_decay:g}."
            )
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise SettingsError(
                f"nesterov of {owner} needs optimizer 'sgd' with momentum > 0; got optimizer "
                f"{self.optimizer!r} with momentum {self.momentum:g}."
            )


def require_training(owner: str, training: Any, *, auto_rate: bool = False) -> None:
    """Raise SettingsError unless `training` is TrainingSettings, with `learning_rate="auto"` only if it may be."""
    if not isinstance(training, TrainingSettings):
        raise SettingsError(f"training of {owner} must be TrainingSettings; got {training!r}.")
    if training.learning_rate == "auto" and not auto_rate:
        raise SettingsError(f"learning_rate of {owner} must be a number; 'auto' is for RBMs.")
