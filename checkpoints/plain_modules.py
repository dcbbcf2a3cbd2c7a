"""Models as plain `torch.nn.Sequential`s and back: no class of this toolkit is needed to use what comes out.

A scaling of rows becomes `BatchNorm1d`s of mean 0 and variance 1: with a weight w and a bias b each computes w x + b.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from checkpoints.estimator_codec import ESTIMATORS, fitted_state
from checkpoints.requirements import blaming
from pretrain.architecture import OUTPUT_ACTIVATIONS, Architecture
from pretrain.dbm import DBM
from pretrain.dbn import DBN
from pretrain.exceptions import CheckpointError
from pretrain.hidden_layers import DenselyConnectedLayer, ResidualLayer
from pretrain.image_networks import ImageNetwork
from pretrain.network import Network
from pretrain.scaling import Scaling
from pretrain.stack import Stack

ACTIVATION_MODULES: dict[str, Any] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "identity": nn.Identity,
    "softmax": lambda: nn.Softmax(dim=1),
}
_EPSILON = 1e-5  # of every norm in the file format


@torch.no_grad()
def to_torch(model: Any) -> nn.Sequential:
    """A plain module that maps raw rows to what the model predicts, with weights of its own.

    Parameters
    ----------
    model : Stack, Network or fitted estimator
        Of a classifier the module gives probabilities of classes or labels, of a regressor the targets, of a deep
        autoencoder reconstructions, of a stack the codes of its top layer.

    Raises
    ------
    CheckpointError
        If the model is a DBN or a DBM, has residual or densely connected layers, or a layer of mixed units: no plain
        module computes those.
    """
    if ESTIMATORS.get(type(model).__name__) is type(model):
        model = fitted_state(model)["model"]
    if isinstance(model, DBN | DBM):
        raise CheckpointError(
            f"A {type(model).__name__} is a generative model, which no nn.Sequential computes. Export its weights to "
            "npz; checkpoints/FORMAT.md has the formulas."
        )
    if isinstance(model, ImageNetwork):
        raise CheckpointError("A convolutional network is no nn.Sequential of rows. Export it to npz.")
    if not isinstance(model, Network | Stack):
        raise CheckpointError(
            f"A Stack, a Network or a fitted estimator of one can be exported; got {type(model).__name__}."
        )
    modules: list[nn.Module | None] = _scaled(model.scaling, model.n_visible)
    if isinstance(model, Stack):
        for layer in model.layers:
            modules += [_linear(layer.encoder_weight, layer.encoder_bias), _activation(layer.activation)]
    else:
        spec = model.architecture
        for layer, activation in zip(model.hidden, spec.activations, strict=True):
            if isinstance(layer, ResidualLayer | DenselyConnectedLayer):
                sort = "residual" if isinstance(layer, ResidualLayer) else "densely connected"
                raise CheckpointError(f"A network with {sort} layers is no nn.Sequential. Export it to npz.")
            modules += [_linear(layer.linear.weight, layer.linear.bias), _norm(layer.norm), _activation(activation)]
        modules += [_linear(model.head.weight, model.head.bias), _activation(spec.output_activation)]
        outputs = {"regression": model.target_scaling, "reconstruction": model.scaling}
        modules.append(_unscaled(outputs.get(spec.task, Scaling.none()), spec.n_outputs))
    return nn.Sequential(*(module for module in modules if module is not None)).eval()


@torch.no_grad()
def from_torch(module: nn.Module, *, task: str = "classification", classes: Any = None) -> Network:
    """The network of a plain multi-layer perceptron, in evaluation mode.

    Parameters
    ----------
    module : nn.Sequential
        `Linear` layers in float32, each but the last followed by what it wants of `BatchNorm1d` or `LayerNorm`, an
        activation (Sigmoid, Tanh, ReLU, LeakyReLU, Softplus, GELU) and `Dropout`; a `Dropout` may stand first and a
        `Softmax`, `Sigmoid` (of several labels or a reconstruction) or nothing last. Sequentials in it are opened.
    task : {"classification", "multilabel", "regression", "reconstruction"}
        Of a classifier, the outputs are the logits of the classes, with or without a Softmax.
    classes : array of shape (n_outputs,) or None
        The labels; 0 to n_outputs - 1 where they are not given.

    Raises
    ------
    CheckpointError
        If the module is anything else.
    """
    input_rate, layers = _read(list(_flat(module)))
    hidden, last = layers[:-1], layers[-1]
    for below, above in pairwise(layers):
        if below.linear.out_features != above.linear.in_features:
            raise CheckpointError(
                f"A Linear layer of {below.linear.out_features} outputs is followed by one of "
                f"{above.linear.in_features} inputs."
            )
    legal = {"identity", OUTPUT_ACTIVATIONS.get(task, "sigmoid")}
    if last.activation not in legal or last.norm is not None or last.rate:
        raise CheckpointError(f"A network for {task} ends in a Linear layer and one of {', '.join(sorted(legal))}.")
    if len({(type(layer.norm), layer.rate) for layer in hidden}) > 1:
        raise CheckpointError("One norm and one rate of dropout must stand in all hidden layers, or in none.")
    with blaming(f"The {type(module).__name__}"):
        architecture = Architecture(
            n_features=layers[0].linear.in_features,
            n_outputs=last.linear.out_features,
            hidden_layer_sizes=tuple(layer.linear.out_features for layer in hidden),
            activations=tuple(layer.activation for layer in hidden),
            output_activation=OUTPUT_ACTIVATIONS.get(task, last.activation),
            task=task,
            batch_norm=any(isinstance(layer.norm, nn.BatchNorm1d) for layer in hidden),
            layer_norm=any(isinstance(layer.norm, nn.LayerNorm) for layer in hidden),
            input_dropout=input_rate,
            dropout=hidden[0].rate if hidden else 0.0,
        )
    labels = None if classes is None else np.asarray(classes)
    if labels is not None and labels.shape != (architecture.n_outputs,):
        raise CheckpointError(f"classes must name the {architecture.n_outputs} outputs; got shape {labels.shape}.")
    network = Network(architecture, classes=labels)
    for layer, given in zip(network.hidden, hidden, strict=True):
        copy_linear(layer.linear, given.linear.weight, given.linear.bias)
        if given.norm is not None:
            layer.norm.load_state_dict(given.norm.state_dict())
    copy_linear(network.head, last.linear.weight, last.linear.bias)
    return network.eval()


@torch.no_grad()
def copy_linear(target: nn.Linear, weight: Any, bias: Any = None) -> None:
    """Fill a linear layer, with zeros for a bias that is not there."""
    target.weight.copy_(torch.as_tensor(weight))
    target.bias.copy_(torch.zeros_like(target.bias) if bias is None else torch.as_tensor(bias))


@dataclasses.dataclass
class _PlainLayer:
    linear: nn.Linear
    norm: nn.BatchNorm1d | nn.LayerNorm | None = None
    activation: str = "identity"
    rate: float = 0.0


def _read(modules: Sequence[nn.Module]) -> tuple[float, list[_PlainLayer]]:
    """The rate of dropout of the inputs, and the layers of a perceptron."""
    sorts = {nn.Linear: "L", nn.BatchNorm1d: "N", nn.LayerNorm: "N", nn.Dropout: "D"}
    order = "".join(sorts.get(type(module), "A") for module in modules)
    if not re.fullmatch(r"D?(LN?A?D?)+", order):
        raise CheckpointError(
            "A plain multi-layer perceptron is Linear layers, each followed by BatchNorm1d or LayerNorm, an "
            f"activation and Dropout or some of these; got {', '.join(type(module).__name__ for module in modules)}."
        )
    input_rate, layers = 0.0, []
    for module in modules:
        if isinstance(module, nn.Linear):
            if module.weight.dtype != torch.float32:
                raise CheckpointError(f"Linear layers must be float32; got {module.weight.dtype}. Call .float().")
            layers.append(_PlainLayer(module))
        elif isinstance(module, nn.BatchNorm1d):
            if module.eps != _EPSILON or not module.affine or not module.track_running_stats:
                raise CheckpointError(f"Batch norm must have eps={_EPSILON}, weights and statistics; got {module}.")
            layers[-1].norm = module
        elif isinstance(module, nn.LayerNorm):
            of_units = module.normalized_shape == (layers[-1].linear.out_features,)
            if module.eps != _EPSILON or not of_units or module.weight is None or module.bias is None:
                raise CheckpointError(
                    f"Layer norm must have eps={_EPSILON}, of all units, weights and biases; got {module}."
                )
            layers[-1].norm = module
        elif isinstance(module, nn.Dropout) and layers:
            layers[-1].rate = module.p
        elif isinstance(module, nn.Dropout):
            input_rate = module.p
        else:
            layers[-1].activation = _name(module)
    return input_rate, layers


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _flat(child)
    else:
        yield module


def _name(module: nn.Module) -> str:
    for name, make in ACTIVATION_MODULES.items():
        if repr(make()) == repr(module):  # with its slope, beta or dimension
            return name
    legal = ", ".join(repr(make()) for make in ACTIVATION_MODULES.values())
    raise CheckpointError(f"{module} is none of the activations that a checkpoint knows: {legal}.")


def _activation(name: str) -> nn.Module | None:
    if name not in ACTIVATION_MODULES:
        raise CheckpointError(f"A layer of mixed units ({name}) is no plain module. Export the model to npz.")
    return None if name == "identity" else ACTIVATION_MODULES[name]()


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta").to_empty(device="cpu")
    copy_linear(linear, weight, bias)
    return linear


def _scaled(scaling: Scaling, n_columns: int) -> list[nn.Module | None]:
    """(x - offset) / scale.

    In one w x + b, both terms of a column far from zero would be large and their difference without its digits. So
    the offset goes first and alone, and what float32 rounds off it goes with the scale.
    """
    if scaling.kind == "none":
        return []
    offset = scaling.offset.astype(np.float32)
    weight = 1 / scaling.scale
    scaled = _affine(weight, (offset - scaling.offset) * weight, n_columns)
    return [_affine(np.ones(1), -offset, n_columns), scaled] if offset.any() else [scaled]


def _unscaled(scaling: Scaling, n_columns: int) -> nn.BatchNorm1d | None:
    return None if scaling.kind == "none" else _affine(scaling.scale, scaling.offset, n_columns)


def _affine(weight: np.ndarray, bias: np.ndarray, n_columns: int) -> nn.BatchNorm1d:
    """x weight + bias: a batch norm of mean 0 and variance 1."""
    norm = nn.BatchNorm1d(n_columns, eps=0.0)
    norm.weight.copy_(torch.from_numpy(weight))
    norm.bias.copy_(torch.from_numpy(bias))
    return norm


def _norm(norm: nn.BatchNorm1d | nn.LayerNorm | None) -> nn.BatchNorm1d | nn.LayerNorm | None:
    if norm is None:
        return None
    copied = nn.LayerNorm(len(norm.weight)) if isinstance(norm, nn.LayerNorm) else nn.BatchNorm1d(len(norm.weight))
    copied.load_state_dict(norm.state_dict())
    return copied
