"""Unrolling leaves the function exactly as it was; dropout keeps its expectation."""

import copy

import numpy as np
import pytest
import torch
from stacks import KINDS, SCALED_KINDS, SIZES, make_stack, rows

from pretrain.architecture import Architecture
from pretrain.dropout import Dropout
from pretrain.exceptions import SettingsError
from pretrain.scaling import Scaling
from pretrain.unrolling import unroll

kinds = pytest.mark.parametrize("kind", KINDS)
every_kind = pytest.mark.parametrize("kind", [*KINDS, *SCALED_KINDS])


def generator_of(seed=0):
    return torch.Generator().manual_seed(seed)


# Unrolling ---


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


def counts(n, seed=0):
    """Documents of zero to twelve words or so; for the other types these are values like any."""
    return torch.from_numpy(np.random.default_rng(seed).poisson(0.5, size=(n, SIZES[0]))).float()


@pytest.mark.parametrize("kind", SCALED_KINDS)
@pytest.mark.parametrize("into", ["classifier", "regressor", "autoencoder"])
@pytest.mark.parametrize("n", [1, 101])
def test_layers_that_scale_their_inputs_are_unrolled_to_rounding(kind, into, n, seed):
    stack, x = make_stack(kind, seed).double(), counts(n, seed).double()
    options = {} if into == "autoencoder" else {"n_outputs": 2, "generator": generator_of(seed)}
    # The network itself is float32; what it holds is the stack's, rounded once.
    network = unroll(stack, into, **options).eval().double()
    assert not torch.equal(stack.layers[0].encoder_weight, stack.layers[0].weight)  # something is scaled
    for layer, hidden in zip(stack.layers, network.hidden, strict=False):
        expected = layer.encode(x)
        torch.testing.assert_close(hidden(x), expected, rtol=1e-5, atol=1e-6)
        x = expected
    if into == "autoencoder":
        torch.testing.assert_close(network.decode(x), stack.decode(x), rtol=1e-5, atol=1e-6)


@every_kind
def test_encoding_and_decoding_are_the_layers_linear_maps(kind, seed):
    """What the unrolled layers are copied from, layer by layer, and the function that goes on top."""
    network = unroll(make_stack(kind, seed), "autoencoder")
    stack = make_stack(kind, seed)
    half = len(stack.layers)
    up, down = network.hidden[:half], [*network.hidden[half:], network.head]
    for layer, encoder, decoder in zip(stack.layers, up, down[::-1], strict=True):
        linear = getattr(decoder, "linear", decoder)
        assert torch.equal(encoder.linear.weight, layer.encoder_weight)
        assert torch.equal(encoder.linear.bias, layer.encoder_bias)
        assert torch.equal(linear.weight, layer.decoder_weight)
        assert torch.equal(linear.bias, layer.decoder_bias)
    assert network.architecture.activations[:half] == tuple(layer.activation for layer in stack.layers)
    decoders = tuple(layer.output_activation for layer in stack.layers)[::-1]
    assert (*network.architecture.activations[half:], network.architecture.output_activation) == decoders


@every_kind
def test_gradients_reach_every_layer_of_an_unrolled_network(kind, seed):
    network = unroll(make_stack(kind, seed), n_outputs=2, generator=generator_of(seed)).train()
    network(counts(11, seed)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_activations_must_fit_their_layer():
    for options in ({"activations": ("sigmoid:3+tanh:1",)}, {"output_activation": "sigmoid:3+tanh:1"}):
        with pytest.raises(SettingsError, match=r"'sigmoid:3\+tanh:1' describe 4 columns, but there are 5"):
            Architecture(
                **{"n_features": 7, "n_outputs": 5, "hidden_layer_sizes": (5,), "activations": ("tanh",)} | options
            )


@every_kind
def test_architecture_of_an_unrolled_autoencoder(kind):
    stack = make_stack(kind)
    network = unroll(stack, "autoencoder")
    sizes = stack.hidden_layer_sizes
    assert network.architecture.hidden_layer_sizes == sizes + sizes[-2::-1]
    assert (network.n_visible, network.n_hidden, network.architecture.n_outputs) == (SIZES[0], sizes[-1], SIZES[0])
    assert network.architecture.output_activation == stack.layers[0].output_activation
    assert network.architecture.task == "reconstruction"


@every_kind
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
        (
            {"into": "generator"},
            "into of unroll must be one of classifier, multilabel, regressor, auto",
        ),
        ({"n_outputs": 2}, "unroll into a classifier needs n_outputs and a generator"),
        ({"into": "regressor", "generator": generator_of()}, "unroll into a regressor needs n_outputs"),
        ({"n_outputs": 0, "generator": generator_of()}, "n_outputs of a network must be an integer >= 1; got 0"),
        ({"n_outputs": 2, "generator": generator_of(), "dropout": 1}, "dropout of a network must be .* < 1; got 1"),
    ],
)
def test_illegal_unrolling(options, message):
    with pytest.raises(SettingsError, match=message):
        unroll(make_stack("binary RBMs"), **options)


# Dropout ---


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
