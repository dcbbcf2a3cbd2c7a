"""The layers of convolutional networks: (batch, channels, height, width) in and out.

References
----------
.. [1] He, K., Zhang, X., Ren, S. & Sun, J. (2016). Deep residual learning for image recognition. CVPR, section 4.2.
.. [2] He, K., Zhang, X., Ren, S. & Sun, J. (2016). Identity mappings in deep residual networks. ECCV.
.. [3] Huang, G., Liu, Z., van der Maaten, L. & Weinberger, K. (2017). Densely connected convolutional networks. CVPR.
"""

import torch
from torch import nn
from torch.nn import functional

from pretrain.dropout import Dropout
from pretrain.hidden_layers import DenseLayer
from pretrain.stochastic_depth import StochasticDepth

BOTTLENECK = 4  # growth rates that a 1 x 1 convolution leaves


class ConvolutionLayer(nn.Module):
    """A convolution, with or without bias; then, if asked for, batch norm, rectified linear units, 2 x 2 maxima."""

    def __init__(
        self,
        n_inputs: int,
        n_units: int,
        *,
        kernel: int = 3,
        padding: int = 1,
        bias: bool = False,
        batch_norm: bool = False,
        rectified: bool = False,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        self.convolution = empty_convolution(n_inputs, n_units, kernel, padding=padding, bias=bias)
        self.norm = nn.BatchNorm2d(n_units) if batch_norm else None
        self._rectified, self._pooled = rectified, pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs, height, width) -> (batch, n_units, ...)."""
        x = self.convolution(x)
        x = x if self.norm is None else self.norm(x)
        x = torch.relu(x) if self._rectified else x
        return functional.max_pool2d(x, 2) if self._pooled else x


class FlatDenseLayer(DenseLayer):
    """A dense layer on all channels and pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, ...) -> (batch, n_units)."""
        return super().forward(x.flatten(1))


class ConvolutionBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm, with a shortcut past them or without.

    With f the rectifier and N norms: f(S(x) + N2(W2 f(N1(W1 x)))) of a residual block [1]_, f(N2(W2 f(N1(W1 x)))) of
    a plain one, S(x) + W2 f(N2(W1 f(N1(x)))) with pre-activation [2]_. The shortcut S has no parameters (option A of
    [1]_): x, or, where the side is halved, every other pixel and channels of zeros.

    Parameters
    ----------
    n_inputs, n_units, stride : int
    residual, preactivation : bool
    dropout : float
        Between the convolutions.
    survival_probability : float
        Of the convolutions in a training step, see `StochasticDepth`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_units: int,
        stride: int = 1,
        *,
        residual: bool = True,
        preactivation: bool = False,
        dropout: float = 0.0,
        survival_probability: float = 1.0,
    ) -> None:
        super().__init__()
        self.convolution = empty_convolution(n_inputs, n_units, 3, padding=1, stride=stride)
        self.norm = nn.BatchNorm2d(n_inputs if preactivation else n_units)
        self.outer = empty_convolution(n_units, n_units, 3, padding=1)
        self.outer_norm = nn.BatchNorm2d(n_units)
        self.dropout = Dropout(dropout)
        self.depth = StochasticDepth(survival_probability)
        self._stride, self._n_new = stride, n_units - n_inputs
        self._residual, self._preactivation = residual, preactivation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs, height, width) -> (batch, n_units, height / stride, width / stride), rounded up."""
        if not self._residual:
            return torch.relu(self._branch(x))
        added = self.depth(self._shortcut(x), self._branch, x)
        return added if self._preactivation else torch.relu(added)

    def _shortcut(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self._stride == 1 else x[:, :, :: self._stride, :: self._stride]
        return kept if self._n_new == 0 else functional.pad(kept, (0, 0, 0, 0, 0, self._n_new))

    def _branch(self, x: torch.Tensor) -> torch.Tensor:
        if self._preactivation:
            inner = self.dropout(self.convolution(torch.relu(self.norm(x))))
            return self.outer(torch.relu(self.outer_norm(inner)))
        return self.outer_norm(self.outer(self.dropout(torch.relu(self.norm(self.convolution(x))))))


class GrowthLayer(nn.Module):
    """A layer of a dense block [3]_: its channels stand beside its inputs.

    Norm, rectifier and a 3 x 3 convolution to `growth` channels; with a bottleneck the same with a 1 x 1 convolution
    before.
    """

    def __init__(self, n_inputs: int, growth: int, *, bottleneck: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        n_inner = BOTTLENECK * growth if bottleneck else n_inputs
        self.inner_norm = nn.BatchNorm2d(n_inputs) if bottleneck else None
        self.inner = empty_convolution(n_inputs, n_inner, 1) if bottleneck else None
        self.norm = nn.BatchNorm2d(n_inner)
        self.convolution = empty_convolution(n_inner, growth, 3, padding=1)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs, height, width) -> (batch, n_inputs + growth, height, width)."""
        seen = x
        if self.inner is not None and self.inner_norm is not None:
            seen = self.dropout(self.inner(torch.relu(self.inner_norm(x))))
        return torch.cat([x, self.dropout(self.convolution(torch.relu(self.norm(seen))))], dim=1)


class TransitionLayer(nn.Module):
    """Between dense blocks [3]_: norm, rectifier, a 1 x 1 convolution, and means of 2 x 2 pixels."""

    def __init__(self, n_inputs: int, n_units: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(n_inputs)
        self.convolution = empty_convolution(n_inputs, n_units, 1)
        self.dropout = Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_inputs, height, width) -> (batch, n_units, height / 2, width / 2), rounded down."""
        return functional.avg_pool2d(self.dropout(self.convolution(torch.relu(self.norm(x)))), 2)


class NormLayer(nn.Module):
    """Batch norm and the rectifier: what the last convolution of a network of pre-activations still lacks."""

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(n_units)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_units, height, width) -> the same shape."""
        return torch.relu(self.norm(x))


def empty_convolution(
    n_inputs: int, n_units: int, kernel: int, *, padding: int = 0, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution whose weights hold anything at all, for whoever makes it to fill."""
    convolution = nn.Conv2d(n_inputs, n_units, kernel, stride, padding, bias=bias, device="meta")
    return convolution.to_empty(device=torch.get_default_device())
