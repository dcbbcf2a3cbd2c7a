"""Greedy pretraining for an estimator: once for the same rows and settings, where there is a memory."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_memory

from pretrain.device import resolve_device
from pretrain.greedy import GreedyPretraining
from pretrain.scaling import Scaling
from pretrain.settings import LayerSettings
from pretrain.stack import Stack
from pretrain.training import Record


class Pretraining(NamedTuple):
    """Everything that decides what pretraining yields: the arguments of `GreedyPretraining`, `X` scaled already."""

    X: Any
    sizes: Sequence[int]
    settings: LayerSettings | Sequence[LayerSettings]
    seed: int
    scaling: Scaling
    device: Any = "auto"
    y: np.ndarray | None = None
    sample_weight: np.ndarray | None = None

    def run(self) -> GreedyPretraining:
        """The run, not begun; it refuses what cannot be trained."""
        return GreedyPretraining(
            self.X,
            self.sizes,
            self.settings,
            seed=self.seed,
            y=self.y,
            sample_weight=self.sample_weight,
            device=self.device,
            scaling=self.scaling,
        )


def pretrained(
    pretraining: Pretraining,
    *,
    memory: Any = None,
    note: Callable[[Record], None],
    rehearse: Callable[[Stack], Any] | None = None,
) -> tuple[Stack, list[Record]]:
    """The stack and its records, trained now or found in the memory.

    Parameters
    ----------
    pretraining : Pretraining
    memory : None, str or object with the interface of joblib.Memory
        As in scikit-learn's Pipeline: a folder's name, where every result is kept by a hash of the rows and settings.
        Several processes may use it at the same time.
    note : callable
        Takes each record as it comes; none comes where the result was found.
    rehearse : callable or None
        Is given the untrained stack first, to refuse what is to be made of it.

    Raises
    ------
    ValueError
        If `memory` is none.
    """
    run = pretraining.run()
    if rehearse is not None:
        rehearse(run.rehearse())
    if memory is None:
        return _train(run, note)
    own = pretraining._replace(sizes=tuple(pretraining.sizes), device=str(resolve_device(pretraining.device)))
    return check_memory(memory).cache(_train_for_memory, ignore=["note"])(*own, note=note)


def _train_for_memory(
    X: Any,
    sizes: Sequence[int],
    settings: Any,
    seed: int,
    scaling: Scaling,
    device: str,
    y: np.ndarray | None,
    sample_weight: np.ndarray | None,
    note: Callable[[Record], None],
) -> tuple[Stack, list[Record]]:
    # Plain arguments, by which the memory knows the result again; what is kept can be read without a GPU.
    stack, records = _train(Pretraining(X, sizes, settings, seed, scaling, device, y, sample_weight).run(), note)
    return stack.cpu(), records


def _train(run: GreedyPretraining, note: Callable[[Record], None]) -> tuple[Stack, list[Record]]:
    records = []
    for record in run:
        note(record)
        records.append(record)
    return run.stack, records
