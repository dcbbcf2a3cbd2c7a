"""Where a result comes from: the command, the versions and the machine."""

import datetime
import functools
import os
import platform
from importlib import metadata
from typing import Any

import torch

from pretrain import __version__

_version = functools.cache(metadata.version)  # each look-up reads a file
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "h5py")


def origin(*, command: str, seed: int, seconds: float, device: torch.device) -> dict[str, Any]:
    """What every file of a run says of how it was made: command, seed, time, versions, machine."""
    return {
        "command": command,
        "seed": seed,
        "seconds": seconds,
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": machine(device),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version(), "pretrain": __version__}
    return found | {package: _version(package) for package in PACKAGES}


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, threads and accelerator of this machine."""
    return {
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "n_cores": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
