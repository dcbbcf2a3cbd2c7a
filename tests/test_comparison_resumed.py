"""Comparisons that are stopped or killed and go on give what they would have given, to the bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from command_results import refused
from interruptions import content, kill, succeeded, terminate

import checkpoints
from pipelines.cli import main
from pipelines.stopping import Stopped, StopSignals

COMPARE = ("compare", "rows.npz", "--labels", "20", "--seeds", "1", "--layers", "5", "--pretrain-epochs", "1",
           "--epochs", "3", "--batch-size", "7", "--validation-fraction", "0.2")  # fmt: skip
CELLS = (*COMPARE, "--arms", "dbn,relu-dropout")
TUNED = (*COMPARE, "--arms", "dbn", "--tune", "2")
# Where records are computed, from 0, in a comparison of CELLS: five batches of the stack, its validation nine of the
# cell (three epochs), a few that count multiply-adds, then those of the other cell.
IN_STACK, IN_CELL, BEFORE_LAST_EPOCH, LAST_STEP = 2, 7, 11, 13


def write_rows(path, seed=0, **changes):
    rng = np.random.default_rng(seed)
    y = np.arange(70) % 2
    np.savez(path, **{"X": (rng.random((70, 12)) + y[:, None]) / 2, "y": y, **changes})


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def prepare_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("bench", "pretraining"):
        monkeypatch.setattr(f"pipelines.{name}.PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("pipelines.run_folder.write_report", lambda *_: None)
    write_rows("rows.npz")


@pytest.fixture
def cli(tmp_path, monkeypatch, interruptible):
    """`pretrain ...` beside rows.npz, with a record after every batch and without the figures of reports."""
    prepare_folder(tmp_path, monkeypatch)
    return invoke


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What comparisons leave that nothing ends, by their arguments."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        prepare_folder(tmp_path_factory.mktemp("undisturbed"), monkeypatch)
        for name, arguments in (("cells", CELLS), ("tuned", TUNED)):
            succeeded(invoke(*arguments, "-o", name))
        return {CELLS: results("cells"), TUNED: results("tuned")}


def interrupt():
    signal.raise_signal(signal.SIGINT)


def results(folder):
    """All that a comparison leaves, but for times."""
    folder = Path(folder)
    found = json.loads((folder / "records.json").read_text())
    files = {str(path.relative_to(folder)): content(path) for path in folder.glob("*/*.h5")}
    assert not list(folder.rglob("*.resume"))
    return timeless({"records": found["records"], "searches": found["searches"]}), files


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if not key.endswith("seconds")}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def states():
    return sorted(str(path.relative_to("run")) for path in Path("run").rglob("*.resume"))


def change_state(path, change):
    state, identity = checkpoints.load(path).state, checkpoints.describe(path)["provenance"]
    change(state)
    checkpoints.save(checkpoints.RunState(state), path, overwrite=True, provenance=identity)


@pytest.mark.parametrize(
    ("arguments", "act", "gap"),
    [(CELLS, terminate, 4), (CELLS, kill, 8), (TUNED, kill, 4), (TUNED, interrupt, 9)],
    ids=["cells stopped", "cells killed", "trials killed", "trials stopped"],
)
def test_a_comparison_that_is_ended_again_and_again_is_the_undisturbed_one(
    cli, after_records, undisturbed, arguments, act, gap
):
    seen, codes, ends = set(), set(), 0
    while 0 not in codes:
        after_records(gap, act)
        codes.add(cli(*arguments, "-o", "run", "--checkpoint-every", 1e-9 if act is kill else 0).exit_code)
        seen |= {path.partition("/")[0] for path in states()}
        ends += 1
        assert ends < 40  # it comes further every time
    assert ends > 2
    assert codes == {0, {terminate: 143, interrupt: 130, kill: 1}[act]}
    if gap == 4:  # shorter than each of them
        assert seen == {"stacks", "cells"} | ({"trials"} if arguments is TUNED else set())
    assert results("run") == undisturbed[arguments]


@pytest.mark.parametrize("stop", [IN_STACK, IN_CELL, BEFORE_LAST_EPOCH, LAST_STEP])
def test_stopping_keeps_what_is_finished_and_says_how_to_go_on(cli, after_records, undisturbed, stop):
    after_records(stop, terminate)
    stopped = cli(*CELLS, "-o", "run")
    assert stopped.exit_code == 143
    (state,) = states()
    assert state == ("stacks/dbn-seed0.h5.resume" if stop == IN_STACK else "cells/dbn-20-seed0.json.resume")
    assert f"{Path('run') / state}: repeat the command with --resume to go on from there" in stopped.stderr
    assert json.loads(Path("run/records.json").read_text())["records"] == []
    after_records(-1, kill)
    succeeded(cli(*CELLS, "-o", "run", "--resume"))
    assert results("run") == undisturbed[CELLS]


def test_a_signal_after_the_training_waits_for_the_record_of_the_cell(cli, after_records, undisturbed):
    after_records(LAST_STEP + 1, terminate)  # while multiply-adds are counted
    stopped = cli(*CELLS, "-o", "run")
    assert stopped.exit_code == 143
    assert "Stopped. What is finished is kept: repeat the command with --resume" in stopped.stderr
    assert [record["arm"] for record in json.loads(Path("run/records.json").read_text())["records"]] == ["dbn"]
    assert states() == []
    after_records(-1, kill)
    succeeded(cli(*CELLS, "-o", "run"))
    assert results("run") == undisturbed[CELLS]


def test_an_interruption_neither_costs_nor_saves_seconds(cli, after_records):
    def longer(state):
        state["seconds"] += 1000

    def longer_with_figures(state):
        state["seconds"] += 1000
        state["parts"]["train"]["state"]["seconds"] += 400

    for stop, change in ((IN_STACK, longer), (IN_CELL - IN_STACK, longer_with_figures)):
        after_records(stop, terminate)
        assert cli(*CELLS, "-o", "run").exit_code == 143
        (state,) = states()
        change_state(Path("run") / state, change)
    after_records(-1, kill)
    succeeded(cli(*CELLS, "-o", "run"))
    dbn, relu = json.loads(Path("run/records.json").read_text())["records"]
    assert 1000 < dbn["pretrain_seconds"] < 1100
    assert 600 < dbn["finetune_seconds"] < 700
    assert 0 < relu["seconds"] < 100


def test_a_trial_is_charged_with_its_stack_wherever_that_was_made(cli, after_records):
    for stop in (IN_STACK, IN_CELL - IN_STACK):
        after_records(stop, terminate)
        assert cli(*TUNED, "-o", "run").exit_code == 143
        (state,) = states()
        change_state(Path("run") / state, lambda state: state.update(seconds=state["seconds"] + 1000))
    assert state == "trials/dbn-20-trial1.resume"
    after_records(-1, kill)
    succeeded(cli(*TUNED, "-o", "run"))
    first, second = json.loads(Path("run/trials/dbn-20.json").read_text())["trials"]
    assert 2000 < first["seconds"] < 2100
    assert 0 < second["seconds"] < 100


@pytest.fixture
def stopped(cli, after_records):
    """The state of a cell that was stopped."""
    after_records(IN_CELL, terminate)
    assert cli(*CELLS, "-o", "run").exit_code == 143
    after_records(-1, kill)
    return Path("run/cells/dbn-20-seed0.json.resume")


def test_a_state_of_other_versions_is_refused_with_what_can_be_done(cli, stopped, monkeypatch):
    before = stopped.read_bytes()
    monkeypatch.setattr("pipelines.resuming.versions", lambda: {"pretrain": "9.9", "torch": "9.9"})
    advice = ("remove that file to begin what it is the state of anew", "--overwrite or another -o")
    refused(cli(*CELLS, "-o", "run"), str(stopped), "versions.torch was ", "is '9.9'", *advice)
    assert stopped.read_bytes() == before
    stopped.unlink()
    succeeded(cli(*CELLS, "-o", "run"))


def test_a_state_of_another_stack_is_refused(cli, stopped):
    Path("run/stacks/dbn-seed0.h5").unlink()
    refused(cli(*CELLS, "-o", "run"), "stack was 'sha256:")


def test_other_settings_and_data_are_refused_by_the_folder(cli, stopped):
    before = stopped.read_bytes()
    refused(cli(*CELLS, "--learning-rate", "0.5", "-o", "run", "--resume"), "learning_rate was 0.001, now 0.5")
    refused(cli(*CELLS[:6], *CELLS[8:], "--layers", "6", "-o", "run", "--resume"), "hidden_layer_sizes was [5]")
    write_rows("rows.npz", seed=1)
    refused(cli(*CELLS, "-o", "run"), "split.data_sha256 was ", "Give another -o, or --overwrite")
    assert stopped.read_bytes() == before
    succeeded(cli(*CELLS, "-o", "run", "--overwrite"))
    assert states() == []


def test_the_same_numbers_in_another_shape_are_other_data(cli, stopped):
    with np.load("rows.npz") as rows:
        X = rows["X"].reshape(70, 3, 4)
    write_rows("rows.npz", X=X)
    refused(cli(*CELLS, "-o", "run"), "data.image_shape was None, now [3, 4]")


def test_a_folder_that_does_not_say_what_its_images_are_is_gone_on_in(cli, stopped):
    settings = json.loads(Path("run/settings.json").read_text())
    del settings["data"]
    Path("run/settings.json").write_text(json.dumps(settings))
    succeeded(cli(*CELLS, "-o", "run"))


def test_nothing_to_resume(cli, tmp_path):
    refused(cli(*CELLS, "-o", "run", "--resume"), "There is nothing to resume: there is no comparison in run.")
    (tmp_path / "run").mkdir()
    refused(cli(*CELLS, "-o", "run", "--resume"), "nothing to resume")
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    refused(cli(*CELLS, "-o", "run", "--resume"), "not the folder of a comparison")
    refused(cli(*CELLS, "-o", "run", "--resume", "--overwrite"), "--resume goes on and --overwrite begins anew")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_damaged_state_is_named(cli, stopped):
    stopped.write_bytes(stopped.read_bytes()[:-3000])
    refused(cli(*CELLS, "-o", "run"), str(stopped), "damaged")


def test_states_that_a_killed_process_left_beside_their_outputs_go(cli, stopped):
    for place in ("stacks/dbn-seed0.h5", "cells/dbn-20-seed0.json", "trials/dbn-20-trial1"):
        shutil.copy(stopped, f"{place.replace('/', '-')}.copy")
    succeeded(cli(*CELLS, "-o", "run"))
    succeeded(cli(*TUNED, "-o", "tuned"))
    for folder, place in (("run", "cells/dbn-20-seed0.json"), ("tuned", "trials/dbn-20-trial1")):
        shutil.copy(f"{place.replace('/', '-')}.copy", f"{folder}/{place}.resume")
    succeeded(cli(*TUNED, "-o", "tuned"))
    succeeded(cli(*CELLS, "-o", "run"))
    Path("run/cells/dbn-20-seed0.json").unlink()
    shutil.copy("stacks-dbn-seed0.h5.copy", "run/stacks/dbn-seed0.h5.resume")
    succeeded(cli(*CELLS, "-o", "run"))
    assert not list(Path().rglob("*.resume"))


def test_training_that_diverges_leaves_no_state(cli):
    result = cli(*CELLS, "--learning-rate", "1e30", "-o", "run", "--checkpoint-every", "1e-9")
    refused(result, "dbn-20-seed0: Training diverged")
    assert states() == []


def test_a_recipe_with_a_comparison_goes_on(cli, after_records):
    options = 'arms = "dbn,relu"\nlabels = [20]\nseeds = 1\nlayers = [5]\nepochs = 3\nbatch_size = 7\n'
    step = f'[[steps]]\ncommand = "compare"\npretrain_epochs = 1\n{options}'
    Path("r.toml").write_text(f'title = "t"\ndescription = "d"\ndata = "rows.npz"\n{step}')
    succeeded(cli("run", "r.toml", "-o", "whole"))
    after_records(IN_CELL, terminate)
    assert cli("run", "r.toml", "-o", "run", "--checkpoint-every", 0).exit_code == 143
    after_records(-1, kill)
    assert len(states()) == 1
    assert cli("run", "r.toml", "-o", "run", "--resume", "--overwrite").exit_code == 2
    assert len(states()) == 1
    succeeded(cli("run", "r.toml", "-o", "run", "--resume"))
    assert results("run") == results("whole")


def test_signals_are_kept_until_it_is_time_and_then_act_as_before(interruptible):
    signals = StopSignals()
    with signals.watched():
        signals.check()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped, match="repeat the command with --resume") as stopped:
            signals.check()
        assert stopped.value.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_stay_ignored_and_other_threads_watch_none(interruptible):
    signals, before = StopSignals(), signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with signals.watched():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) is not before
    signals.check()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    handlers = []

    def watch():
        with signals.watched():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert handlers == [before]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "jobs", "code"), [(signal.SIGKILL, 1, -9), (signal.SIGTERM, 2, 143), (signal.SIGINT, 2, 130)]
)
def test_a_process_that_is_ended_goes_on_inside_its_cells(cli, tmp_path, number, jobs, code):
    arguments = (*COMPARE[:8], "--arms", "relu,sigmoid", "--epochs", "1500")
    options = ("--jobs", str(jobs), "--checkpoint-every", "0.01", "-o", "run")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines", *arguments, *options],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until = time.monotonic() + 100
    while len(states()) < jobs and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert number == signal.SIGKILL or b"What is finished is kept: repeat the command with --resume" in told
    assert len(states()) == jobs
    before = {path: checkpoints.load(f"run/{path}").state["parts"]["train"]["records"] for path in states()}
    succeeded(cli(*arguments, "-o", "run", "--jobs", jobs))
    succeeded(cli(*arguments, "-o", "whole"))
    assert results("run") == results("whole")
    for path, records in before.items():
        history = json.loads(Path("run", path.removesuffix(".resume")).read_text())["history"]
        assert history[: len(records)] == records  # their seconds too: they were not computed again
