"""`evaluate --likelihood`: what it says of rows that are no states of the model."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.datasets import load_digits

import checkpoints
from pipelines.cli import main
from pretrain.estimators import RBMTransformer

SHORT = ["--likelihood", "--ais-runs", "2", "--ais-temperatures", "3"]


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipelines.likelihood.REVERSE_BURN_IN", 3)

    def run(*arguments):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        return done.output

    return run


@pytest.mark.parametrize(
    ("options", "scores"),
    [
        ([], True),
        (["--binarize", "true"], False),
        (["--visible-units", "gaussian", "--scaling", "standard"], False),
    ],
    ids=["grey", "binarized", "real"],
)
def test_rows_between_the_states_have_scores_and_no_likelihoods(cli, options, scores):
    cli("stack", "digits", "--layers", "5", "--epochs", "1", "--seed", "0", "-o", "rbm.h5", *options)
    assert ("scores, no likelihoods" in cli("evaluate", "rbm.h5", "digits", *SHORT)) == scores
    result = json.loads(cli("evaluate", "rbm.h5", "digits", *SHORT, "--json"))
    assert (result["between_states"] > 0) == scores


@pytest.mark.parametrize("binarize", [False, True])
def test_a_fitted_estimator_says_itself_whether_its_rows_are_probabilities(cli, binarize):
    X = load_digits().data / 16
    estimator = RBMTransformer(5, n_iter=1, binarize=binarize, scaling="none", random_state=0).fit(X[:100])
    checkpoints.save(estimator, "rbm.h5")
    np.savez("digits.npz", X=X[:100], X_test=X[100:150])
    result = json.loads(cli("evaluate", "rbm.h5", "digits.npz", *SHORT, "--json"))
    assert result["binarized"] is binarize
    assert (result["between_states"] > 0) is not binarize
