"""`finetune` and `evaluate`: the rows that each sees, what comes out, and data that do not fit the model."""

import numpy as np
import pytest
import torch
from command_results import STACK, one_json, refused
from sklearn.datasets import load_digits

import checkpoints
from pipelines.preparation import prepare_as_before
from pretrain import DBNClassifier
from pretrain.baselines import scratch_network
from pretrain.random_streams import RandomStreams


def test_stack_finetune_evaluate(cli, network_file):
    result = one_json(cli("evaluate", "net.h5", "digits", "--json"))
    assert set(result) >= {"test_error", "n_test", "seconds"}
    assert result["n_test"] == 359
    assert 0 < result["test_error"] < 60


def test_evaluate_agrees_with_the_network_on_the_recorded_test_rows(cli, network_file):
    record = checkpoints.describe(network_file)["provenance"]
    network = checkpoints.load(network_file)
    prepared = prepare_as_before("digits", record, network.scaling)
    wrong = network.predict(prepared.raw_test_rows()) != prepared.test_labels()
    result = one_json(cli("evaluate", "net.h5", "digits", "--json"))
    assert result["test_error"] == pytest.approx(100 * wrong.mean())


def test_test_rows_stay_out_of_every_stage(cli, network_file):
    network = checkpoints.describe(network_file)["provenance"]
    stack = network["pretraining"]
    assert network["split"]["test_sha256"] == stack["split"]["test_sha256"]
    assert network["split"]["n_train"] == 1438
    assert network["split"]["n_test"] == 359


def test_early_stopping_takes_validation_rows_from_the_training_rows(cli, stack_file):
    arguments = ("finetune", "stack.h5", "digits", "--epochs", "3", "--early-stopping", "true", "-o", "net.h5")
    result = one_json(cli(*arguments, "--json"))
    split = checkpoints.describe("net.h5")["provenance"]["split"]
    stack_split = checkpoints.describe("stack.h5")["provenance"]["split"]
    assert "validation_error" in result
    assert split["n_validation"] == 180
    assert split["test_sha256"] == stack_split["test_sha256"]


def test_finetune_into_an_autoencoder(cli, stack_file):
    assert (
        cli("finetune", "stack.h5", "digits", "--into", "autoencoder", "--epochs", "8", "-o", "ae.h5").exit_code == 0
    )
    before = one_json(cli("evaluate", "stack.h5", "digits", "--json"))
    after = one_json(cli("evaluate", "ae.h5", "digits", "--json"))
    assert after["test_error"] < before["test_error"]
    assert "squared error" in after["unit"]


def test_frozen_layers_keep_their_weights(cli, stack_file):
    options = ("--frozen-layers", "0", "--head-epochs", "1", "--layer-learning-rates", "1,0.1,1")
    assert cli("finetune", "stack.h5", "digits", "--epochs", "1", *options, "-o", "net.h5").exit_code == 0
    stack, network = checkpoints.load("stack.h5"), checkpoints.load("net.h5")
    assert (network.hidden[0].linear.weight == stack.layers[0].weight).all()
    assert not (network.hidden[1].linear.weight == stack.layers[1].weight).all()


def test_estimator_files_are_evaluated(cli):
    X, y = load_digits(return_X_y=True)
    np.savez("data.npz", X=X[:300], y=y[:300], X_test=X[300:], y_test=y[300:])
    checkpoints.save(
        DBNClassifier((13,), max_iter=2, pretrain_epochs=1, random_state=0).fit(X[:300], y[:300]), "e.h5"
    )
    result = one_json(cli("evaluate", "e.h5", "data.npz", "--json"))
    assert result["n_test"] == len(X) - 300


def test_regression(cli):
    rng = np.random.default_rng(0)
    X = rng.random((120, 3))
    rows = np.column_stack([X, X @ [1.0, 2.0, 3.0] + 0.5])
    np.savetxt("table.csv", rows, delimiter=",", header="a,b,c,price", comments="")
    assert cli("stack", "table.csv", "--target", "price", "--layers", "7", "-o", "s.h5").exit_code == 0
    assert cli("finetune", "s.h5", "table.csv", "--target", "price", "-o", "n.h5").exit_code == 0
    result = one_json(cli("evaluate", "n.h5", "table.csv", "--target", "price", "--json"))
    assert result["task"] == "regression"
    assert result["test_error"] < rows[:, 3].std()


def test_other_features_than_the_model(cli, network_file):
    np.savez("other.npz", X=np.zeros((50, 3)), y=np.arange(50) % 2)
    refused(cli("finetune", "stack.h5", "other.npz", "-o", "n.h5"), "3 features", "64")
    refused(cli("evaluate", "net.h5", "other.npz", "--rows", "all"), "3 features", "64")


