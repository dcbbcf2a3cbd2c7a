"""Penalties on the code of an autoencoder, contractive and sparse, against Jacobians and finite differences."""

import numpy as np
import pytest
import torch
from oracles import finite_difference
from scipy import sparse
from stacks import pretrained, quick, rows
from torch.autograd.functional import hessian, jacobian

from pretrain.activations import ACTIVATIONS
from pretrain.autoencoder import Autoencoder
from pretrain.autoencoder_settings import BOUNDED_ACTIVATIONS, AutoencoderSettings
from pretrain.batches import Batch, BatchSource
from pretrain.contraction import SLOPES, Contraction
from pretrain.exceptions import SettingsError
from pretrain.random_streams import RandomStreams
from pretrain.settings import TrainingSettings
from pretrain.sparsity import SparseCode
from pretrain.training import TrainingRun

N_VISIBLE, N_HIDDEN = 5, 3
WEIGHT = torch.tensor([2.0, 1.0, 0.0, 0.5, 1.5, 0.25, 3.0])  # of a batch: their mean is not 1
activations = pytest.mark.parametrize("activation", ACTIVATIONS)
bounded = pytest.mark.parametrize("activation", BOUNDED_ACTIVATIONS)
tied_or_not = pytest.mark.parametrize("tied", [True, False])
weighted_or_not = pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])


def small_layer(seed, activation="sigmoid", tied=True):
    """A layer in float64 whose parameters are all drawn, large enough that its slopes differ."""
    layer = Autoencoder(N_VISIBLE, N_HIDDEN, activation=activation, tied=tied).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.8, generator=torch.Generator().manual_seed(seed + parameter.numel()))
    return layer


def some_rows(seed, n=7):
    return torch.rand(n, N_VISIBLE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 3))


def contraction_of(layer, seed=0, **options):
    settings = AutoencoderSettings(activation=layer.activation, **options)
    return Contraction(settings, layer.activation, generator=torch.Generator().manual_seed(seed))


def noise_of(x, std, seed=0):
    return torch.empty_like(x).normal_(std=std, generator=torch.Generator().manual_seed(seed))


def jacobians(layer, x):
    """(n, n_hidden, n_visible), by autograd."""
    return torch.stack([jacobian(layer.encode, row) for row in x])


def mean_row(of_rows, weight):
    weight = torch.ones(len(of_rows)) if weight is None else weight
    return (of_rows * weight).sum() / len(of_rows)


def parts_of(layer, x, penalty, weight=None):
    return penalty(layer.weight, layer.hidden_input(x), weight)


# Contraction ---


def test_every_activation_has_a_slope():
    assert SLOPES.keys() == ACTIVATIONS.keys()
    a = torch.linspace(-3, 3, 11, dtype=torch.float64, requires_grad=True)  # zero is one of them
    for name, activation in ACTIVATIONS.items():
        (expected,) = torch.autograd.grad(activation(a).sum(), a)
        torch.testing.assert_close(SLOPES[name](a.detach()), expected)


@activations
@tied_or_not
@weighted_or_not
def test_the_penalty_is_the_squared_norm_of_the_jacobian(activation, tied, weight, seed):
    layer, x = small_layer(seed, activation, tied), some_rows(seed)
    expected = mean_row(jacobians(layer, x).square().sum(dim=(1, 2)), weight)
    found = parts_of(layer, x, contraction_of(layer, contraction=0.7), weight)
    assert found.item() == pytest.approx(0.7 * expected.item(), rel=1e-12)


def test_the_closed_form_of_sigmoid_and_tanh(seed):
    x = some_rows(seed)
    for activation, slope in (("sigmoid", lambda h: h * (1 - h)), ("tanh", lambda h: 1 - h**2)):
        layer = small_layer(seed, activation)
        h, W = layer.encode(x).detach().numpy(), layer.weight.detach().numpy()
        expected = (slope(h) ** 2 * (W**2).sum(axis=1)).sum(axis=1).mean()
        assert parts_of(layer, x, contraction_of(layer, contraction=1.0)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "identity"])
