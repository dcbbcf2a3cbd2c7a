"""Figures of what happens inside the networks of a comparison: gradients, activations, confusions.

The label of each figure (`Figure.get_label`) is its text alternative.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.figure_style import HEIGHT, STYLE, WIDTH, add_legend, arm_styles, new_panels, scale_axis
from pretrain.exceptions import DataError

DARK = 0.75  # of the darkest shade; beyond it numbers are white
MOST_NUMBERS = 12  # classes of a confusion matrix whose counts are written into it
Points = Mapping[str, Sequence[Mapping[str, Any]]]  # arm -> points of `pipelines.diagnostics`, means over the seeds


@matplotlib.rc_context(STYLE)
def gradient_flow_figures(points: Points, pretrained: Mapping[str, bool]) -> list[Figure]:
    """Draw gradient norms by layer before, early in and after training, and those of the first layer by epoch."""
    styles = arm_styles({arm: pretrained[arm] for arm in points})
    moments = {"before training": 0, "after the first epoch": 1, "after training": -1}
    figures = []
    for moment, place in moments.items():
        norms = {arm: own[min(place, len(own) - 1)]["gradient_norms"] for arm, own in points.items()}
        lines = {arm: _by_layer(values) for arm, values in norms.items()}
        figures.append(_lines_figure(f"Gradient norm {moment}", "layer, the output layer last", lines, styles))
    lines = {
        arm: ([point["epoch"] for point in own], [point["gradient_norms"][0] for point in own])
        for arm, own in points.items()
    }
    return [*figures, _lines_figure("Gradient norm of the first layer", "epoch, 0: before training", lines, styles)]


@matplotlib.rc_context(STYLE)
def activation_figures(points: Points, pretrained: Mapping[str, bool]) -> list[Figure]:
    """Draw, by hidden layer after training, dead and saturated units and the spread of the activations."""
    styles = arm_styles({arm: pretrained[arm] for arm in points})
    what = {
        "Dead units (%)": ("dead_units", 100),
        "Saturated units (%)": ("saturated_units", 100),
        "Standard deviation of activations": ("activation_stds", 1),
    }
    figures = []
    for title, (name, factor) in what.items():
        values = {arm: [factor * value for value in own[-1][name]] for arm, own in points.items()}
        lines = {arm: _by_layer(own) for arm, own in values.items()}
        figures.append(_lines_figure(f"{title} after training", "hidden layer", lines, styles))
    return figures


@matplotlib.rc_context(STYLE)
def confusion_figure(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw how often rows of each class were given each class; the shade is the share of a row's errors.

    Parameters
    ----------
    counts : np.ndarray of shape (n_classes, n_classes)
        True classes in rows, given ones in columns.
    classes : sequence of str

    Raises
    ------
    DataError
        If the names do not fit the counts.
    """
    counts = np.asarray(counts)
    if counts.shape != (len(classes), len(classes)):
        raise DataError(f"A confusion matrix of {len(classes)} classes must be square; got shape {counts.shape}.")
    errors = counts * (1 - np.eye(len(classes), dtype=counts.dtype))
    shares = errors / max(1, errors.sum())
    figure, [axes] = new_panels(1, height=WIDTH * 0.95)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=max(shares.max(), 1e-9) * 1.4, interpolation="nearest")
    axes.grid(False)
    if len(classes) <= MOST_NUMBERS:
        names = [name[:8] for name in classes]
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 2 else 0)
        axes.set_yticks(range(len(names)), names)
        for row, column in np.ndindex(*counts.shape):
            if counts[row, column]:
                look: Any = {"fontweight": "bold" if row == column else "normal", "fontsize": 8.5}
                look["color"] = "white" if shares[row, column] > DARK * shares.max() else "black"
                axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", **look)
    axes.set(xlabel="given class", ylabel="true class")
    figure.set_label(confusions_in_words(counts, classes))
    return figure


def confusions_in_words(counts: np.ndarray, classes: Sequence[str]) -> str:
    """The most frequent confusions, at most five."""
    pairs = [(int(counts[i, j]), i, j) for i, j in np.ndindex(*counts.shape) if i != j and counts[i, j]]
    if not pairs:
        return "No test row was given another class than its own."
    most = sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:5]
    listed = ", ".join(f"{classes[i]} as {classes[j]} ({count})" for count, i, j in most)
    return f"{sum(pair[0] for pair in pairs):,} of {int(counts.sum()):,} test rows confused; most often {listed}."


def _by_layer(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Layers, counted from 1, and their values."""
    return [1.0 + place for place in range(len(values))], list(values)


def _lines_figure(
    title: str,
    x_name: str,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    styles: Mapping[str, Mapping[str, Any]],
) -> Figure:
    figure, [axes] = new_panels(1, height=HEIGHT)
    for arm, (x, values) in lines.items():
        axes.plot(x, values, **styles[arm])
    _scale(axes, [value for _, values in lines.values() for value in values])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=title, xlabel=x_name)
    add_legend(figure, styles)
    ends = ", ".join(f"{arm} {values[0]:.3g} to {values[-1]:.3g}" for arm, (_, values) in lines.items())
    figure.set_label(f"{title}, from the first to the last: {ends}.")
    return figure


def _scale(axes: Axes, values: Sequence[float]) -> None:
    scale_axis(axes, "y", values)
    if axes.get_yscale() == "linear" and min(values) >= 0:
        axes.set_ylim(bottom=0)
