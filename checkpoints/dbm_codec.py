"""How a deep Boltzmann machine is stored: its visible units, its layers from the data upwards."""

from typing import Any

from checkpoints import format as spec
from checkpoints.requirements import ArraySpec, blaming, require_config, require_keys, require_kind
from checkpoints.scaling_codec import build_scaling, check_scaling, encode_scaling
from checkpoints.stack_codec import LAYERS, SCALING, SIZES, numbered_layers
from checkpoints.tensors import Layout, Tensors, check_tensors, encode_tensors, fill_tensors
from checkpoints.tree import Group, new_object
from pretrain._validation import require_number
from pretrain.column_groups import parse_groups
from pretrain.dbm import DBM
from pretrain.dbn import require_data_units
from pretrain.exceptions import CheckpointError
from pretrain.unit_types import UNIT_TYPES, require_units

KIND, VERSION = "dbm", 1
LAYER, LAYER_VERSION = "undirected", 1
_FIELDS = {"visible_units": (str,)}


def encode_dbm(dbm: DBM) -> Group:
    """The group of a deep Boltzmann machine."""
    sizes, layers = [dbm.n_visible, *dbm.hidden_layer_sizes], Group({spec.COUNT: len(dbm.weights)})
    for k in range(len(dbm.weights)):
        config = {"n_visible": sizes[k], "n_hidden": sizes[k + 1]}
        datasets = encode_tensors(_tensors(dbm, k), f"layer {k + 1}")
        name = spec.layer_name(k, len(dbm.weights))
        layers.groups[name] = new_object(LAYER, LAYER_VERSION, config, datasets=datasets)
    groups = {LAYERS: layers, SCALING: encode_scaling(dbm.scaling)}
    return new_object(KIND, VERSION, {"visible_units": dbm.visible_units.name}, groups=groups)


def check_dbm(group: Group, path: str) -> list[dict[str, Any]]:
    """Raise unless the group is a legal deep Boltzmann machine; what its layers are."""
    require_kind(group, path, {KIND: VERSION})
    attributes = (spec.KIND, spec.KIND_VERSION, spec.CONFIG)
    require_keys(group, path, attributes=attributes, groups=(LAYERS, SCALING))
    units = require_config(group, path, _FIELDS)["visible_units"]
    with blaming(path):
        require_units(f"visible_units of a {KIND}", units)
        require_data_units(units, "DBM")
    summaries: list[dict[str, Any]] = []
    for where, layer in numbered_layers(group, path, at_least=1):
        summaries.append(_check_layer(layer, where, units if not summaries else "bernoulli", first=not summaries))
    for k in range(1, len(summaries)):
        below, seen = summaries[k - 1]["n_hidden"], summaries[k]["n_visible"]
        if below != seen:
            raise CheckpointError(
                f"Layer {k + 1} of {path} must have the {below} units of the layer below as visible units; "
                f"got {seen}."
            )
    check_scaling(group.groups[SCALING], f"{path}/{SCALING}", summaries[0]["n_visible"])
    return summaries


def build_dbm(group: Group, path: str) -> DBM:
    """The model of a checked group."""
    layers = numbered_layers(group, path)
    sizes = [require_config(layer, where, SIZES) for where, layer in layers]
    dbm = DBM(
        sizes[0]["n_visible"],
        [size["n_hidden"] for size in sizes],
        scaling=build_scaling(group.groups[SCALING], f"{path}/{SCALING}"),
        **require_config(group, path, _FIELDS),
    )
    for k, (_, layer) in enumerate(layers):
        fill_tensors(_tensors(dbm, k), layer)
    return dbm


def _tensors(dbm: DBM, k: int) -> Tensors:
    tensors = {"weight": dbm.weights[k], "hidden_bias": dbm.hidden_biases[k]}
    return {**tensors, "visible_bias": dbm.visible_bias} if k == 0 else tensors


def _check_layer(group: Group, path: str, units: str, *, first: bool) -> dict[str, Any]:
    require_kind(group, path, {LAYER: LAYER_VERSION})
    config = require_config(group, path, SIZES)
    n_visible, n_hidden = config["n_visible"], config["n_hidden"]
    with blaming(path):
        for name in SIZES:
            require_number(LAYER, name, config[name], at_least=1, integer=True)
        parse_groups(f"visible_units of a {KIND}", units, n_visible, UNIT_TYPES)
    layout: Layout = {"weight": ArraySpec((n_hidden, n_visible)), "hidden_bias": ArraySpec((n_hidden,))}
    if first:
        layout["visible_bias"] = ArraySpec((n_visible,))
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION, spec.CONFIG), datasets=layout)
    check_tensors(group, path, layout)
    n_parameters = sum(array.n_parameters for array in layout.values())
    return {"kind": LAYER, **config, "visible_units": units, "n_parameters": n_parameters}
