"""Unit types of restricted Boltzmann machines: what a unit's mean, sample and energy are.

Every type is an exponential family in its total input. With states x, bias b and total input a (the bias plus
the weighted states of the other layer), the energy of a layer is `base_energy(x) - b.t(x) - (weighted input).t(x)`,
the conditional is `p(x | a)  proportional to  exp(a.t(x) - base_energy(x))`, and its normaliser is
`exp(log_partition(a))`. The statistic t(x) is x itself for all types but Gaussian units of learned variance. That is
all an RBM needs for conditionals, Gibbs steps, energy and free energy; the mean of t is the slope of the log
partition.

Gaussian units are in `pretrain.gaussian_units`, softmax units in `pretrain.softmax_units`, the table of names and
layers of several types in `pretrain.unit_types`.

References
----------
.. [1] Nair, V. & Hinton, G. E. (2010). Rectified linear units improve restricted Boltzmann machines. ICML.
"""

import math
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pretrain.random_streams import BernoulliSampler

COPIES_AROUND = 8  # of a mean: eight standard deviations
# B_2k / (2k + 1)!, k = 1..6, of the Bernoulli numbers: the dilogarithm's series in softplus(a).
DILOGARITHM_SERIES = (1 / 36, -1 / 3600, 1 / 211680, -1 / 10886400, 1 / 526901760, -691 / 16999766784000)
# B_2k(1/2) / (2k)!, k = 1..4, of the Bernoulli polynomials: what a sum at midpoints has beyond the integral, in
# derivatives at its end (Euler and Maclaurin).
MIDPOINT_SERIES = (-1 / 24, 7 / 5760, -31 / 967680, 127 / 154828800)


class Units(nn.Module):
    """Base of the unit types: a layer of `n_units` of them.

    Attributes
    ----------
    name : str
        What settings and files call the type.
    activation : str
        Of the units in a feed-forward network, a name in `pretrain.activations`.
    discrete : bool
        Whether the states can be counted: a likelihood is then a probability and not a density.
    """

    name: str
    activation: str
    discrete: bool = True
    value_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.n_units = n_units

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Overwrite the total input, (batch, n_units), with the conditional mean; return it.

        `totals` is what `row_totals` says of the rows.
        """
        raise NotImplementedError

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Fill `out` with states drawn given the total input, which becomes the mean; return `out`."""
        raise NotImplementedError

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, n_units) -> (batch,): log of the sum or integral of exp(a.x - base_energy(x)), in nats."""
        raise NotImplementedError

    def statistic(self, states: torch.Tensor) -> torch.Tensor:
        """t(x), what weights and biases meet, (batch, n_units): the states unless the type says otherwise."""
        return states

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """(batch, n_units) -> (batch,): zero unless the type says otherwise."""
        return states.new_zeros(states.shape[0])

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """The biases under which units without other input have this mean, (n_units,) -> (n_units,)."""
        raise NotImplementedError

    def row_totals(self, states: torch.Tensor) -> torch.Tensor | None:
        """(batch, 1): what a row holds in all and keeps when it is sampled (words of a document); None elsewhere."""
        return None

    def variance(self) -> torch.Tensor | None:
        """(n_units,): the learned variances, 1 in columns of other types; None where none is learned."""
        return None

    def log_variances(self) -> list[tuple[slice, nn.Parameter]]:
        """The learned logarithms of variances, with their columns; none for most types."""
        return []

    def write_gradients(self, squares: torch.Tensor, products: torch.Tensor) -> None:
        """Write the gradient of what a type learns besides weights and biases; most learn nothing.

        Parameters
        ----------
        squares, products : Tensor of shape (n_units,)
            Mean square of the states, and mean product of states and total input: in the model, less in the data.
        """

    def range_problem(self, low: np.ndarray, high: np.ndarray) -> str | None:
        """What is wrong with columns between `low` and `high`, (n_units,), in words; None if nothing is."""
        smallest, largest = self.value_range
        least, most = float(np.min(low)), float(np.max(high))
        if least >= smallest - 1e-6 and most <= largest + 1e-6:
            return None
        return (
            f"{self.name} units model values from {smallest:g} to {largest:g}, the data go from {least:g} to {most:g}"
        )

    def row_problem(self, rows: torch.Tensor) -> str | None:
        """What is wrong with rows, (batch, n_units), that no training can mend, in words; None if nothing is."""
        return None


class BernoulliUnits(Units):
    """States in {0, 1}: p(x = 1 | a) = sigmoid(a), log partition softplus(a), no base energy."""

    name, activation = "bernoulli", "sigmoid"
    value_range = (0.0, 1.0)

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """sigmoid(a)."""
        return total_input.sigmoid_()

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """On with probability sigmoid(a)."""
        return sampler.sample(total_input.sigmoid_(), out)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Sum over units of log(1 + exp(a))."""
        return functional.softplus(total_input).sum(dim=1)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """log(p / (1 - p)), p kept 0.01 away from 0 and 1."""
        return torch.logit(mean.clamp(0.01, 0.99))


