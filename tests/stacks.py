"""Small stacks of every kind of layer, with distinct prime dimensions."""

import numpy as np
import torch
from torch import nn

from pretrain.activations import ACTIVATIONS
from pretrain.autoencoder import Autoencoder
from pretrain.greedy import GreedyPretraining
from pretrain.rbm import RBM
from pretrain.settings import LAYER_SETTINGS, TrainingSettings
from pretrain.stack import Stack

SIZES = (13, 7, 5, 3)
BINARY, LINEAR = {"hidden_units": "bernoulli"}, {"hidden_units": "gaussian"}

TABLE = "bernoulli:3+gaussian:4+softmax:2+spin:1+softmax:3"

# Name: one (class, options) for each layer. Visible units are what the layer below has as hidden units.
KINDS = {
    "binary RBMs": [(RBM, {})] * 3,
    "Gaussian data": [(RBM, {"visible_units": "gaussian"}), (RBM, {}), (RBM, {})],
    "linear code": [(RBM, {}), (RBM, {}), (RBM, LINEAR)],
    "linear in the middle": [(RBM, LINEAR), (RBM, {"visible_units": "gaussian"}), (RBM, {})],
    "one RBM": [(RBM, {})],
    "one Gaussian RBM": [(RBM, {"visible_units": "gaussian", **LINEAR})],
    **{
        f"{activation}, {loss}, {'tied' if tied else 'untied'}": [
            (Autoencoder, {"activation": activation, "reconstruction_loss": loss, "tied": tied})
        ]
        * 2
        for activation in ACTIVATIONS
        for loss, tied in (("cross_entropy", True), ("squared_error", False))
    },
    "an RBM under autoencoders": [(RBM, {}), (Autoencoder, {"tied": False}), (Autoencoder, {"activation": "tanh"})],
    "spins": [(RBM, {"visible_units": "spin", "hidden_units": "spin"})] * 3,
    "categories": [(RBM, {"visible_units": "softmax", "hidden_units": "softmax"})] * 3,
    "noisy rectified units": [
        (RBM, {"visible_units": "noisy_relu", "hidden_units": "noisy_relu"}),
        (RBM, {"visible_units": "gaussian", "hidden_units": "noisy_relu"}),
    ],
    "a mixed table": [
        (RBM, {"visible_units": TABLE, "hidden_units": "bernoulli:4+noisy_relu:2+spin:1"}),
        (RBM, {"visible_units": "bernoulli:4+gaussian:2+spin:1", "hidden_units": "softmax:2+softmax:3"}),
        (RBM, {"visible_units": "softmax:2+softmax:3", "hidden_units": "gaussian"}),
    ],
}
# Kinds whose first layer scales its inputs on the way in: unrolled, the factor is in the weights, and the last bits
# of a product differ.
SCALED_KINDS = {
    "documents": [(RBM, {"visible_units": "replicated_softmax"}), (RBM, {})],
    "learned variances": [(RBM, {"visible_units": "gaussian_learned"}), (RBM, {})],
    "a mixed table with learned variances": [
        (RBM, {"visible_units": TABLE.replace("gaussian", "gaussian_learned")}),
        (RBM, LINEAR),
    ],
}


def make_stack(kind, seed=0, sizes=SIZES, scaling=None):
    """A stack whose weights and biases are all drawn."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        cls(below, above, **options)
        for (cls, options), below, above in zip({**KINDS, **SCALED_KINDS}[kind], sizes, sizes[1:], strict=False)
    ]
    stack = Stack(layers, scaling)
    for parameter in stack.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return stack


def rows(seed=0, n=11, n_features=SIZES[0]):
    return np.random.default_rng(seed).random((n, n_features)).astype(np.float32)


def quick(kind="rbm", *, epochs=2, **options):
    """Settings of a layer that train for a moment; options of the loop and of the layer alike."""
    cls = LAYER_SETTINGS[kind]
    own = {name: value for name, value in options.items() if name in cls.__dataclass_fields__}
    loop = {name: value for name, value in options.items() if name not in own}
    training = TrainingSettings(**{"epochs": epochs, "batch_size": 7, "learning_rate": 0.05, "momentum": 0.5, **loop})
    return cls(**own, training=training)


def labels(n):
    """Of n rows, for supervised layers; the others do not look at them."""
    return np.arange(n) % 3


def pretraining(X, sizes, settings, seed=0, **options):
    return GreedyPretraining(X, sizes, settings, seed=seed, device="cpu", **{"y": labels(X.shape[0]), **options})


def pretrained(X, sizes, settings, seed=0, **options):
    """The run, finished, and its records."""
    run = pretraining(X, sizes, settings, seed, **options)
    return run, list(run)


def same(one, two):
    one, two = one.state_dict(), two.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
