"""Networks from scratch: shapes, and initial weights against the theory of their initialisation."""

import numpy as np
import pytest
import torch
from torch import nn

from pretrain.baselines import AUTOENCODER_BASELINES, BASELINES, scratch_autoencoder, scratch_network
from pretrain.exceptions import SettingsError
from pretrain.hidden_layers import DenseLayer, ResidualLayer

kinds = pytest.mark.parametrize("kind", BASELINES)


def make(kind, seed=0, sizes=(101, 103), n_features=97, n_outputs=7, **options):
    generator = torch.Generator().manual_seed(seed)
    return scratch_network(kind, n_features, sizes, n_outputs, generator=generator, **options)


def linears(network):
    return [m for layer in network.hidden for m in layer.modules() if isinstance(m, nn.Linear)]


@kinds
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_shapes(kind, task):
    network = make(kind, task=task).eval()
    x = torch.rand(5, 97, generator=torch.Generator().manual_seed(0))
    assert network(x).shape == (5, 7)
    assert [layer(h).shape[1] for h, layer in [(x, network.hidden[0])]] == [101]
    assert network.architecture.task == task
    assert network.architecture.output_activation == ("softmax" if task == "classification" else "identity")
    assert torch.isfinite(network(x)).all()


@kinds
def test_initial_weights_have_the_variance_of_the_theory(kind, seed):
    network = make(kind, seed)
    for linear in linears(network):
        n_out, n_in = linear.weight.shape
        if BASELINES[kind].initialisation == "he":
            variance, kurtosis = 2 / n_in, 3.0  # normal
        else:
            gain = {"sigmoid": 1, "tanh": 5 / 3}[BASELINES[kind].activation]
            variance, kurtosis = gain**2 * 2 / (n_in + n_out), 1.8  # uniform
            assert linear.weight.abs().max() <= np.sqrt(3 * variance)
        error = np.sqrt((kurtosis - 1) / linear.weight.numel())
        assert linear.weight.var().item() / variance == pytest.approx(1, abs=5 * error)
        assert abs(linear.weight.mean().item()) < 5 * np.sqrt(variance / linear.weight.numel())
        assert linear.bias is None or not linear.bias.any()
    assert network.head.weight.var().item() == pytest.approx(2 / (103 + 7), rel=0.2)
    assert not network.head.bias.any()


@kinds
def test_the_seed_decides_every_weight(kind, seed):
    first, again, other = (make(kind, s).state_dict() for s in (seed, seed, seed + 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if first[name].ndim == 2]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_kinds_are_what_they_say():
    assert make("relu-bn").hidden[0].norm is not None
    assert make("relu").hidden[0].norm is None
    dropout = make("relu-dropout")
    assert (dropout.input_dropout.rate, [layer.dropout.rate for layer in dropout.hidden]) == (0.2, [0.5, 0.5])
    residual = make("residual", sizes=(11, 11, 13))
    assert [type(layer) for layer in residual.hidden] == [DenseLayer, ResidualLayer, ResidualLayer]
    assert [layer.shortcut is None for layer in residual.hidden[1:]] == [True, False]
    for kind, baseline in BASELINES.items():
        assert make(kind).architecture.activations == (baseline.activation,) * 2
        assert baseline.summary


@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
def test_dropout_rates_of_ones_own(name):
    assert getattr(make("relu", **{name: 0.3}).architecture, name) == 0.3
    assert getattr(make("relu-dropout", **{name: 0.0}).architecture, name) == 0.0


def test_no_hidden_layers():
    assert len(make("relu", sizes=()).hidden) == 0


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("elu", {}, "kind of scratch_network must be one of sigmoid, tanh, relu, .*; got 'elu'"),
        ("relu", {"sizes": 100}, "hidden_layer_sizes of scratch_network must be a list or a tuple"),
        ("relu", {"sizes": (5, 0)}, "hidden_layer_sizes of a network must be an integer >= 1; got 0"),
        ("relu", {"task": "ranking"}, "task of a network must be one of"),
        ("relu", {"dropout": 1.0}, "dropout of a network must be"),
    ],
)
def test_illegal_values(kind, options, message):
    with pytest.raises(SettingsError, match=message):
        make(kind, **options)


