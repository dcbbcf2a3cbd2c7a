"""Deep belief nets against sums over all their states: likelihoods, bounds, labels, samples."""

import numpy as np
import pytest
import torch
from deep_oracles import (
    CLASSES,
    binary,
    exact_bound,
    exact_log_likelihood,
    log_code_probabilities,
    small_dbn,
    up_means,
)
from oracles import exact_model, joint_energy, small_rbm
from scipy.special import logsumexp, softmax
from scipy.stats import chisquare

from pretrain.dbn import DBN, DirectedLayer
from pretrain.dbn_bound import log_weights
from pretrain.exceptions import DataError, SettingsError
from pretrain.fantasies import Fantasies
from pretrain.likelihood import exact_log_partition, mean_of_rows
from pretrain.rbm import RBM
from pretrain.stack import Stack

SIZES = [(5, 3), (5, 3, 2)]  # one directed layer, two
every_net = pytest.mark.parametrize(("sizes", "classes"), [(s, c) for s in SIZES for c in (CLASSES, None)], ids=str)


def tied(rbm):
    """A net whose memory is the RBM upside down."""
    upside_down = RBM(rbm.n_hidden, rbm.n_visible).double()
    upside_down.load_state_dict(
        {"weight": rbm.weight.T, "visible_bias": rbm.hidden_bias, "hidden_bias": rbm.visible_bias}
    )
    return DBN.from_stack(Stack([rbm, upside_down]))


def test_the_oracles_probabilities_sum_to_one(seed):
    for sizes in SIZES:
        dbn = small_dbn(seed, sizes)
        assert np.exp(exact_log_likelihood(dbn, binary(5))).sum() == pytest.approx(1)
        labelled = [exact_log_likelihood(dbn, binary(5), label) for label in range(3)]
        np.testing.assert_allclose(logsumexp(labelled, axis=0), exact_log_likelihood(dbn, binary(5)))


def test_greedy_training_alone_with_tied_weights_is_the_rbm(seed):
    rbm = small_rbm(seed)
    states, probabilities = exact_model(rbm)
    np.testing.assert_allclose(np.exp(exact_log_likelihood(tied(rbm), states)), probabilities)


@every_net
def test_label_posterior_equals_the_sum_over_hidden_states(sizes, classes, seed):
    dbn = small_dbn(seed, sizes, classes=classes)
    x = np.random.default_rng(seed).random((7, 5))
    codes = up_means(dbn, x)
    np.testing.assert_allclose(dbn.encode(torch.from_numpy(x)).numpy(force=True), codes)
    if classes is None:
        with pytest.raises(SettingsError, match="without labels"):
            dbn.predict(x)
        return
    hidden = binary(dbn.memory.n_hidden)
    rows = [np.hstack([codes, np.tile(one, (7, 1))]) for one in np.eye(3)]
    scores = np.stack([logsumexp(-joint_energy(dbn.memory, v, hidden), axis=1) for v in rows], axis=1)
    np.testing.assert_allclose(dbn.predict_proba(x), softmax(scores, axis=1))
    np.testing.assert_allclose(np.exp(dbn.predict_log_proba(x)), dbn.predict_proba(x))
    assert (dbn.predict(x) == classes[scores.argmax(axis=1)]).all()


@pytest.mark.parametrize("data_units", ["bernoulli", "gaussian"])
@every_net
def test_the_bound_is_below_the_likelihood_and_its_estimate_without_bias(sizes, classes, data_units, seed):
    dbn = small_dbn(seed, sizes, classes=classes, data_units=data_units)
    x = binary(5)[::7] if data_units == "bernoulli" else np.random.default_rng(seed).normal(size=(5, 5))
    exact = exact_bound(dbn, x)
    assert (exact < exact_log_likelihood(dbn, x)).all()
    log_partition = exact_log_partition(dbn.memory)
    generator = torch.Generator().manual_seed(seed)
    draws = [
        log_weights(dbn, torch.from_numpy(x), generator=generator, n_draws=10).numpy() - log_partition.value
        for _ in range(64)
    ]
    error = np.std(draws, axis=0) / 8
    np.testing.assert_array_less(np.abs(np.mean(draws, axis=0) - exact), 4.5 * error)


def test_the_bound_is_tight_where_recognition_is_exact(seed):
    rbm = small_rbm(seed)
    states, probabilities = exact_model(rbm)
    np.testing.assert_allclose(exact_bound(tied(rbm), states), np.log(probabilities))
    generator = torch.Generator().manual_seed(seed)
    weights = log_weights(tied(rbm), torch.from_numpy(states), generator=generator, n_draws=2000)
    found = mean_of_rows(weights, exact_log_partition(tied(rbm).memory))
    assert found.mean == pytest.approx(np.log(probabilities).mean(), abs=0.05)
    assert found.spread == pytest.approx(np.log(probabilities).std(ddof=1), rel=0.1)


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_a_net_of_one_layer_has_its_exact_likelihood(units, seed):
    dbn = small_dbn(seed, (4,), data_units=units)
    x = torch.from_numpy(binary(4)[::3])
    found = log_weights(dbn, x, generator=torch.Generator().manual_seed(seed)) - exact_log_partition(dbn.memory).value
    labelled = [torch.cat([x, torch.eye(3).double()[[k] * len(x)]], dim=1) for k in range(3)]
    joint = [-dbn.memory.free_energy(v).detach() for v in labelled]
    expected = torch.logsumexp(torch.stack(joint), dim=0) - exact_log_partition(dbn.memory).value
    np.testing.assert_allclose(found, expected)
    if units == "bernoulli":
        np.testing.assert_allclose(expected, log_code_probabilities(dbn)[::3])


