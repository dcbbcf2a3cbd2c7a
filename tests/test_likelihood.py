"""Partition functions and likelihoods against enumeration and integration; annealing against both."""

import copy
import math

import numpy as np
import pytest
import torch
from global_state import global_state
from oracles import (
    EVERY_PAIR,
    N_WORDS,
    exact_free_energy,
    exact_log_partition,
    exact_model,
    exact_nll,
    fill,
    groups_of,
    joint_energy,
    small_rbm,
    some_states,
    visible_states,
)
from scipy.special import logsumexp

from pretrain import importance_sampling, likelihood
from pretrain.annealing import AnnealingPath, annealing_schedule
from pretrain.exceptions import SettingsError
from pretrain.importance_sampling import LogPartition
from pretrain.likelihood import (
    ais_log_partition,
    log_likelihood,
    pseudo_log_likelihood,
    reverse_ais_log_partition,
)
from pretrain.rbm import RBM

UNCOUNTED = ("gaussian", "gaussian_learned", "noisy_relu")
ANNEALED = [
    ("bernoulli", "bernoulli"),
    ("bernoulli", "gaussian"),
    ("spin", "softmax:3"),
    ("softmax:2+softmax:3", "spin"),
    ("gaussian:2", "bernoulli"),
    ("gaussian:2", "gaussian"),
    ("gaussian_learned:2", "spin"),
    ("replicated_softmax", "bernoulli"),
    ("noisy_relu:2", "bernoulli"),
    ("bernoulli", "noisy_relu"),
    ("bernoulli:1+gaussian_learned:1+softmax:2", "bernoulli"),
]
SITED = ("bernoulli", "spin", "softmax", "softmax:1+softmax:2", "spin:1+softmax:2+bernoulli:1+softmax:3")


def counted(units, *, visible=False):
    names = {name for name, _ in groups_of(units, 1)}
    return not names & set(UNCOUNTED) and (visible or "replicated_softmax" not in names)


def total_of(visible_units):
    return N_WORDS if visible_units == "replicated_softmax" else None


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


# The partition function, exactly ---


@pytest.mark.parametrize(
    ("visible_units", "hidden_units"),
    [pair for pair in EVERY_PAIR if counted(pair[0], visible=True) or counted(pair[1])],
)
def test_exact_log_partition(visible_units, hidden_units, seed, monkeypatch):
    rbm = small_rbm(seed, visible_units, hidden_units)
    expected = exact_log_partition(rbm)
    # Each layer that can be counted is made the smaller one in turn.
    layers = [counted(visible_units, visible=True) and rbm.visible_units, counted(hidden_units) and rbm.hidden_units]
    count = likelihood.count_states
    for layer in filter(None, layers):
        kind = type(layer)
        monkeypatch.setattr(
            likelihood, "count_states", lambda units, total=None, kind=kind, name=layer.name: (
                count(units, total) if isinstance(units, kind) and units.name == name else math.inf
            )
        )  # fmt: skip
        found = likelihood.exact_log_partition(rbm, total=total_of(visible_units))
        assert found.value == pytest.approx(expected, abs=2e-6)
        assert (found.standard_error, found.method, found.n_runs) == (0.0, "exact", 0)


@pytest.mark.parametrize("total", [0, 1, 7])
def test_exact_log_partition_of_documents_depends_on_their_length(total):
    rbm = small_rbm(0, "replicated_softmax")
    assert likelihood.exact_log_partition(rbm, total=total).value == pytest.approx(exact_log_partition(rbm, total))


def test_exact_log_partition_is_of_all_words_in_order():
    # One by one: documents as sequences of words, of which counts are what is left without their order.
    rbm = small_rbm(1, "replicated_softmax")
    words = np.array(list(np.ndindex(3, 3, 3)))
    counts = np.array([np.bincount(document, minlength=3) for document in words]).astype(float)
    weight, b, c = (p.detach().numpy() for p in (rbm.weight, rbm.visible_bias, rbm.hidden_bias))
    h = np.array(list(np.ndindex(2, 2))).astype(float)
    log_p = (counts @ b)[:, None] + 3 * h @ c + counts @ weight.T @ h.T
    assert likelihood.exact_log_partition(rbm, total=3).value == pytest.approx(logsumexp(log_p))


