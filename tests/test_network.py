"""Networks: unrolling leaves the function exactly as it was; layers against hand formulas."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from stacks import KINDS, SIZES, make_stack, rows
from torch import nn

from pretrain.activations import ACTIVATIONS, activation_function
from pretrain.exceptions import DataError, SettingsError
from pretrain.hidden_layers import DenseLayer, Dropout, ResidualLayer
from pretrain.network import Architecture, Network, unroll
from pretrain.scaling import Scaling

kinds = pytest.mark.parametrize("kind", KINDS)


def generator_of(seed=0):
    return torch.Generator().manual_seed(seed)


def randomise(module, seed=0):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator_of(seed))
    return module


def small_network(seed=0, **options):
    fields = {"n_features": 5, "n_outputs": 3, "hidden_layer_sizes": (7, 11), "activations": ("relu", "tanh")}
    return randomise(Network(Architecture(**{**fields, **options})), seed)


# Unrolling ----------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("into", ["classifier", "regressor"])
@pytest.mark.parametrize("n", [1, 3, 101])
def test_hidden_layers_equal_the_encoding_exactly(kind, into, n, seed):
    stack = make_stack(kind, seed)
    network = unroll(stack, into, n_outputs=2, dropout=0.5, input_dropout=0.5, generator=generator_of(seed)).eval()
    x = torch.from_numpy(rows(seed, n))
    for k, (layer, hidden) in enumerate(zip(stack.layers, network.hidden, strict=True)):
        expected = layer.encode(x)
        assert torch.equal(hidden(x), expected), k
        x = expected
    assert torch.equal(network.encode(torch.from_numpy(rows(seed, n))), stack.encode(torch.from_numpy(rows(seed, n))))
    np.testing.assert_array_equal(network.transform(rows(seed, n)), stack.transform(rows(seed, n)))
    exact = rows(seed, n).astype(np.float64)
    np.testing.assert_array_equal(network.transform(exact), stack.transform(exact))


# Shapes at which the memory layout of a product's factors is known to decide its last bits.
LARGE = [
    (kind, sizes)
    for kind in ("linear code", "sigmoid, cross_entropy, tied", "relu, squared_error, untied")
    for sizes in ((784, 500, 250, 30), (64, 100, 50, 10))
]


@pytest.mark.parametrize("n", [1, 3, 100])
@pytest.mark.parametrize(("kind", "sizes"), [*((kind, SIZES) for kind in KINDS), *LARGE])
def test_unrolled_autoencoder_equals_the_reconstruction_exactly(kind, n, sizes):
    stack = make_stack(kind, sizes=sizes)
    for parameter in stack.parameters():
        parameter.data /= np.sqrt(len(parameter))  # else large units saturate and hide the last bits
    network = unroll(stack, "autoencoder").eval()
    x = torch.from_numpy(rows(0, n, sizes[0]))
    code = stack.encode(x)
    assert torch.equal(network.encode(x), code)
    assert torch.equal(network.decode(code), stack.decode(code))
    assert torch.equal(network.decode(network.encode(x)), stack.decode(stack.encode(x)))
    np.testing.assert_array_equal(network.predict(x.numpy()), stack.inverse_transform(stack.transform(x.numpy())))


@kinds
def test_architecture_of_an_unrolled_autoencoder(kind):
    stack = make_stack(kind)
    network = unroll(stack, "autoencoder")
    sizes = stack.hidden_layer_sizes
    assert network.architecture.hidden_layer_sizes == sizes + sizes[-2::-1]
    assert (network.n_visible, network.n_hidden, network.architecture.n_outputs) == (SIZES[0], sizes[-1], SIZES[0])
    assert network.architecture.output_activation == stack.layers[0].output_activation
    assert network.architecture.task == "reconstruction"


@kinds
@pytest.mark.parametrize("into", ["classifier", "autoencoder"])
def test_the_stack_is_copied_and_the_decoder_independent_of_the_encoder(kind, into):
    stack = make_stack(kind)
    before = copy.deepcopy(stack.state_dict())
    network = unroll(stack, into, **({"n_outputs": 2, "generator": generator_of()} if into == "classifier" else {}))
    storages = [parameter.data_ptr() for parameter in (*network.parameters(), *stack.parameters())]
    assert len(set(storages)) == len(storages)
    x = torch.from_numpy(rows())
    code = network.encode(x).detach()
    with torch.no_grad():
        for layer in [*network.hidden[network._n_encoded :], network.head]:
            for parameter in layer.parameters():
                parameter.add_(1.0)
    assert torch.equal(network.encode(x), code)
    for name, value in stack.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_output_layer_is_random_and_seeded(seed):
    stack = make_stack("binary RBMs")
    heads = [unroll(stack, n_outputs=2, generator=generator_of(s)).head for s in (seed, seed, seed + 5)]
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)
    assert heads[0].weight.abs().max() <= np.sqrt(6 / (SIZES[-1] + 2))
    assert not heads[0].bias.any()


def test_unrolled_networks_keep_the_scaling(seed):
    raw = 255 * rows(seed)
    stack = make_stack("binary RBMs", scaling=Scaling.fit("minmax", raw))
    network = unroll(stack, n_outputs=2, generator=generator_of())
    np.testing.assert_array_equal(network.transform(raw), stack.transform(raw))
    deep = unroll(stack, "autoencoder")
    np.testing.assert_array_equal(deep.predict(raw), stack.inverse_transform(stack.transform(raw)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"into": "generator"}, "into of unroll must be one of classifier, regressor, autoencoder; got 'generator'"),
        ({"n_outputs": 2}, "unroll into a classifier needs n_outputs and a generator"),
        ({"into": "regressor", "generator": generator_of()}, "unroll into a regressor needs n_outputs"),
        ({"n_outputs": 0, "generator": generator_of()}, "n_outputs of a network must be an integer >= 1; got 0"),
        ({"n_outputs": 2, "generator": generator_of(), "dropout": 1}, "dropout of a network must be .* < 1; got 1"),
    ],
)
def test_illegal_unrolling(options, message):
    with pytest.raises(SettingsError, match=message):
        unroll(make_stack("binary RBMs"), **options)


# Dropout ------------------------------------------------------------------------------------------------------------


def dropped(rate, n, seed):
    layer = Dropout(rate)
    layer.generator = generator_of(seed)
    return layer.train()(torch.ones(n, 3))


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_dropout_drops_the_share_and_scales_the_rest(rate, seed):
    n = 20_000
    x = dropped(rate, n, seed)
    assert torch.allclose(x[x != 0], torch.tensor(1 / (1 - rate)))
    share = (x == 0).double().mean(dim=0)
    assert ((share - rate).abs() < 5 * np.sqrt(rate * (1 - rate) / n)).all()


def test_expected_input_of_the_next_layer_is_the_undropped_one(seed):
    # Srivastava et al. (2014): pretrained weights need 1/p on entry, which division by p in training amounts to.
    n = 20_000
    stack = make_stack("binary RBMs", seed)
    network = unroll(stack, n_outputs=2, dropout=0.5, input_dropout=0.2, generator=generator_of(seed))
    for module in network.modules():
        if isinstance(module, Dropout):
            module.generator = generator_of(seed)
    x = torch.from_numpy(rows(seed, 1)).expand(n, -1)
    with torch.no_grad():
        network.train()
        first = network.hidden[0].linear(network.input_dropout(x))
        second = network.hidden[1].linear(network.hidden[0](x))
        for found, expected in (
            (first, network.eval().hidden[0].linear(x[:1])),
            (second, network.eval().hidden[1].linear(network.eval().hidden[0](x[:1]))),
        ):
            assert found.std(dim=0).min() > 0.05
            assert ((found.mean(dim=0) - expected[0]).abs() < 5 * found.std(dim=0) / np.sqrt(n)).all()
        assert torch.equal(network.eval().encode(x[:3]), stack.encode(x[:3]))


def test_every_hidden_layer_and_the_inputs_drop(seed):
    network = unroll(make_stack("binary RBMs"), n_outputs=2, dropout=0.9, generator=generator_of())
    assert [layer.dropout.rate for layer in network.hidden] == [0.9] * 3
    assert network.input_dropout.rate == 0
    assert unroll(make_stack("binary RBMs"), "autoencoder", input_dropout=0.3).input_dropout.rate == 0.3


def test_dropout_without_a_generator_does_not_touch_the_global_one():
    state = torch.get_rng_state()
    with pytest.raises(SettingsError, match="Dropout needs a generator in training"):
        Dropout(0.5).train()(torch.ones(3, 5))
    assert torch.equal(torch.get_rng_state(), state)
    x = torch.ones(3, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)


# Layers -------------------------------------------------------------------------------------------------------------


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


def test_residual_networks_begin_with_a_dense_layer():
    network = small_network(layer_type="residual", batch_norm=True, activations=("relu", "relu"))
    assert [type(layer) for layer in network.hidden] == [DenseLayer, ResidualLayer]


def test_layers_draw_nothing_from_the_global_generator():
    state = torch.get_rng_state()
    small_network(layer_type="residual", batch_norm=True, dropout=0.5, activations=("relu", "relu"))
    assert torch.equal(torch.get_rng_state(), state)


# Networks -----------------------------------------------------------------------------------------------------------


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
    with pytest.raises(SettingsError, match=f"{method} needs a network for classification; this one is for regression"):
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
        ({"output_activation": "relu"}, "output_activation of a network must be one of identity, sigmoid, softmax"),
        ({"task": "ranking"}, "task of a network must be one of classification, regression, reconstruction"),
        ({"layer_type": "dense-net"}, "layer_type of a network must be one of dense, residual"),
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
