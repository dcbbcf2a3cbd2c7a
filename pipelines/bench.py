"""What trains and tests the cells of a comparison."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import checkpoints
from pipelines.arms import Arm
from pipelines.cell_states import CellStates
from pipelines.cells import Cell, Pretrained, Trained
from pipelines.counting import Cost, count_cost, one_batch
from pipelines.diagnostics import N_ROWS, Diagnosis
from pipelines.evaluation import confusion_counts, evaluate
from pipelines.finetuning import INTO, Targets
from pipelines.preparation import PreparedData
from pipelines.pretraining import greedy_run, pretrain_stack
from pipelines.progress import PROGRESS_SECONDS, TrainingProgress
from pipelines.provenance import origin
from pipelines.resuming import Resuming, state_path
from pipelines.run_folder import RunFolder
from pipelines.stopping import StopSignals
from pretrain import Finetuning, Stack, unroll
from pretrain.baselines import scratch_network
from pretrain.budget import FINETUNING_EPOCHS, PRETRAINING_EPOCHS
from pretrain.network import Network
from pretrain.pretrained_networks import pretrained_network
from pretrain.random_streams import RandomStreams
from pretrain.rehearsal import rehearse_finetuning
from pretrain.settings import to_dict
from pretrain.training import Record


@dataclass(frozen=True, eq=False)
class Bench:
    """What all cells of a comparison share.

    Parameters
    ----------
    prepared : PreparedData
    targets : Targets
    hidden_layer_sizes : sequence of int
    folder : RunFolder
        Keeps the pretrained stacks.
    device : torch.device
    command : str
        For the files of stacks and networks.
    every, signals
        See `CellStates`.
    """

    prepared: PreparedData
    targets: Targets
    hidden_layer_sizes: Sequence[int]
    folder: RunFolder
    device: torch.device
    command: str = ""
    every: float = 0.0
    signals: StopSignals = field(default_factory=StopSignals)

    @property
    def states(self) -> CellStates:
        """States of stacks, trials and cells."""
        return CellStates(self.prepared, self.hidden_layer_sizes, self.device, self.every, self.signals)

    def run(
        self,
        cell: Cell,
        rows: np.ndarray,
        pretrained: Pretrained | None,
        resuming: Resuming,
        progress: TrainingProgress,
        title: str,
    ) -> tuple[dict[str, Any], Network, dict[str, Any]]:
        """Train the cell's network on the labelled `rows` and test it: the record, the network and its provenance.

        Pretraining is done once for several cells; each of them is charged for all of it.
        """
        trained = self.train(cell, rows, pretrained, resuming, progress, title, diagnose=True)
        network = trained.network
        history: list[Record] = []
        pretrain_seconds, pretrain_cost = 0.0, Cost()
        if pretrained is not None:
            history, pretrain_seconds = pretrained.history, pretrained.seconds
            pretrain_cost = self._pretraining_cost(cell, rows, history)
        stack = None if pretrained is None else pretrained.stack
        cost = self._supervised_cost(cell, stack, rows, trained.history)
        X_test, y_test = self.prepared.raw_test_rows(), self.prepared.test_labels()
        tested = evaluate(network, X_test, y_test)
        record = {
            "arm": cell.arm.name,
            "labels": cell.labels,
            "n_labels": len(rows),
            "seed": cell.seed,
            "test_error": tested["test_error"],
            "n_test": tested["n_test"],
            "pretrain_seconds": pretrain_seconds,
            "finetune_seconds": trained.seconds,
            "seconds": pretrain_seconds + trained.seconds,
            "n_parameters": network.n_parameters,
            **{f"pretrain_{name}": count for name, count in vars(pretrain_cost).items()},
            **{name: count + getattr(pretrain_cost, name) for name, count in vars(cost).items()},
            "device": str(self.device),
            "confusion": confusion_counts(network, X_test, y_test),
            "diagnostics": trained.diagnostics,
            "history": [*history, *trained.history],
        }
        settings = {
            **to_dict(cell.arm.finetune),
            "arm": cell.arm.name,
            "labels": cell.labels,
            "hidden_layer_sizes": list(self.hidden_layer_sizes),
            "dropout": network.architecture.dropout,
            "input_dropout": network.architecture.input_dropout,
        }
        provenance = self._provenance(cell, trained.seconds, settings)
        return record, network, {**provenance, "pretraining": pretrained and pretrained.provenance}

    def train(
        self,
        cell: Cell,
        rows: np.ndarray,
        pretrained: Pretrained | None,
        resuming: Resuming,
        progress: TrainingProgress,
        title: str,
        *,
        diagnose: bool = False,
    ) -> Trained:
        """Train the cell's network on the labelled `rows`; with `diagnose` figures of it are taken now and then."""
        network = self._initial_network(cell, None if pretrained is None else pretrained.stack)
        run = self._supervised(cell, network, rows)
        diagnosis = Diagnosis(run, *self._rows_and_targets(rows[:N_ROWS]))
        records = resuming.records("train", diagnosis if diagnose else run)
        history = list(progress.follow(records, title, transient=True))
        return Trained(network, history, resuming.seconds - diagnosis.seconds, diagnosis.points)

    def validation_error(self, network: Network) -> float:
        """The error of a trained network on the validation rows, in the unit of the test error."""
        split, X = self.prepared.split, self.prepared.dataset.X
        return evaluate(network, X[split.validation], self.prepared.labels()[split.validation])["test_error"]

    def rehearse(self, arm: Arm) -> None:
        """SettingsError where the arm cannot be trained, before anything is."""
        stack = None
        if arm.layer is not None:
            run = greedy_run(self.prepared, self.hidden_layer_sizes, arm.layer, seed=0, device=self.device)
            stack = run.rehearse()
        network = self._initial_network(Cell(arm, "all", 0), stack)
        rehearse_finetuning(network, arm.finetune, image_shape=self.prepared.dataset.image_shape)

    def _pretraining_cost(self, cell: Cell, rows: np.ndarray, history: list[Record]) -> Cost:
        assert cell.arm.layer is not None
        rows = rows if cell.arm.pretrained_with_labels else self.prepared.split.train
        short, n = one_batch(cell.arm.layer, len(rows), fewest_epochs=PRETRAINING_EPOCHS)
        run = greedy_run(self.prepared, self.hidden_layer_sizes, short, rows=rows[:n], seed=0, device="cpu")
        return count_cost(run, n, history, len(rows))

    def _supervised_cost(self, cell: Cell, stack: Stack | None, rows: np.ndarray, history: list[Record]) -> Cost:
        short, n = one_batch(cell.arm.finetune, len(rows), fewest_epochs=FINETUNING_EPOCHS)
        arm = dataclasses.replace(cell.arm, finetune=short)
        # The whole of the labelled rows says which rows are unlabelled; a batch of them is trained on.
        run = self._supervised(Cell(arm, cell.labels, 0), self._initial_network(cell, stack), rows, rows[:n], "cpu")
        return count_cost(run, n, history, len(rows))

    def _supervised(
        self,
        cell: Cell,
        network: Network,
        rows: np.ndarray,
        trained: np.ndarray | None = None,
        device: str | torch.device | None = None,
    ) -> Finetuning:
        trained, validation = (rows, self._validation()) if trained is None else (trained, None)
        unlabelled = None
        if cell.arm.finetune.pseudo_labels > 0:
            others = np.setdiff1d(self.prepared.split.train, rows)
            unlabelled = self.prepared.scaling.apply(self.prepared.dataset.X[others])
        return Finetuning(
            network,
            *self._rows_and_targets(trained),
            cell.arm.finetune,
            seed=cell.seed,
            device=self.device if device is None else device,
            validation=validation,
            unlabelled=unlabelled,
            image_shape=self.prepared.dataset.image_shape,
            stage="finetune" if cell.arm.pretrained else "train",
            progress_seconds=PROGRESS_SECONDS,
        )

    def pretrain(
        self, cell: Cell, rows: np.ndarray, stack_name: str, progress: TrainingProgress, title: str
    ) -> Pretrained | None:
        """The cell's stack, None for an arm without; it is pretrained where its file is not there.

        That is done once for each `stack_name` and seed, on all training rows or, with labels, on `rows`.
        """
        if not cell.arm.pretrained:
            return None
        path = self.folder.stack(stack_name, cell.seed)
        if not path.is_file():
            with checkpoints.output_lock(path, wait=True):  # another job may be at it
                if not path.is_file():
                    self._make_stack(path, cell, rows, progress, title)
        state_path(path).unlink(missing_ok=True)  # of a process that was killed right after writing the stack
        described = checkpoints.describe(path)
        history = checkpoints.read_history(path)
        return Pretrained(checkpoints.load(path), history, described["provenance"], described["digest"])

    def _make_stack(self, path: Path, cell: Cell, rows: np.ndarray, progress: TrainingProgress, title: str) -> None:
        assert cell.arm.layer is not None
        labelled = rows if cell.arm.pretrained_with_labels else None
        sizes = list(self.hidden_layer_sizes)
        settings = {
            "hidden_layer_sizes": sizes,
            "layers": [to_dict(cell.arm.layer)] * len(sizes),
            "labels": None if labelled is None else cell.labels,
        }
        with self.states.of_stack(path, cell, labelled) as resuming:
            stack, history = pretrain_stack(
                self.prepared,
                self.hidden_layer_sizes,
                cell.arm.layer,
                seed=cell.seed,
                rows=labelled,
                device=self.device,
                progress=progress,
                resuming=resuming,
                title=title,
                transient=True,
            )
            provenance = self._provenance(cell, resuming.seconds, settings)
            checkpoints.save(stack.cpu(), path, history=history, provenance=provenance)

    def _rows_and_targets(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.prepared.scaling.apply(self.prepared.dataset.X[rows]), self.targets.encode(
            self.prepared.labels()[rows]
        )

    def _validation(self) -> tuple[np.ndarray, np.ndarray] | None:
        rows = self.prepared.split.validation
        return self._rows_and_targets(rows) if len(rows) else None

    def _provenance(self, cell: Cell, seconds: float, settings: dict[str, Any]) -> dict[str, Any]:
        return {
            **origin(command=self.command, seed=cell.seed, seconds=seconds, device=self.device),
            "data": self.prepared.describe(),
            "split": self.prepared.split.to_dict(),
            "settings": settings,
        }

    def _initial_network(self, cell: Cell, stack: Stack | None) -> Network:
        streams = RandomStreams(cell.seed)
        if stack is not None and cell.arm.kind is None:
            network = unroll(
                stack,
                INTO[self.targets.task],
                n_outputs=self.targets.n_outputs,
                dropout=cell.arm.dropout,
                input_dropout=cell.arm.input_dropout,
                generator=streams.generator("head"),
            )
            return self.targets.attach(network)
        assert cell.arm.kind is not None
        if stack is not None:
            network = pretrained_network(
                cell.arm.kind,
                stack,
                self.targets.n_outputs,
                task=self.targets.task,
                generator=streams.generator("init"),
            )
            return self.targets.attach(network)
        network = scratch_network(
            cell.arm.kind,
            self.prepared.dataset.X.shape[1],
            self.hidden_layer_sizes,
            self.targets.n_outputs,
            task=self.targets.task,
            image_shape=self.prepared.dataset.image_shape,
            generator=streams.generator("init"),
        )
        network.scaling = self.prepared.scaling
        return self.targets.attach(network)
