"""Models in the formats of others: torch, ONNX, NumPy, safetensors."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

from checkpoints import format as spec
from checkpoints.checkpoint_file import PathLike
from checkpoints.codecs import MODEL_CODECS, check_root, encode_root
from checkpoints.onnx_graph import to_onnx
from checkpoints.plain_modules import to_torch
from checkpoints.run_state import RunState
from checkpoints.store import replace_file, require_free
from pretrain._validation import require_choice
from pretrain.exceptions import CheckpointError

try:
    from safetensors.torch import save as safetensors_bytes
except ImportError:
    safetensors_bytes = None

FORMATS = ("torch", "onnx", "npz", "safetensors")


def export(obj: Any, path: PathLike, to: str, *, overwrite: bool = False) -> None:
    """Write a model in another format, completely or not at all.

    Parameters
    ----------
    obj : Stack, Network, fitted estimator, or DBN or DBM (which npz alone can hold)
    path : str or path
    to : {"torch", "onnx", "npz", "safetensors"}
        "torch" and "safetensors" hold the state dict of `to_torch(obj)`, a plain `nn.Sequential`, and "onnx" its
        graph: they map raw rows to predictions. "npz" holds the arrays of the checkpoint under their paths there.
    overwrite : bool

    Raises
    ------
    CheckpointError
        If the model is none that the format can hold, a package is missing, or the file cannot be written.
    """
    require_choice("export", "to", to, FORMATS)
    require_free(Path(path), overwrite=overwrite)
    if isinstance(obj, RunState):
        raise CheckpointError(
            "The state of an unfinished run is no model. Repeat the command of the run with --resume, and export "
            "what it writes at its end."
        )
    replace_file(Path(path), _content(obj, to), overwrite=overwrite)


def _content(obj: Any, to: str) -> bytes | memoryview:
    buffer = io.BytesIO()
    if to == "npz":
        np.savez(buffer, allow_pickle=False, **_arrays(obj))
        return buffer.getbuffer()
    module = to_torch(obj)
    if to == "onnx":
        linears = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
        return to_onnx(module, linears[0].in_features, linears[-1].out_features)
    if to == "torch":
        torch.save(module.state_dict(), buffer)
        return buffer.getbuffer()
    if safetensors_bytes is None:
        raise CheckpointError("This export needs the package safetensors: pip install 'pretrain[safetensors]'.")
    return safetensors_bytes(module.state_dict(), {"format": "pt"})


def _arrays(obj: Any) -> dict[str, np.ndarray]:
    """The datasets of the model by their paths in the file; its settings as text under `PATH/config`."""
    arrays: dict[str, np.ndarray] = {}
    root = encode_root(obj, (), None)
    check_root(root)
    for kind, group in root.groups.items():
        if kind in MODEL_CODECS:
            for path, node in group.walk(kind):
                if isinstance(node, np.ndarray):
                    arrays[path] = node
                elif spec.CONFIG in node.attributes:
                    arrays[f"{path}/{spec.CONFIG}"] = np.array(node.attributes[spec.CONFIG])
    return arrays
