"""Runs a study: every trial for every seed, then the verdict."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.atomic import write_text
from pipelines.preparation import PreparedData
from pipelines.progress import TrainingProgress
from pipelines.provenance import machine, versions
from pipelines.studies.results import Results
from pipelines.studies.study import Scale, Study, Trial
from pipelines.studies.trials import TrialBench
from pretrain.device import resolve_device
from pretrain.exceptions import DataError, SettingsError

KIND = "pretrain-study"
SMALL_ROWS = 1500  # training rows at the small scale, at most


def run_study(
    study: Study,
    prepared: PreparedData,
    folder: Path,
    *,
    full: bool,
    seeds: Sequence[int],
    device: str,
    overwrite: bool,
    command: str,
    progress: TrainingProgress,
) -> dict[str, Any]:
    """Run a study, or what is left of it, or read what it gave before with the same settings, and judge it.

    Parameters
    ----------
    study : Study
    prepared : PreparedData
        With `study.validation_fraction` of the training rows held out.
    folder : Path
        It keeps what the study gave as `NAME.json`, and while trials are left as `NAME.unfinished.json`.
    full : bool
        All training rows and the large networks, instead of at most 1,500 rows and small ones.
    seeds : sequence of int
    device : str
    overwrite : bool
        Whether a study that is there, finished or not, is run again from its first trial.
    command : str
    progress : TrainingProgress

    Returns
    -------
    dict
        What the file holds, and `verdict`.

    Raises
    ------
    SettingsError
        If the folder has the study, finished or not, with other settings or of other data.
    DataError
        If the data are not those of a classification, or a file of the study is damaged.
    """
    if prepared.task != "classification":
        raise DataError(f"{prepared.dataset.name}: the studies need class labels; these labels are numbers.")
    chosen, path = resolve_device(device), folder / f"{study.name}.json"
    scale = Scale(full, n_features=prepared.dataset.X.shape[1])
    trials = study.trials(scale)
    n_rows = None if full else SMALL_ROWS
    settings = {
        "full": full,
        "seeds": list(seeds),
        "n_rows": n_rows,
        "split": prepared.split.to_dict(),
        "trials": {trial.name: trial.to_dict() for trial in trials},
    }
    data = prepared.describe()
    kept = None if overwrite else _kept(path, settings, data)
    if kept is None:
        begun = {
            "kind": KIND,
            "name": study.name,
            "command": command,
            "seconds": 0.0,
            "data": data,
            "n_test": prepared.split.n_test,
            "settings": settings,
            "machine": machine(chosen),
            "versions": versions(),
            "records": [],
        }
        unfinished = folder / f"{study.name}.unfinished.json"
        found = None if overwrite else _kept(unfinished, settings, data)
        if found is not None:  # the trials that a stopped command had finished
            begun |= {"seconds": found["seconds"], "records": found["records"]}
        bench = TrialBench(prepared, n_rows, chosen, progress)
        kept = _finish(begun, bench, [(trial, seed) for seed in seeds for trial in trials], unfinished)
        write_text(path, json.dumps(kept, indent=1, allow_nan=False))
        unfinished.unlink()
    return judged(study, kept)


def _finish(
    begun: Mapping[str, Any], bench: TrialBench, cells: Sequence[tuple[Trial, int]], path: Path
) -> dict[str, Any]:
    """Run the cells of which there is no record yet; what there is after each is written to `path`."""
    kept, earlier, started = dict(begun), begun["seconds"], time.perf_counter()
    done = len(kept["records"])
    for number, (trial, seed) in enumerate(cells[done:], start=done + 1):
        record = bench.run(trial, seed, f"{kept['name']} [{number}/{len(cells)}] {trial.name}")
        kept["records"] = [*kept["records"], record]
        kept["seconds"] = earlier + time.perf_counter() - started
        write_text(path, json.dumps(kept, allow_nan=False))
    return kept


def judged(study: Study, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of a study holds, with the verdict on it."""
    return {**kept, "verdict": study.judge(Results(kept["records"])).to_dict()}


def is_current(study: Study, kept: Mapping[str, Any]) -> bool:
    """Whether a file of a study is of the networks that the study has now."""
    trials = study.trials(Scale(kept["settings"]["full"], kept["data"]["n_features"]))
    return bool(kept["settings"]["trials"] == _as_json({trial.name: trial.to_dict() for trial in trials}))


def _as_json(values: Any) -> Any:
    return json.loads(json.dumps(values))


def _kept(path: Path, settings: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any] | None:
    kept = read_study(path)
    if kept is None:
        return None
    if kept["settings"] != _as_json(settings) or kept["data"]["sha256"] != data["sha256"]:
        raise SettingsError(
            f"{path} is of other settings (data, seeds, scale, or another version of the study). Give another -o, or "
            "--overwrite to run it again."
        )
    return kept


def read_study(path: Path) -> dict[str, Any] | None:
    """What a file of a study holds, None where there is none; DataError where it is something else."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as the file of a study: {error}. Move it away.") from error
    if not isinstance(kept, dict) or kept.get("kind") != KIND:
        raise DataError(f"{path} is no file of a study. Move it away, or give another -o.")
    return kept
