"""How a deep belief net is stored: its directed layers from the data upwards, its memory, its labels."""

from typing import Any

from checkpoints import format as spec
from checkpoints.label_arrays import build_labels, check_labels, encode_labels
from checkpoints.requirements import ArraySpec, blaming, require_config, require_keys, require_kind
from checkpoints.scaling_codec import build_scaling, check_scaling, encode_scaling
from checkpoints.stack_codec import LAYERS, SCALING, SIZES, build_layer, check_layer, encode_layer, numbered_layers
from checkpoints.tensors import Layout, Tensors, check_tensors, encode_tensors, fill_tensors, make_unfilled
from checkpoints.tree import Group, new_object
from pretrain._validation import require_number
from pretrain.associative_memory import memory_units
from pretrain.column_groups import parse_groups
from pretrain.dbn import DBN, DirectedLayer, require_data_units
from pretrain.exceptions import CheckpointError
from pretrain.rbm import RBM
from pretrain.unit_types import UNIT_TYPES

KIND, VERSION = "dbn", 1
DIRECTED, DIRECTED_VERSION = DirectedLayer.kind, 1
MEMORY, CLASSES = "memory", "classes"
_TENSORS = ("recognition_weight", "recognition_bias", "generative_weight", "generative_bias")


def encode_dbn(dbn: DBN) -> Group:
    """The group of a deep belief net."""
    layers = Group({spec.COUNT: len(dbn.layers)})
    for k, layer in enumerate(dbn.layers):
        config = {
            "n_visible": layer.n_visible,
            "n_hidden": layer.n_hidden,
            "visible_units": layer.visible_units.name,
        }
        datasets = encode_tensors(_tensors(layer), f"layer {k + 1}")
        name = spec.layer_name(k, len(dbn.layers))
        layers.groups[name] = new_object(DIRECTED, DIRECTED_VERSION, config, datasets=datasets)
    groups = {LAYERS: layers, MEMORY: encode_layer(dbn.memory, "the memory"), SCALING: encode_scaling(dbn.scaling)}
    if dbn.classes is not None:
        groups[CLASSES] = encode_labels(dbn.classes, "the classes of the DBN")
    return new_object(KIND, VERSION, groups=groups)


def check_dbn(group: Group, path: str) -> list[dict[str, Any]]:
    """Raise unless the group is a legal deep belief net; what its layers are, the memory last."""
    require_kind(group, path, {KIND: VERSION})
    require_keys(
        group,
        path,
        attributes=(spec.KIND, spec.KIND_VERSION),
        groups=(LAYERS, MEMORY, SCALING),
        optional_groups=(CLASSES,),
    )
    summaries = [_check_directed(layer, where) for where, layer in numbered_layers(group, path)]
    memory = check_layer(group.groups[MEMORY], f"{path}/{MEMORY}")
    n_classes = 0
    if CLASSES in group.groups:
        shape = check_labels(group.groups[CLASSES], f"{path}/{CLASSES}").shape
        if len(shape) != 1 or not 1 <= shape[0] < memory["n_visible"]:
            raise CheckpointError(f"{path}/{CLASSES} must hold one label a label unit of the memory; got {shape}.")
        n_classes = shape[0]
    _require_fit(summaries, memory, n_classes, path)
    n_features = summaries[0]["n_visible"] if summaries else memory["n_visible"] - n_classes
    check_scaling(group.groups[SCALING], f"{path}/{SCALING}", n_features)
    return [*summaries, memory]


def build_dbn(group: Group, path: str) -> DBN:
    """The net of a checked group."""
    layers = []
    for where, stored in numbered_layers(group, path):
        layer = make_unfilled(DirectedLayer, **_config(stored, where))
        fill_tensors(_tensors(layer), stored)
        layers.append(layer)
    classes = group.groups.get(CLASSES)
    return DBN(
        layers,
        build_layer(group.groups[MEMORY], f"{path}/{MEMORY}"),
        classes=None if classes is None else build_labels(classes, f"{path}/{CLASSES}"),
        scaling=build_scaling(group.groups[SCALING], f"{path}/{SCALING}"),
    )


def _tensors(layer: DirectedLayer) -> Tensors:
    return {name: getattr(layer, name) for name in _TENSORS}


def _config(group: Group, path: str) -> dict[str, Any]:
    return require_config(group, path, {**SIZES, "visible_units": (str,)})


def _check_directed(group: Group, path: str) -> dict[str, Any]:
    require_kind(group, path, {DIRECTED: DIRECTED_VERSION})
    config = _config(group, path)
    n_visible, n_hidden = config["n_visible"], config["n_hidden"]
    with blaming(path):
        for name in SIZES:
            require_number(DIRECTED, name, config[name], at_least=1, integer=True)
        require_data_units(config["visible_units"])
        parse_groups(f"visible_units of {DIRECTED}", config["visible_units"], n_visible, UNIT_TYPES)
    layout: Layout = {
        "recognition_weight": ArraySpec((n_hidden, n_visible)),
        "recognition_bias": ArraySpec((n_hidden,)),
        "generative_weight": ArraySpec((n_visible, n_hidden)),
        "generative_bias": ArraySpec((n_visible,)),
    }
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION, spec.CONFIG), datasets=layout)
    check_tensors(group, path, layout)
    return {"kind": DIRECTED, **config, "n_parameters": sum(array.n_parameters for array in layout.values())}


def _require_fit(layers: list[dict[str, Any]], memory: dict[str, Any], n_classes: int, path: str) -> None:
    """Raise unless every layer sees the binary units of the one below, and the memory also the labels."""
    if memory["kind"] != RBM.kind:
        raise CheckpointError(f"{path}/{MEMORY} must be an rbm; got {memory['kind']!r}.")
    for k in range(1, len(layers)):
        below, layer = layers[k - 1]["n_hidden"], layers[k]
        if (layer["n_visible"], layer["visible_units"]) != (below, "bernoulli"):
            raise CheckpointError(
                f"Layer {k + 1} of {path} must have the {below} bernoulli units of the layer below as visible units; "
                f"got {layer['n_visible']} of type {layer['visible_units']!r}."
            )
    found = memory["n_visible"], memory["visible_units"]
    if layers:
        below = layers[-1]["n_hidden"]
        wanted = below + n_classes, memory_units("bernoulli", below, n_classes)
        fits = found == wanted
    else:
        wanted = memory["n_visible"], f"...+softmax:{n_classes}"
        fits = n_classes == 0 or memory["visible_units"].endswith(f"+softmax:{n_classes}")
    if not fits:
        raise CheckpointError(f"{path}/{MEMORY} must have {wanted[0]} visible units {wanted[1]!r}; got {found}.")
    with blaming(f"{path}/{MEMORY}"):
        require_data_units(memory["visible_units"])
