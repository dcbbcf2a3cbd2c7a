"""Long runs that can be stopped: their state is written beside the output now and then, and they go on from it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, Self

import torch

import checkpoints
from pipelines.provenance import versions
from pipelines.stopping import Stopped, StopSignals
from pretrain.device import resolve_device
from pretrain.exceptions import SettingsError
from pretrain.training import Record

CHECKPOINT_SECONDS = 120.0  # a state of some tens of megabytes takes a tenth of a second to write


class ResumableRun(Protocol):
    """An iterator of records whose state can be taken after each of them."""

    def __iter__(self) -> Iterator[Record]:
        """The records to come."""

    def state_dict(self) -> dict[str, Any]:
        """What continues the run exactly."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; before the first record."""


def state_path(output: Path) -> Path:
    """Where the state of an unfinished run that makes `output` is."""
    return output.with_name(f"{output.name}.resume")


class Resuming:
    """The runs of one command, stopped and resumed without a trace in what they train.

        with resuming.begin("stack", device, seed=seed, ...):
            for record in resuming.records("pretrain", run): ...
        checkpoints.save(run.stack, output)
        resuming.finish()

    Ctrl-C and SIGTERM stop the runs after the step that they are in; a second one stops the program at once.

    Parameters
    ----------
    output : Path
        What the command makes; the state is `OUTPUT.resume` beside it.
    every : float
        Seconds from one writing of the state to the next; 0: it is written only when the run is stopped.
    resume : bool
        Whether to go on from the state that is there.
    overwrite : bool
        Whether a state that is there may be thrown away.
    signals : StopSignals or None
        Those that the caller watches, for a run of many; None: they are watched while the runs are.
    instead : str
        What to do where the state is of another run and cannot be gone on from.

    Raises
    ------
    SettingsError
        If there is nothing to resume, or a state that is neither to be resumed nor overwritten.
    """

    def __init__(
        self,
        output: Path,
        *,
        every: float,
        resume: bool,
        overwrite: bool,
        signals: StopSignals | None = None,
        instead: str = "give --overwrite in its place to begin anew",
    ) -> None:
        self.path, self.every, self.resume = state_path(output), every, resume
        if resume and not self.path.exists():
            raise SettingsError(
                f"There is nothing to resume: {self.path} does not exist. The run has finished, or was stopped "
                "before its state was written. Leave --resume out."
            )
        if self.path.exists() and not resume and not overwrite:
            raise SettingsError(
                f"{self.path} is the state of an unfinished run. Give --resume to go on with it, or --overwrite to "
                "begin anew."
            )
        self._parts: dict[str, dict[str, Any]] = {}
        self._identity: dict[str, Any] = {}
        self._signals, self._instead = StopSignals() if signals is None else signals, instead
        self._watch = self._signals.watched() if signals is None else nullcontext()
        self._seconds = 0.0
        self._started = self._saved = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long the runs have taken.

        Without the writing of states, and without what was lost between the last one and an end without notice.
        """
        return self._seconds + time.perf_counter() - self._started

    @contextmanager
    def begin(self, command: str, device: str | torch.device, **identity: Any) -> Iterator[Self]:
        """Runs whose records are asked for inside the block can be stopped.

        Parameters
        ----------
        command : str
        device : str or torch.device
        identity
            What the weights depend on besides, ready for JSON: a state is resumed by the same alone.

        Raises
        ------
        SettingsError
            If the state that is there is of a run with other settings or data.
        CheckpointError
            If it is damaged.
        Stopped
            After a signal, at the next record.
        """
        programs = {name: versions()[name] for name in ("pretrain", "torch")}
        whole = {"command": command, "device": resolve_device(device).type, **identity, "versions": programs}
        self._identity = json.loads(json.dumps(whole))
        if self.resume:
            self._load()
        else:
            self.path.unlink(missing_ok=True)
        self._started = self._saved = time.perf_counter()
        with self._watch:
            yield self

    def records(self, name: str, run: ResumableRun) -> Iterator[Record]:
        """The records of a run, those of its epochs before it was stopped included."""
        part = self._parts.setdefault(name, {"records": [], "state": None})
        if part["state"] is not None:
            run.load_state_dict(part["state"])
        yield from list(part["records"])
        for record in run:
            if "progress" not in record:
                part["records"].append(record)
            if self._signals.number is not None or 0 < self.every <= time.perf_counter() - self._saved:
                part["state"] = run.state_dict()
                self._save()
            yield record
        part["state"] = run.state_dict()
        if self._signals.number is not None:
            self._save()

    def finish(self) -> None:
        """Remove the state: the output is there."""
        self.path.unlink(missing_ok=True)

    def _save(self) -> None:
        state = checkpoints.RunState({"seconds": self.seconds, "parts": self._parts})
        started = time.perf_counter()
        checkpoints.save(state, self.path, overwrite=True, provenance=self._identity)
        self._saved = time.perf_counter()
        self._started += self._saved - started
        if self._signals.number is not None:
            raise Stopped(self._signals.number, self.path)

    def _load(self) -> None:
        loaded = checkpoints.load(self.path)
        identity = checkpoints.describe(self.path)["provenance"]
        if not isinstance(loaded, checkpoints.RunState) or identity is None:
            raise SettingsError(f"{self.path} holds a {type(loaded).__name__} and not the state of a run.")
        here, there = dict(_leaves(self._identity)), dict(_leaves(identity))
        differing = [
            f"{name} was {there.get(name, 'not there')!r} and is {here.get(name, 'not there')!r}"
            for name in {**there, **here}
            if (name in here, here.get(name)) != (name in there, there.get(name))
        ]
        if differing:
            raise SettingsError(
                f"{self.path} is the state of another run: {'; '.join(differing)}. Repeat the command as it was "
                f"when it was stopped, with --resume, or {self._instead}."
            )
        self._parts, self._seconds = loaded.state["parts"], loaded.state["seconds"]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested dicts and lists with the way to each: `settings.layers.0.training.epochs`."""
    if not isinstance(value, dict | list):
        yield name, value
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(item, f"{name}.{key}" if name else str(key))
