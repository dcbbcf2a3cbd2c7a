"""Every type of unit in a file: bit for bit back, as the format page says, and refused where it is not legal."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from stacks import KINDS, SCALED_KINDS, SIZES, make_stack

import checkpoints
from pretrain.exceptions import CheckpointError
from pretrain.rbm import RBM
from pretrain.stack import Stack
from pretrain.unit_types import HIDDEN_UNIT_TYPES, UNIT_TYPES
from pretrain.unrolling import unroll

MIXED = "bernoulli:1+gaussian_learned:2+softmax:2+softmax:3+gaussian_learned:1+noisy_relu:1+spin:1"
RBM_KINDS = [kind for kind, layers in (KINDS | SCALED_KINDS).items() if all(cls is RBM for cls, _ in layers)]
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bernoulli": expit,
    "spin": np.tanh,
    "softmax": lambda a: softmax(a, axis=1),
    "replicated_softmax": lambda a: softmax(a, axis=1),
    "noisy_relu": lambda a: np.maximum(a, 0),
}


def groups_of(units: str, n: int) -> list[tuple[str, slice]]:
    """Names and columns, as the format page has them."""
    if ":" not in units:
        return [(units, slice(0, n))]
    groups, start = [], 0
    for part in units.split("+"):
        name, width = part.split(":")
        groups.append((name, slice(start, start + int(width))))
        start += int(width)
    return groups


def answer(units: str, a: np.ndarray) -> np.ndarray:
    """The function of each group of columns."""
    parts = [FUNCTIONS.get(name, lambda x: x)(a[:, columns]) for name, columns in groups_of(units, a.shape[1])]
    return np.concatenate(parts, axis=1)


def read_and_encode(path: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Code and reconstruction of scaled rows by the formulas of the format page alone."""
    with h5py.File(path) as file:
        layers = [file["stack/layers"][name] for name in sorted(file["stack/layers"])]
        configs = [json.loads(layer.attrs["config"]) for layer in layers]
        for layer, config in zip(layers, configs, strict=True):
            words, variance = 1.0, np.ones(x.shape[1])
            if config["visible_units"] == "replicated_softmax":
                words = x.sum(axis=1, keepdims=True)
            for name, columns in groups_of(config["visible_units"], x.shape[1]):
                if name == "gaussian_learned":
                    learned = layer["visible_log_variance"][()].astype(float)
                    variance[columns] = np.clip(np.exp(learned), 0.01, 100)[columns]
            a = (x / variance) @ layer["weight"][()].T + words * layer["hidden_bias"][()]
            x = answer(config["hidden_units"], a)
        code = x
        for layer, config in zip(layers[::-1], configs[::-1], strict=True):
            x = answer(config["visible_units"], x @ layer["weight"][()] + layer["visible_bias"][()])
        return code, x


def documents(n: int = 11) -> np.ndarray:
    return np.random.default_rng(0).poisson(0.7, size=(n, SIZES[0])).astype(float)


def one_rbm(visible_units: str = "bernoulli", hidden_units: str = "bernoulli") -> Stack:
    stack = Stack([RBM(11, 5, visible_units=visible_units, hidden_units=hidden_units)])
    generator = torch.Generator().manual_seed(1)
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return stack


def assert_round_trip(stack: Stack, path: Path) -> Stack:
    checkpoints.save(stack, path)
    loaded = checkpoints.load(path)
    before, after = stack.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    for one, other in zip(stack.layers, loaded.layers, strict=True):
        assert one.visible_units.name == other.visible_units.name
        assert one.hidden_units.name == other.hidden_units.name
    assert checkpoints.describe(path)["n_parameters"] == sum(p.numel() for p in stack.parameters())
    return loaded


