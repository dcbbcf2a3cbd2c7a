"""States of what a comparison has begun: its stacks, trials and cells, so that it goes on inside each of them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipelines.cells import Cell, Pretrained
from pipelines.preparation import PreparedData
from pipelines.resuming import Resuming, state_path
from pipelines.split import digest_rows
from pipelines.stopping import StopSignals
from pretrain.exceptions import DivergenceError
from pretrain.settings import to_dict

INSTEAD = (
    "remove that file to begin what it is the state of anew, or give --overwrite or another -o to begin with all anew"
)


@dataclass(frozen=True, eq=False)
class CellStates:
    """Makes the `Resuming` of each stack, trial and cell; its state is beside what it makes.

    Parameters
    ----------
    prepared : PreparedData
    hidden_layer_sizes : sequence of int
    device : torch.device
    every : float
        Seconds from one writing of a state to the next; 0: it is written only when the comparison is stopped.
    signals : StopSignals
        Those that stop the comparison.
    """

    prepared: PreparedData
    hidden_layer_sizes: Sequence[int]
    device: torch.device
    every: float = 0.0
    signals: StopSignals = field(default_factory=StopSignals)

    def of_stack(self, output: Path, cell: Cell, rows: np.ndarray | None) -> AbstractContextManager[Resuming]:
        """The pretraining of a cell's stack, on all training rows or with the labels of `rows`."""
        assert cell.arm.layer is not None
        return self._of(output, cell.seed, layer=to_dict(cell.arm.layer), rows=_digest(rows))

    def of_cell(
        self, output: Path, cell: Cell, rows: np.ndarray, pretrained: Pretrained | None
    ) -> AbstractContextManager[Resuming]:
        """The supervised training of a cell, or of a trial, on the labelled `rows`."""
        stack = None if pretrained is None else pretrained.digest
        own = {"arm": cell.arm.to_dict(), "labels": cell.labels, "rows": _digest(rows), "stack": stack}
        return self._of(output, cell.seed, **own)

    @contextmanager
    def _of(self, output: Path, seed: int, **own: Any) -> Iterator[Resuming]:
        """When the block ends, `output` has been written, and the state goes."""
        resuming = Resuming(
            output,
            every=self.every,
            resume=state_path(output).exists(),
            overwrite=False,
            signals=self.signals,
            instead=INSTEAD,
        )
        identity = {
            "data": self.prepared.describe(),
            "split": self.prepared.split.to_dict(),
            "scaling": self.prepared.scaling.kind,
            "hidden_layer_sizes": list(self.hidden_layer_sizes),
            "seed": seed,
        }
        with resuming.begin("compare", self.device, **identity, **own):
            try:
                yield resuming
            except DivergenceError:  # it would diverge again
                resuming.finish()
                raise
        resuming.finish()
        self.signals.check()


def _digest(rows: np.ndarray | None) -> str | None:
    return None if rows is None else digest_rows(rows)
