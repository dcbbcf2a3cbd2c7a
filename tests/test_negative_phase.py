"""Chains that persist, with fast weights or without: against hand formulas, and apart from the data."""

import copy

import numpy as np
import pytest
import torch
from chains_by_hand import (
    NAMES,
    Hand,
    assert_close,
    contrast,
    gradients,
    learner_of,
    mean_and_error,
    rows_of,
)
from oracles import EVERY_PAIR, N_VISIBLE, arrays_of, exact_nll, fill, finite_difference, log_variance_of, small_rbm

from pretrain.batches import Batch
from pretrain.contrastive import RECONSTRUCT_EVERY

PERSISTENT = ("pcd", "fast_pcd", "tempering")
ESTIMATORS = ("cd", "mean_field", *PERSISTENT)
estimators = pytest.mark.parametrize("estimator", ESTIMATORS)
persistent = pytest.mark.parametrize("estimator", PERSISTENT)


def chains_of(learner):
    """What persists, the replicas at temperature 1 last."""
    return learner.state_dict()["negative"]["chains"].clone()


def moved_by_hand(hand, chains, k):
    for _ in range(k):
        chains = hand.draw_visible(hand.draw_hidden(chains), hand.words(chains))
    return chains


# Hand formulas ---


@pytest.mark.parametrize(("visible_units", "hidden_units"), EVERY_PAIR)
@pytest.mark.parametrize(("k", "n_chains"), [(1, "auto"), (3, 5), (2, 13)])
def test_persistent_chains_equal_the_formula(visible_units, hidden_units, k, n_chains):
    rbm = small_rbm(k, visible_units, hidden_units, dtype=torch.float32)
    learner = learner_of(rbm, k, gradient_estimator="pcd", n_gibbs_steps=k, n_chains=n_chains)
    hand, chains = Hand(rbm, torch.Generator().manual_seed(k)), None
    for batch in range(2):
        v = rows_of(rbm, 7, k + batch)
        learner.fill_gradients(Batch(v))
        v = v.numpy().astype(float)
        if chains is None:  # they begin at the rows of the first batch, over and over where they are more
            chains = v[np.arange(7 if n_chains == "auto" else n_chains) % 7]
        chains = moved_by_hand(hand, chains, k)
        scale = max(1.0, abs(chains).max()) ** 2
        assert_close([chains_of(learner)], [chains], atol=1e-4 * scale)
        assert_close(gradients(rbm), contrast(hand, v, hand.up(v), chains, hand.up(chains)), atol=1e-4 * scale)


@pytest.mark.parametrize("visible_units", ["bernoulli", "gaussian", "gaussian_learned", "softmax"])
def test_fast_weights_equal_the_formula(visible_units, seed):
    # The chains move by W + fast, the gradient is taken by W; fast <- decay fast - rate gradient.
    rbm = small_rbm(seed, visible_units, dtype=torch.float32)
    rate, decay = 0.3, 0.8
    learner = learner_of(
        rbm, seed, gradient_estimator="fast_pcd", fast_learning_rate=rate, fast_decay=decay, n_chains=5
    )
    generator = torch.Generator().manual_seed(seed)
    fast, chains = [0.0, 0.0, 0.0], None
    optimizer = torch.optim.SGD([getattr(rbm, name) for name in NAMES], lr=0.05)
    for batch in range(4):
        v = rows_of(rbm, 7, seed + batch)
        slow, quick = Hand(rbm, generator), Hand(rbm, generator, fast)
        learner.fill_gradients(Batch(v))
        v = v.numpy().astype(float)
        chains = moved_by_hand(quick, v[:5] if chains is None else chains, 1)
        formula = contrast(slow, v, slow.up(v), chains, slow.up(chains))
        assert_close(gradients(rbm), formula, atol=2e-5)
        fast = [decay * f - rate * g for f, g in zip(fast, formula, strict=True)]
        assert_close(learner.state_dict()["negative"]["fast"], fast, atol=2e-5)
        optimizer.step()


