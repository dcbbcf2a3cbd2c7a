"""`python -m pipelines ...` is `pretrain ...`, from a checkout that is not installed.

Importing torch takes a second, in which Ctrl-C would end in a traceback out of somebody's module. Nothing has begun
by then, so until the command line is there the signal ends the process, as it does for programs not in Python.
"""

import signal

_WAITS = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # and is not ignored, as behind `nohup`
if _WAITS:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from pipelines.cli import main  # noqa: E402 - after the signal, which is the point

if _WAITS:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    main(prog_name="pretrain")
