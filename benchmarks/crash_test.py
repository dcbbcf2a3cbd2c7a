"""Long runs killed at random moments and resumed to their end: is anything lost?

    python benchmarks/crash_test.py --kills 200 -o crashes.json

Each command of `COMMANDS` runs once undisturbed. Then it runs again and again, writing its state every
`--checkpoint-every` seconds, and is ended by SIGKILL at a moment that is drawn uniformly from the time that the
undisturbed run took; it is resumed, killed again, and so on until it gets to its end. Counted are

losses
    A state or an output that was there before a kill and is gone after it.
unreadable
    A state or an output that `checkpoints.verify` refuses after a kill.
different
    Outputs that are not those of the undisturbed run: any dataset and any attribute, but for seconds, dates and the
    command as it was typed.

Last, each command is resumed where no file may grow to the size of its state, as on a full disk (`ulimit -f`). A
failure is `unclear` if it is not one message and exit status 2, and a loss if the last state is not what it was.

Runs are forked from this process, so that a kill costs no start of Python. The data are scikit-learn's digits.
"""

import json
import multiprocessing
import os
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import h5py
import torch
from recording import describe_machine, format_table, write_json

import checkpoints
import pipelines.cli
from pipelines.resuming import state_path
from pretrain.exceptions import CheckpointError

# A command is added by one row; "given.h5" is a stack.
COMMANDS = {
    "stack": ("stack", "digits", "--layers", "50,30", "--epochs", "30", "--gradient-estimator", "pcd"),
    "finetune": (
        "finetune", "given.h5", "digits", "--head-epochs", "5", "--epochs", "20", "--dropout", "0.2", "--shift", "1",
        "--early-stopping", "true", "--n-iter-no-change", "20",
    ),
    "autoencoder": ("autoencoder", "digits", "--layers", "30,10", "--pretrain-epochs", "10", "--epochs", "15"),
    "dbn": (
        "dbn", "digits", "--layers", "30,20,40", "--epochs", "8", "--up-down-epochs", "12",
        "--validation-fraction", "0.1",
    ),
}  # fmt: skip
COUNTS = ("kills", "finished", "losses", "unreadable", "different", "unclear")
SHARE_KILLED = 0.8  # of the attempts; the others may go on to the end
ANY_TIME = ("command", "created_at", "seconds")


class Run:
    """One command in one folder, in processes of its own."""

    def __init__(self, name: str, folder: Path, every: float) -> None:
        self.name, self.folder, self.every = name, folder, every
        self.output = folder / f"{name}.h5"
        self.state = state_path(self.output)
        self.counts = dict.fromkeys(COUNTS, 0)

    def attempt(self, *, kill_after: float | None = None, largest_file: int | None = None) -> int | None:
        """Begin or resume; the exit status, negative for a signal, of a process that is killed after some seconds."""
        arguments = [*COMMANDS[self.name], "-o", str(self.output), "--checkpoint-every", str(self.every)]
        arguments += ["--resume"] if self.state.exists() else []
        process = multiprocessing.get_context("fork").Process(target=self._run, args=(arguments, largest_file))
        process.start()
        process.join(kill_after)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode

    @property
    def told(self) -> str:
        """What the last attempt said on standard error."""
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def kill_and_look(self, kill_after: float) -> None:
        """An attempt that is killed, and what it left."""
        before = self.state.exists() or self.output.exists()
        if self.attempt(kill_after=kill_after) == -9:
            self.counts["kills"] += 1
        self.counts["losses"] += before and not self.state.exists() and not self.output.exists()
        for path in (self.state, self.output):
            try:
                if path.exists():
                    checkpoints.verify(path)
            except CheckpointError as error:
                click.echo(str(error), err=True)
                self.counts["unreadable"] += 1

    def look_at_output(self, whole: dict[str, Any]) -> None:
        """Compare the finished file, and clear it away."""
        self.counts["finished"] += 1
        self.counts["different"] += content(self.output) != whole
        for path in (self.output, self.state):
            path.unlink(missing_ok=True)

    def _run(self, arguments: list[str], largest_file: int | None) -> None:
        os.chdir(self.folder)
        error = os.open("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(error, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
        pipelines.cli.main(arguments)


def content(path: Path) -> dict[str, Any]:
    """Every dataset and attribute of a checkpoint, but for what two runs may differ in."""
    found: dict[str, Any] = {}

    def visit(name: str, node: Any) -> None:
        found[name] = {key: bytes(value) for key, value in node.attrs.items()}
        if isinstance(node, h5py.Dataset) and name not in ("provenance", "digests", "history/columns/seconds"):
            found[name] = node[()].tobytes()

    with h5py.File(path) as file:
        file.visititems(visit)
        provenance = json.loads(file["provenance"][()])
    return {**found, "provenance": {key: value for key, value in provenance.items() if key not in ANY_TIME}}


def crash(run: Run, n_kills: int, draw: random.Random) -> None:
    """Kill a command so many times, and look at every file that it makes."""
    started = time.perf_counter()
    assert run.attempt() == 0, run.told
    seconds = time.perf_counter() - started
    whole = content(run.output)
    run.output.unlink()
    while run.counts["kills"] < n_kills:
        if draw.random() < SHARE_KILLED:
            run.kill_and_look(draw.uniform(0, seconds))
        else:
            assert run.attempt() == 0, run.told
        if run.output.exists():
            run.look_at_output(whole)
    fill_the_disk(run, seconds, whole, draw)


def fill_the_disk(run: Run, seconds: float, whole: dict[str, Any], draw: random.Random) -> None:
    """Resume a command where its state does not fit, and then where it does."""
    while not run.state.exists():
        run.output.unlink(missing_ok=True)
        run.attempt(kill_after=draw.uniform(0, seconds))
    kept = run.state.read_bytes()
    status = run.attempt(largest_file=len(kept) // 2)
    run.counts["unclear"] += status != 2 or "Cannot save to" not in run.told or "Traceback" in run.told
    run.counts["losses"] += run.state.read_bytes() != kept
    assert run.attempt() == 0, run.told
    run.look_at_output(whole)


@click.command(help=__doc__, context_settings={"max_content_width": 110})
@click.option("--kills", type=click.IntRange(min=1), default=200, show_default=True, help="Of all commands together.")
@click.option("--checkpoint-every", type=float, default=0.05, show_default=True, help="Seconds between two states.")
@click.option("--seed", default=0, show_default=True, help="Draws the moments.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file of the counts.")
def main(kills: int, checkpoint_every: float, seed: int, output: Path | None) -> None:
    torch.set_num_threads(1)
    draw, results = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as folder:
        stack = Run("stack", Path(folder), 0)
        assert stack.attempt() == 0, stack.told
        for k, name in enumerate(COMMANDS):
            own = Path(folder) / f"run-{name}"
            own.mkdir()
            (own / "given.h5").hardlink_to(stack.output)
            run = Run(name, own, checkpoint_every)
            crash(run, kills // len(COMMANDS) + (k < kills % len(COMMANDS)), draw)
            results[name] = {**run.counts, "leftovers": len(list(own.glob(".*.tmp")))}
            click.echo(f"{name}: {results[name]}", err=True)
    header = ["command", *COUNTS, "leftovers"]
    click.echo(format_table(header, [[name, *map(str, counts.values())] for name, counts in results.items()]))
    write_json(output, {"machine": describe_machine(torch.device("cpu")), "results": results})


if __name__ == "__main__":
    main()
