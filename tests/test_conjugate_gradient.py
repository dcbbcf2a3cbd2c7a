"""Conjugate gradients: on quadratics, on penalised least squares, on a small network, and what they refuse."""

import itertools

import numpy as np
import pytest
import torch
from linear_problem import N_ROWS, LinearRegression, problem, run_of
from supervised_problem import finetune, make_network, quick, tasks

from pretrain.conjugate_gradient import LINE_SEARCHES, ConjugateGradient
from pretrain.exceptions import SettingsError
from pretrain.optimization import make_optimizer
from pretrain.training_settings import TrainingSettings


class Quadratic:
    """1/2 w A w - b w in d dimensions, curvatures from 1 to `condition`, in two parameters of float64."""

    def __init__(self, seed, d=5, condition=100.0):
        rng = np.random.default_rng(seed)
        rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
        self.A = rotation * np.geomspace(1, condition, d) @ rotation.T
        self.b = self.A @ rng.normal(size=d)
        self.parts = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in ((1, 2), (d - 2,))]
        self.losses: list[float] = []

    def closure(self):
        w = torch.cat([part.flatten() for part in self.parts])
        loss = w @ torch.from_numpy(self.A) @ w / 2 - torch.from_numpy(self.b) @ w
        for part, gradient in zip(self.parts, torch.autograd.grad(loss, self.parts), strict=True):
            part.grad = gradient
        self.losses.append(loss.item())
        return self.losses[-1]

    def gap(self, w=None):
        """How far above the least value, as a share of the way down from zero."""
        w = torch.cat([part.detach().flatten() for part in self.parts]).numpy() if w is None else w
        error = w - np.linalg.solve(self.A, self.b)
        return error @ self.A @ error / (self.b @ np.linalg.solve(self.A, self.b))

    def steepest_descent(self, n):
        """Where n exact line searches along the gradient end."""
        w = np.zeros(len(self.b))
        for _ in range(n):
            gradient = self.A @ w - self.b
            w -= gradient * (gradient @ gradient) / (gradient @ self.A @ gradient)
        return w


def test_a_quadratic_is_minimised_in_about_as_many_line_searches_as_dimensions(seed):
    well, d = Quadratic(seed, condition=4.0), 5
    before = ConjugateGradient(well.parts, n_line_searches=d).step(well.closure)
    assert before == well.losses[0] == 0.0
    assert well.gap() < 1e-3
    assert len(well.losses) <= 3 * d  # a line search looks two or three times
    exact = Quadratic(seed, condition=4.0)
    ConjugateGradient(exact.parts, n_line_searches=4 * d).step(exact.closure)
    assert exact.gap() < 1e-9


def test_directions_are_better_than_gradients(seed):
    n = 10
    found = Quadratic(seed)
    ConjugateGradient(found.parts, n_line_searches=n).step(found.closure)
    assert found.gap() < 0.5 * found.gap(found.steepest_descent(n))


def test_every_step_goes_down_and_says_where_it_began(seed):
    problem = Quadratic(seed)
    optimizer = ConjugateGradient(problem.parts)
    ends = [0.0]
    for _ in range(6):
        assert optimizer.step(problem.closure) == pytest.approx(ends[-1], rel=1e-12)
        ends.append(problem.closure())
    assert all(after < before for before, after in itertools.pairwise(ends))
    assert optimizer.param_groups[0]["n_line_searches"] == LINE_SEARCHES == 3


def test_parameters_without_a_gradient_stay(seed):
    problem, apart = Quadratic(seed), torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    ConjugateGradient([apart, *problem.parts]).step(problem.closure)
    assert torch.equal(apart, torch.ones(3, dtype=torch.float64))
    assert problem.gap() < 0.9


def penalised_optimum(X, y, weight_decay, l1):
    """Weights of least mean squared error + penalties on centred data, by proximal gradients."""
    W = np.zeros((y.shape[1], X.shape[1]))
    rate = 1 / (2 * np.linalg.norm(X, 2) ** 2 / len(X) + weight_decay)
    for _ in range(3000):
        W = W - rate * (2 * (X @ W.T - y).T @ X / len(X) + weight_decay * W)
        W = np.sign(W) * np.maximum(np.abs(W) - rate * l1, 0)
    return W


@pytest.mark.parametrize(("weight_decay", "l1"), [(0.0, 0.0), (0.8, 0.0), (0.0, 0.4), (0.5, 0.4)])
def test_the_penalties_are_in_the_loss(weight_decay, l1, seed):
    run = run_of(seed, batch_size=N_ROWS, epochs=30, optimizer="cg", weight_decay=weight_decay, l1=l1)
    records = list(run)
    W, bias = (p.numpy(force=True).astype(float) for p in run.learner.module.parameters())
    X, y = (array.astype(float) for array in problem(seed))
    assert records[-1]["loss"] == pytest.approx(((X @ W.T + bias - y) ** 2).sum() / N_ROWS, rel=1e-2)  # no penalties
    X, y = X - X.mean(axis=0), y - y.mean(axis=0)  # the bias is free of penalties

    def objective(W):
        return ((X @ W.T - y) ** 2).sum() / N_ROWS + weight_decay / 2 * (W**2).sum() + l1 * np.abs(W).sum()

    best = penalised_optimum(X, y, weight_decay, l1)
    if l1 == 0:
        np.testing.assert_allclose(W, best, atol=1e-3)
    else:  # a line search that crosses a kink ends early: most of the way, not all of it
        without = penalised_optimum(X, y, weight_decay, 0.0)
        assert objective(W) - objective(best) < 0.3 * (objective(without) - objective(best))


@tasks
def test_it_lowers_the_loss_of_a_network(task, seed):
    network = make_network(task, seed)
    records = finetune(network, quick(epochs=10, batch_size=23, optimizer="cg"), task=task, seed=seed)
    losses = [record["loss"] for record in records]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]
    fresh = make_network(task, seed)
    plain = finetune(fresh, quick(epochs=1, batch_size=23, optimizer="sgd"), task=task, seed=seed)
    assert losses[0] == pytest.approx(plain[0]["loss"], rel=1e-5)  # both are of the first weights


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_a_record_has_no_learning_rate_where_there_is_none(schedule):
    (record,), (by_lbfgs,) = (list(run_of(optimizer=name, epochs=1, schedule=schedule)) for name in ("cg", "lbfgs"))
    assert list(record) == ["stage", "layer", "epoch", "n_epochs", "loss", "seconds"]
    assert "learning_rate" in by_lbfgs  # where its line searches begin


def test_rates_that_differ_are_refused():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(3))], "rate_factor": f} for f in (0.5, 1.0)]
    with pytest.raises(SettingsError, match="'cg' cannot give layers different learning rates"):
        make_optimizer(groups, TrainingSettings(optimizer="cg"))


def test_noise_is_refused():
    learner = LinearRegression()
    learner.stochastic = True
    with pytest.raises(SettingsError, match="'cg' needs a loss that is the same each time; turn corruption"):
        run_of(learner=learner, optimizer="cg")


@pytest.mark.parametrize("frozen", [(0,), (2,)])
def test_frozen_layers_are_bit_identical(frozen, seed):
    network = make_network(seed=seed)
    layers = [*network.hidden, network.head]
    before = [[p.clone() for p in layer.parameters()] for layer in layers]
    finetune(network, quick(frozen_layers=frozen, optimizer="cg", weight_decay=0.1), seed=seed)
    kept = [all(map(torch.equal, was, layer.parameters())) for was, layer in zip(before, layers, strict=True)]
    assert kept == [k in frozen for k in range(3)]
