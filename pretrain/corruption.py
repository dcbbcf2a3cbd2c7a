"""Noise on the input of a denoising autoencoder, drawn anew for every batch."""

import torch


class Corruption:
    """Corrupts a batch; the batch itself is left alone.

    Parameters
    ----------
    kind : {"none", "masking", "gaussian"}
        "masking" sets each input to zero with probability `level`; "gaussian" adds N(0, level^2).
    level : float
    generator : torch.Generator
        On the device of the batches.

    References
    ----------
    .. [1] Vincent, P. et al. (2010). Stacked denoising autoencoders. JMLR 11, section 4.
    """

    def __init__(self, kind: str, level: float, *, generator: torch.Generator) -> None:
        self.kind = kind if level > 0 else "none"
        self.level = level
        self.generator = generator
        self._noise = torch.empty(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, n_features) -> (batch, n_features); valid until the next call."""
        if self.kind == "none":
            return x
        if self._noise.shape != x.shape or self._noise.device != x.device:
            self._noise = torch.empty(x.shape, dtype=torch.float32, device=x.device)
        if self.kind == "masking":
            kept = self._noise.uniform_(generator=self.generator).ge_(self.level)
            return kept.mul_(x)
        return self._noise.normal_(std=self.level, generator=self.generator).add_(x)
