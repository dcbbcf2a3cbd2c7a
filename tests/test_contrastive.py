"""Contrastive divergence against hand formulas, its exact expectation and the log-likelihood gradient."""

import numpy as np
import pytest
import torch
from oracles import (
    N_HIDDEN,
    N_VISIBLE,
    UNIT_PAIRS,
    arrays_of,
    exact_model,
    exact_nll,
    fill,
    finite_difference,
    joint_energy,
    small_rbm,
    state_space,
)
from scipy.special import expit

from pretrain.batches import Batch
from pretrain.contrastive import ContrastiveDivergence
from pretrain.random_streams import BernoulliSampler
from pretrain.rbm import RBM

pairs = pytest.mark.parametrize(("visible_units", "hidden_units"), UNIT_PAIRS)
NAMES = ("weight", "visible_bias", "hidden_bias")
MEANS = {"bernoulli": expit, "gaussian": lambda a: a}


def learner_of(rbm, seed, k=1, **options):
    generator = torch.Generator().manual_seed(seed)
    return ContrastiveDivergence(rbm, n_gibbs_steps=k, generator=generator, **options)


def gradients(rbm):
    return [getattr(rbm, name).grad.numpy().astype(float) for name in NAMES]


def some_rows(units, n_rows, n_features, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, n_features)) if units == "gaussian" else rng.random(size=(n_rows, n_features))
    return torch.from_numpy(rows).float()


def hand_gradients(rbm, v, k, seed):
    """CD-k in float64, in the docstring's formula, on the states that the generator of `seed` yields."""
    weight, b, c = arrays_of(rbm)
    generator = torch.Generator().manual_seed(seed)
    sampler = BernoulliSampler(generator)

    def state(units, mean):
        mean = torch.from_numpy(mean).float()
        return units.sample(mean, sampler=sampler, out=torch.empty_like(mean)).numpy().astype(float)

    up, down = MEANS[rbm.hidden_units.name], MEANS[rbm.visible_units.name]
    v = v.numpy().astype(float)
    h = up(v @ weight.T + c)
    chain_h = h
    for step in range(k):
        chain_v = down(state(rbm.hidden_units, chain_h) @ weight + b)
        if step < k - 1:
            chain_v = state(rbm.visible_units, chain_v)
        chain_h = up(chain_v @ weight.T + c)
    n = len(v)
    error = ((chain_v - v) ** 2).sum() / n
    return [(chain_h.T @ chain_v - h.T @ v) / n, (chain_v - v).mean(axis=0), (chain_h - h).mean(axis=0)], error


@pairs
@pytest.mark.parametrize("k", [1, 3])
def test_one_update_equals_the_formula(visible_units, hidden_units, k, seed):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    v = some_rows(visible_units, 11, N_VISIBLE, seed)
    expected, expected_error = hand_gradients(rbm, v, k, seed)
    before = arrays_of(rbm)
    error = learner_of(rbm, seed, k).fill_gradients(Batch(v, None))
    for gradient, formula in zip(gradients(rbm), expected, strict=True):
        np.testing.assert_allclose(gradient, formula, rtol=1e-5, atol=2e-6)
    assert error.item() == pytest.approx(expected_error, rel=1e-5)
    torch.optim.SGD(rbm.parameters(), lr=0.1).step()
    for old, new, formula in zip(before, arrays_of(rbm), expected, strict=True):
        np.testing.assert_allclose(new, old - 0.1 * formula, rtol=1e-5, atol=1e-6)


def test_deterministic_units_need_no_replay():
    # Hidden units far in saturation leave nothing to chance: h = (1, 0) whatever is drawn.
    rbm = small_rbm(0, dtype=torch.float32)
    with torch.no_grad():
        rbm.hidden_bias.copy_(torch.tensor([200.0, -200.0]))
    weight, b, _ = arrays_of(rbm)
    v = some_rows("bernoulli", 7, N_VISIBLE, 0)
    learner_of(rbm, 5).fill_gradients(Batch(v, None))
    reconstruction = expit(weight[0] + b)
    h = np.array([1.0, 0.0])
    mean = v.numpy().astype(float).mean(axis=0)
    for gradient, expected in zip(
        gradients(rbm), (np.outer(h, reconstruction - mean), reconstruction - mean, np.zeros(2)), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, atol=1e-6)


