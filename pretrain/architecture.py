"""What a feed-forward network is, short of its weights.

References
----------
.. [1] Huang, G., Sun, Y., Liu, Z., Sedra, D. & Weinberger, K. (2016). Deep networks with stochastic depth. ECCV.
.. [2] He, K., Zhang, X., Ren, S. & Sun, J. (2016). Identity mappings in deep residual networks. ECCV.
.. [3] Huang, G., Liu, Z., van der Maaten, L. & Weinberger, K. (2017). Densely connected convolutional networks. CVPR.
"""

import dataclasses
from itertools import accumulate

from pretrain._validation import one_per_layer, require_choice, require_flag, require_number, require_sequence
from pretrain.activations import LAYER_ACTIVATIONS
from pretrain.column_groups import parse_groups
from pretrain.exceptions import SettingsError
from pretrain.hidden_layers import SHORTCUTS

TASKS = ("classification", "multilabel", "regression", "reconstruction")
# Of networks that are trained towards labels or targets.
OUTPUT_ACTIVATIONS = {"classification": "softmax", "multilabel": "sigmoid", "regression": "identity"}
LAYER_TYPES = ("dense", "residual", "densely_connected")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Everything that says what a network is, short of its weights.

    Parameters
    ----------
    n_features, n_outputs : int
    hidden_layer_sizes : tuple of int
    activations : tuple of str
        One for each hidden layer.
    output_activation : str
        softmax with cross-entropy for classification, sigmoid with cross-entropy for each of several labels (any
        number of which a row may have), identity for regression; of a reconstruction what the first
        layer decodes with: sigmoid with cross-entropy, all others with squared error.
    task : {"classification", "multilabel", "regression", "reconstruction"}
    layer_type : {"dense", "residual", "densely_connected"}
        "residual": the first hidden layer is dense, every further one a residual block [2]_. "densely_connected":
        every layer, the output layer too, sees the inputs and the units of all layers below it, side by side [3]_.
    batch_norm : bool
        Of dense layers; residual blocks always have it, unless they have layer norm.
    layer_norm : bool
        In place of batch norm, everywhere.
    shortcut : {"identity", "scaled", "projected", "dropped"}
        What goes past the weights of a residual block, see `pretrain.hidden_layers.ResidualLayer`.
    survival_probability : float
        Stochastic depth [1]_: the last of L residual blocks takes part in a training step with this probability p,
        block l with 1 - (1 - p) l / L. 1: all of them, always.
    input_dropout, dropout : float
        Probability of dropping an input, and a hidden unit.
    n_encoder_layers : int or None
        Of a deep autoencoder: the hidden layer with this number (from 1) is the code.
    """

    n_features: int
    n_outputs: int
    hidden_layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    output_activation: str = "softmax"
    task: str = "classification"
    layer_type: str = "dense"
    batch_norm: bool = False
    input_dropout: float = 0.0
    dropout: float = 0.0
    n_encoder_layers: int | None = None
    layer_norm: bool = False
    shortcut: str = "identity"
    survival_probability: float = 1.0

    def __post_init__(self) -> None:
        owner = "a network"
        for name in ("n_features", "n_outputs"):
            require_number(owner, name, getattr(self, name), at_least=1, integer=True)
        for name in ("hidden_layer_sizes", "activations"):
            require_sequence(owner, name, getattr(self, name))
        for size in self.hidden_layer_sizes:
            require_number(owner, "hidden_layer_sizes", size, at_least=1, integer=True)
        n_layers = len(self.hidden_layer_sizes)
        activations: list[str] = one_per_layer(owner, "activations", self.activations, n_layers)
        for activation, size in zip(activations, self.hidden_layer_sizes, strict=True):
            parse_groups(f"activations of {owner}", activation, size, LAYER_ACTIVATIONS)
        if self.n_encoder_layers is not None:
            number, top = self.n_encoder_layers, max(n_layers, 1)
            require_number(owner, "n_encoder_layers", number, at_least=1, at_most=top, integer=True)
        for name in ("batch_norm", "layer_norm"):
            require_flag(owner, name, getattr(self, name))
        parse_groups(f"output_activation of {owner}", self.output_activation, self.n_outputs, LAYER_ACTIVATIONS)
        require_choice(owner, "task", self.task, TASKS)
        require_choice(owner, "layer_type", self.layer_type, LAYER_TYPES)
        for name in ("dropout", "input_dropout"):
            require_number(owner, name, getattr(self, name), at_least=0, below=1)
        require_choice(owner, "shortcut", self.shortcut, SHORTCUTS)
        require_number(owner, "survival_probability", self.survival_probability, above=0, at_most=1)
        self._require_consistency(owner)

    def _require_consistency(self, owner: str) -> None:
        if self.batch_norm and self.layer_norm:
            raise SettingsError(f"{owner} has batch_norm or layer_norm, not both; set one of them to False.")
        for name, idle in (("shortcut", "identity"), ("survival_probability", 1)):
            if getattr(self, name) != idle and self.layer_type != "residual":
                raise SettingsError(
                    f"{name} of {owner} is for residual blocks; set layer_type to 'residual', or leave {name} at "
                    f"{idle!r}. Got {getattr(self, name)!r} with layer_type {self.layer_type!r}."
                )

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns that the first hidden layer sees, the second, ..., and the output layer: n_layers + 1 numbers."""
        if self.layer_type == "densely_connected":
            return tuple(accumulate((self.n_features, *self.hidden_layer_sizes)))
        return (self.n_features, *self.hidden_layer_sizes)
