"""Small networks for every task, their data and their loss by hand."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from stacks import rows
from torch import nn

from pretrain.architecture import Architecture
from pretrain.finetuning import Finetuning
from pretrain.network import Network
from pretrain.settings import FinetuneSettings, TrainingSettings

N_ROWS, N_FEATURES, N_OUTPUTS = 23, 13, 3
TASKS = ("classification", "regression", "reconstruction")
tasks = pytest.mark.parametrize("task", TASKS)
OUTPUTS = {"classification": "softmax", "regression": "identity", "reconstruction": "sigmoid"}


def make_network(task="classification", seed=0, **options):
    n_outputs = N_FEATURES if task == "reconstruction" else N_OUTPUTS
    fields = {"hidden_layer_sizes": (7, 5), "activations": ("tanh", "sigmoid"), "output_activation": OUTPUTS[task]}
    network = Network(Architecture(N_FEATURES, n_outputs, task=task, **{**fields, **options}))
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return network


def targets(task, seed=0, n=N_ROWS):
    rng = np.random.default_rng(seed + 10)
    if task == "classification":
        return rng.integers(0, N_OUTPUTS, size=n)
    return rng.normal(size=(n, N_OUTPUTS)) if task == "regression" else None


X, LABELS = rows(0, N_ROWS, N_FEATURES), targets("classification")


def quick(*, head_epochs=0, layer_learning_rates=None, frozen_layers=(), **training):
    fields = {"epochs": 2, "batch_size": 7, "learning_rate": 0.05, "momentum": 0.5, **training}
    return FinetuneSettings(head_epochs, layer_learning_rates, frozen_layers, TrainingSettings(**fields))


def finetune(network, settings=None, *, task="classification", seed=0, X=None, y=None, **options):
    """Train in place; the records."""
    X = rows(seed, N_ROWS, N_FEATURES) if X is None else X
    y = targets(task, seed) if y is None else y
    return list(Finetuning(network, X, y, settings or quick(), seed=seed, device="cpu", **options))


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(module, before):
    return all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def formula(network, X, y):
    """Mean loss a row in float64."""
    h = X.astype(np.float64)
    for layer, function in zip(network.hidden, (np.tanh, expit), strict=True):
        h = function(
            h @ layer.linear.weight.detach().double().numpy().T + layer.linear.bias.detach().double().numpy()
        )
    output = h @ network.head.weight.detach().double().numpy().T + network.head.bias.detach().double().numpy()
    if network.architecture.task == "classification":
        return -log_softmax(output, axis=1)[np.arange(len(X)), y].mean()
    target = X.astype(np.float64) if y is None else y
    if network.architecture.output_activation == "identity":
        return ((output - target) ** 2).sum() / len(X)
    return -(target * np.log(expit(output)) + (1 - target) * np.log(expit(-output))).sum() / len(X)
