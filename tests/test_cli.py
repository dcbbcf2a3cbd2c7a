"""The command line: help, lists, files, mistakes, interrupts; `stack`, `plot` and `inspect` at work."""

import re

import h5py
import numpy as np
import pytest
from command_results import STACK, one_json, refused

import checkpoints
from pipelines.cli import main
from pipelines.commands.options import LAYER_OPTIONS, TRAINING_OPTIONS
from pretrain import Stack
from pretrain.settings import LAYER_SETTINGS, AutoencoderSettings, RBMSettings, TrainingSettings


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


@pytest.mark.parametrize("output", [".", "..", "/", ""])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["new", "overwrite"])
def test_a_folder_is_no_output(cli, output, overwrite):
    refused(cli(*STACK, "-o", output, *overwrite), "-o", "is a folder", "name of a file")


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


def test_a_file_that_is_no_checkpoint(cli, tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["X"] = np.zeros((3, 2))
    refused(cli("inspect", "text.h5"), "text.h5")
    refused(cli("evaluate", "data.h5", "digits"), "data.h5")


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


def test_an_interrupt_says_so(cli, monkeypatch, tmp_path):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.commands.stack.run_stack", interrupt)
    result = cli(*STACK, "-o", "s.h5")
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert list(tmp_path.iterdir()) == []
