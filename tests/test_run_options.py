"""Every option of a run that should change its result does."""

import dataclasses
import json

import click
import numpy as np
import pytest
from click.testing import CliRunner

import checkpoints
from pipelines.cli import main
from pipelines.commands.options import LAYER_OPTIONS, TRAINING_OPTIONS
from pretrain.exceptions import SettingsError
from pretrain.rbm_settings import GRADIENT_ESTIMATORS
from pretrain.settings import LAYER_SETTINGS, TrainingSettings

STACK = ("stack", "d.npz", "--layers", "7,5", "--epochs", "2")
COMPARE = ("compare", "d.npz", "--layers", "7,5", "--epochs", "1", "--seeds", "1", "--arms", "dbn,dbn-dropout")


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run `pretrain ...` in a folder with the data d.npz; it must succeed."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    y = np.arange(60) % 3
    np.savez("d.npz", X=rng.random((60, 6)) * 0.6 + 0.1 * y[:, None], y=y)

    def run(*arguments):
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 0, result.output

    return run


def same_weights(one, other):
    a, b = (checkpoints.load(path).state_dict() for path in (one, other))
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def provenance(path):
    return checkpoints.describe(path)["provenance"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--head-epochs", "1"),
        ("--dropout", "0.5"),
        ("--input-dropout", "0.3"),
        ("--layer-learning-rates", "0.1,0.5,1"),
        ("--frozen-layers", "0"),
        ("--batch-size", "7"),
        ("--learning-rate", "0.02"),
        ("--optimizer", "sgd"),
        ("--weight-decay", "0.1"),
        ("--schedule", "constant"),
        ("--epochs", "3"),
    ],
)
def test_options_of_finetune_change_the_network(cli, option, value):
    cli(*STACK, "-o", "stack.h5")
    plain = ("finetune", "stack.h5", "d.npz", "--epochs", "2")
    cli(*plain, "-o", "plain.h5")
    cli(*plain, "-o", "again.h5")
    cli(*plain, option, value, "-o", "changed.h5")
    assert same_weights("plain.h5", "again.h5")
    assert not same_weights("plain.h5", "changed.h5")


def test_dropout_of_finetune_is_part_of_the_network(cli):
    cli(*STACK, "-o", "stack.h5")
    options = ("--dropout", "0.4", "--input-dropout", "0.3")
    cli("finetune", "stack.h5", "d.npz", "--epochs", "1", *options, "-o", "net.h5")
    architecture = checkpoints.load("net.h5").architecture
    assert (architecture.dropout, architecture.input_dropout) == (0.4, 0.3)


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [
        ("rbm", "--learning-rate", "0.01"),
        ("rbm", "--n-gibbs-steps", "3"),
        ("rbm", "--weight-decay", "0.1"),
        ("rbm", "--weight-scale", "0.01"),
        ("rbm", "--batch-size", "7"),
        ("rbm", "--initial-momentum-epochs", "1"),
        ("rbm", "--initial-momentum", "0.1"),
        ("rbm", "--scaling", "minmax"),
        ("rbm", "--split-seed", "1"),
        ("rbm", "--test-fraction", "0.4"),
        ("rbm", "--seed", "1"),
        ("autoencoder", "--learning-rate", "0.01"),
        ("autoencoder", "--weight-decay", "0.1"),
        ("autoencoder", "--corruption-level", "0.5"),
        ("autoencoder", "--corruption", "gaussian"),
        ("autoencoder", "--corruption", "salt_and_pepper"),
        ("autoencoder", "--corruption", "swap"),
        ("autoencoder", "--emphasis", "1"),
        ("autoencoder", "--sparsity-target", "0.1"),
        ("autoencoder --sparsity-target 0.1", "--sparsity-cost", "1"),
        ("autoencoder", "--contraction", "0.5"),
        ("autoencoder", "--contraction-higher-order", "1"),
        ("autoencoder --contraction-higher-order 1", "--contraction-noise", "1"),
        ("autoencoder", "--activation", "tanh"),
        ("autoencoder", "--tied", "false"),
        ("autoencoder", "--optimizer", "sgd"),
        ("rbm", "--visible-units", "gaussian"),
        ("rbm", "--hidden-units", "spin"),
        *(("rbm", "--gradient-estimator", value) for value in GRADIENT_ESTIMATORS[1:]),
        ("rbm --n-gibbs-steps 3", "--initial-gibbs-steps", "1"),
        ("rbm", "--sample-reconstruction", "true"),
        ("rbm --gradient-estimator pcd", "--n-chains", "5"),
        ("rbm --gradient-estimator tempering", "--n-temperatures", "3"),
        ("rbm --gradient-estimator fast_pcd", "--fast-learning-rate", "0.5"),
        ("rbm --gradient-estimator fast_pcd --fast-learning-rate 1", "--fast-decay", "0.1"),
        ("rbm", "--centered", "true"),
        ("rbm --visible-units gaussian", "--centered", "false"),
        ("rbm", "--binarize", "true"),
        ("rbm", "--sparsity-target", "0.1"),
        ("rbm --sparsity-target 0.1", "--sparsity-cost", "1"),
        ("rbm --sparsity-target 0.1 --sparsity-cost 1", "--sparsity-decay", "0.1"),
        ("rbm", "--hidden-dropout", "0.5"),
        ("rbm", "--initial-visible-bias", "data"),
    ],
)
def test_options_of_stack_change_the_stack(cli, kind, option, value):
    plain = (*STACK, "--kind", *kind.split())
    cli(*plain, "-o", "plain.h5")
    cli(*plain, "-o", "again.h5")
    cli(*plain, option, value, "-o", "changed.h5")
    assert same_weights("plain.h5", "again.h5")
    assert not same_weights("plain.h5", "changed.h5")


