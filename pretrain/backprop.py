"""Gradients of a network's loss by backpropagation."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pretrain.activations import activation_function
from pretrain.augmentation import Augmentation
from pretrain.autoencoder import reconstruction_loss
from pretrain.batches import Batch
from pretrain.dropout import RandomLayer
from pretrain.exceptions import SettingsError
from pretrain.learner import Learner
from pretrain.network import Network
from pretrain.stochastic_depth import StochasticDepth, give_generators


class BackpropLearner(Learner):
    """Gradient of a network's loss on a batch.

    The loss of a row is the cross-entropy in nats of a classifier, summed over the labels where there are several,
    the squared error summed over the targets of a regressor, and the reconstruction loss (see
    `pretrain.autoencoder.reconstruction_loss`) of an autoencoder.

    Parameters
    ----------
    network : Network
    rate_factors : list of float
        One a layer, the output layer last; layers with factor 0 are frozen: their weights and the statistics
        of their batch norm do not move, and they drop no units.
    generator : torch.Generator
        On the network's device; draws the dropped units and blocks (`give_generators`).
    dtype : torch.dtype
    loss : {"auto", "cross_entropy", "squared_error"}
        Of an autoencoder, see `FinetuneSettings.reconstruction_loss`.
    augment : Augmentation or None
        Makes the rows that are trained on from those of the batch. An autoencoder reconstructs what it was shown.
    """

    def __init__(
        self,
        network: Network,
        *,
        rate_factors: list[float],
        generator: torch.Generator,
        dtype: torch.dtype,
        loss: str = "auto",
        augment: Augmentation | None = None,
    ) -> None:
        self.module: Network = network
        self.generator, self.dtype, self.loss, self.augment = generator, dtype, loss, augment
        self._layers: list[nn.Module] = [*network.hidden, network.head]
        self._factors = rate_factors
        self._frozen = [layer for layer, factor in zip(self._layers, rate_factors, strict=True) if factor == 0]
        for layer, factor in zip(self._layers, rate_factors, strict=True):
            layer.requires_grad_(factor > 0)
        self._block_generator = give_generators(network, generator)
        self._leaves_out_blocks = any(m.rate > 0 for m in network.modules() if isinstance(m, StochasticDepth))

    @property
    def stochastic(self) -> bool:
        """Whether units or blocks are dropped or rows changed."""
        return self.augment is not None or any(
            m.rate > 0 for m in self.module.modules() if isinstance(m, RandomLayer)
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """One group a layer that is not frozen, with its rate factor."""
        return [
            {"params": list(layer.parameters()), "rate_factor": factor}
            for layer, factor in zip(self._layers, self._factors, strict=True)
            if factor > 0
        ]

    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """Write the mean gradient of the batch into `.grad`; return the mean loss a row, a 0-d tensor."""
        objective, loss = self._losses(batch)
        self.module.zero_grad(set_to_none=True)
        objective.backward()
        if self._leaves_out_blocks:
            self._fill_missing_gradients()
        return loss.detach()

    def _losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What is minimised, and the loss of the batch, both means a row."""
        self._set_modes(len(batch.X))
        if self.augment is not None:
            batch = batch._replace(X=self.augment(batch.X))
        loss = network_loss(self.module, self._output(batch.X), batch, self.loss)
        return loss, loss

    def _output(self, X: torch.Tensor) -> torch.Tensor:
        with torch.autocast(X.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            return self.module(X)

    def _fill_missing_gradients(self) -> None:
        # Of blocks that were left out: torch's fused SGD with momentum takes no parameter without a gradient.
        for parameter in self.module.parameters():
            if parameter.requires_grad and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)

    def state_dict(self) -> dict[str, Any]:
        """The states of dropout, of stochastic depth where it has one of its own, and of the augmentation."""
        augment = None if self.augment is None else self.augment.state_dict()
        own = self._block_generator is not self.generator
        blocks = {"blocks": self._block_generator.get_state()} if own else {}
        return {"dropout": self.generator.get_state(), "augment": augment, **blocks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; SettingsError where the state lacks that of stochastic depth."""
        own = self._block_generator is not self.generator
        if own and "blocks" not in state:
            raise SettingsError(
                "The state lacks the generator that stochastic depth draws from on a GPU: it was taken by an earlier "
                "version or on a CPU. Begin the run anew."
            )
        self.generator.set_state(state["dropout"])
        if own:
            self._block_generator.set_state(state["blocks"])
        if self.augment is not None:
            self.augment.load_state_dict(state["augment"])

    def _set_modes(self, n_rows: int) -> None:
        # Validation ends every epoch in evaluation mode; within one the modes only change for a batch of one.
        if self.module.training and n_rows > 1 and not any(layer.training for layer in self._frozen):
            return
        self.module.train()
        for layer in self._frozen:
            layer.eval()
        if n_rows == 1:  # one row has no variance: batch norm takes its running statistics
            for module in self.module.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.eval()
            self.module.training = False


def network_loss(network: Network, output: torch.Tensor, batch: Batch, kind: str = "auto") -> torch.Tensor:
    """Mean loss a row of a network's total output input, (batch, n_outputs) -> 0-d; see `BackpropLearner`."""
    output = output.float()
    target = batch.X if network.architecture.task == "reconstruction" else batch.y
    assert target is not None
    if network.architecture.task == "classification":
        if batch.weight is None:
            return functional.cross_entropy(output, target)
        return functional.cross_entropy(output, target, reduction="none") @ batch.weight / len(target)
    outputs = network.architecture.output_activation
    if kind == "auto" or network.architecture.task != "reconstruction":
        kind = "cross_entropy" if outputs == "sigmoid" else "squared_error"
    if kind == "squared_error" and network.architecture.task == "reconstruction":
        output = activation_function(outputs)(output)
    return reconstruction_loss(output, target, kind, batch.weight)
