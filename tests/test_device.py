"""Where to compute, and in which arithmetic."""

import numpy as np
import pytest
import torch

from pretrain import ScratchClassifier
from pretrain.device import (
    BFLOAT16_MIN_WEIGHTS,
    ONE_THREAD_MAX_WORK,
    limited_threads,
    repeatable_convolutions,
    resolve_device,
    resolve_precision,
)
from pretrain.exceptions import SettingsError
from pretrain.training import TrainingRun

CPU = torch.device("cpu")
HAS_CUDA = torch.cuda.is_available()


def test_automatic_device():
    assert resolve_device("auto") == torch.device("cuda" if HAS_CUDA else "cpu")


@pytest.mark.parametrize("device", ["cpu", CPU])
def test_named_device(device):
    assert resolve_device(device) == CPU


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_a_device_that_is_not_there_is_refused(device):
    if HAS_CUDA:
        assert resolve_device(device).type == "cuda"
        return
    with pytest.raises(SettingsError, match=f"device '{device}' was asked for, but torch finds none here"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "auto:1", "cpu:x", "cuda:x", "", None, 0])
def test_unknown_device(device):
    with pytest.raises(SettingsError, match="device of the run must be one of auto, cpu, cuda; got"):
        resolve_device(device)


@pytest.mark.parametrize(("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("n_weights", [1, 10**7])
def test_named_precision(name, dtype, n_weights):
    assert resolve_precision(name, CPU, n_weights) == dtype


def test_small_networks_stay_in_float32():
    assert resolve_precision("auto", CPU, BFLOAT16_MIN_WEIGHTS - 1) == torch.float32


@pytest.mark.parametrize("supported", [True, False])
def test_automatic_precision_asks_the_processor(supported, monkeypatch):
    for query in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, query, lambda: supported, raising=False)
    expected = torch.bfloat16 if supported else torch.float32
    assert resolve_precision("auto", CPU, BFLOAT16_MIN_WEIGHTS) == expected


def test_a_query_that_torch_lacks_counts_as_no(monkeypatch):
    for query in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, query, raising=False)
    assert resolve_precision("auto", CPU, BFLOAT16_MIN_WEIGHTS) == torch.float32


def test_unknown_precision():
    with pytest.raises(
        SettingsError, match="precision of the run must be one of auto, float32, bfloat16; got 'double'"
    ):
        resolve_precision("double", CPU, 1)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("work", "threads"), [(1, 1), (ONE_THREAD_MAX_WORK - 1, 1), (ONE_THREAD_MAX_WORK, 2)])
def test_small_steps_take_one_thread_and_give_the_others_back(work, threads, two_threads):
    with limited_threads(work):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), limited_threads(work):
        _ = 1 / 0
    assert torch.get_num_threads() == 2


def test_convolutions_are_repeatable_inside_the_block_alone(monkeypatch):
    flags = torch.backends.cudnn
    monkeypatch.setattr(flags, "benchmark", True)
    with repeatable_convolutions():
        assert (flags.deterministic, flags.benchmark) == (True, False)
    assert (flags.deterministic, flags.benchmark) == (False, True)
    with pytest.raises(ZeroDivisionError), repeatable_convolutions():
        _ = 1 / 0
    assert (flags.deterministic, flags.benchmark) == (False, True)


def test_networks_are_trained_with_repeatable_convolutions(monkeypatch):
    seen = []
    step = TrainingRun._step

    def watched(self, rows):
        seen.append(torch.backends.cudnn.deterministic)
        step(self, rows)

    monkeypatch.setattr(TrainingRun, "_step", watched)
    rng = np.random.default_rng(0)
    ScratchClassifier(hidden_layer_sizes=(3,), max_iter=1, random_state=0).fit(rng.random((20, 4)), np.arange(20) % 2)
    assert seen
    assert all(seen)
    assert not torch.backends.cudnn.deterministic
