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

import torch
from torch import nn
from torch.nn import functional

from pretrain._validation import require_number
from pretrain.contrastive import ContrastiveDivergence
from pretrain.exceptions import DataRangeWarning
from pretrain.random_streams import BernoulliSampler, RandomStreams
from pretrain.settings import RBMSettings
from pretrain.units import make_units


class RBM(nn.Module):
    """A restricted Boltzmann machine with Bernoulli or Gaussian visible and hidden units.

    The energy of a joint state is, with B the base energy of a unit type (0 for Bernoulli, x^2/2 for Gaussian),

        E(v, h) = B(v) - b.v + B(h) - c.h - h^T W v                         [1]_, [2]_

    Parameters
    ----------
    n_visible, n_hidden : int
    visible_units, hidden_units : {"bernoulli", "gaussian"}
    weight_scale : float
        Standard deviation of the initial weights; the biases begin at zero.
    generator : torch.Generator or None
        Draws the initial weights; None leaves them zero.

    Attributes
    ----------
    weight : Parameter of shape (n_hidden, n_visible)
    visible_bias : Parameter of shape (n_visible,)
    hidden_bias : Parameter of shape (n_hidden,)
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
        self.n_visible, self.n_hidden = int(n_visible), int(n_hidden)
        self.visible_units, self.hidden_units = make_units(visible_units), make_units(hidden_units)
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
        unit_interval: bool = True,
        generator: torch.Generator | None = None,
    ) -> "RBM":
        """An untrained RBM.

        Parameters
        ----------
        below : str or None
            Activation of the layer below: sigmoid codes are seen by Bernoulli units, all others by Gaussian
            ones. None for the layer on the data, whose units the settings name.
        unit_interval : bool
            Whether the data lie in [0, 1]. Bernoulli units on other data train, with a DataRangeWarning.
        """
        visible_units = settings.visible_units
        if below is not None:
            visible_units = "bernoulli" if below == "sigmoid" else "gaussian"
        elif visible_units == "bernoulli" and not unit_interval:
            warnings.warn(
                "Bernoulli visible units model values in [0, 1], but the data go beyond. Scale the data "
                "(minmax), or use Gaussian visible units on standardised data.",
                DataRangeWarning,
                stacklevel=2,
            )
        return cls(
            n_visible,
            n_hidden,
            visible_units=visible_units,
            hidden_units=settings.hidden_units,
            weight_scale=settings.weight_scale,
            generator=generator,
        )

    @property
    def activation(self) -> str:
        """Activation of the hidden units in a feed-forward network."""
        return self.hidden_units.activation

    @property
    def output_activation(self) -> str:
        """Activation of the visible units when the layer decodes."""
        return self.visible_units.activation

    @property
    def decoder_weight(self) -> torch.Tensor:
        """(n_visible, n_hidden): the weights that lead back, W transposed."""
        return self.weight.T

    def prop_up(self, v: torch.Tensor) -> torch.Tensor:
        """E[h | v]: (batch, n_visible) -> (batch, n_hidden)."""
        return self.hidden_units.mean_(functional.linear(v, self.weight, self.hidden_bias))

    def prop_down(self, h: torch.Tensor) -> torch.Tensor:
        """E[v | h]: (batch, n_hidden) -> (batch, n_visible)."""
        # Contiguous as in an unrolled decoder: the layout of the weights decides the last bits of a product.
        return self.visible_units.mean_(functional.linear(h, self.weight.T.contiguous(), self.visible_bias))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """The code of x is its hidden mean, never a sample: (batch, n_visible) -> (batch, n_hidden)."""
        return self.prop_up(x)

    def decode(self, h: torch.Tensor) -> torch.Tensor:
        """The mean of the visible units: (batch, n_hidden) -> (batch, n_visible)."""
        return self.prop_down(h)

    @torch.no_grad()
    def sample_hidden(self, v: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """States h ~ p(h | v): (batch, n_visible) -> (batch, n_hidden)."""
        mean = self.prop_up(v)
        return self.hidden_units.sample(mean, sampler=BernoulliSampler(generator), out=torch.empty_like(mean))

    @torch.no_grad()
    def sample_visible(self, h: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """States v ~ p(v | h): (batch, n_hidden) -> (batch, n_visible)."""
        mean = self.prop_down(h)
        return self.visible_units.sample(mean, sampler=BernoulliSampler(generator), out=torch.empty_like(mean))

    @torch.no_grad()
    def gibbs_step(self, v: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """One alternation v -> h ~ p(h | v) -> v' ~ p(v | h), which leaves p(v) unchanged."""
        return self.sample_visible(self.sample_hidden(v, generator=generator), generator=generator)

    def energy(self, v: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """E(v, h) of joint states, (batch, n_visible) and (batch, n_hidden) -> (batch,), in nats."""
        visible = self.visible_units.base_energy(v) - v @ self.visible_bias
        hidden = self.hidden_units.base_energy(h) - h @ self.hidden_bias
        return visible + hidden - (h * (v @ self.weight.T)).sum(dim=1)

    def free_energy(self, v: torch.Tensor) -> torch.Tensor:
        """F(v) = -log sum_h exp(-E(v, h)), so that p(v) = exp(-F(v)) / Z: -> (batch,), in nats.

        F(v) = B(v) - b.v - sum_j A(c_j + W_j v), with A the log partition of a hidden unit (softplus for
        Bernoulli units); [3]_, section 16.1.
        """
        visible = self.visible_units.base_energy(v) - v @ self.visible_bias
        return visible - self.hidden_units.log_partition(functional.linear(v, self.weight, self.hidden_bias))

    def learning_rule(
        self, settings: RBMSettings, *, streams: RandomStreams, layer: int, dtype: torch.dtype
    ) -> ContrastiveDivergence:
        """The learner that trains this layer: contrastive divergence with its own sampling stream."""
        generator = streams.generator("sampling", layer=layer, device=self.weight.device)
        return ContrastiveDivergence(self, n_gibbs_steps=settings.n_gibbs_steps, generator=generator, dtype=dtype)
