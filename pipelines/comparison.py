"""The comparison: every arm at every label budget for every seed, each cell trained and tested once.

A run folder holds `settings.json` (what was asked for), `cells/` (one JSON file a finished cell), `stacks/`
(pretrained once for each arm and seed, shared by the label budgets unless pretraining has labels), `networks/` (the
first seed's networks), and, at the end, `records.csv`, `records.json` and `report.html`. Cells and stacks that are
there are not made again, so the same command goes on where it was stopped.
"""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import checkpoints
from pipelines.arms import Arm
from pipelines.atomic import write_text
from pipelines.cells import Bench, Budget, Cell
from pipelines.filters import first_layer_weight
from pipelines.finetuning import Targets
from pipelines.preparation import PreparedData
from pipelines.progress import TrainingProgress
from pipelines.provenance import machine, versions
from pipelines.report import write_report
from pipelines.split import draw_labelled
from pretrain.device import resolve_device
from pretrain.exceptions import DataError, DivergenceError, SettingsError
from pretrain.image_networks import IMAGE_BASELINES

KIND = "pretrain-comparison"
FOLDERS = ("cells", "stacks", "networks")
FILES = ("settings.json", "records.csv", "records.json", "report.html")


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
        self.output, self.command = Path(output), command
        self.device = resolve_device(device)
        targets = Targets.of(prepared.train_labels(), prepared.task)
        self._bench = Bench(prepared, targets, self.sizes, self.output / "stacks", self.device, command)
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
        try:
            known = self._known_settings()
            if known and overwrite:
                self._clear()
                known = {}
            elif known:
                self._require_same_settings(known)
            for folder in FOLDERS:
                (self.output / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{self.output} cannot be a run folder: {error.strerror}.") from error
        asked = self.settings()
        # Arms of earlier commands stay known: their cells and stacks are still here.
        asked["arms"] = {**known.get("arms", {}), **asked["arms"]}
        write_text(self.output / "settings.json", json.dumps(asked, indent=1))

    def _known_settings(self) -> dict[str, Any]:
        path = self.output / "settings.json"
        if path.is_file():
            try:
                known = json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                known = None
            if isinstance(known, dict) and known.get("kind") == KIND:
                return known
        if self.output.exists() and (not self.output.is_dir() or any(self.output.iterdir())):
            raise SettingsError(f"{self.output} exists and is not the folder of a comparison; give another -o.")
        return {}

    def _clear(self) -> None:
        for folder in FOLDERS:
            shutil.rmtree(self.output / folder, ignore_errors=True)
        for name in FILES:
            (self.output / name).unlink(missing_ok=True)

    def _require_same_settings(self, known: dict[str, Any]) -> None:
        asked = json.loads(json.dumps(self.settings()))
        # More arms, budgets or seeds leave finished cells valid; anything else does not.
        arms = set(known["arms"]) & set(asked["arms"])
        changed = [name for name in ("hidden_layer_sizes", "scaling", "split") if known[name] != asked[name]]
        for name in sorted(arms):
            changed += [f"arm {name}: {what}" for what in _differences(known["arms"][name], asked["arms"][name])]
        if changed:
            raise SettingsError(
                f"{self.output} belongs to a comparison with other settings (different: {', '.join(changed)}). "
                "Give another -o, or --overwrite to begin anew."
            )

    def run(self, progress: TrainingProgress) -> dict[str, Any]:
        """Run the cells that are not finished; write records and report; return the results."""
        cells = [Cell(arm, budget, seed) for seed in self.seeds for arm in self.arms for budget in self.labels]
        records: list[dict[str, Any]] = []
        _warm_up(self.device)
        try:
            for number, cell in enumerate(cells, start=1):
                records.append(self._finished_cell(cell, progress, f"[{number}/{len(cells)}] {cell.name}"))
        except BaseException:
            if records:  # an interrupted comparison reports what it has
                self._write_results(records)
            raise
        return self._write_results(records)

    def _finished_cell(self, cell: Cell, progress: TrainingProgress, title: str) -> dict[str, Any]:
        path = self.output / "cells" / f"{cell.name}.json"
        if not path.is_file():
            try:
                record = self._run_cell(cell, progress, title)
            except DivergenceError as error:
                raise DivergenceError(f"{cell.name}: {error}") from error
            write_text(path, json.dumps(record))
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is damaged: {error}. Remove it to run this cell again.") from error

    def _run_cell(self, cell: Cell, progress: TrainingProgress, title: str) -> dict[str, Any]:
        rows = self._budget_rows[cell.labels, cell.seed]
        record, network, provenance = self._bench.run(cell, rows, self._stack_name(cell), progress, title)
        if cell.seed == self.seeds[0]:
            path = self.output / "networks" / f"{cell.name}.h5"
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

    def _write_results(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        targets = self._bench.targets
        results = {
            "name": str(self.output),
            "command": self.command,
            "data": {
                **self.prepared.describe(),
                "n_train": len(self.prepared.split.train),
                "n_test": self.prepared.split.n_test,
                "n_classes": None if targets.classes is None else targets.n_outputs,
                "task": targets.task,
            },
            "split": self.prepared.split.to_dict(),
            "settings": self.settings(),
            "machine": machine(self.device),
            "versions": versions(),
            "records": records,
        }
        write_text(self.output / "records.json", json.dumps(results))
        write_text(self.output / "records.csv", _as_csv(records))
        filters = {
            arm.name: first_layer_weight(checkpoints.load(path))
            for arm, path in self._networks()
            if arm.kind not in IMAGE_BASELINES
        }
        write_report(results, filters, self.output / "report.html")
        return results

    def _networks(self) -> list[tuple[Arm, Path]]:
        paths = [
            (arm, self.output / "networks" / f"{Cell(arm, self.labels[-1], self.seeds[0]).name}.h5")
            for arm in self.arms
        ]
        return [(arm, path) for arm, path in paths if path.is_file()]


def _warm_up(device: torch.device) -> None:
    # The first optimiser of a process imports hundreds of torch's modules, and a GPU makes its context: no cell
    # should be charged for that.
    parameter = torch.nn.Parameter(torch.zeros(1, device=device))
    parameter.grad = torch.zeros_like(parameter)
    torch.optim.Adam([parameter], fused=True).step()


def _differences(known: Any, asked: Any, place: str = "") -> list[str]:
    """Where two nested dicts differ, with both values."""
    if isinstance(known, dict) and isinstance(asked, dict):
        keys = [*known, *(key for key in asked if key not in known)]
        inner = [_differences(known.get(key), asked.get(key), f"{place}.{key}" if place else key) for key in keys]
        return [difference for found in inner for difference in found]
    return [] if known == asked else [f"{place} was {known!r}, now {asked!r}"]


def _as_csv(records: Sequence[dict[str, Any]]) -> str:
    names = [name for name in records[0] if name != "history"]
    lines: list[str] = []
    writer = csv.DictWriter(_Lines(lines), names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return "".join(lines)


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append
