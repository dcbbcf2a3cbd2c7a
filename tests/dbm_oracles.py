"""Tiny deep Boltzmann machines and what is known of them exactly, by summing over every joint state, in float64."""

import itertools

import numpy as np
import torch
from oracles import binary_states
from scipy.special import expit, logsumexp, xlogy

from pretrain.dbm import DBM

SIZES = (4, 3, 2)  # the data first
EVERY_SIZE = [(4, 3), (4, 3, 2), (3, 2, 4, 2)]


def small_dbm(seed, sizes=SIZES, *, visible_units="bernoulli", dtype=torch.float64):
    """A model with weights and biases that matter."""
    rng = np.random.default_rng(seed)
    dbm = DBM(sizes[0], sizes[1:], visible_units=visible_units).to(dtype)
    for parameter in dbm.parameters():
        parameter.data = torch.from_numpy(rng.normal(size=tuple(parameter.shape))).to(dtype)
    return dbm


def arrays_of(dbm):
    """Weights, (n_units, n_units below) each, and biases, the visible ones first, in float64."""
    weights = [weight.numpy(force=True).astype(float) for weight in dbm.weights]
    return weights, [bias.numpy(force=True).astype(float) for bias in dbm.biases()]


def sizes_of(dbm):
    return [dbm.n_visible, *dbm.hidden_layer_sizes]


def joint_states(dbm):
    """Every state of every layer beside each other, the visible ones first: (2^n, n)."""
    return binary_states(sum(sizes_of(dbm)))


def layers_of(dbm, states):
    """Joint states by layer."""
    return np.split(states, np.cumsum(sizes_of(dbm))[:-1], axis=1)


def minus_energy(dbm, layers):
    """-E of joint states by layer, (n, n_units) each: (n,); of Gaussian data too."""
    weights, biases = arrays_of(dbm)
    total = sum(state @ bias for state, bias in zip(layers, biases, strict=True))
    for weight, (below, above) in zip(weights, itertools.pairwise(layers), strict=True):
        total = total + np.einsum("ni,ij,nj->n", above, weight, below)
    if dbm.visible_units.name == "gaussian":
        total = total - 0.5 * (layers[0] ** 2).sum(axis=1)
    return total


def exact_log_partition(dbm):
    """log of the sum of exp(-E) over all joint states of binary units."""
    return float(logsumexp(minus_energy(dbm, layers_of(dbm, joint_states(dbm)))))


def exact_probabilities(dbm):
    """p of each joint state, in the order of `joint_states`."""
    return np.exp(minus_energy(dbm, layers_of(dbm, joint_states(dbm))) - exact_log_partition(dbm))


def log_weight_of_rows(dbm, v):
    """log of the sum of exp(-E(v, h)) over all hidden states of each row: (n,)."""
    hidden = binary_states(sum(dbm.hidden_layer_sizes))
    rows = [np.hstack([np.tile(row, (len(hidden), 1)), hidden]) for row in v]
    return np.array([logsumexp(minus_energy(dbm, layers_of(dbm, states))) for states in rows])


def exact_log_likelihood(dbm, v):
    """log p(v) of 0/1 rows: (n,)."""
    return log_weight_of_rows(dbm, v) - exact_log_partition(dbm)


def hidden_input(dbm, layers, k):
    """c_k + W_k s_k-1 + W_k+1^T s_k+1."""
    weights, biases = arrays_of(dbm)
    total = biases[k] + layers[k - 1] @ weights[k - 1].T
    return total if k + 1 == len(layers) else total + layers[k + 1] @ weights[k]


def mean_field_by_hand(dbm, v, n_steps):
    """The rows and the means of each hidden layer after a doubled pass up and `n_steps` updates of all layers."""
    weights, biases = arrays_of(dbm)
    means = [v]
    for k, weight in enumerate(weights):
        means.append(expit(biases[k + 1] + (1 if k + 1 == len(weights) else 2) * (means[-1] @ weight.T)))
    for _ in range(n_steps):
        for k in range(1, len(means)):
            means[k] = expit(hidden_input(dbm, means, k))
    return means


def bound_of_means(dbm, means):
    """E_q[-E] + entropy of q: the bound, but for log Z, of given means by layer."""
    return minus_energy(dbm, means) - sum((xlogy(m, m) + xlogy(1 - m, 1 - m)).sum(axis=1) for m in means[1:])


def rows_of(seed, n, n_visible=4, *, visible_units="bernoulli"):
    """Rows of what such units model, float32 (n, n_visible)."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, n_visible)) if visible_units == "gaussian" else rng.random((n, n_visible))
    return torch.from_numpy(rows).float()
