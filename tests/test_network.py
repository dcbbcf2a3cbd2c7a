"""Networks and their layers against hand formulas."""

import dataclasses

import numpy as np
import pytest
import torch
from stacks import rows
from torch import nn

from pretrain.activations import ACTIVATIONS, activation_function
from pretrain.architecture import Architecture
from pretrain.dropout import Dropout
from pretrain.exceptions import DataError, SettingsError
from pretrain.hidden_layers import SHORTCUTS, DenseLayer, DenselyConnectedLayer, ResidualLayer
from pretrain.network import Network
from pretrain.scaling import Scaling


def generator_of(seed=0):
    return torch.Generator().manual_seed(seed)


def randomise(module, seed=0):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator_of(seed))
    return module


def small_network(seed=0, **options):
    fields = {"n_features": 5, "n_outputs": 3, "hidden_layer_sizes": (7, 11), "activations": ("relu", "tanh")}
    return randomise(Network(Architecture(**{**fields, **options})), seed)


# Layers ---


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_dense_layer(activation, batch_norm, seed):
    layer = randomise(DenseLayer(5, 3, activation, batch_norm=batch_norm), seed).double().train()
    x = torch.from_numpy(rows(seed, 11, 5)).double()
    total = x @ layer.linear.weight.T + layer.linear.bias
    if batch_norm:
        normal = (total - total.mean(dim=0)) / (total.var(dim=0, unbiased=False) + 1e-5).sqrt()
        total = normal * layer.norm.weight + layer.norm.bias
    torch.testing.assert_close(layer(x), activation_function(activation)(total))


@pytest.mark.parametrize(("n_inputs", "n_units"), [(5, 5), (5, 3)])
def test_residual_layer(n_inputs, n_units, seed):
    layer = randomise(ResidualLayer(n_inputs, n_units, "relu"), seed).double().train()
    x = torch.from_numpy(rows(seed, 11, n_inputs)).double()

    def norm(z, weights):
        return (z - z.mean(dim=0)) / (z.var(dim=0, unbiased=False) + 1e-5).sqrt() * weights.weight + weights.bias

    inner = torch.relu(norm(x, layer.norm)) @ layer.linear.weight.T + layer.linear.bias
    outer = torch.relu(norm(inner, layer.inner_norm)) @ layer.outer.weight.T + layer.outer.bias
    shortcut = x if n_inputs == n_units else x @ layer.shortcut.weight.T
    torch.testing.assert_close(layer(x), shortcut + outer)
    assert (layer.shortcut is None) == (n_inputs == n_units)


def layer_norm(z, weights):
    variance = z.var(dim=1, keepdim=True, unbiased=False)
    return (z - z.mean(dim=1, keepdim=True)) / (variance + 1e-5).sqrt() * weights.weight + weights.bias


def test_layer_norm(seed):
    x = torch.from_numpy(rows(seed, 11, 5)).double()
    dense = randomise(DenseLayer(5, 3, "tanh", layer_norm=True), seed).double()
    total = x @ dense.linear.weight.T + dense.linear.bias
    torch.testing.assert_close(dense(x), torch.tanh(layer_norm(total, dense.norm)))
    block = randomise(ResidualLayer(5, 5, "relu", layer_norm=True), seed).double()
    inner = torch.relu(layer_norm(x, block.norm)) @ block.linear.weight.T + block.linear.bias
    outer = torch.relu(layer_norm(inner, block.inner_norm)) @ block.outer.weight.T + block.outer.bias
    torch.testing.assert_close(block(x), x + outer)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize(("n_inputs", "n_units"), [(5, 5), (5, 3)])
def test_shortcuts(shortcut, n_inputs, n_units, seed):
    block = randomise(ResidualLayer(n_inputs, n_units, "relu", shortcut=shortcut), seed).double()
    x = torch.from_numpy(rows(seed, 11, n_inputs)).double()
    block.shortcut_dropout.generator = generator_of(seed)
    block.eval()
    kept = x if block.shortcut is None else x @ block.shortcut.weight.T
    assert (block.shortcut is None) == (n_inputs == n_units and shortcut != "projected")
    branch = block._branch(x)
    scale = 0.5 if shortcut == "scaled" else 1.0
    torch.testing.assert_close(block(x), scale * (kept + branch))
    block.shortcut_dropout.train()
    ratio = (block(x) - scale * branch) / kept
    # Of a dropped shortcut half of the entries are left, doubled.
    wanted = {0.0, 2.0} if shortcut == "dropped" else {scale}
    assert set(ratio.round(decimals=6).abs().flatten().tolist()) == wanted