@weighted_or_not
def test_the_higher_order_penalty_is_the_change_of_the_jacobian(activation, weight, seed):
    layer, x = small_layer(seed, activation), some_rows(seed)
    moved = x + noise_of(x, 0.5, seed)
    expected = mean_row((jacobians(layer, x) - jacobians(layer, moved)).square().sum(dim=(1, 2)), weight)
    penalty = contraction_of(layer, seed, contraction_higher_order=0.7, contraction_noise=0.5)
    assert penalty.stochastic
    assert expected > 0
    assert parts_of(layer, x, penalty, weight).item() == pytest.approx(0.7 * expected.item(), rel=1e-10)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus"])
def test_under_little_noise_it_is_the_norm_of_the_hessian(activation, seed):
    layer, x, std = small_layer(seed, activation), some_rows(seed, 1), 1e-3
    norm = sum(hessian(lambda v, j=j: layer.encode(v)[j], x[0]).square().sum().item() for j in range(N_HIDDEN))
    penalty = contraction_of(layer, seed, contraction_higher_order=1.0, contraction_noise=std)
    found = parts_of(layer, x.expand(20_011, -1), penalty).item() / std**2
    assert found == pytest.approx(norm, rel=0.05)


@activations
@tied_or_not
def test_gradients_against_finite_differences(activation, tied, seed):
    layer, x = small_layer(seed, activation, tied), some_rows(seed)
    higher = 0.0 if activation == "identity" else 0.9
    options = {"contraction": 0.7, "contraction_higher_order": higher, "contraction_noise": 0.5}

    def value():  # the same noise each time
        return parts_of(layer, x, contraction_of(layer, seed, **options), WEIGHT.double())

    value().backward()
    for name, parameter in layer.named_parameters():
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        expected = finite_difference(lambda: value().item(), parameter)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_an_activation_of_several_columns_is_refused():
    settings = AutoencoderSettings(contraction=1.0, sparsity_target=0.1)
    with pytest.raises(SettingsError, match=r"activation of a contractive autoencoder must be one of .* 'softmax'"):
        Contraction(settings, "softmax", generator=torch.Generator())
    with pytest.raises(SettingsError, match="activation of a sparse autoencoder must be one of sigmoid, tanh"):
        SparseCode(settings, "softmax")


# Sparsity ---


def sparse_code(activation, target=0.2, cost=0.7):
    settings = AutoencoderSettings(activation=activation, sparsity_target=target, sparsity_cost=cost)
    return SparseCode(settings, activation)


def divergence(code, activation, weight, p=0.2):
    """The penalty in NumPy, without its cost."""
    h = code.detach().numpy()
    q = np.average(h, axis=0, weights=None if weight is None else weight.numpy())
    q = (1 + q) / 2 if activation == "tanh" else q
    scale = 1.0 if weight is None else weight.mean().item()
    return scale * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum()


@bounded
@weighted_or_not
def test_the_penalty_is_the_divergence_of_the_mean_activation(activation, weight, seed):
    code = small_layer(seed, activation).encode(some_rows(seed))
    found = sparse_code(activation)(code, weight).item()
    assert found == pytest.approx(0.7 * divergence(code, activation, weight), rel=1e-6)


@bounded
@tied_or_not
@weighted_or_not
def test_the_gradient_of_the_divergence(activation, tied, weight, seed):
    layer, x = small_layer(seed, activation, tied), some_rows(seed)
    weight = None if weight is None else weight.double()
    penalty = sparse_code(activation)
    penalty(layer.encode(x), weight).backward()
    for parameter in (layer.weight, layer.hidden_bias):
        expected = finite_difference(lambda: 0.7 * divergence(layer.encode(x), activation, weight), parameter)
        np.testing.assert_allclose(parameter.grad, expected, rtol=1e-5, atol=1e-8)


@bounded
def test_the_penalty_is_least_at_its_target(activation):
    at = {"sigmoid": 0.2, "tanh": 2 * 0.2 - 1}[activation]
    code = torch.full((7, 3), at, requires_grad=True)
    value = sparse_code(activation)(code)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert code.grad.abs().max() < 1e-6


@bounded
def test_units_that_are_dead_or_saturated_have_a_finite_penalty_and_a_way_back(activation):
    lowest = {"sigmoid": 0.0, "tanh": -1.0}[activation]
    code = torch.tensor([[lowest, 1.0]] * 5, requires_grad=True)
    value = sparse_code(activation)(code)
    value.backward()
    assert value.isfinite()
    assert code.grad.isfinite().all()
    assert (code.grad[:, 0] < 0).all()  # upwards
    assert (code.grad[:, 1] > 0).all()


