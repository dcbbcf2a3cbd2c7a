"""`pretrain export`: a model for other programs."""

from pathlib import Path

import click

import checkpoints
from checkpoints.foreign_formats import FORMATS
from pipelines.commands.options import json_option, output_option, report_result, require_free_output


@click.command(epilog="Example: pretrain export net.h5 --to onnx -o net.onnx")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--to", type=click.Choice(FORMATS), required=True, help="The format.")
@output_option("the file")
@json_option
def export(file: str, to: str, output: Path, overwrite: bool, as_json: bool) -> None:
    """Write the model in FILE for other programs.

    torch, safetensors: the state dict of a plain nn.Sequential that maps raw rows to predictions. onnx: its graph.
    npz: the arrays of FILE under their paths.
    """
    require_free_output(output, overwrite)
    checkpoints.export(checkpoints.load(file), output, to, overwrite=overwrite)
    report_result({"output": str(output), "to": to}, [str(output)], as_json)
