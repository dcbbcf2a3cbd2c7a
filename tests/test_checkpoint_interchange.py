"""Models from other programs: the numbers that come out are those of the other side."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.special import expit
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from torch import nn

import checkpoints
from pretrain.exceptions import CheckpointError

N, V = 11, 7
RNG = np.random.default_rng(5)
X = RNG.normal(3, 2, (N, V)).astype(np.float32)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(2)


# From plain modules


def test_a_plain_perceptron_becomes_a_network(tmp_path: Path) -> None:
    torch_generator = generator()
    module = nn.Sequential(
        nn.Dropout(0.2), nn.Sequential(nn.Linear(V, 5), nn.BatchNorm1d(5), nn.LeakyReLU(), nn.Dropout(0.5)),
        nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 2), nn.Softmax(1),
    ).eval()  # fmt: skip
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5, generator=torch_generator)
    network = checkpoints.from_torch(module, classes=["no", "yes"])
    assert (network.architecture.dropout, network.architecture.input_dropout) == (0.5, 0.2)
    checkpoints.save(network, tmp_path / "net.h5")
    loaded = checkpoints.load(tmp_path / "net.h5")
    np.testing.assert_allclose(loaded.predict_proba(X), module(torch.from_numpy(X)).detach(), rtol=1e-5)
    assert set(loaded.predict(X)) <= {"no", "yes"}


@pytest.mark.parametrize(
    ("module", "task", "message"),
    [
        (nn.ReLU(), "classification", "A plain multi-layer perceptron is Linear layers.*got ReLU"),
        (nn.Sequential(nn.Linear(7, 5), nn.Conv1d(1, 1, 1)), "classification", "none of the activations"),
        (nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.ReLU()), "classification", "got Linear, ReLU, ReLU"),
        (nn.Sequential(nn.Linear(7, 5), nn.Linear(4, 2)), "classification", "of 5 outputs is followed by one of 4"),
        (nn.Sequential(nn.Linear(7, 5), nn.Sigmoid()), "classification", "ends in a Linear layer and one of"),
        (nn.Sequential(nn.Linear(7, 5), nn.LeakyReLU(0.2)), "regression", "slope=0.2.*none of the"),
        (nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5, eps=0.1), nn.Linear(5, 2)), "regression", "eps=1e-05"),
        (
            nn.Sequential(nn.Linear(7, 5), nn.Dropout(0.5), nn.Linear(5, 3), nn.Linear(3, 2)),
            "regression",
            "one rate of dropout",
        ),
        (nn.Sequential(nn.Linear(7, 2)).double(), "regression", "must be float32; got torch.float64"),
        (nn.Sequential(nn.Linear(7, 2)), "forest", "forest"),
    ],
)
def test_other_modules_are_refused(module: nn.Module, task: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoints.from_torch(module, task=task)


# From scikit-learn


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_perceptron_of_scikit_learn_predicts_the_same(activation: str, n_classes: int) -> None:
    y = np.array(["x", "y", "z"])[np.arange(N) % n_classes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        fitted = MLPClassifier((5, 3), activation=activation, max_iter=3, random_state=1).fit(X.astype(float), y)
        several = X[:, :2].astype(float)
        line = MLPRegressor(hidden_layer_sizes=(5, 3), activation=activation, max_iter=3, random_state=1).fit(
            X.astype(float), several
        )
    network = checkpoints.from_sklearn(fitted)
    np.testing.assert_allclose(network.predict_proba(X), fitted.predict_proba(X), rtol=1e-4, atol=1e-6)
    assert network.predict(X).tolist() == fitted.predict(X).tolist()
    np.testing.assert_allclose(checkpoints.from_sklearn(line).predict(X), line.predict(X), rtol=1e-4, atol=1e-5)


def test_an_rbm_of_scikit_learn_encodes_the_same() -> None:
    fitted = BernoulliRBM(5, n_iter=2, random_state=0).fit(expit(X))
    loaded = checkpoints.from_sklearn(fitted)
    np.testing.assert_allclose(loaded.transform(expit(X)), fitted.transform(expit(X)), rtol=1e-5)
    np.testing.assert_array_equal(loaded.layers[0].visible_bias.detach(), fitted.intercept_visible_.astype("f4"))


def test_other_estimators_are_refused() -> None:
    with pytest.raises(CheckpointError, match="got dict"):
        checkpoints.from_sklearn({})
    with pytest.raises(CheckpointError, match="The BernoulliRBM is not fitted"):
        checkpoints.from_sklearn(BernoulliRBM())
    several = MLPClassifier((3,), max_iter=300, tol=9).fit(X, np.eye(3)[np.arange(N) % 3][:, :2])
    with pytest.raises(CheckpointError, match="several labels a row"):
        checkpoints.from_sklearn(several)
    several.out_activation_ = "exp"  # of a regressor of counts
    with pytest.raises(CheckpointError, match="outputs of type exp"):
        checkpoints.from_sklearn(several)


# From Matlab


def matlab_layers(folder: Path) -> list[dict[str, np.ndarray]]:
    sizes = (V, 5, 4, 3, 2)
    names = (
        ("vishid", "hidrecbiases", "visbiases"), ("hidpen", "penrecbiases", "hidgenbiases"),
        ("hidpen2", "penrecbiases2", "hidgenbiases2"), ("hidtop", "toprecbiases", "topgenbiases"),
    )  # fmt: skip
    layers = []
    for k, (weights, hidden, visible) in enumerate(names):
        shapes = {weights: (sizes[k], sizes[k + 1]), hidden: (1, sizes[k + 1]), visible: (1, sizes[k])}
        layers.append({name: RNG.normal(size=shape) for name, shape in shapes.items()})
        savemat(folder / f"{k}.mat", {**layers[-1], "epoch": 50})
    return layers


def test_pretrained_layers_of_matlab_become_a_stack(tmp_path: Path) -> None:
    layers = matlab_layers(tmp_path)
    found = checkpoints.from_matlab(*(tmp_path / f"{k}.mat" for k in range(4)))
    h = X.astype(float)
    for layer in layers:  # as the scripts do it: data * vishid + repmat(hidbiases, ...)
        weights, hidden, _ = layer.values()
        h = h @ weights + hidden
        h = h if "hidtop" in layer else expit(h)
    np.testing.assert_allclose(found.transform(X), h, rtol=1e-4, atol=1e-6)
    assert [layer.hidden_units.name for layer in found.layers] == ["bernoulli"] * 3 + ["gaussian"]
    np.testing.assert_array_equal(found.layers[1].visible_bias.detach(), layers[1]["hidgenbiases"][0].astype("f4"))


@pytest.mark.parametrize("classifies", [False, True])
def test_fine_tuned_weights_of_matlab_become_a_network(tmp_path: Path, classifies: bool) -> None:
    sizes = (V, 5, 4, 3) if classifies else (V, 5, 2, 5, V)
    names = ["w1", "w2", "w_class"] if classifies else ["w1", "w2", "w3", "w4"]
    weights = {name: RNG.normal(size=(sizes[k] + 1, sizes[k + 1])) for k, name in enumerate(names)}
    savemat(tmp_path / "weights.mat", weights)
    h = X.astype(float)
    for name, weight in weights.items():
        h = np.column_stack([h, np.ones(N)]) @ weight
        if name == "w_class":
            h = np.exp(h) / np.exp(h).sum(axis=1, keepdims=True)
        elif classifies or name != "w2":  # the code is linear
            h = expit(h)
    network = checkpoints.from_matlab(tmp_path / "weights.mat")
    found = network.predict_proba(X) if classifies else network.predict(X)
    np.testing.assert_allclose(found, h, rtol=1e-3, atol=1e-6)
    assert network.n_hidden == (4 if classifies else 2)


def test_other_mat_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    with pytest.raises(CheckpointError, match=r"Cannot read .*x\.mat"):
        checkpoints.from_matlab(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(CheckpointError, match=r"Cannot read .*x\.mat as a \.mat file"):
        checkpoints.from_matlab(path)
    for content, message in (
        ({"a": np.eye(2)}, "holds no layer of the scripts, .*it holds a"),
        ({"w1": np.eye(3), "w2": np.eye(5)}, r"w2 in .* is of shape \(5, 5\)"),
        ({"w1": np.full((3, 2), np.nan)}, "w1 in .* holds numbers that are infinite"),
        ({"w1": "text"}, "w1 in .* must be a matrix of numbers"),
        ({"w1": np.eye(3)}, "is no deep autoencoder"),
        ({"vishid": np.eye(3), "hidrecbiases": np.ones((1, 2)), "visbiases": np.ones((1, 3))}, "must have 3 entries"),
    ):
        savemat(path, content)
        with pytest.raises(CheckpointError, match=message):
            checkpoints.from_matlab(path)
