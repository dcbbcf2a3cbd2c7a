"""The restricted Boltzmann machine: energy, conditionals, free energy.

References
----------
.. [1] Smolensky, P. (1986). Information processing in dynamical systems: foundations of harmony theory.
.. [2] Hinton, G. E. & Salakhutdinov, R. R. (2006). Reducing the dimensionality of data with neural networks.
       Science 313, 504-507.
.. [3] Hinton, G. E. (2012). A practical guide to training restricted Boltzmann machines.
"""

import warnings
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pretrain._validation import require_number
from pretrain.activations import activation_function
from pretrain.column_groups import group_names
from pretrain.contrastive import ContrastiveDivergence
from pretrain.exceptions import DataRangeWarning
from pretrain.random_streams import BernoulliSampler, RandomStreams
from pretrain.rbm_settings import PERSISTENT_ESTIMATORS
from pretrain.settings import RBMSettings
from pretrain.unit_types import make_units, require_units, units_on_codes

VISIBLE_RATES = {"gaussian": 0.01, "gaussian_learned": 0.01, "noisy_relu": 0.01, "replicated_softmax": 0.001}
HIDDEN_RATES = {"gaussian": 0.001, "noisy_relu": 0.01}
PERSISTENT_RATE = 0.1
DataRange = tuple[float, float] | tuple[np.ndarray, np.ndarray]


