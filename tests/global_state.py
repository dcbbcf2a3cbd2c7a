"""The state of the process that a library has no business with. Imports nothing of ours."""

import logging
import os
import random
import warnings

import numpy as np
import torch


def global_state():
    """A snapshot that can be compared."""
    numpy_state = np.random.get_state()
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": (numpy_state[1].tolist(), *numpy_state[2:]),
        "python": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warnings": list(warnings.filters),
        "numpy errors": np.geterr(),
        "log handlers": (list(logging.root.handlers), logging.root.level),
        "folder": (os.getcwd(), os.listdir()),
        "environment": dict(os.environ),
    }
