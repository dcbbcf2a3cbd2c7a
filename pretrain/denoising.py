"""The learning rule of autoencoders: backpropagation of a denoising loss and of penalties on the code.

References
----------
.. [1] Vincent, P., Larochelle, H., Lajoie, I., Bengio, Y. & Manzagol, P.-A. (2010). Stacked denoising autoencoders:
       learning useful representations in a deep network with a local denoising criterion. JMLR 11, 3371-3408.
"""

from typing import TYPE_CHECKING, Any

import torch

from pretrain.batches import Batch
from pretrain.contraction import Contraction
from pretrain.corruption import Corruption
from pretrain.learner import Learner
from pretrain.sparsity import SparseCode

if TYPE_CHECKING:
    from pretrain.autoencoder import Autoencoder


class DenoisingLearner(Learner):
    """Gradient of the denoising loss, encode the corrupted input, compare with the clean one [1]_, and of penalties.

    The loss of a row is summed over its features: cross-entropy in nats or squared error, where a cell that the noise
    took weighs 1 and any other 1 - emphasis. Penalties are of the codes of the corrupted input.

    Parameters
    ----------
    autoencoder : Autoencoder
    corruption : Corruption
    dtype : torch.dtype
        Of the matrix products: float32 or bfloat16.
    emphasis : float
        In [0, 1]; above 0 with noise that takes single cells.
    sparsity : SparseCode or None
    contraction : Contraction or None
    """

    def __init__(
        self,
        autoencoder: "Autoencoder",
        corruption: Corruption,
        *,
        dtype: torch.dtype,
        emphasis: float = 0.0,
        sparsity: SparseCode | None = None,
        contraction: Contraction | None = None,
    ) -> None:
        self.module = autoencoder
        self.corruption, self.emphasis = corruption, emphasis
        self.sparsity, self.contraction = sparsity, contraction
        self.dtype = dtype
        self._penalty: torch.Tensor | float = 0.0

    @property
    def stochastic(self) -> bool:
        """Whether noise is drawn."""
        return self.corruption.kind != "none" or (self.contraction is not None and self.contraction.stochastic)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters of the autoencoder in one group."""
        return [{"params": list(self.module.parameters())}]

    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """Write the mean gradient of the batch into `.grad`; return the mean loss a row, a 0-d tensor.

        The loss is returned without the penalties, see `penalty`; the gradient has them.
        """
        corrupted = self.corruption(batch.X)
        device_type = batch.X.device.type
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            total_input = self.module.hidden_input(corrupted)
            code = self.module.activate(total_input)
            output = self.module.output_input(code)
        kept = self.corruption.kept if self.emphasis > 0 else None
        of_cells = None if kept is None else 1 - self.emphasis * kept
        loss = self.module.loss(output, batch.X, batch.weight, of_cells)
        penalty: torch.Tensor | float = 0.0
        if self.sparsity is not None:
            penalty = penalty + self.sparsity(code.to(self.module.weight.dtype), batch.weight)
        if self.contraction is not None:
            penalty = penalty + self.contraction(self.module.weight, total_input, batch.weight)
        self.module.zero_grad(set_to_none=True)
        (loss + penalty).backward()
        self._penalty = penalty.detach() if isinstance(penalty, torch.Tensor) else penalty
        return loss.detach()

    def penalty(self) -> torch.Tensor | float:
        """Sparsity and contraction penalty of the last batch."""
        return self._penalty

    def state_dict(self) -> dict[str, Any]:
        """The state of the noise."""
        contraction = None if self.contraction is None else self.contraction.state_dict()
        return {"corruption": self.corruption.state_dict(), "contraction": contraction}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.corruption.load_state_dict(state["corruption"])
        if self.contraction is not None:
            self.contraction.load_state_dict(state["contraction"])
