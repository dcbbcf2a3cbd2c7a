"""Checkpoints: what is saved comes back bit for bit, completely or not at all, and the format page is true."""

import hashlib
import json
import re
import runpy
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import checkpoints
import pretrain
from checkpoints.stack_codec import LAYER_CODECS
from pretrain.autoencoder import Autoencoder
from pretrain.baselines import BASELINES, scratch_network
from pretrain.exceptions import CheckpointError
from pretrain.network import Network
from pretrain.rbm import RBM
from pretrain.scaling import Scaling
from pretrain.stack import LAYER_KINDS, Stack
from pretrain.unrolling import unroll

N_FEATURES, SIZES, N_OUTPUTS = 7, (5, 3), 11
FORMAT_PAGE = Path(checkpoints.__file__).with_name("FORMAT.md")
EXAMPLE = Path(__file__).parents[1] / "examples" / "read_without_pretrain.py"
LABELS = {
    "int64": np.arange(N_OUTPUTS) * 3 - 4,
    "uint8": np.arange(N_OUTPUTS, dtype=np.uint8),
    "float": np.linspace(-0.5, 0.5, N_OUTPUTS),
    "text": np.array([f"klasse {'é' * k}" for k in range(N_OUTPUTS)]),
    "objects": np.array([f"n° {k}" for k in range(N_OUTPUTS)], dtype=object),
}


