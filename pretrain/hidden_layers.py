"""The hidden layers that networks are built of: dense, residual, densely connected; with norms and dropout.

References
----------
.. [1] Ioffe, S. & Szegedy, C. (2015). Batch normalization. ICML.
.. [2] He, K., Zhang, X., Ren, S. & Sun, J. (2016). Identity mappings in deep residual networks. ECCV.
.. [3] Ba, J. L., Kiros, J. R. & Hinton, G. E. (2016). Layer normalization. arXiv:1607.06450.
.. [4] Huang, G., Liu, Z., van der Maaten, L. & Weinberger, K. (2017). Densely connected convolutional networks. CVPR.
"""

import torch
from torch import nn

from pretrain.activations import activation_function
from pretrain.dropout import Dropout
from pretrain.stochastic_depth import StochasticDepth

SHORTCUTS = ("identity", "scaled", "projected", "dropped")
SHORTCUT_SCALE = 0.5  # of "scaled"
SHORTCUT_DROPOUT = 0.5  # of "dropped"


class DenseLayer(nn.Module):
    """activation(norm(W x + c)), then dropout; the norm is batch norm [1]_, layer norm [3]_ or nothing."""

    def __init__(
        self,
        n_inputs: int,
        n_units: int,
        activation: str,
        *,
        batch_norm: bool = False,
        layer_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._activate = activation_function(activation)
        self.linear = empty_linear(n_inputs, n_units)
        self.norm = _norm(n_units, layer_norm) if batch_norm or layer_norm else None
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs) -> (batch, n_units)."""
        x = self.linear(x)
        if self.norm is not None:
            x = self.norm(x)
        return self.dropout(self._activate(x))


class DenselyConnectedLayer(DenseLayer):
    """A dense layer whose units stand beside its inputs, so that all layers above see both [4]_."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs) -> (batch, n_inputs + n_units)."""
        return torch.cat([x, super().forward(x)], dim=1)


class ResidualLayer(nn.Module):
    """S(x) + F(x), F(x) = W2 f(norm(W1 f(norm(x)))): a pre-activation residual block [2]_.

    The norms are batch norm, or layer norm. The shortcut S(x) is x, or, where the width changes, a linear projection
    of it without bias. The other shortcuts are for comparison with it ([2]_, section 3), and each blocks the way of
    the signal a little.

    Parameters
    ----------
    n_inputs, n_units : int
    activation : str
    dropout : float
        Between the two matrices.
    layer_norm : bool
    shortcut : {"identity", "scaled", "projected", "dropped"}
        "scaled": (S(x) + F(x)) / 2, constant scaling; "projected": a linear projection in every block; "dropped":
        half of the entries of S(x) are dropped in training, see `Dropout`.
    survival_probability : float
        Of F in a training step, see `StochasticDepth`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_units: int,
        activation: str,
        *,
        dropout: float = 0.0,
        layer_norm: bool = False,
        shortcut: str = "identity",
        survival_probability: float = 1.0,
    ) -> None:
        super().__init__()
        self._activate = activation_function(activation)
        self.norm = _norm(n_inputs, layer_norm)
        self.linear = empty_linear(n_inputs, n_units)
        self.inner_norm = _norm(n_units, layer_norm)
        self.outer = empty_linear(n_units, n_units)
        self.shortcut: nn.Linear | None = None
        if n_inputs != n_units or shortcut == "projected":
            self.shortcut = empty_linear(n_inputs, n_units, bias=False)
        self.dropout = Dropout(dropout)
        self.shortcut_dropout = Dropout(SHORTCUT_DROPOUT if shortcut == "dropped" else 0.0)
        self.depth = StochasticDepth(survival_probability)
        self._scale = SHORTCUT_SCALE if shortcut == "scaled" else 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs) -> (batch, n_units)."""
        kept = self.shortcut_dropout(x if self.shortcut is None else self.shortcut(x))
        added = self.depth(kept, self._branch, x)
        return added if self._scale == 1 else self._scale * added

    def _branch(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.linear(self._activate(self.norm(x)))
        return self.outer(self.dropout(self._activate(self.inner_norm(inner))))


def empty_linear(n_inputs: int, n_units: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer whose weights hold anything at all, for whoever makes it to fill."""
    return nn.Linear(n_inputs, n_units, bias=bias, device="meta").to_empty(device=torch.get_default_device())


def _norm(n_units: int, layer_norm: bool) -> nn.BatchNorm1d | nn.LayerNorm:
    return nn.LayerNorm(n_units) if layer_norm else nn.BatchNorm1d(n_units)
