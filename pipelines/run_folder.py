"""The folder of a comparison: what is in it, and to which settings it belongs."""

import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import checkpoints
from pipelines.atomic import write_text
from pipelines.filters import first_layer_weight, has_filters
from pipelines.record_table import as_csv
from pipelines.report import PAGE, REQUIRED, TEXT, write_report
from pretrain.exceptions import DataError, SettingsError

KIND = "pretrain-comparison"
FOLDERS = ("trials", "cells", "stacks", "networks")
FILES = ("settings.json", "records.csv", "records.json", PAGE, TEXT)
PLAN = ("arms", "labels", "seeds")
CELL = ("arm", "labels", "seed")  # what tells a cell from the others
NUMBERS = ("test_error", "n_labels", "n_parameters", "seconds", "pretrain_seconds")  # what every summary reads of it
DECISIVE = (
    "hidden_layer_sizes",
    "scaling",
    "data",
    "split",
    "tuning",
)  # what no cell survives a change of, besides its arm


def cell_name(arm: str, labels: int | str, seed: int) -> str:
    """Name of a cell's files."""
    return f"{arm}-{labels}-seed{seed}"


class RunFolder:
    """A folder with what a comparison was asked for and what it gave.

    It holds `settings.json`, `trials/` (of settings, a file a search), `stacks/`, `cells/` (a JSON file a finished
    cell), `networks/` (the first seed's) and the results: `records.json`, `records.csv`, `report.html`, `report.md`.

    Parameters
    ----------
    path : str or Path
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def open(self, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Make the folder, or go on in one that was made with the same settings.

        Raises
        ------
        SettingsError
            If the folder belongs to other settings, naming them, or is not a run folder at all.
        """
        asked = json.loads(json.dumps(settings))
        try:
            known = self._known_settings()
            if known and overwrite:
                self._clear()
                known = {}
            elif known:
                self._require_same_settings(known, asked)
            for folder in FOLDERS:
                (self.path / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be a run folder: {error.strerror}.") from error
        # Arms of earlier commands stay known: their cells and stacks are still here.
        asked["arms"] = {**known.get("arms", {}), **asked["arms"]}
        write_text(self.path / "settings.json", json.dumps(asked, indent=1))

    def require_begun(self) -> None:
        """SettingsError if there is no comparison to go on with."""
        if not self._known_settings():
            raise SettingsError(
                f"There is nothing to resume: there is no comparison in {self.path}. Leave --resume out."
            )

    def stack(self, name: str, seed: int) -> Path:
        """File of a pretrained stack."""
        return self.path / "stacks" / f"{name}-seed{seed}.h5"

    def network(self, arm: str, labels: int | str, seed: int) -> Path:
        """File of a trained network."""
        return self.path / "networks" / f"{cell_name(arm, labels, seed)}.h5"

    def cell_path(self, arm: str, labels: int | str, seed: int) -> Path:
        """File of the record of a finished cell."""
        return self.path / "cells" / f"{cell_name(arm, labels, seed)}.json"

    def trial_path(self, arm: str, labels: int | str, number: int) -> Path:
        """What the state of an unfinished trial is named for; `number` counts from 1."""
        return self.path / "trials" / f"{arm}-{labels}-trial{number}"

    def cell(self, arm: str, labels: int | str, seed: int) -> dict[str, Any] | None:
        """The record of a finished cell, None where it is not finished; DataError if its file is damaged."""
        path, advice = self.cell_path(arm, labels, seed), "Remove it to run this cell again."
        record = _read(path, advice)
        if record is not None:
            _require_record(record, {"arm": arm, "labels": labels, "seed": seed}, path, advice)
        return record

    def write_cell(self, record: Mapping[str, Any]) -> None:
        """Keep the record of a finished cell."""
        path = self.cell_path(record["arm"], record["labels"], record["seed"])
        write_text(path, json.dumps(record))

    def trials(self, arm: str, labels: int | str) -> list[dict[str, Any]]:
        """Finished trials of the settings of an arm at a budget, in their order."""
        found = _read(self._trials_path(arm, labels), "Remove it to search again.")
        return [] if found is None else found["trials"]

    def write_trials(self, arm: str, labels: int | str, trials: Sequence[Mapping[str, Any]]) -> None:
        """Keep finished trials."""
        write_text(self._trials_path(arm, labels), json.dumps({"trials": trials}, indent=1))

    def finished_cells(self, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Records of the finished cells of a comparison with these settings: by seed, then arm, then budget."""
        planned = itertools.product(settings["seeds"], settings["arms"], settings["labels"])
        cells = (self.cell(arm, labels, seed) for seed, arm, labels in planned)
        return [cell for cell in cells if cell is not None]

    def write_records(self, results: Mapping[str, Any]) -> None:
        """Write `records.json` alone."""
        write_text(self.path / "records.json", json.dumps(results))

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write the records, and the report where there are any."""
        self.write_records(results)
        if results["records"]:
            write_text(self.path / "records.csv", as_csv(results["records"]))
            write_report(results, self._filters(results["settings"]), self.path)

    def draw_report(self) -> dict[str, Any]:
        """Write records and report again from what is in the folder, finished or not; return the results.

        Raises
        ------
        DataError
            If this is not the folder of a comparison, or no cell of it is finished.
        """
        path, advice = self.path / "records.json", "Repeat the command that made it."
        results = _read(path, advice)
        settings = None if results is None else results.get("settings")
        if results is None or not isinstance(settings, dict) or settings.get("kind") != KIND:
            raise DataError(f"{self.path} is not the folder of a comparison: `pretrain compare` makes such folders.")
        results["name"] = str(self.path)
        lacking = [name for name in REQUIRED if name not in results]
        lacking += [f"settings.{name}" for name in PLAN if name not in settings]
        if lacking:
            raise DataError(f"{path} is damaged: it lacks {', '.join(lacking)}. {advice}")
        if (self.path / "cells").is_dir():  # newer than the records, where a comparison was killed
            results["records"] = self.finished_cells(settings)
        else:
            if not isinstance(results["records"], list):
                raise DataError(f"{path} is damaged: its 'records' are no list. {advice}")
            for record in results["records"]:
                _require_record(record, {}, path, advice)
        if not results["records"]:
            raise DataError(f"{self.path}: no cell is finished, so there is nothing to report yet.")
        self.write_results(results)
        return results

    def _trials_path(self, arm: str, labels: int | str) -> Path:
        return self.path / "trials" / f"{arm}-{labels}.json"

    def _filters(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """First-layer weights of each arm's network of the first seed at the largest budget."""
        labels, seed = settings["labels"][-1], settings["seeds"][0]
        paths = {arm: self.network(arm, labels, seed) for arm in settings["arms"]}
        networks = {arm: checkpoints.load(path) for arm, path in paths.items() if path.is_file()}
        return {arm: first_layer_weight(network) for arm, network in networks.items() if has_filters(network)}

    def _known_settings(self) -> dict[str, Any]:
        path, damage = self.path / "settings.json", ""
        try:
            known = _read(path, "Give another -o, or remove the folder to begin anew.")
        except DataError as error:  # nobody can say whose folder it is, so nothing in it is to be removed
            known, damage = None, f", or {error}"
        if known is not None and known.get("kind") == KIND:
            return known
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            what = f"{self.path} exists and is not the folder of a comparison"
            raise SettingsError(f"{what}{damage}" if damage else f"{what}; give another -o.")
        return {}

    def _clear(self) -> None:
        for folder in FOLDERS:
            shutil.rmtree(self.path / folder, ignore_errors=True)
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)

    def _require_same_settings(self, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        # More arms, budgets or seeds leave finished cells valid; anything else does not.
        arms = set(known["arms"]) & set(asked["arms"])
        known = {"data": asked["data"], **known}  # folders of earlier versions have none
        changed = [what for name in DECISIVE for what in _differences(known.get(name), asked.get(name), name)]
        for name in sorted(arms):
            changed += [f"arm {name}: {what}" for what in _differences(known["arms"][name], asked["arms"][name])]
        if changed:
            raise SettingsError(
                f"{self.path} belongs to a comparison with other settings (different: {', '.join(changed)}). "
                "Give another -o, or --overwrite to begin anew."
            )


def _require_record(record: Any, cell: Mapping[str, Any], path: Path, advice: str) -> None:
    """DataError unless this is the record of a finished cell, of `cell` where that is given."""
    if not isinstance(record, dict):
        raise DataError(f"{path} is damaged: the record of a cell is no object. {advice}")
    for name in CELL:
        if name not in record or record[name] != cell.get(name, record[name]):
            expected = f"; expected {cell[name]!r}" if name in cell else ""
            raise DataError(f"{path} is damaged: its {name!r} is {record.get(name)!r}{expected}. {advice}")
    for name in NUMBERS:
        if type(record.get(name)) not in (int, float):
            raise DataError(f"{path} is damaged: its {name!r} is {record.get(name)!r}; expected a number. {advice}")


def _read(path: Path, advice: str) -> dict[str, Any] | None:
    """The object in a JSON file, None where there is no file; DataError where it holds none."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}. {advice}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is damaged: it holds no object. {advice}")
    return found


def _differences(known: Any, asked: Any, place: str = "") -> list[str]:
    """Where two nested dicts differ, with both values."""
    if isinstance(known, dict) and isinstance(asked, dict):
        keys = [*known, *(key for key in asked if key not in known)]
        inner = [_differences(known.get(key), asked.get(key), f"{place}.{key}" if place else key) for key in keys]
        return [difference for found in inner for difference in found]
    return [] if known == asked else [f"{place} was {known!r}, now {asked!r}"]
