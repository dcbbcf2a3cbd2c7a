"""Feed-forward networks."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pretrain.activations import activation_function
from pretrain.architecture import Architecture
from pretrain.dropout import Dropout
from pretrain.exceptions import DataError, SettingsError
from pretrain.hidden_layers import DenseLayer, DenselyConnectedLayer, ResidualLayer, empty_linear
from pretrain.image_architecture import ImageArchitecture
from pretrain.scaling import Scaling, inference_dtype
from pretrain.stack import decode_rows, encode_rows, map_rows
from pretrain.stochastic_depth import survival_probabilities


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
        architecture: Architecture | ImageArchitecture,
        *,
        scaling: Scaling | None = None,
        classes: np.ndarray | None = None,
        target_scaling: Scaling | None = None,
    ) -> None:
        super().__init__()
        self.architecture: Any = architecture
        self.scaling = scaling or Scaling.none()
        self.classes = classes
        self.target_scaling = target_scaling or Scaling.none()
        self.input_dropout = Dropout(architecture.input_dropout)
        self.hidden: Any = nn.ModuleList(self._make_layers(architecture))  # torch types the items as bare modules
        self.head = empty_linear(architecture.widths[-1], architecture.n_outputs)

    @staticmethod
    def _make_layers(architecture: Any) -> list[nn.Module]:
        return list(_hidden_layers(architecture))

    @property
    def n_visible(self) -> int:
        """Features of a row."""
        return self.architecture.n_features

    @property
    def n_hidden(self) -> int:
        """Units that `encode` gives: of the code layer of an autoencoder, else of the last hidden layer."""
        return self.architecture.widths[self._n_encoded]

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
        """Probabilities of classes, or of each label: (n_samples, n_features) -> (n_samples, n_classes)."""
        self._require_task(("classification", "multilabel"), "predict_proba")
        outputs = torch.from_numpy(self._outputs(X))
        labels = self.architecture.task == "multilabel"
        return (torch.sigmoid(outputs) if labels else torch.softmax(outputs, dim=1)).numpy()

    def predict_log_proba(self, X: np.ndarray) -> np.ndarray:
        """Logarithms of `predict_proba`, finite where a probability is too small for a float."""
        self._require_task(("classification", "multilabel"), "predict_log_proba")
        outputs = torch.from_numpy(self._outputs(X))
        labels = self.architecture.task == "multilabel"
        return (functional.logsigmoid(outputs) if labels else torch.log_softmax(outputs, dim=1)).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Labels (n_samples,), targets (n_samples,) or (n_samples, n_outputs), or reconstructions of raw rows.

        Of several labels a row 0 or 1 for each, (n_samples, n_outputs).
        """
        outputs = self._outputs(X)
        if self.architecture.task == "classification":
            index = outputs.argmax(axis=1)
            return index if self.classes is None else self.classes[index]
        if self.architecture.task == "multilabel":
            return (outputs > 0).astype(np.int64)
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
        self._require_task(("reconstruction",), "inverse_transform")
        return self.scaling.undo(decode_rows(self.eval(), H).numpy(force=True))

    def scaled(self, X: Any) -> Any:
        """Raw rows as the network takes them, checked: (n_samples, n_features), float64 where they were so."""
        if X.ndim != 2 or X.shape[1] != self.n_visible:
            raise DataError(f"The network takes rows of {self.n_visible} features; got shape {X.shape}.")
        return self.scaling.apply(X, inference_dtype(X))

    def _outputs(self, X: np.ndarray) -> np.ndarray:
        return self.output_rows(self.scaled(X))

    def _require_task(self, tasks: tuple[str, ...], method: str) -> None:
        if self.architecture.task not in tasks:
            wanted = " or ".join(tasks)
            raise SettingsError(f"{method} needs a network for {wanted}; this one is for {self.architecture.task}.")


def _hidden_layers(spec: Architecture) -> Iterator[nn.Module]:
    survival = survival_probabilities(len(spec.hidden_layer_sizes) - 1, spec.survival_probability)
    for k, (n_units, activation) in enumerate(zip(spec.hidden_layer_sizes, spec.activations, strict=True)):
        if spec.layer_type == "residual" and k > 0:
            yield ResidualLayer(
                spec.widths[k],
                n_units,
                activation,
                dropout=spec.dropout,
                layer_norm=spec.layer_norm,
                shortcut=spec.shortcut,
                survival_probability=survival[k - 1],
            )
        else:
            cls = DenselyConnectedLayer if spec.layer_type == "densely_connected" else DenseLayer
            norms = {"batch_norm": spec.batch_norm, "layer_norm": spec.layer_norm}
            yield cls(spec.widths[k], n_units, activation, dropout=spec.dropout, **norms)
