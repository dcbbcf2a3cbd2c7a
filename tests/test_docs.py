"""Every block of the README and every example runs, and what the pages name exists."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.commands.run import STEPS
from pipelines.recipe import COMMANDS as RECIPE_COMMANDS
from pipelines.recipe import list_recipes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    pretrain (.+)$", README, flags=re.MULTILINE)


@pytest.mark.slow
def test_python_blocks_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["model"].score(namespace["X_test"], namespace["y_test"]) > 0.9


@pytest.mark.slow
def test_commands_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    on_digits = [command for command in COMMANDS if "mnist" not in command]
    assert len(on_digits) >= 6
    for command in on_digits:
        result = CliRunner().invoke(main, shlex.split(command))
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert (tmp_path / "runs" / "digits" / "report.html").is_file()


def test_every_command_line_in_the_readme_parses():
    for command in COMMANDS:
        name, *arguments = shlex.split(command)
        main.commands[name].make_context(name, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(script, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert list(tmp_path.iterdir()) == []


def test_make_targets_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z-]+) ", README + CONTRIBUTING):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_links_of_the_readme_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link


def test_a_recipe_has_the_commands_that_run_takes():
    assert set(RECIPE_COMMANDS) == set(STEPS)


def test_recipes_are_commands_that_parse():
    for recipe in list_recipes():
        for name, *arguments in recipe.commands(recipe.data, Path("run"), {"seed": 0, "device": "cpu"}):
            main.commands[name].make_context(name, arguments)
        assert recipe.paper is None or recipe.measure is not None
