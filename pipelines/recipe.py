"""Recipes: a whole experiment in one TOML file, with the number that it should reach.

A recipe has a `title`, a `description`, the `data` that it runs on, optionally the `paper`'s number, and `steps`.
A step names a `command` of the command line and gives its options under the same names; the files between the
steps are chosen by the run. So a recipe can be read as the commands that it stands for.
"""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pretrain.exceptions import DataError, SettingsError

COMMANDS = ("stack", "finetune", "evaluate", "compare")
KEYS = ("title", "description", "data", "minutes", "paper", "steps")
# What each step reads and writes inside the run folder.
INPUTS = {"finetune": "stack.h5", "evaluate": "net.h5"}
OUTPUTS = {"stack": "stack.h5", "finetune": "net.h5"}


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Parameters
    ----------
    name : str
    title, description : str
    data : str
        What `DATA` is on the command line, unless the run names other data.
    steps : tuple of dict
        `command` and its options.
    paper : dict or None
        `test_error` and `source`: the published number that the run is printed beside.
    minutes : float or None
        What it took on two cores.
    """

    name: str
    title: str
    description: str
    data: str
    steps: tuple[Mapping[str, Any], ...]
    paper: Mapping[str, Any] | None = None
    minutes: float | None = None

    def commands(
        self, data: str, output: Path, common: Mapping[str, Any], typed: Collection[str] = ()
    ) -> list[list[str]]:
        """The steps as arguments of the command line.

        Parameters
        ----------
        data : str
        output : Path
            The run folder.
        common : mapping
            Options that every step that knows them gets: seed, device.
        typed : collection of str
            Those of them that win over a step's own.
        """
        forced = {name: common[name] for name in typed}
        steps = [{**common, **step, **forced} for step in self.steps]
        return [self._arguments(step, data, output) for step in steps]

    def _arguments(self, step: Mapping[str, Any], data: str, output: Path) -> list[str]:
        command = step["command"]
        arguments = [command]
        if command in INPUTS:
            arguments.append(str(output / INPUTS[command]))
        arguments.append(data)
        if command == "compare":
            arguments += ["--output", str(output)]
        elif command in OUTPUTS:
            arguments += ["--output", str(output / OUTPUTS[command]), "--overwrite"]
        unknown = ("command", "seed") if command == "evaluate" else ("command",)
        options = {name: value for name, value in step.items() if name not in unknown}
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), _as_text(value)]
        return arguments


def list_recipes() -> list[Recipe]:
    """The built-in recipes, by name."""
    folder = resources.files("pipelines") / "recipes"
    return [read_recipe(str(path)) for path in sorted(folder.iterdir(), key=str) if path.name.endswith(".toml")]


def read_recipe(name_or_path: str) -> Recipe:
    """A built-in recipe by its name, or one from a TOML file.

    Raises
    ------
    DataError
        If there is no such recipe or the file cannot be read.
    SettingsError
        If it has an unknown key or command.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = Path(str(resources.files("pipelines") / "recipes" / f"{name_or_path}.toml"))
        if not path.is_file():
            known = ", ".join(recipe.name for recipe in list_recipes())
            raise DataError(f"There is no recipe {name_or_path!r}; give a .toml file or one of {known}.")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: the recipe cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}.") from error
    _check(content, path)
    return Recipe(name=path.stem, **{**content, "steps": tuple(content["steps"])})


def _check(content: Mapping[str, Any], path: Path) -> None:
    unknown = [key for key in content if key not in KEYS]
    missing = [key for key in ("title", "description", "data", "steps") if key not in content]
    if unknown or missing:
        problem = f"unknown key {unknown[0]!r}" if unknown else f"no {missing[0]!r}"
        raise SettingsError(f"{path}: {problem}; a recipe has {', '.join(KEYS)}.")
    for key in ("title", "description", "data"):
        if not isinstance(content[key], str):
            raise SettingsError(f"{path}: {key!r} must be text; got {content[key]!r}.")
    steps, paper = content["steps"], content.get("paper", {"test_error": 0, "source": ""})
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise SettingsError(f"{path}: steps must be one or more [[steps]] tables; got {steps!r}.")
    if not isinstance(paper, dict) or not {"test_error", "source"} <= set(paper):
        raise SettingsError(f"{path}: [paper] must have test_error and source; got {paper!r}.")
    for step in steps:
        if step.get("command") not in COMMANDS:
            raise SettingsError(
                f"{path}: a step's command must be one of {', '.join(COMMANDS)}; got {step.get('command')!r}."
            )


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
