"""Figures of networks at a few points of their training, which the training does not notice."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pretrain import Finetuning
from pretrain.batches import Batch, as_dense_tensor
from pretrain.network_figures import network_figures
from pretrain.training import Record

N_ROWS = 256
N_POINTS = 8  # besides the one before training


class Diagnosis:
    """A supervised training whose network is measured before it and after some of its epochs.

    A run around the run: an iterator of its records with a state that holds what was measured, so that a training
    that is stopped and resumed is measured as one that is not. See `pretrain.network_figures`.

    Parameters
    ----------
    run : Finetuning
    X : ndarray of shape (n_samples, n_features)
        Scaled training rows, of which the first 256 are used.
    y : ndarray
        Their encoded targets.

    Attributes
    ----------
    points : list of dict
        What was measured: `epoch` and the figures.
    seconds : float
        What the measuring took.
    """

    def __init__(self, run: Finetuning, X: np.ndarray, y: np.ndarray) -> None:
        self.run = run
        targets = torch.from_numpy(np.array(y[:N_ROWS])).to(run.device)
        self._batch = Batch(as_dense_tensor(X[:N_ROWS]).to(run.device), targets)
        self.points: list[dict[str, Any]] = []
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Record]:
        if not self.points:
            self._measure(0)
        for record in self.run:
            if "progress" not in record and record["epoch"] in measured_epochs(record["n_epochs"]):
                self._measure(record["epoch"])
            yield record

    def state_dict(self) -> dict[str, Any]:
        """What continues the run exactly, and what was measured."""
        return {"run": self.run.state_dict(), "points": list(self.points), "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; before the first record."""
        self.run.load_state_dict(state["run"])
        self.points, self.seconds = list(state["points"]), state["seconds"]

    def _measure(self, epoch: int) -> None:
        started = time.perf_counter()
        self.points.append({"epoch": epoch, **network_figures(self.run.network, self._batch)})
        self.seconds += time.perf_counter() - started


def measured_epochs(n_epochs: int) -> list[int]:
    """At most eight epochs from the first to the last, their distances growing."""
    return sorted({round(epoch) for epoch in np.geomspace(1, max(1, n_epochs), N_POINTS).tolist()})