def test_every_setting_is_an_option_and_every_option_a_setting():
    own = {field.name for cls in LAYER_SETTINGS.values() for field in dataclasses.fields(cls)}
    assert set(LAYER_OPTIONS) == own - {"training", "missing"}  # data files hold no missing values
    assert set(TRAINING_OPTIONS) == {field.name for field in dataclasses.fields(TrainingSettings)}
    assert not set(LAYER_OPTIONS) & set(TRAINING_OPTIONS)  # one name is one setting


@pytest.mark.parametrize("cls", [*LAYER_SETTINGS.values(), TrainingSettings])
def test_options_take_what_settings_take(cls):
    """Defaults, choices and the word "auto" pass through the option's type unchanged."""
    table = {**LAYER_OPTIONS, **TRAINING_OPTIONS}
    for field in dataclasses.fields(cls):
        if field.name in ("training", "missing"):
            continue
        kind, text = table[field.name]
        assert text.endswith(".")
        if isinstance(kind, click.Choice):
            for choice in kind.choices:
                assert getattr(cls(**{field.name: choice}), field.name) == choice
            with pytest.raises(SettingsError):
                cls(**{field.name: "none of them"})
        elif field.default is not None:
            value = kind.convert(str(field.default).lower(), None, None)
            assert value == field.default
            assert type(value) is type(field.default)


def test_a_stack_on_columns_of_several_types(cli):
    cli(*STACK, "--visible-units", "bernoulli:4+gaussian:2", "--hidden-units", "spin,bernoulli", "-o", "mixed.h5")
    layers = checkpoints.load("mixed.h5").layers
    assert [layer.visible_units.name for layer in layers] == ["bernoulli:4+gaussian:2", "spin"]
    assert [layer.hidden_units.name for layer in layers] == ["spin", "bernoulli"]


def test_options_of_the_split_change_the_split(cli):
    cli(*STACK, "-o", "plain.h5")
    cli(*STACK, "--split-seed", "1", "-o", "seed.h5")
    cli(*STACK, "--seed", "1", "-o", "run_seed.h5")
    cli(*STACK, "--test-fraction", "0.4", "-o", "fraction.h5")
    plain, seed, run_seed, fraction = (
        provenance(f"{name}.h5")["split"] for name in ("plain", "seed", "run_seed", "fraction")
    )
    assert plain["test_sha256"] != seed["test_sha256"]
    assert plain == run_seed
    assert (plain["seed"], seed["seed"]) == (0, 1)
    assert [(s["n_train"], s["n_test"]) for s in (plain, seed, fraction)] == [(48, 12), (48, 12), (36, 24)]


def test_an_untied_autoencoder_has_decoder_weights_of_its_own(cli):
    sizes = []
    for tied in ("true", "false"):
        cli(*STACK, "--kind", "autoencoder", "--tied", tied, "-o", f"{tied}.h5")
        sizes.append(sum(value.numel() for value in checkpoints.load(f"{tied}.h5").state_dict().values()))
    assert sizes[1] == sizes[0] + 6 * 7 + 7 * 5


@pytest.mark.parametrize("epochs", [1, 3])
def test_pretrain_epochs_of_a_comparison(cli, tmp_path, epochs):
    cli(*COMPARE, "--pretrain-epochs", str(epochs), "-o", "run")
    for record in json.loads((tmp_path / "run/records.json").read_text())["records"]:
        stages = [epoch["stage"] for epoch in record["history"]]
        assert (stages.count("pretrain"), stages.count("finetune")) == (2 * epochs, 1)  # of two layers


@pytest.mark.parametrize(
    ("option", "value"), [("--split-seed", "1"), ("--test-fraction", "0.4"), ("--learning-rate", "0.02")]
)
def test_options_of_compare_change_its_networks(cli, tmp_path, option, value):
    for name, options in (("plain", ()), ("again", ()), ("changed", (option, value))):
        cli(*COMPARE, "--pretrain-epochs", "1", *options, "-o", name)
    networks = [f"networks/{arm}-all-seed0.h5" for arm in ("dbn", "dbn-dropout")]
    for network in networks:
        assert same_weights(tmp_path / "plain" / network, tmp_path / "again" / network)
        assert not same_weights(tmp_path / "plain" / network, tmp_path / "changed" / network)
    splits = [json.loads((tmp_path / name / "records.json").read_text())["split"] for name in ("plain", "changed")]
    assert (splits[0] == splits[1]) == (option == "--learning-rate")


def test_the_dropout_arm_drops_and_its_twin_does_not(cli, tmp_path):
    cli(*COMPARE, "--pretrain-epochs", "1", "-o", "run")
    found = {}
    for arm in ("dbn", "dbn-dropout"):
        architecture = checkpoints.load(tmp_path / f"run/networks/{arm}-all-seed0.h5").architecture
        found[arm] = (architecture.dropout, architecture.input_dropout)
    assert found == {"dbn": (0.0, 0.0), "dbn-dropout": (0.5, 0.2)}
    one, other = (tmp_path / f"run/networks/{arm}-all-seed0.h5" for arm in found)
    assert not same_weights(one, other)
