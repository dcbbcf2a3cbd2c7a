"""Networks from scratch: shapes, and initial weights against the theory of their initialisation."""

import numpy as np
import pytest
import torch
from torch import nn

from pretrain.baselines import AUTOENCODER_BASELINES, BASELINES, scratch_autoencoder, scratch_network
from pretrain.exceptions import SettingsError
from pretrain.hidden_layers import DenseLayer, DenselyConnectedLayer, ResidualLayer
from pretrain.initialisation import initialise

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
    assert network.hidden[0](x).shape[1] == network.architecture.widths[1] == (198 if kind == "dense" else 101)
    assert network.architecture.task == task
    assert network.architecture.output_activation == ("softmax" if task == "classification" else "identity")
    assert torch.isfinite(network(x)).all()


@kinds
def test_initial_weights_are_those_of_the_named_initialisation(kind, seed):
    # What each initialisation draws is tested with it; here, that every matrix is drawn by it, with the right gain.
    network, baseline = make(kind, seed), BASELINES[kind]
    generator = torch.Generator().manual_seed(seed)
    for linear in linears(network):
        again = nn.Linear(linear.in_features, linear.out_features)
        initialise(again, baseline.initialisation, baseline.activation, generator=generator)
        assert torch.equal(linear.weight, again.weight)
        assert linear.bias is None or not linear.bias.any()
    n_out, n_in = network.head.weight.shape
    assert network.head.weight.var().item() == pytest.approx(2 / (n_in + n_out), rel=0.2)
    assert not network.head.bias.any()


@pytest.mark.parametrize(("name", "value"), [("activation", "gelu"), ("initialisation", "orthogonal")])
def test_an_activation_and_an_initialisation_of_ones_own(name, value):
    network, plain = make("relu-bn", **{name: value}), make("relu-bn")
    assert network.architecture.batch_norm
    assert set(network.architecture.activations) == {"gelu" if name == "activation" else "relu"}
    expected = nn.Linear(97, 101)
    initialisation = "he_normal" if name == "activation" else "orthogonal"
    activation = "gelu" if name == "activation" else "relu"
    initialise(expected, initialisation, activation, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.hidden[0].linear.weight, expected.weight)
    assert not torch.equal(network.hidden[0].linear.weight, plain.hidden[0].linear.weight)


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
    assert isinstance(make("relu-ln").hidden[1].norm, nn.LayerNorm)
    dense = make("dense", sizes=(11, 13))
    assert [type(layer) for layer in dense.hidden] == [DenselyConnectedLayer] * 2
    assert [layer.linear.in_features for layer in dense.hidden] == [97, 108]
    assert make("stochastic-depth", sizes=(11, 11, 11)).hidden[2].depth.survival_probability == 0.5
    assert make("residual-projected", sizes=(11, 11)).hidden[1].shortcut is not None
    assert make("residual-dropped", sizes=(11, 11)).hidden[1].shortcut_dropout.rate == 0.5
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
        ("elu", {}, "kind of scratch_network must be one of sigmoid, .*, relu, .*; got 'elu'"),
        ("relu", {"sizes": 100}, "hidden_layer_sizes of scratch_network must be a list or a tuple"),
        ("relu", {"sizes": (5, 0)}, "hidden_layer_sizes of a network must be an integer >= 1; got 0"),
        ("relu", {"task": "ranking"}, "task of a network must be one of"),
        ("relu", {"dropout": 1.0}, "dropout of a network must be"),
        ("relu", {"activation": "swish"}, "activation of scratch_network must be one of"),
        ("relu", {"initialisation": "lecun"}, "initialisation of scratch_network must be one of gaussian"),
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
        if linear is not network.head and BASELINES[kind].initialisation == "he_normal":
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
