"""Figures of a layer in training against their formulas, by hand."""

import numpy as np
import pytest
import torch
from global_state import global_state
from oracles import arrays_of, exact_free_energy, exact_model, fill, small_rbm, some_states
from scipy.special import expit

from pretrain.autoencoder import Autoencoder
from pretrain.likelihood import pseudo_log_likelihood
from pretrain.monitoring import MONITORED_ROWS, LayerMonitor, free_energy_gap, unit_shares
from pretrain.rbm import RBM
from pretrain.reconstruction import reconstruction_errors

NAMES = {"reconstruction_error", "dead_units", "saturated_units", "weight_norm", "gradient_norm"}


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


def states(units, n, n_rows, seed):
    return torch.from_numpy(some_states(units, n, n_rows, seed))


def test_figures_of_an_rbm(seed):
    rbm = small_rbm(seed)
    rows, validation_rows = (states("bernoulli", 3, n, seed + n) for n in (11, 7))
    rbm.weight.grad = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    found = LayerMonitor(rbm, rows, validation_rows, seed)()
    weight, b, c = arrays_of(rbm)
    x = validation_rows.numpy()
    back = expit(expit(x @ weight.T + c) @ weight + b)
    free = [exact_free_energy(rbm, v.numpy()).mean() for v in (rows, validation_rows)]
    assert set(found) == NAMES | {"pseudo_log_likelihood", "free_energy_gap"}
    assert all(type(value) is float for value in found.values())
    assert found["reconstruction_error"] == pytest.approx(((back - x) ** 2).sum() / 7)
    assert found["weight_norm"] == pytest.approx(np.sqrt((weight**2).sum()))
    assert found["gradient_norm"] == pytest.approx(np.sqrt(55))
    assert found["free_energy_gap"] == pytest.approx(free[1] - free[0])
    assert found["pseudo_log_likelihood"] == pytest.approx(
        float(pseudo_log_likelihood(rbm, rows, n_sites=None).mean())
    )


def test_without_validation_rows_the_training_rows_are_judged(seed):
    rbm, rows = small_rbm(seed), states("bernoulli", 3, 11, seed)
    found = LayerMonitor(rbm, rows, None, seed)()
    assert set(found) == NAMES | {"pseudo_log_likelihood"}
    assert found["reconstruction_error"] == reconstruction_errors(rbm, rows).mean()
    assert found["gradient_norm"] == 0.0  # before the first batch


def test_figures_of_an_autoencoder(generator):
    layer = Autoencoder(5, 3, activation="tanh", reconstruction_loss="squared_error", tied=False)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    rows = torch.randn(11, 5, generator=generator)
    found = LayerMonitor(layer, rows, rows[:3], 0)()
    assert set(found) == NAMES
    W, b, c = (p.detach().double() for p in (layer.weight, layer.visible_bias, layer.hidden_bias))
    code = torch.tanh(rows[:3].double() @ W.T + c)
    back = code @ layer.untied_weight.detach().double().T + b
    expected = float((back - rows[:3]).square().sum(dim=1).mean())
    assert found["reconstruction_error"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("bernoulli", True),
        ("spin", True),
        ("softmax", True),
        ("spin:1+softmax:2", True),
        ("gaussian", False),
        ("gaussian_learned", False),
        ("noisy_relu", False),
        ("replicated_softmax", False),
        ("bernoulli:1+gaussian:2", False),
    ],
)
def test_where_there_is_a_pseudo_likelihood(units, expected, seed):
    rbm = small_rbm(seed, units)
    rows = states(units, rbm.n_visible, 11, seed)
    found = LayerMonitor(rbm, rows, rows[:5], seed)()
    assert set(found) - {"pseudo_log_likelihood"} == NAMES | {"free_energy_gap"}
    assert ("pseudo_log_likelihood" in found) == expected
    assert all(np.isfinite(value) for value in found.values())
    if expected:
        exact = float(pseudo_log_likelihood(rbm, rows, n_sites=None).mean())
        assert found["pseudo_log_likelihood"] == pytest.approx(exact)


