"""The page of the studies of a folder: all verdicts, the numbers behind them, and one figure a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipelines.atomic import write_text
from pipelines.measures import format_seconds
from pipelines.plots import to_svg
from pipelines.report import open_template
from pipelines.studies.catalogue import STUDIES
from pipelines.studies.evidence import level
from pipelines.studies.results import Results
from pipelines.studies.running import is_current, judged, read_study

PAGE = "studies.html"
COLUMNS = {"train_loss": ("training loss (nats)", ".4f"), "test_error": ("test error (%)", ".2f")}


def write_page(folder: Path) -> Path:
    """Write `studies.html` for all studies that the folder has, in place of an earlier one; return its path.

    Files of an earlier version of a study, which had other networks, are left out.
    """
    found = [(study, read_study(folder / f"{name}.json")) for name, study in STUDIES.items()]
    studies = [judged(study, kept) for study, kept in found if kept is not None and is_current(study, kept)]
    write_text(folder / PAGE, render_page(studies))
    return folder / PAGE


def render_page(studies: Sequence[Mapping[str, Any]]) -> str:
    """Render judged studies as one HTML page without scripts that fetches nothing.

    Parameters
    ----------
    studies : sequence of mapping
        What `pipelines.studies.running.run_study` returns.
    """
    n_holding = sum(bool(kept["verdict"]["holds"]) for kept in studies)
    return open_template(PAGE).render(
        studies=[_said(kept) for kept in studies], n_holding=n_holding, columns=[name for name, _ in COLUMNS.values()]
    )


def _said(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of one study, by the names that the template has for it."""
    study, results = STUDIES[kept["name"]], Results(kept["records"])
    diverged = sum(bool(record["diverged"]) for record in kept["records"])
    return {
        "study": study,
        "kept": kept,
        "verdict": kept["verdict"],
        "figure": Markup(to_svg(study.draw(results))),  # matplotlib and `to_svg` escape all text in it
        "seconds": format_seconds(kept["seconds"]),
        "rows": [
            (trial, *(level(results.of(trial, key), form) for key, (_, form) in COLUMNS.items()))
            for trial in results.trials
        ],
        "diverged": diverged,
        "n_seeds": len(results.seeds),
    }
