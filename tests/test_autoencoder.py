"""One-layer autoencoders against formulas in NumPy."""

import warnings

import numpy as np
import pytest
import torch
from oracles import arrays_of, finite_difference
from scipy.special import expit
from scipy.stats import norm

from pretrain.activations import ACTIVATIONS
from pretrain.autoencoder import Autoencoder, reconstruction_loss
from pretrain.autoencoder_settings import CORRUPTIONS, AutoencoderSettings
from pretrain.batches import Batch
from pretrain.corruption import Corruption
from pretrain.denoising import DenoisingLearner
from pretrain.exceptions import DataRangeWarning, SettingsError

N_VISIBLE, N_HIDDEN = 5, 3
NUMPY = {
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a),
    "softplus": lambda a: np.logaddexp(0, a),
    "gelu": lambda a: a * norm.cdf(a),
    "identity": lambda a: a,
}
LOSSES = ("cross_entropy", "squared_error")
INSIDE, OUTSIDE = (0.0, 1.0), (-3.0, 2.0)
tied_or_not = pytest.mark.parametrize("tied", [True, False])
losses = pytest.mark.parametrize("loss", LOSSES)
activations = pytest.mark.parametrize("activation", ACTIVATIONS)


def small_autoencoder(seed, **options):
    layer = Autoencoder(N_VISIBLE, N_HIDDEN, generator=torch.Generator().manual_seed(seed), **options)
    with torch.no_grad():
        layer.visible_bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(seed + 1))
        layer.hidden_bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(seed + 2))
    return layer


def rows(seed, n=7):
    return torch.rand(n, N_VISIBLE, generator=torch.Generator().manual_seed(seed + 3))


def learner_of(layer, kind="none", level=0.0, seed=0, dtype=torch.float32, emphasis=0.0):
    corruption = Corruption(kind, level, generator=torch.Generator().manual_seed(seed))
    return DenoisingLearner(layer, corruption, dtype=dtype, emphasis=emphasis)


def formula(layer, noisy, clean):
    """Mean loss a row in float64: encode the noisy rows, decode, compare with the clean ones."""
    weight, b, c = arrays_of(layer)
    decoder = weight.T if layer.tied else layer.untied_weight.numpy(force=True).astype(float)
    noisy, clean = noisy.numpy().astype(float), clean.numpy().astype(float)
    output = NUMPY[layer.activation](noisy @ weight.T + c) @ decoder.T + b
    if layer.reconstruction_loss == "squared_error":
        return ((output - clean) ** 2).sum() / len(clean)
    p = expit(output)
    return -(clean * np.log(p) + (1 - clean) * np.log(1 - p)).sum() / len(clean)


@activations
@losses
@tied_or_not
def test_loss_and_gradient(activation, loss, tied, seed):
    layer = small_autoencoder(seed, activation=activation, reconstruction_loss=loss, tied=tied)
    x = rows(seed)
    value = learner_of(layer).fill_gradients(Batch(x, None))
    assert value.item() == pytest.approx(formula(layer, x, x), rel=1e-5)
    exact = layer.double()  # the steps of the differences are too fine for float32
    for name, parameter in exact.named_parameters():
        expected = finite_difference(lambda: formula(exact, x, x), parameter)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-4, atol=2e-5, err_msg=name)


@activations
@losses
@tied_or_not
def test_encode_and_decode(activation, loss, tied, seed):
    layer = small_autoencoder(seed, activation=activation, reconstruction_loss=loss, tied=tied).double()
    weight, b, c = arrays_of(layer)
    decoder = layer.decoder_weight.numpy(force=True)
    x = rows(seed).double()
    h = layer.encode(x)
    np.testing.assert_allclose(h.detach(), NUMPY[activation](x.numpy() @ weight.T + c), rtol=1e-10)
    output = h.detach().numpy() @ decoder.T + b
    np.testing.assert_allclose(
        layer.decode(h).detach(), expit(output) if loss == "cross_entropy" else output, rtol=1e-10
    )
    assert layer.decoder_weight.shape == (N_VISIBLE, N_HIDDEN)
    assert layer.output_activation == ("sigmoid" if loss == "cross_entropy" else "identity")


@pytest.mark.parametrize("kind", CORRUPTIONS[1:])
@losses
def test_the_encoder_sees_the_corrupted_and_the_loss_the_clean_input(kind, loss, seed):
    layer = small_autoencoder(seed, reconstruction_loss=loss)
    x = rows(seed)
    kept = x.clone()
    noisy = Corruption(kind, 0.5, generator=torch.Generator().manual_seed(seed))(x)
    assert not torch.equal(noisy, x)
    value = learner_of(layer, kind, 0.5, seed).fill_gradients(Batch(x, None))
    assert value.item() == pytest.approx(formula(layer, noisy, x), rel=1e-5)
    assert torch.equal(x, kept)


# Emphasis on the corrupted cells ---


