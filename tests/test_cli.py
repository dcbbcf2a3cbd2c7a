"""The command line on small data: what it prints, what it writes, and how it refuses."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.datasets import load_digits

import checkpoints
from pipelines.cli import main
from pipelines.commands.options import LAYER_OPTIONS, TRAINING_OPTIONS
from pipelines.recipe import Recipe
from pretrain import Stack
from pretrain.baselines import scratch_network
from pretrain.random_streams import RandomStreams
from pretrain.settings import LAYER_SETTINGS, AutoencoderSettings, RBMSettings, TrainingSettings

STACK = ("stack", "digits", "--layers", "61,31", "--epochs", "3")


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run `pretrain ...` in an empty folder; returns click's result."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def stack_file(cli, tmp_path):
    result = cli(*STACK, "-o", "stack.h5")
    assert result.exit_code == 0, result.output
    return tmp_path / "stack.h5"


@pytest.fixture
def network_file(cli, stack_file):
    result = cli("finetune", "stack.h5", "digits", "--epochs", "8", "-o", "net.h5")
    assert result.exit_code == 0, result.output
    return stack_file.parent / "net.h5"


def one_json(result):
    """The one JSON object that standard output must be."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result, *words):
    """Exit status 2, one or two lines that hold the words, and no traceback."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr
    message = result.stderr[result.stderr.index("Error: ") :]
    assert len(message.strip().splitlines()) <= 2


def test_stack_finetune_evaluate(cli, network_file):
    result = one_json(cli("evaluate", "net.h5", "digits", "--json"))
    assert set(result) >= {"test_error", "n_test", "seconds"}
    assert result["n_test"] == 359
    assert 0 < result["test_error"] < 60


def test_evaluate_agrees_with_the_network_on_the_recorded_test_rows(cli, network_file):
    record = checkpoints.describe(network_file)["provenance"]
    network = checkpoints.load(network_file)
    from pipelines.preparation import prepare_as_before

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


def test_same_seed_same_weights(cli, stack_file):
    assert cli(*STACK, "-o", "again.h5").exit_code == 0
    assert cli(*STACK, "--seed", "1", "-o", "other.h5").exit_code == 0
    first, again, other = (checkpoints.load(name).layers[1].weight for name in ("stack.h5", "again.h5", "other.h5"))
    assert (first == again).all()
    assert not (first == other).all()


@pytest.mark.parametrize("kind", LAYER_SETTINGS)
def test_json_is_one_object(cli, kind):
    result = one_json(cli(*STACK, "--kind", kind, "-o", "stack.h5", "--json"))
    assert result["layers"] == [64, 61, 31]
    assert result["kind"] == kind
    assert len(result["losses"]) == 2


def test_one_value_a_layer(cli):
    options = ("--hidden-units", "bernoulli,gaussian", "--learning-rate", "0.1,0.001", "--epochs", "1,2")
    assert cli("stack", "digits", "--layers", "13,5", *options, "-o", "s.h5").exit_code == 0
    stack = checkpoints.load("s.h5")
    assert stack.layers[1].hidden_units.name == "gaussian"
    layers = checkpoints.describe("s.h5")["provenance"]["settings"]["layers"]
    assert [layer["training"]["learning_rate"] for layer in layers] == [0.1, 0.001]
    assert len(checkpoints.read_history("s.h5")) == 3


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
    from pretrain import DBNClassifier

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


@pytest.mark.parametrize("what", ["filters", "curves"])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot(cli, stack_file, what, suffix):
    result = cli("plot", what, "stack.h5", "-o", f"x.{suffix}")
    assert result.exit_code == 0, result.output
    assert (stack_file.parent / f"x.{suffix}").stat().st_size > 1000
    refused(cli("plot", what, "stack.h5", "-o", f"x.{suffix}"), "exists", "--overwrite")


def test_inspect(cli, network_file):
    description = one_json(cli("inspect", "net.h5", "--json"))
    assert description["kind"] == "network"
    text = cli("inspect", "net.h5")
    assert text.exit_code == 0
    assert "network" in text.output


@pytest.mark.parametrize("command", ["datasets", "recipes"])
def test_lists(cli, command):
    assert len(one_json(cli(command, "--json"))[command]) >= 2
    assert "digits" in cli(command).output


def test_an_existing_output_is_refused_before_any_work(cli, stack_file):
    before = stack_file.read_bytes()
    refused(cli(*STACK, "-o", "stack.h5"), "exists", "--overwrite")
    assert stack_file.read_bytes() == before
    assert cli(*STACK, "--seed", "1", "-o", "stack.h5", "--overwrite").exit_code == 0
    assert stack_file.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("stack", "digit", "--layers", "5", "-o", "s.h5"), ["digit", "digits"]),
        (("stack", "nowhere.npz", "--layers", "5", "-o", "s.h5"), ["nowhere.npz"]),
        (("stack", "digits", "--layers", "5,zwölf", "-o", "s.h5"), ["zwölf"]),
        (("stack", "digits", "--layers", "0", "-o", "s.h5"), ["--layers", "0 is not in the range"]),
        (("stack", "digits", "--layers", "5", "--scaling", "none", "-o", "s.h5"), ["[0, 1]", "--scaling minmax"]),
        (
            (
                "stack",
                "digits",
                "--layers",
                "5",
                "--scaling",
                "none",
                "-o",
                "s.h5",
                "--kind",
                "autoencoder",
                "--reconstruction-loss",
                "cross_entropy",
            ),
            ["[0, 1]", "--scaling minmax"],
        ),
        (("stack", "digits", "--layers", "5,4", "--epochs", "1,2,3", "-o", "s.h5"), ["--epochs", "2"]),
        (("stack", "digits", "--layers", "5", "--corruption", "masking", "-o", "s.h5"), ["--corruption", "rbm"]),
        (("stack", "digits", "--layers", "5", "--learning-rate", "-1", "-o", "s.h5"), ["learning_rate", "-1"]),
        (("stack", "digits", "--layers", "5", "-o", "missing/s.h5"), ["missing", "does not exist"]),
        (
            ("stack", "digits", "--layers", "5", "--learning-rate", "1e30", "-o", "s.h5"),
            ["layer 1", "epoch", "lower the learning_rate"],
        ),
        (("finetune", "missing.h5", "digits", "-o", "n.h5"), ["missing.h5"]),
        (("evaluate", "missing.h5", "digits"), ["missing.h5"]),
        (("inspect", "missing.h5"), ["missing.h5"]),
        (("run", "hinton"), ["hinton", "demo"]),
        (("compare", "digits", "--arms", "dbm", "-o", "run"), ["dbm", "dbn"]),
        (("compare", "digits", "--labels", "5", "-o", "run"), ["5", "10"]),
    ],
)
def test_mistakes_are_one_message_and_nothing_is_written(cli, tmp_path, arguments, words):
    refused(cli(*arguments), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line_without_the_place_in_the_code(cli, tmp_path):
    np.savez(tmp_path / "far.npz", X=1000 * np.random.default_rng(0).normal(size=(30, 3)))
    result = cli("stack", "far.npz", "--kind", "autoencoder", "--layers", "2", "--epochs", "1", "-o", "s.h5")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(
        r"Warning: The inputs of this autoencoder go up to .* \(standard or minmax\)\.\n", result.stderr
    )


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


def test_a_file_that_is_no_checkpoint(cli, tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"] = np.zeros((3, 2))
    refused(cli("inspect", "text.h5"), "text.h5")
    refused(cli("evaluate", "data.h5", "digits"), "data.h5")


def test_missing_labels(cli, stack_file):
    X, _ = load_digits(return_X_y=True)
    np.savez("unlabelled.npz", X=X / 16)
    refused(cli("finetune", "stack.h5", "unlabelled.npz", "-o", "n.h5"), "labels")
    refused(cli("compare", "unlabelled.npz", "-o", "run"), "labels")


def test_every_setting_is_an_option_of_the_same_name():
    fields = {*TrainingSettings.__dataclass_fields__}
    assert set(TRAINING_OPTIONS) == fields
    layers = {*RBMSettings.__dataclass_fields__, *AutoencoderSettings.__dataclass_fields__} - {"training", "kind"}
    assert set(LAYER_OPTIONS) == layers - {"missing"}  # data files hold no missing values


@pytest.mark.parametrize("command", sorted(main.commands))
def test_help_has_an_example(cli, command):
    result = cli(command, "--help")
    assert result.exit_code == 0
    assert f"Example: pretrain {command}" in " ".join(result.output.split())


def test_own_test_rows_are_never_trained_on(cli):
    rng = np.random.default_rng(0)
    X = rng.random((80, 6))
    np.savez("d.npz", X=X, y=np.arange(80) % 2, X_test=rng.random((10, 6)), y_test=np.arange(10) % 2)
    assert cli("stack", "d.npz", "--layers", "5", "-o", "s.h5").exit_code == 0
    split = checkpoints.describe("s.h5")["provenance"]["split"]
    assert (split["test_source"], split["n_train"], split["n_test"]) == ("own", 80, 10)
    assert isinstance(checkpoints.load("s.h5"), Stack)


def test_a_recipe_file_runs_its_steps_and_prints_the_published_number(cli, tmp_path):
    (tmp_path / "tiny.toml").write_text(
        """
