"""Up-down against its formulas, drawn by hand, and against the gradients of what it estimates."""

import copy
import itertools

import numpy as np
import pytest
import torch
from deep_oracles import CLASSES, binary, parameters_of, small_dbn
from linear_problem import same, weights_of, without_times
from oracles import arrays_of, small_rbm
from scipy.special import expit, softmax

from pretrain.associative_memory import MemoryRule, label_scores
from pretrain.batches import Batch, BatchSource
from pretrain.contrastive import ContrastiveDivergence
from pretrain.dbn import DBN
from pretrain.exceptions import SettingsError
from pretrain.random_streams import BernoulliSampler
from pretrain.rbm import RBM
from pretrain.settings import RBMSettings, TrainingSettings
from pretrain.stack import Stack
from pretrain.training import TrainingRun
from pretrain.up_down import UpDown
from pretrain.up_down_settings import UpDownSettings

SIZES = (5, 3, 2)
LAYER = ("recognition_weight", "recognition_bias", "generative_weight", "generative_bias")
MEMORY = ("weight", "visible_bias", "hidden_bias")


def learner_of(dbn, seed, *, steps=1, unlabelled=False, dtype=torch.float32, **settings):
    learner = UpDown(
        dbn,
        UpDownSettings(n_gibbs_steps=(steps,), **settings),
        generator=torch.Generator().manual_seed(seed),
        dtype=dtype,
        unlabelled=unlabelled,
    )
    learner.begin_epoch(0, 1)
    return learner


def rows_of(seed, n, *, data_units="bernoulli"):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)) if data_units == "gaussian" else rng.random((n, 5))
    return torch.from_numpy(X).float(), torch.from_numpy(rng.integers(3, size=n))


class ByHand:
    """One update in float64 NumPy, with the draws of the generator in the order in which they are due."""

    def __init__(self, dbn, seed):
        self.dbn, self.sampler = dbn, BernoulliSampler(torch.Generator().manual_seed(seed))
        self.parameters = [parameters_of(layer) for layer in dbn.layers]

    def draw(self, p):
        return self.sampler.sample(torch.from_numpy(p).float(), torch.empty(p.shape)).numpy().astype(float)

    def draw_visible(self, total_input):
        """Codes, then labels: an inversion of the cumulative softmax."""
        n = self.dbn.n_codes
        codes = self.draw(expit(total_input[:, :n]))
        if not self.dbn.n_classes:
            return codes
        p = softmax(total_input[:, n:], axis=1)
        uniform = torch.rand(len(p), 1, 1, generator=self.sampler.generator).numpy()[:, 0]
        return np.hstack([codes, np.eye(p.shape[1])[(p.cumsum(axis=1) <= uniform).sum(axis=1)]])

    def update(self, x, y, steps, *, binarize=False, weight=None):
        """Gradients of every layer, R, r, G, g, and of the memory, W, b, c."""
        weight = np.ones(len(x)) if weight is None else weight
        states, gradients = [self.draw(x) if binarize else x], []
        for R, r, _, _ in self.parameters:
            states.append(self.draw(expit(states[-1] @ R.T + r)))
        for k, (_, _, G, g) in enumerate(self.parameters):
            mean = states[k + 1] @ G.T + g
            mean = mean if k == 0 and self.gaussian else expit(mean)
            gradients.append(self.means(mean - states[k], states[k + 1], weight))
        memory, chain = self.update_memory(states[-1], y, steps, weight)
        above = chain
        for k, (R, r, G, g) in reversed(list(enumerate(self.parameters))):
            total_input = above @ G.T + g
            mean = total_input if k == 0 and self.gaussian else expit(total_input)
            fantasy = self.draw(mean) if k > 0 or binarize else mean
            gradients[k] = (*self.means(expit(fantasy @ R.T + r) - above, fantasy, weight), *gradients[k])
            above = fantasy
        return gradients, memory

    def update_memory(self, codes, y, steps, weight):
        W, b, c = arrays_of(self.dbn.memory)
        v = np.hstack([codes, np.eye(self.dbn.n_classes)[y]]) if self.dbn.n_classes else codes
        h = expit(v @ W.T + c)
        hidden, chain = self.draw(h), v
        for step in range(steps):
            chain = self.draw_visible(hidden @ W + b)
            chain_h = expit(chain @ W.T + c)
            hidden = self.draw(chain_h) if step < steps - 1 else hidden
        dW = self.means(chain_h, chain, weight)[0] - self.means(h, v, weight)[0]
        return (dW, weight @ (chain - v) / len(v), weight @ (chain_h - h) / len(v)), chain[:, : self.dbn.n_codes]

    def means(self, difference, inputs, weight):
        difference = difference * weight[:, None]
        return difference.T @ inputs / len(inputs), difference.mean(axis=0)

    @property
    def gaussian(self):
        return self.dbn.layers[0].visible_units.name == "gaussian"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("data_units", ["bernoulli", "binarized", "gaussian"])
