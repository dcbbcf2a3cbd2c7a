"""Optimisers, momentum and schedules against their formulas."""

import math

import numpy as np
import pytest
import torch
from linear_problem import N_ROWS, LinearRegression, problem, run_of

from pretrain.exceptions import SettingsError
from pretrain.optimization import make_optimizer, make_scheduler, momentum_at
from pretrain.training_settings import OPTIMIZERS, TrainingSettings

RATE, MOMENTUM, DECAY = 0.01, 0.8, 0.3


class Momentum:
    def __init__(self, nesterov=False):
        self.velocity, self.nesterov = 0.0, nesterov

    def __call__(self, w, g, step, decayed):
        g = g + DECAY * w * decayed
        self.velocity = MOMENTUM * self.velocity + g
        return w - RATE * (g + MOMENTUM * self.velocity if self.nesterov else self.velocity)


class Adam:
    def __init__(self, decoupled=False):
        self.m, self.v, self.decoupled = 0.0, 0.0, decoupled

    def __call__(self, w, g, step, decayed):
        if self.decoupled:
            w = w * (1 - RATE * DECAY * decayed)
        else:
            g = g + DECAY * w * decayed
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        m, v = self.m / (1 - 0.9**step), self.v / (1 - 0.999**step)
        return w - RATE * m / (np.sqrt(v) + 1e-8)


class Adagrad:
    total = 0.0

    def __call__(self, w, g, step, decayed):
        g = g + DECAY * w * decayed
        self.total = self.total + g * g
        return w - RATE * g / (np.sqrt(self.total) + 1e-10)


class RMSprop:
    mean, velocity = 0.0, 0.0

    def __call__(self, w, g, step, decayed):
        g = g + DECAY * w * decayed
        self.mean = 0.99 * self.mean + 0.01 * g * g
        self.velocity = MOMENTUM * self.velocity + g / (np.sqrt(self.mean) + 1e-8)
        return w - RATE * self.velocity


FORMULAS = {
    "sgd": Momentum,
    "nesterov": lambda: Momentum(nesterov=True),
    "adam": Adam,
    "adamw": lambda: Adam(decoupled=True),
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
}


def by_hand(formula, seed, n_steps):
    """Full-batch steps in float64 on weights (decayed) and biases (not)."""
    X, y = (a.astype(float) for a in problem(seed))
    module = LinearRegression(seed).module
    W, c = (p.numpy(force=True).astype(float) for p in (module.weight, module.bias))
    update_weight, update_bias = formula(), formula()
    for step in range(1, n_steps + 1):
        error = 2 * (X @ W.T + c - y) / N_ROWS
        gradient = error.T @ X, error.sum(axis=0)
        W, c = update_weight(W, gradient[0], step, 1), update_bias(c, gradient[1], step, 0)
    return W, c


@pytest.mark.parametrize("name", FORMULAS)
def test_steps_equal_the_formula(name, seed):
    options = {"optimizer": "sgd", "nesterov": True} if name == "nesterov" else {"optimizer": name}
    run = run_of(
        seed, batch_size=N_ROWS, epochs=4, learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY, **options
    )
    list(run)
    W, c = by_hand(FORMULAS[name], seed, 4)
    np.testing.assert_allclose(run.learner.module.weight.detach(), W, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run.learner.module.bias.detach(), c, rtol=1e-4, atol=1e-5)


TORCHS_OWN = {
    "adadelta": torch.optim.Adadelta,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "asgd": torch.optim.ASGD,
    "rprop": torch.optim.Rprop,
}


@pytest.mark.parametrize("name", TORCHS_OWN)
def test_steps_equal_torchs_own(name, seed):
    decay = 0.0 if name == "rprop" else DECAY
    run = run_of(seed, batch_size=N_ROWS, epochs=7, optimizer=name, learning_rate=0.1, weight_decay=decay)
    list(run)
    X, y = (torch.from_numpy(array) for array in problem(seed))
    module = LinearRegression(seed).module
    if name == "rprop":
        optimizer = torch.optim.Rprop(module.parameters(), lr=0.1)
    else:
        groups = [{"params": [module.weight], "weight_decay": DECAY}, {"params": [module.bias]}]
        optimizer = TORCHS_OWN[name](groups, lr=0.1)
    for _ in range(7):
        optimizer.zero_grad()
        ((module(X) - y).square().sum() / N_ROWS).backward()
        optimizer.step()
    for found, expected in zip(run.learner.module.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_rprop_refuses_weight_decay():
    with pytest.raises(
        SettingsError, match=r"^weight_decay of TrainingSettings must be 0 with .*'rprop'.*; got 0\.1\."
    ):
        TrainingSettings(optimizer="rprop", weight_decay=0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name, seed):
    rate = {"adagrad": 0.1, "adamax": 0.1, "radam": 0.1, "adadelta": 20.0}.get(name, 0.02)
    records = list(run_of(seed, epochs=20, optimizer=name, learning_rate=rate, momentum=0.5))
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_factor_multiplies_the_learning_rate(name):
    settings = TrainingSettings(optimizer=name, learning_rate=0.2)
    optimizer = make_optimizer(LinearRegression(rate_factor=0.25).parameter_groups(), settings)
    assert {group.get("lr") for group in optimizer.param_groups} == {{"lbfgs": 0.2, "cg": None}.get(name, 0.05)}


def test_groups_keep_their_rates_and_decay_weights_only():
    groups = [
        {"params": list(LinearRegression().module.parameters()), "rate_factor": 0.5},
        {"params": list(LinearRegression().module.parameters())},
    ]
    optimizer = make_optimizer(groups, TrainingSettings(learning_rate=0.2, weight_decay=0.3))
    found = {
        (group["lr"], group["weight_decay"], parameter.ndim)
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {(0.1, 0.3, 2), (0.1, 0.0, 1), (0.2, 0.3, 2), (0.2, 0.0, 1)}


def test_lbfgs_refuses_rates_that_differ():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(3))], "rate_factor": f} for f in (0.5, 1.0)]
    with pytest.raises(SettingsError, match="'lbfgs' cannot give layers different learning rates"):
        make_optimizer(groups, TrainingSettings(optimizer="lbfgs"))


