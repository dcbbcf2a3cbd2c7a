"""The RBM against enumeration (counted units), numerical integration (Gaussian units) and scikit-learn."""

import warnings

import numpy as np
import pytest
import torch
from global_state import global_state
from oracles import (
    DISCRETE_PAIRS,
    EVERY_PAIR,
    N_HIDDEN,
    N_VISIBLE,
    UNBOUNDED,
    UNIT_PAIRS,
    arrays_of,
    exact_free_energy,
    exact_model,
    exact_nll,
    fill,
    finite_difference,
    groups_of,
    hidden_states,
    joint_energy,
    log_variance_of,
    small_rbm,
    some_states,
    visible_states,
)
from scipy import stats
from scipy.special import logsumexp
from sklearn.neural_network import BernoulliRBM

from pretrain.exceptions import DataRangeWarning, SettingsError
from pretrain.rbm import RBM
from pretrain.settings import RBMSettings
from pretrain.unit_types import ONLY_VISIBLE

pairs = pytest.mark.parametrize(("visible_units", "hidden_units"), EVERY_PAIR)
# For what needs a few types only: those whose state is a number, one-hot, a count and real.
some_pairs = pytest.mark.parametrize(
    ("visible_units", "hidden_units"),
    [
        *UNIT_PAIRS,
        ("softmax", "spin"),
        ("replicated_softmax", "softmax:3"),
        ("gaussian_learned", "noisy_relu"),
        ("noisy_relu:1+gaussian_learned:2+softmax:2+softmax:3", "bernoulli:2+gaussian:1"),
    ],
)


def some_rows(rbm, n_rows, seed):
    """Visible and hidden states, for the oracles and for the library."""
    v = some_states(rbm.visible_units.name, rbm.n_visible, n_rows, seed)
    h = some_states(rbm.hidden_units.name, rbm.n_hidden, n_rows, seed + 10)
    return v, h, torch.from_numpy(v), torch.from_numpy(h)


