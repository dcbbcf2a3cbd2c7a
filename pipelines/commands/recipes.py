"""`pretrain recipes`: the experiments that can be run by name."""

import json

import click
from rich.table import Table

from pipelines.commands.options import json_option, wide_console
from pipelines.recipe import Recipe, list_recipes


@click.command(epilog="Example: pretrain recipes")
@json_option
def recipes(as_json: bool) -> None:
    """List the built-in recipes with the published numbers that they stand beside."""
    known = list_recipes()
    if as_json:
        rows = [{"name": r.name, "title": r.title, "data": r.data, "paper": r.paper} for r in known]
        click.echo(json.dumps({"recipes": rows}))
        return
    table = Table()
    table.add_column("recipe", no_wrap=True)
    for name in ("what it does", "data", "minutes", "published"):
        table.add_column(name)
    for recipe in known:
        published = _published(recipe)
        minutes = "" if recipe.minutes is None else f"{recipe.minutes:g}"
        table.add_row(recipe.name, recipe.title, recipe.data, minutes, published)
    wide_console().print(table)


def _published(recipe: Recipe) -> str:
    if recipe.paper is None or recipe.measure is None:
        return ""
    return f"{recipe.measure.replace('_', ' ')} {recipe.paper[recipe.measure]} ({recipe.paper['source']})"
