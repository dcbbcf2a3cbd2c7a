"""Tiny deep belief nets and what is known of them exactly, by summing over every state of every layer, in float64."""

import itertools

import numpy as np
import torch
from oracles import exact_free_energy, exact_log_partition, small_rbm
from scipy.special import expit, log_expit, logsumexp

from pretrain.associative_memory import memory_units
from pretrain.dbn import DBN, DirectedLayer

CLASSES = np.array(["ja", "nein", "vielleicht"])


def small_dbn(seed, sizes=(3, 2), *, classes=CLASSES, data_units="bernoulli", n_hidden=5, dtype=torch.float64):
    """A net of `sizes` units below its memory, the data first; recognition does not know the generative weights."""
    rng, n_classes = np.random.default_rng(seed), 0 if classes is None else len(classes)
    layers = []
    for n_visible, n_above in itertools.pairwise(sizes):
        units = data_units if not layers else "bernoulli"
        layer = DirectedLayer(n_visible, n_above, visible_units=units)
        for parameter in layer.parameters():
            parameter.data = torch.from_numpy(rng.normal(size=tuple(parameter.shape))).to(dtype)
        layers.append(layer)
    units = memory_units("bernoulli" if layers else data_units, sizes[-1], n_classes)
    units = units if ":" in units else f"{units}:{sizes[-1]}"
    memory = small_rbm(seed, units, f"bernoulli:{n_hidden}", dtype=dtype)
    return DBN(layers, memory, classes=classes)


def binary(n):
    """All states of n binary units, (2^n, n)."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def parameters_of(layer):
    """R, r, G, g in float64."""
    names = ("recognition_weight", "recognition_bias", "generative_weight", "generative_bias")
    return [getattr(layer, name).numpy(force=True).astype(float) for name in names]


def log_bernoulli(states, total_input):
    """log p of 0/1 states at total inputs: summed over the last axis."""
    return (states * log_expit(total_input) + (1 - states) * log_expit(-total_input)).sum(axis=-1)


def log_code_probabilities(dbn, label=None):
    """log p(codes) of every code, or log p(codes, label): (2^n_codes,)."""
    codes, labels = binary(dbn.n_codes), np.eye(dbn.n_classes)
    if dbn.n_classes == 0:
        return -exact_free_energy(dbn.memory, codes) - exact_log_partition(dbn.memory)
    chosen = labels if label is None else labels[[label]]
    joint = [-exact_free_energy(dbn.memory, np.hstack([codes, np.tile(one, (len(codes), 1))])) for one in chosen]
    return logsumexp(joint, axis=0) - exact_log_partition(dbn.memory)


def log_conditional(dbn, k, below, above):
    """log p(below | above) of layer k for all pairs: (n, n_visible), (m, n_hidden) -> (n, m)."""
    _, _, G, g = parameters_of(dbn.layers[k])
    total_input = above @ G.T + g
    if dbn.layers[k].visible_units.name == "gaussian":
        square = ((below[:, None] - total_input) ** 2).sum(axis=2)
        return -0.5 * square - 0.5 * np.log(2 * np.pi) * below.shape[1]
    return log_bernoulli(below[:, None], total_input)


def exact_log_likelihood(dbn, x, label=None):
    """log p(x), or log p(x, label), of rows of a net with directed layers: (n,)."""
    log_p = log_code_probabilities(dbn, label)
    for k in reversed(range(1, len(dbn.layers))):
        states, above = binary(dbn.layers[k].n_visible), binary(dbn.layers[k].n_hidden)
        log_p = logsumexp(log_conditional(dbn, k, states, above) + log_p, axis=1)
    return logsumexp(log_conditional(dbn, 0, x, binary(dbn.layers[0].n_hidden)) + log_p, axis=1)


def exact_bound(dbn, x):
    """The lower bound on log p(x) of each row: the sum over all codes that recognition may choose."""
    return np.array([_bound_above(dbn, 0, row) for row in x])


def _bound_above(dbn, k, below):
    if k == len(dbn.layers):
        codes = binary(dbn.n_codes)
        return log_code_probabilities(dbn)[(codes == below).all(axis=1).argmax()]
    R, r, _, _ = parameters_of(dbn.layers[k])
    above = binary(dbn.layers[k].n_hidden)
    log_q = log_bernoulli(above, R @ below + r)
    log_p = log_conditional(dbn, k, below[None], above)[0]
    upper = np.array([_bound_above(dbn, k + 1, state) for state in above])
    return np.exp(log_q) @ (log_p + upper - log_q)


def up_means(dbn, x):
    """The deterministic up-pass."""
    for layer in dbn.layers:
        R, r, _, _ = parameters_of(layer)
        x = expit(x @ R.T + r)
    return x
