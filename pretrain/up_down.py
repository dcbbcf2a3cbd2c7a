"""Up-down: contrastive wake-sleep for a deep belief net.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554, section 5 and appendix B.
.. [2] Hinton, G. E., Dayan, P., Frey, B. J. & Neal, R. M. (1995). The wake-sleep algorithm for unsupervised neural
       networks. Science 268, 1158-1161.
"""

from typing import Any

import torch

from pretrain.associative_memory import MemoryRule
from pretrain.batches import Batch, mean_square
from pretrain.dbn import DBN, DirectedLayer
from pretrain.learner import Learner
from pretrain.random_streams import BernoulliSampler
from pretrain.rbm_settings import RBMSettings
from pretrain.up_down_settings import UpDownSettings


class UpDown(Learner):
    """Writes the gradients of one pass up, some Gibbs steps of the memory, and one pass down [1]_, [2]_.

    Wake: states s_k+1 ~ q(. | s_k) are drawn from the data s_0 upwards, and the generative weights learn to
    reconstruct each layer from the one above:

        dG = mean of (E[v | s_k+1] - s_k) s_k+1^T,   dg = mean of E[v | s_k+1] - s_k

    Memory: contrastive divergence from the top codes and the labels, with sampled states. Sleep: the codes that the
    chains end in are led down, t_k ~ p(. | t_k+1), and the recognition weights learn to find the causes:

        dR = mean of (E_q[h | t_k] - t_k+1) t_k^T,   dr = mean of E_q[h | t_k] - t_k+1

    Fantasies of the data are means, as in [1]_, unless `binarize`. In float32 nothing of a batch's size is allocated
    while the number of rows stays the same, but for labels that are drawn.

    Parameters
    ----------
    dbn : DBN
    settings : UpDownSettings
    generator : torch.Generator
        On the device of the net; draws the states.
    dtype : torch.dtype
        Of the matrix products; the parameters and their gradients stay float32.
    unlabelled : bool
        Whether rows may come without a label, `y` of -1; see `MemoryRule`.
    """

    stochastic = True

    def __init__(
        self,
        dbn: DBN,
        settings: UpDownSettings,
        *,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        unlabelled: bool = False,
    ) -> None:
        self.module, self.settings, self.dtype = dbn, settings, dtype
        for parameter in dbn.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._memory = MemoryRule(
            dbn.memory,
            RBMSettings(sample_reconstruction=True),
            n_classes=dbn.n_classes,
            unlabelled=unlabelled,
            generator=generator,
            dtype=dtype,
        )
        self._layers: list[DirectedLayer] = list(dbn.layers)
        sizes = [dbn.n_visible, *(layer.n_hidden for layer in self._layers)]
        # One sampler a layer: its buffers fit from one step to the next.
        self._sizes, self._samplers = sizes, [BernoulliSampler(generator) for _ in sizes]
        self._states: list[torch.Tensor] = []
        largest = max((layer.generative_weight.numel() for layer in self._layers), default=0)
        self._gradient = torch.empty(0 if dtype == torch.float32 else largest, dtype=dtype, device=self._device)

    @property
    def _device(self) -> torch.device:
        return self.module.memory.weight.device

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of the memory and one of the directed layers."""
        directed = [p for layer in self._layers for p in layer.parameters()]
        return [*self._memory.parameter_groups(), *([{"params": directed}] if directed else [])]

    def begin_epoch(self, epoch: int, n_epochs: int) -> None:
        """Set the Gibbs steps of the memory in `epoch` (from 0)."""
        self._memory.n_gibbs_steps = self.settings.gibbs_steps_at(epoch, n_epochs)

    def metrics(self) -> dict[str, float]:
        """`n_gibbs_steps` of the epoch."""
        return {"n_gibbs_steps": float(self._memory.n_gibbs_steps)}

    @torch.no_grad()
    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """Estimate the gradients on one batch; `batch.y` are class indices, (batch,), where the net has labels.

        Returns
        -------
        Tensor, 0-d
            Squared error between the data and their means given the layer above, summed over units, mean over rows.
            A monitor, not the objective. Of a net of one layer that of the memory's reconstruction.
        """
        self._allocate(len(batch.X))
        self._see(batch.X)
        for k, layer in enumerate(self._layers):
            mean = self._recognise(layer, self._states[k], self._means[k + 1])
            self._samplers[k + 1].sample(mean, self._states[k + 1])
        losses = [self._learn_generation(k, batch.weight) for k in range(len(self._layers))]
        losses.append(self._memory.fill_gradients(Batch(self._states[-1], batch.y, batch.weight)))
        self._sleep(batch.weight)
        return losses[0]

    def _allocate(self, rows: int) -> None:
        if not self._states or len(self._states[0]) != rows:
            self._states, self._means = (
                [torch.empty(rows, n, dtype=self.dtype, device=self._device) for n in self._sizes] for _ in range(2)
            )

    def _see(self, X: torch.Tensor) -> None:
        if self.settings.binarize:
            self._samplers[0].sample(X, self._states[0])
        else:
            self._states[0].copy_(X)

    def _recognise(self, layer: DirectedLayer, v: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        weight, bias = layer.recognition_weight.to(self.dtype), layer.recognition_bias.to(self.dtype)
        return torch.addmm(bias, v, weight.T, out=out).sigmoid_()

    def _generate(self, layer: DirectedLayer, h: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Total input of the visible units."""
        weight, bias = layer.generative_weight.to(self.dtype), layer.generative_bias.to(self.dtype)
        return torch.addmm(bias, h, weight.T, out=out)

    def _learn_generation(self, k: int, row_weight: torch.Tensor | None) -> torch.Tensor:
        layer, below, above = self._layers[k], self._states[k], self._states[k + 1]
        difference = layer.visible_units.mean_(self._generate(layer, above, self._means[k])).sub_(below)
        loss = mean_square(difference, row_weight) if k == 0 else difference.new_zeros(())
        self._write(layer.generative_weight, layer.generative_bias, difference, above, row_weight)
        return loss

    def _sleep(self, row_weight: torch.Tensor | None) -> None:
        above = self._memory.chains
        for k in reversed(range(len(self._layers))):
            layer = self._layers[k]
            fantasy = self._generate(layer, above, self._means[k])
            if k > 0 or self.settings.binarize:
                fantasy = layer.visible_units.sample_(fantasy, self._states[k], sampler=self._samplers[k])
            else:
                layer.visible_units.mean_(fantasy)
            difference = self._recognise(layer, fantasy, self._means[k + 1]).sub_(above)
            self._write(layer.recognition_weight, layer.recognition_bias, difference, fantasy, row_weight)
            above = fantasy

    def _write(
        self,
        weight: torch.nn.Parameter,
        bias: torch.nn.Parameter,
        difference: torch.Tensor,
        inputs: torch.Tensor,
        row_weight: torch.Tensor | None,
    ) -> None:
        """Gradients of a layer's weights and biases: means over rows of difference inputs^T and of difference."""
        assert weight.grad is not None
        assert bias.grad is not None
        if row_weight is not None:
            difference.mul_(row_weight[:, None])
        target = weight.grad if self.dtype == torch.float32 else self._gradient[: weight.numel()].view_as(weight)
        torch.addmm(target, difference.T, inputs, beta=0, alpha=1 / len(inputs), out=target)
        if target is not weight.grad:
            weight.grad.copy_(target)
        torch.sum(difference, dim=0, dtype=torch.float32, out=bias.grad).div_(len(inputs))

    def state_dict(self) -> dict[str, Any]:
        """What continues the learner exactly: the memory's rule, with the generator that all draw from."""
        return {"memory": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._memory.load_state_dict(state["memory"])
