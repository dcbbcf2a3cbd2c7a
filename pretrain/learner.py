"""What the training loop drives: something that turns a batch into gradients."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch

from pretrain.batches import Batch


class Learner:
    """Base of the learning rules.

    Attributes
    ----------
    module : nn.Module
        What is trained.
    generators : sequence of torch.Generator
        On the device, those that a step draws from; needed of a rule with a `step_key` alone.
    """

    module: Any
    generators: Sequence[torch.Generator] = ()

    @property
    def stochastic(self) -> bool:
        """Whether two calls on one batch give different gradients (noise, sampling, dropout)."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser: "params", and optionally "rate_factor" (default 1)."""
        raise NotImplementedError

    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """Write the mean gradient of the batch into `.grad`; return the mean loss a row, a 0-d tensor."""
        raise NotImplementedError

    def penalty(self) -> torch.Tensor | float:
        """What the gradients of the last batch minimise besides the loss; most rules have nothing."""
        return 0.0

    def step_key(self) -> Hashable | None:
        """What the next `fill_gradients` depends on besides tensors; None where it needs the host.

        Steps with the same key launch the same kernels on the same tensors, so that a GPU can repeat one of them
        (`pretrain.cuda_graph`) without the host.
        """
        return None

    def step_replayed(self) -> None:
        """Count a step that was repeated without a call of `fill_gradients`."""

    def begin_epoch(self, epoch: int, n_epochs: int) -> None:
        """Prepare for `epoch` (from 0) of `n_epochs`; most rules have nothing to prepare."""

    def metrics(self) -> dict[str, float]:
        """Figures of the epoch for its record, besides the loss; most rules have none."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What continues the rule exactly, besides the module; most rules have nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
