"""Unit types of restricted Boltzmann machines: what a unit's mean, sample and energy are.

Every type is an exponential family in its total input. With states x, bias b and total input a (the bias plus
the weighted states of the other layer), the energy of a layer is `base_energy(x) - b.x - (weighted input).x`, the
conditional is `p(x | a)  proportional to  exp(a.x - base_energy(x))`, and its normaliser is `exp(log_partition(a))`.
That is all an RBM needs for conditionals, Gibbs steps, energy and free energy.
"""

import math
from typing import ClassVar

import torch
from torch.nn import functional

from pretrain.exceptions import SettingsError
from pretrain.random_streams import BernoulliSampler


class BernoulliUnits:
    """States in {0, 1}: p(x = 1 | a) = sigmoid(a), log partition softplus(a), no base energy."""

    name: ClassVar[str] = "bernoulli"
    activation: ClassVar[str] = "sigmoid"

    def mean_(self, total_input: torch.Tensor) -> torch.Tensor:
        """Overwrite the total input with the conditional mean, sigmoid(a); return it."""
        return total_input.sigmoid_()

    def sample(self, mean: torch.Tensor, *, sampler: BernoulliSampler, out: torch.Tensor) -> torch.Tensor:
        """Fill `out` with states drawn from the conditional of the given mean; return it."""
        return sampler.sample(mean, out)

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """(batch, n_units) -> (batch,): zero for binary states."""
        return states.new_zeros(states.shape[0])

    def log_partition(self, total_input: torch.Tensor) -> torch.Tensor:
        """(batch, n_units) -> (batch,): sum over units of log(1 + exp(a)), in nats."""
        return functional.softplus(total_input).sum(dim=1)


class GaussianUnits:
    """Real states of unit variance: x | a ~ N(a, 1), log partition a^2/2 + log(2 pi)/2, base energy x^2/2.

    The energy x^2/2 - b x differs from the often printed (x - b)^2 / 2 by b^2/2, which does not depend on the
    states: conditionals, gradients and normalised likelihoods are the same.
    """

    name: ClassVar[str] = "gaussian"
    activation: ClassVar[str] = "identity"

    def mean_(self, total_input: torch.Tensor) -> torch.Tensor:
        """The conditional mean of a Gaussian unit is its total input."""
        return total_input

    def sample(self, mean: torch.Tensor, *, sampler: BernoulliSampler, out: torch.Tensor) -> torch.Tensor:
        """Fill `out` with mean + N(0, 1); return it."""
        return out.normal_(generator=sampler.generator).add_(mean)

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """(batch, n_units) -> (batch,): sum over units of x^2 / 2."""
        return 0.5 * states.square().sum(dim=1)

    def log_partition(self, total_input: torch.Tensor) -> torch.Tensor:
        """(batch, n_units) -> (batch,): sum over units of a^2/2 + log(2 pi)/2, in nats."""
        constant = 0.5 * math.log(2 * math.pi) * total_input.shape[1]
        return 0.5 * total_input.square().sum(dim=1) + constant


Units = BernoulliUnits | GaussianUnits
UNIT_TYPES: dict[str, type[Units]] = {cls.name: cls for cls in (BernoulliUnits, GaussianUnits)}


def make_units(name: str) -> Units:
    """The unit type called `name`; SettingsError where there is none."""
    if name not in UNIT_TYPES:
        raise SettingsError(f"units must be one of {', '.join(UNIT_TYPES)}; got {name!r}.")
    return UNIT_TYPES[name]()
