"""The conditionals of an RBM in the arithmetic of a run, written into buffers that are used again."""

from typing import TYPE_CHECKING

import torch

from pretrain.random_streams import BernoulliSampler

if TYPE_CHECKING:
    from pretrain.rbm import RBM


class Conditionals:
    """p(h | v) and p(v | h) with a copy of the parameters in `dtype`.

    Parameters
    ----------
    rbm : RBM
    generator : torch.Generator
        On the device of the RBM; draws the states.
    dtype : torch.dtype
        Of the matrix products; float32 uses the parameters themselves.
    exact : bool
        See `BernoulliSampler`.

    Attributes
    ----------
    up, down : float
        How often the visible layer counts in the input of the hidden units, and these in that of the visible ones: 1
        in an RBM, 2 where one side stands for two copies of itself.
    """

    def __init__(self, rbm: "RBM", *, generator: torch.Generator, dtype: torch.dtype, exact: bool = False) -> None:
        self.rbm, self.generator, self.dtype = rbm, generator, dtype
        self.up = self.down = 1.0
        self._parameters = [p.detach() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias)]
        # One sampler a shape: its buffers fit from one step to the next.
        self._hidden_sampler, self._visible_sampler = (BernoulliSampler(generator, exact=exact) for _ in range(2))

    def load(self, change: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None) -> None:
        """Take the parameters as they are now, plus a `change` of weight, visible bias and hidden bias."""
        parameters = self._parameters
        if change is not None:
            parameters = [p + more for p, more in zip(parameters, change, strict=True)]
        # `to` is the tensor itself where the dtype is its own.
        self.weight, self.visible_bias, self.hidden_bias = [p.to(self.dtype) for p in parameters]

    def empty(self, n_rows: int, n_units: int) -> torch.Tensor:
        """A buffer of rows of units."""
        return torch.empty(n_rows, n_units, dtype=self.dtype, device=self.rbm.weight.device)

    def hidden(
        self,
        v: torch.Tensor,
        mean: torch.Tensor,
        states: torch.Tensor | None = None,
        *,
        totals: torch.Tensor | None = None,
        beta: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write E[h | v] into `mean` and, if given, samples into `states`; return the last one written.

        Parameters
        ----------
        v : Tensor of shape (batch, n_visible)
        mean, states : Tensor of shape (batch, n_hidden)
        totals : Tensor of shape (batch, 1) or None
            Words a row (`Units.row_totals`).
        beta : Tensor of shape (batch, 1) or None
            Inverse temperature of each row: factor of the total input.
        mask : Tensor of shape (batch, n_hidden) or None
            0 for hidden units that are left out.
        """
        units = self.rbm.hidden_units
        v = self.rbm.visible_units.statistic(v)
        if totals is None:
            torch.addmm(self.hidden_bias, v, self.weight.T, alpha=self.up, out=mean)
        else:
            torch.mm(v, self.weight.T, out=mean).addcmul_(totals, self.hidden_bias)
        if beta is not None:
            mean.mul_(beta)
        if states is None:
            units.mean_(mean)
        else:
            units.sample_(mean, states, sampler=self._hidden_sampler)
        if mask is not None:
            mean.mul_(mask)
            if states is not None:
                states.mul_(mask)
        return mean if states is None else states

    def visible(
        self,
        h: torch.Tensor,
        mean: torch.Tensor,
        states: torch.Tensor | None = None,
        *,
        totals: torch.Tensor | None = None,
        beta: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Write E[v | h] into `mean` and, if given, samples into `states`; return the last one written."""
        torch.addmm(self.visible_bias, h, self.weight, alpha=self.down, out=mean)
        if beta is not None:
            mean.mul_(beta)
        if states is None:
            return self.rbm.visible_units.mean_(mean, totals)
        return self.rbm.visible_units.sample_(mean, states, sampler=self._visible_sampler, totals=totals)

    def draw(self, probabilities: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """0/1 states of visible units from given probabilities."""
        return self._visible_sampler.sample(probabilities, out)
