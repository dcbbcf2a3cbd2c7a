"""How a convolutional network is stored: its architecture, the tensors of its layers by their names, its labels."""

import dataclasses
from typing import Any

import torch
from torch import nn

from checkpoints import format as spec
from checkpoints.network_codec import (
    HEAD,
    LINEAR,
    MEMBERS,
    OPTIONAL_MEMBERS,
    check_members,
    encode_members,
    read_members,
)
from checkpoints.requirements import ArraySpec, blaming, require_config, require_keys, require_kind
from checkpoints.stack_codec import LAYERS, numbered_layers
from checkpoints.tensors import Layout, check_tensors, encode_tensors, fill_tensors
from checkpoints.tree import Group, new_object
from pretrain.exceptions import CheckpointError
from pretrain.image_architecture import ImageArchitecture
from pretrain.image_networks import ImageNetwork

KIND, VERSION = "image_network", 1
LAYER_VERSION = 1
_FIELDS: dict[str, tuple[type, ...]] = {
    "image_shape": (list,),
    "n_outputs": (int,),
    "family": (str,),
    "depth": (int,),
    "width": (int,),
    "preactivation": (bool,),
    "bottleneck": (bool,),
    "survival_probability": (int, float),
    "output_activation": (str,),
    "task": (str,),
    "input_dropout": (int, float),
    "dropout": (int, float),
}
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def encode_image_network(network: ImageNetwork) -> Group:
    """The group of a convolutional network."""
    layers = Group({spec.COUNT: len(network.hidden)})
    for k, (layer, plan) in enumerate(zip(network.hidden, network.architecture.plan(), strict=True)):
        datasets = encode_tensors(layer.state_dict(), f"hidden layer {k + 1}")
        layers.groups[spec.layer_name(k, len(network.hidden))] = new_object(
            plan.kind, LAYER_VERSION, datasets=datasets
        )
    groups = {LAYERS: layers, **encode_members(network)}
    return new_object(KIND, VERSION, dataclasses.asdict(network.architecture), groups=groups)


def check_image_network(group: Group, path: str) -> list[dict[str, Any]]:
    """Raise unless the group is a legal convolutional network; what its layers are, the output layer last."""
    require_kind(group, path, {KIND: VERSION})
    attributes = (spec.KIND, spec.KIND_VERSION, spec.CONFIG)
    require_keys(group, path, attributes=attributes, groups=(LAYERS, *MEMBERS), optional_groups=OPTIONAL_MEMBERS)
    architecture = _read_architecture(group, path)
    layers = numbered_layers(group, path)
    if len(layers) != architecture.n_layers:
        raise CheckpointError(
            f"{path}/{LAYERS} must hold the {architecture.n_layers} layers of the architecture; got {len(layers)}."
        )
    with torch.device("meta"):  # sizes and no memory
        network = ImageNetwork(architecture)
    plans = architecture.plan()
    summaries = [
        _check_layer(stored, where, plan.kind, layer, (plan.n_inputs, plan.n_units), "relu")
        for (where, stored), layer, plan in zip(layers, network.hidden, plans, strict=True)
    ]
    sizes, outputs = (architecture.widths[-1], architecture.n_outputs), architecture.output_activation
    summaries.append(_check_layer(group.groups[HEAD], f"{path}/{HEAD}", LINEAR, network.head, sizes, outputs))
    check_members(group, path, architecture.n_features, architecture.n_outputs)
    return summaries


def build_image_network(group: Group, path: str) -> ImageNetwork:
    """The network of a checked group, in evaluation mode."""
    network = ImageNetwork(_read_architecture(group, path), **read_members(group, path))
    for layer, (_, stored) in zip(network.hidden, numbered_layers(group, path), strict=True):
        fill_tensors(layer.state_dict(keep_vars=True), stored)
    fill_tensors(network.head.state_dict(keep_vars=True), group.groups[HEAD])
    return network.eval()


def _read_architecture(group: Group, path: str) -> ImageArchitecture:
    config = require_config(group, path, _FIELDS)
    with blaming(path):
        return ImageArchitecture(**{**config, "image_shape": tuple(config["image_shape"])})


def _check_layer(
    group: Group, path: str, kind: str, layer: nn.Module, sizes: tuple[int, int], activation: str
) -> dict[str, Any]:
    layout = _layout(layer)
    require_kind(group, path, {kind: LAYER_VERSION})
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION), datasets=layout)
    check_tensors(group, path, layout)
    return {
        "kind": kind,
        "n_inputs": sizes[0],
        "n_units": sizes[1],
        "activation": activation,
        "n_parameters": sum(array.n_parameters for array in layout.values()),
    }


def _layout(layer: nn.Module) -> Layout:
    return {
        name: ArraySpec(
            tuple(tensor.shape),
            "<i8" if tensor.dtype == torch.int64 else "<f4",
            trainable=not name.endswith(_STATISTICS),
        )
        for name, tensor in layer.state_dict().items()
    }
