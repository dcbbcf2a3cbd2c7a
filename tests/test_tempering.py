"""Tempered chains: replicas that exchange their states and leave every temperature's distribution as it is."""

import numpy as np
import pytest
import torch
from chains_by_hand import Hand, assert_close, contrast, gradients, learner_of, rows_of
from oracles import exact_model, fill, hidden_states, joint_energy, small_rbm, visible_states
from scipy.stats import chisquare
from stacks import pretrained, quick, rows

from pretrain.batches import Batch

DISCRETE = [("bernoulli", "bernoulli"), ("spin", "spin"), ("softmax", "spin"), ("replicated_softmax", "bernoulli")]


def tempered(rbm, seed, **options):
    return learner_of(rbm, seed, gradient_estimator="tempering", **options)


def at(exact, beta):
    """The RBM at an inverse temperature: weights and biases times beta, the energies of the units as they are."""
    model = small_rbm(0, exact.visible_units.name, exact.hidden_units.name)
    fill(model, **{name: beta * p.detach() for name, p in exact.named_parameters()})
    return model


def with_chains(learner, replicas):
    """The learner with these replicas, (n_temperatures, n_chains, n_visible), hottest first."""
    state = learner.state_dict()
    chains = torch.from_numpy(replicas.reshape(-1, replicas.shape[2])).float()
    state["negative"] |= {"chains": chains, "n_chains": replicas.shape[1]}
    learner.load_state_dict(state)
    return learner


def counts(replicas, states):
    return [(np.abs(replicas - state).max(axis=1) < 1e-6).sum() for state in states]


@pytest.mark.parametrize(("visible_units", "hidden_units"), DISCRETE)
@pytest.mark.parametrize("k", [1, 2])
def test_every_temperature_keeps_its_distribution(visible_units, hidden_units, k):
    # Replicas that begin as exact samples of their own temperatures are exact samples after each update, of which
    # the even ones exchange other pairs than the odd ones. Replicas of different temperatures stay independent.
    rbm, exact = (small_rbm(k, visible_units, hidden_units, dtype=d) for d in (torch.float32, torch.float64))
    n, betas, rng = 20_000, np.linspace(0, 1, 4), np.random.default_rng(k)
    models = [exact_model(at(exact, beta)) for beta in betas]
    start = np.stack([states[rng.choice(len(p), size=n, p=p)] for states, p in models])
    learner = with_chains(tempered(rbm, k, n_temperatures=4, n_chains=n, n_gibbs_steps=k), start)
    for update in range(4):
        learner.fill_gradients(Batch(rows_of(rbm, 7, update)))
    replicas = learner.state_dict()["negative"]["chains"].double().numpy().reshape(4, n, -1)
    for replica, (states, p) in zip(replicas, models, strict=True):
        assert chisquare(counts(replica, states), n * p).pvalue > 1e-4
    (states, hot), (_, cold) = models[-2:]
    pairs = [counts(replicas[-1][(np.abs(replicas[-2] - s).max(axis=1) < 1e-6)], states) for s in states]
    assert chisquare(np.ravel(pairs), n * np.outer(hot, cold).ravel()).pvalue > 1e-4


@pytest.mark.parametrize(("visible_units", "hidden_units"), DISCRETE)
def test_two_replicas_exchange_as_often_as_they_should(visible_units, hidden_units, seed):
    # min(1, exp((beta - beta') (E - E'))) with beta = 1 and beta' = 0, averaged over all pairs of joint states; E is
    # the part of the energy that the temperature scales.
    rbm, exact = (small_rbm(seed, visible_units, hidden_units, dtype=d) for d in (torch.float32, torch.float64))
    cold, hot = joint_of(exact), joint_of(at(exact, 0.0))
    n, rng = 20_000, np.random.default_rng(seed)
    start = np.stack([v[rng.choice(len(p), size=n, p=p)] for v, p, _ in (hot, cold)])
    learner = with_chains(tempered(rbm, seed, n_temperatures=2, n_chains=n), start)
    learner.fill_gradients(Batch(rows_of(rbm, 7, 0)))
    scaled = cold[2] - hot[2]
    expected = hot[1] @ np.minimum(1, np.exp(scaled[None, :] - scaled[:, None])) @ cold[1]
    rate = learner.metrics()["swap_rate"]
    assert 0.05 < expected < 0.95
    assert rate == pytest.approx(expected, abs=5 * np.sqrt(0.25 / n))


