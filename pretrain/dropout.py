"""Layers that draw random numbers in training, from a generator of their own: dropout, and the base of its kin.

References
----------
.. [1] Srivastava, N. et al. (2014). Dropout: a simple way to prevent neural networks from overfitting. JMLR 15.
"""

import torch
from torch import nn

from pretrain._validation import require_number
from pretrain.exceptions import SettingsError
from pretrain.random_streams import random_mask


class RandomLayer(nn.Module):
    """A layer that is random in training: it draws from a generator of its own instead of torch's global one.

    Parameters
    ----------
    rate : float
        Probability of dropping what it drops, in [0, 1).

    Attributes
    ----------
    generator : torch.Generator or None
        Whoever trains the network sets it (`pretrain.stochastic_depth.give_generators`), on the device of the
        batches, that of stochastic depth on the CPU; without it a layer that is to drop anything in training raises
        SettingsError.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        require_number(type(self).__name__, "rate", rate, at_least=0, below=1)
        self.rate = float(rate)
        self.generator: torch.Generator | None = None

    def own_generator(self) -> torch.Generator:
        """The generator; SettingsError where there is none."""
        if self.generator is None:
            raise SettingsError(
                f"{type(self).__name__} needs a generator in training; set its `generator`, or call eval()."
            )
        return self.generator


class Dropout(RandomLayer):
    """Dropout of units.

    In training a unit is dropped with probability `rate` and the others are divided by the retention
    probability p = 1 - rate; otherwise the layer is the identity. To divide activations by p in training is the
    same function as to multiply the weights above by 1/p on entry and by p at test time, which is what [1]_
    (section 8) asks for when a pretrained net is fine-tuned with dropout: a unit's expected input in training
    equals its input without dropout.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n) -> (batch, n)."""
        if not self.training or self.rate == 0:
            return x
        kept = random_mask(x.shape, 1 - self.rate, generator=self.own_generator(), dtype=x.dtype)
        return x * kept.div_(1 - self.rate)
