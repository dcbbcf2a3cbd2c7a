"""`pretrain run`: a recipe from its first step to its number."""

import dataclasses
import json
import shlex
import time
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import checkpoints
from pipelines.commands.autoencoder import autoencoder
from pipelines.commands.compare import compare
from pipelines.commands.dbn import dbn
from pipelines.commands.evaluate import evaluate
from pipelines.commands.finetune import finetune
from pipelines.commands.options import ARGUMENTS, QUIET, RESULT, resume_options, run_options, tensorboard_option
from pipelines.commands.stack import stack
from pipelines.recipe import OUTPUTS, Recipe, read_recipe
from pipelines.resuming import state_path
from pretrain.exceptions import SettingsError

STEPS = {str(command.name): command for command in (stack, finetune, autoencoder, dbn, evaluate, compare)}


@click.command(epilog="Example: pretrain run demo --output runs/demo")
@click.argument("recipe")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder; runs/RECIPE by default.")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier run left in the folder.")
@click.option("--data", help="Run on other data than the recipe names.")
@resume_options
@tensorboard_option
@run_options
def run(
    recipe: str,
    output: Path | None,
    overwrite: bool,
    data: str | None,
    checkpoint_every: float,
    resume: bool,
    tensorboard: Path | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Run RECIPE (a name that `pretrain recipes` lists, or a .toml file), and print the published number too.

    With --resume, steps whose outputs are there are not repeated, and the one that was stopped goes on.
    """
    chosen = read_recipe(recipe)
    folder = output or Path("runs") / chosen.name
    steps = chosen.commands(data or chosen.data, folder, {"seed": seed, "device": device}, typed=_typed())
    for name, *arguments in steps:
        STEPS[name].make_context(name, arguments)  # a wrong option is found before anything runs
    compares = any(step["command"] == "compare" for step in chosen.steps)
    if resume and not folder.exists():
        raise SettingsError(f"There is nothing to resume: {folder} does not exist. Leave --resume out.")
    if not compares:  # a comparison knows its own folder and goes on in it
        _open_folder(folder, overwrite or resume)
    started = time.perf_counter()
    result: dict[str, Any] = {}
    controls: dict[str, dict[str, Any]] = {}
    for number, (arguments, control) in enumerate(zip(steps, chosen.controls, strict=True), start=1):
        if compares and overwrite:
            arguments.append("--overwrite")
        if resume and arguments[0] == "compare":
            arguments.append("--resume")
        if _takes(arguments[0], "resume"):
            arguments += ["--checkpoint-every", str(checkpoint_every)]
        if tensorboard is not None and _takes(arguments[0], "tensorboard"):
            arguments += ["--tensorboard", str(tensorboard / f"{number} {arguments[0]}")]
        if resume and arguments[0] in OUTPUTS and _is_done(arguments):
            continue
        click.echo(f"pretrain {shlex.join(arguments)}", err=True)
        (result if control is None else controls.setdefault(control, {})).update(_step(arguments, as_json))
    if controls:
        result["controls"] = controls
    published = chosen if data in (None, chosen.data) else dataclasses.replace(chosen, paper=None)
    _report(published, {**result, "seconds": time.perf_counter() - started}, as_json)


def _open_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not overwrite:
        raise SettingsError(f"{folder} exists. Give another --output, or --overwrite to replace its files.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be a run folder: {error.strerror}.") from error


def _takes(command: str, option: str) -> bool:
    return option in {parameter.name for parameter in STEPS[command].params}


def _is_done(arguments: list[str]) -> bool:
    """Whether the output of a step is there; to a step that was stopped, --resume is added."""
    output = Path(arguments[arguments.index("--output") + 1])
    if state_path(output).exists():
        arguments.append("--resume")
        return False
    if not output.exists():
        return False
    command = (checkpoints.describe(output)["provenance"] or {}).get("command", "")
    if _without_keeping(command) != _without_keeping(shlex.join(["pretrain", *arguments])):
        raise SettingsError(
            f"{output} is not what this recipe makes with these options, but was made by {command!r}. Give the "
            "options of then, or --overwrite in place of --resume to begin anew."
        )
    return True


def _without_keeping(command: str) -> str:
    return command.partition(" --checkpoint-every ")[0]


def _typed() -> set[str]:
    """Which of seed and device were given on the command line; they win over the recipe's own."""
    source = click.get_current_context().get_parameter_source
    return {name for name in ("seed", "device") if source(name) is ParameterSource.COMMANDLINE}


def _step(arguments: list[str], as_json: bool) -> dict[str, Any]:
    command = STEPS[arguments[0]]
    parent = click.get_current_context()
    with command.make_context(arguments[0], list(arguments[1:]), parent=parent) as context:
        context.meta[ARGUMENTS] = arguments
        context.meta[QUIET] = as_json
        command.invoke(context)
    return context.meta.get(RESULT) or {}


def _report(recipe: Recipe, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"recipe": recipe.name, "paper": recipe.paper, **result}))
        return
    measure = recipe.measure
    if recipe.paper and measure is not None and measure in result:
        click.echo(
            f"{measure.replace('_', ' ')}: reached {result[measure]:.4g}, published {recipe.paper[measure]} "
            f"({recipe.paper['source']}), {result['seconds']:.1f} s"
        )
    for control, figures in result.get("controls", {}).items():
        if measure in figures:
            click.echo(f"  control, {control}: {figures[measure]:.4g}")