@pytest.mark.parametrize(("sizes", "classes"), [(SIZES, CLASSES), (SIZES, None), ((5, 3), CLASSES)], ids=str)
def test_one_update_equals_the_formulas(sizes, classes, data_units, weighted, seed):
    binarize, units = data_units == "binarized", "gaussian" if data_units == "gaussian" else "bernoulli"
    dbn = small_dbn(seed, sizes, classes=classes, data_units=units, dtype=torch.float32)
    X, y = rows_of(seed, 11, data_units=units)
    weight = np.linspace(0, 2, 11) if weighted else None
    expected, memory = ByHand(dbn, seed).update(X.numpy().astype(float), y, 3, binarize=binarize, weight=weight)
    learner = learner_of(dbn, seed, steps=3, binarize=binarize)
    learner.fill_gradients(Batch(X, y, None if weight is None else torch.from_numpy(weight).float()))
    for layer, gradients in zip(dbn.layers, expected, strict=True):
        for name, gradient in zip(LAYER, gradients, strict=True):
            np.testing.assert_allclose(getattr(layer, name).grad, gradient, atol=5e-6, err_msg=name)
    for name, gradient in zip(MEMORY, memory, strict=True):
        np.testing.assert_allclose(getattr(dbn.memory, name).grad, gradient, atol=5e-6, err_msg=name)


def test_the_loss_is_the_squared_error_of_the_data_given_the_layer_above(seed):
    dbn = small_dbn(seed, SIZES, dtype=torch.float32)
    X, y = rows_of(seed, 11)
    R, r, G, g = parameters_of(dbn.layers[0])
    states = ByHand(dbn, seed).draw(expit(X.numpy() @ R.T + r))
    errors = ((expit(states @ G.T + g) - X.numpy()) ** 2).sum(axis=1)
    assert learner_of(dbn, seed).fill_gradients(Batch(X, y)).item() == pytest.approx(errors.mean(), rel=1e-5)
    weight = torch.linspace(0, 2, 11)
    loss = learner_of(dbn, seed).fill_gradients(Batch(X, y, weight))
    assert loss.item() == pytest.approx((errors @ weight.numpy()) / 11, rel=1e-5)


# What the gradients are estimates of ---


def objectives(dbn, X, y):
    """What waking and sleep descend, differentiable: -E_q[log p(x, h, y)] and -E_p[log q(h | x)], exactly."""
    (one, two), memory = dbn.layers, dbn.memory
    h1, h2 = (torch.from_numpy(binary(n)) for n in SIZES[1:])

    def log_bernoulli(states, total_input):  # of every state at every total input: (n_inputs, n_states)
        return states @ total_input.T - torch.nn.functional.softplus(total_input).sum(dim=1)

    def pairs(codes, labels):
        return torch.cat([codes.repeat_interleave(len(labels), 0), labels.repeat(len(codes), 1)], dim=1)

    def score(v):
        return v @ memory.visible_bias + torch.nn.functional.softplus(v @ memory.weight.T + memory.hidden_bias).sum(
            dim=1
        )

    labels = torch.eye(3, dtype=torch.float64)
    log_memory = (score(pairs(h2, labels)) - score(pairs(h2, labels)).logsumexp(0)).view(len(h2), 3)

    def up(layer, v, h):  # log q(h | v): (n_v, n_h)
        return log_bernoulli(h, v @ layer.recognition_weight.T + layer.recognition_bias).T

    def down(layer, v, h):  # log p(v | h): (n_v, n_h)
        return log_bernoulli(v, h @ layer.generative_weight.T + layer.generative_bias)

    q1, q2 = up(one, X, h1), up(two, h1, h2)
    q = (q1[:, :, None] + q2[None]).exp().detach()
    log_p = down(one, X, h1)[:, :, None] + down(two, h1, h2)[None] + log_memory[:, y].T[:, None]
    states = torch.from_numpy(binary(5))
    joint = down(one, states, h1)[:, :, None] + down(two, h1, h2)[None] + log_memory.logsumexp(1)
    log_q = up(one, states, h1)[:, :, None] + up(two, h1, h2)[None]
    wake = -(q * log_p).sum(dim=(1, 2)).mean()
    sleep = -(joint.exp().detach() * log_q).sum()
    return wake, sleep


