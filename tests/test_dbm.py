"""Deep Boltzmann machines against sums over all their states: energy, mean field, Gibbs steps, Z, the bound."""

import itertools

import numpy as np
import pytest
import torch
from dbm_oracles import (
    EVERY_SIZE,
    SIZES,
    arrays_of,
    bound_of_means,
    exact_log_likelihood,
    exact_log_partition,
    exact_probabilities,
    hidden_input,
    joint_states,
    layers_of,
    log_weight_of_rows,
    mean_field_by_hand,
    minus_energy,
    small_dbm,
)
from oracles import binary_states, small_rbm
from scipy.special import expit, logit
from scipy.stats import chisquare

from pretrain import DBM, augmented_rows, unroll_dbm
from pretrain.dbm_bound import (
    ais_dbm_log_partition,
    dbm_bound,
    exact_dbm_log_partition,
    log_weights,
    reverse_ais_dbm_log_partition,
)
from pretrain.doubled_rbm import DoubledRBM
from pretrain.exceptions import DataError, SettingsError
from pretrain.importance_sampling import LogPartition
from pretrain.likelihood import exact_log_partition as exact_rbm_log_partition
from pretrain.rbm import RBM

every_size = pytest.mark.parametrize("sizes", EVERY_SIZE, ids=str)


def tensors(layers, dtype=torch.float64):
    return [torch.from_numpy(np.ascontiguousarray(layer)).to(dtype) for layer in layers]


@pytest.mark.parametrize("visible_units", ["bernoulli", "gaussian"])
@every_size
def test_energy_is_the_formula(sizes, visible_units, seed):
    dbm = small_dbm(seed, sizes, visible_units=visible_units)
    layers = layers_of(dbm, joint_states(dbm)[::7])
    np.testing.assert_allclose(dbm.energy(tensors(layers)).detach(), -minus_energy(dbm, layers))


def test_with_one_hidden_layer_it_is_the_rbm(seed):
    rbm = small_rbm(seed)
    dbm = DBM.from_rbms([rbm])
    v = torch.from_numpy(binary_states(3))
    assert torch.equal(dbm.weights[0], rbm.weight)
    torch.testing.assert_close(log_weights(dbm, v, n_steps=0), -rbm.free_energy(v).detach())
    torch.testing.assert_close(dbm.encode(v), rbm.prop_up(v).detach())
    torch.testing.assert_close(dbm.reconstruct(v).detach(), rbm.prop_down(rbm.prop_up(v)).detach())
    assert exact_dbm_log_partition(dbm).value == pytest.approx(exact_rbm_log_partition(rbm).value)
    generators = [torch.Generator().manual_seed(seed) for _ in range(2)]
    single = DBM.from_rbms([rbm.float()])
    h = torch.zeros(8, 2)
    assert torch.equal(
        single.gibbs_step([v.float(), h], generator=generators[0])[1],
        (torch.rand(8, 2, generator=generators[1]) < rbm.prop_up(v.float())).float(),
    )


@every_size
def test_mean_field_is_the_ascent_of_its_formula(sizes, seed):
    dbm = small_dbm(seed, sizes)
    v = np.random.default_rng(seed).random((7, sizes[0]))
    for n_steps in (0, 1, 5):
        found = dbm.mean_field(torch.from_numpy(v), n_steps=n_steps, tol=0)
        for mean, expected in zip(found, mean_field_by_hand(dbm, v, n_steps)[1:], strict=True):
            np.testing.assert_allclose(mean, expected)
    assert torch.equal(dbm.encode(torch.from_numpy(v)), dbm.mean_field(torch.from_numpy(v))[-1])
    rebuilt = expit(dbm.mean_field(torch.from_numpy(v))[0].numpy() @ arrays_of(dbm)[0][0] + arrays_of(dbm)[1][0])
    np.testing.assert_allclose(dbm.reconstruct(torch.from_numpy(v)).detach(), rebuilt)


@every_size
def test_mean_field_climbs_the_bound_until_nothing_changes(sizes, seed):
    dbm = small_dbm(seed, sizes)
    v = binary_states(sizes[0])
    rows = torch.from_numpy(v)
    bounds = [log_weights(dbm, rows, n_steps=n, tol=0).numpy() for n in range(6)]
    assert (np.diff(bounds, axis=0) >= -1e-12).all()
    last = [mean.numpy() for mean in dbm.mean_field(rows, n_steps=10_000, tol=1e-12)]
    for k in range(1, len(sizes)):
        np.testing.assert_allclose(last[k - 1], expit(hidden_input(dbm, [v, *last], k)), atol=1e-9)
    early = dbm.mean_field(rows, n_steps=10_000, tol=0.01)
    assert 0 < np.abs(early[0].numpy() - last[0]).max() < 0.1 or len(sizes) == 2
    np.testing.assert_allclose(log_weights(dbm, rows), bound_of_means(dbm, [v, *last]), atol=1e-7)


