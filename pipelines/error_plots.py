"""Figures of a comparison's test errors: against labels, by arm, against seconds.

The label of each figure (`Figure.get_label`) is its text alternative.
"""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pipelines.figure_style import HEIGHT, LONGEST_NAME, STYLE, add_legend, arm_styles, new_panels, scale_axis
from pipelines.measures import format_budget, measure_of
from pipelines.statistics import SummaryRow
from pretrain.exceptions import DataError


@matplotlib.rc_context(STYLE)
def errors_against_labels_figure(rows: Sequence[SummaryRow], *, task: str = "classification") -> Figure:
    """Draw each arm's mean test error, in a band of one standard deviation, against the number of labels."""
    styles = arm_styles(_arms(rows))
    figure, [axes] = new_panels(1, height=1.3 * HEIGHT)
    for arm, style in styles.items():
        own = sorted((row for row in rows if row.arm == arm), key=lambda row: row.n_labels)
        x, mean = [row.n_labels for row in own], np.array([row.mean for row in own])
        std = np.nan_to_num([row.std for row in own])
        axes.fill_between(x, mean - std, mean + std, color=style["color"], alpha=0.13, linewidth=0)
        axes.plot(x, mean, **style)
    _scale_labels(axes, rows)
    scale_axis(axes, "y", [row.mean for row in rows])
    axes.set(xlabel="labels", ylabel=measure_of(task).axis)
    add_legend(figure, styles)
    figure.set_label(_text_alternative(rows, task, "against the number of labels"))
    return figure


@matplotlib.rc_context(STYLE)
def errors_by_arm_figure(rows: Sequence[SummaryRow], *, task: str = "classification") -> Figure:
    """Draw each arm's mean test error as a dot with one standard deviation, one panel a budget."""
    arms, budgets = _arms(rows), _by_budget(rows)
    styles, places = arm_styles(arms), {arm: -place for place, arm in enumerate(arms)}
    figure, panels = new_panels(len(budgets), height=0.75 + 0.26 * len(arms))
    for axes, (title, group) in zip(panels, budgets.items(), strict=True):
        for row in group:
            axes.errorbar(row.mean, places[row.arm], xerr=_spread(row), **_dot(styles[row.arm]))
        axes.set_yticks(list(places.values()), [arm[:LONGEST_NAME] for arm in places])
        axes.set(title=title, xlabel=measure_of(task).axis, ylim=(0.4 - len(arms), 0.6))
    figure.set_label(_text_alternative(rows, task, "by arm"))
    return figure


@matplotlib.rc_context(STYLE)
def errors_against_seconds_figure(rows: Sequence[SummaryRow], *, task: str = "classification") -> Figure:
    """Draw each arm's mean test error, with one standard deviation, against its seconds: one panel a budget."""
    styles, budgets = arm_styles(_arms(rows)), _by_budget(rows)
    figure, panels = new_panels(len(budgets), n_columns=min(2, len(budgets)))
    for axes, (title, group) in zip(panels, budgets.items(), strict=True):
        for row in group:
            axes.errorbar(row.seconds, row.mean, yerr=_spread(row), **_dot(styles[row.arm]))
        scale_axis(axes, "x", [row.seconds for row in group])
        axes.set(title=title, xlabel="seconds, pretraining included", ylabel=measure_of(task).axis)
    add_legend(figure, styles)
    figure.set_label(_text_alternative(rows, task, "against mean seconds"))
    return figure


def _arms(rows: Sequence[SummaryRow]) -> dict[str, bool]:
    if not rows:
        raise DataError("There are no errors to draw: no cell of the comparison is finished.")
    return {row.arm: row.pretrained for row in rows}


def _by_budget(rows: Sequence[SummaryRow]) -> dict[str, list[SummaryRow]]:
    titles = {row.labels: f"{format_budget(row.labels, row.n_labels)} labels" for row in rows}
    return {title: [row for row in rows if row.labels == labels] for labels, title in titles.items()}


def _scale_labels(axes: Axes, rows: Sequence[SummaryRow]) -> None:
    """Mark the budgets themselves on a logarithmic axis."""
    names = {row.n_labels: format_budget(row.labels, row.n_labels) for row in rows}
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(names)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: names.get(round(value), "")))


def _spread(row: SummaryRow) -> float | None:
    return None if math.isnan(row.std) else row.std


def _dot(style: dict[str, Any]) -> dict[str, Any]:
    return {**style, "linestyle": "none", "elinewidth": 1.3, "markersize": 5.5}


def _text_alternative(rows: Sequence[SummaryRow], task: str, against: str) -> str:
    measure = measure_of(task)
    parts = [
        f"{title}: " + ", ".join(f"{row.arm} {measure.level(row.mean)}" for row in group)
        for title, group in _by_budget(rows).items()
    ]
    return f"Mean {measure.axis} {against}. {'; '.join(parts)}."