def test_gradients_estimate_those_of_waking_and_of_sleep(seed):
    dbn = small_dbn(seed, SIZES)
    X = torch.from_numpy(binary(5))[[3, 9, 30, 17, 22, 0, 5]]
    y = torch.tensor([0, 1, 2, 0, 0, 1, 2])
    wake, sleep = objectives(dbn, X, y)
    (wake + sleep).backward()
    expected = {name: parameter.grad.clone() for name, parameter in dbn.named_parameters()}
    found = {name: torch.zeros_like(gradient) for name, gradient in expected.items()}
    single = small_dbn(seed, SIZES, dtype=torch.float32)
    repeats = 20
    learner = learner_of(single, seed, steps=40, binarize=True)
    for _ in range(repeats):
        learner.fill_gradients(Batch(X.float().repeat(1000, 1), y.repeat(1000)))
        for name, parameter in single.named_parameters():
            found[name] += parameter.grad / repeats
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, atol=0.01, err_msg=name)


def test_a_net_of_one_layer_learns_by_contrastive_divergence(seed):
    dbn = small_dbn(seed, (4,), classes=None, dtype=torch.float32)
    rbm = copy.deepcopy(dbn.memory)
    X = torch.rand(11, 4, generator=torch.Generator().manual_seed(seed))
    settings = RBMSettings(n_gibbs_steps=3, sample_reconstruction=True)
    rule = ContrastiveDivergence(rbm, settings, generator=torch.Generator().manual_seed(seed))
    assert rule.fill_gradients(Batch(X)) == learner_of(dbn, seed, steps=3).fill_gradients(Batch(X))
    for name in MEMORY:
        assert torch.equal(getattr(rbm, name).grad, getattr(dbn.memory, name).grad)


# Rows without labels ---


