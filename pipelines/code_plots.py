"""Figures of what a model makes of single rows: reconstructions, and codes in the plane.

The label of each figure (`Figure.get_label`) is its text alternative.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.codes import DRAWN, TEST, TRAINING, Codes, Reconstructions
from pipelines.data import task_of
from pipelines.figure_style import MARKERS, PALETTE, STYLE, WIDTH, add_legend, new_panels
from pipelines.images import as_images, mosaic

IMAGES_OF_A_LINE = 10
MOST_CLASSES = 20  # more could not be told apart
CLASS_COLOURS = (*PALETTE, "#882255", "#8c8c8c", "#a6a000")  # ten, for the ten digits
CALLED = {TEST: "test rows", TRAINING: "training rows", DRAWN: "rows"}


@matplotlib.rc_context(STYLE)
def reconstructions_figure(
    rows: Reconstructions,
    model_name: str,
    data_name: str,
    *,
    image_shape: tuple[int, ...] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Figure:
    """Draw rows, what the model makes of them, and what as many principal components do, one above the other.

    The three panels have the same shades. Images are drawn side by side, ten a line; rows that are no images are
    the rows of a heat map.

    Parameters
    ----------
    rows : Reconstructions
    model_name, data_name : str
    image_shape : tuple of int or None
        Shape of one row.
    value_range : tuple of float or None
        What is black and what is white. Default: the smallest and the largest value of the originals, over all of
        an image, or for each feature where rows are no images.
    """
    is_image = image_shape is not None and (
        len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] in (1, 3))
    )
    one = "an image" if is_image else "a row"
    number = f"{rows.n_components} component{'s' * (rows.n_components > 1)}"
    panels = {
        f"The first {len(rows.originals)} of {rows.n_rows:,} {CALLED[rows.kind]} of {data_name}": rows.originals,
        f"{model_name}:\nmean squared error {rows.error:.4g} {one}, of all": rows.rebuilt,
        f"PCA, {number}:\nmean squared error {rows.pca_error:.4g} {one}, of all": rows.by_pca,
    }
    axis = None if is_image else 0
    low, high = value_range or (rows.originals.min(axis=axis), rows.originals.max(axis=axis))
    spread = np.subtract(high, low, dtype=np.float64)
    middle = np.where(spread > 0, 0.0, 0.5)  # a constant column is neither black nor white
    shades = {
        title: np.clip(middle + (X.astype(np.float64) - low) / np.where(spread > 0, spread, 1.0), 0, 1)
        for title, X in panels.items()
    }
    figure = _images_figure(shades, image_shape) if is_image and image_shape else _rows_figure(shades)
    figure.set_label("; ".join(panels).replace("\n", " ") + ".")
    return figure


@matplotlib.rc_context(STYLE)
def codes_figure(codes: Codes, model_name: str, data_name: str) -> Figure:
    """Draw codes as dots in the plane, beside the first two principal components of the same rows.

    Up to 20 classes have colours and markers of their own; targets of a regression are shades of one scale.

    Parameters
    ----------
    codes : Codes
    model_name, data_name : str
    """
    figure, (left, right) = new_panels(2, n_columns=2, height=0.85 * WIDTH)
    is_plain = codes.code_size == 2
    what = "its code of 2 units" if is_plain else f"its code of {codes.code_size} units, projected to 2 by PCA"
    labels = codes.y
    for axes, points in ((left, codes.code), (right, codes.by_pca)):
        _draw_dots(axes, points, labels)
    unit = "code unit {}" if is_plain else "component {} of the code"
    left.set(title=f"{model_name}:\n{what}", xlabel=unit.format(1), ylabel=unit.format(2))
    right.set(title="PCA:\nfirst 2 components of the data", xlabel="component 1", ylabel="component 2")
    classes = _classes(labels)
    rows = f"{len(codes.code):,} {CALLED[codes.kind]} of {data_name}"
    if classes is not None:
        rows += ", coloured by label"
        add_legend(figure, {str(label): _class_style(place) for place, label in enumerate(classes)})
    elif _is_target(labels):
        rows += ", shaded by target"
        figure.colorbar(right.collections[0], ax=right, label="target")
    elif labels is not None:
        rows += f", more than {MOST_CLASSES} classes in one colour"
    figure.suptitle(rows, x=0.01, ha="left", fontsize=STYLE["axes.titlesize"])
    figure.set_label(f"{rows}: {model_name}, {what}, beside the first 2 principal components of the data.")
    return figure


def _images_figure(shades: Mapping[str, np.ndarray], image_shape: tuple[int, ...]) -> Figure:
    pages = {title: mosaic(as_images(X, image_shape), min(len(X), IMAGES_OF_A_LINE)) for title, X in shades.items()}
    height, width = next(iter(pages.values())).shape[:2]
    figure, panels = new_panels(len(pages), height=0.5 + min(2 * WIDTH, WIDTH * height / width))
    for axes, (title, page) in zip(panels, pages.items(), strict=True):
        axes.imshow(page, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title)
    return figure


def _rows_figure(shades: Mapping[str, np.ndarray]) -> Figure:
    n_rows = len(next(iter(shades.values())))
    figure, panels = new_panels(len(shades), height=min(WIDTH, 1.0 + 0.06 * n_rows))
    for axes, (title, X) in zip(panels, shades.items(), strict=True):
        axes.imshow(X, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.grid(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=title, ylabel="row", yticks=[])
    panels[-1].set_xlabel("feature, each from its lowest value (black) to its highest (white)")
    return figure


def _draw_dots(axes: Axes, points: np.ndarray, labels: np.ndarray | None) -> None:
    """Dots of (n, 2) points; as pixels even in a vector figure, which thousands of dots would make huge."""
    dots: Any = {"s": min(14.0, max(3.0, 6000 / len(points))), "linewidths": 0, "alpha": 0.8, "rasterized": True}
    classes = _classes(labels)
    if classes is None or labels is None:
        colours: Any = {"c": labels, "cmap": "viridis"} if _is_target(labels) else {"color": PALETTE[0]}
        axes.scatter(points[:, 0], points[:, 1], **colours, **dots)
        return
    for place, label in enumerate(classes):
        style = _class_style(place)
        own = points[labels == label]
        axes.scatter(own[:, 0], own[:, 1], color=style["color"], marker=style["marker"], **dots)


def _classes(labels: np.ndarray | None) -> np.ndarray | None:
    """The classes that are told apart; None without labels, for a regression and for too many classes."""
    if labels is None or task_of(labels) == "regression":
        return None
    classes = np.unique(labels)
    return classes if len(classes) <= MOST_CLASSES else None


def _is_target(labels: np.ndarray | None) -> bool:
    return labels is not None and task_of(labels) == "regression"


def _class_style(place: int) -> dict[str, str]:
    colour, marker = CLASS_COLOURS[place % len(CLASS_COLOURS)], MARKERS[place % len(MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": "none"}
