"""One writer at a time for an output file: of two processes with the same output, the second is refused."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrain.exceptions import CheckpointError

_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # some network file systems


@contextmanager
def output_lock(path: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Hold the right to write `path` for as long as the block runs; `save` takes it, a long run takes it before.

    The lock is `.NAME.lock` beside the file, locked by the system and holding the number of the process. The system
    frees it when the process ends in whatever way: what a killed process leaves is stale, and is taken over. The
    process that holds a lock may take it again.

    Parameters
    ----------
    path : str or path
        The output.
    wait : bool
        Wait for another process that holds the lock.

    Raises
    ------
    CheckpointError
        If another process holds the lock and is not to be waited for, or the folder is missing or not writable.
    """
    target = Path(path)
    lock = target.with_name(f".{target.name}.lock")
    try:
        descriptor = _acquire(lock, target, wait)
    except OSError as error:
        reason = f"there is no folder {target.parent}" if isinstance(error, FileNotFoundError) else error.strerror
        raise CheckpointError(
            f"Cannot save to {target}: {reason}. Choose a folder that exists and can be written to."
        ) from error
    try:
        yield
    finally:
        if descriptor is not None:
            lock.unlink(missing_ok=True)  # while it is still locked: whoever opened it meanwhile sees that it is gone
            os.close(descriptor)


def _acquire(lock: Path, target: Path, wait: bool) -> int | None:
    owner = f"{os.getpid()} {socket.gethostname()}"
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 1000, 0).decode(errors="replace")
            if isinstance(error, BlockingIOError) and wait and holder != owner:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            elif isinstance(error, BlockingIOError):
                os.close(descriptor)
                if holder == owner:
                    return None
                raise CheckpointError(
                    f"Cannot save to {target}: another process is writing it (process id and machine: {holder}). "
                    "Wait for it, end it, or choose another name."
                ) from error
            elif error.errno not in _NO_LOCKS_HERE:
                os.close(descriptor)
                raise
        if _is_still(descriptor, lock):
            n_written = os.pwrite(descriptor, owner.encode(), 0)
            # After, not before: of a file cut to nothing ext4 would wait for the disk when it is closed.
            os.ftruncate(descriptor, n_written)
            return descriptor
        os.close(descriptor)


def _is_still(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except FileNotFoundError:
        return False
