"""What decides the weights of a run: every training row and the seed, and nothing of the test rows."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

import checkpoints
import pipelines.bench
import pipelines.finetuning
import pipelines.preparation
import pipelines.split
from pipelines.cli import main
from pipelines.data import load_dataset
from pretrain.random_streams import RandomStreams

N_ROWS, N_FEATURES, N_TEST = 60, 6, 12
LAYERS = ("--layers", "7,5")
COMPARE = (*LAYERS, "--pretrain-epochs", "1", "--epochs", "2", "--seeds", "1")


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run `pretrain ...` in an empty folder; it must succeed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture
def rows(monkeypatch):
    """A split that is drawn without the labels, so that it stays the same when labels change."""
    real = pipelines.split.make_split

    def unstratified(dataset, **settings):
        split = real(dataclasses.replace(dataset, y=None, y_test=None), **settings)
        return dataclasses.replace(split, data_sha256=dataset.sha256)

    monkeypatch.setattr(pipelines.split, "make_split", unstratified)
    monkeypatch.setattr(pipelines.preparation, "make_split", unstratified)

    def rows_of(name, **settings):
        return unstratified(load_dataset(name), seed=0, **settings)

    return rows_of


@pytest.fixture
def same_start(monkeypatch):
    """The first weights of every network are those of seed 0."""
    for module in (pipelines.bench, pipelines.finetuning):
        monkeypatch.setattr(module, "RandomStreams", lambda seed: RandomStreams(0))


def write(name, task="classification"):
    """The arrays of a small data set, written to NAME.npz."""
    rng = np.random.default_rng(7)
    y = np.arange(N_ROWS) % 3
    X = np.clip(rng.random((N_ROWS, N_FEATURES)) * 0.6 + 0.15 * y[:, None], 0, 1)
    if task == "regression":
        y = X.sum(axis=1)
    np.savez(name, X=X, y=y)
    return X, y


def write_changed(name, X, y, changed, *, low=0.0, high=1.0):
    """The same data with other values and other labels in the rows `changed`."""
    rng = np.random.default_rng(8)
    X, y = X.copy(), y.copy()
    X[changed] = rng.uniform(low, high, size=(len(changed), N_FEATURES))
    before = y[changed]
    y[changed] = np.roll(before, 1) if y.dtype.kind == "i" else before + rng.uniform(5, 9, size=len(changed))
    assert (y[changed] != before).any()
    np.savez(name, X=X, y=y)


def weights(path):
    """All that the file's model was taught, by name: weights, scaling of the rows and of the targets."""
    model = checkpoints.load(path)
    found = {name: value.numpy() for name, value in model.state_dict().items()}
    for name in ("scaling", "target_scaling"):
        scaling = getattr(model, name, None)
        if scaling is not None:
            found |= {f"{name}.offset": scaling.offset, f"{name}.scale": scaling.scale}
    assert len(found) > 4
    return found


