"""Ctrl-C and SIGTERM as a wish that long runs grant after the step that they are in."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A run was stopped by a signal, after its state was written if it had any."""

    def __init__(self, number: int, path: Path | None = None) -> None:
        told = "What is finished is kept" if path is None else f"The state of the run is in {path}"
        super().__init__(f"Stopped. {told}: repeat the command with --resume to go on from there.")
        self.exit_code = 128 + number  # as shells have it


class StopSignals:
    """Whether a run is asked to stop.

    Attributes
    ----------
    number : int or None
        The signal that asked.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block a signal does no more than set `number`; a second one does what it did before.

        Signals that are ignored, as `nohup` and shells have it for jobs in the background, stay ignored. In other
        threads than the main one nothing is watched.
        """
        previous = stoppable()

        def ask(number: int, _: Any) -> None:
            self.number = number
            restore(previous)

        for number in previous:
            signal.signal(number, ask)
        try:
            yield
        finally:
            restore(previous)

    def check(self) -> None:
        """Stopped, if that was asked for."""
        if self.number is not None:
            raise Stopped(self.number)


def stoppable() -> dict[signal.Signals, Any]:
    """The handlers of the signals that stop a run, without those that are ignored or not Python's to set."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    return {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}


def restore(handlers: dict[signal.Signals, Any]) -> None:
    """Put handlers back."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
