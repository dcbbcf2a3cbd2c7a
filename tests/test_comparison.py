"""The comparison: what it trains, what it records, and that it goes on where it was stopped."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import checkpoints
from pipelines.arms import ARMS, arms_named
from pipelines.comparison import Comparison
from pipelines.evaluation import evaluate
from pipelines.preparation import prepare
from pipelines.progress import TrainingProgress
from pipelines.split import draw_labelled
from pretrain import Finetuning, GreedyPretraining, unroll
from pretrain.baselines import scratch_network
from pretrain.exceptions import SettingsError
from pretrain.random_streams import RandomStreams

ARGUMENTS = (
    *("compare", "digits", "--arms", "dbn,dbn-dropout,relu", "--labels", "20,all", "--seeds", "2"),
    *("--layers", "13,11", "--epochs", "2", "--pretrain-epochs", "1", "-o", "run"),
)


@pytest.fixture
def finished(cli):
    result = cli(*ARGUMENTS)
    assert result.exit_code == 0, result.output
    return Path("run")


def comparison(output, **changes):
    settings = {
        "arms": arms_named(("relu",)),
        "hidden_layer_sizes": [7],
        "labels": [20],
        "seeds": [0],
        "output": output,
        "device": "cpu",
    }
    return Comparison(prepare("digits"), **{**settings, **changes})


def records(folder):
    return json.loads((folder / "records.json").read_text())["records"]


def test_every_arm_at_every_budget_for_every_seed(finished):
    cells = {(r["arm"], r["labels"], r["seed"]) for r in records(finished)}
    assert cells == {
        (arm, labels, seed) for arm in ("dbn", "dbn-dropout", "relu") for labels in (20, "all") for seed in (0, 1)
    }
    assert len(records(finished)) == 12


def test_csv_and_json_hold_the_same_cells(finished):
    with (finished / "records.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, record in zip(rows, records(finished), strict=True):
        assert float(row["test_error"]) == record["test_error"]
        assert (row["arm"], row["labels"], int(row["seed"])) == (record["arm"], str(record["labels"]), record["seed"])


def test_the_report_stands_alone(finished):
    page = (finished / "report.html").read_text()
    assert "dbn-dropout" in page
    assert "<script src" not in page


def test_pretraining_is_charged_and_shared(finished):
    stacks = sorted(path.name for path in (finished / "stacks").iterdir())
    assert stacks == ["dbn-seed0.h5", "dbn-seed1.h5"]  # dbn-dropout pretrains alike
    for record in records(finished):
        assert (record["pretrain_seconds"] > 0) == (record["arm"] != "relu")
        assert record["seconds"] == record["pretrain_seconds"] + record["finetune_seconds"]


def test_the_costs_of_a_cell_are_recorded(finished):
    for record in records(finished):
        pretrained = record["arm"] != "relu"
        assert record["pretrain_epochs"] == (2 if pretrained else 0)  # one a layer
        assert record["epochs"] == record["pretrain_epochs"] + 2
        assert record["pretrain_steps"] == (2 * 52 if pretrained else 0)  # 1,438 rows in batches of 28
        assert record["steps"] == record["pretrain_steps"] + 2 * (52 if record["labels"] == "all" else 2)
        assert record["multiply_adds"] > record["pretrain_multiply_adds"]
        assert (record["pretrain_multiply_adds"] > 0) == pretrained


def test_pretraining_sees_all_training_rows_and_no_test_row(finished):
    split = json.loads((finished / "records.json").read_text())["split"]
    assert (split["n_train"], split["n_test"]) == (1438, 359)
    history = [r for r in records(finished)[0]["history"] if r["stage"] == "pretrain"]
    assert {record["layer"] for record in history} == {0, 1}


def test_a_cell_is_the_same_training_done_by_hand(finished):
    prepared = prepare("digits")
    X, y, train = prepared.scaling.apply(prepared.dataset.X), prepared.labels(), prepared.split.train
    for record in [record for record in records(finished) if record["labels"] == 20]:
        arm, streams = ARMS[record["arm"]], RandomStreams(record["seed"])
        if arm.layer is None:
            network = scratch_network(arm.kind, 64, (13, 11), 10, generator=streams.generator("init"))
        else:
            layer = dataclasses.replace(arm.layer, training=dataclasses.replace(arm.layer.training, epochs=1))
            pretraining = GreedyPretraining(X[train], (13, 11), layer, seed=record["seed"], device="cpu")
            list(pretraining)
            rates = {"dropout": arm.dropout, "input_dropout": arm.input_dropout}
            head = streams.generator("head")
            network = unroll(pretraining.stack, "classifier", n_outputs=10, generator=head, **rates)
        network.scaling, network.classes = prepared.scaling, np.arange(10)
        settings = dataclasses.replace(arm.finetune, training=dataclasses.replace(arm.finetune.training, epochs=2))
        rows = draw_labelled(y, train, 20, seed=record["seed"])
        made = Finetuning(network, X[rows], y[rows], settings, seed=record["seed"], device="cpu")
        losses = [epoch["loss"] for epoch in made]
        found = [epoch["loss"] for epoch in record["history"] if epoch["stage"] in ("finetune", "train")]
        assert found == pytest.approx(losses)
        wrong = network.predict(prepared.raw_test_rows()) != prepared.test_labels()
        assert record["test_error"] == pytest.approx(100 * wrong.mean())


def test_a_recorded_error_is_that_of_the_saved_network(finished):
    prepared = prepare("digits")
    for record in records(finished):
        if record["seed"] == 0:
            network = checkpoints.load(finished / "networks" / f"{record['arm']}-{record['labels']}-seed0.h5")
            tested = evaluate(network, prepared.raw_test_rows(), prepared.test_labels())
            assert tested["test_error"] == record["test_error"]


def test_the_files_say_where_they_come_from(finished, cli):
    common = {"command", "seed", "seconds", "created_at", "versions", "machine", "data", "split", "settings"}
    stack, network, scratch = (
        checkpoints.describe(finished / name)["provenance"]
        for name in ("stacks/dbn-seed1.h5", "networks/dbn-20-seed0.h5", "networks/relu-all-seed0.h5")
    )
    assert set(stack) == common
    assert (stack["seed"], stack["settings"]["hidden_layer_sizes"]) == (1, [13, 11])
    assert [layer["training"]["epochs"] for layer in stack["settings"]["layers"]] == [1, 1]
    assert set(network) == set(scratch) == common | {"pretraining"}
    assert set(network["pretraining"]) == common
    assert scratch["pretraining"] is None
    assert (network["settings"]["arm"], network["settings"]["labels"]) == ("dbn", 20)
    assert network["settings"]["training"]["epochs"] == 2
    assert network["split"] == scratch["split"] == stack["split"]
    record = next(r for r in records(finished) if (r["arm"], r["labels"], r["seed"]) == ("dbn", 20, 0))
    assert network["seconds"] == record["finetune_seconds"]
    assert network["pretraining"]["seconds"] == record["pretrain_seconds"]
    assert "compare" in network["command"]
    result = cli("evaluate", "run/networks/dbn-20-seed0.h5", "digits", "--json")  # on the test rows of its split
    assert json.loads(result.stdout)["test_error"] == record["test_error"]


def test_all_arms_learn_from_the_same_rows():
    prepared = prepare("digits")
    first = comparison("a", labels=[20, 50])._budget_rows
    again = comparison("b", labels=[50], arms=list(ARMS.values()))._budget_rows
    np.testing.assert_array_equal(first[50, 0], again[50, 0])
    assert set(first[20, 0]) <= set(first[50, 0])
    assert set(first[50, 0]) <= set(prepared.split.train)
    assert np.bincount(prepared.labels()[first[20, 0]]).tolist() == [2] * 10


def test_finished_cells_are_not_run_again(cli, finished):
    cells = {path: path.stat().st_mtime_ns for path in (finished / "cells").iterdir()}
    before = records(finished)
    gone = finished / "cells" / "relu-20-seed1.json"
    gone.unlink()
    assert cli(*ARGUMENTS).exit_code == 0
    for path, stamp in cells.items():
        assert (path.stat().st_mtime_ns == stamp) == (path != gone)
    timing = ("seconds", "finetune_seconds", "history")
    for old, new in zip(before, records(finished), strict=True):
        assert {k: v for k, v in old.items() if k not in timing} == {k: v for k, v in new.items() if k not in timing}


def test_more_seeds_keep_what_is_done(cli, finished):
    stamps = {path.name: path.stat().st_mtime_ns for path in (finished / "cells").iterdir()}
    more = [*ARGUMENTS]
    more[more.index("--seeds") + 1] = "3"
    assert cli(*more).exit_code == 0
    assert len(records(finished)) == 18
    for path in (finished / "cells").iterdir():
        assert path.stat().st_mtime_ns == stamps.get(path.name, path.stat().st_mtime_ns)


def test_other_settings_are_refused_by_name(cli, finished):
    result = cli(*ARGUMENTS, "--learning-rate", "0.01")
    assert result.exit_code == 2
    assert "arm dbn" in result.stderr
    assert "--overwrite" in result.stderr
    assert len(records(finished)) == 12
    assert cli(*ARGUMENTS, "--learning-rate", "0.01", "--overwrite").exit_code == 0


def test_a_folder_with_other_files_is_never_taken(cli, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    for extra in ((), ("--overwrite",)):
        result = cli(*ARGUMENTS, *extra)
        assert result.exit_code == 2
        assert "not the folder of a comparison" in result.stderr
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"


def test_json_summary(cli, finished):
    result = cli(*ARGUMENTS, "--json")
    summary = json.loads(result.stdout)
    assert len(summary["summary"]) == 6
    assert len(summary["verdict"]) == 2


def test_unknown_arms_are_named():
    with pytest.raises(SettingsError, match=r"'dbm'.*dbn"):
        arms_named(("dbn", "dbm"))


def test_regression_is_compared_too(cli, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.random((90, 3))
    np.savez(tmp_path / "r.npz", X=X, y=X @ [1.0, 2.0, 3.0])
    result = cli(
        *("compare", "r.npz", "--arms", "dbn,relu", "--seeds", "1", "--layers", "7", "--epochs", "2", "-o", "run")
    )
    assert result.exit_code == 0, result.output


def test_one_run_is_the_same_as_another(tmp_path):
    errors = []
    for name in ("a", "b"):
        run = comparison(tmp_path / name, arms=arms_named(("sdae", "relu-dropout")), seeds=[3])
        run.open_folder(overwrite=False)
        with TrainingProgress() as progress:
            results = run.run(progress)
        errors.append([(r["test_error"], [h["loss"] for h in r["history"]]) for r in results["records"]])
    assert errors[0] == errors[1]


def test_settings_of_earlier_arms_are_remembered(cli, finished):
    changed = [*ARGUMENTS]
    changed[changed.index("--arms") + 1] = "sdae"
    assert cli(*changed).exit_code == 0  # other arms in the same folder
    result = cli(*ARGUMENTS, "--learning-rate", "0.5")
    assert result.exit_code == 2
    assert "learning_rate was 0.001, now 0.5" in result.stderr


def test_a_settings_file_of_others_is_not_a_run_folder(cli, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text('{"editor.fontSize": 12}')
    for extra in ((), ("--overwrite",)):
        assert "not the folder of a comparison" in cli(*ARGUMENTS, *extra).stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["settings.json"]


def test_overwrite_leaves_files_of_others(cli, finished):
    (finished / "notes.txt").write_text("mine")
    assert cli(*ARGUMENTS, "--overwrite").exit_code == 0
    assert (finished / "notes.txt").read_text() == "mine"


def test_other_first_seed_in_the_same_folder(cli, finished):
    assert cli(*ARGUMENTS, "--seed", "1").exit_code == 0
    assert {record["seed"] for record in records(finished)} == {1, 2}


def test_a_damaged_cell_is_named(cli, finished):
    (finished / "cells" / "relu-20-seed1.json").write_text("{")
    result = cli(*ARGUMENTS)
    assert result.exit_code == 2
    assert "relu-20-seed1.json is damaged" in result.stderr


@pytest.mark.parametrize("content", ['{"kind": "pretr', "[]"])
def test_damaged_settings_are_named(cli, finished, content):
    (finished / "settings.json").write_text(content)
    for extra in ((), ("--overwrite",)):
        result = cli(*ARGUMENTS, *extra)
        assert result.exit_code == 2
        assert "settings.json is damaged" in result.stderr
        assert "remove the folder to begin anew" in result.stderr
    assert records(finished)


def test_divergence_names_the_cell(cli):
    result = cli(*ARGUMENTS, "--learning-rate", "1e30", "--arms", "dbn,relu")
    assert result.exit_code == 2
    assert "dbn-20-seed0: Training diverged" in result.stderr


def test_a_stopped_comparison_reports_what_it_has(cli, monkeypatch):
    finish = Comparison._finish_cell

    def stop_at_the_third(self, cell, progress, title):
        if title.startswith("[3/"):
            raise KeyboardInterrupt
        finish(self, cell, progress, title)

    monkeypatch.setattr(Comparison, "_finish_cell", stop_at_the_third)
    assert cli(*ARGUMENTS).exit_code == 130
    assert len(records(Path("run"))) == 2
    assert "dbn" in (Path("run") / "report.html").read_text()


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_run_folder_that_cannot_be_made(cli, tmp_path, place):
    (tmp_path / "file").write_text("x")
    arguments = [*ARGUMENTS]
    arguments[-1] = place
    result = cli(*arguments, "--overwrite")
    assert result.exit_code == 2
    assert place in result.stderr
    assert (tmp_path / "file").read_text() == "x"


def test_no_test_rows_is_found_first(cli, tmp_path):
    result = cli(*ARGUMENTS, "--test-fraction", "0")
    assert result.exit_code == 2
    assert "no test rows" in result.stderr
    assert not (tmp_path / "run").exists()