@every_size
def test_mean_field_ends_with_a_step_that_changes_no_layer_by_more_than_tol(sizes, seed):
    dbm = small_dbm(seed, sizes)
    rows = torch.from_numpy(binary_states(sizes[0]))
    means = [dbm.mean_field(rows, n_steps=n, tol=0) for n in range(40)]
    changes = [
        max(float((b - a).abs().mean()) for a, b in zip(*two, strict=True)) for two in itertools.pairwise(means)
    ]
    for change in changes[:3]:
        tol = 0.999 * change
        n_steps = next(n for n, largest in enumerate(changes, start=1) if largest <= tol or largest == 0)
        found = dbm.mean_field(rows, n_steps=40, tol=tol)
        assert all(torch.equal(a, b) for a, b in zip(found, means[n_steps], strict=True))


@pytest.mark.parametrize("visible_units", ["bernoulli", "gaussian"])
@every_size
def test_the_bound_is_below_the_likelihood(sizes, visible_units, seed):
    dbm = small_dbm(seed, sizes, visible_units=visible_units)
    v = binary_states(sizes[0])
    v = v if visible_units == "bernoulli" else np.random.default_rng(seed).normal(size=v.shape)
    gap = log_weight_of_rows(dbm, v) - log_weights(dbm, torch.from_numpy(v)).numpy()
    if len(sizes) == 2:
        np.testing.assert_allclose(gap, 0, atol=1e-9)
    else:
        assert (gap > 1e-6).all()
        assert gap.mean() < 1


def test_the_bound_of_rows_takes_log_z_off(seed):
    dbm = small_dbm(seed)
    v = binary_states(4)
    log_partition = exact_dbm_log_partition(dbm)
    found = dbm_bound(dbm.float(), v, LogPartition(log_partition.value, 0.5))
    assert found.mean < exact_log_likelihood(dbm, v).mean()
    weights = log_weights(dbm.double(), torch.from_numpy(v))
    assert found.mean == pytest.approx(float(weights.mean()) - log_partition.value, abs=1e-4)
    assert found.spread == pytest.approx(float(weights.std()), abs=1e-4)
    assert found.standard_error == pytest.approx((0.25 + found.spread**2 / 16) ** 0.5)
    with pytest.raises(DataError, match=r"shape \(n, 4\)"):
        dbm_bound(dbm, v[:, :3], log_partition)


# The partition function ---


@every_size
def test_exact_log_partition_is_the_sum_over_all_states(sizes, seed):
    dbm = small_dbm(seed, sizes)
    assert exact_dbm_log_partition(dbm).value == pytest.approx(exact_log_partition(dbm))


def test_exact_log_partition_of_gaussian_data(seed):
    dbm = small_dbm(seed, visible_units="gaussian")
    weights, biases = arrays_of(dbm)
    hidden = binary_states(5)
    layers = [np.zeros((len(hidden), 4)), *np.split(hidden, [3], axis=1)]
    mean = layers[1] @ weights[0] + biases[0]
    terms = minus_energy(dbm, layers) + 0.5 * (mean**2).sum(axis=1) + 2 * np.log(2 * np.pi)
    assert exact_dbm_log_partition(dbm).value == pytest.approx(np.logaddexp.reduce(terms))


def test_too_many_states_are_not_counted():
    with pytest.raises(SettingsError, match="at most 24 hidden units in the odd layers; this DBM has 30"):
        exact_dbm_log_partition(DBM(3, (13, 5, 17)))


@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("visible_units", ["bernoulli", "gaussian"])
@every_size
def test_annealing_from_both_sides_finds_log_z(sizes, visible_units, with_mean, seed):
    dbm = small_dbm(seed, sizes, visible_units=visible_units, dtype=torch.float32)
    exact = exact_dbm_log_partition(dbm).value
    generator = torch.Generator().manual_seed(seed)
    mean = torch.linspace(0.1, 0.8, sizes[0]) if with_mean else None
    options = {"generator": generator, "base_mean": mean, "n_temperatures": 100}
    forward = ais_dbm_log_partition(dbm, n_runs=2000, **options)
    assert (forward.method, forward.n_runs) == ("ais", 2000)
    assert 0 < forward.standard_error < 0.1
    assert forward.value == pytest.approx(exact, abs=4.5 * forward.standard_error)
    start = torch.zeros(2000, sizes[0])
    reverse = reverse_ais_dbm_log_partition(dbm, start, n_burn_in=100, **options)
    assert reverse.method == "reverse_ais"
    assert reverse.value == pytest.approx(exact, abs=4.5 * reverse.standard_error)
    assert torch.equal(start, torch.zeros_like(start))


