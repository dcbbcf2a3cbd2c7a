"""`pretrain plot`: pictures of what a file holds."""

from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

import checkpoints
from pipelines.code_plots import codes_figure, reconstructions_figure
from pipelines.codes import DRAWN, Rows, encode, name_model, reconstruct, rows_to_show
from pipelines.commands.options import json_option, output_option, report_result, require_free_output
from pipelines.evaluation import network_or_stack
from pipelines.filters import first_layer_weight, image_shape
from pipelines.plots import curves_figure, filters_figure, save_figure
from pipelines.preparation import PreparedData, prepare_as_before, require_features
from pretrain.exceptions import DataError, SettingsError

OF_DATA = ("reconstructions", "codes")  # pictures that need --data
N_RECONSTRUCTIONS = 10


@click.command(epilog="Example: pretrain plot filters stack.h5 -o filters.png")
@click.argument("what", type=click.Choice(("filters", "curves", *OF_DATA)))
@click.argument("file", type=click.Path(dir_okay=False))
@output_option("the picture (.png, .svg or .pdf)")
@click.option("--n-filters", type=click.IntRange(min=1), default=100, show_default=True, help="How many filters.")
@click.option("--data", help="reconstructions, codes: the data, as in the other commands.")
@click.option("--target", help="Name of the label column of a csv file.")
@click.option(
    "--n-rows",
    type=click.IntRange(min=1),
    help=f"reconstructions, codes: how many rows. Default: {N_RECONSTRUCTIONS} reconstructions, all codes.",
)
@json_option
def plot(
    what: str,
    file: str,
    output: Path,
    overwrite: bool,
    n_filters: int,
    data: str | None,
    target: str | None,
    n_rows: int | None,
    as_json: bool,
) -> None:
    """Draw something of the model in FILE.

    filters: the weights of the first layer. curves: the losses and errors of its training. reconstructions: test
    rows, their reconstructions, and those of as many principal components as the code has units. codes: test rows
    in the plane, by their code and by two principal components.
    """
    require_free_output(output, overwrite)
    result: dict[str, Any] = {"output": str(output), "what": what}
    lines = [str(output)]
    if what in OF_DATA:
        if data is None:
            raise SettingsError(f"{what.capitalize()} are those of data: give --data, such as --data digits.")
        figure, found, notes = _draw_rows(what, file, data, target, n_rows)
        result, lines = result | found, lines + notes
    else:
        if any(value is not None for value in (data, target, n_rows)):
            raise SettingsError(
                f"--data, --target and --n-rows are for {' and '.join(OF_DATA)}; leave them out here."
            )
        figure = _draw_filters(file, n_filters) if what == "filters" else _draw_curves(file)
    save_figure(figure, output, overwrite=overwrite)
    report_result(result, lines, as_json)


def _draw_filters(file: str, n_filters: int) -> Figure:
    return filters_figure(first_layer_weight(checkpoints.load(file)), image_shape(file), n_filters=n_filters)


def _draw_curves(file: str) -> Figure:
    history = checkpoints.read_history(file)
    if not history:
        raise DataError(f"{file} holds no history, so there are no curves to draw.")
    return curves_figure({Path(file).stem: history})


def _draw_rows(
    what: str, file: str, data: str, target: str | None, n_rows: int | None
) -> tuple[Figure, dict[str, Any], list[str]]:
    """The figure, and what is said of it as JSON and in lines."""
    model = checkpoints.load(file)
    record = checkpoints.describe(file).get("provenance") or {}
    module = network_or_stack(model)
    prepared = prepare_as_before(data, record, module.scaling, target=target)
    require_features(prepared.dataset, module.n_visible, file)
    rows = rows_to_show(prepared, record)
    notes = []
    if rows.kind == DRAWN:
        notes = [f"{data}: not known to be the data of {file}, so some rows may be among those it was trained on"]
    draw = _draw_reconstructions if what == "reconstructions" else _draw_codes
    figure, found = draw(model, prepared, rows, n_rows)
    return figure, {"rows": rows.kind, **found}, notes


def _draw_reconstructions(
    model: Any, prepared: PreparedData, rows: Rows, n_rows: int | None
) -> tuple[Figure, dict[str, Any]]:
    dataset = prepared.dataset
    found = reconstruct(model, prepared, rows, n_rows or N_RECONSTRUCTIONS)
    figure = reconstructions_figure(
        found, name_model(model), dataset.name, image_shape=dataset.image_shape, value_range=dataset.value_range
    )
    errors = {"error": found.error, "pca_error": found.pca_error, "n_components": found.n_components}
    return figure, {"n_rows": found.n_rows, **errors}


def _draw_codes(model: Any, prepared: PreparedData, rows: Rows, n_rows: int | None) -> tuple[Figure, dict[str, Any]]:
    shown = Rows(rows.X[:n_rows], None if rows.y is None else rows.y[:n_rows], rows.kind)
    codes = encode(model, prepared, shown)
    figure = codes_figure(codes, name_model(model), prepared.dataset.name)
    return figure, {"n_rows": len(shown.X), "code_size": codes.code_size}
