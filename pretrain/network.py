"""Feed-forward networks."""

import dataclasses
from itertools import islice, pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from pretrain._validation import one_per_layer, require_choice, require_flag, require_number, require_sequence
from pretrain.activations import LAYER_ACTIVATIONS, activation_function
from pretrain.column_groups import parse_groups
from pretrain.exceptions import DataError, SettingsError
from pretrain.hidden_layers import DenseLayer, Dropout, ResidualLayer
from pretrain.scaling import Scaling, inference_dtype
from pretrain.stack import decode_rows, encode_rows, map_rows

TASKS = ("classification", "regression", "reconstruction")
LAYER_TYPES = ("dense", "residual")


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
        softmax with cross-entropy for classification, identity for regression; of a reconstruction what the first
        layer decodes with: sigmoid with cross-entropy, all others with squared error.
    task : {"classification", "regression", "reconstruction"}
    layer_type : {"dense", "residual"}
        "residual": the first hidden layer is dense, every further one a residual block.
    batch_norm : bool
        Of dense layers; residual blocks always have it.
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
        require_flag(owner, "batch_norm", self.batch_norm)
        parse_groups(f"output_activation of {owner}", self.output_activation, self.n_outputs, LAYER_ACTIVATIONS)
        require_choice(owner, "task", self.task, TASKS)
        require_choice(owner, "layer_type", self.layer_type, LAYER_TYPES)
        for name in ("dropout", "input_dropout"):
            require_number(owner, name, getattr(self, name), at_least=0, below=1)


class Network(nn.Module):
    """A feed-forward network: hidden layers, then a linear output layer.

    The weights are uninitialised: `unroll`, `scratch_network` or a checkpoint fills them.

    Parameters
    ----------
    architecture : Architecture
    scaling : Scaling or None
        What turns raw rows into inputs; None for no scaling.
    classes : ndarray of shape (n_classes,) or None
        Labels in the order of the outputs, of a classifier.
    target_scaling : Scaling or None
        Of a regressor: how the targets were scaled for training.
    """

    kind = "network"

    def __init__(
        self,
        architecture: Architecture,
        *,
        scaling: Scaling | None = None,
        classes: np.ndarray | None = None,
        target_scaling: Scaling | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.scaling = scaling or Scaling.none()
        self.classes = classes
        self.target_scaling = target_scaling or Scaling.none()
        self.input_dropout = Dropout(architecture.input_dropout)
        sizes = (architecture.n_features, *architecture.hidden_layer_sizes)
        layers = [self._hidden_layer(k, below, above) for k, (below, above) in enumerate(pairwise(sizes))]
        self.hidden: Any = nn.ModuleList(layers)  # of hidden layers; torch types the items as bare modules
        self.head = nn.Linear(sizes[-1], architecture.n_outputs, device="meta").to_empty(device="cpu")

    def _hidden_layer(self, k: int, n_inputs: int, n_units: int) -> nn.Module:
        spec = self.architecture
        if spec.layer_type == "residual" and k > 0:
            return ResidualLayer(n_inputs, n_units, spec.activations[k], dropout=spec.dropout)
        return DenseLayer(n_inputs, n_units, spec.activations[k], batch_norm=spec.batch_norm, dropout=spec.dropout)

    @property
    def n_visible(self) -> int:
        """Features of a row."""
        return self.architecture.n_features

    @property
    def n_hidden(self) -> int:
        """Units that `encode` gives: of the code layer of an autoencoder, else of the last hidden layer."""
        return ((self.n_visible, *self.architecture.hidden_layer_sizes)[: self._n_encoded + 1])[-1]

    @property
    def _n_encoded(self) -> int:
        count = self.architecture.n_encoder_layers
        return len(self.hidden) if count is None else count

    @property
    def n_parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Hidden activations (the code, of an autoencoder): (batch, n_features) -> (batch, n_hidden)."""
        x = self.input_dropout(x)
        for layer in islice(self.hidden, self._n_encoded):
            x = layer(x)
        return x

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """Outputs from a code: (batch, n_hidden) -> (batch, n_outputs), the output activation applied."""
        output = self.output_input(h)
        if self.architecture.output_activation == "softmax":
            return torch.softmax(output, dim=1)
        return activation_function(self.architecture.output_activation)(output)

    def output_input(self, h: torch.Tensor) -> torch.Tensor:
        """Total input of the outputs from a code: (batch, n_hidden) -> (batch, n_outputs)."""
        for layer in islice(self.hidden, self._n_encoded, None):
            h = layer(h)
        return self.head(h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Total input of the outputs (logits) of scaled rows: (batch, n_features) -> (batch, n_outputs)."""
        return self.output_input(self.encode(x))

    def output_rows(self, X: Any) -> np.ndarray:
        """Total input of the outputs of scaled rows: -> (n_samples, n_outputs); float64 for float64 rows."""
        return map_rows(self.eval(), type(self).forward, X, self.architecture.n_outputs).numpy(force=True)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Class probabilities of raw rows: (n_samples, n_features) -> (n_samples, n_classes)."""
        self._require_task("classification", "predict_proba")
        return torch.softmax(torch.from_numpy(self._outputs(X)), dim=1).numpy()

    def predict_log_proba(self, X: np.ndarray) -> np.ndarray:
        """Logarithms of `predict_proba`, finite where a probability is too small for a float."""
        self._require_task("classification", "predict_log_proba")
        return torch.log_softmax(torch.from_numpy(self._outputs(X)), dim=1).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels (n_samples,), targets (n_samples,) or (n_samples, n_outputs), or reconstructions of raw rows."""
        outputs = self._outputs(X)
        if self.architecture.task == "classification":
            index = outputs.argmax(axis=1)
            return index if self.classes is None else self.classes[index]
        if self.architecture.task == "regression":
            targets = self.target_scaling.undo(outputs)
            return targets[:, 0] if targets.shape[1] == 1 else targets
        activation = activation_function(self.architecture.output_activation)
        return self.scaling.undo(activation(torch.from_numpy(outputs)).numpy())

    def transform(self, X: Any) -> np.ndarray:
        """Codes of raw rows: (n_samples, n_features) -> (n_samples, n_hidden)."""
        return encode_rows(self.eval(), self.scaled(X)).numpy(force=True)

    def inverse_transform(self, H: np.ndarray) -> np.ndarray:
        """Raw rows from codes of an autoencoder: (n_samples, n_hidden) -> (n_samples, n_features)."""
        self._require_task("reconstruction", "inverse_transform")
        return self.scaling.undo(decode_rows(self.eval(), H).numpy(force=True))

    def scaled(self, X: Any) -> Any:
        """Raw rows as the network takes them, checked: (n_samples, n_features), float64 where they were so."""
        if X.ndim != 2 or X.shape[1] != self.n_visible:
            raise DataError(f"The network takes rows of {self.n_visible} features; got shape {X.shape}.")
        return self.scaling.apply(X, inference_dtype(X))

    def _outputs(self, X: np.ndarray) -> np.ndarray:
        return self.output_rows(self.scaled(X))

    def _require_task(self, task: str, method: str) -> None:
        if self.architecture.task != task:
            raise SettingsError(f"{method} needs a network for {task}; this one is for {self.architecture.task}.")
