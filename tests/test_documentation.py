"""Whatever a user can name is documented: public names and their parameters, commands, arguments and options."""

import importlib
import inspect
import re
import shlex
from pathlib import Path

import click
import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc

import checkpoints
import pretrain
import pretrain.estimators
from pipelines.cli import main

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.glob("**/*.md")}
ROLES = re.findall(r"\{(?:class|func|meth|mod|attr)\}`~?([\w.]+)`", "\n".join(PAGES.values()))
COMMAND_LINES = re.findall(r"^pretrain (.+)$", "\n".join(PAGES.values()), flags=re.MULTILINE)
MODULES = (pretrain, pretrain.estimators, checkpoints)
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if name != "__version__"
}
IMPLIED = {"self", "cls", "args", "kwargs", "values"}  # parameters that are not for users to name


def documented_names() -> set[str]:
    """What the API pages describe: the full names behind their autodoc directives."""
    names, module = set(), ""
    for page in sorted((DOCS / "api").glob("*.rst")):
        for directive, name in re.findall(r"^\.\. ([\w:]+):: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            if directive == "py:currentmodule":
                module = name
            elif directive in ("autoclass", "autofunction"):
                names.add(name if "." in name else f"{module}.{name}")
    return names


def undocumented_parameters(thing: object) -> list[str]:
    """Parameters of a class or function that its docstring does not name."""
    document = ClassDoc(thing) if inspect.isclass(thing) else FunctionDoc(thing)
    known = {name.strip(" *") for entry in document["Parameters"] for name in entry.name.split(",")}
    text = inspect.getdoc(thing) or ""
    parameters = inspect.signature(thing).parameters
    return [name for name in parameters if name not in known | IMPLIED and f"`{name}`" not in text]


def test_every_public_name_is_on_an_api_page():
    found = documented_names()
    missing = [name for name in PUBLIC if name.replace("pretrain.estimators.", "pretrain.") not in found]
    assert missing == []


def test_names_on_api_pages_exist():
    for name in documented_names():
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


# A function of one obvious argument may say what it is in its first sentence.
SELF_EVIDENT = {"checkpoints.load": {"path"}, "checkpoints.describe": {"path"}, "checkpoints.read_history": {"path"}}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_parameter_is_documented(name):
    assert set(undocumented_parameters(PUBLIC[name])) - SELF_EVIDENT.get(name, set()) == set()


def test_a_parameter_without_a_word_is_found():
    def documented(known: int, unknown: int) -> None:
        """Do nothing.

        Parameters
        ----------
        known : int
        """

    assert undocumented_parameters(documented) == ["unknown"]


def commands(group: click.Group, path: str) -> dict[str, click.Command]:
    """Every command below a group by what is typed for it."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[f"{path} {name}"] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{path} {name}")
    return found


COMMANDS = commands(main, "pretrain")


def what_is_undocumented(command: click.Command) -> list[str]:
    """Options without help, arguments that the help names neither by name nor by each choice, a missing help."""
    text = command.help or ""
    faults = [] if text else ["help"]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help:
            faults.append(parameter.opts[0])
        elif isinstance(parameter, click.Argument):
            name = parameter.human_readable_name
            choices = getattr(parameter.type, "choices", ["?"])
            if name not in text and not all(f"{choice}:" in text for choice in choices):
                faults.append(name)
    return faults


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_documented(name):
    assert what_is_undocumented(COMMANDS[name]) == []


@pytest.mark.parametrize("name", sorted(name for name in COMMANDS if not isinstance(COMMANDS[name], click.Group)))
def test_every_command_has_an_example_that_parses(name):
    example = (COMMANDS[name].epilog or "").removeprefix("Example: ")
    assert example.startswith(name)
    parse(example)


def test_an_option_without_a_word_is_found():
    bare = click.Command("bare", help="Do nothing.", params=[click.Option(["--unknown"]), click.Argument(["file"])])
    assert what_is_undocumented(bare) == ["--unknown", "FILE"]


def test_the_command_line_page_is_made_from_click_and_whole():
    page = (DOCS / "command_line.rst").read_text(encoding="utf-8")
    assert ".. click:: pipelines.cli:main" in page
    assert ":nested: full" in page


def test_pages_name_what_exists():
    assert len(ROLES) > 20
    for name in ROLES:
        parts = name.split(".")
        thing: object = None
        for n in range(len(parts), 0, -1):
            try:
                thing = importlib.import_module(".".join(parts[:n]))
            except ModuleNotFoundError:
                continue
            for attribute in parts[n:]:
                thing = getattr(thing, attribute)
            break
        assert thing is not None, name


def test_commands_of_the_pages_parse():
    assert len(COMMAND_LINES) > 5
    for line in COMMAND_LINES:
        parse(f"pretrain {line}")


def parse(line: str) -> None:
    """Let click read a command line; it raises where it cannot."""
    _, *words = shlex.split(line, comments=True)
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(str(command.name), words)


def test_docstrings_become_blocks_and_lists_of_references(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    forms = importlib.import_module("docstring_forms")
    lines = [
        "A model [1]_.",
        "",
        "The energy is",
        "",
        "    E = -h^T W v",
        "",
        "as ever.",
        "",
        "Notes",
        "---",
        "   x",
    ]
    made = forms.as_blocks(lines)
    assert [line for line in made if line] == [
        "A model [1]_.",
        "The energy is",
        ".. code-block:: text",
        "   E = -h^T W v",
        "as ever.",
        "Notes",
        "---",
        "   x",
    ]
    text = "Of models.\n\nReferences\n----------\n.. [1] One (2001).\n       Long.\n.. [2] Two."
    assert forms.references(text) == {"1": "One (2001). Long.", "2": "Two."}


def test_formulas_become_mathml(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    mathml = importlib.import_module("native_mathml")
    made = mathml.to_mathml(r"\log p = \big(\dots\big)", as_block=True)
    assert made.startswith("<math")
    assert "log" in made