@pytest.mark.parametrize("units", [*UNIT_TYPES, MIXED, "softmax:11", "gaussian_learned:4+gaussian_learned:7"])
def test_visible_units_come_back_bit_for_bit(tmp_path: Path, units: str) -> None:
    loaded = assert_round_trip(one_rbm(units), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert ("visible_log_variance" in file["stack/layers/00"]) == ("gaussian_learned" in units)
        name = json.loads(file["stack/layers/00"].attrs["config"])["visible_units"]
    assert name == ("softmax" if units == "softmax:11" else units)  # one group needs no width
    assert loaded.layers[0].output_activation == one_rbm(units).layers[0].output_activation


@pytest.mark.parametrize("units", [*HIDDEN_UNIT_TYPES, "bernoulli:2+softmax:3", "noisy_relu:1+spin:1+gaussian:3"])
def test_hidden_units_come_back_bit_for_bit(tmp_path: Path, units: str) -> None:
    assert_round_trip(one_rbm("gaussian_learned", units), tmp_path / "m.h5")


def test_learned_variances_stand_in_their_columns(tmp_path: Path) -> None:
    stack = one_rbm(MIXED)
    learned = [parameter.detach().numpy() for name, parameter in stack.named_parameters() if "variance" in name]
    checkpoints.save(stack, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        found = file["stack/layers/00/visible_log_variance"][()]
    assert found.dtype == np.float32
    expected = np.zeros(11, np.float32)
    expected[1:3], expected[8:9] = learned
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", RBM_KINDS)
def test_layers_are_what_the_format_page_says(tmp_path: Path, kind: str) -> None:
    stack, x = make_stack(kind), documents()
    for name, parameter in stack.named_parameters():
        if name.endswith("log_variance"):
            parameter.data[:2] = torch.tensor([-20.0, 20.0])  # beyond what is used of it
    checkpoints.save(stack, tmp_path / "m.h5")
    code, reconstruction = read_and_encode(tmp_path / "m.h5", x)
    np.testing.assert_allclose(stack.transform(x), code, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(stack.inverse_transform(code), reconstruction, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", RBM_KINDS)
@pytest.mark.parametrize("into", ["classifier", "autoencoder"])
def test_unrolled_networks_of_every_unit_type_come_back(tmp_path: Path, kind: str, into: str) -> None:
    options = {} if into == "autoencoder" else {"n_outputs": 2, "generator": torch.Generator().manual_seed(1)}
    network, x = unroll(make_stack(kind), into, **options), documents()  # type: ignore[arg-type]
    checkpoints.save(network, tmp_path / "m.h5")
    loaded = checkpoints.load(tmp_path / "m.h5")
    assert loaded.architecture == network.architecture
    np.testing.assert_array_equal(loaded.predict(x), network.predict(x))
    if into == "classifier":
        namespace: dict[str, Any] = {}
        page = Path(checkpoints.__file__).with_name("FORMAT.md").read_text()
        exec(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0], namespace)
        found = namespace["predict_proba"](tmp_path / "m.h5", x)
        np.testing.assert_allclose(found, network.predict_proba(x), rtol=1e-9)


def change_config(path: Path, place: str, **changes: Any) -> None:
    with h5py.File(path, "r+") as file:
        text = json.dumps(json.loads(file[place].attrs["config"]) | changes).encode()
        file[place].attrs.create("config", np.array(text, dtype=h5py.string_dtype("utf-8", len(text))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"visible_units": "binary"}, "visible_units of an rbm must be one of bernoulli, .*got 'binary'"),
        ({"visible_units": ""}, "visible_units of an rbm must be one of bernoulli, .*got ''"),
        (
            {"visible_units": "bernoulli:5+gaussian:5"},
            "visible_units of an rbm 'bernoulli:5.gaussian:5' describe 10 ",
        ),
        ({"visible_units": "bernoulli:5+gaussian:-6"}, "visible_units of an rbm must have a width of 1 or more"),
        ({"visible_units": "bernoulli:" + "9" * 9999}, "cannot be used"),
        ({"visible_units": "bernoulli:5+replicated_softmax:6"}, "cannot mix replicated_softmax with other types"),
        ({"hidden_units": "gaussian_learned"}, "hidden_units of an rbm must be one of .*got 'gaussian_learned'"),
        ({"hidden_units": "replicated_softmax"}, "hidden_units of an rbm must be one of .*got 'replicated_softmax'"),
        ({"hidden_units": "softmax:6"}, "hidden_units of an rbm 'softmax:6' describe 6 columns, but there are 5"),
    ],
)
def test_units_that_are_not_legal_are_refused_with_the_place(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    path = tmp_path / "m.h5"
    checkpoints.save(one_rbm(), path)
    change_config(path, "stack/layers/00", **changes)
    for function in (checkpoints.load, checkpoints.verify, checkpoints.describe):
        with pytest.raises(
            CheckpointError, match=f"/stack/layers/00 cannot be used: .*{message}|{message}"
        ) as caught:
            function(path)
        assert "/stack/layers/00" in str(caught.value)
        assert str(path) in str(caught.value)


def test_variances_that_are_missing_or_too_many_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    checkpoints.save(one_rbm("gaussian_learned"), path)
    change_config(path, "stack/layers/00", visible_units="gaussian")
    with pytest.raises(CheckpointError, match="/stack/layers/00 has an unexpected dataset 'visible_log_variance'"):
        checkpoints.load(path)
    for damage, message in (
        (lambda layer: None, "/stack/layers/00 lacks the dataset 'visible_log_variance'"),
        (
            lambda layer: layer.create_dataset("visible_log_variance", data=np.zeros(3, np.float32)),
            r"/stack/layers/00/visible_log_variance must have shape \(11,\); got \(3,\)",
        ),
        (
            lambda layer: layer.create_dataset("visible_log_variance", data=np.full(11, np.nan, np.float32)),
            "/stack/layers/00/visible_log_variance must hold finite numbers; 11 of 11",
        ),
    ):
        for units in ("gaussian_learned", MIXED):
            checkpoints.save(one_rbm(units), path, overwrite=True)
            with h5py.File(path, "r+") as file:
                del file["stack/layers/00/visible_log_variance"]
                damage(file["stack/layers/00"])
            with pytest.raises(CheckpointError, match=message):
                checkpoints.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"activations": ["sigmoid:3+tanh:3", "softmax"]},
            "activations of a network .* describe 6 columns, .* are 5",
        ),
        ({"activations": ["swish:5", "softmax"]}, "activations of a network must be one of sigmoid, .*'swish:5'"),
        (
            {"output_activation": "softmax:1+identity:2"},
            "output_activation of a network .* 3 columns, but there are 2",
        ),
    ],
)
def test_activations_that_do_not_fit_their_layers_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    stack = Stack([RBM(11, 5, hidden_units="bernoulli:3+spin:2"), RBM(5, 3, visible_units="bernoulli:3+spin:2")])
    path = tmp_path / "m.h5"
    checkpoints.save(unroll(stack, n_outputs=2, generator=torch.Generator().manual_seed(1)), path)
    change_config(path, "network", **changes)
    with pytest.raises(CheckpointError, match=f"/network cannot be used: {message}"):
        checkpoints.load(path)
