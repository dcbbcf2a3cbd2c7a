"""`pretrain autoencoder`: what it writes, what it prints, and how it refuses."""

import json

import numpy as np
import pytest
from command_results import refused
from sklearn.datasets import load_digits

import checkpoints
from pipelines.autoencoding import STARTS
from pipelines.preparation import prepare_as_before
from pretrain import Finetuning
from pretrain.baselines import BASELINES, scratch_autoencoder
from pretrain.random_streams import RandomStreams
from pretrain.settings import FinetuneSettings, TrainingSettings

RANDOM = ("--layers", "13,5", "--epochs", "2")
SHORT = (*RANDOM, "--pretrain-epochs", "1")


@pytest.fixture
def autoencoder(cli):
    """Run `pretrain autoencoder digits ... -o ae.h5 --json`; the object that it prints and the network."""

    def run(*options, data="digits"):
        random = "--start" in options and "pretrained" not in options
        result = cli(
            "autoencoder", data, *(RANDOM if random else SHORT), *options, "-o", "ae.h5", "--json", "--overwrite"
        )
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout), checkpoints.load("ae.h5")

    return run


def settings():
    return checkpoints.describe("ae.h5")["provenance"]["settings"]


def weights(network):
    return [parameter.numpy(force=True) for parameter in network.parameters()]


def same(one, two):
    return all(map(np.array_equal, weights(one), weights(two)))


def test_pretrained(cli):
    epochs = ("--pretrain-epochs", "2", "--epochs", "3")
    result = cli("autoencoder", "digits", "--layers", "32,8", *epochs, "-o", "ae.h5")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert line.startswith("ae.h5: 64-32-8 autoencoder, pretrained, training loss ")
    network = checkpoints.load("ae.h5")
    assert network.architecture.hidden_layer_sizes == (32, 8, 32)
    assert network.architecture.activations == ("sigmoid", "identity", "sigmoid")
    history = checkpoints.read_history("ae.h5")
    stages = [("pretrain", 0)] * 2 + [("pretrain", 1)] * 2 + [("finetune", None)] * 3
    assert [(record["stage"], record["layer"]) for record in history] == stages
    assert line.split("training loss ")[1].startswith(f"{history[-1]['loss']:.4g}, ")
    record = settings()
    assert (record["start"], record["hidden_layer_sizes"], len(record["layers"])) == ("pretrained", [32, 8], 2)
    assert [layer["hidden_units"] for layer in record["layers"]] == ["bernoulli", "gaussian"]


def test_json_is_one_object(autoencoder):
    told, network = autoencoder()
    assert set(told) == {
        *("output", "start", "layers", "n_train", "n_parameters", "loss", "pretrain_seconds", "seconds")
    }
    assert (told["output"], told["start"], told["layers"]) == ("ae.h5", "pretrained", [64, 13, 5])
    assert (told["n_train"], told["n_parameters"]) == (1438, network.n_parameters)
    assert 0 < told["pretrain_seconds"] < told["seconds"]


@pytest.mark.parametrize("start", STARTS)
def test_each_start(autoencoder, start):
    told, network = autoencoder("--start", start)
    activation = "sigmoid" if start == "pretrained" else BASELINES[start].activation
    assert told["start"] == start
    assert network.architecture.activations == (activation, "identity", activation)
    assert network.architecture.output_activation == "sigmoid"
    assert network.architecture.batch_norm == (start == "relu-bn")
    stages = {record["stage"] for record in checkpoints.read_history("ae.h5")}
    assert stages == ({"pretrain", "finetune"} if start == "pretrained" else {"finetune"})
    assert len(settings()["layers"]) == (2 if start == "pretrained" else 0)


@pytest.mark.parametrize("start", ["pretrained", "relu"])
def test_the_seed_decides_the_weights(autoencoder, start):
    first, again = (autoencoder("--start", start, "--seed", "3")[1] for _ in range(2))
    assert same(first, again)
    assert not same(first, autoencoder("--start", start, "--seed", "4")[1])


