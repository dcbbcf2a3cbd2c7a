"""A typed option that does nothing is refused with what would make it act, before any work is done."""

import click
import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.commands.idle_options import ACTING, CheckedCommand
from pipelines.commands.run import STEPS
from pipelines.commands.sample import sample
from pipelines.recipe import list_recipes

COMMANDS = STEPS | {"sample": sample}
STACK = "stack nowhere.npz --layers 7,5 -o out.h5"
FINETUNE = "finetune nowhere.h5 nowhere.npz -o out.h5"
AUTOENCODER = "autoencoder nowhere.npz --layers 7,5 -o out.h5"
COMPARE = "compare nowhere.npz --arms relu -o out"
DBN = "dbn nowhere.npz --layers 7,5 -o out.h5"
SAMPLE = "sample nowhere.h5 -o out.png"
EVALUATE = "evaluate nowhere.h5 nowhere.npz"
UP_DOWN = "--up-down-epochs above 0"
CD = "an --optimizer that has a learning rate"
SGD = "--optimizer sgd or rmsprop"

# command, idle option, what makes it act, in words and by options ("" where no option of the command does)
IDLE = [
    (FINETUNE, "--momentum 0.5", SGD, "--optimizer sgd"),
    (AUTOENCODER, "--momentum 0.5", SGD, "--optimizer rmsprop"),
    (COMPARE, "--momentum 0.5", SGD, "--optimizer sgd"),
    (f"{STACK} --kind autoencoder", "--momentum 0.5", SGD, "--optimizer adam,sgd"),
    (FINETUNE, "--nesterov false", "--optimizer sgd", "--optimizer sgd"),
    (FINETUNE, "--initial-momentum 0.5", SGD, "--optimizer sgd"),
    (f"{FINETUNE} --optimizer sgd", "--initial-momentum-epochs 3", "--initial-momentum", "--initial-momentum 0.5"),
    (FINETUNE, "--decay 0.5", "--schedule step, exponential", "--schedule exponential"),
    (STACK, "--decay 0.5", "--schedule step, exponential", "--schedule constant,inverse_time"),
    (f"{FINETUNE} --schedule exponential", "--decay-epochs 3", "--schedule step", ""),
    (f"{FINETUNE} --optimizer cg", "--learning-rate 0.5", CD, ""),
    (f"{FINETUNE} --optimizer cg", "--schedule linear", CD, ""),
    (FINETUNE, "--tol 0.1", "--early-stopping true", "--early-stopping true"),
    (FINETUNE, "--n-iter-no-change 3", "--early-stopping true", "--early-stopping true"),
    (STACK, "--initial-gibbs-steps 1", "another number of --n-gibbs-steps", "--n-gibbs-steps 3"),
    (f"{STACK} --gradient-estimator pcd", "--sample-reconstruction true", "--gradient-estimator cd", ""),
    (STACK, "--n-chains 5", "--gradient-estimator pcd, fast_pcd, tempering", "--gradient-estimator cd,pcd"),
    (STACK, "--n-temperatures 5", "--gradient-estimator tempering", "--gradient-estimator tempering"),
    (STACK, "--fast-learning-rate 0.1", "--gradient-estimator fast_pcd", "--gradient-estimator fast_pcd"),
    (STACK, "--fast-decay 0.1", "--gradient-estimator fast_pcd", "--gradient-estimator fast_pcd,cd"),
    (STACK, "--sparsity-cost 0.1", "--sparsity-target", "--sparsity-target 0.1"),
    (STACK, "--sparsity-decay 0.1", "--sparsity-target", "--sparsity-target 0.1"),
    (f"{STACK} --kind autoencoder", "--sparsity-cost 0.1", "--sparsity-target", "--sparsity-target 0.1"),
    (f"{STACK} --kind autoencoder --corruption none", "--corruption-level 0.1", "--corruption other than none", ""),
    (f"{STACK} --kind autoencoder", "--contraction-noise 1", "--contraction-h", "--contraction-higher-order 1"),
    (f"{AUTOENCODER} --start relu", "--kind rbm", "pretrained layers", ""),
    (f"{AUTOENCODER} --start relu", "--pretrain-epochs 3", "pretrained layers", ""),
    (f"{AUTOENCODER} --start relu", "--visible-units gaussian", "pretrained layers of --kind rbm", ""),
    (f"{AUTOENCODER} --kind autoencoder", "--visible-units gaussian", "pretrained layers of --kind rbm", ""),
    (COMPARE, "--pretrain-epochs 3", "pretrained layers", "--arms relu,dbn"),
    (COMPARE, "--pseudo-labels 3", "--labels with a number", "--labels 50,all"),
    *(
        (f"{DBN} --up-down-epochs 0", f"--up-down-{option}", UP_DOWN, f"--up-down-epochs 1 {more}")
        for option, more in (
            ("gibbs-steps 3", ""),
            ("batch-size 9", ""),
            ("optimizer adam", ""),
            ("learning-rate 0.1", ""),
            ("momentum 0.1", ""),
            ("nesterov false", ""),
            ("initial-momentum 0.5", ""),
            ("initial-momentum-epochs 1", "--up-down-initial-momentum 0.5"),
            ("schedule linear", ""),
            ("decay 0.5", "--up-down-schedule exponential"),
            ("decay-epochs 3", "--up-down-schedule step"),
            ("weight-decay 0.1", ""),
            ("l1 0.1", ""),
            ("max-norm 1", ""),
            ("early-stopping false", ""),
            ("n-iter-no-change 3", "--up-down-early-stopping true"),
            ("tol 0.1", "--up-down-early-stopping true"),
            ("precision float32", ""),
        )
    ),
    (f"{DBN} --up-down-optimizer adam", "--up-down-momentum 0.5", "and --up-down-optimizer sgd or rmsprop", ""),
    (SAMPLE, "--frames 3", "--gif", "--gif"),
    (SAMPLE, "--every 3", "--gif", "--gif"),
    (EVALUATE, "--baseline-units 5", "--baselines", "--baselines"),
    (EVALUATE, "--ais-runs 5", "--likelihood", "--likelihood"),
    (EVALUATE, "--ais-temperatures 5", "--likelihood", "--likelihood"),
]


