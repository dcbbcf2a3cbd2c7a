"""Ctrl-C while the command line is still importing what it needs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEADLINE = 60  # seconds
SLOW_IMPORT = "import pathlib, time\npathlib.Path(__file__).with_name('begun').touch()\ntime.sleep({DEADLINE})\n"


def interrupt_while_importing(folder: Path, handler: object) -> subprocess.CompletedProcess[str]:
    """Send SIGINT to `python -m pipelines` in the middle of `import click`; how it ended."""
    folder.joinpath("click.py").write_text(SLOW_IMPORT.replace("{DEADLINE}", str(DEADLINE)))
    before = signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines", "datasets"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + DEADLINE
    while not folder.joinpath("begun").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), *process.communicate())


def test_an_interrupt_during_the_imports_ends_the_program_without_a_traceback(tmp_path):
    ended = interrupt_while_importing(tmp_path, signal.default_int_handler)

    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_a_program_that_was_told_to_ignore_interrupts_goes_on_ignoring_them(tmp_path):
    ended = interrupt_while_importing(tmp_path, signal.SIG_IGN)

    assert ended.returncode == -signal.SIGKILL
