"""Initial weights against the theory of each initialisation."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kurtosis, norm
from torch import nn

from pretrain.activations import ACTIVATIONS, activation_function
from pretrain.exceptions import SettingsError
from pretrain.hidden_layers import empty_linear
from pretrain.initialisation import GAINS, INITIALISATIONS, N_SPARSE, initialise

every = pytest.mark.parametrize("name", INITIALISATIONS)
N_OUT, N_IN = 211, 97
# Variance of a weight for n inputs, m outputs and gain g.
VARIANCES = {
    "gaussian": lambda n, m, g: 1e-4,
    "sparse": lambda n, m, g: N_SPARSE / n,
    "xavier_normal": lambda n, m, g: 2 * g**2 / (n + m),
    "xavier_uniform": lambda n, m, g: 2 * g**2 / (n + m),
    "he_normal": lambda n, m, g: g**2 / n,
    "he_uniform": lambda n, m, g: g**2 / n,
    "orthogonal": lambda n, m, g: g**2 / max(n, m),
}


def drawn(name, activation="relu", seed=0, module=None):
    module = empty_linear(N_IN, N_OUT) if module is None else module
    initialise(module, name, activation, generator=torch.Generator().manual_seed(seed))
    return module


@every
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_variances(name, activation, seed):
    linear = drawn(name, activation, seed)
    expected = VARIANCES[name](N_IN, N_OUT, GAINS[activation])
    spread = np.sqrt((N_IN / N_SPARSE * 3 if name == "sparse" else 3) / linear.weight.numel())
    assert linear.weight.square().mean().item() == pytest.approx(expected, rel=5 * spread)
    assert abs(linear.weight.mean().item()) < 5 * np.sqrt(expected / linear.weight.numel())
    assert not linear.bias.any()


@pytest.mark.parametrize(("name", "shape"), [("normal", 0.0), ("uniform", -1.2)])
@pytest.mark.parametrize("rule", ["xavier", "he"])
def test_shapes_of_the_distributions(rule, name, shape, seed):
    weight = drawn(f"{rule}_{name}", seed=seed).weight.detach().flatten()
    assert kurtosis(weight) == pytest.approx(shape, abs=0.2)  # excess over the normal distribution


def test_sparse_units_have_fifteen_inputs(seed):
    weight = drawn("sparse", seed=seed).weight
    assert (weight != 0).sum(dim=1).tolist() == [N_SPARSE] * N_OUT
    assert ((weight != 0).sum(dim=0) > 0).all()  # of a unit's own choice, not the same for all
    few = drawn("sparse", module=nn.Linear(7, 5)).weight
    assert (few != 0).all()


@pytest.mark.parametrize(("n_in", "n_out"), [(31, 17), (17, 31)])
def test_orthogonal_matrices_keep_lengths(n_in, n_out, seed):
    weight = drawn("orthogonal", "relu", seed, nn.Linear(n_in, n_out)).weight.double().detach()
    gram = weight @ weight.T if n_out <= n_in else weight.T @ weight
    torch.testing.assert_close(gram, 2 * torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-5)


def test_he_agrees_with_torch(seed):
    generator = torch.Generator().manual_seed(seed)
    for name, rule in (("he_normal", nn.init.kaiming_normal_), ("he_uniform", nn.init.kaiming_uniform_)):
        expected = rule(torch.empty(N_OUT, N_IN), nonlinearity="relu", generator=generator.manual_seed(seed))
        torch.testing.assert_close(drawn(name, seed=seed).weight.detach(), expected)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "softplus", "gelu"])
def test_gains_keep_the_mean_square(activation):
    f = activation_function(activation)

    def weighted(z):
        return float(f(torch.tensor(z, dtype=torch.float64))) ** 2 * norm.pdf(z)

    mean_square = quad(weighted, -12, 0)[0] + quad(weighted, 0, 12)[0]
    assert GAINS[activation] ** 2 * mean_square == pytest.approx(1, rel=1e-6)


def test_gains_of_torch():
    for activation in ("sigmoid", "tanh", "relu", "leaky_relu"):
        assert GAINS[activation] == pytest.approx(nn.init.calculate_gain(activation))
    assert GAINS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", ["he_normal", "he_uniform", "gaussian", "sparse"])
def test_convolutions_count_the_cells_that_they_see(name, seed):
    weight = drawn(name, "relu", seed, nn.Conv2d(11, 67, 3)).weight
    expected = VARIANCES[name](99, 67, GAINS["relu"])
    assert weight.square().mean().item() == pytest.approx(expected, rel=0.15)
    if name == "sparse":
        assert (weight != 0).sum(dim=(1, 2, 3)).tolist() == [N_SPARSE] * 67


@every
def test_the_generator_decides_and_the_global_one_does_not(name, seed):
    state = torch.get_rng_state()
    first, again, other = (drawn(name, seed=s).weight for s in (seed, seed, seed + 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_unknown_names():
    with pytest.raises(SettingsError, match=r"initialisation of initialise must be one of gaussian, .*; got 'lecun'"):
        drawn("lecun")
    with pytest.raises(SettingsError, match=r"activation of initialise must be one of sigmoid, .*; got 'swish'"):
        drawn("he_normal", "swish")