def differing(one, other):
    """Names of what is not bit-identical in two files."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return [name for name in a if not np.array_equal(a[name], b[name])]


def train(cli, name, *, stack=(), finetune=()):
    """Stack and network of NAME.npz."""
    cli("stack", f"{name}.npz", *LAYERS, "--epochs", "2", *stack, "-o", f"{name}-stack.h5")
    cli("finetune", f"{name}-stack.h5", f"{name}.npz", "--epochs", "2", *finetune, "-o", f"{name}-net.h5")


def cells(folder):
    return json.loads((folder / "records.json").read_text())["records"]


@pytest.mark.parametrize(
    ("scaling", "low", "high"), [("range", 0.0, 1.0), ("minmax", -3.0, 4.0), ("standard", -3.0, 4.0)]
)
@pytest.mark.parametrize("kind", ["rbm", "autoencoder"])
def test_test_rows_decide_nothing(cli, rows, kind, scaling, low, high):
    X, y = write("a.npz")
    test = rows("a.npz").test
    assert len(test) == N_TEST
    write_changed("b.npz", X, y, test, low=low, high=high)
    options = ["--kind", kind, "--scaling", scaling]
    if (kind, scaling) == ("rbm", "standard"):
        options += ["--visible-units", "gaussian", "--learning-rate", "0.01"]
    for name in ("a", "b"):
        train(cli, name, stack=options)
    assert checkpoints.load("b-stack.h5").scaling.kind == ("none" if scaling == "range" else scaling)
    assert differing("a-stack.h5", "b-stack.h5") == []
    assert differing("a-net.h5", "b-net.h5") == []


def test_test_targets_decide_nothing_in_a_regression(cli, rows):
    X, y = write("a.npz", "regression")
    write_changed("b.npz", X, y, rows("a.npz").test)
    for name in ("a", "b"):
        train(cli, name)
    assert differing("a-net.h5", "b-net.h5") == []


def test_the_data_s_own_test_rows_decide_nothing(cli):
    rng = np.random.default_rng(3)
    X, y = write("all.npz")
    other = {"X_test": rng.uniform(-3, 4, size=(N_TEST, N_FEATURES)), "y_test": np.roll(y[:N_TEST], 1)}
    np.savez("a.npz", X=X, y=y, X_test=X[:N_TEST], y_test=y[:N_TEST])
    np.savez("b.npz", X=X, y=y, **other)
    for name in ("a", "b"):
        train(cli, name, stack=("--scaling", "minmax"))
    assert differing("a-stack.h5", "b-stack.h5") == []
    assert differing("a-net.h5", "b-net.h5") == []


def test_validation_rows_do_not_train_the_network(cli, rows):
    X, y = write("a.npz")
    write_changed("b.npz", X, y, rows("a.npz", validation_fraction=0.2).validation)
    cli("stack", "a.npz", *LAYERS, "--epochs", "1", "-o", "stack.h5")
    pretrained = checkpoints.describe("stack.h5")["provenance"]
    for name in ("a", "b"):
        record = {"split": {**pretrained["split"], "data_sha256": load_dataset(f"{name}.npz").sha256}}
        checkpoints.save(checkpoints.load("stack.h5"), f"{name}-stack.h5", provenance=record)
        options = ("--validation-fraction", "0.2", "--epochs", "2")
        cli("finetune", f"{name}-stack.h5", f"{name}.npz", *options, "-o", f"{name}-net.h5")
    assert differing("a-net.h5", "b-net.h5") == []


def test_each_training_row_decides(cli, rows):
    X, y = write("a.npz")
    X = X.copy()
    X[rows("a.npz").train[-1]] = 0.5
    np.savez("b.npz", X=X, y=y)
    for name in ("a", "b"):
        train(cli, name, stack=("--scaling", "standard", "--kind", "autoencoder"))
    assert {"scaling.offset", "scaling.scale"} < set(differing("a-stack.h5", "b-stack.h5"))
    assert len(differing("a-stack.h5", "b-stack.h5")) > 4
    # The network alone, from one stack.
    record = {"split": {**checkpoints.describe("b-stack.h5")["provenance"]["split"]}}
    checkpoints.save(checkpoints.load("a-stack.h5"), "c-stack.h5", provenance=record)
    cli("finetune", "c-stack.h5", "b.npz", "--epochs", "2", "-o", "c-net.h5")
    assert differing("a-net.h5", "c-net.h5") != []


def test_training_labels_decide_the_network_alone(cli, rows):
    X, y = write("a.npz")
    y = y.copy()
    row = rows("a.npz").train[0]
    y[row] = (y[row] + 1) % 3
    np.savez("b.npz", X=X, y=y)
    for name in ("a", "b"):
        train(cli, name)
    assert differing("a-stack.h5", "b-stack.h5") == []
    assert differing("a-net.h5", "b-net.h5") != []


def test_a_comparison_learns_nothing_from_test_rows(cli, rows, tmp_path):
    X, y = write("a.npz")
    split = rows("a.npz")
    write_changed("b.npz", X, y, split.test, low=-3, high=4)
    for name in ("a", "b"):
        options = ("--arms", "dbn,sdae,relu", "--labels", "9,all", "--scaling", "minmax")
        cli("compare", f"{name}.npz", *COMPARE, *options, "-o", name)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.h5"))
    assert len(files) == 6 + 2
    for file in files:
        assert differing(tmp_path / "a" / file, tmp_path / "b" / file) == [], file
    for record in cells(tmp_path / "a"):
        assert record["n_labels"] == (len(split.train) if record["labels"] == "all" else 9)
        assert record["n_test"] == N_TEST


def test_a_regression_s_comparison_learns_nothing_from_test_targets(cli, rows, tmp_path):
    X, y = write("a.npz", "regression")
    write_changed("b.npz", X, y, rows("a.npz").test)
    for name in ("a", "b"):
        cli("compare", f"{name}.npz", *COMPARE, "--arms", "dbn,relu", "-o", name)
    for arm in ("dbn", "relu"):
        file = f"networks/{arm}-all-seed0.h5"
        assert differing(tmp_path / "a" / file, tmp_path / "b" / file) == []


def test_a_comparison_learns_from_every_training_row(cli, rows, tmp_path):
    X, y = write("a.npz")
    X = X.copy()
    X[rows("a.npz").train[-1]] = 0.5
    np.savez("b.npz", X=X, y=y)
    for name in ("a", "b"):
        cli("compare", f"{name}.npz", *COMPARE, "--arms", "dbn,relu", "-o", name)
    for file in ("stacks/dbn-seed0.h5", "networks/dbn-all-seed0.h5", "networks/relu-all-seed0.h5"):
        assert differing(tmp_path / "a" / file, tmp_path / "b" / file) != [], file


def test_budgeted_labels_are_the_only_labels_of_a_comparison(cli, rows, tmp_path):
    X, y = write("a.npz")
    split = rows("a.npz")
    labelled = pipelines.split.draw_labelled(y, split.train, 9, seed=0)
    # Other values in training rows without a label change the stack, and leave a network from scratch alone.
    X = X.copy()
    X[np.setdiff1d(split.train, labelled)] = 0.5
    np.savez("b.npz", X=X, y=y)
    for name in ("a", "b"):
        cli("compare", f"{name}.npz", *COMPARE, "--arms", "dbn,relu", "--labels", "9", "-o", name)
    assert differing(tmp_path / "a/networks/relu-9-seed0.h5", tmp_path / "b/networks/relu-9-seed0.h5") == []
    assert differing(tmp_path / "a/stacks/dbn-seed0.h5", tmp_path / "b/stacks/dbn-seed0.h5") != []


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_seed_of_fine_tuning_is_used(cli, epochs):
    write("a.npz")
    cli("stack", "a.npz", *LAYERS, "--epochs", "1", "-o", "stack.h5")
    for name, seed in (("zero", 0), ("again", 0), ("one", 1)):
        cli("finetune", "stack.h5", "a.npz", "--epochs", epochs, "--seed", seed, "-o", f"{name}.h5")
    assert differing("zero.h5", "again.h5") == []
    assert any("weight" in name for name in differing("zero.h5", "one.h5"))  # without epochs: the output layer


def test_the_order_of_rows_follows_the_seed(cli, same_start, tmp_path):
    write("a.npz")
    cli("stack", "a.npz", *LAYERS, "--epochs", "1", "-o", "stack.h5")
    for seed in (0, 1):
        cli("finetune", "stack.h5", "a.npz", "--epochs", "1", "--seed", seed, "-o", f"{seed}.h5")
        options = (*COMPARE, "--arms", "dbn,relu", "--seed", seed)
        cli("compare", "a.npz", *options, "-o", f"run{seed}")
    assert differing("0.h5", "1.h5") != []
    network = "networks/relu-all-seed{}.h5"
    assert differing(tmp_path / "run0" / network.format(0), tmp_path / "run1" / network.format(1)) != []


def test_the_start_of_a_comparison_s_networks_follows_the_seed(cli, tmp_path):
    write("a.npz")
    options = (*LAYERS, "--pretrain-epochs", "1", "--epochs", "0", "--seeds", "1", "--arms", "dbn,relu")
    for seed in (0, 1):
        cli("compare", "a.npz", *options, "--seed", seed, "-o", f"run{seed}")
    for arm in ("dbn", "relu"):
        zero, one = (tmp_path / f"run{seed}/networks/{arm}-all-seed{seed}.h5" for seed in (0, 1))
        matrices = {name for name, value in weights(zero).items() if name.endswith("weight") and value.ndim == 2}
        assert len(matrices) == 3
        assert matrices <= set(differing(zero, one)), arm


def test_each_seed_of_a_comparison_trains_other_networks(cli, tmp_path):
    write("a.npz")
    arms = ("dbn", "sdae", "relu", "sigmoid")
    options = (*LAYERS, "--pretrain-epochs", "1", "--epochs", "2", "--seeds", "2")
    cli("compare", "a.npz", *options, "--arms", ",".join(arms), "-o", "run")
    for arm in arms:
        zero, one = ([h["loss"] for h in r["history"]] for r in cells(tmp_path / "run") if r["arm"] == arm)
        assert all(a != b for a, b in zip(zero, one, strict=True)), arm


def test_a_cell_is_charged_for_all_its_epochs(cli, tmp_path):
    write("a.npz")
    options = ("--arms", "dbn,dbn-dropout,relu", "--labels", "9,all")
    cli("compare", "a.npz", *LAYERS, "--pretrain-epochs", "3", "--epochs", "3", "--seeds", "2", *options, "-o", "run")
    for record in cells(tmp_path / "run"):
        spent = {"pretrain": 0.0, "finetune": 0.0, "train": 0.0}
        for epoch in record["history"]:
            spent[epoch["stage"]] += epoch["seconds"]
        assert record["pretrain_seconds"] >= spent["pretrain"]
        assert record["finetune_seconds"] >= spent["finetune"] + spent["train"] > 0
        assert record["seconds"] >= sum(spent.values())
        assert (spent["pretrain"] > 0) == (record["arm"] != "relu")
