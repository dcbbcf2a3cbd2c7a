"""Settings of one autoencoder: its noise, its penalties and its loop."""

import dataclasses
from typing import ClassVar

from pretrain._validation import require_choice, require_flag, require_number
from pretrain.activations import ACTIVATIONS
from pretrain.exceptions import SettingsError
from pretrain.training_settings import TrainingSettings, require_training

CORRUPTIONS = ("none", "masking", "gaussian", "salt_and_pepper", "swap")
CELL_CORRUPTIONS = ("masking", "salt_and_pepper", "swap")  # a share of the cells is changed, the rest is left alone
RECONSTRUCTION_LOSSES = ("auto", "cross_entropy", "squared_error")
BOUNDED_ACTIVATIONS = ("sigmoid", "tanh")

AUTOENCODER_TRAINING = TrainingSettings(optimizer="adam", learning_rate=1e-3)


@dataclasses.dataclass(frozen=True)
class AutoencoderSettings:
    """One autoencoder and its training by backpropagation: denoising, sparse, contractive, or several of them.

    Parameters
    ----------
    corruption : {"none", "masking", "gaussian", "salt_and_pepper", "swap"}
        Noise on the input, drawn anew for every batch (see `pretrain.corruption`); the loss compares with the clean
        input.
    corruption_level : float
        Standard deviation of "gaussian" noise; of all other noise the share of cells that it takes, in [0, 1).
    emphasis : float
        In [0, 1]: in the loss a cell that the noise took weighs 1 and any other 1 - emphasis [1]_. 0: all weigh the
        same; 0.5: double emphasis; 1: full emphasis, the loss of the corrupted cells alone. Above 0 for noise that
        takes a share of the cells, not for "gaussian".
    tied : bool
        The decoder's weights are the encoder's, transposed.
    activation : str
        Of the hidden units, a name in `pretrain.activations.ACTIVATIONS`.
    reconstruction_loss : {"auto", "cross_entropy", "squared_error"}
        "auto" takes cross-entropy with sigmoid outputs where the input lies in [0, 1], else squared error with
        linear outputs.
    sparsity_target, sparsity_cost : float or None, float
        Mean activation p in (0, 1) that each hidden unit is pulled to, and the weight of its penalty, the
        Kullback-Leibler divergence of the batch's mean activation from p (see `pretrain.sparsity.SparseCode`). None:
        no penalty. For "sigmoid", and for "tanh" whose (1 + h) / 2 is meant.
    contraction : float
        Weight of the squared Frobenius norm of the code's Jacobian [2]_ (see `pretrain.contraction`).
    contraction_higher_order, contraction_noise : float
        Weight of the squared change of the Jacobian under Gaussian noise on the input [3]_, and the noise's standard
        deviation. Not for "identity", whose Jacobian does not change.
    training : TrainingSettings
        The loop.

    References
    ----------
    .. [1] Vincent, P. et al. (2010). Stacked denoising autoencoders. JMLR 11, section 4.4.
    .. [2] Rifai, S., Vincent, P., Muller, X., Glorot, X. & Bengio, Y. (2011). Contractive auto-encoders: explicit
           invariance during feature extraction. ICML.
    .. [3] Rifai, S. et al. (2011). Higher order contractive auto-encoder. ECML PKDD.
    """

    kind: ClassVar[str] = "autoencoder"
    corruption: str = "masking"
    corruption_level: float = 0.25
    emphasis: float = 0.0
    tied: bool = True
    activation: str = "sigmoid"
    reconstruction_loss: str = "auto"
    sparsity_target: float | None = None
    sparsity_cost: float = 0.1
    contraction: float = 0.0
    contraction_higher_order: float = 0.0
    contraction_noise: float = 0.1
    training: TrainingSettings = AUTOENCODER_TRAINING

    def __post_init__(self) -> None:
        owner = type(self).__name__
        require_choice(owner, "corruption", self.corruption, CORRUPTIONS)
        require_choice(owner, "activation", self.activation, ACTIVATIONS)
        require_choice(owner, "reconstruction_loss", self.reconstruction_loss, RECONSTRUCTION_LOSSES)
        require_flag(owner, "tied", self.tied)
        below = 1 if self.corruption in CELL_CORRUPTIONS else None
        require_number(owner, "corruption_level", self.corruption_level, at_least=0, below=below)
        require_number(owner, "emphasis", self.emphasis, at_least=0, at_most=1)
        if self.sparsity_target is not None:
            require_number(owner, "sparsity_target", self.sparsity_target, above=0, below=1)
        for name in ("sparsity_cost", "contraction", "contraction_higher_order"):
            require_number(owner, name, getattr(self, name), at_least=0)
        require_number(owner, "contraction_noise", self.contraction_noise, above=0)
        require_training(owner, self.training)
        self._require_agreement(owner)

    def _require_agreement(self, owner: str) -> None:
        if self.emphasis > 0 and (self.corruption not in CELL_CORRUPTIONS or self.corruption_level == 0):
            raise SettingsError(
                f"emphasis of {owner} is for noise that takes a share of the cells ({', '.join(CELL_CORRUPTIONS)}, "
                f"corruption_level above 0); got corruption {self.corruption!r}, corruption_level "
                f"{self.corruption_level!r}."
            )
        if self.sparsity_target is not None and self.activation not in BOUNDED_ACTIVATIONS:
            raise SettingsError(
                f"sparsity_target of {owner} is for the activations {', '.join(BOUNDED_ACTIVATIONS)}, which are "
                f"bounded; got {self.activation!r}."
            )
        if self.contraction_higher_order > 0 and self.activation == "identity":
            raise SettingsError(
                f"contraction_higher_order of {owner} is not for the activation 'identity', whose Jacobian is the "
                "same everywhere."
            )
