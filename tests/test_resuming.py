"""Commands that are stopped or killed and resumed write the file that they would have written, to the bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from command_results import refused
from interruptions import content, kill, succeeded, terminate

import checkpoints
from pipelines.cli import main

MODULES = ("pretraining", "finetuning", "autoencoding", "belief_nets")
STACK = ("stack", "digits", "--layers", "31,17", "--epochs", "2", "--batch-size", "400")  # four batches an epoch
COMMANDS = {
    "chains": (
        (*STACK, "--gradient-estimator", "pcd", "--initial-momentum", "0.5", "--initial-momentum-epochs", "1"),
        (2, 4, 8, 11),
    ),
    "monitored": ((*STACK, "--schedule", "cosine", "--validation-fraction", "0.1", "--centered", "true"), (3, 9)),
    "noise": ((*STACK, "--kind", "autoencoder", "--corruption", "salt_and_pepper", "--optimizer", "adam"), (5, 8)),
    "finetune": (
        ("finetune", "stack.h5", "digits", "--head-epochs", "1", "--epochs", "3", "--dropout", "0.3", "--shift", "1",
         "--flip", "--input-dropout", "0.1", "--early-stopping", "true", "--optimizer", "adam", "--batch-size",
         "400"),
        (2, 4, 6, 12),
    ),
    "autoencoder": (
        ("autoencoder", "digits", "--layers", "17,3", "--pretrain-epochs", "1", "--epochs", "2", "--shift", "1",
         "--early-stopping", "true", "--schedule", "linear", "--batch-size", "400"),
        (20, 50, 70, 100, 102),  # fifty batches a layer
    ),
    "dbn": (
        ("dbn", "digits", "--layers", "31,17", "--epochs", "1", "--batch-size", "400", "--gradient-estimator",
         "pcd,cd", "--up-down-epochs", "2", "--up-down-batch-size", "400", "--validation-fraction", "0.1"),
        (2, 4, 6, 8, 10, 14),  # four batches an epoch
    ),
}  # fmt: skip


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run `pretrain ...` in an empty folder, with a record after every batch; returns click's result."""
    monkeypatch.chdir(tmp_path)
    for name in MODULES:
        monkeypatch.setattr(f"pipelines.{name}.PROGRESS_SECONDS", 0.0)

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.mark.parametrize(
    ("name", "stop_after", "act"),
    [(name, stop, (kill, terminate)[k % 2]) for name, (_, stops) in COMMANDS.items() for k, stop in enumerate(stops)],
)
def test_a_resumed_command_writes_the_same_file(cli, after_records, name, stop_after, act):
    arguments, _ = COMMANDS[name]
    if name == "finetune":
        succeeded(cli("stack", "digits", "--layers", "31,17", "--epochs", "1", "-o", "stack.h5"))
    succeeded(cli(*arguments, "-o", "whole.h5"))
    after_records(stop_after, act)
    result = cli(*arguments, "-o", "out.h5", "--checkpoint-every", 1e-9 if act is kill else 0)
    assert result.exit_code == (1 if act is kill else 143), result.output
    assert not Path("out.h5").exists()
    after_records(stop_after + 1, kill)  # killed a second time, if the run is still so long
    cli(*arguments, "-o", "out.h5", "--checkpoint-every", 1e-9, "--resume")
    after_records(-1, kill)
    if not Path("out.h5").exists():
        succeeded(cli(*arguments, "-o", "out.h5", "--resume"))
    assert content("out.h5") == content("whole.h5")
    assert not Path("out.h5.resume").exists()


def test_stopping_says_how_to_go_on_and_restores_the_handlers(cli, after_records, interruptible):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    after_records(3, lambda: signal.raise_signal(signal.SIGINT))
    result = cli(*STACK, "-o", "s.h5")
    assert result.exit_code == 130
    assert "s.h5.resume: repeat the command with --resume" in result.stderr
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert checkpoints.describe("s.h5.resume")["resumable"]


def test_a_second_interrupt_stops_at_once(cli, after_records, interruptible):
    def twice():
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)  # two at once would be one
        signal.raise_signal(signal.SIGINT)

    after_records(3, twice)
    result = cli(*STACK, "-o", "s.h5")
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert not Path("s.h5.resume").exists()


@pytest.fixture
def stopped(cli, after_records):
    """A stack that was stopped in its first layer."""
    after_records(3, terminate)
    assert cli(*STACK, "-o", "s.h5").exit_code == 143
    after_records(-1, kill)
    return Path("s.h5.resume")


def test_a_state_is_neither_ignored_nor_invented(cli, stopped):
    refused(cli(*STACK, "-o", "s.h5"), "s.h5.resume is the state of an unfinished run", "--resume", "--overwrite")
    refused(cli(*STACK, "-o", "other.h5", "--resume"), "nothing to resume: other.h5.resume does not exist")
    succeeded(cli(*STACK, "-o", "s.h5", "--overwrite"))
    assert not stopped.exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--epochs", "3"), "settings.layers.0.training.epochs was 2 and is 3"),
        (("--layers", "31,18"), "settings.hidden_layer_sizes.1 was 17 and is 18"),
        (("--layers", "31"), "settings.hidden_layer_sizes.1 was 17 and is 'not there'"),
        (("--seed", "1"), "seed was 0 and is 1"),
        (("--scaling", "minmax"), "scaling was 'range' and is 'minmax'"),
        (("--test-fraction", "0.3"), "split.test_fraction was 0.2 and is 0.3"),
        (("--monitor",), "monitor was False and is True"),
    ],
)
def test_another_run_is_refused_with_what_differs(cli, stopped, changed, told):
    before = stopped.read_bytes()
    refused(cli(*STACK, *changed, "-o", "s.h5", "--resume"), told)
    assert stopped.read_bytes() == before


