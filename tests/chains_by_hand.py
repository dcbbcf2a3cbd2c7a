"""Gibbs chains and the gradients that follow from them, in float64 NumPy, on the states that a generator yields."""

import numpy as np
import torch
from oracles import arrays_of, groups_of, log_variance_of, some_states
from scipy.special import expit, softmax

from pretrain.contrastive import ContrastiveDivergence
from pretrain.random_streams import BernoulliSampler
from pretrain.settings import RBMSettings

NAMES = ("weight", "visible_bias", "hidden_bias")
MEANS = {
    "bernoulli": expit,
    "spin": np.tanh,
    "gaussian": lambda a: a,
    "gaussian_learned": lambda a: a,
    "noisy_relu": lambda a: sum(expit(a - m + 0.5) for m in range(1, 60)),  # of its binary copies
    "softmax": lambda a: softmax(a, axis=1),
    "replicated_softmax": lambda a: softmax(a, axis=1),
}


def learner_of(rbm, seed, *, dtype=torch.float32, **options):
    """Plain CD-1, unless options (fields of RBMSettings) say otherwise; "auto" would centre Gaussian data."""
    settings = RBMSettings(rbm.visible_units.name, rbm.hidden_units.name, **{"centered": False, **options})
    return ContrastiveDivergence(rbm, settings, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def filled(rbm, seed, batch, **options):
    """Every gradient after one update, by name."""
    learner_of(rbm, seed, **options).fill_gradients(batch)
    return {name: parameter.grad.clone() for name, parameter in rbm.named_parameters()}


def gradients(rbm):
    return [getattr(rbm, name).grad.numpy().astype(float) for name in NAMES]


def rows_of(rbm, n_rows, seed):
    states = some_states(rbm.visible_units.name, rbm.n_visible, n_rows, seed)
    return torch.from_numpy(states).float()


def assert_close(found, expected, *, rtol=1e-5, atol=5e-6):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def mean_of(units, total_input, words):
    parts, start = [], 0
    for name, width in groups_of(units.name, total_input.shape[1]):
        parts.append(MEANS[name](total_input[:, start : start + width]))
        start += width
    return np.concatenate(parts, axis=1) * words


class Hand:
    """The conditionals of an RBM, whose weights and biases may be moved by a `change`."""

    def __init__(self, rbm, generator, change=(0, 0, 0)):
        self.rbm = rbm
        self.weight, self.b, self.c = (p + more for p, more in zip(arrays_of(rbm), change, strict=True))
        self.variance = np.exp(log_variance_of(rbm))
        self.sampler = BernoulliSampler(generator)

    def words(self, v):
        return v.sum(axis=1, keepdims=True) if self.rbm.visible_units.name == "replicated_softmax" else 1.0

    def up(self, v, mask=1.0):
        """E[h | v]."""
        return mask * mean_of(self.rbm.hidden_units, self._hidden_input(v), 1.0)

    def down(self, h, words=1.0):
        """E[v | h]."""
        return mean_of(self.rbm.visible_units, h @ self.weight + self.b, words)

    def draw_hidden(self, v, mask=1.0):
        return mask * self._draw(self.rbm.hidden_units, self._hidden_input(v))

    def draw_visible(self, h, words=1.0):
        totals = torch.from_numpy(words).float() if isinstance(words, np.ndarray) else None
        return self._draw(self.rbm.visible_units, h @ self.weight + self.b, totals)

    def _hidden_input(self, v):
        return (v / self.variance) @ self.weight.T + self.words(v) * self.c

    def _draw(self, units, total_input, totals=None):
        total_input = torch.from_numpy(total_input).float()
        out = torch.empty_like(total_input)
        extra = {} if totals is None else {"totals": totals}
        with torch.no_grad():
            return units.sample_(total_input, out, sampler=self.sampler, **extra).numpy().astype(float)


def contrast(hand, v, h, chain_v, chain_h, weight=None):
    """Mean of h'v'^T less mean of hv^T, and the same of the biases; rows count by their weights."""
    data = np.ones(len(v)) if weight is None else weight
    data = data[:, None] / len(v)
    chains = data if len(chain_v) == len(v) else np.full((len(chain_v), 1), data.sum() / len(chain_v))
    hidden_bias = (chains * hand.words(chain_v) * chain_h).sum(axis=0) - (data * hand.words(v) * h).sum(axis=0)
    return [
        (chains * chain_h).T @ chain_v - (data * h).T @ v,
        (chains * chain_v).sum(axis=0) - (data * v).sum(axis=0),
        hidden_bias / mean_square_words(hand.rbm, v),
    ]


def mean_square_words(rbm, v):
    """What the gradient of the hidden biases is divided by: 1 unless the visible units count words."""
    counts = rbm.visible_units.name == "replicated_softmax"
    return max(float(np.mean(v.sum(axis=1) ** 2)), 1.0) if counts else 1.0


def cd_phases(hand, v, k=1, *, sampled=False, mask=1.0):
    """v, E[h | v], v' and E[h | v'] of CD-k."""
    words = hand.words(v)
    h = hand.draw_hidden(v, mask)
    for step in range(k):
        last = step == k - 1
        chain_v = hand.down(h, words) if last and not sampled else hand.draw_visible(h, words)
        if not last:
            h = hand.draw_hidden(chain_v, mask)
    return v, hand.up(v, mask), chain_v, hand.up(chain_v, mask)


def mean_and_error(learner, batch_of, n_groups):
    """Mean gradient of many batches, and the standard error of each entry, by name."""
    groups = []
    for k in range(n_groups):
        learner.fill_gradients(batch_of(k))
        groups.append({name: p.grad.numpy().astype(float) for name, p in learner.module.named_parameters()})
    stacked = {name: np.stack([group[name] for group in groups]) for name in groups[0]}
    return {
        name: (each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(n_groups) + 1e-7)
        for name, each in stacked.items()
    }