title = "tiny"
description = "for a test"
data = "digits"
[paper]
test_error = 1.0
source = "nobody"
[[steps]]
command = "stack"
layers = [7]
epochs = 1
[[steps]]
command = "finetune"
epochs = 1
[[steps]]
command = "evaluate"
"""
    )
    result = cli("run", "tiny.toml", "-o", "out", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "published 1.0 (nobody)" in result.stdout
    assert checkpoints.describe("out/stack.h5")["provenance"]["seed"] == 3
    refused(cli("run", "tiny.toml", "-o", "out"), "exists", "--overwrite")
    result = one_json(cli("run", "tiny.toml", "-o", "out", "--overwrite", "--json"))
    assert result["paper"]["test_error"] == 1.0
    assert "test_error" in result


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 3 = 4", ["TOML"]),
        ('title = "t"\ndescription = "d"\ndata = "digits"\n', ["'steps'"]),
        ('title = "t"\ndescription = "d"\ndata = "digits"\nwhat = 1\nsteps = []', ["'what'"]),
        ('title = "t"\ndescription = "d"\ndata = "digits"\n[[steps]]\ncommand = "rm"\n', ["'rm'"]),
    ],
)
def test_recipes_that_cannot_be_read(cli, tmp_path, text, words):
    (tmp_path / "bad.toml").write_text(text)
    refused(cli("run", "bad.toml"), "bad.toml", *words)


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


def test_the_published_number_belongs_to_the_recipe_s_data(cli, tmp_path):
    text = 'title = "t"\ndescription = "d"\ndata = "mnist"\n[paper]\ntest_error = 1.0\nsource = "x"\n'
    (tmp_path / "r.toml").write_text(text + '[[steps]]\ncommand = "stack"\nlayers = [5]\nepochs = 1\nseed = 7\n')
    result = one_json(cli("run", "r.toml", "--data", "digits", "-o", "out", "--json"))
    assert result["paper"] is None
    assert checkpoints.describe("out/stack.h5")["provenance"]["seed"] == 7
    assert cli("run", "r.toml", "--data", "digits", "-o", "out", "--overwrite", "--seed", "3").exit_code == 0
    assert checkpoints.describe("out/stack.h5")["provenance"]["seed"] == 3


def test_a_wrong_option_in_a_recipe_is_found_before_the_folder_is_made(cli, tmp_path):
    text = 'title = "t"\ndescription = "d"\ndata = "digits"\n[[steps]]\ncommand = "stack"\nlayers = [5]\n'
    (tmp_path / "r.toml").write_text(text + 'epochs = "ten"\n')
    assert cli("run", "r.toml", "-o", "out").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_an_interrupt_says_so(cli, monkeypatch, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.commands.stack.run_stack", interrupt)
    result = cli(*STACK, "-o", "s.h5")
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert list(tmp_path.iterdir()) == []


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


def test_steps_of_a_recipe_fine_tune_the_last_stack_and_evaluate_the_last_file():
    steps = [
        {"command": "stack"},
        {"command": "finetune"},
        {"command": "evaluate"},
        {"command": "finetune", "control": "from scratch"},
        {"command": "evaluate", "control": "from scratch"},
        {"command": "stack", "control": "another"},
        {"command": "finetune", "control": "another"},
    ]
    recipe = Recipe("name", "title", "description", "digits", tuple(steps))
    read = [Path(arguments[1]).name for arguments in recipe.commands("digits", Path("run"), {})]
    assert read == [
        "digits", "stack.h5", "net.h5", "stack.h5", "from-scratch-net.h5", "digits", "another-stack.h5",
    ]  # fmt: skip
