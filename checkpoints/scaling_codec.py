"""How a scaling is stored: x -> (x - offset) / scale, in float64."""

from checkpoints import format as spec
from checkpoints.requirements import ArraySpec, blaming, require_array, require_config, require_keys, require_kind
from checkpoints.tree import Group, new_object
from pretrain._validation import require_choice
from pretrain.exceptions import CheckpointError
from pretrain.scaling import Scaling

KIND, VERSION = "scaling", 1


def encode_scaling(scaling: Scaling) -> Group:
    """The group of a scaling."""
    datasets = {"offset": scaling.offset, "scale": scaling.scale}
    return new_object(KIND, VERSION, {"scaling": scaling.kind}, datasets=datasets)


def check_scaling(group: Group, path: str, n_columns: int) -> None:
    """Raise unless the group is a scaling of rows of `n_columns`."""
    require_kind(group, path, {KIND: VERSION})
    attributes = (spec.KIND, spec.KIND_VERSION, spec.CONFIG)
    require_keys(group, path, attributes=attributes, datasets=("offset", "scale"))
    with blaming(path):
        require_choice("a scaling", "scaling", scaling_kind(group, path), Scaling.KINDS)
    shape = group.datasets["scale"].shape
    if shape not in ((1,), (n_columns,)):
        raise CheckpointError(f"{path}/scale must have shape (1,) or ({n_columns},); got {shape}.")
    for name in ("offset", "scale"):
        require_array(group, path, name, ArraySpec(shape, "<f8"))


def build_scaling(group: Group, path: str) -> Scaling:
    """The scaling of a checked group."""
    return Scaling(scaling_kind(group, path), group.datasets["offset"].copy(), group.datasets["scale"].copy())


def scaling_kind(group: Group, path: str) -> str:
    """What the numbers of a scaling mean: "none", "range", "minmax" or "standard"."""
    return require_config(group, path, {"scaling": (str,)})["scaling"]