def exact_expected_gradient(rbm, v, k, *, sampled):
    """E[CD-k] over all chains that start at the rows v, by enumeration of a Bernoulli RBM's states."""
    weight, b, c = arrays_of(rbm)
    hidden = state_space("bernoulli", rbm.n_hidden)[0]
    visible = state_space("bernoulli", rbm.n_visible)[0]
    visible_given_hidden = np.exp(-joint_energy(rbm, visible, hidden)).T
    visible_given_hidden /= visible_given_hidden.sum(axis=1, keepdims=True)
    hidden_given_visible = np.exp(-joint_energy(rbm, visible, hidden))
    hidden_given_visible /= hidden_given_visible.sum(axis=1, keepdims=True)
    means = expit(v @ weight.T + c)
    start = np.stack([np.where(state > 0, means, 1 - means).prod(axis=1) for state in hidden], axis=1).mean(axis=0)
    occupied = start @ np.linalg.matrix_power(visible_given_hidden @ hidden_given_visible, k - 1)
    if sampled:
        chain_v, p = visible, occupied @ visible_given_hidden
    else:
        chain_v, p = expit(hidden @ weight + b), occupied
    chain_h = expit(chain_v @ weight.T + c)
    return [
        (chain_h * p[:, None]).T @ chain_v - means.T @ v / len(v),
        p @ chain_v - v.mean(axis=0),
        p @ chain_h - means.mean(axis=0),
    ]


def monte_carlo(rbm, v, k, seed, *, sampled, n_groups=40, repeat=500):
    """Mean CD-k gradient of many chains a row, and the standard error of each entry."""
    learner = learner_of(rbm, seed, k, sample_reconstruction=sampled)
    rows = torch.from_numpy(v).float().repeat(repeat, 1)
    groups = []
    for _ in range(n_groups):
        learner.fill_gradients(Batch(rows, None))
        groups.append(gradients(rbm))
    stacked = [np.stack(each) for each in zip(*groups, strict=True)]
    return [(g.mean(axis=0), g.std(axis=0, ddof=1) / np.sqrt(n_groups) + 1e-7) for g in stacked]


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("sampled", [False, True])
def test_expectation_over_chains(k, sampled, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0.3, 0.5, 1]], dtype=float)
    expected = exact_expected_gradient(rbm, v, k, sampled=sampled)
    for (mean, error), formula in zip(monte_carlo(rbm, v, k, seed, sampled=sampled), expected, strict=True):
        assert (np.abs(mean - formula) < 5 * error).all()


@pytest.mark.parametrize("sampled", [False, True])
def test_expected_gradient_is_zero_at_the_true_parameters(sampled, seed):
    # Data are exact samples of the model. A reconstruction by probabilities is exact for the visible biases only.
    rbm = small_rbm(seed, dtype=torch.float32)
    states, p = exact_model(rbm)
    rng = np.random.default_rng(seed)
    learner, groups = learner_of(rbm, seed, sample_reconstruction=sampled), []
    for _ in range(40):
        v = torch.from_numpy(states[rng.choice(len(p), size=2000, p=p)]).float()
        learner.fill_gradients(Batch(v, None))
        groups.append(gradients(rbm))
    for name, entries in zip(NAMES, zip(*groups, strict=True), strict=True):
        entries = np.stack(entries)
        error = entries.std(axis=0, ddof=1) / np.sqrt(len(entries))
        zero = np.abs(entries.mean(axis=0)) < 5 * error
        assert zero.all() if sampled or name == "visible_bias" else not zero.all(), name