def test_few_temperatures_have_a_larger_error(seed):
    dbm = small_dbm(seed, dtype=torch.float32)
    errors = [
        ais_dbm_log_partition(
            dbm, generator=torch.Generator().manual_seed(seed), n_runs=500, n_temperatures=n
        ).standard_error
        for n in (3, 300)
    ]
    assert errors[0] > 2 * errors[1]


# Samples ---


@every_size
def test_gibbs_steps_leave_the_distribution_as_it_is(sizes, seed):
    dbm = small_dbm(seed, sizes, dtype=torch.float32)
    states, probabilities = joint_states(dbm), exact_probabilities(dbm)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(states), size=100_000, p=probabilities)
    moved = dbm.gibbs_step(
        tensors(layers_of(dbm, states[chosen]), torch.float32), generator=torch.Generator().manual_seed(seed)
    )
    numbers = torch.cat(moved, dim=1).numpy() @ 2 ** np.arange(sum(sizes) - 1, -1, -1)
    found = np.bincount(numbers.astype(int), minlength=len(states))
    assert chisquare(*(merged(counts, probabilities) for counts in (found, 1e5 * probabilities))).pvalue > 1e-4
    assert (numbers != chosen).mean() > 0.5


def merged(counts, probabilities):
    """Counts in 100,000 draws, in the order of their probabilities, the rare states as one."""
    order = np.argsort(probabilities)
    rare = np.searchsorted(np.cumsum(probabilities[order]), 1e-3) + 1
    return np.append(counts[order[:rare]].sum(), counts[order[rare:]])


def test_gibbs_steps_draw_odd_layers_given_even_ones_and_then_these(seed):
    dbm = small_dbm(seed, dtype=torch.float32)
    rng = np.random.default_rng(seed)
    before = [np.tile(rng.integers(2, size=n), (20_000, 1)).astype(float) for n in SIZES]
    after = dbm.gibbs_step(tensors(before, torch.float32), generator=torch.Generator().manual_seed(seed))
    expected = expit(hidden_input(dbm, before, 1))[0]
    np.testing.assert_allclose(after[1].mean(dim=0), expected, atol=0.02)
    layers = [layer.numpy().astype(float) for layer in after]
    np.testing.assert_allclose(layers[2].mean(axis=0), expit(hidden_input(dbm, layers, 2)).mean(axis=0), atol=0.02)
    weights, biases = arrays_of(dbm)
    mean = expit(layers[1] @ weights[0] + biases[0])
    np.testing.assert_allclose(layers[0].mean(axis=0), mean.mean(axis=0), atol=0.02)


# Composition ---


def learned(n_visible, n_hidden, k, n_layers, seed):
    rbm = DoubledRBM(n_visible, n_hidden, generator=torch.Generator().manual_seed(seed)).double()
    rng = np.random.default_rng(seed + 10 * k)
    for parameter in rbm.parameters():
        parameter.data = torch.from_numpy(rng.normal(size=tuple(parameter.shape)))
    return rbm.with_copies(k, n_layers)


@every_size
def test_log_odds_of_a_hidden_unit_are_the_mean_of_what_its_two_rbms_say(sizes, seed):
    n_layers = len(sizes) - 1
    rbms = [learned(sizes[k], sizes[k + 1], k, n_layers, seed) for k in range(n_layers)]
    dbm = DBM.from_rbms(rbms)
    rng = np.random.default_rng(seed)
    layers = [rng.integers(2, size=(7, n)).astype(float) for n in sizes]
    states = tensors(layers)
    for k in range(1, n_layers):
        below = rbms[k - 1].prop_up(states[k - 1]).detach().numpy()
        above = rbms[k].prop_down(states[k + 1]).detach().numpy()
        np.testing.assert_allclose(hidden_input(dbm, layers, k), 0.5 * (logit(below) + logit(above)))
    top = rbms[-1].prop_up(states[-2]).detach().numpy()
    np.testing.assert_allclose(hidden_input(dbm, layers, n_layers), logit(top))
    weights, biases = arrays_of(dbm)
    seen = rbms[0].prop_down(states[1]).detach().numpy()
    np.testing.assert_allclose(layers[1] @ weights[0] + biases[0], logit(seen))
    if n_layers > 1:  # the pass up that mean field begins with is what the codes were made with
        found = dbm.mean_field(states[0], n_steps=0)[0].numpy()
        change = 0.5 * (rbms[1].visible_bias - rbms[0].hidden_bias).numpy(force=True)
        np.testing.assert_allclose(logit(found) - change, logit(rbms[0].encode(states[0]).numpy(force=True)))


