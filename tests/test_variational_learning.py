"""The learning rule of a deep Boltzmann machine: one update against its formulas, what it estimates, the loop."""

import copy
import itertools

import numpy as np
import pytest
import torch
from dbm_oracles import (
    EVERY_SIZE,
    SIZES,
    arrays_of,
    bound_of_means,
    exact_log_partition,
    hidden_input,
    mean_field_by_hand,
    rows_of,
    small_dbm,
)
from linear_problem import same, weights_of, without_times
from oracles import binary_states, finite_difference
from scipy.special import expit

from pretrain import DBM
from pretrain.batches import Batch, BatchSource
from pretrain.dbm_settings import DBMSettings
from pretrain.random_streams import BernoulliSampler
from pretrain.settings import TrainingSettings
from pretrain.training import TrainingRun
from pretrain.variational_learning import VariationalLearning


def learner_of(dbm, seed, *, dtype=torch.float32, **settings):
    settings = {"n_chains": 13, "mean_field_tol": 0.0, "centered": False, **settings}
    return VariationalLearning(
        dbm, DBMSettings(**settings), generator=torch.Generator().manual_seed(seed), dtype=dtype
    )


class ByHand:
    """Updates in float64 NumPy, with the draws of the generator in the order in which they are due."""

    def __init__(self, dbm, seed):
        self.dbm, self.chains, self.offsets = dbm, None, None
        self.sampler = BernoulliSampler(torch.Generator().manual_seed(seed))

    def draw(self, p):
        return self.sampler.sample(torch.from_numpy(p).float(), torch.empty(p.shape)).numpy().astype(float)

    def draw_visible(self, total_input):
        out = torch.from_numpy(total_input).float()
        out = self.dbm.visible_units.sample_(out, torch.empty_like(out), sampler=self.sampler)
        return out.numpy().astype(float)

    def update(self, x, *, n_chains, n_gibbs, n_mean_field, binarize, centered=False, weight=None):
        """Gradients of weights and of biases, the visible ones first."""
        weights, biases = arrays_of(self.dbm)
        weight = np.ones(len(x)) if weight is None else weight
        v = self.draw(x) if binarize else x
        data = mean_field_by_hand(self.dbm, v, n_mean_field)
        if self.chains is None:
            first = np.arange(n_chains) % len(x)
            self.chains = [v[first], *(self.draw(mean[first]) for mean in data[1:])]
        chains = self.chains
        for _ in range(n_gibbs):
            for k in [*range(1, len(chains), 2), *range(0, len(chains), 2)]:
                if k == 0:
                    chains[0] = self.draw_visible(chains[1] @ weights[0] + biases[0])
                else:
                    chains[k] = self.draw(expit(hidden_input(self.dbm, chains, k)))
        model = list(chains)
        for k in range(0, len(chains), 2):
            model[k] = (
                expit(hidden_input(self.dbm, chains, k)) if k else self.visible_mean(chains[1], weights, biases)
            )
        counts = weight.mean()
        seen = [(mean * weight[:, None]).mean(axis=0) for mean in data]
        products = [
            counts * model[k + 1].T @ model[k] / n_chains - (data[k + 1] * weight[:, None]).T @ data[k] / len(x)
            for k in range(len(weights))
        ]
        changes = [counts * part.mean(axis=0) - mean for part, mean in zip(model, seen, strict=True)]
        return self.center(products, changes, [mean / counts for mean in seen]) if centered else (products, changes)

    def center(self, products, changes, means):
        """The plain gradients turned into centred ones: <(s - o)(t - p)> = <s t> - <s> p - o <t> + o p, twice."""
        offsets = self.offsets or means
        self.offsets = o = [0.99 * old + 0.01 * mean for old, mean in zip(offsets, means, strict=True)]
        weights = [
            product - np.outer(changes[k + 1], o[k]) - np.outer(o[k + 1], changes[k])
            for k, product in enumerate(products)
        ]
        biases = [change.copy() for change in changes]
        for k, gradient in enumerate(weights):
            biases[k] -= o[k + 1] @ gradient
            biases[k + 1] -= gradient @ o[k]
        return weights, biases

    def visible_mean(self, h, weights, biases):
        total_input = h @ weights[0] + biases[0]
        return total_input if self.dbm.visible_units.name == "gaussian" else expit(total_input)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("data", ["bernoulli", "binarized", "gaussian"])
