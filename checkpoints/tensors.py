"""Tensors of a module under the names of their datasets: out of it, checked, and back into it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from checkpoints.requirements import ArraySpec, require_array
from checkpoints.tree import Group
from pretrain.exceptions import CheckpointError

Layout = dict[str, ArraySpec]
Tensors = dict[str, torch.Tensor]


def encode_tensors(tensors: Mapping[str, torch.Tensor], owner: str) -> dict[str, np.ndarray]:
    """The datasets of some tensors, wherever they lie."""
    arrays = {}
    for name, tensor in tensors.items():
        array = tensor.numpy(force=True)
        if array.dtype.str not in ("<f4", "<i8"):
            raise CheckpointError(
                f"{name} of {owner} must be float32, the type of master weights; got {array.dtype}. "
                "Convert it with .float() first."
            )
        arrays[name] = array
    return arrays


def check_tensors(group: Group, path: str, layout: Layout) -> None:
    """Raise unless every dataset of the layout, which the group has, is what the layout says."""
    for name, wanted in layout.items():
        require_array(group, path, name, wanted)


def make_unfilled(make: Callable[..., Any], **settings: Any) -> Any:
    """A layer whose matrices hold anything at all, for `fill_tensors` to fill: no memory is touched before."""
    with _EmptyMatrices():
        return make(**settings)


class _EmptyMatrices(TorchFunctionMode):
    """Matrices of zeros, which new weights are, are allocated and not filled. All else that a layer makes is made."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        matrix = func is torch.zeros and len(args) == 2 and not kwargs
        return (torch.empty if matrix else func)(*args, **(kwargs or {}))


@torch.no_grad()
def fill_tensors(tensors: Mapping[str, torch.Tensor], group: Group) -> None:
    """Make the datasets of a checked group, which nothing else uses, a module's tensors."""
    for name, tensor in tensors.items():
        tensor.data = torch.from_numpy(group.datasets[name])


def linear_layout(n_inputs: int, n_units: int, prefix: str = "") -> Layout:
    """Datasets of x -> W x + c."""
    return {f"{prefix}weight": ArraySpec((n_units, n_inputs)), f"{prefix}bias": ArraySpec((n_units,))}


def linear_tensors(linear: nn.Linear, prefix: str = "") -> Tensors:
    """See `linear_layout`."""
    return {f"{prefix}weight": linear.weight, f"{prefix}bias": linear.bias}


def norm_layout(n_units: int, prefix: str = "norm_", *, layer_norm: bool = False) -> Layout:
    """Datasets of a norm: what is learned; of batch norm the running statistics, and the batches they are of."""
    learned, running = ArraySpec((n_units,)), ArraySpec((n_units,), trainable=False)
    layout = {f"{prefix}weight": learned, f"{prefix}bias": learned}
    if layer_norm:
        return layout
    return layout | {
        f"{prefix}mean": running,
        f"{prefix}variance": running,
        f"{prefix}n_batches": ArraySpec((), "<i8", trainable=False),
    }


def norm_tensors(norm: nn.BatchNorm1d | nn.LayerNorm, prefix: str = "norm_") -> Tensors:
    """See `norm_layout`."""
    tensors: Tensors = {f"{prefix}weight": norm.weight, f"{prefix}bias": norm.bias}
    if isinstance(norm, nn.LayerNorm):
        return tensors
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    return tensors | {
        f"{prefix}mean": norm.running_mean,
        f"{prefix}variance": norm.running_var,
        f"{prefix}n_batches": norm.num_batches_tracked,
    }
