"""What changes the gradient of an RBM besides its estimator: weights of rows, sparsity, dropout, binarizing."""

import copy

import numpy as np
import pytest
import torch
from chains_by_hand import Hand, assert_close, cd_phases, contrast, filled, gradients, learner_of, rows_of
from oracles import N_HIDDEN, N_VISIBLE, arrays_of, fill, small_rbm

from pretrain.batches import Batch
from pretrain.exceptions import SettingsError
from pretrain.random_streams import random_mask

ESTIMATORS = ("cd", "mean_field", "pcd", "fast_pcd", "tempering")
VISIBLE = ("bernoulli", "spin", "gaussian", "gaussian_learned", "softmax", "noisy_relu", "replicated_softmax")
estimators = pytest.mark.parametrize("estimator", ESTIMATORS)
visible_types = pytest.mark.parametrize("visible_units", VISIBLE)


def assert_same(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], **{"rtol": 1e-5, "atol": 1e-6, **tolerance})


# Weights of rows ---


@visible_types
@pytest.mark.parametrize("k", [1, 2])
def test_weighted_rows_equal_the_formula(visible_units, k, seed):
    rbm = small_rbm(seed, visible_units, dtype=torch.float32)
    v, weight = rows_of(rbm, 11, seed), np.random.default_rng(seed).random(11) * 2
    hand = Hand(rbm, torch.Generator().manual_seed(seed))
    phases = cd_phases(hand, v.numpy().astype(float), k)
    learner = learner_of(rbm, seed, n_gibbs_steps=k)
    loss = learner.fill_gradients(Batch(v, None, torch.from_numpy(weight).float()))
    assert_close(gradients(rbm), contrast(hand, *phases, weight), atol=2e-5)
    assert loss.item() == pytest.approx((weight @ (phases[2] - phases[0]) ** 2).sum() / 11, rel=1e-4)


@visible_types
@pytest.mark.parametrize("estimator", ["pcd", "fast_pcd", "tempering"])
def test_chains_of_their_own_weigh_together_what_the_rows_do(visible_units, estimator, seed):
    rbm = small_rbm(seed, visible_units, dtype=torch.float32)
    v, weight = rows_of(rbm, 11, seed), np.random.default_rng(seed).random(11) * 3
    learner = learner_of(rbm, seed, gradient_estimator=estimator, n_chains=5)
    learner.fill_gradients(Batch(v, None, torch.from_numpy(weight).float()))
    hand, v = Hand(rbm, learner.generator), v.numpy().astype(float)
    chains = learner.state_dict()["negative"]["chains"][-5:].numpy().astype(float)
    assert_close(gradients(rbm), contrast(hand, v, hand.up(v), chains, hand.up(chains), weight), atol=2e-5)


@visible_types
@estimators
def test_weights_of_one_change_nothing(visible_units, estimator, seed):
    rbm = small_rbm(seed, visible_units, dtype=torch.float32)
    v, options = rows_of(rbm, 7, seed), {"gradient_estimator": estimator, "n_chains": 5}
    plain, weighted = (filled(rbm, seed, Batch(v, None, w), **options) for w in (None, torch.ones(7)))
    assert_same(plain, weighted, atol=1e-5)


