"""`pretrain evaluate`: what stands beside the error, of which rows, and what is refused."""

import importlib
import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import checkpoints
from pipelines import preparation
from pipelines.likelihood import measure_likelihood
from pipelines.preparation import prepare_as_before

evaluate_module = importlib.import_module("pipelines.commands.evaluate")  # the package's attribute is the command
ANNEALING = ("--ais-runs", "3", "--ais-temperatures", "5")


@pytest.fixture
def stack_file(cli):
    result = cli("stack", "digits", "--layers", "5", "--epochs", "1", "--split-seed", "3", "-o", "stack.h5")
    assert result.exit_code == 0, result.output
    return "stack.h5"


def before(stack_file):
    """The stack, the provenance of its file, and the data with its split and its scaling."""
    stack, record = checkpoints.load(stack_file), checkpoints.describe(stack_file)["provenance"]
    return stack, record, prepare_as_before("digits", record, stack.scaling)


def test_baselines_are_of_the_model_s_training_rows_and_scaling(cli, stack_file):
    _, _, prepared = before(stack_file)
    X, split = load_digits().data / 16, prepared.split
    pca = PCA(5).fit(X[split.train])
    error = np.square(X[split.test] - pca.inverse_transform(pca.transform(X[split.test]))).sum(axis=1).mean()
    told = json.loads(cli("evaluate", stack_file, "digits", "--baselines", "--json").stdout)
    assert told["pca_5_test_error"] == pytest.approx(error, rel=1e-4)
    assert told["logistic_pca_5_test_error"] < error
    assert f"pca of 5 units {error:.4g}" in cli("evaluate", stack_file, "digits", "--baselines").stdout
    asked = cli("evaluate", stack_file, "digits", "--baselines", "--baseline-units", "3,5", "--json").stdout
    refused = cli("evaluate", stack_file, "digits", "--baselines", "--baseline-units", "3,65")
    assert refused.exit_code == 2
    assert "--baseline-units must be at most 64" in refused.stderr
    assert json.loads(asked)["pca_5_test_error"] == told["pca_5_test_error"] < json.loads(asked)["pca_3_test_error"]


def test_the_likelihood_is_of_the_model_s_test_rows_and_scaling(cli, stack_file):
    stack, record, prepared = before(stack_file)
    expected = measure_likelihood(stack, prepared, record, seed=7, device="cpu", n_runs=3, n_temperatures=5)
    options = ("--likelihood", *ANNEALING, "--seed", "7", "--device", "cpu", "--json")
    told = json.loads(cli("evaluate", stack_file, "digits", *options).stdout)
    assert {name: told[name] for name in expected} == {**expected, "likelihood_seconds": told["likelihood_seconds"]}


def test_the_data_are_read_once(cli, stack_file, monkeypatch):
    reads = []

    def load_dataset(source, *, target=None, read=preparation.load_dataset):
        reads.append(source)
        return read(source, target=target)

    for module in (preparation, evaluate_module):
        monkeypatch.setattr(module, "load_dataset", load_dataset)
    result = cli("evaluate", stack_file, "digits", "--baselines", "--likelihood", *ANNEALING)
    assert result.exit_code == 0, result.output
    assert reads == ["digits"]


@pytest.mark.parametrize("option", ["--baselines", "--likelihood"])
def test_what_is_learned_from_training_rows_is_not_tested_on_them(cli, stack_file, option):
    X, y = load_digits(return_X_y=True)
    np.savez("new.npz", X=X[:90], y=y[:90])
    result = cli("evaluate", stack_file, "new.npz", "--rows", "all", option)
    assert result.exit_code == 2
    assert f"{option} needs training rows besides those to test; --rows all leaves none" in result.stderr
    assert result.stdout == ""


def test_baselines_of_a_classifier_are_refused(cli, stack_file):
    assert cli("finetune", stack_file, "digits", "--epochs", "1", "-o", "net.h5").exit_code == 0
    result = cli("evaluate", "net.h5", "digits", "--baselines")
    assert result.exit_code == 2
    assert "--baselines is for models that reconstruct their input" in result.stderr
