"""The comparison: every arm at every label budget for every seed, each cell trained and tested once.

Stacks are pretrained once for each arm and seed, and shared by the label budgets unless pretraining has labels.
Cells and stacks that are in the run folder (`pipelines.run_folder`) are not made again, and those that were begun
have their states there (`pipelines.cell_states`), so the same command goes on where it was stopped.
"""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import checkpoints
from pipelines.arms import Arm
from pipelines.bench import Bench
from pipelines.cells import Budget, Cell, stack_name
from pipelines.finetuning import Targets
from pipelines.jobs import Task, run_jobs
from pipelines.preparation import PreparedData
from pipelines.progress import TrainingProgress
from pipelines.provenance import machine, versions
from pipelines.resuming import CHECKPOINT_SECONDS, state_path
from pipelines.run_folder import KIND, RunFolder
from pipelines.search_spaces import describe_space, with_settings
from pipelines.searches import Search, Searching
from pipelines.split import draw_labelled
from pipelines.stopping import StopSignals
from pipelines.tuning import best_trial, sampler_name
from pretrain.device import resolve_device
from pretrain.exceptions import DivergenceError, SettingsError


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
    n_trials : int
        Trials of the settings of each arm at each budget, with the first seed, see `pipelines.tuning`; they are
        judged by the validation rows of the split. 0: every arm keeps its own settings.
    jobs : int
        Cells at a time, see `pipelines.jobs`.
    checkpoint_every : float
        Seconds between two states of what is being trained; 0: they are written only when the comparison is stopped.

    Raises
    ------
    SettingsError
        For trials without validation rows.
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
        n_trials: int = 0,
        jobs: int = 1,
        checkpoint_every: float = CHECKPOINT_SECONDS,
    ) -> None:
        if n_trials > 0 and len(prepared.split.validation) == 0:
            raise SettingsError("Tuning needs validation rows: give a --validation-fraction above 0.")
        self.prepared, self.arms, self.sizes = prepared, list(arms), list(hidden_layer_sizes)
        self.labels, self.seeds = list(labels), list(seeds)
        self.folder, self.command = RunFolder(output), command
        self.device = resolve_device(device)
        self.n_trials, self.jobs = n_trials, jobs
        targets = Targets.of(prepared.train_labels(), prepared.task)
        self._signals = StopSignals()
        self._bench = Bench(
            prepared, targets, self.sizes, self.folder, self.device, command, checkpoint_every, self._signals
        )
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
            "data": {name: self.prepared.describe()[name] for name in ("image_shape", "value_range")},
            "split": self.prepared.split.to_dict(),
            **({"tuning": self._tuning()} if self.n_trials else {}),
        }

    def _tuning(self) -> dict[str, Any]:
        return {"trials": self.n_trials, "seed": self.seeds[0], "sampler": sampler_name()}

    def open_folder(self, *, overwrite: bool, resume: bool = False) -> None:
        """Make the run folder, or go on in one that was made with the same settings.

        Raises
        ------
        SettingsError
            If an arm cannot be trained with its settings, if the folder belongs to other settings, naming them, or is
            not a run folder at all, or if with `resume` there is none.
        """
        if resume:
            self.folder.require_begun()
        self.prepared.raw_test_rows(), self.prepared.test_labels()  # what every cell needs at its end
        for arm in self.arms:
            self._bench.rehearse(arm)
        self.folder.open(self.settings(), overwrite=overwrite)

    def run(self, progress: TrainingProgress) -> dict[str, Any]:
        """Run the cells that are not finished; write records and report; return the results.

        Raises
        ------
        Stopped
            After Ctrl-C or SIGTERM; the same comparison goes on from there.
        """
        self.folder.write_records(self._results())  # so that a comparison that is killed can be reported
        _warm_up(self.device)
        try:
            with self._signals.watched():
                self._run(progress)
        finally:  # an interrupted comparison reports what it has
            results = self._results()
            self.folder.write_results(results)
        return results

    def _run(self, progress: TrainingProgress) -> None:
        if self.n_trials > 0:
            seed = self.seeds[0]
            rows = {budget: self._budget_rows[budget, seed] for budget in self.labels}
            searching = Searching(self._bench, self.arms, rows, seed, self.n_trials)
            searches = [Search(arm, budget) for arm in self.arms for budget in self.labels]
            self._each(searching.run, searches, progress, "searches")
        cells = [self._cell(arm, budget, seed) for seed in self.seeds for arm in self.arms for budget in self.labels]
        left = [cell for cell in cells if not self._is_finished(cell)]
        if self.jobs > 1:  # two cells that need one stack must not both pretrain it
            owners = {(stack_name(cell, self.arms), cell.seed): cell for cell in left if cell.arm.pretrained}
            self._each(self._pretrain, list(owners.values()), progress, "stacks")
        self._each(self._finish_cell, left, progress, "cells")

    def _each(self, task: Task, items: Sequence[Any], progress: TrainingProgress, what: str) -> None:
        self._signals.check()
        run_jobs(task, items, jobs=self.jobs, progress=progress, what=what)
        self._signals.check()

    def _is_finished(self, cell: Cell) -> bool:
        if self.folder.cell(cell.arm.name, cell.labels, cell.seed) is None:
            return False
        # There is one where a process was killed right after writing the record.
        state_path(self.folder.cell_path(cell.arm.name, cell.labels, cell.seed)).unlink(missing_ok=True)
        return True

    def _cell(self, arm: Arm, budget: Budget, seed: int) -> Cell:
        """A cell, with the settings that were found for its arm if any were."""
        if self.n_trials > 0:
            arm = with_settings(arm, best_trial(self.folder.trials(arm.name, budget))["settings"])
        return Cell(arm, budget, seed)

    def _pretrain(self, cell: Cell, progress: TrainingProgress, title: str) -> None:
        rows = self._budget_rows[cell.labels, cell.seed]
        with _named(cell):
            self._bench.pretrain(cell, rows, stack_name(cell, self.arms), progress, title)

    def _finish_cell(self, cell: Cell, progress: TrainingProgress, title: str) -> None:
        rows, bench = self._budget_rows[cell.labels, cell.seed], self._bench
        path = self.folder.cell_path(cell.arm.name, cell.labels, cell.seed)
        with _named(cell):
            pretrained = bench.pretrain(cell, rows, stack_name(cell, self.arms), progress, title)
            with bench.states.of_cell(path, cell, rows, pretrained) as resuming:
                record, network, provenance = bench.run(cell, rows, pretrained, resuming, progress, title)
                if cell.seed == self.seeds[0]:
                    file, history = self.folder.network(cell.arm.name, cell.labels, cell.seed), record["history"]
                    checkpoints.save(network.cpu(), file, overwrite=True, history=history, provenance=provenance)
                self.folder.write_cell(record)

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
                "classes": None if targets.classes is None else [str(name) for name in targets.classes.tolist()],
                "task": targets.task,
            },
            "split": self.prepared.split.to_dict(),
            "settings": settings,
            "machine": machine(self.device),
            "versions": versions(),
            "n_jobs": self.jobs,
            "records": self.folder.finished_cells(settings),
            "searches": self._searches(),
        }

    def _searches(self) -> list[dict[str, Any]]:
        """What the finished searches found."""
        found = []
        for arm, budget in itertools.product(self.arms, self.labels):
            trials = self.folder.trials(arm.name, budget)
            if self.n_trials > 0 and len(trials) == self.n_trials:
                found.append(
                    {"arm": arm.name, "labels": budget, "space": describe_space(arm), "trials": trials},
                )
        return found


@contextlib.contextmanager
def _named(cell: Cell) -> Iterator[None]:
    """Says in which cell training diverged."""
    try:
        yield
    except DivergenceError as error:
        raise DivergenceError(f"{cell.name}: {error}") from error


def _warm_up(device: torch.device) -> None:
    # The first optimiser of a process imports hundreds of torch's modules, and a GPU makes its context: no cell
    # should be charged for that.
    parameter = torch.nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros_like(parameter)
    torch.optim.Adam([parameter], fused=True).step()
