"""Verifying a file in a child process: whatever the file does to the HDF5 library, the caller lives on."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from pretrain import exceptions
from pretrain.exceptions import CheckpointError

_START_SECONDS = 60.0
_BYTES_A_SECOND = 10e6


def verify_in_child(path: Path) -> dict[str, Any]:
    """The result of `verify`, or its CheckpointError; a crash and an endless loop are one too."""
    folder = str(Path(__file__).parents[1])
    found = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    # -P: a stray folder `checkpoints` in the working directory is not imported.
    command = [sys.executable, "-P", "-m", "checkpoints", os.fspath(path)]
    seconds = _START_SECONDS + (path.stat().st_size / _BYTES_A_SECOND if path.is_file() else 0)
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"{path} is not intact: reading it took more than {seconds:.0f} s. Do not trust this file."
        ) from error
    if done.returncode < 0:
        raise CheckpointError(
            f"{path} is not intact: reading it ended the process that did so ({_signal(-done.returncode)}). "
            "Do not trust this file."
        )
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise CheckpointError(f"{path} could not be verified: {told[-1] if told else 'no word of why'}.")
    result = json.loads(done.stdout)
    if "error" in result:
        raise getattr(exceptions, result["error"])(result["message"])
    return result


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
