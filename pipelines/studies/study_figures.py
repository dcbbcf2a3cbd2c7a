"""The two forms of the one figure of a study: levels of groups as dots, and curves over a number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from pipelines.figure_style import PALETTE, STYLE, add_legend, arm_styles, new_panels, scale_axis
from pipelines.studies.results import Results


@dataclass(frozen=True)
class Levels:
    """One panel of dots.

    Attributes
    ----------
    axis : str
        The figure and its unit.
    values : mapping of str to np.ndarray of shape (n_seeds,)
        Group to its figure in each seed.
    """

    axis: str
    values: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Curves:
    """One panel of curves.

    Attributes
    ----------
    axis, over : str
        The figure and what it is drawn over, with their units.
    x : sequence of float
    values : mapping of str to np.ndarray of shape (n_seeds, n_x)
        Group to its figure in each seed.
    solid : sequence of str
        Groups with solid lines, such as those that are pretrained.
    """

    axis: str
    over: str
    x: Sequence[float]
    values: Mapping[str, np.ndarray]
    solid: Sequence[str] = ()


def trial_levels(results: Results, figures: Mapping[str, str]) -> list[Levels]:
    """One panel for each figure with all trials in it; `figures` are axes, units included, to keys of the records."""
    return [
        Levels(axis, {trial: results.of(trial, key) for trial in results.trials}) for axis, key in figures.items()
    ]


@matplotlib.rc_context(STYLE)
def levels_figure(panels: Sequence[Levels], title: str) -> Figure:
    """Draw each group's mean as a dot with one standard deviation, and the seeds as small points, one panel a figure.

    `title` begins the text alternative, which has all means.
    """
    most = max(len(panel.values) for panel in panels)
    figure, axes = new_panels(len(panels), height=0.75 + 0.26 * most)
    for axis, panel in zip(axes, panels, strict=True):
        for place, values in enumerate(panel.values.values()):
            axis.plot(values, np.full(len(values), -place), "o", color="#9aa3ad", markersize=2.5, zorder=1)
            axis.errorbar(values.mean(), -place, xerr=_deviation(values), fmt="o", color=PALETTE[0], elinewidth=1.3)
        axis.set_yticks([-place for place in range(len(panel.values))], list(panel.values))
        axis.set(xlabel=panel.axis, ylim=(0.4 - len(panel.values), 0.6))
        scale_axis(axis, "x", np.concatenate(list(panel.values.values())).tolist())
    said = [f"{p.axis}: " + ", ".join(f"{name} {v.mean():.3g}" for name, v in p.values.items()) for p in panels]
    figure.set_label(f"{title}. {'; '.join(said)}.")
    return figure


@matplotlib.rc_context(STYLE)
def curves_figure(panels: Sequence[Curves], title: str) -> Figure:
    """Draw each group's mean over a number, with a band of one standard deviation, one panel a figure.

    `title` begins the text alternative, which has the means at both ends.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.values))
    styles = arm_styles({name: any(name in panel.solid for panel in panels) for name in names})
    figure, axes = new_panels(len(panels), n_columns=min(2, len(panels)))
    for axis, panel in zip(axes, panels, strict=True):
        x = np.asarray(panel.x, dtype=np.float64)
        for name, values in panel.values.items():
            mean, spread = values.mean(axis=0), np.array([_deviation(column) for column in values.T])
            axis.fill_between(x, mean - spread, mean + spread, color=styles[name]["color"], alpha=0.13, linewidth=0)
            axis.plot(x, mean, **styles[name], markevery=max(1, len(x) // 8))
        scale_axis(axis, "y", np.concatenate([v.mean(axis=0) for v in panel.values.values()]).tolist())
        scale_axis(axis, "x", x.tolist()) if max(x) > 50 * min(x) else axis.set_xticks(x)
        axis.set(xlabel=panel.over, ylabel=panel.axis)
    add_legend(figure, styles)
    figure.set_label(f"{title}. {'; '.join(_ends(panel) for panel in panels)}.")
    return figure


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _ends(panel: Curves) -> str:
    means = {name: values.mean(axis=0) for name, values in panel.values.items()}
    ends = ", ".join(f"{name} {mean[0]:.3g} to {mean[-1]:.3g}" for name, mean in means.items())
    return f"{panel.axis} over {panel.over} from {panel.x[0]:g} to {panel.x[-1]:g}: {ends}"