def memory_rule(seed, *, unlabelled=True):
    memory = small_rbm(seed, "bernoulli:3+softmax:3", "bernoulli:5", dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    return MemoryRule(memory, RBMSettings(), n_classes=3, unlabelled=unlabelled, generator=generator)


def test_missing_labels_are_drawn_from_their_posterior(seed):
    rule = memory_rule(seed)
    codes = torch.rand(1, 3, generator=torch.Generator().manual_seed(seed)).repeat(20_000, 1)
    rows = rule._join(Batch(codes, torch.full((20_000,), -1)))
    posterior = torch.softmax(label_scores(rule.module, codes[:1]), dim=1)[0].detach()
    assert torch.equal(rows[:, :3], codes)
    assert (rows[:, 3:].sum(dim=1) == 1).all()
    np.testing.assert_allclose(rows[:, 3:].mean(dim=0), posterior, atol=0.015)


def test_rows_without_labels_train_everything_but_the_labels(seed):
    codes = torch.rand(11, 3, generator=torch.Generator().manual_seed(seed))
    nothing = memory_rule(seed)
    nothing.fill_gradients(Batch(codes, torch.full((11,), -1)))
    memory = nothing.module
    for gradient in (memory.weight.grad[:, 3:], memory.visible_bias.grad[3:]):
        assert torch.equal(gradient, torch.zeros_like(gradient))
    for gradient in (memory.weight.grad[:, :3], memory.visible_bias.grad[:3], memory.hidden_bias.grad):
        assert (gradient != 0).all()
    y = torch.arange(11) % 3
    every, known = (memory_rule(seed, unlabelled=unlabelled) for unlabelled in (True, False))
    for rule in (every, known):
        rule.fill_gradients(Batch(codes, y))
    assert torch.equal(every.module.weight.grad, known.module.weight.grad)
    assert (every.module.weight.grad[:, 3:] != 0).any()


# The loop ---


def run_of(
    seed, *, sizes=SIZES, classes=CLASSES, unlabelled=False, dtype=torch.float32, progress_seconds=None, **more
):
    training = TrainingSettings(epochs=4, batch_size=7, learning_rate=0.05, initial_momentum=0.5, **more)
    dbn = small_dbn(seed, sizes, classes=classes, dtype=torch.float32)
    X, y = rows_of(99, 23)
    y = y - 1 if unlabelled else y
    learner = UpDown(
        dbn,
        UpDownSettings(n_gibbs_steps=(1, 2), binarize=unlabelled),
        generator=torch.Generator().manual_seed(seed),
        dtype=dtype,
        unlabelled=unlabelled,
    )
    source = BatchSource(
        X[:, : sizes[0]],
        y if classes is not None else None,
        strata=y,
        batch_size=7,
        generator=torch.Generator().manual_seed(seed + 1),
        device=torch.device("cpu"),
    )
    return TrainingRun(learner, source, training, stage="up_down", progress_seconds=progress_seconds)


RUNS = [
    {},
    {"classes": None, "optimizer": "adam"},
    {"unlabelled": True, "schedule": "cosine"},
    {"sizes": (4,), "dtype": torch.bfloat16},
    {"sizes": (5, 3), "dtype": torch.bfloat16, "weight_decay": 0.1},
]


@pytest.mark.parametrize("options", RUNS, ids=str)
@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_interrupted_and_resumed_equals_uninterrupted(options, stop_after, seed):
    whole = run_of(seed, **options)
    before = weights_of(whole)
    assert [record["n_gibbs_steps"] for record in whole] == [1, 1, 2, 2]
    first = run_of(seed, progress_seconds=0.0, **options)
    for _ in itertools.islice(first, stop_after):
        pass
    resumed = run_of(seed + 17, **options)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    list(resumed)
    assert same(weights_of(whole), weights_of(resumed))
    assert without_times(whole.history) == without_times(resumed.history)
    assert all(not torch.equal(before[name], value) for name, value in weights_of(whole).items())


def test_bfloat16_is_near_float32(seed):
    exact, rough = (small_dbn(seed, SIZES, dtype=torch.float32) for _ in range(2))
    X, y = rows_of(seed, 5000)
    learner_of(exact, seed).fill_gradients(Batch(X, y))
    learner_of(rough, seed, dtype=torch.bfloat16).fill_gradients(Batch(X, y))
    for one, other in zip(exact.parameters(), rough.parameters(), strict=True):
        assert other.grad.dtype == torch.float32
        np.testing.assert_allclose(one.grad, other.grad, atol=0.03)


def test_full_batches_allocate_nothing_of_their_size(seed):
    dbn = DBN.from_stack(small_stack(seed))
    learner = learner_of(dbn, seed, steps=2)
    batch = Batch(torch.rand(1000, 101))
    learner.fill_gradients(batch)
    with torch.profiler.profile(profile_memory=True) as profile:
        learner.fill_gradients(batch)
    allocated = [event.self_cpu_memory_usage for event in profile.events()]
    assert max(allocated) < 1000 * 53 * 4


def small_stack(seed):
    generator = torch.Generator().manual_seed(seed)
    return Stack([RBM(101, 53, generator=generator), RBM(53, 61, generator=generator)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_gibbs_steps": ()}, "at least one number"),
        ({"n_gibbs_steps": (3, 0)}, "n_gibbs_steps of UpDownSettings must be an integer >= 1; got 0"),
        ({"n_gibbs_steps": 3}, "n_gibbs_steps of UpDownSettings must be a list"),
        ({"binarize": 1}, "binarize of UpDownSettings must be True or False"),
        ({"training": TrainingSettings(learning_rate="auto")}, "learning_rate of UpDownSettings must be a number"),
    ],
)
def test_illegal_settings_are_refused(options, words):
    with pytest.raises(SettingsError, match=words):
        UpDownSettings(**options)


def test_gibbs_steps_hold_for_equal_parts():
    settings = UpDownSettings(n_gibbs_steps=(3, 6, 10))
    assert [settings.gibbs_steps_at(epoch, 7) for epoch in range(7)] == [3, 3, 3, 6, 6, 10, 10]
    assert settings.gibbs_steps_at(0, 1) == 3