def test_which_side_of_a_layer_counts_twice():
    sides = [[(r.up, r.down) for r in (DoubledRBM(3, 2).with_copies(k, n) for k in range(n))] for n in (1, 2, 3)]
    assert sides == [[(1, 1)], [(2, 1), (1, 2)], [(2, 1), (1, 1), (1, 2)]]


# Unrolling ---


@pytest.mark.parametrize("into", ["classifier", "regressor"])
def test_hidden_activations_of_the_network_are_one_more_mean_field_update(into, seed):
    dbm = small_dbm(seed, dtype=torch.float32)
    v = np.random.default_rng(seed).random((7, 4)).astype(np.float32)
    rows = augmented_rows(dbm, v)
    means = [v, *(mean.numpy() for mean in dbm.mean_field(torch.from_numpy(v)))]
    np.testing.assert_array_equal(rows, np.hstack([v, means[2]]))
    network = unroll_dbm(dbm, into, n_outputs=3, generator=torch.Generator().manual_seed(seed))
    first = network.hidden[0](torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(first, expit(hidden_input(dbm, means, 1)), rtol=1e-5)
    second = network.encode(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(second, expit(hidden_input(dbm, [v, first, means[2]], 2)), rtol=1e-5)
    np.testing.assert_allclose(second, means[2], atol=1e-4)  # it had converged
    assert network.predict(rows).shape == ((7,) if into == "classifier" else (7, 3))
    with torch.no_grad():
        network.hidden[0].linear.weight.zero_()
    assert (dbm.weights[0] != 0).all()


def test_other_depths_unroll_too(seed):
    generator = torch.Generator().manual_seed(seed)
    v = np.random.default_rng(seed).random((7, 4)).astype(np.float32)
    one = small_dbm(seed, (4, 3), dtype=torch.float32)
    assert torch.equal(torch.from_numpy(augmented_rows(one, v)), torch.from_numpy(v))
    network = unroll_dbm(one, n_outputs=2, generator=generator)
    np.testing.assert_allclose(network.transform(v), one.encode(torch.from_numpy(v)), rtol=1e-5)
    deep = small_dbm(seed, (4, 3, 2, 5), dtype=torch.float32)
    network = unroll_dbm(deep, n_outputs=2, generator=generator)
    weights, biases = arrays_of(deep)
    h = network.hidden[0](torch.from_numpy(augmented_rows(deep, v)))
    above = network.hidden[1](h).detach().numpy()
    np.testing.assert_allclose(above, expit(2 * h.detach().numpy() @ weights[1].T + biases[2]), rtol=1e-5)
    top = network.hidden[2](torch.from_numpy(above)).detach().numpy()
    np.testing.assert_allclose(top, expit(above @ weights[2].T + biases[3]), rtol=1e-5)


# What is refused ---


def test_models_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match="at least one layer"):
        DBM(3, ())
    with pytest.raises(SettingsError, match="hidden_layer_sizes of a DBM must be a list"):
        DBM(3, 5)
    with pytest.raises(SettingsError, match="hidden_layer_sizes of a DBM must be an integer >= 1; got 0"):
        DBM(3, (2, 0))
    with pytest.raises(SettingsError, match="A DBM has no generative layer of gaussian_learned"):
        DBM(3, (2,), visible_units="gaussian_learned")
    with pytest.raises(SettingsError, match="must see the 2 bernoulli units of the layer below; got 4"):
        DBM.from_rbms([RBM(3, 2), RBM(4, 2)])
    with pytest.raises(SettingsError, match="got 2 of type 'gaussian'"):
        DBM.from_rbms([RBM(3, 2), RBM(2, 2, visible_units="gaussian")])
    with pytest.raises(SettingsError, match="layer 1 has 'spin'"):
        DBM.from_rbms([RBM(3, 2, hidden_units="spin")])
    with pytest.raises(SettingsError, match="at least one RBM"):
        DBM.from_rbms([])
    dbm = DBM(3, (2,))
    with pytest.raises(DataError, match="3 features"):
        dbm.scaled(np.zeros((5, 4)))
    with pytest.raises(DataError, match="3 features"):
        augmented_rows(dbm, np.zeros((5, 4)))
    with pytest.raises(SettingsError, match="n_steps of mean_field"):
        dbm.mean_field(torch.zeros(1, 3), n_steps=-1)
    with pytest.raises(SettingsError, match="tol of mean_field"):
        dbm.mean_field(torch.zeros(1, 3), tol=-1.0)
    with pytest.raises(SettingsError, match="into of unroll_dbm must be one of classifier, regressor"):
        unroll_dbm(dbm, "autoencoder", n_outputs=2, generator=torch.Generator())
