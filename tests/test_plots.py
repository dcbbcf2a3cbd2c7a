"""Figures: what they show, what they refuse, and the files and page elements made of them."""

import io
import math
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipelines.error_plots import errors_against_labels_figure, errors_against_seconds_figure, errors_by_arm_figure
from pipelines.figure_style import PALETTE, arm_styles, new_panels
from pipelines.plots import curves_figure, curves_figures, filters_figure, save_figure, to_png, to_svg
from pipelines.statistics import SummaryRow, summarise
from pretrain.exceptions import DataError

SVG = "{http://www.w3.org/2000/svg}"
PRETRAINED = {"dbn": True, "relu": False, "relu-bn": False}


@pytest.fixture
def rows() -> list[SummaryRow]:
    return summarise(
        [
            {
                "arm": arm,
                "labels": labels,
                "n_labels": n_labels,
                "seed": seed,
                "test_error": level * (2.0 + place) + 0.1 * seed,
                "pretrain_seconds": 0.0,
                "seconds": 7.0 * (place + 1) + seed,
                "n_parameters": 11,
            }
            for labels, n_labels, level in [(30, 30, 10.0), (700, 700, 3.0), ("all", 5000, 1.0)]
            for place, arm in enumerate(PRETRAINED)
            for seed in range(3)
        ],
        PRETRAINED,
    )


def record(stage: str, epoch: int, loss: float, layer: int | None = None, **metrics: float) -> dict[str, Any]:
    return {"stage": stage, "layer": layer, "epoch": epoch, "n_epochs": 3, "loss": loss, **metrics}


