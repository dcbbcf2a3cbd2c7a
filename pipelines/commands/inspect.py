"""`pretrain inspect`: what a file holds."""

import json
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

import checkpoints
from pipelines.commands.options import json_option


@click.command(epilog="Example: pretrain inspect net.h5")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
def inspect(file: str, as_json: bool) -> None:
    """Print what FILE holds: layers, sizes, settings, data, split, versions; everything but the weights."""
    description = checkpoints.describe(file)
    if as_json:
        click.echo(json.dumps(description))
        return
    table = Table(title=file, show_header=False, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in flatten(description):
        table.add_row(name, value)
    Console().print(table)


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings and lists of mappings as rows of (dotted name, text); what is None is left out."""
    if value is None:
        return []
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in flatten(inner, f"{prefix}.{key}" if prefix else key)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [row for k, inner in enumerate(value) for row in flatten(inner, f"{prefix}[{k}]")]
    return [(prefix, value if isinstance(value, str) else json.dumps(value))]
