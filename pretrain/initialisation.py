"""Random initial weights, by name.

With n the inputs of a unit, m the units that one input feeds, and g the gain of the activation f behind the weights:

    gaussian        N(0, 0.01^2), whatever the layer: what was usual before the layers' sizes were looked at [1]_
    sparse          15 weights of each unit from N(0, 1), all others zero [2]_
    xavier_normal   N(0, 2 g^2 / (n + m)) [3]_
    xavier_uniform  U(-a, a) of the same variance
    he_normal       N(0, g^2 / n) [4]_
    he_uniform      U(-a, a) of the same variance
    orthogonal      g times rows (or columns) that are orthonormal [5]_

References
----------
.. [1] Krizhevsky, A., Sutskever, I. & Hinton, G. E. (2012). ImageNet classification with deep convolutional neural
       networks. NIPS, section 5.
.. [2] Martens, J. (2010). Deep learning via Hessian-free optimization. ICML, section 5.
.. [3] Glorot, X. & Bengio, Y. (2010). Understanding the difficulty of training deep feedforward neural networks.
       AISTATS.
.. [4] He, K., Zhang, X., Ren, S. & Sun, J. (2015). Delving deep into rectifiers. ICCV.
.. [5] Saxe, A. M., McClelland, J. L. & Ganguli, S. (2014). Exact solutions to the nonlinear dynamics of learning in
       deep linear neural networks. ICLR.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from pretrain._validation import require_choice

NAIVE_DEVIATION = 0.01
N_SPARSE = 15
# The gain keeps the variance of the units from layer to layer: that of torch.nn.init.calculate_gain, and for softplus
# and GELU the criterion of [4], g^2 E[f(z)^2] = 1 for z from N(0, 1).
GAINS: dict[str, float] = {
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
    "softplus": 1.0418668,
    "gelu": 1.5335304,
    "identity": 1.0,
}

Draw = Callable[[torch.Tensor, float, torch.Generator], None]


def _gaussian(weight: torch.Tensor, gain: float, generator: torch.Generator) -> None:
    nn.init.normal_(weight, std=NAIVE_DEVIATION, generator=generator)


def _sparse(weight: torch.Tensor, gain: float, generator: torch.Generator) -> None:
    # torch's own takes as many zeros from each column, and draws them from the global generator.
    rows = weight.flatten(1)
    kept = torch.rand(rows.shape, generator=generator).topk(min(N_SPARSE, rows.shape[1]), dim=1).indices
    values = torch.randn(kept.shape, generator=generator)
    with torch.no_grad():
        weight.copy_(torch.zeros_like(rows).scatter_(1, kept, values).view_as(weight))


def _xavier_normal(weight: torch.Tensor, gain: float, generator: torch.Generator) -> None:
    nn.init.xavier_normal_(weight, gain=gain, generator=generator)


def _xavier_uniform(weight: torch.Tensor, gain: float, generator: torch.Generator) -> None:
    nn.init.xavier_uniform_(weight, gain=gain, generator=generator)


def _he_normal(weight: torch.Tensor, gain: float, generator: torch.Generator) -> None:
    nn.init.normal_(weight, std=_he_deviation(weight, gain), generator=generator)


def _he_uniform(weight: torch.Tensor, gain: float, generator: torch.Generator) -> None:
    bound = math.sqrt(3) * _he_deviation(weight, gain)
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def _he_deviation(weight: torch.Tensor, gain: float) -> float:
    return gain / math.sqrt(weight[0].numel())


def _orthogonal(weight: torch.Tensor, gain: float, generator: torch.Generator) -> None:
    nn.init.orthogonal_(weight, gain=gain, generator=generator)


INITIALISATIONS: dict[str, Draw] = {
    "gaussian": _gaussian,
    "sparse": _sparse,
    "xavier_normal": _xavier_normal,
    "xavier_uniform": _xavier_uniform,
    "he_normal": _he_normal,
    "he_uniform": _he_uniform,
    "orthogonal": _orthogonal,
}


def initialise(
    module: nn.Linear | nn.Conv2d, initialisation: str, activation: str, *, generator: torch.Generator
) -> None:
    """Draw the weights of a linear or convolutional layer; its biases become zero.

    Parameters
    ----------
    module : nn.Linear or nn.Conv2d
        On the CPU.
    initialisation : str
        A name in `INITIALISATIONS`.
    activation : str
        A name in `GAINS`, of the activation whose gain the weights take.
    generator : torch.Generator

    Raises
    ------
    SettingsError
        For other names.
    """
    require_choice("initialise", "initialisation", initialisation, INITIALISATIONS)
    require_choice("initialise", "activation", activation, GAINS)
    INITIALISATIONS[initialisation](module.weight, GAINS[activation], generator)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