@pytest.fixture
def histories() -> dict[str, list[dict[str, Any]]]:
    return {
        "dbn": [
            *(record("pretrain", e, 5.0 / e, layer) for layer in (0, 1) for e in (1, 2, 3)),
            record("head", 1, 2.0, validation_loss=2.5),
            *(record("finetune", e, 1.0 / e, validation_error=30.0 - e) for e in (1, 2, 3)),
        ],
        "relu": [
            {"stage": "train", "layer": None, "epoch": 1, "n_epochs": 3, "progress": 0.5},
            *(record("train", e, 3.0 / e, validation_error=40.0 - e) for e in (1, 2, 3)),
        ],
    }


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def picture(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def test_filters_are_the_first_ones_each_on_its_own_scale() -> None:
    weight = np.zeros((7, 6))
    weight[0], weight[1, 5], weight[2] = np.linspace(-2, 2, 6), -50.0, 1e-3
    figure = filters_figure(weight, (2, 3), n_filters=4)
    page = picture(figure)  # two rows and columns of filters with a white line between them
    assert page.shape == (2 * 2 + 1, 2 * 3 + 1)
    np.testing.assert_allclose(page[:2, :3], np.linspace(0, 1, 6).reshape(2, 3))  # -max black, max white
    assert page[1, 6] == 0.0
    np.testing.assert_allclose(page[0, 4:], 0.5)  # zero is middle grey
    np.testing.assert_allclose(page[3:, :3], 1.0)
    np.testing.assert_allclose(page[3:, 4:], 0.5)  # a filter of zeros divides by no zero
    assert titles(figure) == ["First 4 of 7 first-layer filters"]
    assert "First 4 of 7" in str(figure.get_label())


def test_filters_of_colour_images_keep_their_channels() -> None:
    weight = np.zeros((1, 2 * 3 * 3))
    weight[0, 1] = 4.0  # row 0, column 0, green
    page = picture(filters_figure(weight, (2, 3, 3)))
    assert page.shape == (2, 3, 3)
    np.testing.assert_allclose(page[0, 0], [0.5, 1.0, 0.5])
    assert picture(filters_figure(weight, (6, 3, 1))).shape == (6, 3)


@pytest.mark.parametrize("image_shape", [None, (12,), (2, 3, 2)])
def test_filters_of_no_images_are_rows(image_shape: tuple[int, ...] | None) -> None:
    weight = np.random.default_rng(0).normal(size=(5, 12))
    page = picture(filters_figure(weight, image_shape, n_filters=3, title="Weights"))
    assert page.shape == (3, 12)
    np.testing.assert_allclose(page, 0.5 + 0.5 * weight[:3] / np.abs(weight[:3]).max(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("weight", "image_shape", "message"),
    [
        (np.zeros((3, 10)), (3, 4), r"shape \(3, 4\) have 12 weights, but each hidden unit has 10"),
        (np.zeros(10), None, r"got shape \(10,\)"),
        (np.zeros((0, 10)), None, r"got shape \(0, 10\)"),
        (np.array([[1.0, math.nan]]), None, "1 finite weights"),
    ],
)
def test_filters_that_cannot_be_drawn(weight: np.ndarray, image_shape: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        filters_figure(weight, image_shape)


def test_curves_have_a_panel_for_each_stage_layer_and_metric(histories: dict[str, list[dict[str, Any]]]) -> None:
    figure = curves_figure(histories)
    assert titles(figure) == [
        "Pretraining of layer 1: loss",
        "Pretraining of layer 2: loss",
        "Output layer alone: training loss",
        "Output layer alone: validation loss",
        "All layers: training loss",
        "All layers: validation error (%)",
    ]
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 1, 1, 2, 2]
    pretrained, scratch = figure.axes[4].lines
    assert (pretrained.get_linestyle(), scratch.get_linestyle()) == ("-", "--")
    np.testing.assert_allclose(scratch.get_xydata(), [(1, 3.0), (2, 1.5), (3, 1.0)])
    assert "dbn, relu" in str(figure.get_label())


def test_single_panels_keep_the_colours_of_their_arms(histories: dict[str, list[dict[str, Any]]]) -> None:
    figures = curves_figures(histories)
    assert [titles(figure) for figure in figures] == [[title] for title in titles(curves_figure(histories))]
    assert [line.get_color() for line in figures[4].axes[0].lines] == list(PALETTE[:2])
    histories["sdae"] = histories.pop("dbn")
    assert [line.get_color() for line in curves_figures(histories)[0].axes[0].lines] == [PALETTE[1]]


@pytest.mark.parametrize("records", [{}, {"dbn": []}, {"dbn": [{"stage": "train", "progress": 0.5}]}])
def test_curves_of_nothing_are_an_error(records: dict[str, list[dict[str, Any]]]) -> None:
    with pytest.raises(DataError, match="no curves to draw"):
        curves_figure(records)


def test_errors_against_labels_are_means_in_bands(rows: list[SummaryRow]) -> None:
    figure = errors_against_labels_figure(rows)
    [axes] = figure.axes
    figure.draw_without_rendering()
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["30", "700", "all 5,000"]
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [(30, 30.1), (700, 9.1), (5000, 3.1)])
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--", "--"]
    band = next(child for child in axes.collections if isinstance(child, PolyCollection))
    assert band.get_datalim(axes.transData).bounds[1] == pytest.approx(2.1 - 0.1)  # dbn at all labels, std 0.1
    assert axes.get_ylabel() == "test error (%)"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(PRETRAINED)


def test_errors_by_arm_and_seconds_are_where_they_belong(rows: list[SummaryRow]) -> None:
    by_arm = errors_by_arm_figure(rows)
    assert titles(by_arm) == ["30 labels", "700 labels", "all 5,000 labels"]
    assert [text.get_text() for text in by_arm.axes[0].get_yticklabels()] == list(PRETRAINED)
    np.testing.assert_allclose(by_arm.axes[2].lines[2].get_xydata(), [(4.1, -2)])
    seconds = errors_against_seconds_figure(rows)
    assert titles(seconds) == titles(by_arm)
    np.testing.assert_allclose(seconds.axes[0].lines[0].get_xydata(), [(8.0, 20.1)])
    assert "relu 9.10" in str(seconds.get_label())


@pytest.mark.parametrize("draw", [errors_against_labels_figure, errors_by_arm_figure, errors_against_seconds_figure])
def test_errors_of_one_seed_and_of_a_regression_are_drawn(draw: Any, rows: list[SummaryRow]) -> None:
    single = [SummaryRow(**{**vars(row), "std": math.nan, "mean": row.mean / 1e3}) for row in rows]
    figure = draw(single, task="regression")
    assert "units of the target" in figure.axes[0].get_ylabel() + figure.axes[0].get_xlabel()
    to_svg(figure)
    with pytest.raises(DataError, match="no cell of the comparison is finished"):
        draw([])


def test_losses_of_exactly_zero_run_along_the_lower_end_of_their_axis() -> None:
    losses = [2.0, 0.5, 1e-3, 0.0, 1e-9]
    axes = curves_figure({"relu": [record("train", k + 1, loss) for k, loss in enumerate(losses)]}).axes[0]
    assert axes.get_yscale() == "log"
    assert axes.get_ylim() == pytest.approx((1e-6 / 1.25, 2.5))
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), losses)
    for others in ([0.0, 0.0], [-1.0, 2.0], [1.0, 2.0]):
        figure = curves_figure({"relu": [record("train", k + 1, loss) for k, loss in enumerate(others)]})
        assert figure.axes[0].get_yscale() == "linear"
        to_svg(figure)