# Autoencoders ---

SIZES = (41, 23, 5)


def make_autoencoder(kind="sigmoid", seed=0, sizes=SIZES, **options):
    generator = torch.Generator().manual_seed(seed)
    return scratch_autoencoder(kind, 97, sizes, generator=generator, **options)


@pytest.mark.parametrize("kind", AUTOENCODER_BASELINES)
def test_an_autoencoder_is_mirrored_around_a_linear_code(kind):
    network, activation = make_autoencoder(kind).eval(), BASELINES[kind].activation
    assert network.architecture.hidden_layer_sizes == (41, 23, 5, 23, 41)
    assert network.architecture.activations == (activation, activation, "identity", activation, activation)
    assert (network.architecture.task, network.architecture.output_activation) == ("reconstruction", "sigmoid")
    assert [layer.linear.weight.shape[0] for layer in network.hidden] == [41, 23, 5, 23, 41]
    assert all((layer.norm is not None) == (kind == "relu-bn") for layer in network.hidden)
    x = torch.rand(3, 97, generator=torch.Generator().manual_seed(0))
    assert network.encode(x).shape == (3, 5)
    torch.testing.assert_close(network.decode(network.encode(x)), torch.sigmoid(network(x)))
    assert make_autoencoder(kind, output_activation="identity").architecture.output_activation == "identity"
    assert make_autoencoder(kind, sizes=[7]).architecture.hidden_layer_sizes == (7,)


@pytest.mark.parametrize("kind", AUTOENCODER_BASELINES)
def test_initial_weights_of_an_autoencoder(kind, seed):
    network = make_autoencoder(kind, seed, sizes=(101, 89))
    for linear in [*linears(network), network.head]:
        n_out, n_in = linear.weight.shape
        if linear is not network.head and BASELINES[kind].initialisation == "he":
            variance, kurtosis = 2 / n_in, 3.0
            assert linear.weight.abs().max() > np.sqrt(3 * variance)  # normal, not uniform
        else:
            gain = 5 / 3 if kind == "tanh" and linear is not network.head else 1.0
            variance, kurtosis = gain**2 * 2 / (n_in + n_out), 1.8
        error = np.sqrt((kurtosis - 1) / linear.weight.numel())
        assert linear.weight.var().item() / variance == pytest.approx(1, abs=5 * error)
        assert linear.bias is None or not linear.bias.any()
    again, other = make_autoencoder(kind, seed, sizes=(101, 89)), make_autoencoder(kind, seed + 5, sizes=(101, 89))
    assert all(map(torch.equal, network.parameters(), again.parameters()))
    assert not torch.equal(network.hidden[0].linear.weight, other.hidden[0].linear.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "elu"}, "kind of scratch_autoencoder must be one of sigmoid, tanh, relu, relu-bn; got 'elu'"),
        ({"kind": "residual"}, "kind of scratch_autoencoder must be one of .*; got 'residual'"),
        ({"kind": "relu-dropout"}, "kind of scratch_autoencoder must be one of .*; got 'relu-dropout'"),
        ({"sizes": 100}, "encoder_sizes of scratch_autoencoder must be a list or a tuple"),
        ({"sizes": ()}, "encoder_sizes of scratch_autoencoder must name at least one layer"),
        ({"sizes": (5, 0)}, "hidden_layer_sizes of a network must be an integer >= 1; got 0"),
        ({"output_activation": "tanh?"}, "output_activation of a network must be one of"),
    ],
)
def test_illegal_values_of_an_autoencoder(options, message):
    with pytest.raises(SettingsError, match=message):
        make_autoencoder(**options)