@pytest.mark.parametrize("sizes", EVERY_SIZE, ids=str)
def test_updates_equal_the_formulas(sizes, data, weighted, centered, seed):
    binarize, units = data == "binarized", "gaussian" if data == "gaussian" else "bernoulli"
    dbm = small_dbm(seed, sizes, visible_units=units, dtype=torch.float32)
    by_hand = ByHand(dbm, seed)
    learner = learner_of(dbm, seed, n_gibbs_steps=3, n_mean_field_steps=4, binarize=binarize, centered=centered)
    for n in (11, 11, 5):
        rows = rows_of(seed + n, n, sizes[0], visible_units=units)
        weight = np.linspace(0, 2.2, n) if weighted else None
        products, means = by_hand.update(
            rows.numpy().astype(float),
            n_chains=13,
            n_gibbs=3,
            n_mean_field=4,
            binarize=binarize,
            centered=centered,
            weight=weight,
        )
        learner.fill_gradients(Batch(rows, None, None if weight is None else torch.from_numpy(weight).float()))
        for found, expected in zip(dbm.weights, products, strict=True):
            np.testing.assert_allclose(found.grad, expected, atol=5e-6)
        for found, expected in zip(dbm.biases(), means, strict=True):
            np.testing.assert_allclose(found.grad, expected, atol=5e-6)


def test_the_loss_is_the_squared_error_of_the_data_given_the_first_hidden_layer(seed):
    dbm = small_dbm(seed, dtype=torch.float32)
    rows = rows_of(seed, 11)
    means = mean_field_by_hand(dbm, rows.numpy().astype(float), 10)
    weights, biases = arrays_of(dbm)
    errors = ((expit(means[1] @ weights[0] + biases[0]) - rows.numpy()) ** 2).sum(axis=1)
    assert learner_of(dbm, seed).fill_gradients(Batch(rows)).item() == pytest.approx(errors.mean(), rel=1e-5)
    weight = torch.linspace(0, 2, 11)
    loss = learner_of(dbm, seed).fill_gradients(Batch(rows, None, weight))
    assert loss.item() == pytest.approx(errors @ weight.numpy() / 11, rel=1e-5)


@pytest.mark.parametrize("sizes", [(4, 3), (4, 3, 2)], ids=str)
def test_gradients_estimate_those_of_the_bound(sizes, seed):
    dbm = small_dbm(seed, sizes)
    v = binary_states(sizes[0])[[3, 9, 14, 2, 0]]

    def minus_bound():
        return exact_log_partition(dbm) - bound_of_means(dbm, mean_field_by_hand(dbm, v, 300)).mean()

    expected = {name: finite_difference(minus_bound, parameter) for name, parameter in dbm.named_parameters()}
    single = small_dbm(seed, sizes, dtype=torch.float32)
    learner = learner_of(single, seed, n_chains=20_000, n_gibbs_steps=20, n_mean_field_steps=300)
    found, repeats = {name: np.zeros_like(value) for name, value in expected.items()}, 10
    for _ in range(repeats + 1):
        learner.fill_gradients(Batch(torch.from_numpy(v).float()))
        settled = learner._batches > 1  # the first chains have not forgotten the rows
        for name, parameter in single.named_parameters():
            found[name] += settled * parameter.grad.numpy() / repeats
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, atol=0.01, err_msg=name)


def test_mean_field_stops_when_nothing_changes(seed):
    rows = rows_of(seed, 11)
    learners = [
        learner_of(small_dbm(seed, dtype=torch.float32), seed, mean_field_tol=tol, n_mean_field_steps=400)
        for tol in (1e-4, 0.0)
    ]
    for learner in learners:
        learner.begin_epoch(0, 1)
        learner.fill_gradients(Batch(rows))
        learner.fill_gradients(Batch(rows))
    stopped, whole = (learner.metrics()["mean_field_steps"] for learner in learners)
    assert 1 < stopped < 100
    assert whole == 400
    for one, other in zip(*(learner.module.parameters() for learner in learners), strict=True):
        np.testing.assert_allclose(one.grad, other.grad, atol=2e-3)


