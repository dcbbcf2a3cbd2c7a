"""Models for other programs: what is exported answers as the model does, in torch, onnxruntime and safetensors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.special import expit
from small_estimators import CLASSIFIERS, NAMES, REGRESSORS, fitted
from torch import nn

import checkpoints
from checkpoints import foreign_formats, onnx_graph
from pipelines.cli import main
from pretrain.architecture import Architecture
from pretrain.autoencoder import Autoencoder
from pretrain.baselines import BASELINES, scratch_autoencoder, scratch_network
from pretrain.dbm import DBM
from pretrain.estimators import DeepAutoencoder
from pretrain.exceptions import CheckpointError
from pretrain.network import Network
from pretrain.rbm import RBM
from pretrain.scaling import Scaling
from pretrain.stack import Stack
from pretrain.supervised_layer import SupervisedLayer
from pretrain.unrolling import unroll

N, V = 11, 7
RNG = np.random.default_rng(5)
X = RNG.normal(3, 2, (N, V)).astype(np.float32)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def classifier(baseline: str = "relu-bn", scaling: str = "standard", sizes: tuple[int, ...] = (5, 3)) -> Network:
    network = scratch_network(baseline, V, sizes, 2, generator=generator()).eval()
    for name, tensor in network.state_dict().items():
        if "norm" in name and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=generator())
    network.scaling = Scaling.fit(scaling, X, value_range=(0, 255))
    network.classes = np.array(["a", "b"])
    return network


def regressor() -> Network:
    architecture = Architecture(V, 2, (5,), ("softplus",), "identity", "regression")
    network = Network(architecture, target_scaling=Scaling.fit("standard", RNG.normal(9, 4, (N, 2))))
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=generator())
    return network.eval()


def stack(visible_units: str = "gaussian_learned") -> Stack:
    rbm = RBM(V, 5, visible_units=visible_units, hidden_units="noisy_relu", generator=generator())
    for _, log_variance in rbm.visible_units.log_variances():
        log_variance.data.uniform_(-1, 1, generator=generator())
    rbm.hidden_bias.data.uniform_(-1, 1, generator=generator())
    autoencoder = Autoencoder(5, 3, activation="leaky_relu", generator=generator())
    return Stack([rbm, autoencoder], Scaling.fit("minmax", X))


def autoencoder() -> Network:
    network = scratch_autoencoder("tanh", V, (5, 2), generator=generator()).eval()
    network.scaling = Scaling.fit("minmax", X)
    return network


# Whatever can be exported: networks of every kind, task and scaling, stacks of every kind of layer, estimators.
MODELS: dict[str, Any] = {
    **{name: classifier(name) for name, baseline in BASELINES.items() if "layer_type" not in baseline.options},
    **{f"scaling-{kind}": classifier("tanh", kind) for kind in Scaling.KINDS},
    "no-hidden-layer": classifier("sigmoid", sizes=()),
    "regressor": regressor(),
    "autoencoder": unroll(stack("bernoulli"), "autoencoder"),
    "autoencoder-from-scratch": autoencoder(),
    "classifier-of-a-stack": unroll(stack("bernoulli"), "classifier", n_outputs=3, generator=generator()),
    "stack": stack(),
    "stack-of-words": Stack([RBM(V, 5, visible_units="replicated_softmax", generator=generator())]),
    "stack-of-spins": Stack([RBM(V, 5, hidden_units="spin", generator=generator())]),
    "stack-of-a-choice": Stack([RBM(V, 5, hidden_units="softmax", generator=generator())]),
    "stack-with-labels": Stack([SupervisedLayer(V, 5, activation="tanh", generator=generator())]),
    **{name: fitted(name, expit(X)) for name in NAMES if name != "GenerativeDBN"},
}
every_model = pytest.mark.parametrize("name", MODELS)


def answer(name: str, rows: np.ndarray) -> np.ndarray:
    """What a model says of raw rows, as exports are documented to: -> (n_samples, n_outputs)."""
    model = MODELS[name]
    if isinstance(model, DeepAutoencoder):
        return model.inverse_transform(model.transform(rows))
    if isinstance(model, Network):
        return model.predict_proba(rows) if model.architecture.task == "classification" else model.predict(rows)
    if name in CLASSIFIERS:
        return model.predict_proba(rows)
    return model.predict(rows).reshape(len(rows), -1) if name in REGRESSORS else model.transform(rows)


@every_model
def test_a_plain_module_predicts_the_same(name: str) -> None:
    module = checkpoints.to_torch(MODELS[name])
    assert {type(layer).__module__.split(".")[0] for layer in module} == {"torch"}
    found = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(found, answer(name, X), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        next(module.parameters()).zero_()
    assert not np.allclose(module(torch.from_numpy(X)).detach(), answer(name, X))  # weights of its own


@every_model
def test_the_file_of_torch_is_the_state_dict(tmp_path: Path, name: str) -> None:
    checkpoints.export(MODELS[name], tmp_path / "m.pt", "torch")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    module = checkpoints.to_torch(MODELS[name])
    assert list(state) == list(module.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())


@every_model
def test_onnx_computes_the_same(tmp_path: Path, name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    checkpoints.export(MODELS[name], tmp_path / "m.onnx", "onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["Y"], {"X": X})[0], answer(name, X), rtol=1e-5, atol=1e-5)


def test_safetensors_holds_the_state_dict(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    checkpoints.export(classifier(), tmp_path / "m.safetensors", "safetensors")
    state, expected = library.load_file(tmp_path / "m.safetensors"), checkpoints.to_torch(classifier()).state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)


def test_columns_far_from_zero_keep_their_digits(tmp_path: Path) -> None:
    # Years, say: in one affine map the offset cancels, and four decimals with it.
    runtime = pytest.importorskip("onnxruntime")
    network = classifier("relu")
    for centre, spread in ((2000, 0.5), (1e6, 3), (0, 1e-25), (0, 1e25)):
        rows = (centre + spread * RNG.normal(size=(N, V))).astype(np.float32)
        network.scaling = Scaling.fit("standard", rows)
        checkpoints.export(network, tmp_path / "m.onnx", "onnx", overwrite=True)
        session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
        expected = network.predict_proba(rows)
        np.testing.assert_allclose(session.run(["Y"], {"X": rows})[0], expected, rtol=1e-5, atol=1e-6)
        found = checkpoints.to_torch(network)(torch.from_numpy(rows)).detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_command_writes_a_graph_and_a_state_dict(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("safetensors")
    checkpoints.save(classifier(), tmp_path / "net.h5")
    for to in ("onnx", "safetensors"):
        checkpoints.export(classifier(), tmp_path / f"expected.{to}", to)
        output = tmp_path / f"net.{to}"
        done = CliRunner().invoke(main, ["export", str(tmp_path / "net.h5"), "--to", to, "-o", str(output)])
        assert (done.exit_code, done.output) == (0, f"{output}\n")
        assert output.read_bytes() == (tmp_path / f"expected.{to}").read_bytes()


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "onnx", None)
    monkeypatch.setattr(foreign_formats, "safetensors_bytes", None)
    for to in ("onnx", "safetensors"):
        with pytest.raises(CheckpointError, match=rf"needs the package {to}: pip install 'pretrain\[{to}\]'"):
            checkpoints.export(classifier(), tmp_path / "m", to)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_arrays_of_the_file(tmp_path: Path) -> None:
    path, output = tmp_path / "net.h5", tmp_path / "net.npz"
    network = classifier("residual")
    checkpoints.save(network, path)
    done = CliRunner().invoke(main, ["export", str(path), "--to", "npz", "-o", str(output)])
    assert (done.exit_code, done.output) == (0, f"{output}\n")
    with np.load(output) as arrays:
        np.testing.assert_array_equal(arrays["network/head/weight"], network.head.weight.detach())
        np.testing.assert_array_equal(arrays["network/scaling/offset"], network.scaling.offset)
        assert '"task": "classification"' in str(arrays["network/config"])
        assert arrays["network/classes/values"].tolist() == [b"a", b"b"]
    done = CliRunner().invoke(main, ["export", str(path), "--to", "torch", "-o", str(tmp_path / "net.pt")])
    assert (done.exit_code, "residual layers" in done.output) == (2, True)


def test_units_side_by_side_are_no_plain_module() -> None:
    mixed = Stack([RBM(V, 5, hidden_units="bernoulli:2+gaussian:3")])
    with pytest.raises(CheckpointError, match=r"mixed units \(sigmoid:2\+identity:3\)"):
        checkpoints.to_torch(mixed)


def test_a_generative_model_has_arrays_and_no_graph(tmp_path: Path) -> None:
    model = fitted("GenerativeDBN", expit(X))
    for to in ("torch", "onnx", "safetensors"):
        with pytest.raises(CheckpointError, match=r"a generative model, .* Export its weights to npz"):
            checkpoints.export(model, tmp_path / "m", to)
    with pytest.raises(CheckpointError, match="A DBM is a generative model"):
        checkpoints.to_torch(DBM(V, (5, 3)))
    checkpoints.export(model, tmp_path / "m.npz", "npz")
    with np.load(tmp_path / "m.npz") as arrays:
        np.testing.assert_array_equal(arrays["dbn/memory/weight"], model.dbn_.memory.weight.detach())


def test_weights_that_are_not_finite_are_not_exported(tmp_path: Path) -> None:
    stack = Stack([RBM(7, 5)])
    stack.layers[0].weight.data[2, 4] = float("nan")
    with pytest.raises(CheckpointError, match=r"/stack/layers/00/weight must hold finite numbers; 1 of 35"):
        checkpoints.export(stack, tmp_path / "m.npz", "npz")
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_a_run_is_no_model(tmp_path: Path) -> None:
    checkpoints.save(checkpoints.RunState({"epoch": 3}), tmp_path / "net.h5.resume")
    for to in ("npz", "onnx"):
        arguments = ["export", str(tmp_path / "net.h5.resume"), "--to", to, "-o", str(tmp_path / "m")]
        done = CliRunner().invoke(main, arguments)
        assert (done.exit_code, "state of an unfinished run is no model" in done.output) == (2, True)


def test_densely_connected_layers_are_no_plain_module() -> None:
    with pytest.raises(CheckpointError, match=r"A network with densely connected layers is no nn.Sequential"):
        checkpoints.to_torch(classifier("dense"))


@pytest.mark.parametrize("baseline", ["relu-bn", "relu-ln", "gelu"])
def test_what_a_network_exports_comes_back(baseline: str) -> None:
    network = classifier(baseline)
    network.scaling = Scaling.none()
    back = checkpoints.from_torch(checkpoints.to_torch(network), classes=network.classes)
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in network.state_dict().items())
