"""Cells in several processes: the results of one, their errors, and their end."""

import contextlib
import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.arms import arms_named
from pipelines.comparison import Comparison
from pipelines.jobs import run_jobs
from pipelines.preparation import prepare
from pipelines.progress import TrainingProgress
from pretrain.exceptions import DivergenceError


def short(arm, **training):
    finetune = dataclasses.replace(arm.finetune.training, epochs=2, **training)
    layer = arm.layer and dataclasses.replace(arm.layer, training=dataclasses.replace(arm.layer.training, epochs=1))
    return dataclasses.replace(arm, layer=layer, finetune=dataclasses.replace(arm.finetune, training=finetune))


def results(output, jobs, n_trials=2, **training):
    comparison = Comparison(
        prepare("digits", validation_fraction=0.1),
        arms=[short(arm, **training) for arm in arms_named(("dbn", "dbn-dropout", "relu"))],
        hidden_layer_sizes=[7, 5],
        labels=[20, 50],
        seeds=[0, 1],
        output=output,
        device="cpu",
        n_trials=n_trials,
        jobs=jobs,
    )
    comparison.open_folder(overwrite=False)
    with TrainingProgress() as progress:
        return comparison.run(progress)


def numbers(found):
    """What does not depend on the time."""
    return [
        [
            (r["arm"], r["labels"], r["seed"], r["test_error"], [h["loss"] for h in r["history"]])
            for r in found["records"]
        ],
        [[(t["settings"], t["validation_error"]) for t in s["trials"]] for s in found["searches"]],
    ]


@pytest.mark.slow
def test_several_jobs_give_the_results_of_one(tmp_path):
    one, several = results(tmp_path / "one", 1), results(tmp_path / "several", 2)
    assert len(one["records"]) == 12
    assert numbers(one) == numbers(several)
    assert several["n_jobs"] == 2
    stacks = [sorted(path.name for path in (tmp_path / name / "stacks").iterdir()) for name in ("one", "several")]
    assert stacks[0] == stacks[1]


@pytest.mark.slow
def test_an_error_of_a_job_names_its_cell(tmp_path):
    with pytest.raises(DivergenceError, match=r"-seed[01]: Training diverged"):
        results(tmp_path / "run", 2, n_trials=0, learning_rate=1e30)
    assert not list((tmp_path / "run" / "cells").glob(".*"))


def test_a_single_job_works_here_and_in_order():
    done = []
    items = arms_named(("dbn", "relu"))
    with TrainingProgress() as progress:
        run_jobs(lambda item, _, title: done.append((item, title)), items, jobs=1, progress=progress, what="arms")
    assert done == [(items[0], "[1/2] dbn"), (items[1], "[2/2] relu")]


def children(process: int) -> list[int]:
    """Processes below another, from /proc."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        own = [int(number) for number in task.read_text().split()]
        found += own + [below for child in own for below in children(child)]
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_end_of_the_command_is_the_end_of_its_jobs(tmp_path, number, code):
    arguments = ("--arms", "relu", "--labels", "all", "--layers", "7", "--seeds", "2", "--epochs", "1000000")
    command = [sys.executable, "-m", "pipelines", "compare", "digits", *arguments, "--jobs", "2", "-o", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    begun = time.monotonic()
    while len(children(process.pid)) < 3 and time.monotonic() - begun < 60:  # two workers and joblib's own
        time.sleep(0.2)
    jobs = children(process.pid)
    assert len(jobs) >= 2
    time.sleep(2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    deadline = time.monotonic() + 20
    while any(alive(job) for job in jobs) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(alive(job) for job in jobs)


def alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    return False


def leave_a_trace(item, progress, title):
    Path(item.name).write_text(title, encoding="utf-8")


@pytest.mark.slow
def test_the_processes_of_a_run_work_where_it_does(tmp_path, monkeypatch):
    items = arms_named(("dbn", "relu"))
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        with TrainingProgress() as progress:
            run_jobs(leave_a_trace, items, jobs=2, progress=progress, what="arms")
        assert {path.name for path in folder.iterdir()} == {"dbn", "relu"}
