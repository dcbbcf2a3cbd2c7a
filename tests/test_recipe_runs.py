"""`run` with recipes of a test's own: their steps, the published number, mistakes in them."""

from pathlib import Path

import pytest
from command_results import one_json, refused

import checkpoints
from pipelines.recipe import Recipe


def test_a_recipe_file_runs_its_steps_and_prints_the_published_number(cli, tmp_path):
    (tmp_path / "tiny.toml").write_text(
        """
title = "tiny"
description = "for a test"
data = "digits"
[paper]
test_error = 1.0
source = "nobody"
[[steps]]
command = "stack"
layers = [7]
epochs = 1
[[steps]]
command = "finetune"
epochs = 1
[[steps]]
command = "evaluate"
"""
    )
    result = cli("run", "tiny.toml", "-o", "out", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "published 1.0 (nobody)" in result.stdout
    assert checkpoints.describe("out/stack.h5")["provenance"]["seed"] == 3
    refused(cli("run", "tiny.toml", "-o", "out"), "exists", "--overwrite")
    result = one_json(cli("run", "tiny.toml", "-o", "out", "--overwrite", "--json"))
    assert result["paper"]["test_error"] == 1.0
    assert "test_error" in result


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 3 = 4", ["TOML"]),
        ('title = "t"\ndescription = "d"\ndata = "digits"\n', ["'steps'"]),
        ('title = "t"\ndescription = "d"\ndata = "digits"\nwhat = 1\nsteps = []', ["'what'"]),
        ('title = "t"\ndescription = "d"\ndata = "digits"\n[[steps]]\ncommand = "rm"\n', ["'rm'"]),
    ],
)
def test_recipes_that_cannot_be_read(cli, tmp_path, text, words):
    (tmp_path / "bad.toml").write_text(text)
    refused(cli("run", "bad.toml"), "bad.toml", *words)


def test_the_published_number_belongs_to_the_recipe_s_data(cli, tmp_path):
    text = 'title = "t"\ndescription = "d"\ndata = "mnist"\n[paper]\ntest_error = 1.0\nsource = "x"\n'
    (tmp_path / "r.toml").write_text(text + '[[steps]]\ncommand = "stack"\nlayers = [5]\nepochs = 1\nseed = 7\n')
    result = one_json(cli("run", "r.toml", "--data", "digits", "-o", "out", "--json"))
    assert result["paper"] is None
    assert checkpoints.describe("out/stack.h5")["provenance"]["seed"] == 7
    assert cli("run", "r.toml", "--data", "digits", "-o", "out", "--overwrite", "--seed", "3").exit_code == 0
    assert checkpoints.describe("out/stack.h5")["provenance"]["seed"] == 3


def test_a_wrong_option_in_a_recipe_is_found_before_the_folder_is_made(cli, tmp_path):
    text = 'title = "t"\ndescription = "d"\ndata = "digits"\n[[steps]]\ncommand = "stack"\nlayers = [5]\n'
    (tmp_path / "r.toml").write_text(text + 'epochs = "ten"\n')
    assert cli("run", "r.toml", "-o", "out").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_steps_of_a_recipe_fine_tune_the_last_stack_and_evaluate_the_last_file():
    steps = [
        {"command": "stack"},
        {"command": "finetune"},
        {"command": "evaluate"},
        {"command": "finetune", "control": "from scratch"},
        {"command": "evaluate", "control": "from scratch"},
        {"command": "stack", "control": "another"},
        {"command": "finetune", "control": "another"},
    ]
    recipe = Recipe("name", "title", "description", "digits", tuple(steps))
    read = [Path(arguments[1]).name for arguments in recipe.commands("digits", Path("run"), {})]
    assert read == [
        "digits", "stack.h5", "net.h5", "stack.h5", "from-scratch-net.h5", "digits", "another-stack.h5",
    ]  # fmt: skip
