"""`--tensorboard`: what is written is what TensorBoard reads."""

import pytest

import checkpoints
from pipelines import event_log
from pipelines.event_log import EventLog
from pipelines.progress import TrainingProgress
from pretrain.exceptions import SettingsError

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
STACK = ("stack", "digits", "--layers", "7,5", "--epochs", "3", "-o", "s.h5")


def scalars(folder):
    """What TensorBoard shows of a folder: tag to (step, value)."""
    events = accumulators.EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_number_of_the_history_is_there(cli, tmp_path):
    result = cli(*STACK, "--tensorboard", "log")
    assert result.exit_code == 0, result.output
    found = scalars(tmp_path / "log")
    expected = {}
    for record in checkpoints.read_history("s.h5"):
        for key in ("loss", "learning_rate", "seconds"):
            points = expected.setdefault(f"pretrain/layer {record['layer'] + 1}/{key}", [])
            points.append((record["epoch"], pytest.approx(record[key], rel=1e-6)))
    assert {tag: found.get(tag) for tag in expected} == expected
    assert not [
        tag for tag in found if tag.endswith(("layer", "n_layers", "epoch", "n_epochs"))
    ]  # places, no figures
    assert [step for step, _ in found["pretrain/layer 1/loss"]] == [1, 2, 3]


def test_training_does_not_depend_on_it(cli):
    cli(*STACK, "--tensorboard", "log")
    cli(*STACK[:-1], "plain.h5")
    first, second = (checkpoints.load(name) for name in ("s.h5", "plain.h5"))
    assert first.layers[1].weight.equal(second.layers[1].weight)


def test_a_second_training_takes_the_place_of_the_first(cli, tmp_path):
    cli(*STACK, "--tensorboard", "log")
    cli(*STACK, "--overwrite", "--seed", "1", "--tensorboard", "log")
    found = scalars(tmp_path / "log")["pretrain/layer 1/loss"]
    first = [r["loss"] for r in checkpoints.read_history("s.h5") if r["layer"] == 0]
    assert [value for _, value in found] == pytest.approx(first, rel=1e-6)


def test_each_cell_of_a_comparison_has_a_folder(cli, tmp_path):
    arguments = ("--arms", "dbn,relu", "--labels", "20", "--seeds", "1", "--layers", "7", "--epochs", "2")
    result = cli("compare", "digits", *arguments, "--pretrain-epochs", "1", "-o", "run", "--tensorboard", "log")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["dbn-20-seed0", "relu-20-seed0"]
    assert len(scalars(tmp_path / "log" / "dbn-20-seed0")["finetune/loss"]) == 2
    assert "train/loss" in scalars(tmp_path / "log" / "relu-20-seed0")


def test_each_step_of_a_recipe_has_a_folder(cli, tmp_path):
    (tmp_path / "tiny.toml").write_text(
        'title = "tiny"\ndescription = "two steps"\ndata = "digits"\nminutes = 0.1\n'
        '[[steps]]\ncommand = "stack"\nlayers = [5]\nepochs = 1\n'
        '[[steps]]\ncommand = "finetune"\nepochs = 2\n'
    )
    assert cli("run", "tiny.toml", "-o", "out", "--tensorboard", "log").exit_code == 0
    assert len(scalars(tmp_path / "log" / "1 stack")["pretrain/layer 1/loss"]) == 1
    assert len(scalars(tmp_path / "log" / "2 finetune")["finetune/loss"]) == 2
    result = cli("run", "tiny.toml", "-o", "out", "--resume", "--tensorboard", "other")  # nothing is left to do
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "other").exists()


def test_titles_become_names_of_folders(tmp_path):
    records = [{"stage": "train", "layer": None, "epoch": 1, "n_epochs": 1, "loss": 0.5, "seconds": 1}]
    with TrainingProgress(tensorboard=tmp_path) as progress:
        list(progress.follow(iter(records), "[2/5] relu-20 trial 3/4"))
    assert scalars(tmp_path / "relu-20 trial 3 of 4") == {"train/loss": [(1, 0.5)], "train/seconds": [(1, 1.0)]}


def test_what_cannot_be_written_to_is_said(cli, tmp_path):
    (tmp_path / "file").touch()
    result = cli(*STACK, "--tensorboard", "file/log")
    assert result.exit_code == 2
    assert "cannot be a folder for --tensorboard" in result.stderr


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(event_log, "SummaryWriter", None)
    with pytest.raises(SettingsError, match=r"pip install 'pretrain\[tensorboard\]'"):
        EventLog(tmp_path / "log")
    assert not (tmp_path / "log").exists()