def frequencies(rows):
    """How often each 0/1 row occurs, in the order of `binary`."""
    numbers = rows.long() @ (2 ** torch.arange(rows.shape[1] - 1, -1, -1))
    return torch.bincount(numbers, minlength=2 ** rows.shape[1]).numpy()


@pytest.mark.parametrize("label", [None, 1])
@every_net
def test_ancestral_samples_have_the_nets_distribution(sizes, classes, label, seed):
    if classes is None and label is not None:
        return
    dbn = small_dbn(seed, sizes, classes=classes, dtype=torch.float32)
    log_p = exact_log_likelihood(dbn, binary(5), label)
    expected = np.exp(log_p - logsumexp(log_p))
    n_chains = 20_000
    labels = None if label is None else torch.full((n_chains,), label)
    fantasies = Fantasies(dbn, n_chains, labels=labels, generator=torch.Generator().manual_seed(seed))
    fantasies.advance(200)
    assert chisquare(frequencies(fantasies.data(states=True)), n_chains * expected).pvalue > 1e-4
    means = fantasies.data()
    assert 0 < means.min() < means.max() < 1
    assert not set(np.unique(means)) <= {0.0, 1.0}
    np.testing.assert_allclose(means.mean(dim=0), expected @ binary(5), atol=0.02)


@pytest.mark.parametrize("label", [None, 2])
def test_samples_of_a_net_of_one_layer(label, seed):
    dbn = small_dbn(seed, (4,), dtype=torch.float32)
    log_p = log_code_probabilities(dbn, label)
    expected = np.exp(log_p - logsumexp(log_p))
    labels = None if label is None else torch.full((20_000,), label)
    fantasies = Fantasies(dbn, 20_000, labels=labels, generator=torch.Generator().manual_seed(seed))
    fantasies.advance(200)
    assert chisquare(frequencies(fantasies.data(states=True)), 20_000 * expected).pvalue > 1e-3
    np.testing.assert_allclose(fantasies.data().mean(dim=0), expected @ binary(4), atol=0.02)


def test_chains_can_be_watched(seed):
    dbn = small_dbn(seed, (5, 3), dtype=torch.float32)

    def new():
        return Fantasies(dbn, 7, labels=torch.arange(7) % 3, generator=torch.Generator().manual_seed(seed))

    watched, advanced, unseen = new(), new(), new()
    frames = watched.watch(every=3)
    shown = [next(frames) for _ in range(3)]
    again = [advanced.data()]
    for _ in range(2):
        advanced.advance(3)
        again.append(advanced.data())
    assert all(torch.equal(one, other) for one, other in zip(shown, again, strict=True))
    assert not torch.equal(shown[1], shown[2])
    unseen.advance(6)
    assert torch.equal(unseen.v, watched.v)
    assert (watched.v[:, 3:].argmax(dim=1) == torch.arange(7) % 3).all()


def test_gaussian_data_are_drawn_with_unit_variance(seed):
    dbn = small_dbn(seed, (5, 3), data_units="gaussian", dtype=torch.float32)
    fantasies = Fantasies(dbn, 20_000, generator=torch.Generator().manual_seed(seed))
    fantasies.advance(50)
    codes = binary(3)
    means = codes @ dbn.layers[0].generative_weight.numpy(force=True).T
    probabilities = np.exp(log_code_probabilities(dbn))
    variance = 1 + probabilities @ means**2 - (probabilities @ means) ** 2
    np.testing.assert_allclose(fantasies.data(states=True).var(dim=0), variance, rtol=0.05)


def test_reconstruction_passes_through_the_memory(seed):
    dbn = small_dbn(seed, (5, 3, 2))
    x = torch.rand(7, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    codes = dbn.encode(x)
    rows = torch.cat([codes, torch.softmax(dbn.label_scores(x), dim=1)], dim=1)
    top = torch.sigmoid(rows @ dbn.memory.weight.T + dbn.memory.hidden_bias)
    codes = torch.sigmoid(top @ dbn.memory.weight[:, :2] + dbn.memory.visible_bias[:2])
    for layer in reversed(dbn.layers):
        codes = torch.sigmoid(codes @ layer.generative_weight.T + layer.generative_bias)
    torch.testing.assert_close(dbn.reconstruct(x), codes)


def test_layers_that_do_not_fit_are_refused():
    memory = RBM(5, 7, visible_units="bernoulli:2+softmax:3")
    with pytest.raises(SettingsError, match=r"must fit.*bernoulli:3\+softmax:3"):
        DBN([DirectedLayer(5, 3)], memory, classes=CLASSES)
    with pytest.raises(SettingsError, match=r"must fit"):
        DBN([DirectedLayer(5, 3), DirectedLayer(4, 2)], memory, classes=CLASSES)
    with pytest.raises(SettingsError, match=r"must have visible units that end in '\+softmax:3'"):
        DBN([], RBM(5, 7), classes=CLASSES)
    with pytest.raises(SettingsError, match="gaussian_learned"):
        DirectedLayer(5, 3, visible_units="gaussian_learned")
    with pytest.raises(SettingsError, match="layer 1 has 'gaussian'"):
        DBN.from_stack(Stack([RBM(5, 3, hidden_units="gaussian"), RBM(3, 2, visible_units="gaussian")]))
    dbn = small_dbn(0, (5, 3))
    with pytest.raises(DataError, match="5 features"):
        dbn.predict(np.zeros((7, 4)))
    with pytest.raises(DataError, match="one a chain"):
        Fantasies(dbn, 3, labels=torch.zeros(2, dtype=torch.int64), generator=torch.Generator())
