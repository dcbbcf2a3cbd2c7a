"""Contrastive divergence against hand formulas, its exact expectation and the log-likelihood gradient."""

import numpy as np
import pytest
import torch
from chains_by_hand import (
    NAMES,
    Hand,
    assert_close,
    cd_phases,
    contrast,
    gradients,
    learner_of,
    mean_and_error,
    mean_square_words,
    rows_of,
)
from oracles import (
    EVERY_PAIR,
    N_HIDDEN,
    N_VISIBLE,
    arrays_of,
    exact_nll,
    fill,
    finite_difference,
    hidden_states,
    joint_energy,
    log_variance_of,
    small_rbm,
    state_space,
    visible_states,
)
from scipy.special import expit

from pretrain.batches import Batch
from pretrain.rbm import RBM

pairs = pytest.mark.parametrize(("visible_units", "hidden_units"), EVERY_PAIR)
# Exact samples of the model can be drawn: the hidden states are counted, the visible units follow.
SAMPLED = [
    ("bernoulli", "bernoulli"),
    ("spin", "spin"),
    ("softmax", "bernoulli"),
    ("gaussian", "bernoulli"),
    ("gaussian_learned", "bernoulli"),
    ("replicated_softmax", "bernoulli"),
    ("bernoulli:1+gaussian:1+softmax:2", "spin:1+softmax:2"),
]
sampled_pairs = pytest.mark.parametrize(("visible_units", "hidden_units"), SAMPLED)


# One update ---


@pairs
@pytest.mark.parametrize(("k", "sampled"), [(1, False), (1, True), (3, False), (3, True)])
def test_one_update_equals_the_formula(visible_units, hidden_units, k, sampled):
    rbm = small_rbm(k, visible_units, hidden_units, dtype=torch.float32)
    v = rows_of(rbm, 11, k)
    hand = Hand(rbm, torch.Generator().manual_seed(k))
    phases = cd_phases(hand, v.numpy().astype(float), k, sampled=sampled)
    expected, before = contrast(hand, *phases), arrays_of(rbm)
    error = learner_of(rbm, k, n_gibbs_steps=k, sample_reconstruction=sampled).fill_gradients(Batch(v))
    scale = max(1.0, *(abs(part).max() for part in phases)) ** 2  # rectified chains run far
    assert_close(gradients(rbm), expected, atol=5e-6 * scale)
    assert error.item() == pytest.approx(((phases[2] - phases[0]) ** 2).sum() / 11, rel=1e-4)
    torch.optim.SGD([getattr(rbm, name) for name in NAMES], lr=0.1).step()
    stepped = [old - 0.1 * formula for old, formula in zip(before, expected, strict=True)]
    assert_close(arrays_of(rbm), stepped, atol=5e-6 * scale)


@pytest.mark.parametrize("k", [1, 3])
def test_mean_field_passes_means_on_and_draws_nothing(k, seed):
    for visible_units, hidden_units in EVERY_PAIR:
        rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
        v = rows_of(rbm, 7, seed)
        learner = learner_of(rbm, seed, gradient_estimator="mean_field", n_gibbs_steps=k)
        before = learner.generator.get_state()
        learner.fill_gradients(Batch(v))
        hand, v = Hand(rbm, learner.generator), v.numpy().astype(float)
        h = chain_h = hand.up(v)
        for _ in range(k):
            chain_v = hand.down(chain_h, hand.words(v))
            chain_h = hand.up(chain_v)
        scale = max(1.0, abs(chain_v).max() * abs(chain_h).max())
        assert_close(gradients(rbm), contrast(hand, v, h, chain_v, chain_h), atol=5e-6 * scale)
        assert torch.equal(learner.generator.get_state(), before)
        assert not learner.stochastic


def test_saturated_units_need_no_replay():
    # Hidden units far in saturation leave nothing to chance: h = (1, 0) whatever is drawn.
    rbm = small_rbm(0, dtype=torch.float32)
    fill(rbm, hidden_bias=[200.0, -200.0])
    weight, b, _ = arrays_of(rbm)
    v = torch.rand(7, N_VISIBLE, generator=torch.Generator().manual_seed(0))
    learner_of(rbm, 5).fill_gradients(Batch(v))
    reconstruction, mean = expit(weight[0] + b), v.numpy().astype(float).mean(axis=0)
    h = np.array([1.0, 0.0])
    assert_close(gradients(rbm), (np.outer(h, reconstruction - mean), reconstruction - mean, np.zeros(2)))