def emphasised(layer, noisy, clean, taken, emphasis, weight):
    """The loss cell by cell: one that the noise took weighs 1, another 1 - emphasis; rows by their weight."""
    W, b, c = arrays_of(layer)
    decoder = layer.decoder_weight.numpy(force=True).astype(float)
    noisy, clean = noisy.numpy().astype(float), clean.numpy().astype(float)
    output = NUMPY[layer.activation](noisy @ W.T + c) @ decoder.T + b
    p = expit(output)
    cross_entropy = -(clean * np.log(p) + (1 - clean) * np.log(1 - p))
    cells = cross_entropy if layer.reconstruction_loss == "cross_entropy" else (output - clean) ** 2
    cells = np.where(taken, cells, (1 - emphasis) * cells)
    return (weight[:, None] * cells).sum() / len(clean)


@pytest.mark.parametrize("kind", ["masking", "salt_and_pepper", "swap"])
@pytest.mark.parametrize("emphasis", [0.3, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
@losses
@tied_or_not
def test_emphasis(kind, emphasis, weighted, loss, tied, seed):
    layer, x = small_autoencoder(seed, reconstruction_loss=loss, tied=tied), rows(seed)
    x[0, 0] = 0  # taken by masking, it stays zero and counts as taken
    weight = np.random.default_rng(seed).random(7) * 2 if weighted else np.ones(7)
    noise = Corruption(kind, 0.5, generator=torch.Generator().manual_seed(seed))
    noisy, taken = noise(x), noise.kept.numpy() == 0
    assert 0 < taken.sum() < taken.size
    batch = Batch(x, None, torch.from_numpy(weight).float() if weighted else None)
    value = learner_of(layer, kind, 0.5, seed, emphasis=emphasis).fill_gradients(batch)
    assert value.item() == pytest.approx(emphasised(layer, noisy, x, taken, emphasis, weight), rel=1e-5)
    exact = layer.double()
    for name, parameter in exact.named_parameters():
        expected = finite_difference(lambda: emphasised(exact, noisy, x, taken, emphasis, weight), parameter)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-4, atol=2e-5, err_msg=name)


@losses
def test_full_emphasis_does_not_see_the_cells_without_noise(loss, seed):
    layer, x = small_autoencoder(seed, reconstruction_loss=loss), rows(seed)
    alone = learner_of(layer, "swap", 0.5, seed, emphasis=1.0)
    assert alone.fill_gradients(Batch(x[:1])).item() == 0  # one row has no other to swap with
    assert not any(parameter.grad.any() for parameter in layer.parameters())


def test_the_gradient_is_overwritten_not_accumulated(seed):
    layer = small_autoencoder(seed)
    learner, batch = learner_of(layer), Batch(rows(seed), None)
    learner.fill_gradients(batch)
    first = [parameter.grad.clone() for parameter in layer.parameters()]
    learner.fill_gradients(batch)
    assert all(torch.equal(a, p.grad) for a, p in zip(first, layer.parameters(), strict=True))


def test_noise_is_fresh_each_time(seed):
    learner = learner_of(small_autoencoder(seed), "masking", 0.5, seed)
    batch = Batch(rows(seed), None)
    assert learner.stochastic
    assert learner.fill_gradients(batch).item() != learner.fill_gradients(batch).item()
    quiet = learner_of(small_autoencoder(seed))
    assert not quiet.stochastic
    assert quiet.fill_gradients(batch).item() == quiet.fill_gradients(batch).item()


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_stay_tied(tied, seed):
    layer = small_autoencoder(seed, tied=tied)
    learner = learner_of(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(5):
        learner.fill_gradients(Batch(rows(seed), None))
        optimizer.step()
    assert torch.equal(layer.decoder_weight, layer.weight.T) == tied
    assert len(list(layer.parameters())) == (3 if tied else 4)


def test_a_short_batch_is_averaged_over_its_own_rows(seed):
    layer = small_autoencoder(seed)
    learner, x = learner_of(layer), rows(seed)
    for n in (7, 2):
        assert learner.fill_gradients(Batch(x[:n], None)).item() == pytest.approx(
            formula(layer, x[:n], x[:n]), rel=1e-5
        )


# Weights of rows ---


@losses
@tied_or_not
def test_weighted_loss_and_gradient(loss, tied, seed):
    # The mean over rows of weight times loss: rows that count w times, of which each has the gradient of its own.
    layer = small_autoencoder(seed, reconstruction_loss=loss, tied=tied)
    x, weight = rows(seed), np.random.default_rng(seed).random(7) * 2
    learner = learner_of(layer)
    value = learner.fill_gradients(Batch(x, None, torch.from_numpy(weight).float()))
    assert value.item() == pytest.approx(weighted_formula(layer, x, weight), rel=1e-5)
    exact = layer.double()
    for name, parameter in exact.named_parameters():
        expected = finite_difference(lambda: weighted_formula(exact, x, weight), parameter)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-4, atol=2e-5, err_msg=name)


def weighted_formula(layer, x, weight):
    return sum(w * formula(layer, row[None], row[None]) for w, row in zip(weight, x, strict=True)) / len(x)


@losses
def test_a_weight_of_two_is_a_row_twice_and_of_zero_none(loss, seed):
    layer, x = small_autoencoder(seed, reconstruction_loss=loss), rows(seed, 5)
    learner = learner_of(layer)
    found = []
    for batch in (
        Batch(x, None, torch.tensor([2.0, 1, 0, 1, 1])),
        Batch(x[[0, 0, 1, 3, 4]]),
        Batch(x, None, torch.ones(5)),
    ):
        value = learner.fill_gradients(batch)
        found.append([value, *(parameter.grad.clone() for parameter in layer.parameters())])
    for weighted, repeated, plain in zip(*found, strict=True):
        torch.testing.assert_close(weighted, repeated, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(weighted, plain)
    value = learner.fill_gradients(Batch(x))
    for a, b in zip(found[2], [value, *(p.grad for p in layer.parameters())], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@losses
def test_bfloat16_is_close_to_float32(loss, seed):
    x = torch.rand(101, 31, generator=torch.Generator().manual_seed(seed))
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = Autoencoder(31, 17, reconstruction_loss=loss, generator=torch.Generator().manual_seed(seed))
        learner_of(layer, dtype=dtype).fill_gradients(Batch(x, None))
        found[dtype] = [parameter.grad for parameter in layer.parameters()]
    for exact, rounded in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < torch.linalg.norm(exact - rounded) < 0.03 * torch.linalg.norm(exact)


def test_cross_entropy_of_certain_outputs_is_finite():
    loss = reconstruction_loss(torch.tensor([[300.0, -300.0]]), torch.tensor([[0.0, 1.0]]), "cross_entropy")
    assert loss.item() == pytest.approx(600.0)


@pytest.mark.parametrize(
    ("below", "data_range", "expected"),
    [
        (None, INSIDE, "cross_entropy"),
        (None, (np.zeros(5), np.full(5, 0.5)), "cross_entropy"),
        (None, (-0.1, 1.0), "squared_error"),
        (None, (0.0, 1.1), "squared_error"),
        (None, (np.zeros(5), np.array([0, 1, 2, 1, 1])), "squared_error"),  # a single column is enough
        (None, (np.array([0, 0, -1, 0, 0]), np.ones(5)), "squared_error"),
        ("sigmoid", OUTSIDE, "cross_entropy"),
        ("tanh", INSIDE, "squared_error"),
        ("relu", INSIDE, "squared_error"),
        ("identity", INSIDE, "squared_error"),
    ],
)
def test_automatic_loss(below, data_range, expected):
    layer = Autoencoder.from_settings(5, 3, AutoencoderSettings(), below=below, data_range=data_range)
    assert layer.reconstruction_loss == expected


def test_the_mean_of_the_data_is_not_used():
    generators = (torch.Generator().manual_seed(0) for _ in range(2))
    one, other = (
        Autoencoder.from_settings(5, 3, AutoencoderSettings(), data_mean=mean, generator=generator)
        for mean, generator in zip((None, torch.ones(5)), generators, strict=True)
    )
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not one.visible_bias.any()


def test_inputs_far_from_any_scaling_warn():
    for below, largest in ((None, 60.0), (None, 40.0), ("relu", 60.0)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            data_range = (np.array([-largest, 0.0]), np.array([0.0, 1.0]))
            Autoencoder.from_settings(2, 3, AutoencoderSettings(), below=below, data_range=data_range)
        assert ["go up to 60 in size" in str(w.message) for w in caught] == [True] * (below is None and largest == 60)


@pytest.mark.parametrize(
    ("below", "data_range"), [(None, OUTSIDE), (None, INSIDE), ("relu", INSIDE), ("sigmoid", OUTSIDE)]
)
@pytest.mark.parametrize("named", ["cross_entropy", "squared_error"])
def test_cross_entropy_on_other_data_warns(below, data_range, named):
    settings = AutoencoderSettings(reconstruction_loss=named)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer = Autoencoder.from_settings(5, 3, settings, below=below, data_range=data_range)
    assert layer.reconstruction_loss == named
    beyond = (below, data_range) in ((None, OUTSIDE), ("relu", INSIDE))
    assert [w.category for w in caught] == [DataRangeWarning] * (named == "cross_entropy" and beyond)


def test_initial_weights(generator):
    layer = Autoencoder(103, 53, tied=False, generator=generator)
    bound = np.sqrt(6 / (103 + 53))
    for weight in (layer.weight, layer.untied_weight):
        assert weight.abs().max().item() <= bound
        assert weight.std().item() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert not layer.visible_bias.any()
    assert not layer.hidden_bias.any()
    assert not torch.equal(layer.weight.T, layer.untied_weight)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 3), {}, "n_visible of Autoencoder must be an integer >= 1; got 0"),
        ((5, 1.5), {}, "n_hidden of Autoencoder must be an integer >= 1; got 1.5"),
        ((5, 3), {"activation": "swish"}, "activation must be one of sigmoid, tanh.*got 'swish'"),
        ((5, 3), {"reconstruction_loss": "auto"}, "must be one of cross_entropy, squared_error; got 'auto'"),
    ],
)
def test_illegal_values(arguments, options, message):
    with pytest.raises(SettingsError, match=message):
        Autoencoder(*arguments, **options)
