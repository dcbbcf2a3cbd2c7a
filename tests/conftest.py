"""Fixtures that the tests share."""

import signal

import pytest
import torch
from click.testing import CliRunner
from command_results import STACK

from pipelines.cli import main
from pretrain.training import TrainingRun


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The thread count can change the last bits of a sum: tests that compare bits fix it, and small ones gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[0, 1], ids=["seed0", "seed1"])
def seed(request):
    """Two seeds: a test that passes by luck of one rarely passes by luck of both."""
    return request.param


@pytest.fixture
def generator(seed):
    return torch.Generator().manual_seed(1000 + seed)


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run `pretrain ...` in an empty folder; returns click's result."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def stack_file(cli, tmp_path):
    """stack.h5 in the folder of `cli`: two small layers pretrained on digits."""
    result = cli(*STACK, "-o", "stack.h5")
    assert result.exit_code == 0, result.output
    return tmp_path / "stack.h5"


@pytest.fixture
def network_file(cli, stack_file):
    """net.h5 beside `stack_file`, fine-tuned from it."""
    result = cli("finetune", "stack.h5", "digits", "--epochs", "8", "-o", "net.h5")
    assert result.exit_code == 0, result.output
    return stack_file.parent / "net.h5"


@pytest.fixture
def after_records(monkeypatch):
    """`after_records(n, act)`: call `act` where record n would be computed."""
    whole = TrainingRun.__next__

    def arrange(n, act):
        count = iter(range(10**6))

        def counted(run):
            if next(count) == n:
                act()
            return whole(run)

        monkeypatch.setattr(TrainingRun, "__next__", counted)

    yield arrange
    monkeypatch.setattr(TrainingRun, "__next__", whole)


@pytest.fixture
def interruptible():
    """SIGINT as in a terminal: it is ignored where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
