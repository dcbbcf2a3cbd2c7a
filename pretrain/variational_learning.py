"""The learning rule of a deep Boltzmann machine: mean field for the data, persistent chains for the model.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS.
.. [2] Tieleman, T. (2008). Training restricted Boltzmann machines using approximations to the likelihood gradient.
       ICML.
.. [3] Melchior, J., Fischer, A. & Wiskott, L. (2016). How to center deep Boltzmann machines. JMLR 17.
"""

import copy
from typing import Any

import torch

from pretrain.batches import Batch, mean_square
from pretrain.centering import Centering, Offsets
from pretrain.dbm import DBM
from pretrain.dbm_conditionals import LayerConditionals
from pretrain.dbm_settings import DBMSettings
from pretrain.exceptions import SettingsError
from pretrain.learner import Learner
from pretrain.random_streams import BernoulliSampler


class VariationalLearning(Learner):
    """Writes an estimate of the gradient of minus the variational bound on the log-likelihood into `.grad` [1]_.

    With s_0 = v the data, s_k the mean-field means of layer k, and s_k' the states of persistent chains [2]_,

        dW_k = mean of s_k' s_k-1'^T - mean of s_k s_k-1^T,   dc_k = mean of s_k' - mean of s_k

    The chains end in a draw of the even layers given the odd ones: their means stand for the even layers, which tells
    more than the draw and is as unbiased, since W_k joins an even layer to an odd one.

    With `centered` of the settings the gradient is that of the same model written in s_k - o_k, where o_k are running
    means of s_k: every s_k in dW_k is taken less its o_k, and then [3]_

        dc_k <- dc_k - dW_k o_k-1 - dW_k+1^T o_k+1

    Data and chains share one buffer a layer, so that both halves of a gradient are one matrix product with the sign
    of the data's turned. In float32 nothing of a batch's size is allocated while the number of rows stays the same.

    Parameters
    ----------
    dbm : DBM
    settings : DBMSettings
    generator : torch.Generator
        On the device of the model; draws the states.
    dtype : torch.dtype
        Of the matrix products; the parameters and their gradients stay float32.

    Raises
    ------
    SettingsError
        For `binarize` with visible units that are not Bernoulli.
    """

    stochastic = True

    def __init__(
        self,
        dbm: DBM,
        settings: DBMSettings,
        *,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if settings.binarize and dbm.visible_units.name != "bernoulli":
            raise SettingsError(
                f"binarize of DBMSettings is for bernoulli visible units; the model has {dbm.visible_units.name!r} "
                "ones. Leave it at False."
            )
        self.module, self.settings, self.generator, self.dtype = dbm, settings, generator, dtype
        self.conditionals = LayerConditionals(dbm, dtype=dtype)
        # One sampler a layer: its buffers fit from one step to the next.
        self._samplers = [BernoulliSampler(generator) for _ in self.conditionals.sizes]
        self._centering = Centering()
        self._chains: list[torch.Tensor] | None = None
        self._buffers: list[torch.Tensor] = []
        self._steps = self._batches = 0
        largest = max(weight.numel() for weight in dbm.weights)
        self._gradient = torch.empty(0 if dtype == torch.float32 else largest, dtype=dtype, device=self._device)
        for parameter in dbm.parameters():
            parameter.grad = torch.zeros_like(parameter)

    @property
    def _device(self) -> torch.device:
        return self.module.visible_bias.device

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weights and biases of all layers."""
        return [{"params": list(self.module.parameters())}]

    def begin_epoch(self, epoch: int, n_epochs: int) -> None:
        """Count mean-field steps anew."""
        self._steps = self._batches = 0

    def metrics(self) -> dict[str, float]:
        """`mean_field_steps`: how many the batches of the epoch took, on average."""
        return {"mean_field_steps": self._steps / max(self._batches, 1)}

    @torch.no_grad()
    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """Estimate the gradient on one batch.

        Returns
        -------
        Tensor, 0-d
            Squared error between the data and their means given those of the first hidden layer, summed over units,
            mean over rows. A monitor, not the objective.
        """
        rows = len(batch.X)
        self._allocate(rows)
        self.conditionals.load()
        data, chains = [s[:rows] for s in self._buffers], [s[rows:] for s in self._buffers]
        self._see(batch.X, data[0])
        self.conditionals.recognise(data)
        settings = self.settings
        steps = settings.n_mean_field_steps, settings.mean_field_tol
        self._steps += self.conditionals.mean_field(data, self._from_data, self._scratch, *steps)
        self._batches += 1
        loss = self._loss_of(data, batch.weight)
        self._move_chains(data, chains)
        self._write_gradients(data, chains, batch.weight)
        return loss

    def _allocate(self, rows: int) -> None:
        both = rows + self.settings.n_chains
        if not self._buffers or len(self._buffers[0]) != both:
            self._buffers, self._scratch = self.conditionals.empty(both), self.conditionals.empty(rows)
            self._from_data = torch.empty_like(self._scratch[1])

    def _see(self, X: torch.Tensor, out: torch.Tensor) -> None:
        if self.settings.binarize:
            self._samplers[0].sample(X, out)
        else:
            out.copy_(X)

    def _loss_of(self, data: list[torch.Tensor], row_weight: torch.Tensor | None) -> torch.Tensor:
        mean = self.module.visible_units.mean_(self.conditionals.total_input(data, 0, self._scratch[0]))
        return mean_square(mean.sub_(data[0]), row_weight)

    def _move_chains(self, data: list[torch.Tensor], out: list[torch.Tensor]) -> None:
        """Take Gibbs steps; write the states of the odd layers and the means of the even ones into `out`."""
        if self._chains is None:
            self._chains = self._started(data)
        for _ in range(self.settings.n_gibbs_steps):
            self.conditionals.gibbs_step(self._chains, out, self._samplers)
        for state, part in list(zip(self._chains, out, strict=True))[1::2]:
            part.copy_(state)

    def _started(self, data: list[torch.Tensor]) -> list[torch.Tensor]:
        """Chains at the rows of the first batch, again and again, with hidden states drawn by mean field."""
        chosen = torch.arange(self.settings.n_chains, device=self._device) % len(data[0])
        means = [part[chosen] for part in data]
        hidden = zip(self._samplers[1:], means[1:], strict=True)
        return [means[0], *(sampler.sample(mean, torch.empty_like(mean)) for sampler, mean in hidden)]

    def _write_gradients(
        self, data: list[torch.Tensor], chains: list[torch.Tensor], row_weight: torch.Tensor | None
    ) -> None:
        rows, n_chains = len(data[0]), self.settings.n_chains
        counts = 1.0 if row_weight is None else row_weight.mean()  # of a row, on average
        for bias, seen, dreamt in zip(self.module.biases(), data, chains, strict=True):
            torch.mean(dreamt, dim=0, dtype=torch.float32, out=_grad(bias)).mul_(counts)
            _grad(bias).sub_(_mean_of_rows(seen, row_weight))
        offsets = self._centering.track(data, row_weight) if self.settings.centered else None
        if offsets is not None:
            for both, offset in zip(self._buffers, offsets, strict=True):
                both.sub_(offset.to(self.dtype))
        for k in range(1, len(data), 2):  # every W_k joins an even layer to an odd one: turn the sign of these
            data[k].mul_(-n_chains / rows if row_weight is None else -n_chains / rows * row_weight[:, None])
            chains[k].mul_(counts)
        for k, weight in enumerate(self.module.weights):
            gradient = _grad(weight)
            target = gradient if self.dtype == torch.float32 else self._gradient[: weight.numel()].view_as(weight)
            above, below = self._buffers[k + 1], self._buffers[k]
            torch.addmm(target, above.T, below, beta=0, alpha=1 / n_chains, out=target)
            if target is not gradient:
                gradient.copy_(target)
        if offsets is not None:
            self._move_offsets_into_biases(offsets)

    def _move_offsets_into_biases(self, offsets: Offsets) -> None:
        gradients = [_grad(bias) for bias in self.module.biases()]
        for k, weight in enumerate(self.module.weights):
            gradients[k].sub_(offsets[k + 1] @ _grad(weight))
            gradients[k + 1].sub_(_grad(weight) @ offsets[k])

    def state_dict(self) -> dict[str, Any]:
        """What continues the learner exactly: generator, chains, running means, steps and batches of the epoch."""
        return {
            "generator": self.generator.get_state(),
            "chains": self._chains,
            "offsets": self._centering.offsets,
            "steps": self._steps,
            "batches": self._batches,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
        # Chains and running means move in place.
        self._chains, self._centering.offsets = copy.deepcopy((state["chains"], state["offsets"]))
        self._steps, self._batches = state["steps"], state["batches"]


def _mean_of_rows(rows: torch.Tensor, row_weight: torch.Tensor | None) -> torch.Tensor:
    """(batch, n) -> (n,), float32: each row counted by its weight, over the number of rows."""
    if row_weight is None:
        return torch.mean(rows, dim=0, dtype=torch.float32)
    return row_weight @ rows.float() / len(rows)


def _grad(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad
