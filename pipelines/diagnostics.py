"""Figures of networks at a few points of their training, which the training does not notice."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pretrain.batches import Batch, as_dense_tensor
from pretrain.network import Network
from pretrain.network_figures import network_figures
from pretrain.training import Record

N_ROWS = 256
N_POINTS = 8  # besides the one before training


class Diagnosis:
    """Measures a network before training and after some of its epochs, see `pretrain.network_figures`.

    Parameters
    ----------
    network : Network
    X : ndarray of shape (n_samples, n_features)
        Scaled training rows, of which the first 256 are used.
    y : ndarray
        Their encoded targets.
    device : torch.device
        Where the network is trained.
    """

    def __init__(self, network: Network, X: np.ndarray, y: np.ndarray, device: torch.device) -> None:
        self.network = network
        targets = torch.from_numpy(np.array(y[:N_ROWS])).to(device)
        self._batch = Batch(as_dense_tensor(X[:N_ROWS]).to(device), targets)
        self.points: list[dict[str, Any]] = []
        self.seconds = 0.0

    def follow(self, run: Iterator[Record]) -> Iterator[Record]:
        """Pass on the records of the supervised training, and measure in between; that takes `seconds` in all."""
        self._measure(0)
        for record in run:
            if "progress" not in record and record["epoch"] in measured_epochs(record["n_epochs"]):
                self._measure(record["epoch"])
            yield record

    def _measure(self, epoch: int) -> None:
        started = time.perf_counter()
        self.points.append({"epoch": epoch, **network_figures(self.network, self._batch)})
        self.seconds += time.perf_counter() - started


def measured_epochs(n_epochs: int) -> list[int]:
    """At most eight epochs from the first to the last, their distances growing."""
    return sorted({round(epoch) for epoch in np.geomspace(1, max(1, n_epochs), N_POINTS).tolist()})