@pytest.mark.parametrize("start", ["pretrained", "tanh"])
def test_no_fine_tuning(cli, start):
    epochs = ("--epochs", "0", *(("--pretrain-epochs", "1") if start == "pretrained" else ()))
    result = cli("autoencoder", "digits", "--layers", "7,3", *epochs, "--start", start, "-o", "ae.h5")
    assert result.exit_code == 0, result.output
    network = checkpoints.load("ae.h5")
    mirrored = np.array_equal(weights(network)[0], network.head.weight.numpy(force=True).T)
    assert mirrored == (start == "pretrained")
    assert ("not trained" in result.stdout) == (start != "pretrained")


@pytest.mark.parametrize(
    "options",
    [
        ("--kind", "autoencoder"),
        ("--reconstruction-loss", "squared_error"),
        ("--pretrain-epochs", "2"),
        ("--epochs", "3"),
        ("--optimizer", "cg"),
        ("--schedule", "linear"),
        ("--learning-rate", "0.01"),
        ("--visible-units", "gaussian", "--scaling", "standard"),
        ("--scaling", "minmax"),
        ("--split-seed", "1"),
    ],
    ids=" ".join,
)
def test_options_change_the_network(autoencoder, options):
    assert not same(autoencoder()[1], autoencoder(*options)[1])


def test_gaussian_data(autoencoder):
    _, network = autoencoder("--visible-units", "gaussian", "--scaling", "standard")
    assert network.architecture.output_activation == "identity"
    assert network.scaling.kind == "standard"
    assert settings()["layers"][0]["visible_units"] == "gaussian"
    assert settings()["layers"][1]["visible_units"] == "bernoulli"


def test_random_weights_take_any_data(autoencoder):
    rng = np.random.default_rng(0)
    np.savez("normal.npz", X=rng.normal(size=(90, 7)), y=np.arange(90) % 2)
    _, network = autoencoder("--start", "tanh", "--scaling", "standard", data="normal.npz")
    assert (network.architecture.output_activation, network.scaling.kind) == ("identity", "standard")


def test_random_weights_are_the_library_s_and_fine_tuned_by_it(autoencoder):
    _, found = autoencoder("--start", "relu", "--seed", "3", "--batch-size", "50", "--learning-rate", "0.01")
    record = checkpoints.describe("ae.h5")["provenance"]
    prepared = prepare_as_before("digits", record, found.scaling)
    network = scratch_autoencoder("relu", 64, (13, 5), generator=RandomStreams(3).generator("init"))
    training = TrainingSettings(2, 50, "adam", 0.01, schedule="cosine")
    list(Finetuning(network, prepared.train_rows(), None, FinetuneSettings(training=training), seed=3, device="cpu"))
    assert same(found, network)


@pytest.mark.parametrize("loss", ["auto", "squared_error"])
def test_early_stopping_by_the_loss_of_validation_rows(autoencoder, loss):
    options = ("--early-stopping", "true", "--n-iter-no-change", "1", "--tol", "1000", "--epochs", "9")
    _, network = autoencoder(*options, "--validation-fraction", "0.2", "--reconstruction-loss", loss)
    record = checkpoints.describe("ae.h5")["provenance"]
    assert (record["split"]["n_validation"], record["split"]["n_train"]) == (359, 1079)
    finetuning = [r for r in checkpoints.read_history("ae.h5") if r["stage"] == "finetune"]
    assert len(finetuning) == 2  # the second is no better by 1,000: the weights of the first stay
    prepared = prepare_as_before("digits", record, network.scaling)
    held_out = prepared.validation_rows()
    rebuilt = network.predict(held_out * network.scaling.scale) / network.scaling.scale
    if loss == "squared_error":
        expected = ((rebuilt - held_out) ** 2).sum(axis=1).mean()
    else:
        expected = -(held_out * np.log(rebuilt) + (1 - held_out) * np.log(1 - rebuilt)).sum(axis=1).mean()
    assert finetuning[0]["validation_loss"] == pytest.approx(expected, rel=1e-4)


def test_early_stopping_alone_takes_a_tenth_of_the_rows(autoencoder):
    autoencoder("--early-stopping", "true")
    assert checkpoints.describe("ae.h5")["provenance"]["split"]["n_validation"] == 180


