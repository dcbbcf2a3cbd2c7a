"""`pretrain study`: claims of the literature, tried and judged."""

from pathlib import Path
from typing import Any

import click

from pipelines.commands.options import command_line, device_option, json_option, report_result
from pipelines.preparation import prepare
from pipelines.progress import TrainingProgress
from pipelines.studies.catalogue import STUDIES, studies_named
from pipelines.studies.page import write_page
from pipelines.studies.running import run_study
from pretrain.exceptions import SettingsError

SMALL_DATA, FULL_DATA = "digits", "mnist"


@click.command(epilog="Example: pretrain study dropout --seeds 5 -o runs/studies")
@click.argument("names", nargs=-1)
@click.option("--all", "run_all", is_flag=True, help="Every study; what the folder has is not run again.")
@click.option("--data", help="DATA with class labels.  [default: digits; with --full mnist]")
@click.option("--full", is_flag=True, help="All training rows and networks of a size for a GPU.")
@click.option("--seeds", type=click.IntRange(2, 1000), default=5, show_default=True, help="How many, from --seed up.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The first seed.")
@device_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/studies"),
    show_default=True,
    help="Folder for the figures of each study and the page of all of them.",
)
@click.option("--overwrite", is_flag=True, help="Run studies again that the folder has.")
@json_option
def study(
    names: tuple[str, ...],
    run_all: bool,
    data: str | None,
    full: bool,
    seeds: int,
    seed: int,
    device: str,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Try the claims that NAMES name, and say of each whether it holds at this scale.

    Each study trains small networks, judges them by a criterion that was stated beforehand, and adds its verdict, the
    numbers and one figure to the page of the folder. Without --full a study takes one to ten minutes of a core. A
    repeated command trains only the networks that are not there yet.
    """
    if run_all and names:
        raise SettingsError(f"Give either --all or names of studies, not both: {', '.join(names)}.")
    chosen = list(STUDIES.values()) if run_all else studies_named(names)
    if not chosen:
        raise SettingsError(f"Name a study, or give --all. The studies are {', '.join(STUDIES)}.")
    _make_folder(output)
    source = data or (FULL_DATA if full else SMALL_DATA)
    verdicts: list[dict[str, Any]] = []
    with TrainingProgress() as progress:
        for one in chosen:
            kept = run_study(
                one,
                prepare(source, validation_fraction=one.validation_fraction),
                output,
                full=full,
                seeds=range(seed, seed + seeds),
                device=device,
                overwrite=overwrite,
                command=command_line(),
                progress=progress,
            )
            verdicts.append({"name": one.name, "claim": one.claim, "seconds": kept["seconds"], **kept["verdict"]})
            page = write_page(output)
    lines = [line for verdict in verdicts for line in _lines(verdict)]
    report_result({"output": str(output), "page": str(page), "studies": verdicts}, [*lines, f"page: {page}"], as_json)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"The folder {folder} of -o cannot be made: {error.strerror}.") from error


def _lines(verdict: dict[str, Any]) -> list[str]:
    parts = [
        f"  {'shown' if part['holds'] else 'not shown'}: {part['statement']}: {part['evidence']}"
        for part in verdict["parts"]
    ]
    reason = [f"  {verdict['reason']}"] if verdict["reason"] else []
    return [f"{verdict['name']}: {verdict['word']}. {verdict['claim']}", *parts, *reason]
