"""The path from independent units to a deep Boltzmann machine, on which its partition function is estimated.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS, section 3.3.
.. [2] Salakhutdinov, R. & Murray, I. (2008). On the quantitative analysis of deep belief networks. ICML.
"""

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from pretrain.dbm import DBM
from pretrain.dbm_conditionals import LayerConditionals
from pretrain.random_streams import BernoulliSampler


@dataclasses.dataclass
class OddLayers:
    """States of the odd layers of some runs, and what they put into the even ones.

    Attributes
    ----------
    layers : list of Tensor of shape (n_runs, n_units)
        Of every layer, the visible one first; those of the even layers are buffers.
    inputs : list of Tensor of shape (n_runs, n_units)
        Of the even layers: their total inputs in the model. Of the odd layers: buffers.
    """

    layers: list[torch.Tensor]
    inputs: list[torch.Tensor]


class DBMPath:
    """p_beta of the odd hidden layers, the even ones (the data among them) summed out analytically [1]_.

    p_beta(h1, h3, ...) is the sum over v, h2, h4, ... of exp(-E_beta), where E_beta has beta times every weight and
    hidden bias of the model, and the visible biases (1 - beta) b' + beta b, with b' those of independent units [2]_:

        log p_beta = beta sum_odd c_k.h_k + A((1 - beta) b' + beta a_0) + sum_even softplus(beta a_k),

    without its normaliser; a_k is the total input of layer k in the model, A the log partition of the visible units.

    Parameters
    ----------
    dbm : DBM
    base_mean : Tensor of shape (n_visible,) or None
        Mean of the independent visible units at beta = 0; None gives them the model's own biases.
    generator : torch.Generator
        On the device of the model.
    """

    def __init__(self, dbm: DBM, base_mean: torch.Tensor | None, generator: torch.Generator) -> None:
        self.dbm, bias = dbm, dbm.visible_bias.detach()
        self.device = bias.device
        self.conditionals = LayerConditionals(dbm, dtype=bias.dtype)
        self.base_bias = bias if base_mean is None else dbm.visible_units.bias_of_mean(base_mean.to(bias))
        # One sampler a layer: its buffers fit from one step to the next.
        self._samplers = [BernoulliSampler(generator, exact=True) for _ in self.conditionals.sizes]
        at_base = dbm.visible_units.log_partition(self.base_bias[None].double())
        self.base_log_partition = float(at_base) + math.log(2) * sum(dbm.hidden_layer_sizes)

    def states_of(self, layers: Sequence[torch.Tensor]) -> OddLayers:
        """The odd ones of given states of every layer, (n_runs, n_units) each, the visible one first; copied."""
        states = OddLayers([layer.clone() for layer in layers], self.conditionals.empty(len(layers[0])))
        self._put_in(states)
        return states

    def base_samples(self, n: int) -> OddLayers:
        """Hidden units at the start, which are on with a probability of one half."""
        halves = [torch.full_like(buffer, 0.5) for buffer in self.conditionals.empty(n)]
        drawn = [s.sample(half, torch.empty_like(half)) for s, half in zip(self._samplers, halves, strict=True)]
        return self.states_of(drawn)

    def log_probability(self, states: OddLayers, beta: float) -> torch.Tensor:
        """log p_beta, without its normaliser, of each run: (n_runs,), nats."""
        total = self.dbm.visible_units.log_partition(self._visible_input(states, beta))
        for k in range(1, len(states.layers)):
            if k % 2:
                total = total + beta * (states.layers[k] @ self.conditionals.biases[k])
            else:
                total = total + functional.softplus(beta * states.inputs[k]).sum(dim=1)
        return total

    def log_ratio(self, states: OddLayers, above: float, below: float) -> torch.Tensor:
        """log of p_above / p_below, both without their normalisers: (n_runs,) float64."""
        return (self.log_probability(states, above) - self.log_probability(states, below)).double()

    def step(self, states: OddLayers, beta: float) -> OddLayers:
        """One Gibbs step that leaves p_beta unchanged: the even layers given the odd ones, then these; in place."""
        layers, inputs = states.layers, states.inputs
        sampler = self._samplers[0]
        self.dbm.visible_units.sample_(self._visible_input(states, beta), layers[0], sampler=sampler)
        for k in range(2, len(layers), 2):
            self._samplers[k].sample(inputs[k].mul_(beta).sigmoid_(), layers[k])
        for k in range(1, len(layers), 2):
            mean = self.conditionals.total_input(layers, k, inputs[k]).mul_(beta).sigmoid_()
            self._samplers[k].sample(mean, layers[k])
        self._put_in(states)
        return states

    def _visible_input(self, states: OddLayers, beta: float) -> torch.Tensor:
        return torch.lerp(self.base_bias, states.inputs[0], beta)

    def _put_in(self, states: OddLayers) -> None:
        for k in range(0, len(states.layers), 2):
            self.conditionals.total_input(states.layers, k, states.inputs[k])
