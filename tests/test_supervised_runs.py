"""Supervised layers on the command line, and the arm of a comparison that pretrains with labels."""

import json
from pathlib import Path

import numpy as np
from stacks import same

import checkpoints
from pipelines.arms import ARMS
from pipelines.preparation import prepare
from pipelines.split import draw_labelled
from pretrain import GreedyPretraining
from pretrain.settings import SupervisedSettings, TrainingSettings

STACK = ("stack", "digits", "--layers", "13,11", "--kind", "supervised", "--epochs", "2", "-o", "stack.h5")


def done(result):
    assert result.exit_code == 0, result.output
    return result


def trained(rows, epochs=2, **options):
    prepared = prepare("digits")
    training = TrainingSettings(epochs=epochs, optimizer="adam", learning_rate=1e-3)
    X, y = prepared.scaling.apply(prepared.dataset.X[rows]), prepared.labels()[rows]
    settings = SupervisedSettings(training=training)
    run = GreedyPretraining(X, (13, 11), settings, seed=0, device="cpu", y=y, **options)
    list(run)
    return run.stack


def test_stack_learns_from_the_labels_of_the_training_rows(cli):
    done(cli(*STACK))
    assert same(checkpoints.load("stack.h5"), trained(prepare("digits").split.train))
    assert checkpoints.describe("stack.h5")["layers"][1]["kind"] == "supervised"


def test_what_can_be_done_with_the_file(cli):
    done(cli(*STACK, "--monitor"))
    health = json.loads(done(cli("inspect", "stack.h5", "--health", "digits", "--json")).stdout)
    assert [layer["reconstruction_ratio"] for layer in health["layers"]] == [None, None]
    assert all(layer["weight_change"] > 0 for layer in health["layers"])
    assert any(note.startswith("Supervised layers have no reconstruction") for note in health["notes"])
    done(cli("plot", "filters", "stack.h5", "-o", "filters.png"))
    done(cli("plot", "codes", "stack.h5", "--data", "digits", "-o", "codes.png"))
    done(cli("finetune", "stack.h5", "digits", "--epochs", "1", "-o", "net.h5"))
    for refused in (
        ("finetune", "stack.h5", "digits", "--into", "autoencoder", "-o", "ae.h5"),
        ("evaluate", "stack.h5", "digits"),
        ("plot", "reconstructions", "stack.h5", "--data", "digits", "-o", "r.png"),
    ):
        result = cli(*refused)
        assert result.exit_code == 2
        assert "Layer 1 of the stack is of kind 'supervised', which encodes and does not decode" in result.output
    assert not Path("ae.h5").exists()


def test_a_number_to_predict(cli):
    rng = np.random.default_rng(0)
    np.savez("table.npz", X=rng.random((60, 5)), y=rng.normal(50, 10, 60))
    done(cli("stack", "table.npz", *STACK[2:]))
    losses = [record["loss"] for record in checkpoints.read_history("stack.h5")]
    assert max(losses) < 10  # of standardised targets


def test_data_without_labels(cli):
    np.savez("rows.npz", X=np.random.default_rng(0).random((60, 5)))
    result = cli("stack", "rows.npz", *STACK[2:])
    assert result.exit_code == 2
    assert "there are no labels" in result.output


def test_the_arm_pretrains_on_the_labelled_rows_of_each_budget(cli):
    options = ("--labels", "20,all", "--seeds", "1", "--layers", "13,11", "--epochs", "1", "--pretrain-epochs", "2")
    done(cli("compare", "digits", "--arms", "greedy-supervised,relu", *options, "-o", "run", "--device", "cpu"))
    assert ARMS["greedy-supervised"].pretrained
    stacks = sorted(path.name for path in Path("run/stacks").iterdir())
    assert stacks == ["greedy-supervised-20-seed0.h5", "greedy-supervised-all-seed0.h5"]
    prepared = prepare("digits")
    train = prepared.split.train
    for labels, rows in ((20, draw_labelled(prepared.labels(), train, 20, seed=0)), ("all", train)):
        found = checkpoints.load(f"run/stacks/greedy-supervised-{labels}-seed0.h5")
        assert same(found, trained(rows))
    records = json.loads(Path("run/records.json").read_text())["records"]
    for record in records:
        assert (record["pretrain_seconds"] > 0) == (record["arm"] == "greedy-supervised")