def joint_of(model):
    """Visible states, probabilities and energies of all joint states."""
    (v, _), (h, _) = visible_states(model), hidden_states(model)
    energy = joint_energy(model, v, h)
    p = np.exp(-energy)
    return np.repeat(v, len(h), axis=0), (p / p.sum()).ravel(), energy.ravel()


def test_replicas_that_are_all_alike_always_exchange():
    rbm = small_rbm(0, dtype=torch.float32)
    fill(rbm, weight=np.zeros((2, 3)), visible_bias=np.zeros(3), hidden_bias=np.zeros(2))
    learner = tempered(rbm, 0, n_temperatures=5, n_chains=3)
    for n_updates in (1, 2, 3):  # one update tries every second pair of neighbours
        for update in range(n_updates):
            learner.fill_gradients(Batch(rows_of(rbm, 7, update)))
        assert learner.metrics() == {"swap_rate": 1.0, "lowest_swap_rate": 1.0}


def test_rates_begin_anew_every_epoch(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    learner = tempered(rbm, seed, n_temperatures=3, n_chains=50)
    assert learner.metrics() == {"swap_rate": 0.0, "lowest_swap_rate": 0.0}
    for update in range(10):
        learner.fill_gradients(Batch(rows_of(rbm, 7, update)))
    rates = learner.metrics()
    assert 0 < rates["lowest_swap_rate"] <= rates["swap_rate"] <= 1
    assert learner.metrics() == {"swap_rate": 0.0, "lowest_swap_rate": 0.0}


@pytest.mark.parametrize(("visible_units", "hidden_units"), [*DISCRETE, ("gaussian_learned", "bernoulli")])
def test_the_gradient_is_that_of_the_replicas_at_temperature_one(visible_units, hidden_units, seed):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    learner = tempered(rbm, seed, n_chains=5, n_temperatures=3)
    for batch in range(3):
        v = rows_of(rbm, 7, batch)
        learner.fill_gradients(Batch(v))
        hand, v = Hand(rbm, learner.generator), v.numpy().astype(float)
        chains = learner.state_dict()["negative"]["chains"][-5:].numpy().astype(float)
        assert_close(gradients(rbm), contrast(hand, v, hand.up(v), chains, hand.up(chains)), atol=2e-5)


def test_tempering_crosses_between_modes_that_plain_chains_do_not_leave(seed):
    reached = {}
    for estimator in ("pcd", "tempering"):
        rbm = small_rbm(seed, dtype=torch.float32)
        fill(rbm, weight=np.full((2, 3), 7.0), visible_bias=[-7.0] * 3, hidden_bias=[-10.5] * 2)
        learner = learner_of(rbm, seed, gradient_estimator=estimator, n_chains=100)
        v = torch.ones(7, 3)  # all chains begin in one of two modes that are equally likely
        for _ in range(200):
            learner.fill_gradients(Batch(v))
        reached[estimator] = learner.state_dict()["negative"]["chains"][-100:].mean().item()
    assert reached["pcd"] > 0.9
    assert reached["tempering"] == pytest.approx(0.5, abs=0.2)


def test_records_hold_the_rates():
    settings = quick(gradient_estimator="tempering", n_temperatures=3, epochs=3)
    _, records = pretrained((rows(n=23) > 0.5).astype(np.float32), (5, 3), settings)
    assert len(records) == 6
    for record in records:
        assert 0 <= record["lowest_swap_rate"] <= record["swap_rate"] <= 1
    assert "swap_rate" not in pretrained(rows(n=23), (5,), quick())[1][0]