def parse(line):
    name, *arguments = line.split()
    return COMMANDS[name].make_context(name, arguments)


@pytest.mark.parametrize(("command", "option", "words", "remedy"), IDLE)
def test_an_idle_option_is_refused_with_what_makes_it_act(command, option, words, remedy):
    with pytest.raises(click.UsageError) as caught:
        parse(f"{command} {option}")
    name = option.split()[0]
    assert caught.value.message.startswith(f"{name} does nothing here; it acts with ")
    assert words in caught.value.message
    assert caught.value.exit_code == 2
    parse(command)  # a default is nobody's belief
    if remedy:
        parse(f"{command} {option} {remedy}")


def test_units_of_a_belief_net_act():
    parse(f"{DBN} --visible-units gaussian")


def test_every_row_is_tested_and_every_row_is_an_option():
    assert {option.split()[0][2:].replace("-", "_") for _, option, _, _ in IDLE} == set(ACTING)
    options = {parameter.name for command in COMMANDS.values() for parameter in command.params}
    assert set(ACTING) <= options
    assert all(isinstance(command, CheckedCommand) for command in COMMANDS.values())


def test_the_command_line_says_so_and_reads_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*STACK.split(), "--n-chains", "5"])
    assert result.exit_code == 2
    assert "Error: --n-chains does nothing here; it acts with --gradient-estimator pcd" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("line", "words"), [("decay = 0.5", "--decay"), ("head_epochs = -1", "head_epochs")])
def test_a_later_step_of_a_recipe_is_checked_before_the_first_runs(tmp_path, monkeypatch, line, words):
    monkeypatch.chdir(tmp_path)
    steps = f'[[steps]]\ncommand = "stack"\nlayers = [5]\n[[steps]]\ncommand = "finetune"\n{line}\n'
    (tmp_path / "r.toml").write_text(f'title = "t"\ndescription = "d"\ndata = "digits"\n{steps}')
    result = CliRunner().invoke(main, ["run", "r.toml", "-o", "out"])
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_built_in_recipes_hold_no_idle_option(recipe, tmp_path):
    for name, *arguments in recipe.commands(recipe.data, tmp_path, {"seed": 0, "device": "cpu"}):
        STEPS[name].make_context(name, arguments)
