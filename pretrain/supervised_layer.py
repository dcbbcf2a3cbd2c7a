"""A layer that encodes and does not decode: what greedy supervised pretraining leaves.

References
----------
.. [1] Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural
       networks. AISTATS.
"""

from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from pretrain._validation import require_number
from pretrain.activations import activation_function
from pretrain.supervised_settings import SupervisedSettings


class SupervisedLayer(nn.Module):
    """The hidden layer of a network with labels: encode(x) = f(W x + c).

    Parameters
    ----------
    n_visible, n_hidden : int
    activation : str
        f, a name in `pretrain.activations.ACTIVATIONS`.
    generator : torch.Generator or None
        Draws the initial weights (Xavier uniform [1]_, biases zero); None leaves them zero.

    Attributes
    ----------
    weight : Parameter of shape (n_hidden, n_visible)
    hidden_bias : Parameter of shape (n_hidden,)
    """

    kind: ClassVar[str] = "supervised"

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        *,
        activation: str = "sigmoid",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require_number("SupervisedLayer", "n_visible", n_visible, at_least=1, integer=True)
        require_number("SupervisedLayer", "n_hidden", n_hidden, at_least=1, integer=True)
        self._activate = activation_function(activation)
        self.n_visible, self.n_hidden, self.activation = int(n_visible), int(n_hidden), activation
        self.weight = nn.Parameter(torch.zeros(n_hidden, n_visible))
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden))
        if generator is not None:
            nn.init.xavier_uniform_(self.weight, generator=generator)

    @classmethod
    def from_settings(
        cls,
        n_visible: int,
        n_hidden: int,
        settings: SupervisedSettings,
        *,
        generator: torch.Generator | None = None,
        **_: Any,
    ) -> "SupervisedLayer":
        """An untrained layer; what the layer below and the data are like is not asked."""
        return cls(n_visible, n_hidden, activation=settings.activation, generator=generator)

    @property
    def encoder_weight(self) -> torch.Tensor:
        """(n_hidden, n_visible): W."""
        return self.weight

    @property
    def encoder_bias(self) -> torch.Tensor:
        """(n_hidden,): c."""
        return self.hidden_bias

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """f(W x + c): (batch, n_visible) -> (batch, n_hidden)."""
        return self._activate(functional.linear(x, self.weight, self.hidden_bias))
