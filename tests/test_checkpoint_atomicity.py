"""Whatever ends a save, the last good file is there; of two processes with one output, the second is refused."""

import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import checkpoints
from pipelines.cli import main
from pretrain.exceptions import CheckpointError
from pretrain.rbm import RBM
from pretrain.stack import Stack

# Ends child processes that save without pause, and says after each what file there is and what lies beside it.
END_WRITERS = """
import itertools, json, os, pathlib, signal, sys, time
import torch
import checkpoints
from pretrain.rbm import RBM
from pretrain.stack import Stack

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
torch.set_num_threads(1)  # OpenMP's threads do not outlive a fork, and a child would wait for them for ever
path = pathlib.Path(sys.argv[1])
stack = Stack([RBM(300, 200)])

def save(number):
    stack.layers[0].weight.data.fill_(number)
    checkpoints.save(stack, path, overwrite=True, provenance={"number": number})

def save_for_ever(number):
    try:
        for number in itertools.count(number + 1):
            save(number)
    finally:
        os._exit(0)

save(0)
for trial in range(24):
    how = signal.SIGINT if trial % 4 == 3 else signal.SIGKILL
    number = checkpoints.describe(path)["provenance"]["number"]
    process = os.fork()
    if process == 0:
        save_for_ever(number)
    time.sleep(0.05 + 0.0007 * trial)
    while os.waitpid(process, os.WNOHANG)[0] == 0:  # Python loses an interrupt that comes while it tidies up
        os.kill(process, how)
        time.sleep(0.02)
    found = checkpoints.describe(path)["provenance"]["number"]
    weight = checkpoints.load(path).layers[0].weight
    left = [name for name in os.listdir(path.parent) if f".{process}." in name]
    print(json.dumps([how.name, number, found, weight.min().item(), weight.max().item(), left]))
"""
HOLD = """
import sys, time
import checkpoints
with checkpoints.output_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def small_stack() -> Stack:
    return Stack([RBM(3, 2)])


def test_whatever_ends_a_writer_the_last_good_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    done = subprocess.run([sys.executable, "-c", END_WRITERS, path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) == 24
    for how, number, found, smallest, largest, left in trials:
        assert found >= number
        assert smallest == largest == found
        if how == "SIGINT":
            assert left == []
    assert trials[-1][2] > 0
    (tmp_path / ".m.h5.1.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / ".other.h5.1.0123abcd.tmp").touch()
    checkpoints.save(small_stack(), path, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == [".other.h5.1.0123abcd.tmp", "m.h5"]


def test_the_second_process_with_one_output_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    checkpoints.save(small_stack(), path)
    before = path.read_bytes()
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(CheckpointError, match=rf"another process is writing it .*: {process.pid} "):
            checkpoints.save(small_stack(), path, overwrite=True)
        arguments = ["stack", "digits", "--layers", "5", "-o", str(path), "--overwrite"]
        done = CliRunner().invoke(main, arguments)
        assert (done.exit_code, "another process is writing it" in done.output) == (2, True)
        assert path.read_bytes() == before
        checkpoints.save(small_stack(), tmp_path / "other.h5")
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / ".m.h5.lock").exists()  # stale: its process is gone
    checkpoints.save(small_stack(), path, overwrite=True)
    with checkpoints.output_lock(path), checkpoints.output_lock(path):  # by the same process
        checkpoints.save(small_stack(), path, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["m.h5", "other.h5"]


def test_a_stale_lock_with_a_long_name_in_it_is_taken_over(tmp_path: Path) -> None:
    lock = tmp_path / ".m.h5.lock"
    lock.write_text("1234567 " + "a" * 300)
    with checkpoints.output_lock(tmp_path / "m.h5"):
        assert lock.read_text() == f"{os.getpid()} {socket.gethostname()}"


def test_a_process_may_wait_for_another(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    ended = []
    timer = threading.Timer(0.5, lambda: (ended.append(time.monotonic()), process.kill()))
    timer.start()
    with checkpoints.output_lock(path, wait=True):
        held = time.monotonic()
        with checkpoints.output_lock(path, wait=True):  # by the same process: no waiting for itself
            checkpoints.save(small_stack(), path)
    process.communicate()
    assert held > ended[0]
    assert os.listdir(tmp_path) == ["m.h5"]


def test_a_limit_on_the_size_of_files_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    checkpoints.save(small_stack(), path)
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 5_000, 300_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(CheckpointError, match="files may not be that large here"):
                checkpoints.save(Stack([RBM(300, 400)]), path, overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["m.h5"]


@pytest.mark.skipif(not os.path.exists("/dev/shm") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        checkpoints.save(small_stack(), tmp_path / "m.h5")
        before = (tmp_path / "m.h5").read_bytes()
        with pytest.raises(CheckpointError, match="the disk is full"):
            checkpoints.save(Stack([RBM(300, 400)]), tmp_path / "m.h5", overwrite=True)
        assert (tmp_path / "m.h5").read_bytes() == before
        assert os.listdir(tmp_path) == ["m.h5"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EDQUOT, "quota"), (errno.EROFS, "read-only"), (errno.EIO, "rror")]
)
def test_the_reason_of_a_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match=rf"Cannot save to .*m\.h5: .*{reason}.* older file there"):
        checkpoints.save(small_stack(), tmp_path / "m.h5")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_vanishes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(os, "fsync", lambda _: shutil.rmtree(folder))
    with pytest.raises(CheckpointError, match=r"Cannot save to .*m\.h5: No such file or directory"):
        checkpoints.save(small_stack(), folder / "m.h5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_a_read_only_folder_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match=r"Cannot save to .*Permission denied.*can be written to"):
        checkpoints.save(small_stack(), tmp_path / "m.h5")
