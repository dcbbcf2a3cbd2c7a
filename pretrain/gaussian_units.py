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

LOWEST_VARIANCE, HIGHEST_VARIANCE = 1e-3, 1e3


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
    """Real states whose variance s is learned, one a unit: x | a ~ N(s a, s), base energy x^2 / (2 s).

    The bias and the weights stand in natural parameters (b and W, where [1]_ has b / s and W / s), so that the
    gradient of the weights is the plain correlation, not one divided by a variance that shrinks. The logarithm of the
    variance is learned and kept between log 1e-3 and log 1e3.

    Attributes
    ----------
    log_variance : Parameter of shape (n_units,)
    """

    name, activation = "gaussian_learned", "identity"
    discrete = False

    def __init__(self, n_units: int) -> None:
        super().__init__(n_units)
        self.log_variance = nn.Parameter(torch.zeros(n_units))

    def variance(self) -> torch.Tensor:
        """(n_units,): exp(log_variance), clamped."""
        return self.log_variance.detach().exp().clamp_(LOWEST_VARIANCE, HIGHEST_VARIANCE)

    def log_variances(self) -> list[tuple[slice, nn.Parameter]]:
        """Those of all columns."""
        return [(slice(0, self.n_units), self.log_variance)]

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """s a."""
        return total_input.mul_(self.variance())

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """s a + sqrt(s) N(0, 1)."""
        out.normal_(generator=sampler.generator).mul_(self.variance().sqrt())
        return out.add_(self.mean_(total_input))

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """Sum over units of x^2 / (2 s)."""
        return (0.5 * states.square() / self._variance()).sum(dim=1)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Sum over units of s a^2 / 2 + log(2 pi s) / 2."""
        variance = self._variance()
        return (0.5 * (total_input.square() * variance + torch.log(2 * math.pi * variance))).sum(dim=1)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """mean / s."""
        return mean / self.variance()

    @torch.no_grad()
    def write_gradients(self, data: torch.Tensor, model: torch.Tensor, *, model_is_mean: bool) -> None:
        """d(-log p) / d(log s) = (<x^2> of the model - <x^2> of the data) / (2 s)."""
        self.log_variance.clamp_(math.log(LOWEST_VARIANCE), math.log(HIGHEST_VARIANCE))
        variance = self.variance()
        if model_is_mean:
            model = model + variance
        if self.log_variance.grad is None:
            self.log_variance.grad = torch.zeros_like(self.log_variance)
        torch.div(model - data, 2 * variance, out=self.log_variance.grad)

    def _variance(self) -> torch.Tensor:  # differentiable
        return self.log_variance.exp().clamp(LOWEST_VARIANCE, HIGHEST_VARIANCE)
