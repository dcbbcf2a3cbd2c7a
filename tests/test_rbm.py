"""The RBM against enumeration (binary units), numerical integration (Gaussian units) and scikit-learn."""

import warnings

import numpy as np
import pytest
import torch
from oracles import (
    N_HIDDEN,
    N_VISIBLE,
    UNIT_PAIRS,
    arrays_of,
    exact_free_energy,
    exact_model,
    exact_nll,
    fill,
    finite_difference,
    joint_energy,
    small_rbm,
    state_space,
)
from scipy import stats
from scipy.special import logsumexp
from sklearn.neural_network import BernoulliRBM

from pretrain.exceptions import DataRangeWarning, SettingsError
from pretrain.rbm import RBM
from pretrain.settings import RBMSettings

pairs = pytest.mark.parametrize(("visible_units", "hidden_units"), UNIT_PAIRS)


def some_rows(units, n, n_rows, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, n)) if units == "gaussian" else rng.integers(0, 2, size=(n_rows, n)).astype(float)


@pairs
class TestExact:
    def test_energy(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        v = some_rows(visible_units, N_VISIBLE, 5, seed)
        h = some_rows(hidden_units, N_HIDDEN, 5, seed + 10)
        energy = rbm.energy(torch.from_numpy(v), torch.from_numpy(h))
        np.testing.assert_allclose(energy.detach(), np.diag(joint_energy(rbm, v, h)), rtol=1e-12)

    def test_free_energy(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        v = some_rows(visible_units, N_VISIBLE, 5, seed)
        free_energy = rbm.free_energy(torch.from_numpy(v)).detach()
        np.testing.assert_allclose(free_energy, exact_free_energy(rbm, v), rtol=1e-7)

    def test_conditional_means(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        v = some_rows(visible_units, N_VISIBLE, 5, seed)
        h = some_rows(hidden_units, N_HIDDEN, 5, seed + 10)
        visible, hidden = state_space(visible_units, N_VISIBLE)[0], state_space(hidden_units, N_HIDDEN)[0]
        log_p = -joint_energy(rbm, v, hidden)
        expected = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True)) @ hidden
        np.testing.assert_allclose(rbm.prop_up(torch.from_numpy(v)).detach(), expected, atol=1e-7)
        assert torch.equal(rbm.encode(torch.from_numpy(v)), rbm.prop_up(torch.from_numpy(v)))
        log_p = -joint_energy(rbm, visible, h).T
        expected = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True)) @ visible
        np.testing.assert_allclose(rbm.prop_down(torch.from_numpy(h)).detach(), expected, atol=1e-7)
        assert torch.equal(rbm.decode(torch.from_numpy(h)), rbm.prop_down(torch.from_numpy(h)))

    def test_gradients_by_finite_differences(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        v = some_rows(visible_units, N_VISIBLE, 5, seed)
        states, log_weight = state_space(visible_units, N_VISIBLE)
        free_energy = rbm.free_energy(torch.from_numpy(v)).mean()
        log_z = torch.logsumexp(-rbm.free_energy(torch.from_numpy(states)) + log_weight, dim=0)
        for name, parameter in rbm.named_parameters():
            (gradient,) = torch.autograd.grad(free_energy, parameter, retain_graph=True)
            expected = finite_difference(lambda: exact_free_energy(rbm, v).mean(), parameter)
            np.testing.assert_allclose(gradient, expected, atol=1e-6, err_msg=f"free energy, {name}")
            (gradient,) = torch.autograd.grad(free_energy + log_z, parameter, retain_graph=True)
            expected = finite_difference(lambda: exact_nll(rbm, v), parameter)
            np.testing.assert_allclose(gradient, expected, atol=1e-6, err_msg=f"log-likelihood, {name}")

    def test_gibbs_step_leaves_the_distribution_unchanged(self, visible_units, hidden_units, seed, generator):
        rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
        states, p = exact_model(rbm)
        n = 20_000
        v = states[np.random.default_rng(seed).choice(len(p), size=n, p=p)]
        after = rbm.gibbs_step(torch.from_numpy(v).float(), generator=generator).numpy()
        if visible_units == "bernoulli":
            counts = np.bincount((after @ [4, 2, 1]).astype(int), minlength=8)
            assert stats.chisquare(counts, n * p).pvalue > 1e-4
            return
        for power in (1, 2):
            expected = p @ states**power
            spread = np.sqrt(p @ states ** (2 * power) - expected**2)
            assert (np.abs((after**power).mean(axis=0) - expected) < 5 * spread / np.sqrt(n)).all()

    def test_samples_of_one_layer_given_the_other(self, visible_units, hidden_units, seed, generator):
        rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
        n = 20_000
        v = torch.from_numpy(some_rows(visible_units, N_VISIBLE, 1, seed)).float().expand(n, -1)
        h = torch.from_numpy(some_rows(hidden_units, N_HIDDEN, 1, seed)).float().expand(n, -1)
        for states, mean in (
            (rbm.sample_hidden(v, generator=generator), rbm.prop_up(v)),
            (rbm.sample_visible(h, generator=generator), rbm.prop_down(h)),
        ):
            assert not states.requires_grad
            assert ((states.mean(dim=0) - mean[0]).abs() < 5 * states.std(dim=0) / np.sqrt(n) + 1e-6).all()
            assert len(states[:, 0].unique()) > 1  # states, never means

    def test_inputs_are_left_alone(self, visible_units, hidden_units, generator):
        rbm = small_rbm(0, visible_units, hidden_units, dtype=torch.float32)
        v, h = torch.rand(5, N_VISIBLE), torch.rand(5, N_HIDDEN)
        kept = v.clone(), h.clone()
        rbm.encode(v)
        rbm.decode(h)
        rbm.free_energy(v)
        rbm.energy(v, h)
        rbm.gibbs_step(v, generator=generator)
        assert torch.equal(v, kept[0])
        assert torch.equal(h, kept[1])


def test_against_sklearn(seed):
    rng = np.random.default_rng(seed)
    ours, theirs = RBM(13, 7).double(), BernoulliRBM(n_components=7)
    weight, b, c = rng.normal(size=(7, 13)), rng.normal(size=13), rng.normal(size=7)
    fill(ours, weight=weight, visible_bias=b, hidden_bias=c)
    theirs.components_, theirs.intercept_visible_, theirs.intercept_hidden_ = weight, b, c
    v = rng.random(size=(11, 13))
    np.testing.assert_allclose(ours.prop_up(torch.from_numpy(v)).detach(), theirs.transform(v), rtol=1e-10)
    np.testing.assert_allclose(ours.free_energy(torch.from_numpy(v)).detach(), theirs._free_energy(v), rtol=1e-10)


def test_free_energy_of_large_inputs_does_not_overflow():
    rbm = small_rbm(0, dtype=torch.float32)
    fill(rbm, weight=np.full((N_HIDDEN, N_VISIBLE), 1000.0))
    v = torch.ones(1, N_VISIBLE)
    _, b, c = arrays_of(rbm)
    expected = -b.sum() - 2 * 3000 - c.sum()
    assert rbm.free_energy(v).item() == pytest.approx(expected, rel=1e-5)


def test_initial_weights(generator):
    rbm = RBM(101, 103, weight_scale=0.3, generator=generator)
    n = rbm.weight.numel()
    assert rbm.weight.std().item() == pytest.approx(0.3, abs=5 * 0.3 / np.sqrt(2 * n))
    assert abs(rbm.weight.mean().item()) < 5 * 0.3 / np.sqrt(n)
    assert not rbm.visible_bias.any()
    assert not rbm.hidden_bias.any()
    assert not RBM(5, 3).weight.any()


@pytest.mark.parametrize(
    ("below", "named", "expected"),
    [
        (None, "bernoulli", "bernoulli"),
        (None, "gaussian", "gaussian"),
        ("sigmoid", "gaussian", "bernoulli"),
        ("identity", "bernoulli", "gaussian"),
        ("relu", "bernoulli", "gaussian"),
    ],
)
def test_visible_units_follow_the_layer_below(below, named, expected):
    rbm = RBM.from_settings(5, 3, RBMSettings(visible_units=named), below=below)
    assert rbm.visible_units.name == expected


@pytest.mark.parametrize(
    ("units", "below", "warned"), [("bernoulli", None, True), ("gaussian", None, False), ("bernoulli", "tanh", False)]
)
def test_bernoulli_units_on_other_data_warn(units, below, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RBM.from_settings(5, 3, RBMSettings(visible_units=units), below=below, unit_interval=False)
    assert [w.category for w in caught] == [DataRangeWarning] * warned
    if warned:
        assert "Scale the data" in str(caught[0].message)


@pytest.mark.parametrize("sizes", [(0, 3), (5, 0), (5, 2.5), (True, 3)])
def test_illegal_sizes(sizes):
    with pytest.raises(SettingsError, match=r"n_(visible|hidden) of RBM must be an integer >= 1; got"):
        RBM(*sizes)


def test_names_for_unrolling():
    rbm = small_rbm(0, "gaussian", "bernoulli")
    weight, _, _ = arrays_of(rbm)
    assert (rbm.activation, rbm.output_activation) == ("sigmoid", "identity")
    np.testing.assert_array_equal(rbm.decoder_weight.detach(), weight.T)
