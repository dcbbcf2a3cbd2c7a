"""Checkpoints: models and fitted estimators as HDF5 files that anybody can read. `FORMAT.md` specifies them."""

from checkpoints.checkpoint_file import describe, load, read_history, save, verify
from checkpoints.output_lock import output_lock

__all__ = ["describe", "load", "output_lock", "read_history", "save", "verify"]
