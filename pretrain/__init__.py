"""Greedy layer-wise pretraining."""

__version__ = "0.1.0"