def test_a_residual_layer_drops_units_between_its_matrices(seed):
    block = randomise(ResidualLayer(5, 5, "relu", dropout=0.4), seed).eval()
    x = torch.from_numpy(rows(seed, 11, 5))
    block.dropout.train().generator = generator_of(seed)
    drop = Dropout(0.4).train()
    drop.generator = generator_of(seed)
    inner = drop(block.inner_norm(block.linear(block.norm(x).relu())).relu())
    torch.testing.assert_close(block(x), x + inner @ block.outer.weight.T + block.outer.bias)


def test_a_densely_connected_layer_keeps_its_inputs(seed):
    layer = randomise(DenselyConnectedLayer(5, 3, "tanh"), seed).double()
    x = torch.from_numpy(rows(seed, 11, 5)).double()
    h = torch.tanh(x @ layer.linear.weight.T + layer.linear.bias)
    torch.testing.assert_close(layer(x), torch.cat([x, h], dim=1))


def test_a_densely_connected_network_by_hand(seed):
    network = small_network(seed, layer_type="densely_connected").double()
    x = torch.from_numpy(rows(seed, 11, 5)).double()
    first, second = (layer.linear for layer in network.hidden)
    assert [tuple(m.weight.shape) for m in (first, second, network.head)] == [(7, 5), (11, 12), (3, 23)]
    seen = torch.cat([x, torch.relu(x @ first.weight.T + first.bias)], dim=1)
    seen = torch.cat([seen, torch.tanh(seen @ second.weight.T + second.bias)], dim=1)
    torch.testing.assert_close(network.encode(x), seen)
    torch.testing.assert_close(network(x), seen @ network.head.weight.T + network.head.bias)
    assert network.n_hidden == 23
    assert network.transform(rows(seed, 11, 5).astype(np.float64)).shape == (11, 23)
    assert network.architecture.widths == (5, 12, 23)


@pytest.mark.parametrize(
    "options",
    [
        {"layer_type": "densely_connected", "batch_norm": True},
        {"layer_type": "residual", "layer_norm": True},
        {"layer_type": "residual", "shortcut": "projected"},
        {"layer_type": "residual", "shortcut": "scaled", "survival_probability": 0.5},
        {"activations": ("gelu", "softplus"), "layer_norm": True},
    ],
    ids=str,
)
def test_gradients_against_finite_differences(options, seed):
    network = small_network(seed, **{"hidden_layer_sizes": (3, 3), "activations": ("gelu", "tanh"), **options})
    network = network.double().eval()
    x = torch.from_numpy(rows(seed, 2, 5)).double().requires_grad_()
    names, values = zip(*network.named_parameters(), strict=True)

    def outputs(x, *parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(outputs, (x, *values))


def test_residual_networks_begin_with_a_dense_layer():
    network = small_network(layer_type="residual", batch_norm=True, activations=("relu", "relu"))
    assert [type(layer) for layer in network.hidden] == [DenseLayer, ResidualLayer]


def test_layers_draw_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    small_network(layer_type="residual", batch_norm=True, dropout=0.5, activations=("relu", "relu"))
    assert torch.equal(torch.get_rng_state(), state)


# Networks ---


def test_forward_by_hand(seed):
    network = small_network(seed).double()
    x = torch.from_numpy(rows(seed, 11, 5)).double()
    first, second = (layer.linear for layer in network.hidden)
    h = torch.tanh(torch.relu(x @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    torch.testing.assert_close(network.encode(x), h)
    torch.testing.assert_close(network(x), h @ network.head.weight.T + network.head.bias)
    torch.testing.assert_close(network.decode(h), torch.softmax(network(x), dim=1))


def test_no_hidden_layers(seed):
    network = small_network(seed, hidden_layer_sizes=(), activations=())
    x = torch.from_numpy(rows(seed, 11, 5))
    torch.testing.assert_close(network(x), x @ network.head.weight.T + network.head.bias)
    assert network.n_hidden == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_classifier_outputs(dtype, seed):
    network, X = small_network(seed), rows(seed, 11, 5).astype(dtype)
    network.classes = np.array(["b", "a", "c"])
    logits = network.output_rows(X)
    p = network.predict_proba(X)
    assert logits.dtype == p.dtype == dtype
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(network.predict_log_proba(X), np.log(p), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(network.predict(X), network.classes[logits.argmax(axis=1)])
    network.classes = None
    np.testing.assert_array_equal(network.predict(X), logits.argmax(axis=1))


def test_log_probabilities_of_certain_classes_are_finite():
    network = small_network()
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.0, 500.0, 0.0]))
    X = rows(0, 3, 5)
    assert (network.predict_proba(X) == 0).any()
    assert np.isfinite(network.predict_log_proba(X)).all()


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_regressor_outputs(n_outputs, seed):
    network = small_network(seed, n_outputs=n_outputs, task="regression", output_activation="identity")
    X = rows(seed, 11, 5)
    network.target_scaling = Scaling("standard", np.arange(n_outputs) + 5.0, np.arange(n_outputs) + 2.0)
    expected = network.output_rows(X) * network.target_scaling.scale + network.target_scaling.offset
    expected = expected[:, 0] if n_outputs == 1 else expected
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-5)