# In training ---


ALL = {"sparsity_target": 0.2, "sparsity_cost": 0.5, "contraction": 0.3, "contraction_higher_order": 0.4}


def learner_of(layer, seed=0, dtype=torch.float32, **options):
    settings = AutoencoderSettings(activation=layer.activation, tied=layer.tied, **options)
    return layer.learning_rule(settings, streams=RandomStreams(seed), layer=0, dtype=dtype)


def gradients(layer, learner, batch):
    loss = learner.fill_gradients(batch)
    return [loss, *(parameter.grad.clone() for parameter in layer.parameters())]


@bounded
@tied_or_not
@weighted_or_not
@pytest.mark.parametrize("kind", ["none", "masking", "swap"])
def test_the_learner_adds_the_penalties_at_the_corrupted_input(activation, tied, weight, kind, seed):
    layer, x = small_layer(seed, activation, tied).float(), some_rows(seed).float()
    batch, noisy = Batch(x, None, weight), learner_of(layer, seed, corruption=kind, **ALL).corruption(x)
    plain = gradients(layer, learner_of(layer, seed, corruption=kind), batch)
    learner = learner_of(layer, seed, corruption=kind, **ALL)
    found = gradients(layer, learner, batch)
    assert found[0] == plain[0]  # the loss is that of the reconstruction
    contraction = learner_of(layer, seed, **ALL).contraction  # the same noise again
    penalty = parts_of(layer, noisy, contraction, weight)
    penalty = penalty + sparse_code(activation, 0.2, 0.5)(layer.encode(noisy), weight)
    assert learner.penalty().item() == pytest.approx(penalty.item(), rel=1e-5)
    expected = torch.autograd.grad(penalty, list(layer.parameters()), allow_unused=True, materialize_grads=True)
    for with_it, without, of_penalty in zip(found[1:], plain[1:], expected, strict=True):
        torch.testing.assert_close(with_it, without + of_penalty, rtol=1e-4, atol=1e-5)