def test_other_labels_than_the_model(cli, network_file):
    X, _ = load_digits(return_X_y=True)
    np.savez("other.npz", X=X, y=np.array(["cat", "dog"])[np.arange(len(X)) % 2])
    refused(cli("evaluate", "net.h5", "other.npz", "--rows", "all"), "'cat'")
    refused(cli("evaluate", "net.h5", "other.npz"), "--rows all")


def test_a_network_is_not_a_stack(cli, network_file):
    refused(cli("finetune", "net.h5", "digits", "-o", "again.h5"), "Network", "stack")


def test_missing_labels(cli, stack_file):
    X, _ = load_digits(return_X_y=True)
    np.savez("unlabelled.npz", X=X / 16)
    refused(cli("finetune", "stack.h5", "unlabelled.npz", "-o", "n.h5"), "labels")
    refused(cli("compare", "unlabelled.npz", "-o", "run"), "labels")


def test_one_class_cannot_be_learned(cli, stack_file):
    X, _ = load_digits(return_X_y=True)
    np.savez("one.npz", X=X[:50] / 16, y=np.full(50, "owl"))
    for command in (("finetune", "stack.h5", "one.npz", "-o", "n.h5"), ("compare", "one.npz", "-o", "run")):
        refused(cli(*command), "two classes or more", "all 40 have the label owl")


def test_every_row_only_of_data_that_the_model_has_not_seen(cli, network_file):
    refused(cli("evaluate", "net.h5", "digits", "--rows", "all"), "--rows test")
    X, y = load_digits(return_X_y=True)
    np.savez("new.npz", X=X[:90], y=y[:90], X_test=X[90:100], y_test=y[90:100])
    assert one_json(cli("evaluate", "net.h5", "new.npz", "--rows", "all", "--json"))["n_test"] == 100
    assert one_json(cli("evaluate", "net.h5", "new.npz", "--json"))["n_test"] == 10
    np.savez("few.npz", X=X[:3], y=y[:3])
    assert one_json(cli("evaluate", "net.h5", "few.npz", "--rows", "all", "--json"))["n_test"] == 3


def test_some_unknown_labels_are_refused(cli, network_file):
    X, y = load_digits(return_X_y=True)
    np.savez("other.npz", X=X, y=np.where(y < 5, y, y + 100))
    refused(cli("evaluate", "net.h5", "other.npz", "--rows", "all"), "not those that the model was trained on")


def test_other_data_is_said_to_be_split_anew(cli, stack_file):
    X, y = load_digits(return_X_y=True)
    np.savez("same_rows.npz", X=X[::-1], y=y[::-1])
    result = cli("finetune", "stack.h5", "same_rows.npz", "--epochs", "1", "-o", "n.h5")
    assert "split anew" in result.stderr
    assert "split anew" not in cli("finetune", "stack.h5", "digits", "--epochs", "1", "-o", "m.h5").stderr


def test_no_test_rows(cli):
    assert cli(*STACK, "--test-fraction", "0", "-o", "s.h5").exit_code == 0
    assert cli("finetune", "s.h5", "digits", "--early-stopping", "true", "--epochs", "1", "-o", "n.h5").exit_code == 0
    refused(cli("evaluate", "n.h5", "digits"), "no test rows")


def test_text_is_no_regression_target(cli, stack_file):
    X, y = load_digits(return_X_y=True)
    np.savez("text.npz", X=X, y=np.array(["a", "b"])[y % 2])
    refused(cli("finetune", "stack.h5", "text.npz", "--into", "regressor", "-o", "n.h5"), "text")


def test_finetune_from_random_weights_is_the_control_of_the_same_sizes(cli, stack_file):
    """The network is what `scratch_network` draws: the stack gives its sizes, split and scaling."""
    options = ("--start", "relu-dropout", "--epochs", "0", "--seed", "3")
    assert cli("finetune", "stack.h5", "digits", *options, "-o", "net.h5").exit_code == 0
    network = checkpoints.load("net.h5")
    generator = RandomStreams(3).generator("init")
    expected = scratch_network("relu-dropout", 64, (61, 31), 10, generator=generator)
    assert network.architecture == expected.architecture
    weights = zip(network.parameters(), expected.parameters(), strict=True)
    assert all(torch.equal(found, drawn) for found, drawn in weights)
    stack = checkpoints.load(stack_file)
    assert np.array_equal(network.scaling.apply(np.ones((1, 64))), stack.scaling.apply(np.ones((1, 64))))
    assert checkpoints.describe("net.h5")["provenance"]["settings"]["dropout"] == 0.5
    refused(
        cli("finetune", "stack.h5", "digits", "--start", "relu", "--into", "autoencoder", "-o", "x.h5"), "--start"
    )