class SpinUnits(Units):
    """States in {-1, 1}: p(x = 1 | a) = sigmoid(2 a), mean tanh(a), log partition log(2 cosh a), no base energy."""

    name, activation = "spin", "tanh"
    value_range = (-1.0, 1.0)

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """tanh(a)."""
        return total_input.tanh_()

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Up with probability sigmoid(2 a), else down."""
        mean = total_input.tanh_()
        return sampler.sample((mean + 1).mul_(0.5), out).mul_(2).sub_(1)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Sum over units of log(exp(a) + exp(-a))."""
        return (functional.softplus(2 * total_input) - total_input).sum(dim=1)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """artanh(mean), the mean kept 0.02 away from -1 and 1."""
        return torch.atanh(mean.clamp(-0.98, 0.98))


class NoisyReLUUnits(Units):
    """Rectified linear units with noise [1]_: sampled while an RBM learns, relu in a feed-forward network.

    Such a unit stands for infinitely many binary copies with the inputs a - 1/2, a - 3/2, ..., of which x are on.
    Mean, samples, energy and free energy are those of the copies: the mean is the sum of their probabilities,
    softplus(a) less at most 0.0106; the base energy of x copies is x^2/2 + sum over m = 1..x of log(1 - e^-m); the
    log partition is the sum of their softplus, -Li2(-e^a) less at most 1/24. Mean and log partition are computed to
    3e-7. [1]_ draws max(0, a + N(0, sigmoid(a))) instead, which is nearly the same for a of some units, but has too
    small a mean for small ones (0.28 for 0.68 at a = 0): Gibbs sampling with it would not be that of the energy.
    """

    name, activation = "noisy_relu", "relu"
    value_range = (0.0, math.inf)

    def mean_(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Mean number of copies that are on: softplus(a) and a correction for the steps between them."""
        s = total_input.sigmoid()
        p = s * (1 - s)  # derivatives of the sigmoid, of odd order, are polynomials in it
        first, third, fifth, seventh = MIDPOINT_SERIES
        correction = first + third * (1 - 6 * p) + fifth * (1 - 30 * p + 120 * p**2)
        correction = correction + seventh * (1 - 126 * p + 1680 * p**2 - 5040 * p**3)
        return total_input.copy_(functional.softplus(total_input) + p * correction)

    def sample_(
        self,
        total_input: torch.Tensor,
        out: torch.Tensor,
        *,
        sampler: BernoulliSampler,
        totals: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The number of copies that are on, by inversion of its distribution within 8 of the mean."""
        a = total_input.float()
        lowest = (functional.softplus(a) - COPIES_AROUND).floor_().clamp_(min=0)
        above = torch.arange(2 * COPIES_AROUND + 1, dtype=a.dtype, device=a.device).view(-1, 1, 1)
        # a x - x^2/2 of x = lowest + above, but for what does not depend on `above`: large inputs cancel exactly.
        log_weight = above * (a - lowest) - 0.5 * above.square() - self._steps(lowest + above)
        cumulative = log_weight.sub_(log_weight.amax(dim=0)).exp_().cumsum(dim=0)
        uniform = torch.rand(a.shape, generator=sampler.generator, device=a.device) * cumulative[-1]
        out.copy_(lowest + (cumulative <= uniform).sum(dim=0).clamp_(max=2 * COPIES_AROUND))
        self.mean_(total_input)
        return out

    @staticmethod
    def _steps(copies: torch.Tensor) -> torch.Tensor:
        """Sum over m = 1..x of log(1 - e^-m), x rounded to whole copies."""
        terms = torch.log(-torch.expm1(-torch.arange(1, 41, dtype=copies.dtype, device=copies.device)))
        table = functional.pad(terms.cumsum(dim=0), (1, 0))  # beyond 40 the terms are below float64's rounding
        return table[copies.detach().round().long().clamp(0, 40)]

    def base_energy(self, states: torch.Tensor) -> torch.Tensor:
        """Sum over units of x^2/2 + sum over m = 1..x of log(1 - e^-m); the sum is rounded to whole copies."""
        return (0.5 * states.square() + self._steps(states)).sum(dim=1)

    def log_partition(self, total_input: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """Sum over units of -Li2(-e^a), the integral of softplus up to a, and a correction as in the mean."""
        w = functional.softplus(torch.where(total_input > 0, -total_input, total_input))
        below = w + 0.25 * w.square()
        for k, coefficient in enumerate(DILOGARITHM_SERIES):
            below = below + coefficient * w ** (2 * k + 3)
        above = math.pi**2 / 6 + 0.5 * total_input.square() - below
        s = total_input.sigmoid()
        p = s * (1 - s)
        first, third, fifth, seventh = MIDPOINT_SERIES
        even = p * (1 - 2 * s) * (third + fifth * (1 - 12 * p) + seventh * (1 - 60 * p + 360 * p**2))
        return (torch.where(total_input > 0, above, below) + first * s + even).sum(dim=1)

    def bias_of_mean(self, mean: torch.Tensor) -> torch.Tensor:
        """The inverse of softplus, which the mean is to 0.0106."""
        mean = mean.clamp(min=0.01)
        return mean + torch.log(-torch.expm1(-mean))
