"""The report of a comparison: one HTML page that holds everything and fetches nothing, and the same as Markdown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from pipelines.atomic import write_text
from pipelines.measures import measure_of
from pipelines.report_facts import (
    COST_NOTE,
    facts_of,
    notes_of,
    settings_tables,
    space_table,
    split_sentences,
    tuning_table,
    unfinished,
)
from pipelines.report_figures import confusion_figures, curve_figures, error_figures, filter_figures, inside_figures
from pipelines.statistics import summarise
from pipelines.summary_tables import format_costs, format_table
from pipelines.verdict import verdict
from pretrain.exceptions import DataError

TEMPLATES = Path(__file__).parent / "templates"
REQUIRED = ("name", "command", "data", "split", "settings", "machine", "versions", "records")
PAGE, TEXT = "report.html", "report.md"


def write_report(results: Mapping[str, Any], filters: Mapping[str, np.ndarray], folder: str | Path) -> None:
    """Write `report.html` and `report.md` into a folder, in place of earlier ones; each complete or not at all."""
    write_text(Path(folder) / PAGE, render_report(results, filters))
    write_text(Path(folder) / TEXT, render_text(results))


def render_report(results: Mapping[str, Any], filters: Mapping[str, np.ndarray]) -> str:
    """Render a comparison, finished or not, as one self-contained HTML page.

    Parameters
    ----------
    results : mapping
        What `records.json` of a run folder holds.
    filters : mapping of str to np.ndarray of shape (n_hidden, n_visible)
        First-layer weights of each arm; may be empty.

    Returns
    -------
    str
        No script, no reference to anything outside the page.

    Raises
    ------
    DataError
        If a part of the results is missing, or a record is not usable (see `summarise`).
    """
    said = _said(results)
    rows, task = said["rows"], results["data"]["task"]
    return open_template(PAGE).render(
        **said,
        error_figures=error_figures(rows, task) if rows else [],
        curve_figures=curve_figures(results["records"], rows) if rows else [],
        inside_figures=inside_figures(results, rows) if rows else [],
        confusion_figures=confusion_figures(results, rows) if rows else [],
        filter_figures=filter_figures(results, filters),
    )


def render_text(results: Mapping[str, Any]) -> str:
    """Render a comparison as Markdown: what `render_report` says, without its pictures; it raises the same."""
    return open_template(TEXT).render(**_said(results))


def _said(results: Mapping[str, Any]) -> dict[str, Any]:
    """What both forms of the report say, by the names that the templates have for it."""
    missing = [key for key in REQUIRED if key not in results]
    if missing:
        raise DataError(f"These are no results of a comparison: {', '.join(missing)} is missing; give records.json.")
    arms, task = results["settings"]["arms"], results["data"]["task"]
    rows = summarise(results["records"], {arm: bool(about["pretrained"]) for arm, about in arms.items()})
    table = format_table(rows, task=task)
    return {
        "results": results,
        "measure": measure_of(task),
        "sentences": verdict(rows, task=task),
        "unfinished": unfinished(results),
        "rows": rows,
        "head": table[0],
        "lines": list(zip(rows, table[1:], strict=True)),
        "costs": format_costs(rows),
        "cost_note": COST_NOTE,
        "notes": notes_of(results),
        "tuning": tuning_table(results),
        "space": space_table(results),
        "arms": arms,
        "settings_tables": settings_tables(arms),
        "facts": facts_of(results),
        "split_sentences": split_sentences(results),
    }


def open_template(name: str) -> Any:
    """A template of the folder `templates`: HTML is escaped, a name that is not given an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _plain
    return environment.get_template(name)


def _plain(text: Any) -> str:
    """Text for a line or a table's cell of Markdown, with nothing in it that would be markup."""
    plain = " ".join(str(text).split())
    return plain.translate({ord(sign): f"\\{sign}" for sign in "\\|<>*_`[]#"})
