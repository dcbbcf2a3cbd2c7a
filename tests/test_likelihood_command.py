"""`evaluate --likelihood`: what it says of rows that are no states of the model."""

import json

import pytest
from click.testing import CliRunner

from pipelines.cli import main

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
