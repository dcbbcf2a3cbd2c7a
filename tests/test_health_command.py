"""`inspect --health`: what it says of a healthy stack and of an ill one, and bad input is one message."""

import numpy as np
import pytest
from command_results import one_json, refused
from sklearn.datasets import load_digits

import checkpoints
from pretrain import StackTransformer


@pytest.fixture
def stack_file(cli, tmp_path):
    assert cli("stack", "digits", "--layers", "61,31", "-o", "s.h5").exit_code == 0
    return tmp_path / "s.h5"


def test_the_command_on_a_healthy_stack(cli, stack_file):
    result = one_json(cli("inspect", "s.h5", "--health", "digits", "--json"))
    assert result["n_rows"] == 1438
    assert [layer["n_hidden"] for layer in result["layers"]] == [61, 31]
    assert all(layer["weight_change"] > 0.5 for layer in result["layers"])
    assert [finding for finding in result["findings"] if finding["severity"] == "problem"] == []
    text = cli("inspect", "s.h5", "--health", "digits", "--device", "cpu")
    assert text.exit_code == 0
    assert "64 → 61" in text.stdout
    assert "all 1,438 training rows" in text.stdout
    assert "none are held out" in text.stdout
    assert "problem:" not in text.stdout


def test_the_command_on_an_ill_stack_says_so_and_exits_with_0(cli):
    assert cli("stack", "digits", "--layers", "61", "--learning-rate", "20", "-o", "s.h5").exit_code == 0
    text = cli("inspect", "s.h5", "--health", "digits")
    assert text.exit_code == 0
    assert "problem: Layer 1: 100 % of its 61 units are dead" in text.stdout
    assert "it was 20; try 2" in text.stdout


def test_nothing_to_remark(cli, stack_file, monkeypatch):
    monkeypatch.setattr("pipelines.health.findings_of", lambda figures: [])
    assert "Nothing to remark." in cli("inspect", "s.h5", "--health", "digits").stdout


def test_other_data_unlabelled_data_and_targets(cli, stack_file):
    X, y = load_digits(return_X_y=True)
    np.savez("x.npz", X=X)
    notes = one_json(cli("inspect", "s.h5", "--health", "x.npz", "--json"))["notes"]
    assert any("does not say that the stack was trained on x.npz" in note for note in notes)
    assert any("no labels" in note for note in notes)
    header = ",".join([*(f"p{k}" for k in range(64)), "price"])
    np.savetxt("t.csv", np.column_stack([X, y + 0.5]), delimiter=",", header=header, comments="")
    result = one_json(cli("inspect", "s.h5", "--health", "t.csv", "--target", "price", "--json"))
    assert any("regression" in note for note in result["notes"])
    assert result["raw_probe_error"] is None


def test_the_stack_of_an_estimator(cli):
    X, y = load_digits(return_X_y=True)
    np.savez("d.npz", X=X, y=y)
    estimator = StackTransformer((23,), n_iter=2, random_state=0).fit(X)
    checkpoints.save(estimator, "e.h5")
    assert len(one_json(cli("inspect", "e.h5", "--health", "d.npz", "--json"))["layers"]) == 1


def test_bad_input_is_one_message(cli, stack_file):
    assert cli("finetune", "s.h5", "digits", "--epochs", "1", "-o", "n.h5").exit_code == 0
    np.savez("narrow.npz", X=np.zeros((50, 3)), y=np.arange(50) % 2)
    (stack_file.parent / "text.h5").write_text("not HDF5")
    refused(cli("inspect", "n.h5", "--health", "digits"), "n.h5", "Network", "stack", most_lines=1)
    refused(cli("inspect", "s.h5", "--health", "narrow.npz"), "3 features", "64", most_lines=1)
    refused(cli("inspect", "s.h5", "--health", "nowhere.npz"), "nowhere.npz", most_lines=1)
    refused(cli("inspect", "text.h5", "--health", "digits"), "text.h5", most_lines=1)
    refused(cli("inspect", "missing.h5", "--health", "digits"), "missing.h5", most_lines=1)
    refused(cli("inspect", "s.h5", "--target", "price"), "--target", "--health", most_lines=1)
    refused(cli("inspect", "s.h5", "--device", "cpu"), "--device", "--health", most_lines=1)


def test_without_health_the_command_describes(cli, stack_file):
    assert one_json(cli("inspect", "s.h5", "--json")) == checkpoints.describe("s.h5")
    assert "provenance.command" in cli("inspect", "s.h5").stdout
