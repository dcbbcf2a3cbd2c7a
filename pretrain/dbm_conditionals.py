"""The conditionals of a deep Boltzmann machine, layer by layer, written into buffers that are used again.

References
----------
.. [1] Salakhutdinov, R. & Hinton, G. E. (2009). Deep Boltzmann machines. AISTATS.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pretrain.random_streams import BernoulliSampler

if TYPE_CHECKING:
    from pretrain.dbm import DBM


class LayerConditionals:
    """p(layer k | its neighbours), mean field and Gibbs steps, with a copy of the parameters in `dtype`.

    Layers are counted from the data: layer 0 is visible, layers 1 to L are hidden. Given the odd layers the even ones
    are independent of each other, and the odd ones given the even.

    Parameters
    ----------
    dbm : DBM
    dtype : torch.dtype
        Of the matrix products; that of the parameters uses these themselves.
    """

    def __init__(self, dbm: "DBM", *, dtype: torch.dtype) -> None:
        self.dbm, self.dtype = dbm, dtype
        self.sizes = [dbm.n_visible, *dbm.hidden_layer_sizes]
        self.top = len(self.sizes) - 1
        self.load()

    def load(self) -> None:
        """Take the parameters as they are now."""
        # `to` is the tensor itself where the dtype is its own.
        self.weights = [weight.detach().to(self.dtype) for weight in self.dbm.weights]
        self.biases = [bias.detach().to(self.dtype) for bias in self.dbm.biases()]

    def empty(self, n_rows: int) -> list[torch.Tensor]:
        """A buffer of rows for each layer, the visible one first."""
        device = self.dbm.visible_bias.device
        return [torch.empty(n_rows, size, dtype=self.dtype, device=device) for size in self.sizes]

    def total_input(self, states: Sequence[torch.Tensor], k: int, out: torch.Tensor) -> torch.Tensor:
        """Write c_k + W_k s_k-1 + W_k+1^T s_k+1, (batch, n_units of layer k), into `out`; return it."""
        if k == 0:
            return torch.addmm(self.biases[0], states[1], self.weights[0], out=out)
        torch.addmm(self.biases[k], states[k - 1], self.weights[k - 1].T, out=out)
        return out if k == self.top else out.addmm_(states[k + 1], self.weights[k])

    def recognise(self, means: Sequence[torch.Tensor]) -> None:
        """Write a pass up from the rows in `means[0]` into the hidden layers of `means`.

        What comes from below counts twice, but at the top: it stands in for what is not known above ([1]_,
        section 3.1).
        """
        for k in range(1, self.top + 1):
            twice = 1 if k == self.top else 2
            torch.addmm(self.biases[k], means[k - 1], self.weights[k - 1].T, alpha=twice, out=means[k]).sigmoid_()

    def mean_field(
        self,
        means: Sequence[torch.Tensor],
        from_data: torch.Tensor,
        scratch: Sequence[torch.Tensor],
        n_steps: int,
        tol: float,
    ) -> int:
        """Improve the hidden layers of `means` by coordinate ascent of the bound, from the data upwards [1]_.

            mu_k <- sigmoid(c_k + W_k mu_k-1 + W_k+1^T mu_k+1)

        Each update of a layer is the best one given the others, so that no step lowers the bound and none needs to be
        damped.

        Parameters
        ----------
        means : sequence of Tensor
            The rows, and a mean of every hidden unit to begin with, (batch, n_units) each.
        from_data : Tensor of shape (batch, n_units of layer 1)
            Is overwritten: with the input that does not change.
        scratch : sequence of Tensor
            Is overwritten: a buffer a layer; not used with a `tol` of 0.
        n_steps : int
            Updates of all layers, at most.
        tol : float
            No more steps after one in which the means of no layer have changed by more, on average.

        Returns
        -------
        int
            Steps taken.
        """
        torch.addmm(self.biases[1], means[0], self.weights[0].T, out=from_data)
        for step in range(n_steps):
            changes = []
            for k in range(1, self.top + 1):
                if tol > 0:
                    scratch[k].copy_(means[k])
                self._update(means, k, from_data)
                if tol > 0:
                    changes.append(scratch[k].sub_(means[k]).abs_().mean(dtype=torch.float32))
            # A GPU is asked once a step, not once a layer.
            if self.top == 1 or (tol > 0 and float(torch.stack(changes).amax()) <= tol):
                return step + 1
        return n_steps

    def _update(self, means: Sequence[torch.Tensor], k: int, from_data: torch.Tensor) -> None:
        if k > 1:
            self.total_input(means, k, means[k])
        elif self.top == 1:
            means[1].copy_(from_data)
        else:
            torch.addmm(from_data, means[2], self.weights[1], out=means[1])
        means[k].sigmoid_()

    def sample(
        self, states: Sequence[torch.Tensor], k: int, mean: torch.Tensor, sampler: BernoulliSampler
    ) -> torch.Tensor:
        """Write the mean of layer k given its neighbours into `mean`, and a draw into `states[k]`; return it."""
        self.total_input(states, k, mean)
        if k == 0:
            return self.dbm.visible_units.sample_(mean, states[0], sampler=sampler)
        return sampler.sample(mean.sigmoid_(), states[k])

    def gibbs_step(
        self, states: Sequence[torch.Tensor], means: Sequence[torch.Tensor], samplers: Sequence[BernoulliSampler]
    ) -> None:
        """Draw the odd layers given the even ones, then the even ones given the odd; leaves p(v, h) unchanged.

        Parameters
        ----------
        states : sequence of Tensor
            Of every layer, the visible one first; moved in place.
        means : sequence of Tensor
            The means that the states were drawn from are written here.
        samplers : sequence of BernoulliSampler
            One a layer.
        """
        for parity in (1, 0):
            for k in range(parity, self.top + 1, 2):
                self.sample(states, k, means[k], samplers[k])
