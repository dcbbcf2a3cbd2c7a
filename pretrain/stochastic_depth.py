"""Stochastic depth: residual blocks that are left out of training steps, and weighted at test time.

References
----------
.. [1] Huang, G., Sun, Y., Liu, Z., Sedra, D. & Weinberger, K. (2016). Deep networks with stochastic depth. ECCV.
"""

from collections.abc import Callable

import torch
from torch import nn

from pretrain.dropout import RandomLayer


def survival_probabilities(n_blocks: int, last: float) -> list[float]:
    """The linear decay of [1]_, equation 4: p_l = 1 - (1 - p_L) l / L for blocks l = 1 to L, `last` being p_L."""
    return [1 - (1 - last) * block / n_blocks for block in range(1, n_blocks + 1)]


class StochasticDepth(RandomLayer):
    """What a residual block adds to its shortcut [1]_: in training all of it or nothing, else what is expected of it.

    In a training step the branch F takes part with probability p, for the whole batch; where it does not, it is not
    computed either, the gradient of its weights is zero and the statistics of its norms stay as they are. Outside
    training it is p F(x), the expectation (equation 5).

    Parameters
    ----------
    survival_probability : float
        p, in (0, 1].
    """

    def __init__(self, survival_probability: float) -> None:
        super().__init__(1 - survival_probability)
        self.survival_probability = float(survival_probability)

    def forward(
        self, shortcut: torch.Tensor, branch: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
    ) -> torch.Tensor:
        """`shortcut` and what `branch` makes of `x`, both (batch, ...), added: -> (batch, ...)."""
        if self.rate == 0:
            return shortcut + branch(x)
        if not self.training:
            return shortcut + self.survival_probability * branch(x)
        return shortcut + branch(x) if self._survives() else shortcut

    def _survives(self) -> bool:
        generator = self.own_generator()
        return float(torch.rand((), generator=generator, device=generator.device)) < self.survival_probability


def give_generators(network: nn.Module, generator: torch.Generator) -> torch.Generator:
    """Let the random layers of a network draw from `generator`; return what its `StochasticDepth` draws from.

    The host must know which blocks take part before it can launch anything, and to ask a GPU would stop it at every
    block. So that is drawn on the CPU: from `generator` itself where it is there, else from one that it seeds.

    Parameters
    ----------
    network : Module
    generator : torch.Generator
        On the network's device. Where it must seed another, one number is drawn from it.

    Returns
    -------
    torch.Generator
        On the CPU where a block may be left out; else `generator`.
    """
    layers = [module for module in network.modules() if isinstance(module, RandomLayer)]
    of_blocks = generator
    if generator.device.type != "cpu" and any(
        isinstance(layer, StochasticDepth) and layer.rate > 0 for layer in layers
    ):
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        of_blocks = torch.Generator().manual_seed(seed)
    for layer in layers:
        layer.generator = of_blocks if isinstance(layer, StochasticDepth) else generator
    return of_blocks
