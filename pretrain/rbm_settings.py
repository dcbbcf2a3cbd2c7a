"""Settings of one restricted Boltzmann machine and of the estimate of its gradient."""

import dataclasses
from typing import ClassVar, Literal

from pretrain._validation import require_choice, require_flag, require_number
from pretrain.exceptions import SettingsError
from pretrain.training_settings import LINE_SEARCHES, TrainingSettings, require_training
from pretrain.unit_types import require_units

GRADIENT_ESTIMATORS = ("cd", "mean_field", "pcd", "fast_pcd", "tempering")
PERSISTENT_ESTIMATORS = ("pcd", "fast_pcd", "tempering")
VISIBLE_BIASES = ("zero", "data")
INITIAL_WEIGHTS = ("random", "transposed")
MISSING = ("error", "gibbs")
RBM_TRAINING = TrainingSettings(learning_rate="auto", initial_momentum=0.5, weight_decay=2e-4)


@dataclasses.dataclass(frozen=True)
class RBMSettings:
    """One restricted Boltzmann machine and its training by an estimate of the log-likelihood gradient.

    The defaults are those of Hinton & Salakhutdinov (2006): CD-1, rate 0.1 (0.001 for a linear code), momentum 0.5
    for 5 epochs and 0.9 after them, weight decay 2e-4, initial weights N(0, 0.1^2).

    Parameters
    ----------
    visible_units, hidden_units : str
        A unit type (`pretrain.unit_types`): "bernoulli", "gaussian" (variance 1), "gaussian_learned" (a variance for
        each feature), "softmax" (one group, one-hot), "replicated_softmax" (counts), "noisy_relu", "spin"; or types
        with widths, "bernoulli:3+gaussian:2+softmax:4". Hidden units cannot be "gaussian_learned" or
        "replicated_softmax". In a stack only the first layer's `visible_units` counts: above it the visible units
        are what the layer below has as hidden units.
    gradient_estimator : {"cd", "mean_field", "pcd", "fast_pcd", "tempering"}
        The negative phase: chains that start at the data (contrastive divergence), the same without sampling,
        chains that persist, chains that persist and move by fast weights, tempered chains that persist.
    n_gibbs_steps : int
        The k of CD-k: Gibbs steps an update, for every estimator.
    initial_gibbs_steps : int or None
        Gibbs steps of the first epoch, from which they grow in equal steps to `n_gibbs_steps` in the last. None:
        `n_gibbs_steps` throughout.
    sample_reconstruction : bool
        For "cd": whether the last visible state of a chain is sampled as the others are, and not its mean.
    n_chains : int or "auto"
        Persistent chains; "auto" as many as a batch has rows.
    n_temperatures : int
        For "tempering": inverse temperatures, equally spaced from 0 to 1.
    fast_learning_rate, fast_decay : float
        For "fast_pcd": step size of the fast weights, and what is left of them after a step.
    centered : bool or "auto"
        Whether the gradient is that of centred units (their running means taken off), which does not depend on
        whether a unit's states are called 0 and 1 or 1 and 0. "auto": for Gaussian visible units, where it bears ten
        times the learning rate, and not for others, as in the papers.
    binarize : bool
        Whether the data are probabilities from which 0/1 states are drawn anew every time a row is seen.
    sparsity_target, sparsity_cost : float or None, float
        Mean activation p that each Bernoulli hidden unit is pulled to, and the weight of its penalty, the
        Kullback-Leibler divergence of its running mean activation from p. None: no penalty.
    sparsity_decay : float
        What an update leaves of the running mean activation; 0: the mean of the batch.
    hidden_dropout : float
        Probability with which a hidden unit is left out of an update, drawn for every row. The weights stay those of
        the thinned model, as in the paper: with all units on, reconstructions are too large and likelihoods are not
        what was trained; codes and fine-tuning are what it is for.
    missing : {"error", "gibbs"}
        What NaN entries of the data mean: a mistake, or values to be drawn by Gibbs sampling with the known entries
        clamped, anew every time a row is seen.
    initial_weights : {"random", "transposed"}
        "transposed", for a layer above another: the weights and biases of the layer below turned upside down
        (`pretrain.transposed_weights`), so that a deep belief net begins no worse than the RBM that it grows from.
        It has at least as many hidden units as that has visible ones; the rest are random.
    weight_scale : float
        Standard deviation of the initial random weights.
    initial_visible_bias : {"zero", "data"}
        "data": the biases under which the units' means are those of the data when all weights are zero.
    training : TrainingSettings
        The loop.
    """

    kind: ClassVar[str] = "rbm"
    visible_units: str = "bernoulli"
    hidden_units: str = "bernoulli"
    gradient_estimator: str = "cd"
    n_gibbs_steps: int = 1
    initial_gibbs_steps: int | None = None
    sample_reconstruction: bool = False
    n_chains: int | Literal["auto"] = "auto"
    n_temperatures: int = 10
    fast_learning_rate: float = 0.01
    fast_decay: float = 0.95
    centered: bool | Literal["auto"] = "auto"
    binarize: bool = False
    sparsity_target: float | None = None
    sparsity_cost: float = 0.1
    sparsity_decay: float = 0.9
    hidden_dropout: float = 0.0
    missing: str = "error"
    initial_weights: str = "random"
    weight_scale: float = 0.1
    initial_visible_bias: str = "zero"
    training: TrainingSettings = RBM_TRAINING

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_units(f"visible_units of {owner}", self.visible_units)
        require_units(f"hidden_units of {owner}", self.hidden_units, hidden=True)
        require_choice(owner, "gradient_estimator", self.gradient_estimator, GRADIENT_ESTIMATORS)
        require_choice(owner, "missing", self.missing, MISSING)
        require_choice(owner, "initial_weights", self.initial_weights, INITIAL_WEIGHTS)
        require_choice(owner, "initial_visible_bias", self.initial_visible_bias, VISIBLE_BIASES)
        if self.centered != "auto":
            require_flag(owner, "centered", self.centered)
        for name in ("sample_reconstruction", "binarize"):
            require_flag(owner, name, getattr(self, name))
        require_number(owner, "n_gibbs_steps", self.n_gibbs_steps, at_least=1, integer=True)
        require_number(owner, "n_temperatures", self.n_temperatures, at_least=2, integer=True)
        if self.initial_gibbs_steps is not None:
            require_number(owner, "initial_gibbs_steps", self.initial_gibbs_steps, at_least=1, integer=True)
        if self.n_chains != "auto":
            require_number(owner, "n_chains", self.n_chains, at_least=1, integer=True)
        for name in ("weight_scale", "fast_learning_rate", "sparsity_cost"):
            require_number(owner, name, getattr(self, name), at_least=0)
        for name in ("fast_decay", "sparsity_decay", "hidden_dropout"):
            require_number(owner, name, getattr(self, name), at_least=0, below=1)
        if self.sparsity_target is not None:
            require_number(owner, "sparsity_target", self.sparsity_target, above=0, below=1)
            if self.hidden_units != "bernoulli":
                raise SettingsError(
                    f"sparsity_target of {owner} is for bernoulli hidden units; got {self.hidden_units!r}."
                )
        if self.binarize and self.visible_units != "bernoulli":
            raise SettingsError(
                f"binarize of {owner} is for bernoulli visible units; got visible_units {self.visible_units!r}."
            )
        if self.missing == "gibbs" and self.visible_units == "replicated_softmax":
            raise SettingsError(
                f"missing of {owner} must be 'error' for replicated_softmax units: counts are complete."
            )
        if self.centered is True and self.visible_units == "replicated_softmax":
            raise SettingsError(f"centered of {owner} is not for replicated_softmax units, whose documents differ.")
        require_training(owner, self.training, auto_rate=True)
        if self.training.optimizer in LINE_SEARCHES:
            raise SettingsError(
                f"optimizer of {owner} cannot be {self.training.optimizer!r}, which searches along a loss: no loss "
                "has the gradient of contrastive divergence. Take 'sgd' or 'adam'."
            )
