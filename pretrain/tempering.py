"""Parallel tempering: persistent chains at several temperatures that exchange their states.

References
----------
.. [1] Desjardins, G., Courville, A., Bengio, Y., Vincent, P. & Delalleau, O. (2010). Tempered Markov chain Monte
       Carlo for training of restricted Boltzmann machines. AISTATS.
.. [2] Cho, K., Raiko, T. & Ilin, A. (2010). Parallel tempering is efficient for learning restricted Boltzmann
       machines. IJCNN.
"""

from collections.abc import Hashable
from typing import Any

import torch

from pretrain.conditionals import Conditionals
from pretrain.negative_phase import NegativePhase
from pretrain.rbm_settings import RBMSettings


class TemperedChains(NegativePhase):
    """Persistent chains with `n_temperatures` replicas each, of which those at temperature 1 are used [1]_, [2]_.

    A replica at inverse temperature beta (0 to 1 in equal steps) has the energy B(v) + B(h) - beta (b.v + D c.h +
    h^T W v): at 0 the units know nothing of each other. After the Gibbs steps of an update, neighbouring replicas
    exchange their states with probability min(1, exp((beta - beta') (E - E'))), E being the part that beta scales.
    """

    def __init__(self, conditionals: Conditionals, settings: RBMSettings) -> None:
        super().__init__(conditionals, settings)
        self._n_chains = 0
        self._chains: torch.Tensor | None = None
        self._odd = False
        self._hidden_mean = conditionals.empty(0, 0)
        device = conditionals.rbm.weight.device
        self._betas = torch.linspace(0, 1, settings.n_temperatures, device=device)
        self._accepted = torch.zeros(settings.n_temperatures - 1, device=device)
        self._tried = torch.zeros(settings.n_temperatures - 1, device=device)

    def run(
        self,
        n_steps: int,
        data: torch.Tensor,
        hidden: torch.Tensor,
        v: torch.Tensor,
        h: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """See the base class; `mask` applies to the replicas at temperature 1 alone."""
        chains = self._started(len(v), data)
        n, conditionals = self._n_chains, self.conditionals
        beta = self._betas.repeat_interleave(n)[:, None].to(chains.dtype)
        totals = conditionals.rbm.visible_units.row_totals(chains)
        if len(self._hidden_mean) != len(chains):
            self._hidden_mean = conditionals.empty(len(chains), h.shape[1])
        hidden_mean = self._hidden_mean
        visible_mean, states = self._buffers(chains, hidden_mean)
        for _ in range(n_steps):
            conditionals.hidden(chains, hidden_mean, states, totals=totals, beta=beta)
            conditionals.visible(states, visible_mean, chains, totals=totals, beta=beta)
        self._exchange(chains, states, totals)
        v.copy_(chains[-n:][: len(v)])
        conditionals.hidden(v, h, totals=None if totals is None else totals[-n:][: len(v)], mask=mask)

    def step_key(self) -> Hashable:
        """Which pairs exchange their states next."""
        return self._odd

    def step_replayed(self) -> None:
        """See the base class."""
        self._odd = not self._odd

    def metrics(self) -> dict[str, float]:
        """`swap_rate`, the share of accepted exchanges, and `lowest_swap_rate`, of the worst pair of neighbours."""
        tried = self._tried > 0  # one pair of two is, in an epoch of a single batch
        rates = (self._accepted[tried] / self._tried[tried]).tolist() or [0.0]
        self._accepted.zero_()
        self._tried.zero_()
        return {"swap_rate": sum(rates) / len(rates), "lowest_swap_rate": min(rates)}

    def state_dict(self) -> dict[str, Any]:
        """The replicas, how many chains they are, which pairs are next, and the exchanges counted so far."""
        return {
            "chains": self._chains,
            "n_chains": self._n_chains,
            "odd": self._odd,
            "accepted": self._accepted.clone(),
            "tried": self._tried.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See the base class."""
        self._chains, self._n_chains, self._odd = state["chains"], state["n_chains"], state["odd"]
        self._accepted.copy_(state["accepted"])
        self._tried.copy_(state["tried"])

    def _started(self, n_rows: int, data: torch.Tensor) -> torch.Tensor:
        if self._chains is None or self._n_chains < n_rows:  # more chains than before: all replicas begin anew
            rows = torch.arange(n_rows, device=data.device) % len(data)
            self._chains, self._n_chains = data[rows].repeat(len(self._betas), 1), n_rows
        return self._chains

    def _exchange(self, chains: torch.Tensor, states: torch.Tensor, totals: torch.Tensor | None) -> None:
        first, n = int(self._odd), self._n_chains
        pairs = (len(self._betas) - first) // 2
        self._odd = not self._odd
        if pairs == 0:
            return
        energy = self._scaled_energy(chains, states, totals).view(-1, n)
        cold, hot = slice(first + 1, first + 2 * pairs, 2), slice(first, first + 2 * pairs - 1, 2)
        log_ratio = (self._betas[cold] - self._betas[hot])[:, None] * (energy[cold] - energy[hot])
        generator = self.conditionals.generator
        uniform = torch.rand(log_ratio.shape, generator=generator, device=log_ratio.device)
        accepted = uniform.log() < log_ratio
        replicas = chains.view(len(self._betas), n, -1)
        upper, lower = replicas[cold].clone(), replicas[hot].clone()
        replicas[cold] = torch.where(accepted[..., None], lower, upper)
        replicas[hot] = torch.where(accepted[..., None], upper, lower)
        self._accepted[hot] += accepted.float().mean(dim=1)
        self._tried[hot] += 1

    def _scaled_energy(self, v: torch.Tensor, h: torch.Tensor, totals: torch.Tensor | None) -> torch.Tensor:
        # In float32, whatever the products are: differences of energies decide.
        rbm, v, h = self.conditionals.rbm, v.float(), h.float()
        bias = rbm.hidden_bias if totals is None else totals.float() * rbm.hidden_bias
        statistic = rbm.visible_units.statistic(v)
        hidden_input = statistic @ rbm.weight.T + bias
        return -(statistic @ rbm.visible_bias) - (h * hidden_input).sum(dim=1)
