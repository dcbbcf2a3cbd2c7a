"""`pretrain plot`: pictures of what a file holds."""

from pathlib import Path

import click

import checkpoints
from pipelines.commands.options import json_option, output_option, report_result, require_free_output
from pipelines.filters import first_layer_weight, image_shape
from pipelines.plots import curves_figure, filters_figure, save_figure
from pretrain.exceptions import DataError


@click.command(epilog="Example: pretrain plot filters stack.h5 -o filters.png")
@click.argument("what", type=click.Choice(("filters", "curves")))
@click.argument("file", type=click.Path(dir_okay=False))
@output_option("the picture (.png, .svg or .pdf)")
@click.option("--n-filters", type=click.IntRange(min=1), default=100, show_default=True, help="How many filters.")
@json_option
def plot(what: str, file: str, output: Path, overwrite: bool, n_filters: int, as_json: bool) -> None:
    """Draw the first layer's filters, or the learning curves, of the model in FILE."""
    require_free_output(output, overwrite)
    if what == "filters":
        model = checkpoints.load(file)
        figure = filters_figure(first_layer_weight(model), image_shape(file), n_filters=n_filters)
    else:
        history = checkpoints.read_history(file)
        if not history:
            raise DataError(f"{file} holds no history, so there are no curves to draw.")
        figure = curves_figure({Path(file).stem: history})
    save_figure(figure, output, overwrite=overwrite)
    report_result({"output": str(output), "what": what}, [str(output)], as_json)