def test_the_free_energy_gap_grows_where_validation_rows_are_less_likely(seed):
    rbm = small_rbm(seed)
    rows, p = exact_model(rbm)
    likely, unlikely = (torch.from_numpy(rows[k : k + 1]) for k in (p.argmax(), p.argmin()))
    assert free_energy_gap(rbm, likely, unlikely) == pytest.approx(np.log(p.max() / p.min()))
    assert free_energy_gap(rbm, unlikely, likely) < 0
    assert free_energy_gap(rbm, likely, likely) == 0


def test_the_first_rows_are_judged_and_no_others(seed):
    rbm = small_rbm(seed)
    rows = states("bernoulli", 3, MONITORED_ROWS + 500, seed)
    first = rows[:MONITORED_ROWS]
    long, short = (LayerMonitor(rbm, part, part, seed)() for part in (rows, first))
    assert long == short
    changed = rows.clone()
    changed[MONITORED_ROWS - 1] = 1 - changed[MONITORED_ROWS - 1]
    assert LayerMonitor(rbm, changed, changed, seed)() != short


def test_every_epoch_judges_the_same_features(seed):
    rbm = RBM(50, 7, generator=generator_of(seed))
    monitor = LayerMonitor(rbm, torch.from_numpy(some_states("bernoulli", 50, 11, seed)).float(), None, seed)
    assert monitor() == monitor()


def test_nothing_is_touched(seed):
    rbm = RBM(50, 7, generator=generator_of(seed))
    rows = torch.from_numpy(some_states("bernoulli", 50, 11, seed)).float()
    rbm.weight.grad = torch.ones_like(rbm.weight)
    kept, weight, before = rows.clone(), rbm.weight.clone(), global_state()
    figures = [LayerMonitor(rbm, rows, rows[:3], k)() for k in (1, 1, 2)]
    assert global_state() == before
    assert torch.equal(rows, kept)
    assert torch.equal(rbm.weight, weight)
    assert torch.equal(rbm.weight.grad, torch.ones_like(weight))
    assert figures[0] == figures[1]  # fifty features, of which some are drawn
    assert figures[0]["pseudo_log_likelihood"] != figures[2]["pseudo_log_likelihood"]


@pytest.mark.parametrize(
    ("activation", "columns", "dead", "saturated"),
    [
        # One column a unit: off, nearly off, at the margin of 5 % of the range, in use, on.
        ("sigmoid", [(0, 0), (0, 0.049), (0, 0.051), (0, 1), (0.94, 1), (0.951, 1), (1, 1)], 2, 2),
        ("softmax", [(0, 0.04), (0.2, 0.6), (0.96, 1)], 1, 1),
        ("tanh", [(-1, -1), (-1, -0.91), (-1, -0.89), (0, 0), (-1, 1), (0.89, 1), (0.91, 1)], 2, 1),
        ("relu", [(0, 0), (0, 1e-6), (5, 9), (5, 5)], 1, 0),
        ("identity", [(3, 3), (0, 0), (-1, 1), (0, 1e-5), (7, 7 + 1e-7)], 3, 0),
        ("softplus", [(0.5, 0.5), (0, 9)], 1, 0),
        ("leaky_relu", [(-0.5, -0.5), (-1, -0.5)], 1, 0),
    ],
)
def test_dead_and_saturated_units(activation, columns, dead, saturated):
    codes = torch.tensor([[low, high, (low + high) / 2] for low, high in columns], dtype=torch.float64).T
    found = unit_shares(codes, activation)
    assert found == {
        "dead_units": pytest.approx(dead / len(columns)),
        "saturated_units": pytest.approx(saturated / len(columns)),
    }


def test_dead_and_saturated_units_of_several_types():
    # Each type by its own rule: a sigmoid that is on, a relu that is off, a linear unit and a category in use.
    codes = torch.tensor([[1.0, 0, -3, 1, 0], [0.99, 0, 2, 0, 1]])
    found = unit_shares(codes, "sigmoid:1+relu:1+identity:1+softmax:2")
    assert found == {"dead_units": pytest.approx(0.2), "saturated_units": pytest.approx(0.2)}


def test_units_that_died_and_saturated_in_a_layer(seed):
    rbm = small_rbm(seed)
    fill(rbm, weight=np.zeros((2, 3)), hidden_bias=np.array([-9.0, 9.0]))
    found = LayerMonitor(rbm, states("bernoulli", 3, 11, seed), None, seed)()
    assert (found["dead_units"], found["saturated_units"]) == (0.5, 0.5)