@bounded
def test_the_gradient_does_not_depend_on_how_often_the_rows_are_there(activation, seed):
    layer, x = small_layer(seed, activation).float(), some_rows(seed).float()
    options = {**ALL, "contraction_higher_order": 0.0, "corruption": "none"}
    learner = learner_of(layer, **options)
    once, thrice = (gradients(layer, learner, Batch(x.repeat(n, 1))) for n in (1, 3))
    for a, b in zip(once, thrice, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@bounded
def test_a_weight_of_two_is_a_row_twice_and_of_zero_none(activation, seed):
    layer, x = small_layer(seed, activation).float(), some_rows(seed, 5).float()
    options = {**ALL, "contraction_higher_order": 0.0, "corruption": "none"}
    learner = learner_of(layer, **options)
    weighted = gradients(layer, learner, Batch(x, None, torch.tensor([2.0, 1, 0, 1, 1])))
    repeated = gradients(layer, learner, Batch(x[[0, 0, 1, 3, 4]]))
    for a, b in zip(weighted, repeated, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for value in gradients(layer, learner_of(layer, **ALL), Batch(x, None, torch.zeros(5))):
        assert not value.any()


def test_tied_weights_stay_tied_and_shapes_are_the_same(seed):
    for tied in (True, False):
        run, _ = pretrained(rows(seed, 23), (5, 3), quick("autoencoder", tied=tied, **ALL), seed)
        for layer, n_visible, n_hidden in zip(run.stack.layers, (13, 5), (5, 3), strict=True):
            assert torch.equal(layer.decoder_weight, layer.encoder_weight.T) == tied
            assert layer.encoder_weight.shape == (n_hidden, n_visible)
            assert layer.decoder_weight.shape == (n_visible, n_hidden)
            assert layer.decode(layer.encode(torch.zeros(2, n_visible))).shape == (2, n_visible)


def test_penalties_do_what_they_are_for(seed):
    X = rows(seed, 101)
    base = {"corruption": "none", "epochs": 40, "reconstruction_loss": "squared_error"}

    def layer_of(**options):
        run, _ = pretrained(X, (7,), quick("autoencoder", **base, **options), seed)
        return run.stack.layers[0].double()

    x = torch.from_numpy(X).double()
    plain, contractive, rare = layer_of(), layer_of(contraction=1.0), layer_of(sparsity_target=0.1, sparsity_cost=5.0)
    norms = [jacobians(layer, x).square().sum().item() for layer in (plain, contractive)]
    assert norms[1] < 0.5 * norms[0]
    assert plain.encode(x).mean() > 0.3
    assert rare.encode(x).mean().item() == pytest.approx(0.1, abs=0.03)


def test_lbfgs_minimises_the_penalties_too(seed):
    training = TrainingSettings(epochs=30, batch_size=23, optimizer="lbfgs", learning_rate=1.0)
    options = {"corruption": "none", "sparsity_target": 0.1, "sparsity_cost": 1.0, "contraction": 1.0}
    layer = small_layer(seed).float()
    learner = learner_of(layer, **options)
    source = BatchSource(
        some_rows(seed, 23).float(), batch_size=23, generator=torch.Generator(), device=torch.device("cpu")
    )
    list(TrainingRun(learner, source, training, stage="pretrain"))
    learner.fill_gradients(source.batch(0))
    assert max(parameter.grad.abs().max() for parameter in layer.parameters()) < 1e-2
    noisy = learner_of(layer, **options, contraction_higher_order=1.0)
    with pytest.raises(SettingsError, match="lbfgs"):
        TrainingRun(noisy, source, training, stage="pretrain")


@bounded
def test_bfloat16_is_close_to_float32(activation, seed):
    x = torch.rand(101, 31, generator=torch.Generator().manual_seed(seed))
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = Autoencoder(31, 17, activation=activation, generator=torch.Generator().manual_seed(seed))
        found[dtype] = gradients(layer, learner_of(layer, seed, dtype, emphasis=0.5, **ALL), Batch(x))
    for exact, rounded in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < torch.linalg.norm(exact - rounded) < 0.03 * torch.linalg.norm(exact)


@pytest.mark.parametrize("kind", ["masking", "gaussian", "salt_and_pepper", "swap"])
@activations
def test_columns_that_are_constant_and_batches_of_one_row(kind, activation, seed):
    X = rows(seed, 15)  # batches of 7, 7 and 1
    X[:, 0], X[:, 1], X[:, 2] = 0, 1, 0.5
    options = {"sparsity_target": 0.1} if activation in BOUNDED_ACTIVATIONS else {}
    if activation != "identity":
        options["contraction_higher_order"] = 0.1
    if kind != "gaussian":
        options["emphasis"] = 1.0
    for precision in ("float32", "bfloat16"):
        settings = quick(
            "autoencoder", corruption=kind, activation=activation, contraction=0.1, precision=precision, **options
        )
        run, records = pretrained(X, (5, 3), settings, seed)
        assert all(np.isfinite(record["loss"]) for record in records)
        assert all(p.isfinite().all() for p in run.stack.parameters())


@pytest.mark.parametrize("kind", ["masking", "gaussian", "salt_and_pepper", "swap"])
def test_sparse_rows_train_as_dense_ones_and_are_left_alone(kind, seed):
    X = rows(seed, 23) * (rows(seed + 5, 23) > 0.6)
    settings = quick("autoencoder", corruption=kind, **ALL)
    matrix, dense = sparse.csr_matrix(X), X.copy()
    codes = [pretrained(data, (5,), settings, seed)[0].stack.transform(X) for data in (matrix, dense)]
    np.testing.assert_array_equal(codes[0], codes[1])
    np.testing.assert_array_equal(dense, X)
    np.testing.assert_array_equal(matrix.toarray(), X)


def test_the_noise_of_the_contraction_changes_no_other_noise(seed):
    layer, x = small_layer(seed).float(), some_rows(seed).float()
    with_it, without = learner_of(layer, **ALL), learner_of(layer)
    assert with_it.contraction.generator.initial_seed() != with_it.corruption.generator.initial_seed()
    for _ in range(3):
        assert with_it.fill_gradients(Batch(x)) == without.fill_gradients(Batch(x))
