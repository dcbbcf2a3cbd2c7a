"""Checkpoints: models and fitted estimators as HDF5 files that anybody can read. `FORMAT.md` specifies them."""

from checkpoints.checkpoint_file import describe, load, read_history, save, verify

__all__ = ["describe", "load", "read_history", "save", "verify"]
