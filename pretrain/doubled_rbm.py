"""An RBM that learns to be a layer of a deep Boltzmann machine: one side stands for two copies of itself.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS, section 3.1.
"""

import dataclasses

import torch

from pretrain._validation import require_choice
from pretrain.contrastive import ContrastiveDivergence
from pretrain.exceptions import SettingsError
from pretrain.random_streams import RandomStreams
from pretrain.rbm import RBM
from pretrain.rbm_settings import RBMSettings

ESTIMATORS = ("cd", "mean_field")  # chains that persist would be those of no model: both copies are given one state


class DoubledRBM(RBM):
    """An RBM with the conditionals E[h | v] = mean(up W v + c) and E[v | h] = mean(down W^T h + b).

    With `up` of 2 it has two copies of its visible units, with the same weights and always in the same state; with
    `down` of 2 two copies of its hidden units. So its units learn to expect as much input as they will have between
    two layers of the composed model (`DBM.from_rbms`), where the other layer takes the place of the copy [1]_. Energy
    and free energy are those without copies.

    Attributes
    ----------
    up, down : float
        1 as made; see `with_copies`.
    """

    up = down = 1.0

    def with_copies(self, layer: int, n_layers: int) -> "DoubledRBM":
        """Become `layer` (from 0) of `n_layers`: the first has its visible units twice, the last its hidden ones.

        A single layer, and those between, whose weights `DBM.from_rbms` halves, have neither.
        """
        self.up = 2.0 if layer == 0 and n_layers > 1 else 1.0
        self.down = 2.0 if layer == n_layers - 1 and n_layers > 1 else 1.0
        return self

    def hidden_input(self, v: torch.Tensor) -> torch.Tensor:
        """Total input of the hidden units, up W v + c: (batch, n_visible) -> (batch, n_hidden)."""
        return torch.addmm(self.hidden_bias, v, self.weight.T, alpha=self.up)

    def visible_input(self, h: torch.Tensor) -> torch.Tensor:
        """Total input of the visible units, down W^T h + b: (batch, n_hidden) -> (batch, n_visible)."""
        return torch.addmm(self.visible_bias, h, self.weight, alpha=self.down)

    def learning_rule(
        self, settings: RBMSettings, *, streams: RandomStreams, layer: int, dtype: torch.dtype
    ) -> ContrastiveDivergence:
        """The learner that trains this layer, with its own sampling stream.

        Raises
        ------
        SettingsError
            For chains that persist, and for centred gradients.
        """
        require_choice("a layer of a DBM", "gradient_estimator", settings.gradient_estimator, ESTIMATORS)
        if settings.centered is True:
            raise SettingsError("centered of a layer of a DBM must be 'auto' or False; got True.")
        # Those of "auto" are for a model whose units count once.
        settings = dataclasses.replace(settings, centered=False)
        rule = super().learning_rule(settings, streams=streams, layer=layer, dtype=dtype)
        rule.conditionals.up, rule.conditionals.down = self.up, self.down
        return rule
