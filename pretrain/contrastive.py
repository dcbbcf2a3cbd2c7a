"""Contrastive divergence: an estimator of the log-likelihood gradient of an RBM.

References
----------
.. [1] Hinton, G. E. (2002). Training products of experts by minimizing contrastive divergence. Neural
       Computation 14, 1771-1800.
.. [2] Hinton, G. E. (2012). A practical guide to training restricted Boltzmann machines.
"""

from typing import TYPE_CHECKING, Any

import torch

from pretrain.batches import Batch
from pretrain.random_streams import BernoulliSampler

if TYPE_CHECKING:
    from pretrain.rbm import RBM


class ContrastiveDivergence:
    """CD-k: writes an estimate of the gradient of the negative log-likelihood into `.grad`.

    With v the data, h = E[h | v], and v', h' the chain after k Gibbs steps that start at the data,

        dW = mean over rows of (h' v'^T - h v^T),   db = mean(v' - v),   dc = mean(h' - h)        [1]_

    The hidden states that drive a reconstruction are sampled; reconstructions and the last hidden units are
    probabilities ([2]_, section 3). For k > 1 the intermediate reconstructions are sampled as well.

    Data and chain share one buffer, the data half in the upper rows, so that both halves of the gradient are one
    matrix product with the sign of the upper half turned. In float32 nothing is allocated while the number of
    rows stays the same.

    Parameters
    ----------
    rbm : RBM
    n_gibbs_steps : int
    sample_reconstruction : bool
        Whether the last reconstruction is sampled as well. Its probabilities have less noise and are what the
        papers use, but then E[dW] and E[dc] are not zero at the true parameters, only E[db] is; with samples all
        three are, and tend to the gradient of the log-likelihood as k grows.
    generator : torch.Generator
        On the device of the RBM; draws the states.
    dtype : torch.dtype
        Of the matrix products; the parameters and their gradients stay float32.
    """

    stochastic = True

    def __init__(
        self,
        rbm: "RBM",
        *,
        n_gibbs_steps: int,
        sample_reconstruction: bool = False,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.module = rbm
        self.n_gibbs_steps = n_gibbs_steps
        self.sample_reconstruction = sample_reconstruction
        self.generator = generator
        self.dtype = dtype
        self._hidden_sampler = BernoulliSampler(generator)
        self._visible_sampler = BernoulliSampler(generator)
        self._n_rows = 0
        for parameter in rbm.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters of the RBM in one group."""
        return [{"params": list(self.module.parameters())}]

    @torch.no_grad()
    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """Estimate the gradient on one batch.

        Returns
        -------
        Tensor, 0-d
            Squared error between data and reconstruction, summed over units, mean over rows. A monitor, not the
            objective: CD descends no function.
        """
        rows = len(batch.X)
        if rows != self._n_rows:
            self._allocate(rows)
        self._load_parameters()
        self._v[:rows].copy_(batch.X)
        self._hidden_mean(slice(0, rows))
        self._run_chain(rows)
        return self._write_gradients(rows)

    def _allocate(self, rows: int) -> None:
        rbm, device = self.module, self.module.weight.device
        self._v = torch.empty(2 * rows, rbm.n_visible, dtype=self.dtype, device=device)
        self._h = torch.empty(2 * rows, rbm.n_hidden, dtype=self.dtype, device=device)
        self._states = torch.empty(rows, rbm.n_hidden, dtype=self.dtype, device=device)
        self._visible_states = torch.empty(rows, rbm.n_visible, dtype=self.dtype, device=device)
        self._difference = torch.empty(rows, rbm.n_visible, device=device)
        self._gradient = torch.empty_like(rbm.weight, dtype=self.dtype)
        self._n_rows = rows

    def _load_parameters(self) -> None:
        rbm = self.module  # `to` is the parameter itself where the dtype is its own
        self._w = rbm.weight.detach().to(self.dtype)
        self._b, self._c = rbm.visible_bias.detach().to(self.dtype), rbm.hidden_bias.detach().to(self.dtype)

    def _hidden_mean(self, rows: slice) -> None:
        total_input = torch.addmm(self._c, self._v[rows], self._w.T, out=self._h[rows])
        self.module.hidden_units.mean_(total_input)

    def _run_chain(self, rows: int) -> None:
        rbm, data, chain = self.module, slice(0, rows), slice(rows, 2 * rows)
        source = data
        for step in range(self.n_gibbs_steps):
            rbm.hidden_units.sample(self._h[source], sampler=self._hidden_sampler, out=self._states)
            total_input = torch.addmm(self._b, self._states, self._w, out=self._v[chain])
            mean = rbm.visible_units.mean_(total_input)
            if step < self.n_gibbs_steps - 1 or self.sample_reconstruction:
                sample = rbm.visible_units.sample(mean, sampler=self._visible_sampler, out=self._visible_states)
                mean.copy_(sample)
            self._hidden_mean(chain)
            source = chain

    def _write_gradients(self, rows: int) -> torch.Tensor:
        rbm = self.module
        assert rbm.weight.grad is not None
        assert rbm.visible_bias.grad is not None
        assert rbm.hidden_bias.grad is not None
        self._h[:rows].neg_()
        target = rbm.weight.grad if self.dtype == torch.float32 else self._gradient
        torch.addmm(target, self._h.T, self._v, beta=0, alpha=1 / rows, out=target)
        if target is not rbm.weight.grad:
            rbm.weight.grad.copy_(target)
        torch.sum(self._h, dim=0, dtype=torch.float32, out=rbm.hidden_bias.grad).div_(rows)
        torch.sub(self._v[rows:], self._v[:rows], out=self._difference)
        torch.mean(self._difference, dim=0, out=rbm.visible_bias.grad)
        flat = self._difference.view(-1)
        return torch.dot(flat, flat) / rows
