"""How every figure looks: type, colours, panels, axes and legends, in one place."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

WIDTH, HEIGHT = 4.6, 2.7  # inches of one panel: narrow, so that text stays legible on a phone
# Okabe and Ito's colours, which colour-blind readers tell apart, without their yellow: too pale for lines.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p")  # eleven: with seven colours, 77 pairs
LONGEST_NAME = 40  # letters of an arm's name in a figure
STYLE: Any = {  # newer matplotlibs type the keys, older ones do not
    "axes.axisbelow": True,
    "axes.edgecolor": "#767676",
    "axes.grid": True,
    "axes.labelcolor": "#333333",
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # names of arms may hold a dollar sign
    "xtick.color": "#767676",
    "xtick.labelcolor": "#333333",
    "ytick.color": "#767676",
    "ytick.labelcolor": "#333333",
}


def arm_styles(pretrained: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
    """Properties of the line of each arm: solid and filled where pretrained, dashed and hollow from scratch."""
    return {
        arm: {
            "color": PALETTE[place % len(PALETTE)],
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": "-" if is_pretrained else (0, (4, 1.6)),
            "markerfacecolor": PALETTE[place % len(PALETTE)] if is_pretrained else "white",
        }
        for place, (arm, is_pretrained) in enumerate(pretrained.items())
    }


def new_panels(n_panels: int, n_columns: int = 1, height: float = HEIGHT) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, row by row; `height` is that of one panel in inches."""
    n_rows = math.ceil(n_panels / n_columns)
    figure = Figure(figsize=(n_columns * WIDTH, n_rows * height), layout="constrained")
    return figure, [figure.add_subplot(n_rows, n_columns, place + 1) for place in range(n_panels)]


def scale_axis(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """Make an axis logarithmic, with plain numbers, where its values differ by more than a factor of five."""
    if min(values) <= 0 or max(values) <= 5 * min(values):
        return
    low, high = min(values), max(values)
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low / 1.25, high * 1.25)})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def add_legend(figure: Figure, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the legend of the arms below the panels, never over data; none for a single arm."""
    if len(styles) < 2:
        return
    names = [arm[:LONGEST_NAME] for arm in styles]
    width, height = figure.get_size_inches()
    fitting = max(1, int(width / (0.6 + 0.068 * max(len(name) for name in names))))
    n_rows = math.ceil(len(names) / fitting)
    figure.set_size_inches(width, height + 0.19 * n_rows)
    handles = [Line2D([], [], **style) for style in styles.values()]
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=math.ceil(len(names) / n_rows),
        handlelength=2.6,
        columnspacing=1.2,
    )