@pairs
class TestExact:
    def test_energy(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        v, h, v_tensor, h_tensor = some_rows(rbm, 5, seed)
        energy = rbm.energy(v_tensor, h_tensor).detach()
        np.testing.assert_allclose(energy, np.diag(joint_energy(rbm, v, h)), rtol=1e-10, atol=1e-10)

    def test_free_energy(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        v, _, v_tensor, _ = some_rows(rbm, 5, seed)
        np.testing.assert_allclose(rbm.free_energy(v_tensor).detach(), exact_free_energy(rbm, v), atol=1e-6)

    def test_conditional_means(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        v, h, v_tensor, h_tensor = some_rows(rbm, 5, seed)
        (visible, _), (hidden, _) = visible_states(rbm), hidden_states(rbm)
        log_p = -joint_energy(rbm, v, hidden)
        expected = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True)) @ hidden
        np.testing.assert_allclose(rbm.prop_up(v_tensor).detach(), expected, atol=1e-6)
        log_p = -joint_energy(rbm, visible, h).T
        expected = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True)) @ visible
        totals = v_tensor.sum(dim=1, keepdim=True)  # only units that count words look at them
        np.testing.assert_allclose(rbm.prop_down(h_tensor, totals).detach(), expected, atol=1e-6)

    def test_codes_are_means_but_for_noisy_units_and_words(self, visible_units, hidden_units, seed):
        rbm = small_rbm(seed, visible_units, hidden_units)
        _, _, v, h = some_rows(rbm, 5, seed)
        up, down = rbm.prop_up(v).detach(), rbm.prop_down(h).detach()
        _replace_noisy(hidden_units, up, rbm.hidden_input(v).detach())
        _replace_noisy(visible_units, down, rbm.visible_input(h).detach())
        torch.testing.assert_close(rbm.encode(v).detach(), up, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(rbm.decode(h).detach(), down, rtol=1e-12, atol=1e-12)

    def test_gradients_by_finite_differences(self, visible_units, hidden_units):
        rbm = small_rbm(1, visible_units, hidden_units)
        v, _, v_tensor, _ = some_rows(rbm, 5, 1)
        states, log_weight = visible_states(rbm)
        free_energy = rbm.free_energy(v_tensor).mean()
        # Grid points of real values move with the variance; as constants they are what the integral is over.
        log_z = torch.logsumexp(-rbm.free_energy(torch.from_numpy(states)) + log_weight, dim=0)
        parameters = dict(rbm.named_parameters())
        assert len(parameters) == 3 + ("gaussian_learned" in visible_units)
        # Differences are taken after all gradients: they write to what autograd remembers.
        of_free_energy = torch.autograd.grad(free_energy, list(parameters.values()), retain_graph=True)
        of_likelihood = torch.autograd.grad(free_energy + log_z, list(parameters.values()))
        for (name, parameter), first, second in zip(parameters.items(), of_free_energy, of_likelihood, strict=True):
            expected = finite_difference(lambda: exact_free_energy(rbm, v).mean(), parameter)
            np.testing.assert_allclose(first, expected, atol=2e-6, err_msg=f"free energy, {name}")
            expected = finite_difference(lambda: exact_nll(rbm, v), parameter)
            np.testing.assert_allclose(second, expected, atol=2e-6, err_msg=f"log-likelihood, {name}")


def _replace_noisy(units, means, total_input):
    # relu of the input is what [Nair & Hinton] take for the code; the mean of the copies is softplus.
    start = 0
    for name, width in groups_of(units, means.shape[1]):
        if name == "noisy_relu":
            means[:, start : start + width] = total_input[:, start : start + width].clamp(min=0)
        start += width


@pytest.mark.parametrize(("visible_units", "hidden_units"), DISCRETE_PAIRS)
def test_gibbs_steps_leave_a_counted_distribution_unchanged(visible_units, hidden_units, seed, generator):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    states, p = exact_model(rbm)
    n = 20_000
    v = torch.from_numpy(states[np.random.default_rng(seed).choice(len(p), size=n, p=p)]).float()
    after = rbm.gibbs_step(rbm.gibbs_step(v, generator=generator), generator=generator).numpy()
    found, inverse = np.unique(np.concatenate([states, after]), axis=0, return_inverse=True)
    assert len(found) == len(states)  # nothing but legal states
    counts = np.bincount(inverse.ravel()[len(states) :], minlength=len(states))[inverse.ravel()[: len(states)]]
    kept = n * p > 5
    counts, expected = [np.append(x[kept], x[~kept].sum()) for x in (counts, n * p)]
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize(
    ("visible_units", "hidden_units"),
    [
        ("gaussian:2", "bernoulli"),
        ("gaussian:2", "gaussian"),
        ("gaussian_learned:2", "softmax:3"),
        ("gaussian_learned:2", "gaussian"),
        ("bernoulli:1+gaussian_learned:1+softmax:2", "spin"),
    ],
)
def test_gibbs_steps_leave_the_moments_of_a_density_unchanged(visible_units, hidden_units, seed, generator):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    states, p = exact_model(rbm)
    n = 20_000
    v = states[np.random.default_rng(seed).choice(len(p), size=n, p=p)]
    after = rbm.gibbs_step(torch.from_numpy(v).float(), generator=generator).double().numpy()
    # Products of the columns too: what a column says of another.
    of_model, of_chain = [np.hstack([x, x**2, x[:, :1] * x[:, 1:]]) for x in (states, after)]
    expected = p @ of_model
    spread = np.sqrt(np.maximum(p @ of_model**2 - expected**2, 0))
    assert (np.abs(of_chain.mean(axis=0) - expected) < 5 * spread / np.sqrt(n) + 1e-6).all()


@some_pairs
def test_samples_of_one_layer_given_the_other(visible_units, hidden_units, seed, generator):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    n = 20_000
    _, _, v, h = some_rows(rbm, 1, seed)
    v, h = v.float().expand(n, -1), h.float().expand(n, -1)
    totals = v.sum(dim=1, keepdim=True) if visible_units == "replicated_softmax" else None
    before = global_state()
    for states, mean in (
        (rbm.sample_hidden(v, generator=generator), rbm.prop_up(v)),
        (rbm.sample_visible(h, generator=generator, totals=totals), rbm.prop_down(h, totals)),
    ):
        assert not states.requires_grad
        close = (states.mean(dim=0) - mean[0]).abs() < 5 * states.std(dim=0) / np.sqrt(n) + 1e-6
        assert close.all()
        assert (states.std(dim=0) > 0).any()  # states, never means
    assert global_state() == before


@some_pairs
def test_inputs_are_left_alone(visible_units, hidden_units, generator):
    rbm = small_rbm(0, visible_units, hidden_units, dtype=torch.float32)
    _, _, v, h = some_rows(rbm, 5, 0)
    v, h = v.float(), h.float()
    kept = v.clone(), h.clone()
    rbm.encode(v)
    rbm.decode(h)
    rbm.prop_up(v)
    rbm.prop_down(h)
    rbm.free_energy(v)
    rbm.energy(v, h)
    rbm.sample_hidden(v, generator=generator)
    rbm.sample_visible(h, generator=generator)
    rbm.gibbs_step(v, generator=generator)
    assert torch.equal(v, kept[0])
    assert torch.equal(h, kept[1])


@pairs
def test_the_linear_maps_are_those_of_encode_and_decode(visible_units, hidden_units, seed):
    rbm = small_rbm(seed, visible_units, hidden_units)
    _, _, v, h = some_rows(rbm, 5, seed)
    up = v @ rbm.encoder_weight.T + rbm.encoder_bias
    down = h @ rbm.decoder_weight.T + rbm.decoder_bias
    torch.testing.assert_close(_activated(hidden_units, up), rbm.encode(v), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(_activated(visible_units, down), rbm.decode(h), rtol=1e-10, atol=1e-10)


def _activated(units, total_input):
    functions = {
        "bernoulli": lambda a: 1 / (1 + torch.exp(-a)),
        "spin": lambda a: 2 / (1 + torch.exp(-2 * a)) - 1,
        "noisy_relu": lambda a: a.clamp(min=0),
    }
    parts, start = [], 0
    for name, width in groups_of(units, total_input.shape[1]):
        a = total_input[:, start : start + width]
        if "softmax" in name:
            parts.append(a.exp() / a.exp().sum(dim=1, keepdim=True))
        else:
            parts.append(functions.get(name, lambda a: a)(a))
        start += width
    return torch.cat(parts, dim=1)


def test_documents_are_decoded_to_shares_and_answered_in_their_own_length(generator):
    rbm = small_rbm(0, "replicated_softmax", dtype=torch.float32)
    v = torch.tensor([[2.0, 0.0, 3.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    h = rbm.sample_hidden(v, generator=generator)
    torch.testing.assert_close(rbm.decode(h).sum(dim=1), torch.ones(3))
    torch.testing.assert_close(rbm.prop_down(h, v.sum(dim=1, keepdim=True)).sum(dim=1), v.sum(dim=1))
    assert rbm.gibbs_step(v, generator=generator).sum(dim=1).tolist() == [5.0, 1.0, 0.0]
    # Twice the document is twice the input: the bias counts with the words.
    torch.testing.assert_close(rbm.hidden_input(2 * v), 2 * rbm.hidden_input(v))


def test_learned_variances_scale_values_and_weights_alike(seed):
    # The same model in other units of measurement: x' = k x, with k^2 the variance, k the weights and biases.
    one, other = small_rbm(seed, "gaussian_learned"), small_rbm(seed, "gaussian_learned")
    k = 2.0 ** np.array([1, -1, 2])
    weight, b, _ = arrays_of(one)
    fill(other, weight=weight * k, visible_bias=b * k)
    fill(other.visible_units, log_variance=log_variance_of(one) + 2 * np.log(k))
    v = torch.from_numpy(some_states("gaussian", 3, 7, seed))
    torch.testing.assert_close(other.prop_up(v * torch.from_numpy(k)), one.prop_up(v))
    torch.testing.assert_close(other.free_energy(v * torch.from_numpy(k)), one.free_energy(v))


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


@pytest.mark.parametrize("hidden_units", ["bernoulli", "spin", "softmax", "gaussian", "noisy_relu"])
def test_large_inputs_give_finite_numbers(hidden_units, generator):
    rbm = small_rbm(0, "bernoulli", hidden_units, dtype=torch.float32)
    fill(rbm, weight=np.array([[300.0, 300, 300], [-300, -300, -300]]))
    v = torch.ones(2, N_VISIBLE)
    results = rbm.free_energy(v), rbm.prop_up(v), rbm.encode(v), rbm.sample_hidden(v, generator=generator)
    assert all(torch.isfinite(result).all() for result in results)
    (gradient,) = torch.autograd.grad(rbm.free_energy(v).sum(), rbm.weight)
    assert torch.isfinite(gradient).all()


def test_initial_weights(generator):
    rbm = RBM(101, 103, weight_scale=0.3, generator=generator)
    n = rbm.weight.numel()
    assert rbm.weight.std().item() == pytest.approx(0.3, abs=5 * 0.3 / np.sqrt(2 * n))
    assert abs(rbm.weight.mean().item()) < 5 * 0.3 / np.sqrt(n)
    assert not rbm.visible_bias.any()
    assert not rbm.hidden_bias.any()
    assert not RBM(5, 3).weight.any()
    assert not RBM(5, 3, visible_units="gaussian_learned").visible_units.log_variance.any()


@pytest.mark.parametrize(
    ("below", "named", "expected"),
    [
        (None, "bernoulli", "bernoulli"),
        (None, "gaussian", "gaussian"),
        (None, "softmax:2+gaussian_learned:3", "softmax:2+gaussian_learned:3"),
        ("sigmoid", "gaussian", "bernoulli"),
        ("identity", "bernoulli", "gaussian"),
        ("relu", "bernoulli", "gaussian"),
        ("tanh", "bernoulli", "spin"),
        ("softmax", "bernoulli", "softmax"),
        ("softmax:2+softmax:3", "bernoulli", "softmax:2+softmax:3"),
        ("sigmoid:1+identity:2+softmax:2", "bernoulli", "bernoulli:1+gaussian:2+softmax:2"),
    ],
)
def test_visible_units_follow_the_layer_below(below, named, expected):
    rbm = RBM.from_settings(5, 3, RBMSettings(visible_units=named), below=below, data_range=(0.0, 1.0))
    assert rbm.visible_units.name == expected


@pytest.mark.parametrize(
    ("units", "below", "data_range", "warned"),
    [
        ("bernoulli", None, (0.0, 1.0), None),
        ("bernoulli", None, (0.0, 3.0), "Bernoulli units model values from 0 to 1, the data go from 0 to 3. Scale"),
        ("bernoulli", "relu", (0.0, 3.0), None),
        ("gaussian", None, (-5.0, 5.0), None),
        ("gaussian_learned", None, (-5.0, 5.0), None),
        ("spin", None, (-1.0, 1.0), None),
        ("spin", None, (-1.0, 1.5), "Spin units model values from -1 to 1, the data go from -1 to 1.5. Scale"),
        ("noisy_relu", None, (0.0, 900.0), None),
        ("noisy_relu", None, (-1.0, 9.0), "Noisy_relu units model values from 0 to inf, the data go from -1 to 9. S"),
        ("softmax", None, (0.0, 2.0), "Softmax units model values from 0 to 1, the data go from 0 to 2. Scale"),
        (
            "gaussian:3+bernoulli:2",
            None,
            (np.array([-9.0, -9, -9, 0, 0]), np.array([9.0, 9, 9, 1, 4])),
            "Bernoulli units model values from 0 to 1, the data go from 0 to 4. Scale",
        ),
        ("gaussian:3+bernoulli:2", None, (np.array([-9.0, -9, -9, 0, 0]), np.array([9.0, 9, 9, 1, 1])), None),
    ],
)
def test_values_that_units_do_not_model_warn(units, below, data_range, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RBM.from_settings(5, 3, RBMSettings(visible_units=units), below=below, data_range=data_range)
    assert [w.category for w in caught] == [DataRangeWarning] * (warned is not None)
    if warned:
        assert str(caught[0].message).startswith(warned)


@pytest.mark.parametrize("units", ["bernoulli", "gaussian_learned", "softmax:2+gaussian:3"])
def test_biases_that_begin_at_the_data(units):
    mean = torch.tensor([0.3, 0.7, 0.2, 0.6, 0.4])
    settings = RBMSettings(visible_units=units, initial_visible_bias="data")
    rbm = RBM.from_settings(5, 3, settings, data_mean=mean)
    torch.testing.assert_close(rbm.prop_down(torch.ones(1, 3))[0], mean, rtol=1e-4, atol=1e-4)
    assert not RBM.from_settings(5, 3, RBMSettings(visible_units=units), data_mean=mean).visible_bias.any()


@pytest.mark.parametrize("sizes", [(0, 3), (5, 0), (5, 2.5), (True, 3)])
def test_illegal_sizes(sizes):
    with pytest.raises(SettingsError, match=r"n_(visible|hidden) of RBM must be an integer >= 1; got"):
        RBM(*sizes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"visible_units": "binary"},
            "units must be one of bernoulli, gaussian, .*spin, or name:width.* got 'binary'",
        ),
        ({"visible_units": "bernoulli:2+gaussian:2"}, "'bernoulli:2.gaussian:2' describe 4 columns, but there are 5"),
        ({"hidden_units": "softmax:4"}, "'softmax:4' describe 4 columns, but there are 3"),
        *(
            (
                {"hidden_units": name},
                f"hidden_units of RBM must be one of bernoulli, gaussian, softmax, noisy_relu, spin, .*got '{name}'",
            )
            for name in ONLY_VISIBLE
        ),
        ({"hidden_units": "bernoulli:1+gaussian_learned:2"}, "hidden_units of RBM must be one of"),
        ({"visible_units": "replicated_softmax:2+bernoulli:3"}, "cannot mix replicated_softmax with other types"),
    ],
)
def test_illegal_units(options, message):
    with pytest.raises(SettingsError, match=message):
        RBM(5, 3, **options)


def test_names_for_unrolling():
    rbm = small_rbm(0, "gaussian", "bernoulli")
    weight, _, _ = arrays_of(rbm)
    assert (rbm.activation, rbm.output_activation) == ("sigmoid", "identity")
    np.testing.assert_array_equal(rbm.decoder_weight.detach(), weight.T)
    rbm = RBM(9, 4, visible_units="bernoulli:2+gaussian_learned:3+softmax:4", hidden_units="noisy_relu:3+spin:1")
    assert (rbm.activation, rbm.output_activation) == ("relu:3+tanh:1", "sigmoid:2+identity:3+softmax:4")
    assert {"gaussian", "gaussian_learned", "noisy_relu"} == UNBOUNDED  # what the oracles keep normalisable