def test_evaluate_prints_the_squared_error_of_the_test_rows(cli, autoencoder):
    X, y = load_digits(return_X_y=True)
    np.savez("d.npz", X=X[:400], y=y[:400], X_test=X[400:500], y_test=y[400:500])
    _, network = autoencoder("--scaling", "minmax", data="d.npz")
    result = cli("evaluate", "ae.h5", "d.npz", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    scale, test = network.scaling.scale, X[400:500]
    error = np.square((network.predict(test) - test) / scale).sum(axis=1).mean()
    assert told["test_error"] == pytest.approx(error, rel=1e-4)
    assert (told["task"], told["n_test"]) == ("reconstruction", 100)
    line = cli("evaluate", "ae.h5", "d.npz").stdout
    assert f"test error {told['test_error']:.4g} (" in line
    assert "squared error" in line


def test_an_existing_output_is_refused_before_any_work(cli, tmp_path):
    (tmp_path / "ae.h5").write_text("mine")
    refused(cli("autoencoder", "digits", *SHORT, "-o", "ae.h5"), "ae.h5", "exists", "--overwrite")
    refused(cli("autoencoder", "nowhere.npz", *SHORT, "-o", "ae.h5"), "exists", "--overwrite")  # before data is read
    assert (tmp_path / "ae.h5").read_text() == "mine"
    assert cli("autoencoder", "digits", *SHORT, "-o", "ae.h5", "--overwrite").exit_code == 0
    assert checkpoints.load("ae.h5").n_visible == 64


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--layers", "5", "--start", "elu"), ["--start", "elu", "relu-bn"]),
        (("--layers", "5", "--start", "residual"), ["--start", "residual"]),
        (("--layers", "5", "--kind", "dbm"), ["--kind", "dbm"]),
        (("--layers", "5,0"), ["--layers", "0 is not in the range"]),
        (("--layers", "5,0", "--start", "relu"), ["--layers", "0 is not in the range"]),
        (("--layers", ""), ["--layers"]),
        ((), ["--layers"]),
        (("--layers", "5", "--reconstruction-loss", "absolute"), ["--reconstruction-loss", "absolute"]),
        (("--layers", "5", "--pretrain-epochs", "-1"), ["epochs", "-1"]),
        (("--layers", "5", "--scaling", "none"), ["[0, 1]", "--scaling minmax"]),
        (("--layers", "5", "--scaling", "standard"), ["[0, 1]", "for layers of RBMs, --visible-units"]),
        (("--layers", "5", "--kind", "autoencoder", "--visible-units", "gaussian"), ["--visible-units", "rbm"]),
        (("--layers", "5", "--start", "relu", "--visible-units", "gaussian"), ["--visible-units", "rbm"]),
        (("--layers", "5", "--visible-units", "relu"), ["visible_units", "relu"]),
        (("--layers", "5", "--early-stopping", "true", "--validation-fraction", "0"), ["validation"]),
        (
            ("--layers", "5", "--start", "relu", "--scaling", "standard", "--reconstruction-loss", "cross_entropy"),
            ["cross_entropy", "sigmoid outputs"],
        ),
        (("--layers", "5", "--optimizer", "rprop", "--weight-decay", "0.1", "--start", "relu"), ["rprop"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_mistakes_are_one_message_and_nothing_is_written(cli, tmp_path, arguments, words):
    refused(cli("autoencoder", "digits", *arguments, "-o", "ae.h5"), *words)
    assert list(tmp_path.iterdir()) == []


def test_divergence_in_pretraining_leads_to_options_that_there_are(cli, tmp_path):
    np.savez("far.npz", X=np.random.default_rng(0).normal(size=(50, 7)) * 1e4)
    options = ("--visible-units", "gaussian", "--scaling", "none", "--layers", "5,3", "-o", "ae.h5")
    words = ("stage 'pretrain', layer 1", "`pretrain stack`", "`pretrain finetune --into autoencoder`")
    refused(cli("autoencoder", "far.npz", *options), *words)
    assert not (tmp_path / "ae.h5").exists()


def test_no_output(cli):
    refused(cli("autoencoder", "digits", "--layers", "5"), "-o")
