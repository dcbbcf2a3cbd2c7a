"""`pretrain report`: the report of a comparison, drawn again from its records."""

from pathlib import Path

import click

from pipelines.commands.options import json_option
from pipelines.commands.verdict_output import print_verdict
from pipelines.run_folder import RunFolder


@click.command(epilog="Example: pretrain report runs/digits")
@click.argument("run_folder", type=click.Path(path_type=Path))
@json_option
def report(run_folder: Path, as_json: bool) -> None:
    """Draw the report of a comparison again, from the records in RUN_FOLDER; nothing is trained.

    A comparison that was killed, or is still running, is reported as far as its cells are finished.
    """
    print_verdict(RunFolder(run_folder).draw_report(), run_folder, as_json)