def fill(module: nn.Module, seed: int = 5) -> None:
    """Give every tensor numbers that no initialisation gives, running statistics included."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.25)
        else:
            tensor.fill_(41)


def make_stack(*, scaling: str = "standard") -> Stack:
    layers = [
        RBM(N_FEATURES, 5, visible_units="gaussian"),
        Autoencoder(5, 3, activation="tanh", reconstruction_loss="squared_error", tied=False),
        Autoencoder(3, 2, tied=True),
        RBM(2, 13, hidden_units="gaussian"),
    ]
    X = np.random.default_rng(3).normal(3, 2, (17, N_FEATURES))
    stack = Stack(layers, Scaling.fit(scaling, X, (0.0, 255.0)))
    fill(stack)
    return stack


# Of dense layers with batch norm or without, in files of network version 1.
PLAIN_BASELINES = [
    kind for kind, baseline in BASELINES.items() if not {"layer_type", "layer_norm"} & set(baseline.options)
]
READER_TOLERANCES = {"softplus": 1e-8}  # torch's is a itself where a > 20


def make_network(kind: str = "residual", labels: str = "int64", task: str = "classification") -> Network:
    generator = torch.Generator().manual_seed(1)
    # 5 -> 3 -> 3: a residual block with a shortcut matrix and one without.
    network = scratch_network(kind, N_FEATURES, (5, 3, 3), N_OUTPUTS, task=task, generator=generator)
    fill(network)
    rng = np.random.default_rng(7)
    network.scaling = Scaling.fit("minmax", rng.random((17, N_FEATURES)))
    if task == "classification":
        network.classes = LABELS[labels]
    else:
        network.target_scaling = Scaling.fit("standard", rng.random((17, N_OUTPUTS)))
    return network.eval()


def round_trip(obj: Any, tmp_path: Path, **options: Any) -> Any:
    path = tmp_path / "model.h5"
    checkpoints.save(obj, path, overwrite=True, **options)
    return checkpoints.load(path)


def assert_same_tensors(first: nn.Module, second: nn.Module) -> None:
    stored, found = first.state_dict(), second.state_dict()
    assert list(stored) == list(found)
    for name, tensor in stored.items():
        assert tensor.dtype == found[name].dtype
        assert torch.equal(tensor, found[name]), name


def assert_same_scaling(first: Scaling, second: Scaling) -> None:
    assert first.kind == second.kind
    for stored, found in ((first.offset, second.offset), (first.scale, second.scale)):
        assert stored.dtype == found.dtype
        np.testing.assert_array_equal(stored, found)


def test_every_kind_of_layer_has_a_codec() -> None:
    assert set(LAYER_CODECS) == set(LAYER_KINDS)


@pytest.mark.parametrize("scaling", Scaling.KINDS)
def test_stacks_come_back_bit_for_bit(tmp_path: Path, scaling: str) -> None:
    stack = make_stack(scaling=scaling)
    loaded = round_trip(stack, tmp_path)
    assert_same_tensors(stack, loaded)
    assert_same_scaling(stack.scaling, loaded.scaling)
    assert [type(layer) for layer in loaded.layers] == [RBM, Autoencoder, Autoencoder, RBM]
    assert [layer.activation for layer in loaded.layers] == ["sigmoid", "tanh", "sigmoid", "identity"]
    assert [layer.output_activation for layer in loaded.layers] == ["identity", "identity", "sigmoid", "sigmoid"]
    X = np.random.default_rng(0).normal(size=(19, N_FEATURES))
    np.testing.assert_array_equal(stack.transform(X), loaded.transform(X))
    np.testing.assert_array_equal(
        stack.inverse_transform(stack.transform(X)), loaded.inverse_transform(stack.transform(X))
    )


def test_a_tied_autoencoder_has_no_second_weight_in_the_file(tmp_path: Path) -> None:
    checkpoints.save(make_stack(), tmp_path / "stack.h5")
    with h5py.File(tmp_path / "stack.h5") as file:
        layers = file["stack/layers"]
        assert set(layers["02"]) == {"weight", "visible_bias", "hidden_bias"}
        assert layers["01/decoder_weight"].shape == (5, 3)
        assert layers["01/weight"].shape == (3, 5)
    assert checkpoints.load(tmp_path / "stack.h5").layers[2].untied_weight is None


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("kind", BASELINES)
def test_networks_come_back_bit_for_bit_in_evaluation_mode(tmp_path: Path, kind: str, task: str) -> None:
    network = make_network(kind, task=task)
    loaded = round_trip(network.train(), tmp_path)
    assert not any(module.training for module in loaded.modules())
    assert_same_tensors(network, loaded)
    assert loaded.architecture == network.architecture
    assert_same_scaling(network.scaling, loaded.scaling)
    assert_same_scaling(network.target_scaling, loaded.target_scaling)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    X = np.random.default_rng(0).random((19, N_FEATURES), dtype=np.float32)
    np.testing.assert_array_equal(network.predict(X), loaded.predict(X))


def test_a_deep_autoencoder_comes_back(tmp_path: Path) -> None:
    network = unroll(make_stack(), "autoencoder", dropout=0.25, input_dropout=0.125)
    loaded = round_trip(network, tmp_path)
    assert loaded.architecture == network.architecture
    X = np.random.default_rng(0).normal(size=(19, N_FEATURES)).astype(np.float32)
    np.testing.assert_array_equal(network.transform(X), loaded.transform(X))
    np.testing.assert_array_equal(network.predict(X), loaded.predict(X))


def test_a_network_without_hidden_layers_or_classes_comes_back(tmp_path: Path) -> None:
    network = scratch_network("relu", N_FEATURES, (), 2, generator=torch.Generator().manual_seed(2))
    loaded = round_trip(network, tmp_path)
    assert loaded.classes is None
    assert_same_tensors(network, loaded)


@pytest.mark.parametrize("labels", [*LABELS, "boolean"])
def test_classes_keep_values_and_type(tmp_path: Path, labels: str) -> None:
    if labels == "boolean":
        network = scratch_network("relu", N_FEATURES, (5,), 2, generator=torch.Generator().manual_seed(2))
        network.classes = np.array([False, True])
    else:
        network = make_network("relu", labels)
    loaded = round_trip(network, tmp_path)
    assert loaded.classes.dtype == network.classes.dtype
    assert loaded.classes.tolist() == network.classes.tolist()


def test_a_stack_of_a_hundred_layers_keeps_their_order(tmp_path: Path) -> None:
    stack = Stack([RBM(2, 2) for _ in range(101)])
    fill(stack)
    assert_same_tensors(stack, round_trip(stack, tmp_path))


def test_describe_tells_everything_but_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    provenance = {
        "command": ["pretrain", "finetune"],
        "seed": 5,
        "created_at": "2024-05-01",
        "split": {"n": [1, 2.5]},
    }
    checkpoints.save(make_network(labels="text"), path, history=[{"epoch": 1}], provenance=provenance)
    told = json.loads(json.dumps(checkpoints.describe(path)))
    assert told["kind"] == told["model"] == "network"
    assert (told["format_version"], told["created_by"]) == (3, f"pretrain {pretrain.__version__}")
    assert told["config"]["hidden_layer_sizes"] == [5, 3, 3]
    assert [layer["kind"] for layer in told["layers"]] == ["dense", "residual", "residual", "linear"]
    assert told["n_parameters"] == make_network().n_parameters
    assert told["classes"] == LABELS["text"].tolist()
    assert (told["scaling"], told["target_scaling"]) == ("minmax", "none")
    assert (told["provenance"], told["created_at"]) == (provenance, "2024-05-01")
    assert (told["n_history_records"], told["file_size"]) == (1, path.stat().st_size)
    assert told["resumable"] is False


def test_describe_tells_the_layers_of_a_stack(tmp_path: Path) -> None:
    checkpoints.save(make_stack(), tmp_path / "stack.h5")
    told = checkpoints.describe(tmp_path / "stack.h5")
    first = {"kind": "rbm", "n_visible": 7, "n_hidden": 5, "visible_units": "gaussian", "hidden_units": "bernoulli"}
    assert told["layers"][0] == {**first, "n_parameters": 47}
    assert told["n_parameters"] == sum(p.numel() for p in make_stack().parameters())
    assert (told["provenance"], told["classes"], told["target_scaling"]) == (None, None, None)


def test_the_same_object_gives_the_same_bytes_at_any_time_and_the_size_does_not_grow(tmp_path: Path) -> None:
    network, paths = make_network(), [tmp_path / "a.h5", tmp_path / "b.h5"]
    checkpoints.save(network, paths[0], history=[{"loss": 1.5}])
    size = paths[0].stat().st_size
    time.sleep(1.1)  # HDF5 would note whole seconds
    checkpoints.save(network, paths[1], history=[{"loss": 1.5}])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    for _ in range(3):
        checkpoints.save(checkpoints.load(paths[0]), paths[0], history=[{"loss": 1.5}], overwrite=True)
    assert paths[0].stat().st_size == size
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_file_of_a_large_network_is_no_larger_than_its_weights(tmp_path: Path) -> None:
    network = scratch_network("sigmoid", 784, (500, 500, 2000), 10, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    loaded = round_trip(network, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_tensors(network, loaded)
    assert (tmp_path / "model.h5").stat().st_size < 1.01 * 4 * network.n_parameters


def blocks_of_format_page() -> list[str]:
    return re.findall(r"```python\n(.*?)```", FORMAT_PAGE.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("kind", BASELINES)
def test_the_reader_of_the_format_page_predicts_the_same(tmp_path: Path, kind: str) -> None:
    namespace: dict[str, Any] = {}
    exec(blocks_of_format_page()[0], namespace)
    network, path = make_network(kind), tmp_path / "net.h5"
    checkpoints.save(network, path)
    X = np.random.default_rng(0).normal(size=(19, N_FEATURES))
    found = namespace["predict_proba"](path, X)
    np.testing.assert_allclose(found, network.predict_proba(X), rtol=READER_TOLERANCES.get(kind, 1e-10))


@pytest.mark.parametrize("kind", PLAIN_BASELINES)
def test_the_reader_of_the_examples_predicts_the_same(tmp_path: Path, kind: str) -> None:
    reader = runpy.run_path(str(EXAMPLE))
    network, path = make_network(kind, labels="text"), tmp_path / "net.h5"
    checkpoints.save(network, path)
    X = np.random.default_rng(0).normal(size=(19, N_FEATURES))
    labels, probabilities = reader["predict_proba"](path, X)
    np.testing.assert_allclose(probabilities, network.predict_proba(X), rtol=READER_TOLERANCES.get(kind, 1e-10))
    assert labels.tolist() == network.classes.tolist()


def test_the_digest_of_the_format_page_is_the_digest(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(blocks_of_format_page()[1], namespace)
    path = tmp_path / "net.h5"
    for obj in (make_network(labels="text"), make_stack()):
        checkpoints.save(obj, path, overwrite=True, history=[{"a": 1, "b": "é"}], provenance={"ü": []})
        table = namespace["digests"](path)
        with h5py.File(path) as file:
            assert json.loads(file["digests"][()]) == table
            stored = hashlib.sha256(file["digests"][()]).hexdigest()
        assert f"sha256:{stored}" == checkpoints.verify(path)["digest"]


def test_the_writer_of_the_format_page_writes_what_load_reads(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks_of_format_page()[1:]:
        exec(block, namespace)
    stack, path = Stack([RBM(7, 5), RBM(5, 3)]), tmp_path / "stack.h5"
    fill(stack)
    layers = [[t.detach().numpy() for t in (k.weight, k.visible_bias, k.hidden_bias)] for k in stack.layers]
    namespace["write_stack"](path, layers)
    assert checkpoints.verify(path)["intact"]
    assert_same_tensors(stack, checkpoints.load(path))


def read_config(path: Path) -> tuple[int, dict[str, Any]]:
    with h5py.File(path) as file:
        return int(file["network"].attrs["kind_version"]), json.loads(file["network"].attrs["config"])


def rewrite(path: Path, version: int | None = None, **changes: Any) -> None:
    """Change the version or the settings of a stored network; a setting of ... is left out."""
    with h5py.File(path, "r+") as file:
        attributes = file["network"].attrs
        config = {**json.loads(attributes["config"]), **changes}
        text = json.dumps({name: value for name, value in config.items() if value is not ...}).encode()
        attributes.create("config", np.array(text, h5py.string_dtype("utf-8", len(text))))
        if version is not None:
            attributes["kind_version"] = version


@pytest.mark.parametrize("kind", BASELINES)
def test_a_network_that_older_readers_know_is_written_for_them(tmp_path: Path, kind: str) -> None:
    checkpoints.save(make_network(kind), tmp_path / "net.h5")
    version, config = read_config(tmp_path / "net.h5")
    options = BASELINES[kind].options
    new = {"layer_norm", "shortcut", "survival_probability"}
    assert new & set(config) == new & set(options)
    assert version == (2 if new & set(options) or options.get("layer_type") == "densely_connected" else 1)


@pytest.mark.parametrize(
    ("kind", "version", "changes", "message"),
    [
        ("residual-scaled", None, {"shortcut": "gated"}, "shortcut of a network must be one of identity, scaled"),
        ("residual-scaled", None, {"shortcut": 2}, "'shortcut' in .* must be of type str; got 2"),
        ("stochastic-depth", None, {"survival_probability": 0}, "survival_probability of a network must be"),
        (
            "stochastic-depth",
            None,
            {"layer_type": "dense"},
            "survival_probability of a network is for residual blocks",
        ),
        ("relu-ln", None, {"batch_norm": True}, "a network has batch_norm or layer_norm, not both"),
        ("relu-ln", None, {"layer_norm": ...}, "layers/00 has an unexpected dataset 'norm_"),
        ("relu-ln", 1, {}, "must be a JSON object with the keys .*; got .*layer_norm"),
        (
            "relu-ln",
            None,
            {"depth": 3},
            "a JSON object with the keys .*, and maybe layer_norm, .*; got .*depth",
        ),
        ("relu-ln", 3, {}, "/network is a network in version 3; this program reads versions 1 to 2"),
        ("relu-bn", None, {"layer_type": "densely_connected"}, "layers/00 is of kind 'dense'"),
        ("residual-projected", 2, {"shortcut": ...}, "layers/02 has an unexpected dataset 'shortcut_weight'"),
    ],
)
def test_wrong_settings_of_networks_are_named(
    tmp_path: Path, kind: str, version: int | None, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "net.h5"
    checkpoints.save(make_network(kind), path)
    rewrite(path, version, **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoints.load(path)
