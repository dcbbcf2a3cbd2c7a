"""`pretrain datasets`: what DATA may be."""

import json

import click
from rich.table import Table

from pipelines.commands.options import json_option, wide_console
from pipelines.data import list_datasets


@click.command(epilog="Example: pretrain datasets")
@json_option
def datasets(as_json: bool) -> None:
    """List the built-in data sets and the kinds of files that DATA may name."""
    forms = list_datasets()
    if as_json:
        click.echo(json.dumps({"datasets": [form._asdict() for form in forms]}))
        return
    table = Table("DATA", "what it is", "size")
    for form in forms:
        table.add_row(form.name, form.description, form.size)
    wide_console().print(table)
