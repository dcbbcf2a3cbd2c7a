"""Figures of models, and files and page elements made of any figure.

Figures are matplotlib `Figure` objects that no window and no global state knows of. The label of each figure
(`Figure.get_label`) is its text alternative.
"""

import hashlib
import html
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.atomic import write_bytes
from pipelines.figure_style import STYLE, WIDTH, add_legend, arm_styles, new_panels, scale_axis
from pipelines.images import mosaic
from pretrain.exceptions import DataError

# What would differ between two renderings of one figure is left out; an SVG without any metadata names no address.
METADATA: dict[str, dict[str, None]] = {
    "png": {},
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": {"CreationDate": None},
}
SVG_STYLE: Any = {**STYLE, "svg.fonttype": "none", "svg.hashsalt": "pretrain"}
SMALLEST_LOSS = 1e-6  # that an axis goes down to; curves below, as of a loss of exactly 0, run along its lower end
Record = Mapping[str, Any]
Curves = dict[str, dict[str, list[tuple[int, float]]]]  # title of the panel -> arm -> (epoch, value)


@matplotlib.rc_context(STYLE)
def filters_figure(
    weight: np.ndarray, image_shape: tuple[int, ...] | None, *, n_filters: int = 100, title: str | None = None
) -> Figure:
    """Draw the weights of the first `n_filters` hidden units: in order, not a selection.

    Each filter has its own scale, symmetric about zero: middle grey is zero, white the largest magnitude of that
    filter. Images (h, w, 3) show each channel so. Where samples are no images, each filter is a row of a heat map.

    Parameters
    ----------
    weight : np.ndarray of shape (n_hidden, n_visible)
    image_shape : tuple of int or None
        Shape of one sample.
    n_filters : int
        At most this many are drawn.
    title : str or None
        Above the picture, "" for nothing. Default: how many are drawn of how many.

    Raises
    ------
    DataError
        Weights that are no finite matrix, or do not fit `image_shape`.
    """
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim != 2 or weight.size == 0 or n_filters < 1 or not np.isfinite(weight).all():
        raise DataError(
            "Filters are drawn from at least one row of finite weights, shape (n_hidden, n_visible); got shape "
            f"{weight.shape}, {n_filters} filters to draw and {np.isfinite(weight).sum()} finite weights."
        )
    if image_shape is not None and math.prod(image_shape) != weight.shape[1]:
        raise DataError(
            f"Filters of shape {tuple(image_shape)} have {math.prod(image_shape)} weights, but each hidden unit has "
            f"{weight.shape[1]}: these are the weights of other data."
        )
    shown = weight[:n_filters]
    largest = np.abs(shown).max(axis=1, keepdims=True)
    shades = 0.5 + 0.5 * shown / np.where(largest > 0, largest, 1.0)  # (n_shown, n_visible) in [0, 1]
    is_image = image_shape is not None and (
        len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] in (1, 3))
    )
    figure = _mosaic_figure(shades.reshape(-1, *image_shape)) if is_image and image_shape else _rows_figure(shades)
    text = f"First {len(shown)} of {len(weight):,} first-layer filters"
    figure.axes[0].set_title(text if title is None else title)
    figure.set_label(f"{title or text}: each scaled by itself, middle grey is zero.")
    return figure


@matplotlib.rc_context(STYLE)
def curves_figure(histories: Mapping[str, Sequence[Record]]) -> Figure:
    """Draw learning curves: one panel for each pretrained layer and for each later stage and metric.

    Parameters
    ----------
    histories : mapping of str to sequence of records
        Records of training by arm; the order of the arms decides their colours. Training of a pretrained network
        ("finetune") and from scratch ("train") share a panel.

    Returns
    -------
    Figure
        Solid lines for pretrained arms, dashed ones for arms from scratch.
    """
    return _curves_figure(_curves(histories), _styles(histories))


@matplotlib.rc_context(STYLE)
def curves_figures(histories: Mapping[str, Sequence[Record]]) -> list[Figure]:
    """Draw each panel of `curves_figure` as a figure of its own, for a page that arranges them to its width."""
    styles = _styles(histories)
    return [_curves_figure({title: arms}, styles) for title, arms in _curves(histories).items()]


