"""How a network is stored: its architecture, its layers from the data upwards, its output layer, its labels."""

import dataclasses
from typing import Any

from checkpoints import format as spec
from checkpoints.label_arrays import build_labels, check_labels, encode_labels
from checkpoints.requirements import ArraySpec, blaming, require_config, require_keys, require_kind
from checkpoints.scaling_codec import build_scaling, check_scaling, encode_scaling
from checkpoints.stack_codec import LAYERS, SCALING, numbered_layers
from checkpoints.tensors import (
    Layout,
    Tensors,
    check_tensors,
    encode_tensors,
    fill_tensors,
    linear_layout,
    linear_tensors,
    norm_layout,
    norm_tensors,
)
from checkpoints.tree import Group, new_object
from pretrain.architecture import Architecture
from pretrain.exceptions import CheckpointError
from pretrain.hidden_layers import ResidualLayer
from pretrain.network import Network

KIND, VERSION = "network", 2  # 1: as older readers know it, without what is optional here
HEAD, TARGET_SCALING, CLASSES = "head", "target_scaling", "classes"
# What every network has beside its hidden layers.
MEMBERS, OPTIONAL_MEMBERS = (HEAD, SCALING, TARGET_SCALING), (CLASSES,)
# Kinds of the groups of layers, with their versions.
DENSE, RESIDUAL, DENSELY_CONNECTED, LINEAR = "dense", "residual", "densely_connected", "linear"
LAYER_VERSION = 1
_FIELDS: dict[str, tuple[type, ...]] = {
    "n_features": (int,),
    "n_outputs": (int,),
    "hidden_layer_sizes": (list,),
    "activations": (list,),
    "output_activation": (str,),
    "task": (str,),
    "layer_type": (str,),
    "batch_norm": (bool,),
    "input_dropout": (int, float),
    "dropout": (int, float),
    "n_encoder_layers": (int, type(None)),
}
# In a file where they are not what `Architecture` has by default.
_OPTIONAL_FIELDS: dict[str, tuple[type, ...]] = {
    "layer_norm": (bool,),
    "shortcut": (str,),
    "survival_probability": (int, float),
}


def encode_network(network: Network) -> Group:
    """The group of a network."""
    architecture = network.architecture
    layers = Group({spec.COUNT: len(network.hidden)})
    for k, layer in enumerate(network.hidden):
        kind, _ = _layer_kind_and_layout(architecture, k)
        name = spec.layer_name(k, len(network.hidden))
        layers.groups[name] = _encode_layer(kind, _layer_tensors(layer), f"hidden layer {k + 1}")
    groups = {LAYERS: layers, **encode_members(network)}
    config = _config(architecture)
    new = architecture.layer_type == DENSELY_CONNECTED or set(config) & set(_OPTIONAL_FIELDS)
    return new_object(KIND, VERSION if new else 1, config, groups=groups)


def check_network(group: Group, path: str) -> list[dict[str, Any]]:
    """Raise unless the group is a legal network; what its layers are, the output layer last."""
    require_kind(group, path, {KIND: VERSION})
    require_keys(
        group,
        path,
        attributes=(spec.KIND, spec.KIND_VERSION, spec.CONFIG),
        groups=(LAYERS, *MEMBERS),
        optional_groups=OPTIONAL_MEMBERS,
    )
    architecture = read_architecture(group, path)
    layers = numbered_layers(group, path)
    if len(layers) != len(architecture.hidden_layer_sizes):
        raise CheckpointError(
            f"{path}/{LAYERS} must hold the {len(architecture.hidden_layer_sizes)} layers of the architecture; "
            f"got {len(layers)}."
        )
    summaries = [_check_layer(layer, where, architecture, k) for k, (where, layer) in enumerate(layers)]
    summaries.append(_check_layer(group.groups[HEAD], f"{path}/{HEAD}", architecture, len(layers)))
    check_members(group, path, architecture.n_features, architecture.n_outputs)
    return summaries


def build_network(group: Group, path: str) -> Network:
    """The network of a checked group, in evaluation mode."""
    network = Network(read_architecture(group, path), **read_members(group, path))
    for layer, (_, stored) in zip(network.hidden, numbered_layers(group, path), strict=True):
        fill_tensors(_layer_tensors(layer), stored)
    fill_tensors(linear_tensors(network.head), group.groups[HEAD])
    return network.eval()


def encode_members(network: Network) -> dict[str, Group]:
    """The output layer, the scalings and the labels of a network of any kind."""
    groups = {
        HEAD: _encode_layer(LINEAR, linear_tensors(network.head), "the output layer"),
        SCALING: encode_scaling(network.scaling),
        TARGET_SCALING: encode_scaling(network.target_scaling),
    }
    if network.classes is not None:
        groups[CLASSES] = encode_labels(network.classes, "the classes of the network")
    return groups