def test_an_error_of_zero_is_drawn(rows: list[SummaryRow]) -> None:
    figure = errors_against_labels_figure([SummaryRow(**{**vars(row), "mean": 0.0}) for row in rows])
    assert figure.axes[0].get_yscale() == "linear"
    to_svg(figure)


def test_many_arms_have_styles_of_their_own() -> None:
    styles = arm_styles({f"arm {n}": False for n in range(20)})
    assert len({(style["color"], style["marker"]) for style in styles.values()}) == 20


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_saved_figures_are_of_their_kind_and_repeatable(suffix: str, rows: list[SummaryRow], tmp_path: Path) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    save_figure(errors_against_labels_figure(rows), first)
    save_figure(errors_against_labels_figure(rows), str(second))
    content = first.read_bytes()
    assert content.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])
    assert content == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_save_refuses_what_it_cannot_do(tmp_path: Path, rows: list[SummaryRow]) -> None:
    figure = errors_against_labels_figure(rows)
    with pytest.raises(DataError, match=r"saved as \.png, \.svg, \.pdf; got the suffix '\.gif'"):
        save_figure(figure, tmp_path / "a.gif")
    with pytest.raises(DataError, match="there is no folder"):
        save_figure(figure, tmp_path / "missing" / "a.png")
    existing = tmp_path / "a.png"
    existing.write_text("old")
    with pytest.raises(DataError, match="exists"):
        save_figure(figure, existing)
    assert existing.read_text() == "old"
    save_figure(figure, existing, overwrite=True)
    assert existing.read_bytes().startswith(b"\x89PNG")


def test_a_failed_save_leaves_the_old_file(
    tmp_path: Path, rows: list[SummaryRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    figure, path = errors_against_labels_figure(rows), tmp_path / "a.svg"
    path.write_text("old")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError, match=r"a\.svg cannot be written: No space left on device"):
        save_figure(figure, path, overwrite=True)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.svg", "old")]


def test_svg_is_an_accessible_element_that_is_the_same_each_time(rows: list[SummaryRow]) -> None:
    svg = to_svg(errors_against_labels_figure(rows))
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert (root.get("aria-label") or "").startswith(
        "Mean test error (%) against the number of labels. 30 labels: dbn"
    )
    assert not list(root.iter(f"{SVG}style"))  # it would rule the whole page
    assert "metadata" not in svg
    assert "relu-bn" in [text.text for text in root.iter(f"{SVG}text")]
    assert svg == to_svg(errors_against_labels_figure(rows))


def test_svg_ids_are_unique_on_a_page_and_found_by_their_references(rows: list[SummaryRow]) -> None:
    svgs = [to_svg(errors_against_labels_figure(rows)), to_svg(errors_against_seconds_figure(rows))]
    page = "".join(svgs)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 20
    references = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page)
    assert len(references) > 10
    assert {link or clip for link, clip in references} <= set(ids)


def test_text_of_arms_is_escaped_and_never_mathematics() -> None:
    name = '<b>$\\frac"&'
    figure = curves_figure({name: [record("train", 1, 1.0)], "$x^2$": [record("train", 1, 2.0)]})
    root = ElementTree.fromstring(to_svg(figure))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [name, "$x^2$"]
    assert {name, "$x^2$"} <= {text.text for text in root.iter(f"{SVG}text")}
    assert name in (root.get("aria-label") or "")


def test_drawing_leaves_no_global_state(rows: list[SummaryRow]) -> None:
    before = dict(matplotlib.rcParams)
    to_svg(errors_by_arm_figure(rows))
    filters_figure(np.ones((2, 6)), (2, 3))
    assert dict(matplotlib.rcParams) == before


def test_png_is_a_picture_of_the_figure() -> None:
    figure, [axes] = new_panels(1)
    axes.set_axis_off()
    figure.patch.set_facecolor(PALETTE[0])
    image = imread(io.BytesIO(to_png(figure, dpi=20)))
    assert image.shape[:2] == tuple(round(20 * inches) for inches in figure.get_size_inches()[::-1])
    assert to_hex(image[3, 3]) == PALETTE[0]
