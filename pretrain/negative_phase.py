"""The negative phase: where the states come from that stand for the model in an estimate of the gradient.

References
----------
.. [1] Hinton, G. E. (2002). Training products of experts by minimizing contrastive divergence. Neural
       Computation 14, 1771-1800.
.. [2] Welling, M. & Hinton, G. E. (2002). A new learning algorithm for mean field Boltzmann machines. ICANN.
.. [3] Tieleman, T. (2008). Training restricted Boltzmann machines using approximations to the likelihood gradient.
       ICML.
.. [4] Tieleman, T. & Hinton, G. E. (2009). Using fast weights to improve persistent contrastive divergence. ICML.
.. [5] Desjardins, G., Courville, A., Bengio, Y., Vincent, P. & Delalleau, O. (2010). Tempered Markov chain Monte
       Carlo for training of restricted Boltzmann machines. AISTATS.
"""

from collections.abc import Hashable
from typing import Any

import torch

from pretrain.conditionals import Conditionals
from pretrain.rbm_settings import RBMSettings


class NegativePhase:
    """Base: fills buffers with visible states of the model and the hidden means that go with them.

    Attributes
    ----------
    from_data : bool
        Whether chains start at the rows of the batch, one a row; else there are `n_chains` of its own.
    deterministic : bool
        Whether nothing is drawn.
    """

    from_data = False
    deterministic = False

    def __init__(self, conditionals: Conditionals, settings: RBMSettings) -> None:
        self.conditionals, self.settings = conditionals, settings
        self._visible_mean = self._states = conditionals.empty(0, 0)

    @property
    def ends_in_means(self) -> bool:
        """Whether the visible states are conditional means and not samples."""
        return False

    def n_rows(self, batch_rows: int) -> int:
        """Rows of the negative phase for a batch."""
        return batch_rows if self.from_data or self.settings.n_chains == "auto" else int(self.settings.n_chains)

    def run(
        self,
        n_steps: int,
        data: torch.Tensor,
        hidden: torch.Tensor,
        v: torch.Tensor,
        h: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """Take `n_steps` Gibbs steps and write the chain's visible states into `v`, its hidden means into `h`.

        Parameters
        ----------
        n_steps : int
        data : Tensor of shape (rows, n_visible)
            The batch.
        hidden : Tensor of shape (rows, n_hidden)
            Hidden states that the batch was answered with (means, if `deterministic`), where chains start from data.
        v, h : Tensor of shape (n_rows, n_visible), (n_rows, n_hidden)
        mask : Tensor of shape (n_rows, n_hidden) or None
            0 for hidden units that are left out.
        """
        raise NotImplementedError

    def after_gradients(self, gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
        """Learn from the gradients of weight, visible bias and hidden bias, for a phase that does."""

    def step_key(self) -> Hashable:
        """What the next `run` depends on besides tensors; see `Learner.step_key`."""
        return ()

    def step_replayed(self) -> None:
        """See `Learner.step_replayed`."""

    def metrics(self) -> dict[str, float]:
        """Figures of the epoch, which begin anew."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What continues the chains exactly."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""

    def _buffers(self, v: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(self._visible_mean) < len(v):
            self._visible_mean, self._states = torch.empty_like(v), torch.empty_like(h)
        return self._visible_mean[: len(v)], self._states[: len(v)]


class DataChains(NegativePhase):
    """Contrastive divergence [1]_: k Gibbs steps from the data; the last visible state may be its mean."""

    from_data = True

    @property
    def ends_in_means(self) -> bool:
        """Unless `sample_reconstruction` asks for samples."""
        return not self.settings.sample_reconstruction

    def run(
        self,
        n_steps: int,
        data: torch.Tensor,
        hidden: torch.Tensor,
        v: torch.Tensor,
        h: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """See the base class."""
        conditionals = self.conditionals
        totals = conditionals.rbm.visible_units.row_totals(data)
        for step in range(n_steps):
            last = step == n_steps - 1
            if last and self.ends_in_means:
                conditionals.visible(hidden, v, totals=totals)
            else:
                mean, _ = self._buffers(v, h)
                conditionals.visible(hidden, mean, v, totals=totals)
            conditionals.hidden(v, h, None if last else hidden, totals=totals, mask=mask)


class MeanFieldChains(NegativePhase):
    """Mean-field contrastive divergence [2]_: k steps from the data that pass means on and draw nothing."""

    from_data = True
    deterministic = True
    ends_in_means = True

    def run(
        self,
        n_steps: int,
        data: torch.Tensor,
        hidden: torch.Tensor,
        v: torch.Tensor,
        h: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """See the base class."""
        totals = self.conditionals.rbm.visible_units.row_totals(data)
        for _ in range(n_steps):
            self.conditionals.visible(hidden, v, totals=totals)
            hidden = self.conditionals.hidden(v, h, totals=totals, mask=mask)


class PersistentChains(NegativePhase):
    """Persistent contrastive divergence [3]_: chains that go on from where the last update left them.

    They start at rows of the first batch; with "auto" chains a short last batch moves as many as it has rows.
    """

    def __init__(self, conditionals: Conditionals, settings: RBMSettings) -> None:
        super().__init__(conditionals, settings)
        self._chains: torch.Tensor | None = None

    def run(
        self,
        n_steps: int,
        data: torch.Tensor,
        hidden: torch.Tensor,
        v: torch.Tensor,
        h: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """See the base class."""
        chains = self._started(len(v), data)[: len(v)]
        mean, states = self._buffers(v, h)
        totals = self.conditionals.rbm.visible_units.row_totals(chains)
        for _ in range(n_steps):
            self.conditionals.hidden(chains, h, states, totals=totals, mask=mask)
            self.conditionals.visible(states, mean, chains, totals=totals)
        v.copy_(chains)
        self._last_means(v, h, totals, mask)

    def _last_means(
        self, v: torch.Tensor, h: torch.Tensor, totals: torch.Tensor | None, mask: torch.Tensor | None
    ) -> None:
        self.conditionals.hidden(v, h, totals=totals, mask=mask)

    def _started(self, n_rows: int, data: torch.Tensor) -> torch.Tensor:
        if self._chains is None:
            self._chains = self._more(data, n_rows)
        if len(self._chains) < n_rows:  # the first batch was a short one
            self._chains = torch.cat([self._chains, self._more(data, n_rows - len(self._chains))])
        return self._chains

    def _more(self, data: torch.Tensor, n_rows: int) -> torch.Tensor:
        rows = torch.arange(n_rows, device=data.device) % len(data)
        return data[rows].clone()

    def state_dict(self) -> dict[str, Any]:
        """The chains."""
        return {"chains": self._chains}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See the base class."""
        self._chains = state["chains"]


class FastPersistentChains(PersistentChains):
    """Persistent chains under fast weights [4]_, which follow every gradient and decay, and so push chains on."""

    def __init__(self, conditionals: Conditionals, settings: RBMSettings) -> None:
        super().__init__(conditionals, settings)
        rbm = conditionals.rbm
        self._fast = tuple(torch.zeros_like(p) for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
        self._moving = Conditionals(rbm, generator=conditionals.generator, dtype=conditionals.dtype)
        self._regular, self.conditionals = conditionals, self._moving

    def run(
        self,
        n_steps: int,
        data: torch.Tensor,
        hidden: torch.Tensor,
        v: torch.Tensor,
        h: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> None:
        """See the base class."""
        self._moving.load(self._fast)  # type: ignore[arg-type]
        super().run(n_steps, data, hidden, v, h, mask)

    def _last_means(
        self, v: torch.Tensor, h: torch.Tensor, totals: torch.Tensor | None, mask: torch.Tensor | None
    ) -> None:
        self._regular.hidden(v, h, totals=totals, mask=mask)

    def after_gradients(self, gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
        """fast <- decay * fast - rate * gradient."""
        for fast, gradient in zip(self._fast, gradients, strict=True):
            fast.mul_(self.settings.fast_decay).sub_(gradient, alpha=self.settings.fast_learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """The chains and the fast weights."""
        return {**super().state_dict(), "fast": self._fast}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See the base class."""
        super().load_state_dict(state)
        self._fast = tuple(fast.clone() for fast in state["fast"])
