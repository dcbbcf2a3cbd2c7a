"""Recipes: a whole experiment in one TOML file, with the number that it should reach.

A recipe has a `title`, a `description`, the `data` that it runs on, optionally the `paper`'s number, and `steps`.
A step names a `command` of the command line and gives its options under the same names; the files between the
steps are chosen by the run. So a recipe can be read as the commands that it stands for. Steps with the same
`control` are an experiment beside the main one, whose figures are printed under that name.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pretrain.exceptions import DataError, SettingsError

COMMANDS = ("stack", "finetune", "autoencoder", "dbn", "evaluate", "compare")
KEYS = ("title", "description", "data", "minutes", "paper", "steps")
# What a step writes inside the run folder, and what reads the last that was written: a stack, for fine-tuning.
OUTPUTS = {"stack": "stack.h5", "finetune": "net.h5", "autoencoder": "autoencoder.h5", "dbn": "dbn.h5"}
READS = ("finetune", "evaluate")
# Options without a value: true gives them, false leaves them out.
FLAGS = ("likelihood", "monitor", "baselines", "without_labels", "flip")
# Measures that a paper's number can be of, as the commands print them.
MEASURES = ("test_error", "test_log_likelihood")


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
        `source` and one of `MEASURES`: the published number that the run is printed beside.
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

    @property
    def measure(self) -> str | None:
        """Which of `MEASURES` the paper's number is of."""
        return next((name for name in MEASURES if name in (self.paper or {})), None)

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
        steps: list[list[str]] = []
        written: dict[str, str | None] = {"stack": None, "any": None}
        for step in self.steps:
            read = written["stack" if step["command"] == "finetune" else "any"]
            steps.append(self._arguments({**common, **step, **forced}, data, output, read))
            if (file := self._output(step)) is not None:
                written |= {step["command"]: file, "any": file}
        return steps

    @property
    def controls(self) -> list[str | None]:
        """The control that each step belongs to, None for the main experiment."""
        return [step.get("control") for step in self.steps]

    def _output(self, step: Mapping[str, Any]) -> str | None:
        file, control = OUTPUTS.get(step["command"]), step.get("control")
        return file if file is None or control is None else f"{re.sub('[^a-z0-9]+', '-', control.lower())}-{file}"

    def _arguments(self, step: Mapping[str, Any], data: str, output: Path, read: str | None) -> list[str]:
        command = step["command"]
        arguments = [command]
        if command in READS:
            arguments.append(str(output / str(read)))
        arguments.append(data)
        if command == "compare":
            arguments += ["--output", str(output)]
        elif command in OUTPUTS:
            arguments += ["--output", str(output / str(self._output(step))), "--overwrite"]
        options = {name: value for name, value in step.items() if name not in ("command", "control")}
        for name, value in options.items():
            spelled = "--" + name.replace("_", "-")
            if name not in FLAGS:
                arguments += [spelled, _as_text(value)]
            elif value:
                arguments.append(spelled)
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
    steps, paper = content["steps"], content.get("paper", {MEASURES[0]: 0, "source": ""})
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise SettingsError(f"{path}: steps must be one or more [[steps]] tables; got {steps!r}.")
    if not isinstance(paper, dict) or "source" not in paper or not set(paper) & set(MEASURES):
        raise SettingsError(f"{path}: [paper] must have source and one of {', '.join(MEASURES)}; got {paper!r}.")
    if steps[0].get("command") in READS:
        raise SettingsError(
            f"{path}: the first step, {steps[0]['command']!r}, has no file to read; begin with a step that trains."
        )
    for step in steps:
        if step.get("command") not in COMMANDS:
            raise SettingsError(
                f"{path}: a step's command must be one of {', '.join(COMMANDS)}; got {step.get('command')!r}."
            )


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