def save_figure(figure: Figure, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix; complete or not at all.

    Raises
    ------
    DataError
        For another suffix, a folder that is missing, a file that exists and may not be overwritten, or a failure
        to write.
    """
    path = Path(path)
    file_format = path.suffix.lower().removeprefix(".")
    if file_format not in METADATA:
        raise DataError(f"{path}: a figure is saved as .{', .'.join(METADATA)}; got the suffix {path.suffix!r}.")
    if not path.parent.is_dir():
        raise DataError(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
    if path.exists() and not overwrite:
        raise DataError(f"{path} exists; give another path, or allow it to be overwritten.")
    write_bytes(path, _render(figure, file_format))


def to_svg(figure: Figure) -> str:
    """Render a figure as an SVG element for a page; the same figure gives the same text.

    Ids carry a prefix made of the content and the label, so that several figures fit on one page. Text stays text.
    """
    svg = _render(figure, "svg").decode()
    svg = svg[svg.index("<svg") :].strip()
    label = html.escape(str(figure.get_label()) or "Figure")
    # matplotlib's style element would rule every element of the page.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)
    prefix = f"f{hashlib.sha256((svg + label).encode()).hexdigest()[:10]}-"
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    style = "stroke-linejoin: round; stroke-linecap: butt"
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}" style="{style}"', 1)


def to_png(figure: Figure, *, dpi: int = 110) -> bytes:
    """Render a figure as the content of a PNG file."""
    return _render(figure, "png", dpi=dpi)


def _mosaic_figure(shades: np.ndarray) -> Figure:
    """Filters (n, h, w) or (n, h, w, channels) in [0, 1] side by side, as many columns as rows."""
    n, height, width = shades.shape[:3]
    channels = 3 if shades.ndim == 4 and shades.shape[3] == 3 else 1
    page = mosaic(shades.reshape(n, height, width, channels), math.ceil(math.sqrt(n)))
    figure, [axes] = new_panels(1, height=0.3 + min(2 * WIDTH, WIDTH * page.shape[0] / page.shape[1]))
    axes.imshow(page if channels == 3 else page[:, :, 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return figure


def _rows_figure(shades: np.ndarray) -> Figure:
    """Filters (n, n_visible) in [0, 1] as rows of a heat map."""
    figure, [axes] = new_panels(1, height=min(2 * WIDTH, 1.0 + 0.05 * len(shades)))
    axes.imshow(shades, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.grid(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    # A row is a twentieth of an inch high, a tick's number three rows.
    axes.yaxis.set_major_locator(MaxNLocator(nbins=min(9, max(1, len(shades) // 4)), integer=True))
    axes.set(xlabel="feature", ylabel="hidden unit")
    return figure


def _styles(histories: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, Any]]:
    # Only networks from scratch have the stage "train".
    return arm_styles({arm: all(r["stage"] != "train" for r in records) for arm, records in histories.items()})


def _curves(histories: Mapping[str, Sequence[Record]]) -> Curves:
    """Points of every curve, panels in the order of training."""
    panels: dict[tuple[int, int, str], dict[str, list[tuple[int, float]]]] = {}
    for arm, records in histories.items():
        for record in records:
            for panel, value in _points(record):
                panels.setdefault(panel, {}).setdefault(arm, []).append((record["epoch"], value))
    if not panels:
        raise DataError("There are no curves to draw: no record of training holds a loss.")
    return {title: panels[rank, layer, title] for rank, layer, title in sorted(panels)}


def _points(record: Record) -> list[tuple[tuple[int, int, str], float]]:
    """What a record adds to which panels, each given by its place in the order and its title."""
    if record.get("loss") is None:  # a record in the middle of an epoch
        return []
    if record["stage"] == "pretrain":
        return [((0, record["layer"], f"Pretraining of layer {record['layer'] + 1}: loss"), record["loss"])]
    rank, stage = (1, "Output layer alone") if record["stage"] == "head" else (2, "All layers")
    points = [((rank, 0, f"{stage}: training loss"), record["loss"])]
    if record.get("validation_error") is not None:
        points.append(((rank, 1, f"{stage}: validation error (%)"), record["validation_error"]))
    elif record.get("validation_loss") is not None:
        points.append(((rank, 1, f"{stage}: validation loss"), record["validation_loss"]))
    return points


def _curves_figure(curves: Curves, styles: Mapping[str, Mapping[str, Any]]) -> Figure:
    drawn = {arm: style for arm, style in styles.items() if any(arm in arms for arms in curves.values())}
    figure, panels = new_panels(len(curves), n_columns=min(2, len(curves)))
    for axes, (title, arms) in zip(panels, curves.items(), strict=True):
        _draw_curves(axes, arms, styles, of_losses=title.endswith("loss"))
        axes.set(title=title, xlabel="epoch")
    add_legend(figure, drawn)
    figure.set_label(f"Learning curves by epoch ({'; '.join(curves)}) of {', '.join(drawn)}.")
    return figure


def _draw_curves(
    axes: Axes,
    arms: Mapping[str, Sequence[tuple[int, float]]],
    styles: Mapping[str, Mapping[str, Any]],
    *,
    of_losses: bool,
) -> None:
    for arm, points in arms.items():
        epochs, heights = zip(*points, strict=True)
        # The markers of many epochs run into each other: about eight show which line it is.
        axes.plot(epochs, heights, **styles[arm], markevery=max(1, len(points) // 8), markersize=3.5)
    values = [value for points in arms.values() for _, value in points]
    if of_losses and min(values) >= 0:
        values = [max(value, SMALLEST_LOSS) for value in values]
    scale_axis(axes, "y", values)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _render(figure: Figure, file_format: str, dpi: int = 150) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(SVG_STYLE):
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=METADATA[file_format])
    return buffer.getvalue()
