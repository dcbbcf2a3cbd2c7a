"""The searches for the settings of a comparison's arms; each trial is kept in the run folder when it is finished."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.arms import Arm
from pipelines.bench import Bench
from pipelines.cells import Budget, Cell, stack_name
from pipelines.progress import TrainingProgress
from pipelines.resuming import state_path
from pipelines.search_spaces import with_settings
from pipelines.tuning import Trial, tune
from pretrain.exceptions import DivergenceError


@dataclass(frozen=True)
class Search:
    """The search for the settings of an arm at a budget."""

    arm: Arm
    labels: Budget

    @property
    def name(self) -> str:
        """For its progress."""
        return f"{self.arm.name}-{self.labels}"

    def cell(self, settings: Mapping[str, Any], seed: int) -> Cell:
        """What a trial of some settings trains."""
        return Cell(with_settings(self.arm, settings), self.labels, seed)


@dataclass(frozen=True, eq=False)
class Searching:
    """Runs searches.

    Parameters
    ----------
    bench : Bench
    arms : sequence of Arm
        All of the comparison, which may share stacks.
    rows : mapping
        Labelled rows of each budget.
    seed, n_trials : int
        Of each search.
    """

    bench: Bench
    arms: Sequence[Arm]
    rows: Mapping[Budget, np.ndarray]
    seed: int
    n_trials: int

    def run(self, search: Search, progress: TrainingProgress, title: str) -> None:
        """Run the trials of a search that are not finished."""
        folder, arm, budget = self.bench.folder, search.arm, search.labels
        trials = folder.trials(arm.name, budget)
        for number in range(1, len(trials) + 1):  # of a process that was killed right after writing the trial
            state_path(folder.trial_path(arm.name, budget, number)).unlink(missing_ok=True)

        def try_out(settings: dict[str, Any]) -> Trial:
            of_trial = f"{title} trial {len(trials) + 1}/{self.n_trials}"
            self._try_out(search, settings, trials, progress, of_trial)
            return trials[-1]

        tune(arm, self.n_trials, try_out, trials, seed=self.seed)

    def _try_out(
        self,
        search: Search,
        settings: dict[str, Any],
        trials: list[Trial],
        progress: TrainingProgress,
        title: str,
    ) -> None:
        """Train and judge with some settings, and keep that with the `trials` before."""
        started = time.perf_counter()

        def keep(error: float | None, seconds: float) -> None:
            trials.append({"settings": settings, "validation_error": error, "seconds": seconds})
            self.bench.folder.write_trials(search.arm.name, search.labels, trials)

        cell, rows = search.cell(settings, self.seed), self.rows[search.labels]
        name = stack_name(cell, self.arms)
        try:
            pretrained = self.bench.pretrain(cell, rows, name, progress, title)
        except DivergenceError:  # a rate that is too high is a bad trial, and no reason to end the search
            keep(None, time.perf_counter() - started)
            return
        earlier = (search.cell(trial["settings"], self.seed) for trial in trials)
        # A stack is charged to the first of the trials that share it, wherever it was made.
        shared = any(stack_name(other, self.arms) == name for other in earlier)
        charged = 0.0 if pretrained is None or shared else pretrained.seconds
        path = self.bench.folder.trial_path(search.arm.name, search.labels, len(trials) + 1)
        with self.bench.states.of_cell(path, cell, rows, pretrained) as resuming:
            error: float | None = None
            with contextlib.suppress(DivergenceError):
                trained = self.bench.train(cell, rows, pretrained, resuming, progress, title)
                error = self.bench.validation_error(trained.network)
            keep(error, charged + resuming.seconds)
