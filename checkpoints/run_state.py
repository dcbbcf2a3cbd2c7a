"""The state of an unfinished training run: nested dicts and lists with tensors in them, exactly as they were.

The nesting is one JSON document. A tensor in it is `{"tensor": NAME, "dtype": TYPE}`, and the dataset NAME of the
group `tensors` holds its numbers. NAME is the way to the tensor: `parts.pretrain.state.run.module.weight`.
"""

import dataclasses
from typing import Any

import numpy as np
import torch

from checkpoints import format as spec
from checkpoints.documents import document_array, read_document_array, tag, untag
from checkpoints.requirements import require_keys, require_kind, require_names
from checkpoints.tree import Group, new_object
from pretrain.exceptions import CheckpointError

VERSION = 1
STATE, TENSORS = "state", "tensors"
# Type of a tensor and of its dataset; what HDF5 has no type for is stored as its bits.
DTYPES = {
    torch.float32: "<f4",
    torch.float64: "<f8",
    torch.bfloat16: "<i2",
    torch.bool: "|u1",
    torch.uint8: "|u1",
    torch.int32: "<i4",
    torch.int64: "<i8",
}
_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES}


@dataclasses.dataclass(frozen=True, eq=False)
class RunState:
    """What a training run goes on from.

    Parameters
    ----------
    state : dict
        Of text or integers to tensors, numbers, text, True, False, None, and lists, tuples and dicts of them.
    """

    state: dict[str | int, Any]


def encode_run_state(run: RunState) -> Group:
    """The group of a state."""
    tensors = Group()
    document = _encode(run.state, (), tensors)
    require_names(tensors.datasets, "the tensors of a run's state")
    state = document_array(document, "The state of the run")
    return new_object(spec.TRAINING, VERSION, datasets={STATE: state}, groups={TENSORS: tensors})


def check_run_state(group: Group, path: str) -> list[dict[str, Any]]:
    """Raise unless the group is a legal state; it has no layers to tell of."""
    require_kind(group, path, {spec.TRAINING: VERSION})
    require_keys(group, path, attributes=(spec.KIND, spec.KIND_VERSION), datasets=(STATE,), groups=(TENSORS,))
    require_keys(group.groups[TENSORS], f"{path}/{TENSORS}", datasets=group.groups[TENSORS].datasets)
    used: list[str] = []
    _build_root(group, path, used)
    if sorted(used) != sorted(group.groups[TENSORS].datasets):
        raise CheckpointError(f"{path}/{STATE} must name every dataset of {path}/{TENSORS} exactly once.")
    return []


def build_run_state(group: Group, path: str) -> RunState:
    """The state of a checked group, its tensors on the CPU."""
    return RunState(_build_root(group, path, []))


def _encode(value: Any, place: tuple[str, ...], tensors: Group) -> Any:
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value, ".".join(place), tensors)
    if isinstance(value, dict):
        for key in value:
            if type(key) not in (str, int):
                raise CheckpointError(f"{'.'.join(place)} has a key that is no text or integer: {key!r:.100}.")
        return {"dict": [[key, _encode(item, (*place, str(key)), tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_encode(item, (*place, str(index)), tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    return tag(value, ".".join(place))


def _encode_tensor(tensor: torch.Tensor, name: str, tensors: Group) -> dict[str, str]:
    if tensor.dtype not in DTYPES or name in tensors.datasets:
        problem = "is one of two of that name" if name in tensors.datasets else f"is of type {tensor.dtype}"
        raise CheckpointError(f"The tensor {name} {problem}; legal types are {', '.join(_NAMES)}.")
    bits = tensor.detach().cpu().contiguous()
    if tensor.dtype in (torch.bfloat16, torch.bool):
        bits = bits.view(torch.int16 if tensor.dtype == torch.bfloat16 else torch.uint8)
    tensors.datasets[name] = bits.numpy()
    return {"tensor": name, "dtype": str(tensor.dtype).removeprefix("torch.")}


def _build_root(group: Group, path: str, used: list[str]) -> dict[str | int, Any]:
    where = f"{path}/{STATE}"
    built = _build(read_document_array(group.datasets[STATE], where), where, group.groups[TENSORS], used)
    if not isinstance(built, dict):
        raise CheckpointError(f"{where} must be a dict of the state; got {type(built).__name__}.")
    return built


def _build(value: Any, where: str, tensors: Group, used: list[str]) -> Any:
    if isinstance(value, list):
        return [_build(item, where, tensors, used) for item in value]
    if not isinstance(value, dict) or "float" in value:
        return untag(value, where)
    if list(value) == ["tuple"] and isinstance(value["tuple"], list):
        return tuple(_build(item, where, tensors, used) for item in value["tuple"])
    if list(value) == ["dict"] and _are_items(value["dict"]):
        return {key: _build(item, where, tensors, used) for key, item in value["dict"]}
    if list(value) == ["tensor", "dtype"]:
        return _build_tensor(value["tensor"], value["dtype"], where, tensors, used)
    raise CheckpointError(
        f"{where} holds the JSON object {value!r:.100}; the only legal ones are {{'dict': [[key, value], ...]}}, "
        "{'tuple': [...]}, {'tensor': ..., 'dtype': ...} and {'float': ...}."
    )


def _are_items(items: Any) -> bool:
    if not isinstance(items, list) or not all(isinstance(item, list) and len(item) == 2 for item in items):
        return False
    keys = [key for key, _ in items]
    return all(type(key) in (str, int) for key in keys) and len(set(keys)) == len(keys)


def _build_tensor(name: Any, dtype: Any, where: str, tensors: Group, used: list[str]) -> torch.Tensor:
    array: np.ndarray | None = tensors.datasets.get(name) if isinstance(name, str) else None
    if array is None:
        raise CheckpointError(f"{where} names the tensor {name!r:.100}, which is not in the file.")
    used.append(name)
    wanted = _NAMES.get(dtype) if isinstance(dtype, str) else None
    if wanted is None or array.dtype.str != DTYPES[wanted]:
        raise CheckpointError(f"{where} has {name!r} as {dtype!r:.50}, but its dataset is of type {array.dtype}.")
    if wanted is torch.bool and array.size and int(array.max()) > 1:
        raise CheckpointError(f"{where} has {name!r} as 'bool', but its dataset holds other numbers than 0 and 1.")
    return torch.from_numpy(array).view(wanted)
