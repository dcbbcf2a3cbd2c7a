"""Pseudo-labels: the classes that a network gives to unlabelled rows, learned as if they were true.

With C the cross-entropy, f the network, and u the rows without a label, a step minimises [1]_ (equation 15)

    mean C(y, f(x)) + alpha(t) mean C(y', f(u)),   y' = argmax f(u),

where y' is found anew in every step, by the network without dropout. alpha is zero in the first tenth of the epochs,
when the network knows nothing yet, and grows along a line to its full weight at six tenths.

References
----------
.. [1] Lee, D.-H. (2013). Pseudo-label: the simple and efficient semi-supervised learning method for deep neural
       networks. ICML workshop on challenges in representation learning.
"""

from typing import Any

import torch
from torch.nn import functional

from pretrain.backprop import BackpropLearner, network_loss
from pretrain.batches import Batch, BatchSource

RAMP_BEGIN, RAMP_END = 0.1, 0.6  # shares of the epochs, those of the 100 and 600 epochs of [1] in a run of 1000
UNLABELLED_RATIO = 8  # rows without a label for one with: batches of 256 and 32 in [1]


class PseudoLabelLearner(BackpropLearner):
    """Gradient of a classifier's loss on a batch and on the pseudo-labels of other rows.

    Parameters
    ----------
    unlabelled : BatchSource
        Rows without labels, on the network's device; each step takes the next batch of them.
    weight : float
        alpha, when it is full.
    settings : Any
        As `BackpropLearner`. The loss that is returned is that of the labelled rows alone.
    """

    def __init__(self, *args: Any, unlabelled: BatchSource, weight: float, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.unlabelled, self.weight = unlabelled, weight
        self._alpha, self._next = 0.0, 0

    @property
    def stochastic(self) -> bool:
        """Always: two calls see two batches of unlabelled rows."""
        return True

    def begin_epoch(self, epoch: int, n_epochs: int) -> None:
        """Set alpha for `epoch` (from 0) of `n_epochs`."""
        self._alpha = self.weight * ramp(epoch / n_epochs)

    def metrics(self) -> dict[str, float]:
        """alpha of the epoch."""
        return {"pseudo_label_weight": self._alpha}

    def state_dict(self) -> dict[str, Any]:
        """Those of dropout, of the augmentation and of the unlabelled batches."""
        own = {"alpha": self._alpha, "next": self._next, "unlabelled": self.unlabelled.state_dict()}
        return {**super().state_dict(), "pseudo_labels": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(state)
        own = state["pseudo_labels"]
        self._alpha, self._next = own["alpha"], own["next"]
        self.unlabelled.load_state_dict(own["unlabelled"])

    def _losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        if self._alpha == 0:
            return super()._losses(batch)
        rows = self._unlabelled_rows()
        labels = self._pseudo_labels(rows)
        X = torch.cat([batch.X, rows])
        self._set_modes(len(X))
        output = self._output(X if self.augment is None else self.augment(X)).float()
        loss = network_loss(self.module, output[: len(batch.X)], batch)
        return loss + self._alpha * functional.cross_entropy(output[len(batch.X) :], labels), loss

    def _unlabelled_rows(self) -> torch.Tensor:
        if self._next == 0:
            self.unlabelled.shuffle()
        rows = self.unlabelled.batch(self._next).X
        self._next = (self._next + 1) % self.unlabelled.n_batches
        return rows

    @torch.no_grad()
    def _pseudo_labels(self, rows: torch.Tensor) -> torch.Tensor:
        self.module.eval()
        return self._output(rows).argmax(dim=1)


def ramp(share: float) -> float:
    """alpha as a share of its full weight, when a `share` of the epochs is over."""
    return min(max((share - RAMP_BEGIN) / (RAMP_END - RAMP_BEGIN), 0.0), 1.0)
