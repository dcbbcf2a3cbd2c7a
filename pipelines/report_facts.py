"""What a report says of a comparison besides its errors: settings, data, split, machine, versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.measures import format_seconds, measure_of
from pipelines.tuning import best_trial

COST_NOTE = (
    "Means over the seeds, pretraining included, in brackets that of pretraining, which is charged in full to every "
    "arm and budget that uses it. Epochs of greedy layers are added up. Multiply-adds are those of the matrix "
    "products and convolutions of the training, measured on one batch."
)


@dataclass(frozen=True)
class SettingsTable:
    """Settings of some arms: by name, one text an arm."""

    heading: str
    arms: list[str]
    rows: dict[str, list[str]]


def unfinished(results: Mapping[str, Any]) -> str:
    """A sentence if cells are missing, else nothing."""
    settings, n_finished = results["settings"], len(results["records"])
    n_planned = len(settings["arms"]) * len(settings["labels"]) * len(settings["seeds"])
    if n_finished >= n_planned:
        return ""
    return f"The comparison is not finished: {n_finished} of {n_planned} cells (arm, labels, seed) are there."


def notes_of(results: Mapping[str, Any]) -> list[str]:
    """How to read the tables of errors."""
    error = (
        " The error of a run is the root of the mean squared error over the test rows, in the units of the target."
        if results["data"]["task"] == "regression"
        else ""
    )
    jobs = results.get("n_jobs", 1)
    crowded = (
        f" {jobs} cells were trained at a time, so that each took longer than it would alone." if jobs > 1 else ""
    )
    return [
        "Errors are the mean ± one standard deviation over the seeds; seconds are means, in brackets those of "
        f"pretraining.{crowded}{error} The 95 % interval is the t interval of the mean, cut where errors end.",
        "Differences pair the seeds that both arms have: mean ± half of its 95 % t interval, negative where the arm "
        "is better. p is of the two-sided paired t-test, corrected by Holm's method for all arms that are tested at "
        "that label budget; the interval is not corrected.",
        "The best from-scratch arm, and in the verdict the best pretrained arm, is the one with the lowest mean test "
        "error. The lowest of several noisy means is too low on average, so the choice favours the side with more "
        "arms.",
        "Seeds vary the initial weights, the batches and the drawn labels, not the test rows: the spread does not "
        "say how the arms would differ on other test rows.",
    ]


def settings_tables(arms: Mapping[str, Mapping[str, Any]]) -> list[SettingsTable]:
    """One table for each group of settings, of the arms that have it, and one for the settings in no group."""
    settings = {arm: about["settings"] for arm, about in arms.items()}
    groups = list(dict.fromkeys(key for own in settings.values() for key in own if isinstance(own[key], Mapping)))
    tables = [
        _settings_table(group, {arm: own[group] for arm, own in settings.items() if own.get(group) is not None})
        for group in groups
    ]
    loose = {arm: {key: own[key] for key in own if key not in groups} for arm, own in settings.items()}
    return [*tables, *([_settings_table("other", loose)] if any(loose.values()) else [])]


def _settings_table(heading: str, settings: Mapping[str, Any]) -> SettingsTable:
    flat = {arm: _flat_settings(own) for arm, own in settings.items()}
    names = dict.fromkeys(name for own in flat.values() for name in own)
    return SettingsTable(heading, list(flat), {name: [own.get(name, "—") for own in flat.values()] for name in names})


def _flat_settings(value: Any, name: str = "") -> dict[str, str]:
    """Nested settings as dotted names and text."""
    if not isinstance(value, Mapping):
        return {name: _text(value)}
    flat: dict[str, str] = {}
    for key, part in value.items():
        flat |= _flat_settings(part, f"{name}.{key}" if name else str(key))
    return flat


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def tuning_table(results: Mapping[str, Any]) -> list[list[str]]:
    """What the searches for settings found: the column heads, then a line a search; nothing without any."""
    searches = results.get("searches") or []
    if not searches:
        return []
    measure = measure_of(results["data"]["task"])
    head = ["labels", "arm", "trials", "validation error, own settings", "validation error, chosen"]
    lines = [[*head, "seconds of all trials", "chosen settings"]]
    for search in searches:
        trials, chosen = search["trials"], best_trial(search["trials"])
        own = trials[0]["validation_error"]
        settings = ", ".join(f"{name} {_text(value)}" for name, value in chosen["settings"].items())
        lines.append(
            [
                str(search["labels"]),
                search["arm"],
                str(len(trials)),
                "diverged" if own is None else measure.level(own),
                measure.level(chosen["validation_error"]),
                format_seconds(sum(trial["seconds"] for trial in trials)),
                "the own ones" if chosen is trials[0] else settings,
            ]
        )
    return lines


def space_table(results: Mapping[str, Any]) -> SettingsTable | None:
    """What the searches could choose from, an arm a column; None without searches."""
    spaces = {search["arm"]: search["space"] for search in results.get("searches") or []}
    return _settings_table("search space", spaces) if spaces else None


def facts_of(results: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Heading to what is known under it."""
    settings = {key: value for key, value in results["settings"].items() if key not in ("arms", "split")}
    machine = {**results["machine"], "cells at a time": results.get("n_jobs", 1)}
    return {
        "Comparison": _flat_settings(settings),
        "Data": _flat_settings({key: value for key, value in results["data"].items() if key != "classes"}),
        "Split": _flat_settings(results["split"]),
        "Machine": _flat_settings(machine),
        "Versions": _flat_settings(results["versions"]),
    }


def split_sentences(results: Mapping[str, Any]) -> list[str]:
    """Where the test rows come from, how often they were read, and what the validation rows were used for."""
    split, data = results["split"], results["data"]
    own = split.get("test_source") == "own"
    source = "are the data's own" if own else "were drawn from the data by the split's seed and trained nothing"
    sentences = [
        f"The {data['n_test']:,} test rows {source}. All cells have the same ones, and each "
        "reads them once, after its training has ended."
    ]
    validated = any("validation_loss" in record for cell in results["records"] for record in cell["history"])
    stopped = [
        arm
        for arm, about in results["settings"]["arms"].items()
        if any(n.endswith("early_stopping") and t == "yes" for n, t in _flat_settings(about["settings"]).items())
    ]
    searches = results.get("searches") or []
    if not validated and not searches:
        return [*sentences, "No validation rows were read: no epoch and no setting was chosen within this run."]
    chosen = [f"the settings of every arm, each of {len(searches[0]['trials'])} trials"] if searches else []
    chosen += [f"the epoch that counts in {', '.join(stopped)}"] if stopped else []
    counted = not searches or results["settings"]["labels"] == ["all"]
    budgets = "" if counted else " Their labels are not counted in the budgets."
    return [
        *sentences,
        f"The {split.get('n_validation', 0):,} validation rows trained nothing; they drew the validation curves and "
        f"chose {' and '.join(chosen) or 'nothing'}.{budgets}",
    ]
