"""What a step of contrastive divergence writes into."""

import torch

from pretrain.conditionals import Conditionals


class PhaseBuffers:
    """States of data and chains, the data above the chains, so that both halves of a gradient are one product.

    The buffers only grow: short batches use those of full ones, and steps that a GPU has recorded stay valid.

    Attributes
    ----------
    rows, chains : int
    v, h : Tensor of shape (rows + chains, n_visible), (rows + chains, n_hidden)
    states : Tensor of shape (rows, n_hidden)
        Hidden states that the data were answered with.
    difference : Tensor of shape (rows, n_visible)
        Reconstruction less data, float32.
    """

    def __init__(self, conditionals: Conditionals) -> None:
        self._conditionals = conditionals
        self.rows = self.chains = 0
        self._allocate()

    def fit(self, rows: int, chains: int) -> None:
        """Make room for so many rows of data and of chains."""
        if (self.rows, self.chains) == (rows, chains):
            return
        self.rows, self.chains = rows, chains
        if rows > len(self._whole[2]) or rows + chains > len(self._whole[0]):
            self._allocate()
        v, h, states, difference = self._whole
        self.v, self.h = v[: rows + chains], h[: rows + chains]
        self.states, self.difference = states[:rows], difference[:rows]

    def _allocate(self) -> None:
        rbm, empty = self._conditionals.rbm, self._conditionals.empty
        both = self.rows + self.chains
        self._whole = (
            empty(both, rbm.n_visible),
            empty(both, rbm.n_hidden),
            empty(self.rows, rbm.n_hidden),
            torch.empty(self.rows, rbm.n_visible, device=rbm.weight.device),
        )
