"""The path from independent units to an RBM, on which its partition function is estimated.

References
----------
.. [1] Salakhutdinov, R. & Murray, I. (2008). On the quantitative analysis of deep belief networks. ICML.
"""

import torch

from pretrain._validation import require_number
from pretrain.exceptions import SettingsError
from pretrain.random_streams import BernoulliSampler
from pretrain.rbm import RBM

# Shares and ends of the three stretches of inverse temperatures of [1]: 500 to 0.5, 4,000 to 0.9, 10,000 to 1.
SCHEDULE = ((500, 0.5), (4_000, 0.9), (10_000, 1.0))


def annealing_schedule(n_temperatures: int) -> list[float]:
    """Inverse temperatures from 0 to 1, spaced as by Salakhutdinov & Murray: ever closer towards 1."""
    require_number("annealing", "n_temperatures", n_temperatures, at_least=3, integer=True)
    whole = sum(count for count, _ in SCHEDULE)
    betas, start = [], 0.0
    for count, end in SCHEDULE:
        steps = max(round(n_temperatures * count / whole), 1)
        betas += [start + (end - start) * step / steps for step in range(steps)]
        start = end
    return [*betas, 1.0]


class AnnealingPath:
    """p_beta(v) with the energy B(v) - ((1 - beta) b' + beta b).v - A(beta (W v + D c)), b' the base's biases.

    Parameters
    ----------
    rbm : RBM
    base_mean : Tensor of shape (n_visible,) or None
        Mean of the independent units at beta = 0; None gives them the RBM's own biases.
    total : int or None
        Words of a document, for replicated softmax units.
    generator : torch.Generator
        On the device of the RBM.
    """

    def __init__(
        self, rbm: RBM, base_mean: torch.Tensor | None, total: int | None, generator: torch.Generator
    ) -> None:
        self.rbm, self.totals = rbm, word_totals(rbm, total)
        units = rbm.visible_units
        bias = rbm.visible_bias.detach()
        self.device = bias.device
        self.base_bias = bias if base_mean is None else units.bias_of_mean(base_mean.to(bias))
        self.sampler = BernoulliSampler(generator, exact=True)
        nothing = self.base_bias.new_zeros(1, rbm.n_hidden)
        at_base = units.log_partition(self.base_bias[None].double(), None if self.totals is None else self.totals[:1])
        self.base_log_partition = float(at_base) + float(rbm.hidden_units.log_partition(nothing.double()))

    def base_samples(self, n: int) -> torch.Tensor:
        """States of the independent units at the start: (n, n_visible)."""
        total_input = self.base_bias.repeat(n, 1)
        totals = self._totals(n)
        return self.rbm.visible_units.sample_(
            total_input, torch.empty_like(total_input), sampler=self.sampler, totals=totals
        )

    def log_ratio(self, v: torch.Tensor, above: float, below: float) -> torch.Tensor:
        """log of p_above(v) / p_below(v), both without their normalisers."""
        hidden_input, units = self.rbm.hidden_input(v), self.rbm.hidden_units
        visible = (above - below) * (self.rbm.visible_units.statistic(v) @ (self.rbm.visible_bias - self.base_bias))
        hidden = units.log_partition(above * hidden_input) - units.log_partition(below * hidden_input)
        return (visible + hidden).double()

    def step(self, v: torch.Tensor, beta: float) -> torch.Tensor:
        """One Gibbs step that leaves p_beta unchanged."""
        rbm = self.rbm
        hidden_input = rbm.hidden_input(v).mul_(beta)
        h = rbm.hidden_units.sample_(hidden_input, torch.empty_like(hidden_input), sampler=self.sampler)
        visible_input = rbm.visible_input(h).mul_(beta).add_(self.base_bias, alpha=1 - beta)
        return rbm.visible_units.sample_(visible_input, v, sampler=self.sampler, totals=self._totals(len(v)))

    def _totals(self, n: int) -> torch.Tensor | None:
        return None if self.totals is None else self.totals.expand(n, 1)


def word_totals(rbm: RBM, total: int | None) -> torch.Tensor | None:
    """(1, 1) of the words of a document, for replicated softmax units; None for all others."""
    counts = rbm.visible_units.name == "replicated_softmax"
    if counts and total is not None:
        require_number("the partition function", "total", total, at_least=0, integer=True)
    if counts and total is None:
        raise SettingsError(
            "The partition function of replicated softmax units needs total, the words of a document."
        )
    return torch.full((1, 1), float(total or 0)).to(rbm.weight) if counts else None