@pytest.mark.parametrize(("visible_units", "hidden_units"), [("bernoulli", "bernoulli"), ("gaussian", "bernoulli")])
def test_long_chains_tend_to_the_log_likelihood_gradient(visible_units, hidden_units, seed):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    exact = small_rbm(seed, visible_units, hidden_units)
    for model in (rbm, exact):  # stronger couplings mix slowly enough to tell short chains from long ones
        fill(model, weight=2.5 * model.weight.detach())
    v = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=float)
    slope = [finite_difference(lambda: exact_nll(exact, v), getattr(exact, name)) for name in NAMES]
    distances = []
    for k in (1, 5, 100):
        estimate = monte_carlo(rbm, v, k, seed, sampled=True)
        distances.append(sum(np.abs(mean - true).sum() for (mean, _), true in zip(estimate, slope, strict=True)))
    assert distances[0] > 5 * distances[2]
    for (mean, error), true in zip(estimate, slope, strict=True):
        assert (np.abs(mean - true) < 5 * error).all()


def test_long_chains_by_probabilities_have_the_documented_limit(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=float)
    limit = exact_expected_gradient(rbm, v, 200, sampled=False)
    exact = small_rbm(seed)
    np.testing.assert_allclose(
        limit[1], finite_difference(lambda: exact_nll(exact, v), exact.visible_bias), atol=1e-6
    )
    for (mean, error), expected in zip(monte_carlo(rbm, v, 30, seed, sampled=False), limit, strict=True):
        assert (np.abs(mean - expected) < 5 * error).all()


@pairs
def test_a_short_batch_is_averaged_over_its_own_rows(visible_units, hidden_units, seed):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    v = some_rows(visible_units, 7, N_VISIBLE, seed)
    learner = learner_of(rbm, seed)
    for rows in (7, 2, 7, 1):
        learner.generator.manual_seed(seed)
        error = learner.fill_gradients(Batch(v[:rows], None))
        expected, expected_error = hand_gradients(rbm, v[:rows], 1, seed)
        for gradient, formula in zip(gradients(rbm), expected, strict=True):
            np.testing.assert_allclose(gradient, formula, rtol=1e-5, atol=2e-6)
        assert error.item() == pytest.approx(expected_error, rel=1e-5)


@pairs
@pytest.mark.parametrize("k", [1, 2])
def test_the_batch_is_left_alone(visible_units, hidden_units, k):
    rbm = small_rbm(0, visible_units, hidden_units, dtype=torch.float32)
    v = some_rows(visible_units, 5, N_VISIBLE, 0)
    kept = v.clone()
    learner_of(rbm, 0, k).fill_gradients(Batch(v, None))
    assert torch.equal(v, kept)


@pytest.mark.parametrize("visible_units", ["bernoulli", "gaussian"])
def test_bfloat16_is_close_to_float32(visible_units, seed):
    v = some_rows(visible_units, 997, 31, seed)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        generator = torch.Generator().manual_seed(seed)
        rbm = RBM(31, 17, visible_units=visible_units, weight_scale=0.3, generator=generator)
        learner_of(rbm, seed, dtype=dtype).fill_gradients(Batch(v, None))
        found[dtype] = gradients(rbm)
        assert all(parameter.grad.dtype == torch.float32 for parameter in rbm.parameters())
    for exact, rounded in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        assert 0 < np.linalg.norm(exact - rounded) < 0.05 * np.linalg.norm(exact)


def test_same_generator_same_gradient(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v = some_rows("bernoulli", 5, N_VISIBLE, seed)
    found = []
    for chain in (seed, seed, seed + 100):
        learner_of(rbm, chain).fill_gradients(Batch(v, None))
        found.append(rbm.weight.grad.clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_gradient_is_overwritten_not_accumulated():
    rbm = small_rbm(0, dtype=torch.float32)
    v = some_rows("bernoulli", 5, N_VISIBLE, 0)
    learner = learner_of(rbm, 3)
    learner.fill_gradients(Batch(v, None))
    first = [gradient.copy() for gradient in gradients(rbm)]
    learner.generator.manual_seed(3)
    learner.fill_gradients(Batch(v, None))
    for before, after in zip(first, gradients(rbm), strict=True):
        np.testing.assert_array_equal(before, after)
    assert first[0].shape == (N_HIDDEN, N_VISIBLE)
