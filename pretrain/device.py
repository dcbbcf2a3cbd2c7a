"""Where to compute and in which arithmetic: policy, decided once a run."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from pretrain._validation import require_choice
from pretrain.exceptions import SettingsError
from pretrain.training_settings import PRECISIONS

DEVICES = ("auto", "cpu", "cuda")
# Below this many weights the conversions cost more than the faster products save (measured at batch 100).
BFLOAT16_MIN_WEIGHTS = 100_000
# Weights times rows of a step that one thread does at least as fast as two (measured).
ONE_THREAD_MAX_WORK = 8_000_000


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn "auto" into cuda where there is one, else cpu; refuse cuda on a machine without it.

    "cuda:1" names one device of several.

    Raises
    ------
    SettingsError
        For an unknown name, or "cuda" on a machine without one.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name, _, index = device.partition(":") if isinstance(device, str) else (device, "", "")
    if not (name == "cuda" and index.isdecimal()):
        require_choice("the run", "device", device, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"device {device!r} was asked for, but torch finds none here; use 'auto' or 'cpu'.")
    return torch.device(device)


def resolve_precision(precision: str, device: torch.device, n_weights: int) -> torch.dtype:
    """The dtype of matrix products: for "auto" bfloat16 where the hardware multiplies it faster, else float32.

    The choice depends on the hardware and on the size of the network alone, never on a timing, so that the same
    seed gives the same bits on the same machine.
    """
    require_choice("the run", "precision", precision, PRECISIONS)
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    fast = n_weights >= BFLOAT16_MIN_WEIGHTS and _multiplies_bfloat16(device)
    return torch.bfloat16 if fast else torch.float32


@contextlib.contextmanager
def limited_threads(work: int) -> Iterator[None]:
    """Compute small steps on one CPU thread, and give torch its threads back afterwards.

    Threads that share a step of some tens of microseconds spend it waiting for each other, and a hundred times as
    long where another process has one of the cores.

    Parameters
    ----------
    work : int
        Weights times rows of a step; the choice depends on it alone, so results stay the same to the bit.
    """
    threads = torch.get_num_threads()
    if work < ONE_THREAD_MAX_WORK:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def repeatable_convolutions() -> Iterator[None]:
    """Have cuDNN choose among the algorithms that give the same bits every time, and by rule instead of by timing.

    Its flags are the process's; afterwards they are what they were. Without cuDNN they mean nothing.
    """
    # `torch.backends.cudnn.flags` sets all flags, those of the precision too: these are not ours to change.
    flags = torch.backends.cudnn
    before = flags.deterministic, flags.benchmark
    flags.deterministic, flags.benchmark = True, False
    try:
        yield
    finally:
        flags.deterministic, flags.benchmark = before


def state_on_device(state: Any, device: torch.device) -> Any:
    """A nested state with its tensors on `device`; states of generators, which are bytes, stay on the CPU."""
    if isinstance(state, torch.Tensor):
        return state if state.dtype == torch.uint8 else state.to(device)
    if isinstance(state, dict):
        return {name: state_on_device(value, device) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(state_on_device(value, device) for value in state)
    return state


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # These queries have no public name in every torch that we support; one that is missing counts as "no".
    queries = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, query, bool)() for query in queries)