class RBM(nn.Module):
    """A restricted Boltzmann machine with visible and hidden units of any type.

    The energy of a joint state is, with B the base energy of a unit type (0 for Bernoulli, x^2/2 for Gaussian),

        E(v, h) = B(v) - b.t(v) + B(h) - D c.h - h^T W t(v)                   [1]_, [2]_

    where t(v) is v, but v / s for Gaussian units of learned variance s, and D is 1, but for replicated softmax
    visible units the number of words in v.

    Parameters
    ----------
    n_visible, n_hidden : int
    visible_units, hidden_units : str
        Types in `pretrain.unit_types`, or types with widths: "bernoulli:3+softmax:4".
    weight_scale : float
        Standard deviation of the initial weights; the biases begin at zero.
    generator : torch.Generator or None
        Draws the initial weights; None leaves them zero.

    Attributes
    ----------
    weight : Parameter of shape (n_hidden, n_visible)
    visible_bias : Parameter of shape (n_visible,)
    hidden_bias : Parameter of shape (n_hidden,)
    visible_units, hidden_units : Units
    """

    kind: ClassVar[str] = "rbm"

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        *,
        visible_units: str = "bernoulli",
        hidden_units: str = "bernoulli",
        weight_scale: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require_number("RBM", "n_visible", n_visible, at_least=1, integer=True)
        require_number("RBM", "n_hidden", n_hidden, at_least=1, integer=True)
        require_units("hidden_units of RBM", hidden_units, hidden=True)
        self.n_visible, self.n_hidden = int(n_visible), int(n_hidden)
        self.visible_units = make_units(visible_units, self.n_visible)
        self.hidden_units = make_units(hidden_units, self.n_hidden)
        self.weight = nn.Parameter(torch.zeros(n_hidden, n_visible))
        self.visible_bias = nn.Parameter(torch.zeros(n_visible))
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden))
        if generator is not None:
            nn.init.normal_(self.weight, std=weight_scale, generator=generator)

    @classmethod
    def from_settings(
        cls,
        n_visible: int,
        n_hidden: int,
        settings: RBMSettings,
        *,
        below: str | None = None,
        data_range: DataRange = (0.0, 1.0),
        data_mean: torch.Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> "RBM":
        """An untrained RBM.

        Parameters
        ----------
        below : str or None
            Activation of the layer below: sigmoid codes are seen by Bernoulli units, tanh codes by spin units,
            softmax codes by softmax units, all others by Gaussian ones. None for the layer on the data, whose units
            the settings name.
        data_range : (float or ndarray, float or ndarray)
            Smallest and largest value of the data, or of each column. Values that the units do not model train all
            the same, with a DataRangeWarning.
        data_mean : Tensor of shape (n_visible,) or None
            Of the training rows, for `initial_visible_bias="data"`.
        """
        visible_units = settings.visible_units if below is None else units_on_codes(below)
        rbm = cls(
            n_visible,
            n_hidden,
            visible_units=visible_units,
            hidden_units=settings.hidden_units,
            weight_scale=settings.weight_scale,
            generator=generator,
        )
        if settings.initial_visible_bias == "data" and data_mean is not None:
            with torch.no_grad():
                rbm.visible_bias.copy_(rbm.visible_units.bias_of_mean(data_mean))
        low, high = (np.atleast_1d(bound) for bound in data_range)
        problem = rbm.visible_units.range_problem(low, high) if below is None else None
        if problem:
            warnings.warn(
                f"{problem[0].upper()}{problem[1:]}. Scale the data (minmax), or use Gaussian visible units on "
                "standardised data.",
                DataRangeWarning,
                stacklevel=2,
            )
        return rbm

    @property
    def activation(self) -> str:
        """Activation of the hidden units in a feed-forward network."""
        return self.hidden_units.activation

    @property
    def output_activation(self) -> str:
        """Activation of the visible units when the layer decodes."""
        return self.visible_units.activation

    def default_learning_rate(self, settings: RBMSettings) -> float:
        """What `learning_rate="auto"` means: the least that a unit type here asks for.

        0.1 for binary, spin and softmax units; 0.01 for Gaussian visible and rectified hidden units; 0.001 for
        Gaussian hidden units ([2]_) and for counts of words. With persistent chains a tenth of these: chains must
        follow the weights.
        """
        if "gaussian" in self.visible_units.name and "noisy_relu" in self.hidden_units.name:
            return 0.001  # nothing bounds either side
        visible = [VISIBLE_RATES.get(name, 0.1) for name in group_names(self.visible_units.name)]
        hidden = [HIDDEN_RATES.get(name, 0.1) for name in group_names(self.hidden_units.name)]
        persistent = settings.gradient_estimator in PERSISTENT_ESTIMATORS
        return min(visible + hidden) * (PERSISTENT_RATE if persistent else 1)

    @property
    def encoder_weight(self) -> torch.Tensor:
        """(n_hidden, n_visible): `encode` is the activation of x encoder_weight^T + encoder_bias."""
        if self._counts_words:  # D c = sum(x) c: the bias is one more weight from every word
            return self.weight + self.hidden_bias[:, None]
        variance = self.visible_units.variance()
        return self.weight if variance is None else self.weight / variance

    @property
    def encoder_bias(self) -> torch.Tensor:
        """(n_hidden,)."""
        return torch.zeros_like(self.hidden_bias) if self._counts_words else self.hidden_bias

    @property
    def decoder_weight(self) -> torch.Tensor:
        """(n_visible, n_hidden): the weights that lead back, W transposed."""
        return self.weight.T

    @property
    def decoder_bias(self) -> torch.Tensor:
        """(n_visible,)."""
        return self.visible_bias

    def hidden_input(self, v: torch.Tensor) -> torch.Tensor:
        """Total input of the hidden units, W t(v) + D c: (batch, n_visible) -> (batch, n_hidden)."""
        totals, statistic = self.visible_units.row_totals(v), self.visible_units.statistic(v)
        if totals is None:
            return functional.linear(statistic, self.weight, self.hidden_bias)
        return functional.linear(statistic, self.weight) + totals * self.hidden_bias

    def visible_input(self, h: torch.Tensor) -> torch.Tensor:
        """Total input of the visible units, W^T h + b: (batch, n_hidden) -> (batch, n_visible)."""
        # Contiguous as in an unrolled decoder: the layout of the weights decides the last bits of a product.
        return functional.linear(h, self.weight.T.contiguous(), self.visible_bias)

    def prop_up(self, v: torch.Tensor) -> torch.Tensor:
        """E[h | v]: (batch, n_visible) -> (batch, n_hidden)."""
        return self.hidden_units.mean_(self.hidden_input(v))

    def prop_down(self, h: torch.Tensor, totals: torch.Tensor | None = None) -> torch.Tensor:
        """E[v | h]: (batch, n_hidden) -> (batch, n_visible); `totals` (batch, 1) are words a row, 1 if not given."""
        return self.visible_units.mean_(self.visible_input(h), totals)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The code of x: activation of the hidden units' input, never a sample: -> (batch, n_hidden).

        It is the hidden mean, except for noisy rectified linear units, whose code is relu of their input.
        """
        return activation_function(self.activation)(self.hidden_input(x))

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """Activation of the visible units' input, their mean: (batch, n_hidden) -> (batch, n_visible).

        Replicated softmax units decode to shares of words, which sum to 1.
        """
        return activation_function(self.output_activation)(self.visible_input(h))

    @torch.no_grad()
    def sample_hidden(self, v: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """States h ~ p(h | v): (batch, n_visible) -> (batch, n_hidden)."""
        total_input = self.hidden_input(v)
        return self.hidden_units.sample_(
            total_input, torch.empty_like(total_input), sampler=BernoulliSampler(generator)
        )

    @torch.no_grad()
    def sample_visible(
        self, h: torch.Tensor, *, generator: torch.Generator, totals: torch.Tensor | None = None
    ) -> torch.Tensor:
        """States v ~ p(v | h): (batch, n_hidden) -> (batch, n_visible); `totals` as in `prop_down`."""
        total_input = self.visible_input(h)
        return self.visible_units.sample_(
            total_input, torch.empty_like(total_input), sampler=BernoulliSampler(generator), totals=totals
        )

    @torch.no_grad()
    def gibbs_step(self, v: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """One alternation v -> h ~ p(h | v) -> v' ~ p(v | h), which leaves p(v) unchanged."""
        h = self.sample_hidden(v, generator=generator)
        return self.sample_visible(h, generator=generator, totals=self.visible_units.row_totals(v))

    def energy(self, v: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """E(v, h) of joint states, (batch, n_visible) and (batch, n_hidden) -> (batch,), in nats."""
        visible = self.visible_units.base_energy(v) - self.visible_units.statistic(v) @ self.visible_bias
        return visible + self.hidden_units.base_energy(h) - (h * self.hidden_input(v)).sum(dim=1)

    def free_energy(self, v: torch.Tensor) -> torch.Tensor:
        """F(v) = -log sum_h exp(-E(v, h)), so that p(v) = exp(-F(v)) / Z: -> (batch,), in nats.

        F(v) = B(v) - b.t(v) - sum_j A(D c_j + W_j t(v)), with A the log partition of a hidden unit (softplus for
        Bernoulli units); [3]_, section 16.1. With replicated softmax units p(v) is that of counts v among all
        documents of as many words.
        """
        visible = self.visible_units.base_energy(v) - self.visible_units.statistic(v) @ self.visible_bias
        return visible - self.hidden_units.log_partition(self.hidden_input(v))

    @property
    def _counts_words(self) -> bool:
        return self.visible_units.name == "replicated_softmax"

    def learning_rule(
        self, settings: RBMSettings, *, streams: RandomStreams, layer: int, dtype: torch.dtype
    ) -> ContrastiveDivergence:
        """The learner that trains this layer, with its own sampling stream."""
        generator = streams.generator("sampling", layer=layer, device=self.weight.device)
        return ContrastiveDivergence(self, settings, generator=generator, dtype=dtype)