def one_cycle(epoch, n):
    """Half a cosine up from a 25th in three tenths of the run, another down to a 250,000th."""
    # torch counts the step before the first as one of the run: full-batch epochs make it plain.
    turn = 0.3 * (n + 1) - 1
    low, high, share = (1 / 25, 1, epoch / turn) if epoch <= turn else (1, 1 / 250_000, (epoch - turn) / (n - turn))
    return low + (high - low) * (1 - math.cos(math.pi * share)) / 2


SCHEDULES = {
    "linear": lambda epoch, n: 1 - epoch / n,
    "polynomial": lambda epoch, n: (1 - epoch / n) ** 2,
    "constant": lambda epoch, n: 1.0,
    "step": lambda epoch, n: 0.7 ** (epoch // 2),
    "exponential": lambda epoch, n: 0.7**epoch,
    "inverse_time": lambda epoch, n: 1 / (1 + 0.7 * epoch),
    "cosine": lambda epoch, n: (1 + math.cos(math.pi * epoch / n)) / 2,
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("batch_size", [7, N_ROWS])
def test_schedules_per_epoch(name, batch_size):
    run = run_of(batch_size=batch_size, epochs=6, learning_rate=0.02, schedule=name, decay=0.7, decay_epochs=2)
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(0.02)
    rates = [record["learning_rate"] for record in run]
    assert rates == pytest.approx([0.02 * SCHEDULES[name](epoch, 6) for epoch in range(1, 7)], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", ["exponential", "inverse_time", "linear", "polynomial", "cosine"])
def test_smooth_schedules_fall_within_an_epoch(name):
    run = run_of(epochs=6, learning_rate=0.02, schedule=name, decay=0.7, progress_seconds=0.0)
    rates = [record["learning_rate"] for record in run]
    n_batches = run.batches.n_batches
    expected = [0.02 * SCHEDULES[name](step / n_batches, 6) for step in range(1, 6 * n_batches + 1)]
    assert rates == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("batch_size", "epochs"), [(7, 9), (N_ROWS, 20), (N_ROWS, 1)])
def test_one_cycle_at_every_step(batch_size, epochs):
    run = run_of(batch_size=batch_size, epochs=epochs, learning_rate=0.02, schedule="one_cycle", progress_seconds=0.0)
    steps = epochs * run.batches.n_batches
    rates = [run.optimizer.param_groups[0]["lr"], *(record["learning_rate"] for record in run)]
    assert rates == pytest.approx([0.02 * one_cycle(step, steps) for step in range(steps + 1)], rel=1e-6, abs=1e-12)
    assert rates[-1] == pytest.approx(0.02 / 250_000)
    assert epochs == 1 or (rates[0] == pytest.approx(0.02 / 25) and max(rates) > 0.019)


@pytest.mark.parametrize("name", ["linear", "one_cycle"])
def test_new_schedules_keep_the_ratio_of_layers(name):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(3))], "rate_factor": factor} for factor in (0.25, 1.0)]
    settings = TrainingSettings(optimizer="adam", learning_rate=0.2, schedule=name, epochs=5)
    optimizer = make_optimizer(groups, settings)
    scheduler = make_scheduler(optimizer, settings, 2)
    for _ in range(7):
        optimizer.step()
        scheduler.step()
        low, high = (group["lr"] for group in optimizer.param_groups)
        assert low == pytest.approx(0.25 * high)


def test_schedules_keep_the_ratio_of_layers():
    learner = LinearRegression(rate_factor=0.25)
    run = run_of(learner=learner, learning_rate=0.02, schedule="exponential", decay=0.5)
    assert [record["learning_rate"] for record in run] == pytest.approx([0.005 * 0.5**epoch for epoch in (1, 2, 3)])


def test_momentum_ramp():
    settings = TrainingSettings(momentum=0.9, initial_momentum=0.5, initial_momentum_epochs=2)
    assert [momentum_at(settings, epoch) for epoch in range(4)] == [0.5, 0.5, 0.9, 0.9]
    assert momentum_at(TrainingSettings(momentum=0.7), 0) == 0.7


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_momentum_in_force_in_each_epoch(name):
    run = run_of(epochs=4, optimizer=name, momentum=0.9, initial_momentum=0.5, initial_momentum_epochs=2)
    found = []
    for _ in run:
        found.append({group["momentum"] for group in run.optimizer.param_groups})
    assert found == [{0.5}, {0.5}, {0.9}, {0.9}]
