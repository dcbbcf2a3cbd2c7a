"""Progress bars of training runs, on standard error and only in a terminal."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.event_log import EventLog
from pretrain.training import Record

T = TypeVar("T")
PROGRESS_SECONDS = 0.2  # between two movements of the bar inside an epoch


class TrainingProgress:
    """Draws a bar for each stage and layer of runs: epoch, loss or error, time left.

        with TrainingProgress() as progress:
            for record in progress.follow(run): ...

    Where standard error is no terminal it draws nothing and passes the records on.

    Parameters
    ----------
    silent : bool
        Draw nothing in a terminal either.
    tensorboard : Path or None
        Folder for the records, see `pipelines.event_log`.
    """

    def __init__(self, *, silent: bool = False, tensorboard: Path | None = None) -> None:
        self.tensorboard = tensorboard
        self._log = None if tensorboard is None else EventLog(tensorboard)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[unit]} {task.fields[epoch]}/{task.fields[n_epochs]}"),
            TextColumn("{task.fields[metric]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=silent or not Console(stderr=True).is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)
        if self._log is not None:
            self._log.close()

    def follow(self, run: Iterator[Record], title: str = "", *, transient: bool = False) -> Iterator[Record]:
        """Pass on the epoch records of a run, drawing its progress records.

        Parameters
        ----------
        transient : bool
            Take the bars away when the run is over.
        """
        tasks: dict[tuple[str, int | None], TaskID] = {}
        for record in run:
            key = (record["stage"], record["layer"])
            if key not in tasks:
                tasks[key] = self._add_task(title, record)
            self._move(tasks[key], record)
            if "progress" not in record:
                if self._log is not None:
                    self._log.write(record, title)
                yield record
        if transient:
            for task in tasks.values():
                self._progress.remove_task(task)

    def count(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Pass on items, drawing how many of `total` have come; `what` they are called, in the plural."""
        task = self._progress.add_task("", total=total, unit=what, epoch=0, n_epochs=total, metric="")
        for number, item in enumerate(items, start=1):
            self._progress.update(task, completed=number, epoch=number)
            yield item
        self._progress.remove_task(task)

    def _add_task(self, title: str, record: Record) -> TaskID:
        name = record["stage"]
        if record["layer"] is not None:
            name = f"{name} layer {record['layer'] + 1}/{record.get('n_layers', '?')}"
        return self._progress.add_task(
            f"{title} {name}".strip(),
            total=record["n_epochs"],
            unit="epoch",
            epoch=record["epoch"],
            n_epochs=record["n_epochs"],
            metric="",
        )

    def _move(self, task: TaskID, record: Record) -> None:
        done = record["epoch"] - 1 + record.get("progress", 1.0)
        fields = {"epoch": record["epoch"]}
        if "validation_error" in record:
            fields["metric"] = f"validation error {record['validation_error']:.2f} %"
        elif "loss" in record:
            fields["metric"] = f"loss {record['loss']:.4g}"
        self._progress.update(task, completed=done, **fields)
