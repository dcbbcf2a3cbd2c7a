"""Small models and what is known about them exactly, written without the library's own formulas."""

import itertools

import numpy as np
import torch
from scipy.special import logsumexp

from pretrain.rbm import RBM

N_VISIBLE, N_HIDDEN = 3, 2
UNIT_PAIRS = list(itertools.product(("bernoulli", "gaussian"), repeat=2))
STEP, LARGEST = 1.0, 11.0  # on unit Gaussians the trapezoid rule is exact to exp(-2 (pi / step)^2) = 3e-9


def binary_states(n):
    """All states of n binary units, (2^n, n)."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def state_space(units, n):
    """Points and log weights of a sum (binary) or an integral (Gaussian) over all states of n units."""
    if units == "bernoulli":
        return binary_states(n), 0.0
    axis = np.arange(-LARGEST, LARGEST + STEP, STEP)
    return np.array(list(itertools.product(axis, repeat=n))), n * np.log(STEP)


def small_rbm(seed, visible_units="bernoulli", hidden_units="bernoulli", *, dtype=torch.float64):
    """An RBM of three visible and two hidden units with weights that matter and that two Gaussian layers bear."""
    rng = np.random.default_rng(seed)
    rbm = RBM(N_VISIBLE, N_HIDDEN, visible_units=visible_units, hidden_units=hidden_units).to(dtype)
    weight = rng.normal(size=(N_HIDDEN, N_VISIBLE))
    if (visible_units, hidden_units) == ("gaussian", "gaussian"):
        weight *= 0.6 / np.linalg.norm(weight, 2)  # normalisable below 1
    fill(rbm, weight=weight, visible_bias=rng.normal(size=N_VISIBLE), hidden_bias=rng.normal(size=N_HIDDEN))
    return rbm


def fill(layer, **arrays):
    """Write arrays into the parameters of a layer."""
    with torch.no_grad():
        for name, values in arrays.items():
            getattr(layer, name).copy_(torch.as_tensor(values))


def arrays_of(layer):
    """W, b, c in float64."""
    return [
        getattr(layer, name).numpy(force=True).astype(float) for name in ("weight", "visible_bias", "hidden_bias")
    ]


def joint_energy(rbm, v, h):
    """E(v, h) for every pair of rows: (n, n_visible) and (m, n_hidden) -> (n, m)."""
    weight, b, c = arrays_of(rbm)
    visible = -v @ b + (0.5 * (v**2).sum(axis=1) if rbm.visible_units.name == "gaussian" else 0)
    hidden = -h @ c + (0.5 * (h**2).sum(axis=1) if rbm.hidden_units.name == "gaussian" else 0)
    return visible[:, None] + hidden[None, :] - v @ weight.T @ h.T


def exact_free_energy(rbm, v):
    """-log of the sum or integral of exp(-E) over all hidden states."""
    states, log_weight = state_space(rbm.hidden_units.name, rbm.n_hidden)
    return -logsumexp(-joint_energy(rbm, v, states) + log_weight, axis=1)


def exact_model(rbm):
    """Visible states (points) and their probabilities (weights included)."""
    states, log_weight = state_space(rbm.visible_units.name, rbm.n_visible)
    log_p = -exact_free_energy(rbm, states) + log_weight
    return states, np.exp(log_p - logsumexp(log_p))


def exact_nll(rbm, v):
    """Mean negative log-likelihood of rows, in nats."""
    states, log_weight = state_space(rbm.visible_units.name, rbm.n_visible)
    log_z = logsumexp(-exact_free_energy(rbm, states) + log_weight)
    return float(exact_free_energy(rbm, v).mean() + log_z)


def finite_difference(function, parameter, step=1e-6):
    """Central differences of a number with respect to every entry of a parameter, which is put back."""
    gradient = np.zeros(tuple(parameter.shape))
    with torch.no_grad():
        for index in np.ndindex(*parameter.shape):
            kept = parameter[index].item()
            parameter[index] = kept + step
            above = function()
            parameter[index] = kept - step
            gradient[index] = (above - function()) / (2 * step)
            parameter[index] = kept
    return gradient