def test_other_data_and_another_command_are_refused(cli, stopped):
    X = np.random.default_rng(0).random((40, 64), dtype=np.float32)
    np.savez("other.npz", X=X, y=np.arange(40) % 2)
    refused(cli(STACK[0], "other.npz", *STACK[2:], "-o", "s.h5", "--resume"), "data.sha256 was ")
    refused(cli("autoencoder", "digits", "--layers", "3", "-o", "s.h5", "--resume"), "command was 'stack'")


def test_another_stack_is_refused(cli, after_records):
    succeeded(cli(*STACK, "-o", "stack.h5"))
    after_records(3, terminate)
    assert cli("finetune", "stack.h5", "digits", "-o", "net.h5").exit_code == 143
    succeeded(cli(*STACK, "--seed", "1", "-o", "stack.h5", "--overwrite"))
    refused(cli("finetune", "stack.h5", "digits", "-o", "net.h5", "--resume"), "stack was 'sha256:")


def test_a_damaged_state_and_a_file_of_another_kind_are_refused(cli, stopped):
    original = bytearray(stopped.read_bytes())
    stopped.write_bytes(original[:-3000])
    refused(cli(*STACK, "-o", "s.h5", "--resume"), "s.h5.resume", "damaged")
    succeeded(cli(*STACK, "-o", "made.h5"))
    stopped.write_bytes(Path("made.h5").read_bytes())
    refused(cli(*STACK, "-o", "s.h5", "--resume"), "s.h5.resume holds a Stack and not the state of a run")


RECIPE = """title = "t"
description = "d"
data = "digits"
[[steps]]
command = "stack"
layers = [31, 17]
epochs = 1
batch_size = 400
[[steps]]
command = "finetune"
epochs = 1
batch_size = 400
[[steps]]
command = "evaluate"
"""


def test_another_net_is_refused_with_what_differs(cli, after_records):
    arguments, _ = COMMANDS["dbn"]
    after_records(5, terminate)
    assert cli(*arguments, "-o", "net.h5").exit_code == 143
    before = Path("net.h5.resume").read_bytes()
    for changed, told in (
        (("--up-down-gibbs-steps", "3,7,10"), "settings.up_down.n_gibbs_steps.1 was 6 and is 7"),
        (("--weight-decay", "0.1"), "settings.layers.0.training.weight_decay was 0.0002 and is 0.1"),
        (("--without-labels", "--validation-fraction", "0"), "with_labels was True and is False"),
        (("--scaling", "minmax"), "scaling was 'range' and is 'minmax'"),
    ):
        refused(cli(*arguments, *changed, "-o", "net.h5", "--resume"), told)
        assert Path("net.h5.resume").read_bytes() == before


def test_a_recipe_with_a_belief_net_goes_on(cli, after_records):
    steps = '[[steps]]\ncommand = "dbn"\nlayers = [31, 17]\nepochs = 1\nbatch_size = 400\nup_down_epochs = 1\n'
    Path("r.toml").write_text(f'title = "t"\ndescription = "d"\ndata = "digits"\n{steps}')
    succeeded(cli("run", "r.toml", "-o", "whole"))
    after_records(9, terminate)
    assert cli("run", "r.toml", "-o", "out").exit_code == 143
    after_records(-1, kill)
    succeeded(cli("run", "r.toml", "-o", "out", "--resume"))
    assert content("out/dbn.h5") == content("whole/dbn.h5")
    assert "pretrain dbn" not in cli("run", "r.toml", "-o", "out", "--resume").stderr
    refused(cli("run", "r.toml", "-o", "elsewhere", "--resume"), "nothing to resume: elsewhere does not exist")


def test_a_recipe_goes_on_in_the_step_that_was_stopped(cli, after_records):
    Path("r.toml").write_text(RECIPE)
    succeeded(cli("run", "r.toml", "-o", "whole"))
    after_records(3, terminate)
    assert cli("run", "r.toml", "-o", "out").exit_code == 143
    after_records(7, terminate)
    assert cli("run", "r.toml", "-o", "out", "--resume").exit_code == 143
    assert {path.name for path in Path("out").iterdir()} == {"stack.h5", "net.h5.resume"}
    after_records(-1, kill)
    refused(cli("run", "r.toml", "-o", "out"), "out exists")
    refused(cli("run", "r.toml", "-o", "out", "--resume", "--seed", "1"), "stack.h5 is not what this recipe makes")
    result = cli("run", "r.toml", "-o", "out", "--resume")
    succeeded(result)
    assert "pretrain stack" not in result.stderr
    assert content("out/stack.h5") == content("whole/stack.h5")
    for path in ("out/net.h5", "whole/net.h5"):
        assert checkpoints.describe(path)["n_history_records"] == 1
    one, two = (checkpoints.load(f"{folder}/net.h5").state_dict() for folder in ("out", "whole"))
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_goes_on(tmp_path, number):
    arguments = ["stack", "digits", "--layers", "67,31", "--epochs", "40", "-o"]
    program = [sys.executable, "-m", "pipelines", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*program, "out.h5", "--checkpoint-every", "0.01"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )
    state = tmp_path / "out.h5.resume"
    until = time.monotonic() + 100
    while not state.exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -number), told
    assert checkpoints.verify(state)["intact"]
    assert not (tmp_path / "out.h5").exists()
    runner = CliRunner()
    succeeded(runner.invoke(main, [*arguments, str(tmp_path / "out.h5"), "--resume"]))
    succeeded(runner.invoke(main, [*arguments, str(tmp_path / "whole.h5")]))
    assert content(tmp_path / "out.h5") == content(tmp_path / "whole.h5")
