"""Gaussian units for real values, of unit variance or with a variance that is learned.

References
----------
.. [1] Cho, K., Ilin, A. & Raiko, T. (2011). Improved learning of Gaussian-Bernoulli restricted Boltzmann machines.
       ICANN.
"""

import math

import torch
from torch import nn

from pretrain.random_streams import BernoulliSampler
from pretrain.units import Units

LOWEST_VARIANCE, HIGHEST_VARIANCE = 1e-2, 1e2


class GaussianUnits(Units):
    """Real states of unit variance: x | a ~ N(a, 1), base energy x^2/2, log partition a^2/2 + log(2 pi)/2.

    The energy x^2/2 - b x differs from the often printed (x - b)^2 / 2 by b^2/2, which does not depend on the
    states: conditionals, gradients and normalised likelihoods are the same.
    """

    name, activation = "gaussian", "identity"
    discrete = False

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """The conditional mean of a Gaussian unit is its total input."""
        return total_input

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """mean + N(0, 1)."""
        return out.normal_(generator=sampler.generator).add_(total_input)

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """Sum over units of x^2 / 2."""
        return 0.5 * states.square().sum(dim=1)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Sum over units of a^2/2 + log(2 pi)/2."""
        constant = 0.5 * math.log(2 * math.pi) * total_input.shape[1]
        return 0.5 * total_input.square().sum(dim=1) + constant

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """The mean itself."""
        return mean


class LearnedGaussianUnits(Units):
    """Real states whose variance s is learned, one a unit [1]_: x | a ~ N(a, s), base energy x^2 / (2 s).

    Biases and weights meet the statistic x / s, so that the total input is the mean, whatever the variance. The
    logarithm of the variance is learned and kept between log 0.01 and log 100.

    The gradients of weights and biases are written s times too large, in the units of the data: the exact ones are
    divided by a variance that shrinks as the model learns, and training by them explodes. That of the log variance
    is clamped to [-1, 1] and has a tenth of the learning rate.

    Attributes
    ----------
    log_variance : Parameter of shape (n_units,)
    """

    name, activation = "gaussian_learned", "identity"
    discrete = False

    def __init__(self, n_units: int) -> None:
        super().__init__(n_units)
        self.log_variance = nn.Parameter(torch.zeros(n_units))

    def statistic(self, states: torch.Tensor) -> torch.Tensor:
        """x / s."""
        return states / self._variance().to(states.dtype)

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """The total input."""
        return total_input

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """mean + sqrt(s) N(0, 1)."""
        deviation = self._variance().detach().sqrt()
        return out.normal_(generator=sampler.generator).mul_(deviation).add_(total_input)

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """Sum over units of x^2 / (2 s)."""
        return (0.5 * states.square() / self._variance()).sum(dim=1)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Sum over units of a^2 / (2 s) + log(2 pi s) / 2."""
        variance = self._variance()
        return (0.5 * (total_input.square() / variance + torch.log(2 * math.pi * variance))).sum(dim=1)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """The mean itself."""
        return mean

    def variance(self) -> torch.Tensor:
        """(n_units,)."""
        return self._variance().detach()

    def log_variances(self) -> list[tuple[slice, nn.Parameter]]:
        """Those of all columns."""
        return [(slice(0, self.n_units), self.log_variance)]

    @torch.no_grad()
    def write_gradients(self, squares: torch.Tensor, products: torch.Tensor) -> None:
        """d(-log p) / d(log s), of the energy x^2 / (2 s) - x a / s with a the total input, clamped to [-1, 1]."""
        self.log_variance.clamp_(math.log(LOWEST_VARIANCE), math.log(HIGHEST_VARIANCE))
        variance = self.variance()
        if self.log_variance.grad is None:
            self.log_variance.grad = torch.zeros_like(self.log_variance)
        self.log_variance.grad.copy_(((0.5 * squares - products) / variance).clamp_(-1, 1))

    def _variance(self) -> torch.Tensor:  # differentiable
        return self.log_variance.exp().clamp(LOWEST_VARIANCE, HIGHEST_VARIANCE)
