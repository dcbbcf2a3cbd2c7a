"""The pictures of a report, each group under its caption."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from pipelines.diagnostic_plots import activation_figures, confusion_figure, gradient_flow_figures
from pipelines.error_plots import (
    errors_against_labels_figure,
    errors_against_seconds_figure,
    errors_by_arm_figure,
)
from pipelines.measures import format_budget
from pipelines.plots import curves_figures, filters_figure, to_png, to_svg
from pipelines.statistics import SummaryRow

N_FILTERS = 64  # of each arm on the page


@dataclass(frozen=True)
class Illustration:
    """Pictures under one caption: SVG elements, or images with a name and a text alternative each."""

    caption: str
    svgs: tuple[Markup, ...] = ()
    images: tuple[tuple[str, str, str], ...] = ()  # (name, text alternative, base64 of a PNG)


def error_figures(rows: Sequence[SummaryRow], task: str) -> list[Illustration]:
    """Test errors against labels (by arm, at one budget) and against seconds."""
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


def curve_figures(records: Sequence[Mapping[str, Any]], rows: Sequence[SummaryRow]) -> list[Illustration]:
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


def filter_figures(results: Mapping[str, Any], filters: Mapping[str, np.ndarray]) -> list[Illustration]:
    """First-layer weights of each arm, (n_hidden, n_visible), as pictures."""
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


def inside_figures(results: Mapping[str, Any], rows: Sequence[SummaryRow]) -> list[Illustration]:
    """Gradients and activations by layer, of the networks at the largest budget; nothing where none were taken."""
    largest = rows[-1]
    points = {
        arm: _mean_points([cell.get("diagnostics", []) for cell in _cells_of(results, arm, largest.labels)])
        for arm in dict.fromkeys(row.arm for row in rows)
    }
    points = {arm: own for arm, own in points.items() if own}
    if not points:
        return []
    pretrained = {row.arm: row.pretrained for row in rows}
    at = f"at {format_budget(largest.labels, largest.n_labels)} labels, means over the seeds, on the same 256 rows"
    flow = Illustration(
        f"Norm of the gradient with respect to the weights of each layer, {at}. Where it falls by orders of "
        "magnitude from the output layer down, it vanishes, and the lower layers hardly learn; where it rises, it "
        "explodes.",
        svgs=tuple(_svg(figure) for figure in gradient_flow_figures(points, pretrained)),
    )
    activations = Illustration(
        f"Hidden units after training, {at}. Dead units are off (or the same) and saturated ones fully on for every "
        "row: no gradient passes them.",
        svgs=tuple(_svg(figure) for figure in activation_figures(points, pretrained)),
    )
    return [flow, activations]


def confusion_figures(results: Mapping[str, Any], rows: Sequence[SummaryRow]) -> list[Illustration]:
    """Which classes each arm confuses at the largest budget, over all seeds."""
    classes, largest, images = results["data"].get("classes"), rows[-1], []
    for arm in dict.fromkeys(row.arm for row in rows):
        cells = [cell.get("confusion") for cell in _cells_of(results, arm, largest.labels)]
        counts = [counts for counts in cells if counts is not None]
        if classes and counts:
            figure = confusion_figure(np.sum(counts, axis=0), classes)
            alternative = f"{arm}: {figure.get_label()}"
            images.append((arm, alternative, base64.b64encode(to_png(figure)).decode()))
    caption = (
        f"Test rows by true and given class at {format_budget(largest.labels, largest.n_labels)} labels, of all "
        "seeds together. The shade of a mistake is its share of all mistakes of the arm."
    )
    return [Illustration(caption, images=tuple(images))] if images else []


def _cells_of(results: Mapping[str, Any], arm: str, labels: int | str) -> list[Mapping[str, Any]]:
    return [cell for cell in results["records"] if cell["arm"] == arm and cell["labels"] == labels]


def _mean_points(cells: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Points of several seeds as one list of means, of the seeds with the epochs of the first."""
    if not cells or not cells[0]:
        return []
    epochs = [point["epoch"] for point in cells[0]]
    same = [cell for cell in cells if [point["epoch"] for point in cell] == epochs]
    return [
        {
            name: points[0][name] if name == "epoch" else np.mean([p[name] for p in points], axis=0).tolist()
            for name in points[0]
        }
        for points in zip(*same, strict=True)
    ]


def _svg(figure: Figure) -> Markup:
    return Markup(to_svg(figure))  # matplotlib and `to_svg` escape all text in it
