"""The state of a run in a file: what goes in comes out, and what is not legal is refused with its place."""

import json
import math

import h5py
import numpy as np
import pytest
import torch

import checkpoints
from checkpoints.run_state import DTYPES
from pretrain.exceptions import CheckpointError

STATE = {
    "numbers": [1, -(2**70), 0.1, True, None, "täxt", (), {}],
    "bounds": (math.inf, -math.inf, [1e-300]),
    "slots": {0: {"step": torch.tensor(3.0), "betas": (0.9, 0.999)}, 7: {}},
    "generator": torch.Generator().manual_seed(5).get_state(),
    "weights": {"layers.0.weight": torch.arange(15.0).view(3, 5).T, "empty": torch.empty(0, 3)},
    **{str(dtype): torch.tensor([[0, 1, 1]]).to(dtype) for dtype in DTYPES},
}


def equal(one, two):
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(two) and len(one) == len(two) and all(map(equal, one, two))
    return type(one) is type(two) and one == two


@pytest.fixture
def path(tmp_path):
    checkpoints.save(checkpoints.RunState(STATE), tmp_path / "state.h5", provenance={"command": "stack"})
    return tmp_path / "state.h5"


def test_a_state_comes_back_as_it_was(path):
    assert equal(checkpoints.load(path).state, STATE)
    described = checkpoints.describe(path)
    assert (described["kind"], described["resumable"], described["layers"]) == ("training", True, [])
    with h5py.File(path) as file:
        assert file["training/tensors/weights.layers.0.weight"].shape == (5, 3)


def test_not_a_number_comes_back(tmp_path):
    checkpoints.save(checkpoints.RunState({"loss": math.nan, "w": torch.tensor(math.nan)}), tmp_path / "s.h5")
    loaded = checkpoints.load(tmp_path / "s.h5").state
    assert math.isnan(loaded["loss"])
    assert bool(loaded["w"].isnan())


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {1.5: 0}}, "a has a key that is no text or integer: 1.5"),
        ({"a": [object()]}, "a.0 must be a number"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "tensor a is of type torch.complex64"),
        ({"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1)}, "tensor a.b is one of two of that name"),
    ],
)
def test_what_cannot_come_back_is_not_written(tmp_path, state, message):
    with pytest.raises(CheckpointError, match=message):
        checkpoints.save(checkpoints.RunState(state), tmp_path / "s.h5")
    assert list(tmp_path.iterdir()) == []


def document(file, change):
    stored = file["training/state"]
    text = change(stored[()].decode()).encode()
    del file["training/state"]
    file["training"].create_dataset("state", data=np.array(text, dtype=h5py.string_dtype("utf-8", len(text))))


DAMAGE = {
    "no tensor": (lambda f: f.__delitem__("training/tensors/slots.0.step"), "names the tensor 'slots.0.step'"),
    "one more": (
        lambda f: f.create_dataset("training/tensors/x", data=np.zeros(1, "<f4"), fletcher32=True),
        "must name every dataset of /training/tensors exactly once",
    ),
    "a group": (lambda f: f.create_group("training/tensors/g"), "/training/tensors has an unexpected group 'g'"),
    "type": (
        lambda f: document(f, lambda text: text.replace('"dtype": "bfloat16"', '"dtype": "int64"')),
        "/training/state has 'torch.bfloat16' as 'int64', but its dataset is of type int16",
    ),
    "no boolean": (
        lambda f: f["training/tensors/torch.bool"].write_direct(np.array([[0, 2, 1]], np.uint8)),
        "as 'bool', but its dataset holds other numbers",
    ),
    "an object": (
        lambda f: document(f, lambda text: text.replace('"tuple": [0.9', '"list": [0.9')),
        "/training/state holds the JSON object",
    ),
    "keys twice": (
        lambda f: document(f, lambda text: text.replace('["generator"', '["numbers"')),
        "/training/state holds the JSON object",
    ),
    "no dict": (lambda f: document(f, lambda _: json.dumps({"tuple": []})), "/training/state must be a dict"),
    "no JSON": (lambda f: document(f, lambda text: text[:-1]), "/training/state is not legal JSON"),
}


@pytest.mark.parametrize(("change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_changed_state_is_refused_with_the_place(path, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(path)
