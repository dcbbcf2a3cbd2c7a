"""Checkpoints: models and fitted estimators as HDF5 files that anybody can read. `FORMAT.md` specifies them."""

from checkpoints.checkpoint_file import describe, load, read_history, save, verify
from checkpoints.foreign_formats import export
from checkpoints.matlab_files import from_matlab
from checkpoints.output_lock import output_lock
from checkpoints.plain_modules import from_torch, to_torch
from checkpoints.run_state import RunState
from checkpoints.sklearn_models import from_sklearn

__all__ = [
    "RunState",
    "describe",
    "export",
    "from_matlab",
    "from_sklearn",
    "from_torch",
    "load",
    "output_lock",
    "read_history",
    "save",
    "to_torch",
    "verify",
]
