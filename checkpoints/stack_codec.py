"""How a stack is stored, and each kind of layer in it.

A new kind of layer is one row in `LAYER_CODECS`: its settings, the datasets that such settings call for, and which
tensor of a layer is which dataset.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from checkpoints import format as spec
from checkpoints.requirements import (
    ArraySpec,
    blaming,
    require_attribute,
    require_config,
    require_keys,
    require_kind,
)
from checkpoints.scaling_codec import build_scaling, check_scaling, encode_scaling
from checkpoints.tensors import Layout, Tensors, check_tensors, encode_tensors, fill_tensors, make_unfilled
from checkpoints.tree import Group, new_object
from pretrain._validation import require_choice, require_number
from pretrain.activations import ACTIVATIONS
from pretrain.autoencoder import OUTPUT_ACTIVATIONS, Autoencoder
from pretrain.column_groups import group_names, parse_groups
from pretrain.exceptions import CheckpointError
from pretrain.rbm import RBM
from pretrain.stack import Stack
from pretrain.supervised_layer import SupervisedLayer
from pretrain.unit_types import UNIT_TYPES, require_units

KIND, VERSION = "stack", 1
LAYERS, SCALING = "layers", "scaling"
SIZES = {"n_visible": (int,), "n_hidden": (int,)}


@dataclasses.dataclass(frozen=True)
class LayerCodec:
    """One kind of layer in files.

    Parameters
    ----------
    kind : str
    version : int
    make : callable
        Makes an empty layer from its settings.
    fields : dict of str to types
        The settings besides the sizes, each with its JSON type.
    check : callable
        Raises SettingsError unless the settings fit each other.
    config : callable
        The settings of a layer, besides its sizes.
    datasets : tuple of str
        Those that every layer of the kind has.
    """

    kind: str
    version: int
    make: Callable[..., Any]
    fields: Mapping[str, tuple[type, ...]]
    check: Callable[[Mapping[str, Any]], None]
    config: Callable[[Any], dict[str, Any]]
    datasets: tuple[str, ...] = ("weight", "visible_bias", "hidden_bias")

    def layout(self, config: Mapping[str, Any]) -> Layout:
        """The datasets of a layer with these settings."""
        n_visible, n_hidden = config["n_visible"], config["n_hidden"]
        shapes = {"weight": (n_hidden, n_visible), "visible_bias": (n_visible,), "hidden_bias": (n_hidden,)}
        layout = {name: ArraySpec(shapes[name]) for name in self.datasets}
        if not config.get("tied", True):
            layout["decoder_weight"] = ArraySpec((n_visible, n_hidden))
        units = config.get("visible_units", "")
        if "gaussian_learned" in group_names(units):
            groups = parse_groups("visible_units", units, n_visible, UNIT_TYPES)
            n_unused = sum(group.width for group in groups if group.name != "gaussian_learned")
            layout["visible_log_variance"] = ArraySpec((n_visible,), n_unused=n_unused)
        return layout

    def tensors(self, layer: Any) -> Tensors:
        """The tensors of a layer under the names of their datasets."""
        tensors = {name: getattr(layer, name) for name in self.datasets}
        if getattr(layer, "untied_weight", None) is not None:
            tensors["decoder_weight"] = layer.untied_weight
        learned = layer.visible_units.log_variances() if isinstance(layer, RBM) else []
        if learned:  # one entry a column, 0 for those whose variance is not learned
            tensors["visible_log_variance"] = torch.zeros_like(layer.visible_bias, requires_grad=False)
            for columns, log_variance in learned:
                tensors["visible_log_variance"][columns] = log_variance.detach()
        return tensors


def _check_units(config: Mapping[str, Any]) -> None:
    for side in ("visible", "hidden"):
        name, owner = config[f"{side}_units"], f"{side}_units of an rbm"
        require_units(owner, name, hidden=side == "hidden")
        parse_groups(owner, name, config[f"n_{side}"], UNIT_TYPES)


def _check_functions(config: Mapping[str, Any]) -> None:
    require_choice("an autoencoder", "activation", config["activation"], ACTIVATIONS)
    require_choice("an autoencoder", "reconstruction_loss", config["reconstruction_loss"], OUTPUT_ACTIVATIONS)


def _check_activation(config: Mapping[str, Any]) -> None:
    require_choice("a supervised layer", "activation", config["activation"], ACTIVATIONS)


LAYER_CODECS: dict[str, LayerCodec] = {
    codec.kind: codec
    for codec in (
        LayerCodec(
            RBM.kind,
            1,
            RBM,
            fields={"visible_units": (str,), "hidden_units": (str,)},
            check=_check_units,
            config=lambda rbm: {
                "visible_units": rbm.visible_units.name,
                "hidden_units": rbm.hidden_units.name,
            },
        ),
        LayerCodec(
            Autoencoder.kind,
            1,
            Autoencoder,
            fields={"activation": (str,), "reconstruction_loss": (str,), "tied": (bool,)},
            check=_check_functions,
            config=lambda autoencoder: {
                "activation": autoencoder.activation,
                "reconstruction_loss": autoencoder.reconstruction_loss,
                "tied": bool(autoencoder.tied),
            },
        ),
        LayerCodec(
            SupervisedLayer.kind,
            1,
            SupervisedLayer,
            fields={"activation": (str,)},
            check=_check_activation,
            config=lambda layer: {"activation": layer.activation},
            datasets=("weight", "hidden_bias"),
        ),
    )
}


def encode_stack(stack: Stack) -> Group:
    """The group of a stack."""
    layers = Group({spec.COUNT: len(stack.layers)})
    for k, layer in enumerate(stack.layers):
        layers.groups[spec.layer_name(k, len(stack.layers))] = encode_layer(layer, f"layer {k + 1}")
    return new_object(KIND, VERSION, groups={LAYERS: layers, SCALING: encode_scaling(stack.scaling)})


def check_stack(group: Group, path: str) -> list[dict[str, Any]]:
    """Raise unless the group is a legal stack; the settings of its layers, with `kind` and `n_parameters`."""
    require_kind(group, path, {KIND: VERSION})
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION), groups=(LAYERS, SCALING))
    summaries = [check_layer(layer, where) for where, layer in numbered_layers(group, path, at_least=1)]
    for k in range(1, len(summaries)):
        below, above = summaries[k - 1]["n_hidden"], summaries[k]["n_visible"]
        if below != above:
            raise CheckpointError(
                f"Layer {k + 1} of {path} must have as many visible units as layer {k} has hidden units "
                f"({below}); got {above}."
            )
    check_scaling(group.groups[SCALING], f"{path}/{SCALING}", summaries[0]["n_visible"])
    return summaries


def build_stack(group: Group, path: str) -> Stack:
    """The stack of a checked group."""
    layers = [build_layer(layer, where) for where, layer in numbered_layers(group, path)]
    return Stack(layers, build_scaling(group.groups[SCALING], f"{path}/{SCALING}"))


def numbered_layers(group: Group, path: str, *, at_least: int = 0) -> list[tuple[str, Group]]:
    """The groups `layers/00`, `layers/01`, ... of an object with their paths; `count` says how many there are."""
    layers, where = group.groups[LAYERS], f"{path}/{LAYERS}"
    count = require_attribute(layers, where, spec.COUNT, int)
    if count != len(layers.groups) or count < at_least:
        raise CheckpointError(
            f"{where} must hold as many groups as its attribute {spec.COUNT!r} says, {at_least} or more; it says "
            f"{count} and there are {len(layers.groups)}."
        )
    names = [spec.layer_name(k, count) for k in range(count)]
    require_keys(layers, where, attributes=(spec.COUNT,), groups=names)
    return [(f"{where}/{name}", layers.groups[name]) for name in names]


def encode_layer(layer: Any, owner: str) -> Group:
    """The group of a layer of any kind; an error names the `owner`."""
    kind = getattr(layer, "kind", type(layer).__name__)
    if kind not in LAYER_CODECS:
        raise CheckpointError(
            f"{owner.capitalize()} is of kind {kind!r}, for which the file format has no codec; it has "
            f"{', '.join(LAYER_CODECS)}."
        )
    codec = LAYER_CODECS[kind]
    config = {"n_visible": layer.n_visible, "n_hidden": layer.n_hidden, **codec.config(layer)}
    datasets = encode_tensors(codec.tensors(layer), owner)
    return new_object(codec.kind, codec.version, config, datasets=datasets)


def check_layer(group: Group, path: str) -> dict[str, Any]:
    """Raise unless the group is a legal layer; its kind, settings and number of parameters."""
    kind = require_kind(group, path, {codec.kind: codec.version for codec in LAYER_CODECS.values()})
    codec = LAYER_CODECS[kind]
    config = require_config(group, path, {**SIZES, **codec.fields})
    with blaming(path):
        for name in SIZES:
            require_number(kind, name, config[name], at_least=1, integer=True)
        codec.check(config)
    layout = codec.layout(config)
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION, spec.CONFIG), datasets=layout)
    check_tensors(group, path, layout)
    return {"kind": kind, **config, "n_parameters": sum(array.n_parameters for array in layout.values())}


def build_layer(group: Group, path: str) -> Any:
    """The layer of a checked group."""
    codec = LAYER_CODECS[str(group.attributes[spec.KIND])]
    layer = make_unfilled(codec.make, **require_config(group, path, {**SIZES, **codec.fields}))
    tensors = codec.tensors(layer)
    fill_tensors(tensors, group)
    if "visible_log_variance" in tensors:
        for columns, log_variance in layer.visible_units.log_variances():
            log_variance.data.copy_(tensors["visible_log_variance"][columns])
    return layer