def check_members(group: Group, path: str, n_features: int, n_outputs: int) -> None:
    """Raise unless the scalings and labels are such as fit the network."""
    check_scaling(group.groups[SCALING], f"{path}/{SCALING}", n_features)
    check_scaling(group.groups[TARGET_SCALING], f"{path}/{TARGET_SCALING}", n_outputs)
    if CLASSES in group.groups:
        shape = check_labels(group.groups[CLASSES], f"{path}/{CLASSES}").shape
        if shape != (n_outputs,):
            raise CheckpointError(
                f"{path}/{CLASSES} must hold one label an output, shape ({n_outputs},); got {shape}."
            )


def read_members(group: Group, path: str) -> dict[str, Any]:
    """The scalings and labels of a checked group, as keyword arguments of its network."""
    classes = group.groups.get(CLASSES)
    return {
        "scaling": build_scaling(group.groups[SCALING], f"{path}/{SCALING}"),
        "classes": None if classes is None else build_labels(classes, f"{path}/{CLASSES}"),
        "target_scaling": build_scaling(group.groups[TARGET_SCALING], f"{path}/{TARGET_SCALING}"),
    }


def read_architecture(group: Group, path: str) -> Architecture:
    """The architecture, which is legal in every field; nothing is allocated."""
    optional = _OPTIONAL_FIELDS if group.attributes.get(spec.KIND_VERSION) != 1 else {}
    config = require_config(group, path, _FIELDS, optional)
    with blaming(path):
        if len(config["activations"]) != len(config["hidden_layer_sizes"]):
            raise ValueError(
                f"{len(config['hidden_layer_sizes'])} hidden layers have {len(config['activations'])} activations"
            )
        encoded = config["n_encoder_layers"]
        if encoded is not None and not 1 <= encoded <= len(config["hidden_layer_sizes"]):
            raise ValueError(f"n_encoder_layers is {encoded} of {len(config['hidden_layer_sizes'])} hidden layers")
        sizes, activations = tuple(config["hidden_layer_sizes"]), tuple(config["activations"])
        return Architecture(**{**config, "hidden_layer_sizes": sizes, "activations": activations})


def _config(architecture: Architecture) -> dict[str, Any]:
    fields = dataclasses.fields(architecture)
    values = {field.name: getattr(architecture, field.name) for field in fields}
    default = {field.name for field in fields if values[field.name] == field.default}
    return {name: value for name, value in values.items() if name in _FIELDS or name not in default}


def _encode_layer(kind: str, tensors: Tensors, owner: str) -> Group:
    return new_object(kind, LAYER_VERSION, datasets=encode_tensors(tensors, owner))


def _layer_tensors(layer: Any) -> Tensors:
    tensors = linear_tensors(layer.linear)
    if layer.norm is not None:
        tensors |= norm_tensors(layer.norm)
    if isinstance(layer, ResidualLayer):
        tensors |= norm_tensors(layer.inner_norm, "inner_norm_") | linear_tensors(layer.outer, "outer_")
        if layer.shortcut is not None:
            tensors["shortcut_weight"] = layer.shortcut.weight
    return tensors


def _layer_kind_and_layout(architecture: Architecture, k: int) -> tuple[str, Layout]:
    n_inputs = architecture.widths[k]
    if k == len(architecture.hidden_layer_sizes):
        return LINEAR, linear_layout(n_inputs, architecture.n_outputs)
    n_units, layer_norm = architecture.hidden_layer_sizes[k], architecture.layer_norm
    layout = linear_layout(n_inputs, n_units)
    if architecture.layer_type != RESIDUAL or k == 0:
        if architecture.batch_norm or layer_norm:
            layout |= norm_layout(n_units, layer_norm=layer_norm)
        return DENSELY_CONNECTED if architecture.layer_type == DENSELY_CONNECTED else DENSE, layout
    layout |= norm_layout(n_inputs, layer_norm=layer_norm)
    layout |= norm_layout(n_units, "inner_norm_", layer_norm=layer_norm)
    layout |= linear_layout(n_units, n_units, "outer_")
    if n_inputs != n_units or architecture.shortcut == "projected":
        layout["shortcut_weight"] = ArraySpec((n_units, n_inputs))
    return RESIDUAL, layout


def _check_layer(group: Group, path: str, architecture: Architecture, k: int) -> dict[str, Any]:
    kind, layout = _layer_kind_and_layout(architecture, k)
    require_kind(group, path, {kind: LAYER_VERSION})
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION), datasets=layout)
    check_tensors(group, path, layout)
    n_units, n_inputs = layout["weight"].shape
    return {
        "kind": kind,
        "n_inputs": n_inputs,
        "n_units": n_units,
        "activation": (*architecture.activations, architecture.output_activation)[k],
        "n_parameters": sum(array.n_parameters for array in layout.values()),
    }