# The loop ---


def run_of(
    seed,
    *,
    sizes=SIZES,
    visible_units="bernoulli",
    binarize=False,
    centered=True,
    dtype=torch.float32,
    progress=None,
    **more,
):
    training = TrainingSettings(epochs=4, batch_size=7, learning_rate=0.05, initial_momentum=0.5, **more)
    learner = learner_of(
        small_dbm(seed, sizes, visible_units=visible_units, dtype=torch.float32),
        seed,
        dtype=dtype,
        n_chains=5,
        binarize=binarize,
        centered=centered,
        mean_field_tol=1e-3,
    )
    source = BatchSource(
        rows_of(99, 23, sizes[0], visible_units=visible_units),
        batch_size=7,
        generator=torch.Generator().manual_seed(seed + 1),
        device=torch.device("cpu"),
    )
    return TrainingRun(learner, source, training, stage="joint", progress_seconds=progress)


RUNS = [
    {},
    {"binarize": True, "optimizer": "adam", "schedule": "cosine"},
    {"sizes": (4, 3), "dtype": torch.bfloat16},
    {"centered": False},
    {"sizes": (3, 2, 4, 2), "weight_decay": 0.1, "visible_units": "gaussian"},
]


@pytest.mark.parametrize("options", RUNS, ids=str)
@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_interrupted_and_resumed_equals_uninterrupted(options, stop_after, seed):
    whole = run_of(seed, **options)
    before = weights_of(whole)
    assert all(1 <= record["mean_field_steps"] <= 10 for record in whole)
    first = run_of(seed, progress=0.0, **options)
    for _ in itertools.islice(first, stop_after):
        pass
    resumed = run_of(seed + 17, **options)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    list(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert without_times(whole.history) == without_times(resumed.history)
    assert all(not torch.equal(before[name], value) for name, value in weights_of(whole).items())


def test_chains_start_at_the_rows_of_the_first_batch_in_turn(seed):
    learner = learner_of(small_dbm(seed, dtype=torch.float32), seed, n_chains=7)
    rows = rows_of(seed, 3)
    means = [rows, *(torch.full((3, n), 0.5) for n in learner.module.hidden_layer_sizes)]
    chains = learner._started(means)
    assert torch.equal(chains[0], rows[[0, 1, 2, 0, 1, 2, 0]])
    assert all(set(part.unique().tolist()) == {0.0, 1.0} for part in chains[1:])


def test_the_state_that_was_loaded_stays_as_it_was(seed):
    learner, other = (learner_of(small_dbm(seed, dtype=torch.float32), seed, centered=True) for _ in range(2))
    learner.fill_gradients(Batch(rows_of(seed, 11)))
    state = learner.state_dict()
    kept = copy.deepcopy(state)
    other.load_state_dict(state)
    other.fill_gradients(Batch(rows_of(seed, 11)))
    for name in ("chains", "offsets"):
        assert all(torch.equal(a, b) for a, b in zip(state[name], kept[name], strict=True))


def test_bfloat16_is_near_float32(seed):
    exact, rough = (small_dbm(seed, dtype=torch.float32) for _ in range(2))
    rows = rows_of(seed, 5000)
    learner_of(exact, seed, n_chains=5000).fill_gradients(Batch(rows))
    learner_of(rough, seed, n_chains=5000, dtype=torch.bfloat16).fill_gradients(Batch(rows))
    for one, other in zip(exact.parameters(), rough.parameters(), strict=True):
        assert other.grad.dtype == torch.float32
        np.testing.assert_allclose(one.grad, other.grad, atol=0.03)


@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_full_batches_allocate_nothing_of_their_size(tol, seed):
    learner = learner_of(DBM(101, (53, 61)), seed, n_chains=1000, mean_field_tol=tol, centered=True)
    batch = Batch(torch.rand(1000, 101))
    learner.fill_gradients(batch)
    with torch.profiler.profile(profile_memory=True) as profile:
        learner.fill_gradients(batch)
    assert max(event.self_cpu_memory_usage for event in profile.events()) < 1000 * 53 * 4
