"""Small models and what is known about them exactly, written without the library's own formulas."""

import itertools
import math

import numpy as np
import torch
from scipy.special import logsumexp

from pretrain.rbm import RBM

N_VISIBLE, N_HIDDEN = 3, 2
N_WORDS = 3  # of a document of replicated softmax units
UNIT_PAIRS = list(itertools.product(("bernoulli", "gaussian"), repeat=2))
STEP, LARGEST = 1.0, 11.0  # on unit Gaussians the trapezoid rule is exact to exp(-2 (pi / step)^2) = 3e-9
MOST_COPIES = 24  # of a noisy rectified linear unit; at total inputs to 12 more are on once in a million
UNBOUNDED = {"gaussian", "gaussian_learned", "noisy_relu"}

# Every type against every other. Where both layers have many states, they are of two units.
ONE_OF_EACH = "bernoulli:1+gaussian:1+softmax:2"
SMALL_VISIBLE = ("bernoulli", "spin", "softmax", "replicated_softmax", "spin:1+softmax:2+bernoulli:1")
LARGE_VISIBLE = ("gaussian:2", "gaussian_learned:2", "noisy_relu:2", ONE_OF_EACH, "gaussian_learned:1+softmax:3")
SMALL_HIDDEN = ("bernoulli", "spin", "softmax:3", "spin:1+softmax:2")
LARGE_HIDDEN = ("gaussian", "noisy_relu", "bernoulli:1+noisy_relu:1")
EVERY_PAIR = list(itertools.product(SMALL_VISIBLE + LARGE_VISIBLE, SMALL_HIDDEN + LARGE_HIDDEN))
# Both layers can be counted: states of Gibbs chains can be told apart.
DISCRETE_PAIRS = [
    ("bernoulli", "bernoulli"),
    ("bernoulli", "softmax:3"),
    ("bernoulli", "gaussian"),
    ("softmax", "bernoulli"),
    ("softmax", "gaussian"),
    ("spin", "spin"),
    ("replicated_softmax", "bernoulli"),
    ("replicated_softmax", "spin:1+softmax:2"),
    ("softmax:2+softmax:3", "bernoulli"),
    ("spin:1+softmax:2+bernoulli:1", "bernoulli:1+spin:1"),
]


def groups_of(spec, n):
    """(name, number of columns) of every group of columns."""
    if ":" not in spec:
        return [(spec, n)]
    return [(part.split(":")[0], int(part.split(":")[1])) for part in spec.split("+")]


def n_units(spec, default):
    """Units of a description that names its widths, else `default`."""
    return sum(width for _, width in groups_of(spec, default))


def binary_states(n):
    """All states of n binary units, (2^n, n)."""
    return np.array(list(itertools.product((0.0, 1.0), repeat=n)))


def state_space(units, n, *, log_variance=None, total=N_WORDS):
    """Points and the log weight of each, for a sum or an integral over all states of n units.

    `log_variance` (n,) is of learned Gaussian units, `total` of the words of a document.
    """
    log_variance = np.zeros(n) if log_variance is None else log_variance
    spaces, log_weight, start = [], 0.0, 0
    for name, width in groups_of(units, n):
        deviation = np.exp(log_variance[start : start + width] / 2)
        if name == "softmax":
            spaces.append([tuple(row) for row in np.eye(width)])
        elif name == "replicated_softmax":
            counts = itertools.product(range(total + 1), repeat=width)
            spaces.append([row for row in counts if sum(row) == total])
        elif name in ("gaussian", "gaussian_learned"):
            axis = np.arange(-LARGEST, LARGEST + STEP, STEP)
            spaces += [[(x,) for x in axis * d] for d in deviation]
            log_weight += np.log(STEP * deviation).sum()
        else:
            values = {"bernoulli": (0, 1), "spin": (-1, 1), "noisy_relu": range(MOST_COPIES + 1)}[name]
            spaces += [[(x,) for x in values]] * width
        start += width
    # An array of all combinations, by index: lists of tuples are too slow for grids of several columns.
    index = np.indices([len(space) for space in spaces]).reshape(len(spaces), -1)
    columns = [np.array(space, dtype=float)[chosen] for space, chosen in zip(spaces, index, strict=True)]
    return np.concatenate(columns, axis=1), log_weight


def base_energy(units, states, *, log_variance=None):
    """Energy of states that have neither bias nor weights: (m, n) -> (m,)."""
    energy, start = np.zeros(len(states)), 0
    log_variance = np.zeros(states.shape[1]) if log_variance is None else log_variance
    for name, width in groups_of(units, states.shape[1]):
        x, variance = states[:, start : start + width], np.exp(log_variance[start : start + width])
        if name in ("gaussian", "gaussian_learned"):
            energy += 0.5 * (x**2 / variance).sum(axis=1)
        elif name == "noisy_relu":
            each = [n**2 / 2 + sum(math.log(1 - math.exp(-m)) for m in range(1, n + 1)) for n in range(100)]
            energy += np.array(each)[x.astype(int)].sum(axis=1)
        elif name == "replicated_softmax":  # the more orders of its words a document has, the likelier it is
            orders = [math.factorial(int(sum(r))) / math.prod(math.factorial(int(k)) for k in r) for r in x]
            energy -= np.log(orders)
        start += width
    return energy


