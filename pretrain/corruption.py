"""Noise on the input of a denoising autoencoder, drawn anew for every batch.

References
----------
.. [1] Vincent, P. et al. (2010). Stacked denoising autoencoders. JMLR 11, sections 4.3 and 4.4.
.. [2] Jahrer, M. (2017). 1st place solution of Porto Seguro's safe driver prediction: "swap noise" on tables. Kaggle.
"""

from typing import Any

import torch

from pretrain.scaling import ROUNDING


class Corruption:
    """Corrupts a batch; the batch itself is left alone.

    Parameters
    ----------
    kind : {"none", "masking", "gaussian", "salt_and_pepper", "swap"}
        "gaussian" adds N(0, level^2) to every cell. The others take each cell with probability `level` [1]_:

        - "masking" sets it to zero;
        - "salt_and_pepper" sets it to the smallest or the largest value, with equal probability: to 0 or 1 while all
          values seen so far lie in [0, 1], else to the extremes of its column over the rows seen so far;
        - "swap" puts the value in its place that another row of the batch, drawn for each cell, has in the same
          column [2]_, so that every cell keeps to the distribution of its column. A batch of one row stays as it is.
    level : float
    generator : torch.Generator
        On the device of the batches.

    Attributes
    ----------
    kept : Tensor of shape (batch, n_features) or None
        Of the last batch: 0 where the noise took the cell, whether its value changed or not, and 1 elsewhere; valid
        until the next call. None where no noise takes single cells.
    """

    def __init__(self, kind: str, level: float, *, generator: torch.Generator) -> None:
        self.kind = kind if level > 0 else "none"
        self.level = level
        self.generator = generator
        self.kept: torch.Tensor | None = None
        self._noise = torch.empty(0)
        self._extremes: tuple[torch.Tensor, torch.Tensor] | None = None  # of the columns so far, (n_features,) each

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_features) -> (batch, n_features); valid until the next call."""
        if self.kind == "none":
            return x
        if self._noise.shape != x.shape or self._noise.device != x.device:
            self._noise = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        if self.kind == "gaussian":
            return self._noise.normal_(std=self.level, generator=self.generator).add_(x)
        uniform = self._noise.uniform_(generator=self.generator)
        if self.kind == "salt_and_pepper":
            low, high = self._smallest_and_largest(x)
            replaced = torch.where(uniform < self.level / 2, low, high)
        elif self.kind == "swap":
            replaced = self._of_other_rows(x)
        self.kept = uniform.ge_(self.level)
        if self.kind == "masking":
            return self.kept * x
        if self.kind == "swap" and len(x) == 1:
            self.kept.fill_(1)
        return torch.where(self.kept > 0, x, replaced)

    def _smallest_and_largest(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = x.amin(dim=0), x.amax(dim=0)  # (n_features,)
        if self._extremes is not None:
            low, high = torch.minimum(low, self._extremes[0]), torch.maximum(high, self._extremes[1])
        self._extremes = low, high
        # On the device, not by `if`: it would wait for every batch.
        bounded = (low.amin() >= -ROUNDING) & (high.amax() <= 1 + ROUNDING)
        return low.masked_fill(bounded, 0.0), high.masked_fill(bounded, 1.0)

    def _of_other_rows(self, x: torch.Tensor) -> torch.Tensor:
        n = len(x)
        if n == 1:
            return x
        further = torch.empty(x.shape, dtype=torch.int64, device=x.device).random_(1, n, generator=self.generator)
        row = torch.arange(n, device=x.device).unsqueeze(1)
        return x.gather(0, further.add_(row).remainder_(n))

    def state_dict(self) -> dict[str, Any]:
        """What continues the noise exactly."""
        return {"generator": self.generator.get_state(), "extremes": self._extremes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
        self._extremes = state["extremes"]
