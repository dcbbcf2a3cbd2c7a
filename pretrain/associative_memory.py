"""The top of a deep belief net: an RBM on codes, with softmax label units beside them, and its learning rule.

References
----------
.. [1] Hinton, G. E., Osindero, S. & Teh, Y.-W. (2006). A fast learning algorithm for deep belief nets. Neural
       Computation 18, 1527-1554.
"""

import dataclasses
from collections.abc import Hashable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from pretrain.batches import Batch
from pretrain.contrastive import ContrastiveDivergence
from pretrain.rbm import RBM
from pretrain.rbm_settings import RBMSettings


def memory_units(units: str, n_units: int, n_classes: int) -> str:
    """The visible units of a memory: those of the codes, then the labels: `bernoulli:500+softmax:10`."""
    if n_classes == 0:
        return units
    return f"{units if ':' in units else f'{units}:{n_units}'}+softmax:{n_classes}"


def make_memory(
    n_codes: int,
    n_hidden: int,
    settings: RBMSettings,
    *,
    units: str,
    n_classes: int,
    data_range: tuple[np.ndarray, np.ndarray],
    **start: Any,
) -> RBM:
    """An untrained memory: an RBM on codes of `units`, whose smallest and largest values are given, and on labels.

    `start` is what `RBM.from_settings` begins with: data_mean, generator.
    """
    low, high = data_range
    return RBM.from_settings(
        n_codes + n_classes,
        n_hidden,
        dataclasses.replace(settings, visible_units=memory_units(units, n_codes, n_classes)),
        data_range=(np.append(low, np.zeros(n_classes)), np.append(high, np.ones(n_classes))),
        **start,
    )


def label_scores(memory: RBM, codes: torch.Tensor) -> torch.Tensor:
    """Minus the free energy of each label beside each row of codes, but for what labels do not change.

    (batch, n_codes) -> (batch, n_classes), in nats: the labels are the columns of the memory that codes lack. The
    softmax of a row is p(label | codes), exactly [1]_.
    """
    n_codes = codes.shape[1]
    total_input = functional.linear(codes, memory.weight[:, :n_codes], memory.hidden_bias)
    columns = memory.weight[:, n_codes:].T
    scores = [memory.hidden_units.log_partition(total_input + column) for column in columns]
    return torch.stack(scores, dim=1) + memory.visible_bias[n_codes:]


class MemoryRule(ContrastiveDivergence):
    """Contrastive divergence of a memory on codes with labels.

    A row without a label (`y` of -1) is given one that is drawn from p(label | codes), anew every time it is seen. It
    trains everything but the weights and biases of the label units.

    Parameters
    ----------
    memory : RBM
        With `n_classes` softmax units as its last visible columns.
    settings : RBMSettings
    n_classes : int
        0 for a memory without labels.
    unlabelled : bool
        Whether there may be rows without a label.
    options : Any
        generator, dtype: see `ContrastiveDivergence`.
    """

    def __init__(
        self, memory: RBM, settings: Any, *, n_classes: int, unlabelled: bool = False, **options: Any
    ) -> None:
        super().__init__(memory, settings, **options)
        self.n_classes, self.unlabelled = n_classes, unlabelled
        self._n_codes = memory.n_visible - n_classes
        self._joined = self.conditionals.empty(0, memory.n_visible)
        self._unknown: torch.Tensor | None = None
        self._rows = 0

    @torch.no_grad()
    def fill_gradients(self, batch: Batch) -> torch.Tensor:
        """See the base class; `batch.X` are codes, (batch, n_codes), `batch.y` class indices, (batch,)."""
        self._rows = len(batch.X)
        if self.n_classes == 0:
            return super().fill_gradients(batch)
        return super().fill_gradients(Batch(self._join(batch), None, batch.weight))

    def step_key(self) -> Hashable | None:
        """None for a memory with labels, whose buffer of codes and labels a recorded step would not find again."""
        return None if self.n_classes else super().step_key()

    @property
    def chains(self) -> torch.Tensor:
        """(n_chains, n_codes): the codes that the chains of the last update ended in."""
        return self._buffers.v[self._rows :, : self._n_codes]

    def _join(self, batch: Batch) -> torch.Tensor:
        if len(self._joined) != len(batch.X):
            self._joined = self.conditionals.empty(len(batch.X), self.module.n_visible)
        codes, labels = self._joined[:, : self._n_codes], self._joined[:, self._n_codes :]
        codes.copy_(batch.X)
        y = batch.y
        assert y is not None
        if self.unlabelled:
            self._unknown = y < 0
            y = torch.where(self._unknown, 0, y)
            scores = label_scores(self.module, codes[self._unknown].float())
            if len(scores):
                drawn = torch.multinomial(torch.softmax(scores, dim=1), 1, generator=self.generator)
                y[self._unknown] = drawn[:, 0]
        labels.zero_().scatter_(1, y[:, None], 1.0)
        return self._joined

    def _write_gradients(self, rows: int, weight: torch.Tensor | None) -> None:
        if self._unknown is not None:  # states of 0 on both sides: no gradient
            known, v = ~self._unknown[:, None], self._buffers.v
            for part in (v[:rows], v[rows:], self._buffers.difference):
                part[:, self._n_codes :].mul_(known)
        super()._write_gradients(rows, weight)