def test_networks_scale_raw_rows(seed):
    raw = 255 * rows(seed, 11, 5)
    network = small_network(seed)
    plain = network.predict_proba(Scaling.fit("minmax", raw).apply(raw))
    network.scaling = Scaling.fit("minmax", raw)
    np.testing.assert_array_equal(network.predict_proba(raw), plain)


def test_a_row_does_not_depend_on_its_batch(seed):
    network = small_network(seed, batch_norm=True).train()
    X = rows(seed, 11, 5)
    one_by_one = np.concatenate([network.predict_proba(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_allclose(one_by_one, network.predict_proba(X), rtol=1e-5)
    assert not network.training  # whoever predicts in the middle of training gets evaluation mode


def test_number_of_parameters():
    assert small_network().n_parameters == 5 * 7 + 7 + 7 * 11 + 11 + 11 * 3 + 3


@pytest.mark.parametrize("shape", [(3, 4), (5,), (3, 5, 1)])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "transform"])
def test_rows_that_do_not_fit(shape, method):
    with pytest.raises(DataError, match=r"The network takes rows of 5 features; got shape \("):
        getattr(small_network(), method)(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba"])
def test_probabilities_need_a_classifier(method):
    network = small_network(task="regression", output_activation="identity")
    with pytest.raises(
        SettingsError, match=f"{method} needs a network for classification or multilabel; this one is for regression"
    ):
        getattr(network, method)(rows(0, 3, 5))


LEGAL = Architecture(5, 3, (7, 11), ("relu", "relu"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_features": 0}, "n_features of a network must be an integer >= 1"),
        ({"n_outputs": 1.5}, "n_outputs of a network must be an integer >= 1"),
        ({"hidden_layer_sizes": (7, 0)}, "hidden_layer_sizes of a network must be an integer >= 1"),
        ({"hidden_layer_sizes": 7}, "hidden_layer_sizes of a network must be a list or a tuple"),
        ({"activations": "relu"}, "activations of a network must be a list or a tuple"),
        ({"activations": ("relu",)}, "activations of a network .* exactly 2, one a layer; got 1"),
        ({"activations": ("relu", "swish")}, "activations of a network must be one of sigmoid.*'swish'"),
        ({"output_activation": "swish"}, "output_activation of a network must be one of sigmoid.*'swish'"),
        (
            {"task": "ranking"},
            "task of a network must be one of classification, multilabel, regression",
        ),
        ({"layer_type": "dense-net"}, "layer_type of a network must be one of dense, residual, densely_connected"),
        ({"layer_norm": "yes"}, "layer_norm of a network must be True or False"),
        ({"layer_norm": True, "batch_norm": True}, "a network has batch_norm or layer_norm, not both"),
        ({"shortcut": "gated", "layer_type": "residual"}, "shortcut of a network must be one of identity, scaled"),
        (
            {"shortcut": "scaled"},
            "shortcut of a network is for residual blocks; .* Got 'scaled' with",
        ),
        ({"survival_probability": 0.5}, "survival_probability of a network is for residual blocks"),
        ({"batch_norm": 1}, "batch_norm of a network must be True or False"),
        ({"dropout": 1.0}, "dropout of a network must be a finite number >= 0 and < 1"),
        ({"input_dropout": -0.1}, "input_dropout of a network must be a finite number >= 0 and < 1"),
        ({"n_encoder_layers": 0}, "n_encoder_layers of a network must be an integer >= 1 and <= 2"),
        ({"n_encoder_layers": 3}, "n_encoder_layers of a network must be an integer >= 1 and <= 2"),
    ],
)
def test_illegal_architectures(change, message):
    with pytest.raises(SettingsError, match=message):
        dataclasses.replace(LEGAL, **change)
