"""Monte Carlo dropout against the exact mean and variance over every set of dropped units."""

import itertools
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from stacks import rows
from torch import nn

import checkpoints
from pipelines.cli import main
from pretrain.architecture import Architecture
from pretrain.dropout import Dropout
from pretrain.exceptions import SettingsError
from pretrain.monte_carlo import predict_by_dropout
from pretrain.network import Network
from pretrain.random_streams import RandomStreams
from pretrain.scaling import Scaling

N_DRAWS = 4000


def make_network(seed=0, task="classification", **options):
    fields = {"hidden_layer_sizes": (3,), "activations": ("tanh",), "dropout": 0.4, **options}
    outputs = {"classification": "softmax", "multilabel": "sigmoid"}.get(task, "identity")
    network = Network(Architecture(5, 2, output_activation=outputs, task=task, **fields))
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
    network.scaling = Scaling.fit("standard", rows(seed, 17, 5))
    return network.eval()


def every_draw(network, X, rate=0.4):
    """Outputs of every network that dropping hidden units makes, and their probabilities."""
    x = torch.from_numpy(network.scaled(X))
    h = network.hidden[0](x)
    outputs, weights = [], []
    for kept in itertools.product((0.0, 1.0), repeat=3):
        outputs.append(network.head(h * torch.tensor(kept).to(h) / (1 - rate)))
        weights.append(np.prod([1 - rate if unit else rate for unit in kept]))
    return torch.stack(outputs).detach(), np.array(weights)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_mean_and_variance(task, seed):
    network, X = make_network(seed, task), rows(seed, 7, 5)
    outputs, weights = every_draw(network, X)
    if task == "classification":
        outputs = torch.softmax(outputs, dim=2)
    elif task == "multilabel":
        outputs = torch.sigmoid(outputs)
    else:
        network.target_scaling = Scaling("standard", np.array([5.0, -2.0]), np.array([3.0, 0.5]))
        outputs = outputs * torch.tensor([3.0, 0.5]) + torch.tensor([5.0, -2.0])
    mean = np.tensordot(weights, outputs.numpy(), axes=1)
    variance = np.tensordot(weights, (outputs.numpy() - mean) ** 2, axes=1)
    found = predict_by_dropout(network, X, dropout_draws=N_DRAWS, seed=seed)
    error = np.sqrt(variance / N_DRAWS)
    assert (np.abs(found.mean - mean) < 5 * error + 1e-4).all()
    np.testing.assert_allclose(found.variance, variance, rtol=0.15)
    assert found.mean.dtype == np.float32


def test_the_variance_is_that_of_numpy_over_the_draws(seed):
    network, X = make_network(seed), rows(seed, 7, 5)
    found = predict_by_dropout(network, X, dropout_draws=3, seed=seed)
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    assert all(layer.generator is None for layer in layers)
    generator = RandomStreams(seed).generator("dropout")
    for layer in layers:
        layer.train().generator = generator
    drawn = np.stack([torch.softmax(network(torch.from_numpy(network.scaled(X))), 1).detach() for _ in range(3)])
    np.testing.assert_allclose(found.mean, drawn.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.variance, drawn.var(axis=0, ddof=1), rtol=1e-3, atol=1e-9)


def test_the_mean_of_a_linear_network_is_what_weight_scaling_predicts(seed):
    network, X = make_network(seed, "regression", activations=("identity",)), rows(seed, 7, 5)
    found = predict_by_dropout(network, X, dropout_draws=N_DRAWS, seed=seed)
    error = np.sqrt(found.variance / N_DRAWS)
    assert (np.abs(found.mean - network.predict(X)) < 5 * error).all()


def test_input_dropout_and_stochastic_depth_are_drawn_too(seed):
    deep = {"layer_type": "residual", "hidden_layer_sizes": (3, 3), "activations": ("relu",) * 2, "dropout": 0.0}
    for options in ({"dropout": 0.0, "input_dropout": 0.5}, {**deep, "survival_probability": 0.5}):
        assert (predict_by_dropout(make_network(seed, **options), rows(seed, 7, 5)).variance > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_seed_decides_and_the_network_is_left_as_it_was(dtype, seed):
    network, X = make_network(seed, batch_norm=True), rows(seed, 7, 5).astype(dtype)
    before, state = network.predict_proba(X), torch.get_rng_state()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    first, again, other = (predict_by_dropout(network, X, dropout_draws=3, seed=s) for s in (seed, seed, seed + 5))
    assert (first.mean.dtype, first.variance.dtype) == (dtype, dtype)
    np.testing.assert_array_equal(first.mean, again.mean)
    assert not np.array_equal(first.mean, other.mean)
    np.testing.assert_allclose(first.mean.sum(axis=1), 1, rtol=1e-5)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    np.testing.assert_array_equal(network.predict_proba(X), before)
    assert not any(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "draws", "message"),
    [
        ({"dropout": 0.0}, 3, "The network drops nothing, so every draw would be the same"),
        ({}, 1, "dropout_draws of predict_by_dropout must be an integer >= 2; got 1"),
        ({"task": "reconstruction"}, 3, "needs a network for classification or regression; this reconstructs"),
    ],
)
def test_what_cannot_be_drawn(options, draws, message):
    with pytest.raises(SettingsError, match=message):
        predict_by_dropout(make_network(**options), rows(0, 7, 5), dropout_draws=draws)


def test_evaluate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, list(arguments))

    assert run("stack", "digits", "--layers", "13", "--epochs", "0", "-o", "s.h5").exit_code == 0
    network = ("finetune", "s.h5", "digits", "--epochs", "5", "--start")
    assert run(*network, "relu-dropout", "-o", "n.h5").exit_code == 0
    result = run("evaluate", "n.h5", "digits", "--dropout-draws", "20", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["dropout_draws"] == 20
    assert 0 < told["dropout_test_error"] < 90
    assert 0 < told["dropout_standard_deviation"] < 0.5
    assert abs(told["dropout_test_error"] - told["test_error"]) < 20
    assert "by 20 draws with dropout" in run("evaluate", "n.h5", "digits", "--dropout-draws", "20").stdout
    assert run(*network, "relu", "-o", "m.h5").exit_code == 0
    for file, expected in (("m.h5", "drops nothing"), ("s.h5", "--dropout-draws is for classifiers and regressors")):
        refused = run("evaluate", file, "digits", "--dropout-draws", "20")
        assert (refused.exit_code, expected in refused.output) == (2, True), refused.output
    assert checkpoints.load("n.h5").architecture.dropout == 0.5