@pytest.mark.parametrize("counted", [True, False])
def test_hidden_biases_count_by_the_words_of_a_document(counted, seed):
    # A document three times as long has three times the hidden input: F(v) = -b.v - sum_j softplus(D c_j + W_j v).
    units = "replicated_softmax" if counted else "gaussian"
    rbm, exact = small_rbm(seed, units, dtype=torch.float32), small_rbm(seed, units)
    v = torch.tensor([[1.0, 0, 0], [0, 2, 1], [9, 0, 3]])
    learner = learner_of(rbm, seed, gradient_estimator="mean_field")
    learner.fill_gradients(Batch(v))
    hand = Hand(rbm, learner.generator)
    model = torch.from_numpy(hand.down(hand.up(v.double().numpy()), hand.words(v.double().numpy())))
    difference = exact.free_energy(v.double()).mean() - exact.free_energy(model).mean()
    difference.backward()
    assert_close([rbm.hidden_bias.grad], [exact.hidden_bias.grad / mean_square_words(rbm, v.double().numpy())])


@pairs
def test_a_short_batch_is_averaged_over_its_own_rows(visible_units, hidden_units):
    rbm = small_rbm(3, visible_units, hidden_units, dtype=torch.float32)
    v, learner = rows_of(rbm, 7, 3), learner_of(rbm, 3)
    for rows in (7, 2, 7, 1):
        learner.generator.manual_seed(3)
        learner.fill_gradients(Batch(v[:rows]))
        hand = Hand(rbm, torch.Generator().manual_seed(3))
        assert_close(gradients(rbm), contrast(hand, *cd_phases(hand, v[:rows].numpy().astype(float))), atol=5e-5)


# Expectations ---


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


def average(rbm, v, seed, *, n_groups=40, repeat=500, **options):
    rows = torch.from_numpy(v).float().repeat(repeat, 1)
    return mean_and_error(learner_of(rbm, seed, **options), lambda _: Batch(rows), n_groups)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("sampled", [False, True])
def test_expectation_over_chains(k, sampled, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0.3, 0.5, 1]], dtype=float)
    found = average(rbm, v, seed, n_gibbs_steps=k, sample_reconstruction=sampled)
    for name, formula in zip(NAMES, exact_expected_gradient(rbm, v, k, sampled=sampled), strict=True):
        mean, error = found[name]
        assert (np.abs(mean - formula) < 5 * error).all()


def samples_of(rbm, exact, n, rng, generator):
    """Exact samples of the visible units: hidden states by their probabilities, and what follows from them."""
    (hidden, _), (visible, log_weight) = hidden_states(exact), visible_states(exact)
    p = np.exp(-joint_energy(exact, visible, hidden) + log_weight).sum(axis=0)
    chosen = rng.choice(len(p), size=n, p=p / p.sum())
    h = torch.from_numpy(hidden[chosen]).float()
    return rbm.sample_visible(h, generator=generator, totals=torch.full((n, 1), 3.0))


@sampled_pairs
@pytest.mark.parametrize("sampled", [True, False])
def test_expected_gradient_is_zero_at_the_true_parameters(visible_units, hidden_units, sampled):
    # A reconstruction by means is exact for the visible biases only.
    rbm, exact = (small_rbm(1, visible_units, hidden_units, dtype=d) for d in (torch.float32, torch.float64))
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    found = mean_and_error(
        learner_of(rbm, 1, sample_reconstruction=sampled),
        lambda _: Batch(samples_of(rbm, exact, 2000, rng, generator)),
        40,
    )
    for name, (mean, error) in found.items():
        zero = np.abs(mean) < 5 * error
        assert zero.all() if sampled or name == "visible_bias" else True, name
    if not sampled:
        assert not (np.abs(found["weight"][0]) < 5 * found["weight"][1]).all()


@sampled_pairs
def test_long_chains_tend_to_the_log_likelihood_gradient(visible_units, hidden_units):
    rbm, exact = (small_rbm(2, visible_units, hidden_units, dtype=d) for d in (torch.float32, torch.float64))
    for model in (rbm, exact):  # so weak that 60 steps forget the start
        fill(model, weight=0.7 * model.weight.detach())
    v = 0.7 * rows_of(rbm, 4, 2).double().numpy()
    if visible_units == "replicated_softmax":
        v[:] = [[3, 0, 0], [2, 1, 0], [0, 2, 1], [0, 0, 3]]
    variance = np.exp(log_variance_of(exact))
    slope = {n: finite_difference(lambda: exact_nll(exact, v), p, 1e-5) for n, p in exact.named_parameters()}
    slope["weight"], slope["visible_bias"] = slope["weight"] * variance, slope["visible_bias"] * variance
    slope["hidden_bias"] = slope["hidden_bias"] / mean_square_words(rbm, v)
    slope = {n: s.clip(-1, 1) if n.endswith("log_variance") else s for n, s in slope.items()}
    distances = []
    for k in (1, 60):
        found = average(rbm, v, 2, n_gibbs_steps=k, sample_reconstruction=True)
        distances.append(sum(np.abs(found[name][0] - slope[name]).sum() for name in slope))
    assert distances[0] > 3 * distances[1]
    for name, (mean, error) in found.items():  # the learned variances too
        assert (np.abs(mean - slope[name]) < 5 * error + 1e-4).all(), name


