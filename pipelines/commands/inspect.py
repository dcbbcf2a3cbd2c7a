"""`pretrain inspect`: what a file holds."""

import json
from typing import Any

import click

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
    rows = flatten(description)
    width = max(len(name) for name, _ in rows)
    # Plain lines and no table: the names are long, and lines can be searched and compared.
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings and lists of mappings as rows of (dotted name, text); what is None is left out."""
    if value is None:
        return []
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in flatten(inner, f"{prefix}.{key}" if prefix else key)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [row for k, inner in enumerate(value) for row in flatten(inner, f"{prefix}[{k}]")]
    return [(prefix, value if isinstance(value, str) else json.dumps(value))]
