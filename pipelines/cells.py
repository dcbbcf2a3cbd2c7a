"""One cell of a comparison: one arm, one label budget, one seed, trained and tested once."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.arms import Arm
from pipelines.run_folder import cell_name
from pretrain import Stack
from pretrain.network import Network
from pretrain.settings import to_dict
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


def stack_name(cell: Cell, arms: Sequence[Arm]) -> str:
    """Name of the stack that a cell of a comparison of `arms` needs: what pretrains alike shares its stacks."""
    name = next((other.name for other in arms if other.layer == cell.arm.layer), None)
    if name is None:
        content = json.dumps(to_dict(cell.arm.layer), sort_keys=True)
        name = f"tuned-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return f"{name}-{cell.labels}" if cell.arm.pretrained_with_labels else name


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A cell's stack as its file holds it.

    Attributes
    ----------
    stack : Stack
    history : list of records
    provenance : dict
    digest : str
        Of the file.
    """

    stack: Stack
    history: list[Record]
    provenance: dict[str, Any]
    digest: str

    @property
    def seconds(self) -> float:
        """What the pretraining took."""
        return float(self.provenance["seconds"])


@dataclass(frozen=True, eq=False)
class Trained:
    """What the supervised training of a cell gave.

    Attributes
    ----------
    network : Network
    history : list of records
    seconds : float
    diagnostics : list of dict
        Points of `pipelines.diagnostics`, if they were asked for.
    """

    network: Network
    history: list[Record]
    seconds: float
    diagnostics: list[dict[str, Any]] = dataclasses.field(default_factory=list)
