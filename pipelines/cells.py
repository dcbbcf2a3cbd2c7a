"""One cell of a comparison: one arm, one label budget, one seed, trained and tested once."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from pipelines.arms import Arm
from pipelines.run_folder import cell_name
from pretrain import Stack
from pretrain.network import Network
from pretrain.training import Record

Budget = int | str  # a number of labels, or "all"


@dataclass(frozen=True)
class Cell:
    """What one cell trains."""

    arm: Arm
    labels: Budget
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell's files."""
        return cell_name(self.arm.name, self.labels, self.seed)


@dataclass(frozen=True, eq=False)
class Trained:
    """What the training of a cell gave.

    Attributes
    ----------
    network : Network
    history, pretrain_history : list of records
    stack : Stack or None
    pretraining : dict or None
        Provenance of the stack.
    seconds : float
        Of the supervised training alone.
    diagnostics : list of dict
        Points of `pipelines.diagnostics`, if they were asked for.
    """

    network: Network
    history: list[Record]
    seconds: float
    stack: Stack | None = None
    pretrain_history: list[Record] = dataclasses.field(default_factory=list)
    pretraining: dict[str, Any] | None = None
    diagnostics: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def pretrain_seconds(self) -> float:
        """Seconds of pretraining, 0 without."""
        return 0.0 if self.pretraining is None else self.pretraining["seconds"]
