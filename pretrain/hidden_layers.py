"""The hidden layers that networks are built of: dense and residual, with batch norm and dropout.

References
----------
.. [1] Srivastava, N. et al. (2014). Dropout: a simple way to prevent neural networks from overfitting. JMLR 15.
.. [2] Ioffe, S. & Szegedy, C. (2015). Batch normalization. ICML.
.. [3] He, K. et al. (2016). Identity mappings in deep residual networks. ECCV.
"""

import torch
from torch import nn

from pretrain._validation import require_number
from pretrain.activations import activation_function
from pretrain.exceptions import SettingsError
from pretrain.random_streams import random_mask


class Dropout(nn.Module):
    """Dropout that draws from a generator of its own instead of torch's global one.

    In training a unit is dropped with probability `rate` and the others are divided by the retention
    probability p = 1 - rate; otherwise the layer is the identity. To divide activations by p in training is the
    same function as to multiply the weights above by 1/p on entry and by p at test time, which is what [1]_
    (section 8) asks for when a pretrained net is fine-tuned with dropout: a unit's expected input in training
    equals its input without dropout.

    Attributes
    ----------
    generator : torch.Generator or None
        Whoever trains the network sets it, on the device of the batches; without it a layer that is to drop
        units in training raises SettingsError.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        require_number("Dropout", "rate", rate, at_least=0, below=1)
        self.rate = float(rate)
        self.generator: torch.Generator | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n) -> (batch, n)."""
        if not self.training or self.rate == 0:
            return x
        if self.generator is None:
            raise SettingsError("Dropout needs a generator in training; set its `generator`, or call eval().")
        kept = random_mask(x.shape, 1 - self.rate, generator=self.generator, dtype=x.dtype)
        return x * kept.div_(1 - self.rate)


class DenseLayer(nn.Module):
    """activation(norm(W x + c)), then dropout; the norm is batch norm [2]_ or nothing."""

    def __init__(
        self, n_inputs: int, n_units: int, activation: str, *, batch_norm: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self._activate = activation_function(activation)
        self.linear = nn.Linear(n_inputs, n_units, device="meta").to_empty(device="cpu")
        self.norm = nn.BatchNorm1d(n_units) if batch_norm else None
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs) -> (batch, n_units)."""
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(self._activate(x))


class ResidualLayer(nn.Module):
    """x + W2 f(norm(W1 f(norm(x)))): a pre-activation residual block [3]_ of constant or changed width.

    The shortcut is the identity, or a linear projection without bias where the width changes.
    """

    def __init__(self, n_inputs: int, n_units: int, activation: str, *, dropout: float = 0.0) -> None:
        super().__init__()
        self._activate = activation_function(activation)
        self.norm = nn.BatchNorm1d(n_inputs)
        self.linear = nn.Linear(n_inputs, n_units, device="meta").to_empty(device="cpu")
        self.inner_norm = nn.BatchNorm1d(n_units)
        self.outer = nn.Linear(n_units, n_units, device="meta").to_empty(device="cpu")
        self.shortcut: nn.Linear | None = None
        if n_inputs != n_units:
            self.shortcut = nn.Linear(n_inputs, n_units, bias=False, device="meta").to_empty(device="cpu")
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs) -> (batch, n_units)."""
        kept = x if self.shortcut is None else self.shortcut(x)
        inner = self.linear(self._activate(self.norm(x)))
        return kept + self.outer(self.dropout(self._activate(self.inner_norm(inner))))
