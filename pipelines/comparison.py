"""The comparison: every arm at every label budget for every seed, each cell trained and tested once.

Stacks are pretrained once for each arm and seed, and shared by the label budgets unless pretraining has labels.
Cells and stacks that are in the run folder (`pipelines.run_folder`) are not made again, so the same command goes on
where it was stopped.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import checkpoints
from pipelines.arms import Arm
from pipelines.cells import Bench, Budget, Cell
from pipelines.finetuning import Targets
from pipelines.preparation import PreparedData
from pipelines.progress import TrainingProgress
from pipelines.provenance import machine, versions
from pipelines.run_folder import KIND, RunFolder
from pipelines.split import draw_labelled
from pretrain.device import resolve_device
from pretrain.exceptions import DivergenceError


class Comparison:
    """Runs the cells of a comparison and keeps what they gave.

    Parameters
    ----------
    prepared : PreparedData
    arms : sequence of Arm
    hidden_layer_sizes : sequence of int
        The same for every arm.
    labels : sequence of int or "all"
        Budgets of labelled rows, drawn class-balanced by the seed; smaller ones are part of larger ones.
    seeds : sequence of int
    output : Path
        The run folder.
    device : str
    command : str
        For the report, and for the files of stacks and networks.
    """

    def __init__(
        self,
        prepared: PreparedData,
        *,
        arms: Sequence[Arm],
        hidden_layer_sizes: Sequence[int],
        labels: Sequence[Budget],
        seeds: Sequence[int],
        output: Path,
        device: str = "auto",
        command: str = "",
    ) -> None:
        self.prepared, self.arms, self.sizes = prepared, list(arms), list(hidden_layer_sizes)
        self.labels, self.seeds = list(labels), list(seeds)
        self.folder, self.command = RunFolder(output), command
        self.device = resolve_device(device)
        targets = Targets.of(prepared.train_labels(), prepared.task)
        self._bench = Bench(prepared, targets, self.sizes, self.folder, self.device, command)
        self._budget_rows = {
            (budget, seed): self._labelled_rows(budget, seed) for budget in self.labels for seed in self.seeds
        }

    def settings(self) -> dict[str, Any]:
        """What decides the numbers; a run folder belongs to one such dict."""
        return {
            "kind": KIND,
            "hidden_layer_sizes": self.sizes,
            "arms": {arm.name: arm.to_dict() for arm in self.arms},
            "labels": self.labels,
            "seeds": self.seeds,
            "scaling": self.prepared.scaling.kind,
            "split": self.prepared.split.to_dict(),
        }

    def open_folder(self, *, overwrite: bool) -> None:
        """Make the run folder, or go on in one that was made with the same settings.

        Raises
        ------
        SettingsError
            If an arm cannot be trained with its settings, or if the folder belongs to other settings, naming them,
            or is not a run folder at all.
        """
        self.prepared.raw_test_rows(), self.prepared.test_labels()  # what every cell needs at its end
        for arm in self.arms:
            self._bench.rehearse(arm)
        self.folder.open(self.settings(), overwrite=overwrite)

    def run(self, progress: TrainingProgress) -> dict[str, Any]:
        """Run the cells that are not finished; write records and report; return the results."""
        cells = [Cell(arm, budget, seed) for seed in self.seeds for arm in self.arms for budget in self.labels]
        self.folder.write_records(self._results())  # so that a comparison that is killed can be reported
        _warm_up(self.device)
        try:
            for number, cell in enumerate(cells, start=1):
                if self.folder.cell(cell.arm.name, cell.labels, cell.seed) is None:
                    self._finish_cell(cell, progress, f"[{number}/{len(cells)}] {cell.name}")
        finally:  # an interrupted comparison reports what it has
            results = self._results()
            self.folder.write_results(results)
        return results

    def _finish_cell(self, cell: Cell, progress: TrainingProgress, title: str) -> None:
        try:
            record = self._run_cell(cell, progress, title)
        except DivergenceError as error:
            raise DivergenceError(f"{cell.name}: {error}") from error
        self.folder.write_cell(record)

    def _run_cell(self, cell: Cell, progress: TrainingProgress, title: str) -> dict[str, Any]:
        rows = self._budget_rows[cell.labels, cell.seed]
        record, network, provenance = self._bench.run(cell, rows, self._stack_name(cell), progress, title)
        if cell.seed == self.seeds[0]:
            path = self.folder.network(cell.arm.name, cell.labels, cell.seed)
            checkpoints.save(network.cpu(), path, overwrite=True, history=record["history"], provenance=provenance)
        return record

    def _stack_name(self, cell: Cell) -> str:
        # Arms that pretrain alike share their stacks.
        name = next(other.name for other in self.arms if other.layer == cell.arm.layer)
        return f"{name}-{cell.labels}" if cell.arm.pretrained_with_labels else name

    def _labelled_rows(self, budget: Budget, seed: int) -> np.ndarray:
        rows = self.prepared.split.train
        if budget == "all":
            return rows
        return draw_labelled(self.prepared.labels(), rows, int(budget), seed=seed)

    def _results(self) -> dict[str, Any]:
        """What is there so far."""
        targets, settings = self._bench.targets, self.settings()
        return {
            "name": str(self.folder.path),
            "command": self.command,
            "data": {
                **self.prepared.describe(),
                "n_train": len(self.prepared.split.train),
                "n_test": self.prepared.split.n_test,
                "n_classes": None if targets.classes is None else targets.n_outputs,
                "task": targets.task,
            },
            "split": self.prepared.split.to_dict(),
            "settings": settings,
            "machine": machine(self.device),
            "versions": versions(),
            "records": self.folder.finished_cells(settings),
        }


def _warm_up(device: torch.device) -> None:
    # The first optimiser of a process imports hundreds of torch's modules, and a GPU makes its context: no cell
    # should be charged for that.
    parameter = torch.nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros_like(parameter)
    torch.optim.Adam([parameter], fused=True).step()