OPTIONS = [
    {"visible_units": "bernoulli"},
    {"visible_units": "replicated_softmax"},
    {"visible_units": "gaussian_learned"},
    {"visible_units": "gaussian_learned", "centered": True},
    {"visible_units": "bernoulli", "centered": True},
    {"visible_units": "bernoulli", "sparsity_target": 0.1, "sparsity_decay": 0.5},
    {"visible_units": "bernoulli", "sparsity_target": 0.1, "centered": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_weight_of_two_is_a_row_twice_and_of_zero_none(options, seed):
    options = dict(options)
    rbm = small_rbm(seed, options.pop("visible_units"), dtype=torch.float32)
    v, weight = rows_of(rbm, 5, seed), torch.tensor([2.0, 1, 0, 1, 1])
    weighted, repeated = (learner_of(rbm, seed, gradient_estimator="mean_field", **options) for _ in range(2))
    for shift in (0, 1):  # running means too
        rows = v.roll(shift, dims=0)
        weighted.fill_gradients(Batch(rows, None, weight))
        found = {name: parameter.grad.clone() for name, parameter in rbm.named_parameters()}
        # Five rows of mean weight 1 stand for five rows: the first twice, the third not at all.
        repeated.fill_gradients(Batch(rows[[0, 0, 1, 3, 4]]))
        assert_same(found, {name: parameter.grad for name, parameter in rbm.named_parameters()})


@visible_types
@estimators
def test_a_row_of_weight_zero_may_be_anything(visible_units, estimator, seed):
    # For chains that persist too, once they have begun; the numbers that are drawn belong to places, not to values.
    rbm = small_rbm(seed, visible_units, dtype=torch.float32)
    learner = learner_of(
        rbm, seed, gradient_estimator=estimator, n_chains=5, centered=visible_units != "replicated_softmax"
    )
    learner.fill_gradients(Batch(rows_of(rbm, 7, seed)))
    state, v, found = copy.deepcopy(learner.state_dict()), rows_of(rbm, 7, seed + 5), []
    weight = torch.tensor([1.0, 0, 3, 1, 0.5, 1, 0.5])
    for other in (seed + 6, seed + 7):
        v[1] = rows_of(rbm, 7, other)[0]
        learner.load_state_dict(copy.deepcopy(state))
        loss = learner.fill_gradients(Batch(v, None, weight))
        found.append({"loss": loss.clone(), **{n: p.grad.clone() for n, p in rbm.named_parameters()}})
    assert_same(*found)


def test_a_batch_without_weight_has_no_gradient(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    options = {"centered": True, "sparsity_target": 0.1}
    for found in filled(rbm, seed, Batch(rows_of(rbm, 5, seed), None, torch.zeros(5)), **options).values():
        assert not found.any()


# Sparsity ---


def penalty_gradient(rbm, v, cost, target, *, activity=None):
    """Autograd's of cost * sum of KL(p || q_j), q the mean activation, or with the slope at an `activity`."""
    model = copy.deepcopy(rbm).double()
    model.zero_grad()
    q = torch.sigmoid(v.double() @ model.weight.T + model.hidden_bias).mean(dim=0)
    at = q.detach() if activity is None else activity
    (cost * (q * (at - target) / (at * (1 - at))).sum() if activity is not None else cost * kl(target, q)).backward()
    return model.weight.grad, model.hidden_bias.grad


def kl(p, q):
    return (p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))).sum()


@estimators
def test_the_sparsity_penalty_has_the_gradient_of_the_divergence(estimator, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v, options = rows_of(rbm, 11, seed), {"gradient_estimator": estimator, "n_chains": 5}
    plain = filled(rbm, seed, Batch(v), **options)
    sparse = filled(rbm, seed, Batch(v), **options, sparsity_target=0.05, sparsity_cost=0.7, sparsity_decay=0.0)
    weight, bias = penalty_gradient(rbm, v, 0.7, torch.tensor(0.05).double())
    assert_close((sparse["weight"] - plain["weight"],), (weight,))
    assert_close((sparse["hidden_bias"] - plain["hidden_bias"],), (bias,))
    assert torch.equal(sparse["visible_bias"], plain["visible_bias"])


def test_the_sparsity_penalty_follows_a_running_mean(seed):
    rbm, activity = small_rbm(seed, dtype=torch.float32), None
    plain, sparse = (
        learner_of(
            rbm, seed, gradient_estimator="mean_field", sparsity_target=t, sparsity_decay=0.8, sparsity_cost=0.3
        )
        for t in (None, 0.2)
    )
    for k in range(3):
        v = rows_of(rbm, 7, 10 * seed + k)
        plain.fill_gradients(Batch(v))
        without = gradients(rbm)
        sparse.fill_gradients(Batch(v))
        mean = torch.sigmoid(v @ rbm.weight.T + rbm.hidden_bias).mean(dim=0).detach().double()
        activity = mean if activity is None else 0.8 * activity + 0.2 * mean
        weight, bias = penalty_gradient(rbm, v, 0.3, 0.2, activity=activity)
        with_penalty = gradients(rbm)
        assert_close((with_penalty[0] - without[0], with_penalty[2] - without[2]), (weight, bias))


def test_the_sparsity_penalty_does_not_depend_on_the_size_of_the_batch(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v, options = rows_of(rbm, 7, seed), {"gradient_estimator": "mean_field", "sparsity_target": 0.01}
    once, twice = (filled(rbm, seed, Batch(v.repeat(n, 1)), **options) for n in (1, 2))
    assert_same(once, twice)


def test_sparsity_makes_units_rare(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v = rows_of(rbm, 50, seed)
    learner = learner_of(rbm, seed, sparsity_target=0.1, sparsity_cost=3.0)
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.1)
    for _ in range(300):
        learner.fill_gradients(Batch(v))
        optimizer.step()
    np.testing.assert_allclose(rbm.encode(v).mean(dim=0).detach(), 0.1, atol=0.05)


# Dropout of hidden units ---


@pytest.mark.parametrize("k", [1, 2])
def test_dropout_equals_the_formula(k, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v, generator = rows_of(rbm, 11, seed), torch.Generator().manual_seed(seed)
    learner_of(rbm, seed, hidden_dropout=0.4, n_gibbs_steps=k).fill_gradients(Batch(v))
    mask = random_mask((11, N_HIDDEN), 0.6, generator=generator, dtype=torch.float32).numpy()
    hand = Hand(rbm, generator)
    assert_close(gradients(rbm), contrast(hand, *cd_phases(hand, v.numpy().astype(float), k, mask=mask)))


@pytest.mark.parametrize("estimator", ["cd", "mean_field"])
def test_a_row_leaves_the_same_units_out_of_both_phases(estimator, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    fill(rbm, hidden_bias=[200.0, 200.0])  # on, unless they are left out
    weight, b, _ = (torch.from_numpy(array) for array in arrays_of(rbm))
    v, left_out = rows_of(rbm, 1, seed), []
    learner = learner_of(rbm, seed, hidden_dropout=0.3, gradient_estimator=estimator)
    for _ in range(400):
        learner.fill_gradients(Batch(v))
        assert not rbm.hidden_bias.grad.any()
        mask = torch.stack([(row != 0).any() for row in rbm.weight.grad])
        left_out.append(~mask)
        reconstruction = torch.sigmoid(mask.double() @ weight + b)
        torch.testing.assert_close(
            rbm.visible_bias.grad.double(), reconstruction - v[0].double(), rtol=1e-5, atol=1e-6
        )
    assert torch.stack(left_out).float().mean().item() == pytest.approx(0.3, abs=0.08)


@estimators
def test_nothing_is_left_out_without_dropout(estimator, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    batch, options = Batch(rows_of(rbm, 7, seed)), {"gradient_estimator": estimator, "n_chains": 5}
    assert_same(filled(rbm, seed, batch, **options), filled(rbm, seed, batch, hidden_dropout=0.0, **options), atol=0)
    fill(rbm, hidden_bias=[200.0, 200.0])
    assert filled(rbm, seed, batch, **options)["hidden_bias"].abs().max() < 1e-6
    thinned = filled(rbm, seed, batch, hidden_dropout=0.5, **options)
    assert thinned["hidden_bias"].abs().max() > 1e-3 or estimator in (
        "cd",
        "mean_field",
    )  # persistent chains have masks of their own


# Data that are probabilities ---


def test_binarized_data_are_drawn_anew(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    probabilities = torch.rand(11, N_VISIBLE, generator=torch.Generator().manual_seed(seed))
    kept = probabilities.clone()
    learner = learner_of(rbm, seed, binarize=True)
    hand = Hand(rbm, torch.Generator().manual_seed(seed))
    drawn = []
    for _ in range(3):
        learner.fill_gradients(Batch(probabilities))
        states = hand.sampler.sample(probabilities, torch.empty_like(probabilities)).numpy().astype(float)
        assert_close(gradients(rbm), contrast(hand, *cd_phases(hand, states)))
        drawn.append(states)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert not (drawn[0] == drawn[1]).all()
    assert torch.equal(probabilities, kept)


def test_binarizing_leaves_binary_data_as_they_are(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    v = rows_of(rbm, 11, seed)
    plain, binarized = (
        filled(rbm, seed, Batch(v), gradient_estimator="mean_field", binarize=value) for value in (False, True)
    )
    assert_same(plain, binarized, atol=0)
    assert learner_of(rbm, seed, gradient_estimator="mean_field", binarize=True).stochastic


def test_codes_that_are_no_probabilities_cannot_be_binarized():
    rbm = small_rbm(0, "gaussian", dtype=torch.float32)
    settings = learner_of(small_rbm(0, dtype=torch.float32), 0, binarize=True).settings
    with pytest.raises(SettingsError, match="binarize of RBMSettings is for bernoulli visible units; this layer has"):
        type(learner_of(rbm, 0))(rbm, settings, generator=torch.Generator())


# Gibbs steps that grow ---


@pytest.mark.parametrize(
    ("first", "last", "n_epochs", "steps"),
    [
        (1, 5, 5, [1, 2, 3, 4, 5]),
        (1, 3, 5, [1, 2, 2, 2, 3]),
        (2, 2, 3, [2, 2, 2]),
        (1, 4, 1, [4]),
        (None, 3, 3, [3] * 3),
    ],
)
def test_gibbs_steps_grow_in_equal_steps(first, last, n_epochs, steps, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    batch = Batch(rows_of(rbm, 7, seed))
    learner = learner_of(rbm, seed, initial_gibbs_steps=first, n_gibbs_steps=last)
    for epoch, k in enumerate(steps):
        learner.begin_epoch(epoch, n_epochs)
        learner.generator.manual_seed(seed)
        learner.fill_gradients(batch)
        grown = {name: parameter.grad.clone() for name, parameter in rbm.named_parameters()}
        assert_same(grown, filled(rbm, seed, batch, n_gibbs_steps=k), atol=0)
        assert learner.metrics() == ({} if first is None else {"n_gibbs_steps": float(k)})