def test_exact_log_partition_is_computed_in_double_precision_and_leaves_the_rbm_alone(seed):
    rbm = small_rbm(seed, dtype=torch.float32)
    before = copy.deepcopy(rbm.state_dict())
    double = copy.deepcopy(rbm).double()
    assert likelihood.exact_log_partition(rbm).value == pytest.approx(exact_log_partition(double), abs=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in rbm.state_dict().items())
    assert rbm.weight.dtype == torch.float32
    assert rbm.weight.requires_grad


def test_exact_log_partition_of_many_chunks():
    # Without weights the units are independent: 2^15 states of one layer, 2^40 of the other.
    rbm = RBM(15, 40)
    b, c = np.linspace(-1, 1, 15), np.linspace(-2, 1, 40)
    fill(rbm, visible_bias=b, hidden_bias=c)
    expected = np.logaddexp(0, b).sum() + np.logaddexp(0, c).sum()
    assert likelihood.exact_log_partition(rbm).value == pytest.approx(expected, rel=1e-6)


def test_layers_that_are_too_large_or_cannot_be_counted():
    with pytest.raises(
        SettingsError, match=r"at most 2\^24 states; this RBM has 1.07e\+09 visible and 6.71e\+07 hid"
    ):
        likelihood.exact_log_partition(RBM(30, 26))
    rbm = RBM(3, 2, visible_units="gaussian", hidden_units="gaussian")
    with pytest.raises(SettingsError, match="infinitely many visible and infinitely many hidden ones"):
        likelihood.exact_log_partition(rbm)
    rbm = small_rbm(0, "replicated_softmax")
    for function, options in (
        (likelihood.exact_log_partition, {}),
        (ais_log_partition, {"generator": generator_of(0), "n_temperatures": 9}),
    ):
        with pytest.raises(SettingsError, match="of replicated softmax units needs total, the words of a document"):
            function(rbm, **options)


# Annealing ---


def test_annealing_schedule():
    betas = annealing_schedule(14_500)
    assert (betas[0], betas[-1], len(betas)) == (0.0, 1.0, 14_501)
    assert betas[500] == pytest.approx(0.5)
    assert betas[4_500] == pytest.approx(0.9)
    steps = np.diff(betas)
    np.testing.assert_allclose(steps[:500], 0.5 / 500)
    np.testing.assert_allclose(steps[500:4_500], 0.4 / 4_000)
    np.testing.assert_allclose(steps[4_500:], 0.1 / 10_000)
    assert annealing_schedule(3) == pytest.approx([0.0, 0.5, 0.9, 0.95, 1.0])
    with pytest.raises(SettingsError, match="n_temperatures of annealing must be an integer >= 3; got 2"):
        annealing_schedule(2)


@pytest.mark.parametrize(("visible_units", "hidden_units"), ANNEALED)
@pytest.mark.parametrize("from_data", [False, True])
@torch.no_grad()
def test_the_path_goes_from_independent_units_to_the_rbm(visible_units, hidden_units, from_data, seed):
    rbm = small_rbm(seed, visible_units, hidden_units)
    states, log_weight = visible_states(rbm)
    base_mean = torch.from_numpy(exact_model(rbm)[1] @ states) if from_data else None
    path = AnnealingPath(rbm, base_mean, total_of(visible_units), generator_of(0))
    tensor = torch.from_numpy(states)
    # The whole ratio leads from the independent units, of known normaliser, to exp(-F).
    log_base = -rbm.free_energy(tensor).detach() - path.log_ratio(tensor, 1.0, 0.0).detach()
    assert logsumexp(log_base.numpy() + log_weight) == pytest.approx(path.base_log_partition, abs=2e-6)
    # Ratios add up along the path.
    parts = path.log_ratio(tensor, 0.3, 0.0) + path.log_ratio(tensor, 1.0, 0.3)
    torch.testing.assert_close(parts, path.log_ratio(tensor, 1.0, 0.0))
    if from_data:
        p = np.exp(log_base.numpy() + log_weight - path.base_log_partition)
        tolerance = 0.011 if "noisy_relu" in visible_units else 2e-3  # whose biases are softplus inverted
        np.testing.assert_allclose(p @ states, base_mean, atol=tolerance)