def test_long_chains_by_probabilities_have_the_documented_limit(seed):
    rbm, exact = small_rbm(seed, dtype=torch.float32), small_rbm(seed)
    v = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=float)
    limit = exact_expected_gradient(rbm, v, 200, sampled=False)
    assert_close([limit[1]], [finite_difference(lambda: exact_nll(exact, v), exact.visible_bias)])
    found = average(rbm, v, seed, n_gibbs_steps=30)
    for name, expected in zip(NAMES, limit, strict=True):
        mean, error = found[name]
        assert (np.abs(mean - expected) < 5 * error).all()


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_learned_variances(sampled, centered, weighted, seed):
    # d(-log p) / d(log s) = <x^2 / 2 - x a> / s of the model, less that of the data, a being b + W^T h.
    rbm = small_rbm(seed, "gaussian_learned", dtype=torch.float32)
    v = 0.5 * rows_of(rbm, 11, seed)
    weight = np.random.default_rng(seed).random(11) if weighted else np.ones(11)
    hand = Hand(rbm, torch.Generator().manual_seed(seed))
    v64, h, chain_v, chain_h = cd_phases(hand, v.numpy().astype(float), sampled=sampled)
    learner = learner_of(rbm, seed, sample_reconstruction=sampled, centered=centered)
    learner.fill_gradients(Batch(v, None, torch.from_numpy(weight).float() if weighted else None))

    def moment(x, h, *, means):  # the square of a mean is too small by the variance
        squares = x**2 + (hand.variance if means else 0)
        return weight @ (squares / 2 - x * (hand.b + h @ hand.weight)) / len(x)

    expected = (moment(chain_v, chain_h, means=not sampled) - moment(v64, h, means=False)) / hand.variance
    found = rbm.visible_units.log_variance.grad.numpy()
    np.testing.assert_allclose(found, expected.clip(-1, 1), rtol=1e-4, atol=1e-5)
    assert (np.abs(expected) < 1).any()


# The batch, the generator, the arithmetic ---


@pairs
@pytest.mark.parametrize("k", [1, 2])
def test_the_batch_is_left_alone(visible_units, hidden_units, k):
    rbm = small_rbm(0, visible_units, hidden_units, dtype=torch.float32)
    v = rows_of(rbm, 5, 0)
    kept = v.clone()
    learner_of(rbm, 0, n_gibbs_steps=k).fill_gradients(Batch(v))
    assert torch.equal(v, kept)


@pytest.mark.parametrize("estimator", ["cd", "mean_field", "pcd", "fast_pcd", "tempering"])
@pytest.mark.parametrize(
    "visible_units",
    ["bernoulli", "gaussian", "gaussian_learned", "softmax", "replicated_softmax", "noisy_relu", "spin"],
)
def test_bfloat16_is_close_to_float32(visible_units, estimator):
    found, n = {}, 31
    for dtype in (torch.float32, torch.bfloat16):
        generator = torch.Generator().manual_seed(0)
        rbm = RBM(n, 17, visible_units=visible_units, weight_scale=0.1, generator=generator)
        v = rows_of(rbm, 1997, 0)
        options = {"gradient_estimator": estimator, "n_temperatures": 3}
        learner = learner_of(rbm, 0, dtype=dtype, **options)
        learner.fill_gradients(Batch(v))
        found[dtype] = gradients(rbm)
        assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in rbm.parameters())
    noise = {"mean_field": 2**-9}.get(estimator, 1997**-0.5)  # a state that rounding turns, turns others
    for exact, rounded in zip(found[torch.float32], found[torch.bfloat16], strict=True):
        allowed = 0.05 * np.linalg.norm(exact) + noise * np.sqrt(exact.size)
        assert 0 < np.linalg.norm(exact - rounded) < allowed


def test_same_generator_same_gradient(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v = rows_of(rbm, 5, seed)
    found = []
    for chain in (seed, seed, seed + 100):
        learner_of(rbm, chain).fill_gradients(Batch(v))
        found.append(rbm.weight.grad.clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_gradient_is_overwritten_not_accumulated():
    rbm = small_rbm(0, dtype=torch.float32)
    v, learner = rows_of(rbm, 5, 0), learner_of(rbm, 3)
    learner.fill_gradients(Batch(v))
    first = gradients(rbm)
    learner.generator.manual_seed(3)
    learner.fill_gradients(Batch(v))
    assert_close(gradients(rbm), first, rtol=0, atol=0)
    assert first[0].shape == (N_HIDDEN, N_VISIBLE)
