"""Several cells of a comparison at once, in processes of their own."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

from pipelines.progress import TrainingProgress
from pipelines.stopping import Stopped, restore, stoppable

Task = Callable[[Any, TrainingProgress, str], None]


def run_jobs(task: Task, items: Sequence[Any], *, jobs: int, progress: TrainingProgress, what: str) -> None:
    """Do a task for each item, `jobs` at a time.

    Parameters
    ----------
    task : callable
        Takes an item, the progress to draw and a title; it must survive pickling where `jobs` is above 1.
    items : sequence
        Each has a `name`.
    jobs : int
        1 works in this process. More are processes that share the threads of this one, each at least one (another
        number of threads may change the last bits of large products); they end with it, and an error in one, or
        Ctrl-C or SIGTERM, ends them all.
    progress : TrainingProgress
        Shows the training of a single job, and of several how many items are done.
    what : str
        Items are called so, in the plural.

    Raises
    ------
    Stopped
        After Ctrl-C or SIGTERM, if there are several processes.
    """
    if jobs == 1 or len(items) < 2:
        for number, item in enumerate(items, start=1):
            task(item, progress, f"[{number}/{len(items)}] {item.name}")
        return
    threads, here = max(1, torch.get_num_threads() // jobs), Path.cwd()
    run = Parallel(n_jobs=min(jobs, len(items)), return_as="generator_unordered", pre_dispatch="n_jobs")
    # Closing the generator before its end kills the processes.
    with (
        _ended_by_signals(),
        contextlib.closing(
            run(delayed(_work)(task, item, threads, progress.tensorboard, here) for item in items)
        ) as finished,
    ):
        for _ in progress.count(finished, len(items), what):
            pass


class _Signalled(BaseException):
    """Nobody on the way takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM as an exception, so that no process is left behind."""

    def end(number: int, _: Any) -> None:
        raise _Signalled(number)

    previous = stoppable()
    for number in previous:
        signal.signal(number, end)
    try:
        yield
    except _Signalled as signalled:
        raise Stopped(signalled.number) from None
    finally:
        restore(previous)


def _work(task: Task, item: Any, threads: int, tensorboard: Path | None, folder: Path) -> None:
    os.chdir(folder)  # joblib's processes outlive a run, and the next one may be in another folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    torch.set_num_threads(threads)
    with TrainingProgress(silent=True, tensorboard=tensorboard) as progress:
        task(item, progress, item.name)