@pytest.mark.parametrize(("visible_units", "hidden_units"), ANNEALED)
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
@torch.no_grad()
def test_steps_leave_every_distribution_of_the_path_unchanged(visible_units, hidden_units, beta):
    rbm = small_rbm(1, visible_units, hidden_units)
    states, log_weight = visible_states(rbm)
    base_mean = torch.from_numpy(exact_model(rbm)[1] @ states)
    path = AnnealingPath(rbm.float(), base_mean, total_of(visible_units), generator_of(3))
    log_ratio = path.log_ratio(torch.from_numpy(states).float(), 1.0, beta).numpy()
    log_p = -exact_free_energy(rbm, states) + log_weight - log_ratio
    p, n = np.exp(log_p - logsumexp(log_p)), 20_000
    v = torch.from_numpy(states[np.random.default_rng(0).choice(len(p), size=n, p=p)]).float()
    after = path.step(v, beta).double().numpy()
    first = path.base_samples(n).double().numpy() if beta == 0 else after
    for rows in (after, first):
        of_model, of_chain = [np.hstack([x, x**2, x[:, :1] * x[:, 1:]]) for x in (states, rows)]
        expected = p @ of_model
        spread = np.sqrt(np.maximum(p @ of_model**2 - expected**2, 0))
        assert (np.abs(of_chain.mean(axis=0) - expected) < 5 * spread / np.sqrt(n) + 1e-4).all()


@pytest.mark.parametrize(("visible_units", "hidden_units"), ANNEALED)
def test_annealing_finds_the_partition_function_from_both_sides(visible_units, hidden_units, seed):
    rbm = small_rbm(seed, visible_units, hidden_units, dtype=torch.float32)
    expected = exact_log_partition(rbm)
    states, p = exact_model(rbm)
    base_mean = torch.from_numpy(p @ states) if seed else None
    options = {"base_mean": base_mean, "n_temperatures": 150}
    before = global_state()
    forward = ais_log_partition(
        rbm, generator=generator_of(seed), n_runs=200, total=total_of(visible_units), **options
    )
    start = torch.from_numpy(states[np.random.default_rng(seed).choice(len(p), size=200, p=p)]).float()
    kept = start.clone()
    backward = reverse_ais_log_partition(rbm, start, generator=generator_of(seed), n_burn_in=3, **options)
    assert global_state() == before
    assert torch.equal(start, kept)  # the chains or the rows that are given go on as they were
    for found, method in ((forward, "ais"), (backward, "reverse_ais")):
        assert (found.method, found.n_runs) == (method, 200)
        assert 0 < found.standard_error < 0.1
        assert abs(found.value - expected) < 4 * found.standard_error + 1e-3


def test_annealing_without_weights_is_exact_at_once(seed):
    # Every run then has the same weight, whatever it visits.
    rbm = small_rbm(seed, "bernoulli", "spin", dtype=torch.float32)
    fill(rbm, weight=np.zeros((2, 3)))
    found = ais_log_partition(rbm, generator=generator_of(seed), n_runs=5, n_temperatures=20)
    assert found.value == pytest.approx(exact_log_partition(rbm), abs=1e-5)
    assert found.standard_error == pytest.approx(0, abs=1e-5)
    single = ais_log_partition(rbm, generator=generator_of(seed), n_runs=1, n_temperatures=20)
    assert (single.standard_error, single.n_runs) == (0.0, 1)


