"""What centred gradients are centred by: running means of the states that the data call forth.

References
----------
.. [1] Melchior, J., Fischer, A. & Wiskott, L. (2016). How to center deep Boltzmann machines. JMLR 17.
"""

from collections.abc import Sequence

import torch

from pretrain.batches import weighted_mean

Offsets = tuple[torch.Tensor, ...]
OFFSET_RATE = 0.01  # of the running means


class Centering:
    """Running means of each layer's units, `offsets`, which begin as those of the first batch [1]_."""

    def __init__(self) -> None:
        self.offsets: Offsets | None = None

    def track(self, states: Sequence[torch.Tensor], weight: torch.Tensor | None) -> Offsets:
        """Move them towards the means of a batch, (rows, n_units) for each layer; return them."""
        means = tuple(weighted_mean(state, weight) for state in states)
        if self.offsets is None:
            self.offsets = means
        for offset, mean in zip(self.offsets, means, strict=True):
            offset.lerp_(mean, OFFSET_RATE)
        return self.offsets