def test_fast_weights_push_chains_on(seed):
    # Two modes that plain chains hardly leave: with fast weights they go from one to the other.
    visits = {}
    for estimator in ("pcd", "fast_pcd"):
        rbm = small_rbm(seed, dtype=torch.float32)
        fill(rbm, weight=np.full((2, 3), 6.0), visible_bias=[-6.0] * 3, hidden_bias=[-9.0] * 2)
        options = {"fast_learning_rate": 0.5, "n_chains": 1}
        learner = learner_of(rbm, seed, gradient_estimator=estimator, **options)
        v = torch.tensor([[1.0, 1, 1], [0, 0, 0]])
        sides = []
        for _ in range(500):
            learner.fill_gradients(Batch(v))
            sides.append(chains_of(learner).mean(dim=1).round())
        visits[estimator] = torch.stack(sides).diff(dim=0).abs().sum().item()
    assert visits["fast_pcd"] > 3 * visits["pcd"]


# Chains and data ---


@persistent
def test_chains_do_not_see_the_data_once_they_have_begun(estimator, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    found = []
    for other in (1, 2):
        learner = learner_of(rbm, seed, gradient_estimator=estimator, fast_learning_rate=0.0, n_chains=5)
        for batch in (0, other, other):
            learner.fill_gradients(Batch(rows_of(rbm, 7, batch)))
        found.append(chains_of(learner))
    assert torch.equal(*found)


@persistent
@pytest.mark.parametrize("n_chains", [1, 5, 20, "auto"])
def test_any_number_of_chains(estimator, n_chains, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    learner = learner_of(rbm, seed, gradient_estimator=estimator, n_chains=n_chains, n_temperatures=3)
    for rows in (7, 7, 2, 7, 1):
        learner.fill_gradients(Batch(rows_of(rbm, rows, rows)))
        assert all(p.grad.isfinite().all() for p in rbm.parameters())
        expected = 7 if n_chains == "auto" else n_chains
        assert len(chains_of(learner)) == expected * (3 if estimator == "tempering" else 1)


def test_a_short_last_batch_moves_as_many_chains_as_it_has_rows(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    fill(rbm, weight=np.zeros((2, 3)))  # states are drawn at random: what moves is seen to move
    learner = learner_of(rbm, seed, gradient_estimator="pcd")
    learner.fill_gradients(Batch(rows_of(rbm, 50, 0)))
    before = chains_of(learner)
    learner.fill_gradients(Batch(rows_of(rbm, 20, 1)))
    after = chains_of(learner)
    assert torch.equal(before[20:], after[20:])
    assert not torch.equal(before[:20], after[:20])
    hand, v = Hand(rbm, learner.generator), rows_of(rbm, 20, 1).numpy().astype(float)
    moved = after[:20].numpy().astype(float)
    assert_close(gradients(rbm), contrast(hand, v, hand.up(v), moved, hand.up(moved)))


@persistent
def test_a_first_batch_that_is_short(estimator, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    learner = learner_of(rbm, seed, gradient_estimator=estimator, n_temperatures=2)
    for rows in (3, 7):
        learner.fill_gradients(Batch(rows_of(rbm, rows, 0)))
        assert len(chains_of(learner)) == rows * (2 if estimator == "tempering" else 1)
    assert all(p.grad.isfinite().all() for p in rbm.parameters())


@persistent
def test_the_loss_of_chains_is_that_of_the_data(estimator, seed):
    # Squared error of the reconstruction of every so many batches, from the means of the hidden units.
    rbm = small_rbm(seed, dtype=torch.float32)
    learner, losses, expected = learner_of(rbm, seed, gradient_estimator=estimator), [], []
    hand = Hand(rbm, learner.generator)
    for batch in range(RECONSTRUCT_EVERY + 1):
        v = rows_of(rbm, 7, batch)
        losses.append(learner.fill_gradients(Batch(v)).item())
        v = v.numpy().astype(float)
        expected.append(((hand.down(hand.up(v)) - v) ** 2).sum() / 7)
    assert losses[:-1] == [pytest.approx(expected[0], rel=1e-5)] * RECONSTRUCT_EVERY
    assert losses[-1] == pytest.approx(expected[-1], rel=1e-5)


# Expectations ---


@persistent
@pytest.mark.parametrize("visible_units", ["bernoulli", "spin", "softmax", "gaussian", "gaussian_learned"])
def test_chains_that_persist_have_the_log_likelihood_gradient(estimator, visible_units):
    rbm, exact = (small_rbm(2, visible_units, dtype=d) for d in (torch.float32, torch.float64))
    for model in (rbm, exact):
        fill(model, weight=0.7 * model.weight.detach())
    v = rows_of(rbm, 7, 2)
    variance = np.exp(log_variance_of(exact))
    slope = {
        n: finite_difference(lambda: exact_nll(exact, v.double().numpy()), p, 1e-5)
        for n, p in exact.named_parameters()
    }
    slope["weight"], slope["visible_bias"] = slope["weight"] * variance, slope["visible_bias"] * variance
    options = {"n_gibbs_steps": 5, "n_chains": 1000, "n_temperatures": 4, "fast_learning_rate": 0.0}
    learner = learner_of(rbm, 2, gradient_estimator=estimator, **options)
    for _ in range(10):
        learner.fill_gradients(Batch(v))
    for name, (mean, error) in mean_and_error(learner, lambda _: Batch(v), 60).items():
        if name in NAMES:  # the steps of a chain are not independent: twice the error
            assert (np.abs(mean - slope[name]) < 10 * error + 1e-3).all(), name
            assert error.max() < 0.02


# States ---


def some_updates(learner, n, first=0):
    """The gradients of n updates that move the weights."""
    rbm, found = learner.module, []
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.1)
    for batch in range(first, first + n):
        learner.fill_gradients(Batch(rows_of(rbm, 7, batch)))
        found += [parameter.grad.clone() for parameter in rbm.parameters()]
        optimizer.step()
    return found


@estimators
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_states_continue_exactly(estimator, dtype, seed):
    options = {"gradient_estimator": estimator, "centered": True, "sparsity_target": 0.2, "hidden_dropout": 0.2}
    options |= {"n_temperatures": 4, "fast_learning_rate": 0.1, "initial_gibbs_steps": 3, "n_gibbs_steps": 1}

    def learner(seed):
        return learner_of(small_rbm(7, dtype=torch.float32), seed, dtype=dtype, **options)

    first = learner(seed)
    first.begin_epoch(0, 3)
    some_updates(first, 3)
    state, module = copy.deepcopy(first.state_dict()), copy.deepcopy(first.module.state_dict())
    expected, metrics = some_updates(first, 3, first=3), first.metrics()
    for other in (1, 2):  # a state that was loaded once is not used up by the run that goes on from it
        resumed = learner(seed + other)
        resumed.load_state_dict(state)
        resumed.module.load_state_dict(module)
        found = some_updates(resumed, 3, first=3)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
        assert resumed.metrics() == metrics


@estimators
def test_a_state_before_the_first_batch(estimator, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    one, other = (learner_of(rbm, s, gradient_estimator=estimator) for s in (seed, seed + 1))
    other.load_state_dict(one.state_dict())
    batch = Batch(rows_of(rbm, N_VISIBLE, 0))
    one.fill_gradients(batch)
    expected = gradients(rbm)
    other.fill_gradients(batch)
    assert_close(gradients(rbm), expected, rtol=0, atol=0)


@estimators
def test_the_generator_decides_everything(estimator, seed):
    one, again, other = (
        some_updates(learner_of(small_rbm(7, dtype=torch.float32), s, gradient_estimator=estimator), 3)
        for s in (seed, seed, seed + 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)) == (estimator == "mean_field")


@estimators
def test_the_weights_are_left_to_the_optimizer(estimator, seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    before = arrays_of(rbm)
    learner = learner_of(rbm, seed, gradient_estimator=estimator)
    for batch in range(2):
        learner.fill_gradients(Batch(rows_of(rbm, 7, batch)))
    assert_close(arrays_of(rbm), before, rtol=0, atol=0)