def test_annealing_is_determined_by_its_generator():
    rbm = small_rbm(0, dtype=torch.float32)
    values = [
        ais_log_partition(rbm, generator=generator_of(seed), n_runs=5, n_temperatures=30).value for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]
    start = torch.ones(4, 3)
    values = [
        reverse_ais_log_partition(rbm, start, generator=generator_of(seed), n_burn_in=2, n_temperatures=30).value
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


def test_the_estimate_and_its_error_by_hand():
    log_weights = torch.tensor([0.0, 1.0, -1.0, 0.5], dtype=torch.float64)
    found = importance_sampling._estimate(10.0, log_weights, "ais")
    weights = np.exp(log_weights.numpy())
    assert found.value == pytest.approx(10 + np.log(weights.mean()))
    assert found.standard_error == pytest.approx(weights.std(ddof=1) / weights.mean() / 2)
    far = importance_sampling._estimate(0.0, log_weights - 5000, "ais")  # weights that no float holds
    assert far.value == pytest.approx(np.log(weights.mean()) - 5000)
    assert far.standard_error == pytest.approx(found.standard_error)


# Likelihoods ---


@pytest.mark.parametrize(
    ("visible_units", "hidden_units"),
    [
        ("bernoulli", "bernoulli"),
        ("spin", "gaussian"),
        ("gaussian:2", "bernoulli"),
        ("gaussian_learned:2", "softmax:3"),
        ("replicated_softmax", "bernoulli"),
        ("bernoulli:1+gaussian:1+softmax:2", "spin"),
    ],
)
def test_log_likelihood(visible_units, hidden_units, seed):
    rbm = small_rbm(seed, visible_units, hidden_units)
    v = some_states(visible_units, rbm.n_visible, 7, seed)
    log_z = likelihood.exact_log_partition(rbm, total=total_of(visible_units))
    found = log_likelihood(rbm, torch.from_numpy(v), log_z)
    each = [-exact_nll(rbm, row[None]) for row in v]
    assert found.mean == pytest.approx(np.mean(each), abs=2e-6)
    assert found.spread == pytest.approx(np.std(each, ddof=1), abs=2e-6)
    assert found.standard_error == pytest.approx(np.std(each, ddof=1) / np.sqrt(7), abs=2e-6)
    unsure = log_likelihood(rbm, torch.from_numpy(v), LogPartition(log_z.value, 0.5, "ais", 9))
    assert unsure.mean == found.mean
    assert unsure.standard_error == pytest.approx(np.hypot(found.standard_error, 0.5))
    one = log_likelihood(rbm, torch.from_numpy(v[:1]), log_z)
    assert (one.spread, one.standard_error) == (0.0, 0.0)


def test_probabilities_of_all_states_sum_to_one(seed):
    for visible_units in ("bernoulli", "spin", "softmax:2+softmax:3", "replicated_softmax"):
        rbm = small_rbm(seed, visible_units)
        states, _ = visible_states(rbm)
        log_z = likelihood.exact_log_partition(rbm, total=total_of(visible_units))
        each = [log_likelihood(rbm, torch.from_numpy(row[None]), log_z).mean for row in states]
        assert np.exp(each).sum() == pytest.approx(1)


# Pseudo-likelihoods ---


def conditionals_of_sites(rbm, v):
    """log p(v_i | the others) of every unit or group, by enumerating joint states: (n, n_sites)."""
    states, p = exact_model(rbm)
    columns, start = [], 0
    for name, width in groups_of(rbm.visible_units.name, rbm.n_visible):
        widths = [width] if name == "softmax" else [1] * width
        for w in widths:
            columns.append(range(start, start + w))
            start += w
    log_p = np.empty((len(v), len(columns)))
    for i, row in enumerate(v):
        for k, site in enumerate(columns):
            others = [c for c in range(rbm.n_visible) if c not in site]
            agree = (states[:, others] == row[others]).all(axis=1)
            log_p[i, k] = np.log(p[(states == row).all(axis=1)].sum() / p[agree].sum())
    return log_p


@pytest.mark.parametrize("visible_units", SITED)
@pytest.mark.parametrize("hidden_units", ["bernoulli", "gaussian", "spin", "softmax:3", "noisy_relu:1+bernoulli:2"])
def test_pseudo_likelihood(visible_units, hidden_units, seed):
    rbm = small_rbm(seed, visible_units, hidden_units)
    v = some_states(visible_units, rbm.n_visible, 6, seed)
    expected = conditionals_of_sites(rbm, v).sum(axis=1)
    for n_sites in (None, 99):
        found = pseudo_log_likelihood(rbm, torch.from_numpy(v), n_sites=n_sites)
        assert not found.requires_grad
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("visible_units", ["bernoulli", "spin:1+softmax:2+bernoulli:1+softmax:3"])
@pytest.mark.parametrize("n_sites", [1, 2])
def test_stochastic_pseudo_likelihood_is_right_on_average(visible_units, n_sites, seed):
    rbm = small_rbm(seed, visible_units)
    v = some_states(visible_units, rbm.n_visible, 6, seed)
    each = conditionals_of_sites(rbm, v)
    generator, n = generator_of(seed), 400
    before = global_state()
    draws = torch.stack(
        [pseudo_log_likelihood(rbm, torch.from_numpy(v), n_sites=n_sites, generator=generator) for _ in range(n)]
    ).numpy()
    assert global_state() == before
    spread = draws.std(axis=0)
    assert (np.abs(draws.mean(axis=0) - each.sum(axis=1)) < 5 * spread / np.sqrt(n) + 1e-9).all()
    if n_sites == 1:  # one feature for all rows, which stands for all of them
        n_features = each.shape[1]
        assert all(np.isclose(draw, n_features * each.T).all(axis=1).any() for draw in draws)
        # Every feature is drawn, about equally often.
        chosen = [int(np.isclose(draw, n_features * each.T).all(axis=1).argmax()) for draw in draws]
        counts = np.bincount(chosen, minlength=n_features)
        assert (np.abs(counts - n / n_features) < 5 * np.sqrt(n / n_features)).all()


def test_grey_values_count_as_probabilities_of_the_states(seed):
    rbm = small_rbm(seed)
    v = np.random.default_rng(seed).random((5, 3))
    expected = np.zeros(5)
    h = np.array(list(np.ndindex(2, 2))).astype(float)
    for k in range(3):
        on, off = v.copy(), v.copy()
        on[:, k], off[:, k] = 1.0, 0.0
        f_on, f_off = (-logsumexp(-joint_energy(rbm, x, h), axis=1) for x in (on, off))
        log_on, log_off = -np.logaddexp(0, f_on - f_off), -np.logaddexp(0, f_off - f_on)
        expected += v[:, k] * log_on + (1 - v[:, k]) * log_off
    np.testing.assert_allclose(pseudo_log_likelihood(rbm, torch.from_numpy(v), n_sites=None), expected)


def test_pseudo_likelihood_is_determined_by_its_generator():
    rbm = RBM(50, 7, generator=generator_of(0))
    v = torch.from_numpy(some_states("bernoulli", 50, 4, 0)).float()
    values = [pseudo_log_likelihood(rbm, v, generator=generator_of(seed)) for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    with pytest.raises(
        SettingsError, match="pseudo_log_likelihood needs a generator for a number of sites below all"
    ):
        pseudo_log_likelihood(rbm, v)


@pytest.mark.parametrize("name", [*UNCOUNTED, "replicated_softmax", "bernoulli:2+gaussian:1"])
def test_pseudo_likelihood_where_it_is_not_defined(name):
    rbm = RBM(3, 2, visible_units=name)
    with pytest.raises(SettingsError, match=r"units cannot be listed; bernoulli, spin and softmax units can"):
        pseudo_log_likelihood(rbm, torch.ones(2, 3), n_sites=None)
