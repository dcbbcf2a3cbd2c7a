"""What `compare` and `report` print of a comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from pipelines.commands.options import is_quiet, report_result, wide_console
from pipelines.report import PAGE
from pipelines.statistics import summarise
from pipelines.summary_tables import format_table
from pipelines.verdict import verdict


def print_verdict(results: dict[str, Any], output: Path, as_json: bool) -> None:
    """Print the table and the verdict, or one JSON object; `output` is the run folder."""
    pretrained = {name: arm["pretrained"] for name, arm in results["settings"]["arms"].items()}
    rows = summarise(results["records"], pretrained)
    task = results["data"]["task"]
    sentences = verdict(rows, task=task)
    result = {
        "output": str(output),
        "report": str(output / PAGE),
        "verdict": sentences,
        "summary": [row.to_dict() for row in rows],
    }
    if not as_json and not is_quiet():
        wide_console().print(_table(format_table(rows, task=task)))
    report_result(result, [*sentences, f"report: {output / 'report.html'}"], as_json)


def _table(cells: Sequence[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in cells[0]:
        table.add_column(name, justify="left" if name == "arm" else "right")
    for row in cells[1:]:
        table.add_row(*row)
    return table
