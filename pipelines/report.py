"""The report of a comparison: one HTML page that holds everything and fetches nothing."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from pipelines.atomic import write_text
from pipelines.error_plots import (
    errors_against_labels_figure,
    errors_against_seconds_figure,
    errors_by_arm_figure,
)
from pipelines.measures import format_budget, measure_of
from pipelines.plots import curves_figures, filters_figure, to_png, to_svg
from pipelines.statistics import SummaryRow, format_table, summarise, verdict
from pretrain.exceptions import DataError

TEMPLATES = Path(__file__).parent / "templates"
REQUIRED = ("name", "command", "data", "split", "settings", "machine", "versions", "records")
N_FILTERS = 64  # of each arm on the page


@dataclass(frozen=True)
class Illustration:
    """Pictures under one caption: SVG elements, or images with a name and a text alternative each."""

    caption: str
    svgs: tuple[Markup, ...] = ()
    images: tuple[tuple[str, str, str], ...] = ()  # (name, text alternative, base64 of a PNG)


@dataclass(frozen=True)
class SettingsTable:
    """Settings of some arms: by name, one text an arm."""

    heading: str
    arms: list[str]
    rows: dict[str, list[str]]


def write_report(results: Mapping[str, Any], filters: Mapping[str, np.ndarray], path: str | Path) -> None:
    """Write the page of `render_report`, in place of an earlier one; complete or not at all."""
    write_text(Path(path), render_report(results, filters))


def render_report(results: Mapping[str, Any], filters: Mapping[str, np.ndarray]) -> str:
    """Render a comparison, finished or not, as one self-contained HTML page.

    Parameters
    ----------
    results : mapping
        What `records.json` of a run folder holds.
    filters : mapping of str to np.ndarray of shape (n_hidden, n_visible)
        First-layer weights of each arm; may be empty.

    Returns
    -------
    str
        No script, no reference to anything outside the page.

    Raises
    ------
    DataError
        If a part of the results is missing, or a record is not usable (see `summarise`).
    """
    missing = [key for key in REQUIRED if key not in results]
    if missing:
        raise DataError(f"These are no results of a comparison: {', '.join(missing)} is missing; give records.json.")
    settings, task = results["settings"], results["data"]["task"]
    pretrained = {arm: bool(about["pretrained"]) for arm, about in settings["arms"].items()}
    rows = summarise(results["records"], pretrained)
    table = format_table(rows, task=task)
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html").render(
        results=results,
        measure=measure_of(task),
        sentences=verdict(rows, task=task),
        unfinished=_unfinished(results),
        head=table[0],
        lines=list(zip(rows, table[1:], strict=True)),
        error_figures=_error_figures(rows, task) if rows else [],
        curve_figures=_curve_figures(results["records"], rows) if rows else [],
        filter_figures=_filter_figures(results, filters),
        arms=settings["arms"],
        settings_tables=_settings_tables(settings["arms"]),
        facts=_facts(results),
        split_sentences=_split_sentences(results),
    )


def _unfinished(results: Mapping[str, Any]) -> str:
    """A sentence if cells are missing, else nothing."""
    settings, n_finished = results["settings"], len(results["records"])
    n_planned = len(settings["arms"]) * len(settings["labels"]) * len(settings["seeds"])
    if n_finished >= n_planned:
        return ""
    return f"The comparison is not finished: {n_finished} of {n_planned} cells (arm, labels, seed) are there."


def _error_figures(rows: Sequence[SummaryRow], task: str) -> list[Illustration]:
    budgets = list(dict.fromkeys(row.labels for row in rows))
    if len({row.n_labels for row in rows}) > 1:
        first = Illustration(
            "Mean test error against the number of labels; bands are one standard deviation over the seeds. Solid "
            "lines with filled marks are pretrained arms, dashed lines with hollow marks are networks from scratch.",
            svgs=(_svg(errors_against_labels_figure(rows, task=task)),),
        )
    else:
        first = Illustration(
            "Mean test error of each arm; bars are one standard deviation over the seeds. Filled marks are "
            "pretrained arms, hollow ones are networks from scratch.",
            svgs=(_svg(errors_by_arm_figure(rows, task=task)),),
        )
    by_budget = [[row for row in rows if row.labels == labels] for labels in budgets]
    second = Illustration(
        "Mean test error against the mean wall time of a run, one panel a label budget; bars are one standard "
        "deviation of the error. A pretrained arm is charged for all of its pretraining at every budget, though "
        "the budgets share what is pretrained without labels.",
        svgs=tuple(_svg(errors_against_seconds_figure(group, task=task)) for group in by_budget),
    )
    return [first, second]


def _curve_figures(records: Sequence[Mapping[str, Any]], rows: Sequence[SummaryRow]) -> list[Illustration]:
    """Learning curves at the largest budget, and the supervised ones at the smallest."""
    budgets = {row.labels: format_budget(row.labels, row.n_labels) for row in rows}
    largest, *others = reversed(budgets)
    illustrations = []
    for labels in (largest, *others[-1:]):
        histories = _mean_histories(records, rows, labels, supervised_only=labels != largest)
        if any(histories.values()):
            caption = f"Learning curves at {budgets[labels]} labels, means over the seeds that reached the epoch."
            if labels == largest:
                caption += " Pretraining losses of different kinds of layers are not on one scale."
            figures = curves_figures(histories)
            for figure in figures:
                figure.set_label(f"At {budgets[labels]} labels: {figure.get_label()}")
            illustrations.append(Illustration(caption, svgs=tuple(_svg(figure) for figure in figures)))
    return illustrations


def _mean_histories(
    records: Sequence[Mapping[str, Any]], rows: Sequence[SummaryRow], labels: int | str, *, supervised_only: bool
) -> dict[str, list[dict[str, Any]]]:
    """Arm to the mean over its seeds of the loss and validation metrics of each epoch."""
    groups: dict[str, dict[tuple[str, int | None, int], list[Mapping[str, Any]]]]
    groups = {arm: defaultdict(list) for arm in dict.fromkeys(row.arm for row in rows)}
    for cell in (cell for cell in records if cell["labels"] == labels):
        for record in cell["history"]:
            if not (supervised_only and record["stage"] == "pretrain"):
                groups[cell["arm"]][record["stage"], record["layer"], record["epoch"]].append(record)
    return {
        arm: [
            {"stage": stage, "layer": layer, "epoch": epoch, **_means(group)}
            for (stage, layer, epoch), group in sorted(epochs.items(), key=lambda item: item[0][2])
        ]
        for arm, epochs in groups.items()
    }


def _means(group: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    values = {
        key: [float(record[key]) for record in group if record.get(key) is not None]
        for key in ("loss", "validation_error", "validation_loss")
    }
    return {key: float(np.mean(found)) for key, found in values.items() if found}


def _filter_figures(results: Mapping[str, Any], filters: Mapping[str, np.ndarray]) -> list[Illustration]:
    shape = results["data"]["image_shape"]
    images = []
    for arm, weight in filters.items():
        count = f"{min(N_FILTERS, len(weight))} of {len(weight):,}"
        figure = filters_figure(weight, shape and tuple(shape), n_filters=N_FILTERS, title="")
        alternative = f"The first {count} first-layer filters of {arm}."
        images.append((f"{arm}: {count}", alternative, base64.b64encode(to_png(figure)).decode()))
    caption = (
        "First-layer filters after the supervised training, of the first seed at the largest label budget: the "
        "first hidden units in their order, not a selection. Each filter has its own grey scale about zero."
    )
    return [Illustration(caption, images=tuple(images))] if images else []


def _svg(figure: Figure) -> Markup:
    return Markup(to_svg(figure))  # matplotlib and `to_svg` escape all text in it


def _settings_tables(arms: Mapping[str, Mapping[str, Any]]) -> list[SettingsTable]:
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


def _facts(results: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Heading to what is known under it."""
    settings = {key: value for key, value in results["settings"].items() if key not in ("arms", "split")}
    return {
        "Comparison": _flat_settings(settings),
        "Data": _flat_settings(results["data"]),
        "Split": _flat_settings(results["split"]),
        "Machine": _flat_settings(results["machine"]),
        "Versions": _flat_settings(results["versions"]),
    }


def _split_sentences(results: Mapping[str, Any]) -> list[str]:
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
    if not validated:
        return [*sentences, "No validation rows were read: no epoch and no setting was chosen within this run."]
    use = f"chose the epoch that counts in {', '.join(stopped)}" if stopped else "chose nothing"
    count = f"{split.get('n_validation', 0):,}"
    return [*sentences, f"The {count} validation rows trained nothing; they drew the validation curves and {use}."]