def some_states(units, n, n_rows, seed, *, total=N_WORDS):
    """Rows of legal states: (n_rows, n)."""
    rng, columns = np.random.default_rng(seed), []
    for name, width in groups_of(units, n):
        if name in ("gaussian", "gaussian_learned"):
            columns.append(rng.normal(size=(n_rows, width)))
        elif name == "softmax":
            columns.append(np.eye(width)[rng.integers(width, size=n_rows)])
        elif name == "replicated_softmax":
            columns.append(rng.multinomial(total, np.full(width, 1 / width), size=n_rows).astype(float))
        else:
            low, high = {"bernoulli": (0, 1), "spin": (-1, 1), "noisy_relu": (0, 3)}[name]
            x = rng.integers(low, high, endpoint=True, size=(n_rows, width)).astype(float)
            columns.append(np.sign(x + 0.5) if name == "spin" else x)
    return np.concatenate(columns, axis=1)


def small_rbm(seed, visible_units="bernoulli", hidden_units="bernoulli", *, dtype=torch.float64):
    """An RBM with weights that matter and that two unbounded layers bear; of three visible and two hidden units,

    or of as many as the units say: "bernoulli:1+gaussian:1+softmax:2".
    """
    rng = np.random.default_rng(seed)
    n_visible, n_hidden = n_units(visible_units, N_VISIBLE), n_units(hidden_units, N_HIDDEN)
    rbm = RBM(n_visible, n_hidden, visible_units=visible_units, hidden_units=hidden_units).to(dtype)
    weight = rng.normal(size=(n_hidden, n_visible))
    biases = rng.normal(size=n_visible), rng.normal(size=n_hidden)
    for name, parameter in rbm.named_parameters():
        if name.endswith("log_variance"):
            parameter.data.copy_(torch.from_numpy(rng.uniform(-0.3, 0.6, size=len(parameter))))
    types = [{name for name, _ in groups_of(units, 0)} for units in (visible_units, hidden_units)]
    if all(names & UNBOUNDED for names in types):
        # In units of the standard deviations, normalisable below 1.
        weight *= 0.6 / np.linalg.norm(weight / np.exp(log_variance_of(rbm) / 2), 2)
    if visible_units == "replicated_softmax":  # every word adds its weights
        weight, biases = 0.5 * weight, (biases[0], 0.5 * biases[1])
    fill(rbm, weight=weight, visible_bias=biases[0], hidden_bias=biases[1])
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


def log_variance_of(rbm):
    """(n_visible,): of learned Gaussian units; 0 in all other columns."""
    names = [name for name, width in groups_of(rbm.visible_units.name, rbm.n_visible) for _ in range(width)]
    learned = [p.numpy(force=True) for name, p in rbm.named_parameters() if name.endswith("log_variance")]
    log_variance = np.zeros(rbm.n_visible)
    if learned:
        log_variance[np.array(names) == "gaussian_learned"] = np.concatenate(learned)
    return log_variance


def visible_states(rbm, total=N_WORDS):
    """`state_space` of the visible layer."""
    units = rbm.visible_units.name
    return state_space(units, rbm.n_visible, log_variance=log_variance_of(rbm), total=total)


def hidden_states(rbm):
    """`state_space` of the hidden layer."""
    return state_space(rbm.hidden_units.name, rbm.n_hidden)


def joint_energy(rbm, v, h):
    """E(v, h) for every pair of rows: (n, n_visible) and (m, n_hidden) -> (n, m)."""
    weight, b, c = arrays_of(rbm)
    log_variance = log_variance_of(rbm)
    seen = v / np.exp(log_variance)  # weights and biases meet a real value in units of its variance
    words = v.sum(axis=1) if rbm.visible_units.name == "replicated_softmax" else np.ones(len(v))
    visible = base_energy(rbm.visible_units.name, v, log_variance=log_variance) - seen @ b
    hidden = base_energy(rbm.hidden_units.name, h)
    return visible[:, None] + hidden[None, :] - (seen @ weight.T + words[:, None] * c) @ h.T


def exact_free_energy(rbm, v):
    """-log of the sum or integral of exp(-E) over all hidden states."""
    states, log_weight = hidden_states(rbm)
    return -logsumexp(-joint_energy(rbm, v, states) + log_weight, axis=1)


def exact_log_partition(rbm, total=N_WORDS):
    """log of the sum or integral of exp(-E) over all joint states."""
    states, log_weight = visible_states(rbm, total)
    return float(logsumexp(-exact_free_energy(rbm, states) + log_weight))


def exact_model(rbm, total=N_WORDS):
    """Visible states (points) and their probabilities (weights included)."""
    states, log_weight = visible_states(rbm, total)
    log_p = -exact_free_energy(rbm, states) + log_weight
    return states, np.exp(log_p - logsumexp(log_p))


def exact_nll(rbm, v):
    """Mean negative log-likelihood of rows, in nats; documents are all as long as the first."""
    total = round(v[0].sum()) if rbm.visible_units.name == "replicated_softmax" else N_WORDS
    return float(exact_free_energy(rbm, v).mean() + exact_log_partition(rbm, total))


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
