"""`python -m checkpoints FILE`: verify a file in a process of its own, and say in JSON what came of it.

`verify(path, isolated=True)` runs this. Where reading needs more memory than such a file can, it fails.
"""

import json
import os
import resource
import sys

from checkpoints.checkpoint_file import verify
from pretrain.exceptions import CheckpointError

_MEMORY_BESIDE_THE_FILE = 2**32
_COPIES = 8


def main(path: str) -> None:
    """Print the result of `verify`, or `error`, the name of the exception, and `message`."""
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _MEMORY_BESIDE_THE_FILE + _COPIES * size
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if most < 0 else min(wanted, most), most))
    try:
        result = verify(path)
    except CheckpointError as error:
        result = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        result = {"error": "CheckpointError", "message": f"{path} is not intact: reading it takes too much memory."}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
